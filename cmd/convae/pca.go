package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/convae/convae/trainer/use"
)

type pcaFlags struct {
	modelFlags
	components int
	asJSON     bool
	placeFlags
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
	f.addPlace(fs)
	fs.StringVar(&f.device, "device", "auto", deviceHelp)
	fs.BoolVar(&f.asJSON, "json", false, "print JSON")
	return c
}

func (f *pcaFlags) run(c *cobra.Command, run string) error {
	f.model = run
	m, cfg, path, err := f.load()
	if err != nil {
		return err
	}
	f.place(c.Flags().Changed, &cfg.Data)
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
	data, err := loadRun(c, &cfg.Data)
	if err != nil {
		return err
	}
	defer data.close()
	if set := data.test; set.Size() != size {
		return fmt.Errorf("data set %s has %s; model %q takes %s", set.Name, setText(set), m.Config.Name, inputText(m.Input))
	}
	r, err := use.ComparePCA(c.Context(), net, data.train, data.test, k)
	if err != nil {
		return err
	}
	w := c.OutOrStdout()
	if f.asJSON {
		return writeJSON(w, map[string]any{"model": path, "data": cfg.Data.Name, "code": m.Code.Len(), "components": k, "explained": r.Explained, "autoencoder": r.Autoencoder, "pca": r.PCA})
	}
	fmt.Fprintf(w, "%s on %d samples of %s, without noise\n", path, r.PCA.N, cfg.Data.Name)
	fmt.Fprintf(w, "%-12s %10s %10s\n", "", "code size", "MSE")
	fmt.Fprintf(w, "%-12s %10d %10.5f\n", "autoencoder", m.Code.Len(), r.Autoencoder.MSE)
	fmt.Fprintf(w, "%-12s %10d %10.5f\n", "PCA", k, r.PCA.MSE)
	_, err = fmt.Fprintf(w, "PCA keeps %.1f%% of the variance of its %d training samples\n", 100*r.Explained, data.train.Len())
	return err
}
