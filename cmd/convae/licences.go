package main

import (
	"io"

	"github.com/spf13/cobra"

	"github.com/convae/convae/cmd/convae/licences"
)

func licencesCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "licences",
		Aliases: []string{"licenses"},
		Short:   "Print the licences of the program and of all that is in it",
		Args:    arguments(0, 0),
		RunE: func(c *cobra.Command, _ []string) error {
			_, err := io.WriteString(c.OutOrStdout(), licences.Text)
			return err
		},
	}
}
