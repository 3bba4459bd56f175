package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/convae/convae/trainer/picture"
	"github.com/convae/convae/trainer/use"
)

func featuresCommand() *cobra.Command {
	var f modelFlags
	var count int
	c := &cobra.Command{
		Use:   "features OUT.png",
		Short: "Draw the filters of a model's first layer, or the inputs that it selects",
		Long: `Draw the filters of a model's first layer: those of a convolution, or the weights of each unit of a dense layer as an image
of the model's input. Each is scaled by its largest weight; mid-grey is 0, white is positive. Of a concrete model draw
and list the inputs that it selects, in white.`,
		Args: arguments(1, 1),
		RunE: func(c *cobra.Command, args []string) error { return runFeatures(c, &f, args[0], count) },
	}
	f.addModel(c)
	c.Flags().IntVar(&count, "count", sheetImages, "most filters to draw")
	within(c.Flags(), "count", 1, maxSheet)
	return c
}

func runFeatures(c *cobra.Command, f *modelFlags, out string, count int) error {
	if err := checkOutput(out, "", ".png"); err != nil {
		return err
	}
	m, _, path, err := f.load()
	if err != nil {
		return err
	}
	images, err := use.Features(m)
	if err != nil {
		return err
	}
	shown := images[:min(count, len(images))]
	if err := use.WriteSheet(out, picture.Grid(shown, sheetColumns), picture.SheetOptions{Title: m.Config.Name}); err != nil {
		return err
	}
	w := c.OutOrStdout()
	if m.Concrete() {
		writeSelected(w, m.Selected())
		_, err = fmt.Fprintf(w, "%s: the selected inputs, of %s\n", out, path)
		return err
	}
	_, err = fmt.Fprintf(w, "%s: %d of %d filters, of %s\n", out, len(shown), len(images), path)
	return err
}
