package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/convae/convae/nn"
	"github.com/convae/convae/trainer/dataset"
	"github.com/convae/convae/trainer/use"
)

type sampleFlags struct {
	modelFlags
	count, grid int
	seed        uint64
	manifold    bool
}

func sampleCommand() *cobra.Command {
	var f sampleFlags
	c := &cobra.Command{
		Use:   "sample OUT.npy|OUT.csv|OUT.png",
		Short: "Write samples that a variational model makes up",
		Long: `Draw codes from the standard normal distribution and write what a variational model's decoder makes of them: as .npy,
float32 of shape (N, rows, columns, channels) or (N, n), as .csv, a sample in each row, or as .png, a contact sheet.

With --manifold the codes, of two numbers, are on a grid at quantiles of that distribution, and the samples are in rows as
the grid is drawn: the first number rises to the right, the second upwards.`,
		Args: arguments(1, 1),
		RunE: func(c *cobra.Command, args []string) error { return f.run(c, args[0]) },
	}
	f.add(c)
	fs := c.Flags()
	fs.IntVar(&f.count, "count", sheetImages, "samples")
	within(fs, "count", 1, 1<<20)
	fs.Uint64Var(&f.seed, "seed", 1, "seed of the codes")
	fs.BoolVar(&f.manifold, "manifold", false, "decode a grid of codes, of a model whose code has two numbers")
	fs.IntVar(&f.grid, "grid", 20, "samples along each side of the manifold")
	within(fs, "grid", 2, maxGrid)
	return c
}

// maxGrid is the most samples along each side of a manifold.
const maxGrid = 100

// check reports flags that cannot be.
func (f *sampleFlags) check(c *cobra.Command) error {
	set := c.Flags().Changed
	switch {
	case f.manifold && (set("count") || set("seed")):
		return errors.New("--count and --seed are for codes that are drawn: want --grid with --manifold")
	case !f.manifold && set("grid"):
		return errors.New("--grid is for --manifold")
	}
	return nil
}

func (f *sampleFlags) run(c *cobra.Command, out string) error {
	if err := checkTable(out, "", ".npy", ".csv", ".png"); err != nil {
		return err
	}
	if err := f.check(c); err != nil {
		return err
	}
	m, cfg, path, err := f.load()
	if err != nil {
		return err
	}
	codes, err := f.codes(m)
	if err != nil {
		return err
	}
	if err := checkSheet(m, out); err != nil {
		return err
	}
	y, device, err := f.convert(c.Context(), m, use.Decode, codes)
	if err != nil {
		return err
	}
	if f.manifold && hasEnding(out, ".png") {
		size, _ := use.ImageShape(m.Output)
		err = use.WriteManifold(out, use.Images(y, size), f.grid)
	} else {
		err = writeSamples(c, out, m, cfg.Data, y)
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(telling(c, out), "%s: samples %s, with %s on %s\n", out, dataset.ShapeText(sampleShape(codes.n, m.Output)), path, device)
	return err
}

// codes are those to decode.
func (f *sampleFlags) codes(m *nn.Model) (samples, error) {
	size := m.Code.Len()
	switch {
	case f.manifold && size != 2:
		return samples{}, fmt.Errorf("--manifold: the code of model %q has %d numbers, want 2: a manifold is drawn in the plane", m.Config.Name, size)
	case f.manifold && !m.Variational():
		return samples{}, fmt.Errorf("--manifold: model %q is not variational, so that only its data tell the span of its codes: want `convae report`, which draws their manifold", m.Config.Name)
	case !m.Variational():
		return samples{}, fmt.Errorf("model %q is not variational: its codes follow no known distribution (an encoder that ends in sampling has such codes)", m.Config.Name)
	case f.manifold:
		axis := use.PriorAxis(f.grid)
		return arraySamples(use.ManifoldCodes(axis, axis), f.grid*f.grid), nil
	}
	return samples{n: f.count, fill: use.PriorCodes(m, f.seed)}, nil
}
