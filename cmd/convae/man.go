package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

func manCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "man FOLDER",
		Short: "Write the manual pages",
		Long: `Write a manual page for each command into FOLDER, which is made if need be:

  convae man ~/.local/share/man/man1
  man convae-train`,
		Args: arguments(1, 1),
		RunE: func(c *cobra.Command, args []string) error {
			dir := args[0]
			if err := os.MkdirAll(dir, 0o777); err != nil {
				return fmt.Errorf("man: %w", err)
			}
			root := rootCommand()
			root.DisableAutoGenTag = true // which has the day in it
			if err := doc.GenManTree(root, &doc.GenManHeader{Title: "CONVAE", Section: "1", Source: "convae", Manual: "convae"}, dir); err != nil {
				return fmt.Errorf("man: %w", err)
			}
			_, err := fmt.Fprintf(c.OutOrStdout(), "%s: %d pages, the first is convae.1\n", dir, pages(root))
			return err
		},
	}
}

// pages is the number of commands that have a page.
func pages(c *cobra.Command) int {
	n := 1
	for _, sub := range c.Commands() {
		if sub.IsAvailableCommand() && !sub.IsAdditionalHelpTopicCommand() {
			n += pages(sub)
		}
	}
	return n
}
