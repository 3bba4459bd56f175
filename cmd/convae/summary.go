package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/convae/convae/nn"
	"github.com/convae/convae/trainer"
)

func summaryCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "summary [RUN | PRESET | CONFIG.yaml]",
		Short: "Print a model's layers, shapes and parameters, and the memory that training it needs",
		Args:  arguments(0, 1),
		RunE: func(c *cobra.Command, args []string) error {
			cfg, err := anyConfig(firstArg(args))
			if err != nil {
				return err
			}
			m, err := nn.New(cfg.Model, cfg.Training.Seed)
			if err != nil {
				return err
			}
			w := c.OutOrStdout()
			if err := m.WriteSummary(w); err != nil {
				return err
			}
			dev, _, err := openDevice("auto")
			if err != nil {
				return err
			}
			defer dev.Close()
			o, err := trainerOptions(c, &cfg)
			if err != nil {
				return err
			}
			need, err := nn.TrainingMemory(m, dev, o)
			if err != nil {
				return err
			}
			fmt.Fprintf(w, "Training on %s, batch %d: %v\n", deviceText(dev), o.Batch, need)
			return nil
		},
	}
}

// trainerOptions returns the options of training. A full batch has to look at the data.
func trainerOptions(c *cobra.Command, cfg *trainer.Config) (nn.TrainerOptions, error) {
	samples := 0
	if cfg.Training.Batch == trainer.FullBatch {
		train, _, err := trainer.LoadData(c.Context(), &cfg.Data, loadingOn(c))
		if err != nil {
			return nn.TrainerOptions{}, err
		}
		samples = train.Len()
		if err := train.Close(); err != nil {
			return nn.TrainerOptions{}, err
		}
	}
	return cfg.Training.Options(samples)
}

// anyConfig reads the configuration of a run, a preset or a file with which training can begin; "" is the first preset.
func anyConfig(name string) (trainer.Config, error) {
	c, err := readConfig(name)
	if err != nil {
		return c, err
	}
	return c, c.CheckTraining()
}

func readConfig(name string) (trainer.Config, error) {
	if name == "" {
		name = trainer.DefaultPreset
	}
	if strings.HasSuffix(name, ".yaml") || strings.HasSuffix(name, ".yml") {
		return trainer.ReadConfig(name)
	}
	if info, err := os.Stat(name); err == nil && info.IsDir() {
		return trainer.ReadConfig(name + string(os.PathSeparator) + trainer.ConfigFile)
	}
	return trainer.Preset(name)
}
