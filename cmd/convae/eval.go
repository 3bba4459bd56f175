package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/convae/convae/trainer"
	"github.com/convae/convae/trainer/metric"
	"github.com/convae/convae/trainer/use"
)

type evalFlags struct {
	modelFlags
	placeFlags
	data   string
	noise  float64
	seed   uint64
	asJSON bool
}

func evalCommand() *cobra.Command {
	var f evalFlags
	c := &cobra.Command{
		Use:   "eval [RUN | MODEL.safetensors]",
		Short: "Measure a trained model on the images that it was validated on, or on others",
		Args:  arguments(0, 1),
		RunE:  func(c *cobra.Command, args []string) error { return f.run(c, firstArg(args)) },
	}
	fs := c.Flags()
	fs.StringVar(&f.data, "data", "", dataHelp+" (default: the run's)")
	f.addPlace(fs)
	fs.Float64Var(&f.noise, "noise", 0, "standard deviation of the noise on the inputs (default: the run's)")
	within(fs, "noise", 0, maxStd)
	fs.Uint64Var(&f.seed, "seed", 0, "seed of the noise (default: the run's)")
	fs.StringVar(&f.device, "device", "auto", deviceHelp)
	f.addConfig(c)
	fs.BoolVar(&f.asJSON, "json", false, "print JSON")
	return c
}

func (f *evalFlags) run(c *cobra.Command, model string) error {
	f.model = model
	m, cfg, path, err := f.load()
	if err != nil {
		return err
	}
	set := c.Flags().Changed
	if set("data") {
		cfg.Data = withData(cfg.Data, f.data)
		cfg.Data.Limit, cfg.Data.Validation = 0, 0
	}
	f.place(set, &cfg.Data)
	override(set("noise"), &cfg.Training.Noise.Std, f.noise)
	override(set("seed"), &cfg.Training.Seed, f.seed)
	if err := cfg.Check(); err != nil {
		return err
	}
	net, _, closeNet, err := openNetwork(m, f.device)
	if err != nil {
		return err
	}
	defer closeNet()
	data, err := loadRun(c, &cfg.Data)
	if err != nil {
		return err
	}
	defer data.close()
	e, err := use.Evaluate(c.Context(), net, data.test, cfg.Training.Loss, cfg.Training.Corrupted(), cfg.Training.Seed, true)
	if err != nil {
		return err
	}
	w := c.OutOrStdout()
	if f.asJSON {
		fields := map[string]any{"model": path, "data": cfg.Data.Name, "noise": cfg.Training.Noise.Std, "output": e.Output, "code": e.Code}
		if !cfg.Training.Corrupted().IsZero() {
			fields["input"] = e.Input
		}
		if m.Variational() {
			fields["variational"] = e.Drawn
		}
		if err := writeJSON(w, fields); err != nil {
			return err
		}
	} else {
		writeEvaluation(w, path, cfg, data.test.Images(), e)
	}
	if v := e.Output.MSE + e.Code.Mean; v-v != 0 {
		return fmt.Errorf("%s: the model makes values that are not finite of these samples", path)
	}
	return nil
}

// writeEvaluation prints the metrics of the outputs, and those of the inputs if these are noisy: without noise they are the
// samples themselves, which are perfect.
func writeEvaluation(w io.Writer, path string, cfg trainer.Config, images bool, e use.Evaluation) {
	worse := cfg.Training.Corrupted()
	kind, heading := "samples", fmt.Sprintf("%10s %10s %10s %10s", "MSE", "MAE", "max error", "distance")
	if images {
		kind, heading = "images", fmt.Sprintf("%10s %10s %10s %10s %10s %10s", "BCE", "MSE", "MAE", "max error", "PSNR dB", "SSIM")
	}
	row := func(name string, v metric.Values) {
		if images {
			bce := "-" // of values outside [0,1]
			if v.BCE != 0 {
				bce = fmt.Sprintf("%.5f", v.BCE)
			}
			fmt.Fprintf(w, "%-8s %10s %10.5f %10.5f %10.5f %10.2f %10.4f\n", name, bce, v.MSE, v.MAE, v.MaxAbs, v.PSNR, v.SSIM)
		} else {
			fmt.Fprintf(w, "%-8s %10.5f %10.5f %10.5f %10.5f\n", name, v.MSE, v.MAE, v.MaxAbs, v.MaxDistance)
		}
	}
	fmt.Fprintf(w, "%s on %d %s of %s, %v\n%-8s %s\n", path, e.Output.N, kind, cfg.Data.Name, worse, "", heading)
	if !worse.IsZero() {
		row("input", e.Input)
	}
	row("output", e.Output)
	writeEvidence(w, e.Drawn)
	writeCode(w, e.Code)
}

func firstArg(args []string) string {
	if len(args) == 0 {
		return ""
	}
	return args[0]
}
