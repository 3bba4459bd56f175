package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/convae/convae/trainer"
)

func presetsCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "presets [NAME]",
		Short: "List the built-in configurations, or print one",
		Long: `List the built-in configurations with a line each, or print one as a file to copy and edit:

  convae presets dense32 > mine.yaml
  convae train mine.yaml`,
		Args: arguments(0, 1),
		RunE: func(c *cobra.Command, args []string) error {
			w := c.OutOrStdout()
			if len(args) == 1 {
				text, err := trainer.PresetText(args[0])
				if err != nil {
					return err
				}
				_, err = io.WriteString(w, text)
				return err
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
}
