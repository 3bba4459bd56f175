package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"convae/nn"
	"convae/nn/rng"
	"convae/trainer"
)

func sampleCommand() *cobra.Command {
	var f modelFlags
	var count int
	var seed uint64
	c := &cobra.Command{
		Use:   "sample OUT.npy|OUT.csv|OUT.png",
		Short: "Write samples that a variational model makes up",
		Long: `Draw codes from the standard normal distribution and write what a variational model's decoder makes of them: as .npy,
float32 of shape (N, rows, columns, channels) or (N, n), as .csv, a sample in each row, or as .png, a contact sheet.`,
		Args: arguments(1, 1),
		RunE: func(c *cobra.Command, args []string) error { return runSample(c, &f, args[0], count, seed) },
	}
	f.add(c)
	c.Flags().IntVar(&count, "count", sheetImages, "samples")
	c.Flags().Uint64Var(&seed, "seed", 1, "seed of the codes")
	return c
}

func runSample(c *cobra.Command, f *modelFlags, out string, count int, seed uint64) error {
	if err := checkOutput(out, "", ".npy", ".csv", ".png"); err != nil {
		return err
	}
	if count < 1 || count > 1<<20 {
		return fmt.Errorf("--count is %d, want 1 to %d", count, 1<<20)
	}
	m, cfg, path, err := f.load()
	if err != nil {
		return err
	}
	if !m.Variational() {
		return fmt.Errorf("model %q is not variational: its codes follow no known distribution (an encoder that ends in sampling has such codes)", m.Config.Name)
	}
	if err := checkSheet(m, out); err != nil {
		return err
	}
	y, device, err := f.convert(c.Context(), m, (*nn.Network).Decode, m.Code, m.Output, priorSamples(m, count, seed))
	if err != nil {
		return err
	}
	if err := writeSamples(out, m, cfg.Data, y); err != nil {
		return err
	}
	_, err = fmt.Fprintf(c.OutOrStdout(), "%s: samples %s, with %s on %s\n", out, trainer.ShapeText(sampleShape(count, m.Output)), path, device)
	return err
}

// priorSamples are n codes of standard normal numbers.
func priorSamples(m *nn.Model, n int, seed uint64) samples {
	size := m.Code.Len()
	src := rng.Source{Seed: seed, Stream: rng.StreamCode}
	return samples{n: n, fill: func(dst []float32, lo, hi int) {
		for row := lo; row < hi; row++ {
			code := dst[(row-lo)*size:][:size]
			for i := 0; i < size; i += 4 {
				z := src.Normals(uint32(i/4), uint32(row), 1) // draw 0 is evaluation's
				copy(code[i:], z[:])
			}
		}
	}}
}
