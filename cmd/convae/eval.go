package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/convae/convae/trainer"
	"github.com/convae/convae/trainer/metric"
)

type evalFlags struct {
	modelFlags
	data, dataDir string
	noise         float64
	seed          uint64
	asJSON        bool
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
	fs.StringVar(&f.dataDir, "data-dir", "", dataDirHelp)
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
	override(set("data-dir"), &cfg.Data.Dir, f.dataDir)
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
	train, test, err := trainer.LoadData(c.Context(), &cfg.Data, loadingOn(c))
	if err != nil {
		return err
	}
	defer train.Close()
	defer test.Close()
	e, err := trainer.Evaluate(c.Context(), net, test, cfg.Training.Noise.Std, cfg.Training.Seed, true)
	if err != nil {
		return err
	}
	w := c.OutOrStdout()
	switch {
	case f.asJSON:
		fields := map[string]any{"model": path, "data": cfg.Data.Name, "noise": cfg.Training.Noise.Std, "input": e.Input, "output": e.Output, "code": e.Code}
		if m.Variational() {
			fields["variational"] = e.Drawn
		}
		if err := writeJSON(w, fields); err != nil {
			return err
		}
	case test.Images():
		writeQuality(w, path, cfg, e)
	default:
		writeErrors(w, path, cfg, e)
	}
	if v := e.Output.MSE + e.Code.Mean; v-v != 0 {
		return fmt.Errorf("%s: the model makes values that are not finite of these samples", path)
	}
	return nil
}

// writeQuality prints the metrics of images.
func writeQuality(w io.Writer, path string, cfg trainer.Config, e trainer.Evaluation) {
	fmt.Fprintf(w, "%s on %d images of %s, noise %g\n", path, e.Output.N, cfg.Data.Name, cfg.Training.Noise.Std)
	fmt.Fprintf(w, "%-8s %10s %10s %10s %10s %10s %10s\n", "", "BCE", "MSE", "MAE", "max error", "PSNR dB", "SSIM")
	for _, r := range []struct {
		name string
		v    metric.Values
	}{{"input", e.Input}, {"output", e.Output}} {
		bce := "-" // of values outside [0,1]
		if r.v.BCE != 0 {
			bce = fmt.Sprintf("%.5f", r.v.BCE)
		}
		fmt.Fprintf(w, "%-8s %10s %10.5f %10.5f %10.5f %10.2f %10.4f\n", r.name, bce, r.v.MSE, r.v.MAE, r.v.MaxAbs, r.v.PSNR, r.v.SSIM)
	}
	writeEvidence(w, e.Drawn)
	writeCode(w, e.Code)
}

// writeErrors prints the metrics of samples that are no images.
func writeErrors(w io.Writer, path string, cfg trainer.Config, e trainer.Evaluation) {
	fmt.Fprintf(w, "%s on %d samples of %s, noise %g\n", path, e.Output.N, cfg.Data.Name, cfg.Training.Noise.Std)
	fmt.Fprintf(w, "%-8s %10s %10s %10s %10s\n", "", "MSE", "MAE", "max error", "distance")
	fmt.Fprintf(w, "%-8s %10.5f %10.5f %10.5f %10.5f\n", "input", e.Input.MSE, e.Input.MAE, e.Input.MaxAbs, e.Input.MaxDistance)
	fmt.Fprintf(w, "%-8s %10.5f %10.5f %10.5f %10.5f\n", "output", e.Output.MSE, e.Output.MAE, e.Output.MaxAbs, e.Output.MaxDistance)
	writeEvidence(w, e.Drawn)
	writeCode(w, e.Code)
}

func firstArg(args []string) string {
	if len(args) == 0 {
		return ""
	}
	return args[0]
}
