package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/convae/convae/trainer"
	"github.com/convae/convae/trainer/pca"
	"github.com/convae/convae/trainer/use"
)

type pcaFlags struct {
	dataDir, device string
	components      int
	asJSON          bool
}

func pcaCommand() *cobra.Command {
	var f pcaFlags
	c := &cobra.Command{
		Use:   "pca [RUN | MODEL.safetensors]",
		Short: "Compare a trained model with principal component analysis",
		Long: `Fit principal components to the samples that the run was trained on, as many as its code has numbers, and print the
mean squared errors of both on the samples that it was validated on, without noise. Samples of 784 values take seconds, of 3072 minutes; the most is 4096.`,
		Args: arguments(0, 1),
		RunE: func(c *cobra.Command, args []string) error { return f.run(c, firstArg(args)) },
	}
	fs := c.Flags()
	fs.IntVar(&f.components, "components", 0, "number of components (default: the size of the run's code)")
	within(fs, "components", 0, 1<<24) // the samples say how many there can be
	fs.StringVar(&f.dataDir, "data-dir", "", dataDirHelp)
	fs.StringVar(&f.device, "device", "auto", deviceHelp)
	fs.BoolVar(&f.asJSON, "json", false, "print JSON")
	return c
}

func (f *pcaFlags) run(c *cobra.Command, run string) error {
	path, err := findModel(run)
	if err != nil {
		return err
	}
	m, cfg, err := trainer.LoadModel(path)
	if err != nil {
		return err
	}
	override(c.Flags().Changed("data-dir"), &cfg.Data.Dir, f.dataDir)
	size, k := m.Input.Len(), m.Code.Len()
	if c.Flags().Changed("components") {
		if k = f.components; k < 1 || k > size {
			return fmt.Errorf("--components is %d, want 1 to %d, the values of a sample", k, size)
		}
	} else if k > size {
		return fmt.Errorf("the code of model %q has %d numbers, its samples only %d: want --components 1 to %d", m.Config.Name, k, size, size)
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
	if test.Size() != size {
		return fmt.Errorf("data set %s has %s; model %q takes %s", test.Name, setText(test), m.Config.Name, inputText(m.Input))
	}
	e, err := use.Evaluate(c.Context(), net, test, 0, cfg.Training.Seed, false)
	if err != nil {
		return err
	}
	p, err := pca.Fit(c.Context(), train, k)
	if c.Context().Err() != nil {
		return errInterrupted
	} else if err != nil {
		return err
	}
	v, err := p.Evaluate(c.Context(), test)
	if c.Context().Err() != nil {
		return errInterrupted
	} else if err != nil {
		return err
	}
	w := c.OutOrStdout()
	if f.asJSON {
		return writeJSON(w, map[string]any{"model": path, "data": cfg.Data.Name, "code": m.Code.Len(), "components": k, "explained": p.Explained(), "autoencoder": e.Output, "pca": v})
	}
	fmt.Fprintf(w, "%s on %d samples of %s, without noise\n", path, v.N, cfg.Data.Name)
	fmt.Fprintf(w, "%-12s %10s %10s\n", "", "code size", "MSE")
	fmt.Fprintf(w, "%-12s %10d %10.5f\n", "autoencoder", m.Code.Len(), e.Output.MSE)
	fmt.Fprintf(w, "%-12s %10d %10.5f\n", "PCA", k, v.MSE)
	_, err = fmt.Fprintf(w, "PCA keeps %.1f%% of the variance of its %d training samples\n", 100*p.Explained(), train.Len())
	return err
}
