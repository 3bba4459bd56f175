package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/convae/convae/nn"
	"github.com/convae/convae/nn/diffusers"
	"github.com/convae/convae/trainer"
	"github.com/convae/convae/trainer/exchange"
)

func importCommand() *cobra.Command {
	var config string
	var size int
	c := &cobra.Command{
		Use:   "import FOLDER|WEIGHTS.safetensors OUT.safetensors",
		Short: "Make a model of the weights of PyTorch or diffusers",
		Long: `Make a model of weights that come from elsewhere, which all commands take, and train with --init:

  a folder that diffusers has saved an AutoencoderKL to (config.json and diffusion_pytorch_model.safetensors)
  a .safetensors of tensors in PyTorch's layouts, whose model --config says. Their names are those of layers (conv2d_1.weight,
  or NAME.weight of a layer with a name), of the places in an nn.Sequential (encoder.3.weight), or diffusers'

Half precision, bfloat16 and float64 become float32. Every tensor has to fit: what is missing, too much or of another shape is
named.`,
		Args: arguments(2, 2),
		RunE: func(c *cobra.Command, args []string) error { return runImport(c, args[0], args[1], config, size) },
	}
	c.Flags().StringVar(&config, "config", "", "the model: a PRESET, a CONFIG.yaml or a run (default: that of the folder's config.json)")
	c.Flags().IntVar(&size, "size", 0, "rows and columns of the pictures that a folder's model is for (0: the sample_size of its config.json)")
	within(c.Flags(), "size", 0, 1<<14)
	return c
}

func runImport(c *cobra.Command, in, out, config string, size int) error {
	if err := checkOutput(out, in, ".safetensors"); err != nil {
		return err
	}
	info, err := os.Stat(in)
	if err != nil {
		return fmt.Errorf("import: %w", err)
	}
	var cfg trainer.Config
	weights := in
	if info.IsDir() {
		weights = filepath.Join(in, diffusers.WeightsFile)
	}
	switch {
	case config != "" && size != 0:
		return errors.New("--size is for the model of a folder's config.json: leave it out with --config")
	case config != "":
		cfg, err = readConfig(config)
	case info.IsDir():
		// The preset's training suits any of its kind.
		cfg, err = trainer.Preset("kl-f8", func(c *trainer.Config) (err error) {
			c.Model, err = exchange.ReadFolder(in, size)
			return err
		})
	default:
		err = fmt.Errorf("%s has weights alone: want the configuration of its model too, with --config", in)
	}
	if err != nil {
		return err
	}
	m, err := nn.New(cfg.Model, cfg.Training.Seed)
	if err != nil {
		return err
	}
	if _, err := exchange.Import(weights, m); err != nil {
		return err
	}
	if err := trainer.SaveModelAs(out, m, cfg); err != nil {
		return err
	}
	_, err = fmt.Fprintf(c.OutOrStdout(), "%s: model %s, %d tensors with %d numbers, of %s\n", out, m.Config.Name, len(m.Params), m.Size()+m.StateSize(), weights)
	return err
}

func exportCommand() *cobra.Command {
	var f modelFlags
	var names string
	var scale float64
	c := &cobra.Command{
		Use:   "export OUT.safetensors|FOLDER",
		Short: "Write a model's weights for PyTorch or diffusers",
		Long: `Write a model's weights as a .safetensors of PyTorch's layouts, or a model with the layers of diffusers' AutoencoderKL, as those of
the presets kl-f8 and kl-small, as a new folder that AutoencoderKL.from_pretrained reads.`,
		Args: arguments(1, 1),
		RunE: func(c *cobra.Command, args []string) error {
			m, _, path, err := f.load()
			if err != nil {
				return err
			}
			out := args[0]
			if hasEnding(out, ".safetensors") {
				if err := checkOutput(out, path, ".safetensors"); err != nil {
					return err
				}
				err = exchange.Export(out, m, exchange.Naming(names))
			} else if c.Flags().Changed("names") {
				return errors.New("--names is for a file: a folder has diffusers' names")
			} else {
				err = exchange.ExportFolder(out, m, scale)
			}
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(c.OutOrStdout(), "%s: model %s, %d tensors, of %s\n", out, m.Config.Name, len(m.Params), path)
			return err
		},
	}
	f.addModel(c)
	c.Flags().StringVar(&names, "names", string(exchange.Layers), "names of a file's tensors: "+namings()+" (of layers, as conv2d_1.weight; of places in an nn.Sequential, as encoder.3.weight)")
	c.Flags().Float64Var(&scale, "scaling-factor", 0.18215, "what pipelines multiply codes by, in a folder's config.json: 1 divided by the codes' standard deviation")
	above(c.Flags(), "scaling-factor", 0, 1e6)
	return c
}

// namings lists the namings of tensors.
func namings() string {
	var list []string
	for _, n := range exchange.Namings() {
		list = append(list, string(n))
	}
	return strings.Join(list, ", ")
}
