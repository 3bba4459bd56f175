package main

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/convae/convae/nn"
	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/trainer"
)

func summaryCommand() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "summary [RUN | PRESET | CONFIG.yaml | MODEL.safetensors]",
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
			dev, _, err := openDevice("auto")
			if err != nil {
				return err
			}
			defer dev.Close()
			o, err := trainerOptions(c, &cfg)
			if err != nil {
				return err
			}
			need, err := trainer.PlanMemory(m, dev, o, nil, nil)
			if err != nil {
				return err
			}
			w := c.OutOrStdout()
			if asJSON {
				return writeJSON(w, newSummary(m, trainingSummary{dev.Name(), o.Batch, o.Precision.String(), need.Device.Total(), need.Host.Total(), need.Device.PerSample, need.Device.RepeatedShare}))
			}
			if err := m.WriteSummary(w); err != nil {
				return err
			}
			_, err = fmt.Fprintf(w, "Training on %s, batch %d: precision %v, %v, and the data set\n", deviceText(dev), o.Batch, o.Precision, need)
			return err
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

// summary is a model as summary --json tells it. Shapes are rows, columns, channels, or the length of a vector.
type summary struct {
	Name     string          `json:"name"`
	Input    []int           `json:"input"`
	Code     []int           `json:"code"`
	Output   []int           `json:"output"`
	Layers   []layerSummary  `json:"layers"`
	Params   int             `json:"params"`
	Trained  int             `json:"trainable_params"`
	Fixed    int             `json:"non_trainable_params"`
	Training trainingSummary `json:"training"`
}

type layerSummary struct {
	Part   string `json:"part"` // encoder or decoder
	Name   string `json:"name"`
	Type   string `json:"type"` // Keras's
	Output []int  `json:"output"`
	Params int    `json:"params"`
	// Factor is what the layer has of the learning rate, if it has parameters: 1, or what the configuration says, 0 where it is not trained.
	Factor float32 `json:"learning_rate_factor"`
}

type trainingSummary struct {
	Device    string `json:"device"`
	Batch     int    `json:"batch"`
	Precision string `json:"precision"`
	Bytes     int    `json:"memory_bytes"`      // on the device
	Host      int    `json:"host_memory_bytes"` // besides, without the data set
	Sample    int    `json:"activation_bytes"`  // of one sample
	// Recomputed is how many multiply-adds are done again, so that activations need not be kept, as a share of those of a step without.
	Recomputed float64 `json:"recomputed"`
}

func newSummary(m *nn.Model, t trainingSummary) summary {
	shape := func(s backend.Shape) []int { return sampleShape(1, s)[1:] }
	v := summary{Name: m.Config.Name, Input: shape(m.Input), Code: shape(m.Code), Output: shape(m.Output), Params: m.Size() + m.StateSize(), Trained: m.Size(), Fixed: m.StateSize(), Training: t}
	for _, l := range m.Layers {
		v.Layers = append(v.Layers, layerSummary{l.Part, l.Name, l.Layer.Kind(), shape(l.Out), l.Trainable + l.State, l.Rate})
	}
	return v
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
	if hasEnding(name, ".safetensors") {
		return trainer.ReadModelConfig(name)
	}
	if name == "" {
		name = trainer.DefaultPreset
	}
	if hasEnding(name, configEndings...) {
		return trainer.ReadConfig(name)
	}
	info, err := os.Stat(name)
	if err == nil && info.IsDir() {
		return trainer.ReadConfig(name + string(os.PathSeparator) + trainer.ConfigFile)
	}
	if slices.Contains(trainer.Presets(), name) {
		return trainer.Preset(name)
	}
	wanted := fmt.Sprintf("want the folder of a run, a preset (see convae presets), a configuration (%s) or a MODEL.safetensors", strings.Join(configEndings, ", "))
	if err == nil {
		return trainer.Config{}, fmt.Errorf("%s is no configuration: %s", name, wanted)
	}
	near := trainer.Nearest(name, trainer.Presets())
	if near != "" {
		near = ", perhaps the preset " + near
	}
	return trainer.Config{}, fmt.Errorf("there is no run or preset %q%s: %s", name, near, wanted)
}
