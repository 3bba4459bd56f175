package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/convae/convae/trainer/report"
)

func reportCommand() *cobra.Command {
	var o report.Options
	var place placeFlags
	var device string
	c := &cobra.Command{
		Use:   "report [RUN | MODEL.safetensors]",
		Short: "Draw what a run has learnt, and put all on one HTML page",
		Long: `Run a model on the samples that it was validated on, draw what it makes of them, and write one HTML page with the pictures,
the metrics and the configuration, which needs nothing besides itself. The pictures are written as PNG files too.

Pictures are made where the model and its data have them: inputs, codes and reconstructions; the codes as points in the
colours of their labels; the images along a code of two numbers; six panels of points in the plane; the filters of the
first layer; the losses, beside those of other runs with --compare.`,
		Args: arguments(0, 1),
		RunE: func(c *cobra.Command, args []string) error {
			o.DataDir, o.SkipUnreadable, o.Loading = place.dataDir, place.skip, loadingOn(c)
			return runReport(c, firstArg(args), device, o)
		},
	}
	fs := c.Flags()
	fs.StringVar(&o.HTML, "out", "", "the page, a .html file (default: report.html in the run's folder)")
	fs.StringVar(&o.Pictures, "pictures", "", "folder of the pictures (default: pictures in the run's folder)")
	fs.StringArrayVar(&o.Compare, "compare", nil, "folder of another run, whose validation loss is drawn too; may be repeated")
	place.addPlace(fs)
	fs.IntVar(&o.Samples, "samples", 5000, "most validation samples whose codes are drawn")
	within(fs, "samples", 1, 1e6)
	fs.StringVar(&device, "device", "auto", deviceHelp)
	return c
}

func runReport(c *cobra.Command, run, device string, o report.Options) error {
	if o.HTML != "" {
		if err := checkOutput(o.HTML, "", ".html", ".htm"); err != nil {
			return fmt.Errorf("--out: %w", err)
		}
	}
	path, err := findModel(run)
	if err != nil {
		return err
	}
	dev, _, err := openDevice(device)
	if err != nil {
		return err
	}
	defer dev.Close()
	o.Device = dev
	o.Footer = versionText() + "; on " + deviceText(dev)
	r, err := report.Make(c.Context(), path, o)
	if c.Context().Err() != nil {
		return errInterrupted
	} else if err != nil {
		return err
	}
	_, err = fmt.Fprintf(c.OutOrStdout(), "report: %s\npictures: %s\n", r.HTML, strings.Join(r.Pictures, ", "))
	return err
}
