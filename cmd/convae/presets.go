package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/convae/convae/trainer"
)

func presetsCommand() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "presets [NAME]",
		Short: "List the built-in configurations, or print one",
		Long: `List the built-in configurations with a line each, or print one as a file to copy and edit:

  convae presets dense32 > mine.yaml
  convae train mine.yaml`,
		Args: arguments(0, 1),
		RunE: func(c *cobra.Command, args []string) error {
			w := c.OutOrStdout()
			if len(args) == 1 {
				return writePreset(w, args[0], asJSON)
			}
			if asJSON {
				return errors.New("--json is for one preset: want its name too")
			}
			for _, name := range trainer.Presets() {
				line, err := trainer.PresetLine(name)
				if err != nil {
					return err
				}
				fmt.Fprintf(w, "%-13s %s\n", name, line)
			}
			return nil
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print the configuration as JSON, with all defaults filled in")
	return c
}

func writePreset(w io.Writer, name string, asJSON bool) error {
	if !asJSON {
		text, err := trainer.PresetText(name)
		if err != nil {
			return err
		}
		_, err = io.WriteString(w, text)
		return err
	}
	c, err := trainer.Preset(name)
	if err != nil {
		return err
	}
	data, err := c.JSON()
	if err != nil {
		return err
	}
	var indented bytes.Buffer
	if err := json.Indent(&indented, bytes.TrimSpace(data), "", "  "); err != nil {
		return err
	}
	indented.WriteByte('\n')
	_, err = indented.WriteTo(w)
	return err
}
