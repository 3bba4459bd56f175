package trainer

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"os"

	"github.com/goccy/go-yaml"

	"convae/nn"
	"convae/trainer/atomicfile"
)

// Config is a run's configuration file.
type Config struct {
	Model    nn.Config `yaml:"model"`
	Data     Data      `yaml:"data"`
	Training Training  `yaml:"training"`
}

// Data names a data set.
type Data struct {
	Name       string  `yaml:"name"`                 // digits, mnist, fashion-mnist
	Dir        string  `yaml:"dir,omitempty"`        // folder with its files; empty: built in or downloaded
	Seed       uint64  `yaml:"seed,omitempty"`       // of digits
	Limit      int     `yaml:"limit,omitempty"`      // train on the first samples only; 0 is all
	Validation float64 `yaml:"validation,omitempty"` // share of the training samples to validate on; 0: the test set
}

// Training says how the model is trained. Zero values are filled in by Check.
type Training struct {
	Epochs        int            `yaml:"epochs"`
	Batch         int            `yaml:"batch"`
	Loss          string         `yaml:"loss"` // bce or mse
	Optimizer     nn.Optimizer   `yaml:"optimizer"`
	Noise         Noise          `yaml:"noise,omitempty"`
	Seed          uint64         `yaml:"seed"` // of weights, order, noise and dropout
	EarlyStopping *EarlyStopping `yaml:"early_stopping,omitempty"`
	KeepBest      bool           `yaml:"keep_best,omitempty"`        // the model is that of the lowest validation loss
	Checkpoint    int            `yaml:"checkpoint_steps,omitempty"` // steps between checkpoints; 0: one an epoch
}

// Noise is added to the inputs, which are then clipped to [0,1]; the clean images stay the targets.
type Noise struct {
	Std   float64 `yaml:"std,omitempty"`
	Fresh bool    `yaml:"fresh,omitempty"` // drawn afresh in every epoch instead of once
}

// EarlyStopping ends training when the validation loss has not fallen by more than MinDelta for Patience epochs.
type EarlyStopping struct {
	Patience int     `yaml:"patience"`
	MinDelta float64 `yaml:"min_delta,omitempty"`
}

// maxConfigBytes bounds a configuration file.
const maxConfigBytes = 64 << 10

// ReadConfig reads a configuration file. Fields that do not exist are errors, with line and column.
func ReadConfig(path string) (Config, error) {
	f, err := os.Open(path)
	if err != nil {
		return Config{}, fmt.Errorf("config: %w", err)
	}
	defer f.Close()
	c, err := DecodeConfig(f)
	if err != nil {
		return Config{}, fmt.Errorf("config %s: %w", path, err)
	}
	return c, nil
}

// DecodeConfig reads and checks a configuration.
func DecodeConfig(r io.Reader) (c Config, err error) {
	data, err := io.ReadAll(io.LimitReader(r, maxConfigBytes+1))
	if err != nil {
		return c, err
	}
	if len(data) > maxConfigBytes {
		return c, fmt.Errorf("is larger than %d bytes", maxConfigBytes)
	}
	if err := decodeYAML(data, &c); err != nil {
		return c, err
	}
	if err := c.Check(); err != nil {
		return c, err
	}
	return c, c.Model.Check()
}

// decodeYAML reads data into c. The library dereferences nil on some malformed input, which is an error here.
func decodeYAML(data []byte, c *Config) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("is not well-formed YAML (%v)", p)
		}
	}()
	if err := yaml.NewDecoder(bytes.NewReader(data), yaml.Strict()).Decode(c); err != nil {
		return yamlError(err)
	}
	return nil
}

// yamlError makes one line of a YAML error: line, column and what was wrong.
func yamlError(err error) error {
	if errors.Is(err, io.EOF) {
		return errors.New("the file is empty")
	}
	var y yaml.Error
	if errors.As(err, &y) && y.GetToken() != nil && y.GetToken().Position != nil {
		p := y.GetToken().Position
		return fmt.Errorf("line %d, column %d: %s", p.Line, p.Column, y.GetMessage())
	}
	return err
}

// Check fills in the zero values and reports the first field that cannot be.
func (c *Config) Check() error {
	t := &c.Training
	set := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	set(&t.Epochs, 10)
	set(&t.Batch, 128)
	if t.Loss == "" {
		t.Loss = "bce"
	}
	if c.Data.Name == "" {
		c.Data.Name = "digits"
	}
	if _, err := nn.ParseLoss(t.Loss); err != nil {
		return fmt.Errorf("training.%w", err)
	}
	var err error
	if t.Optimizer, err = t.Optimizer.WithDefaults(); err != nil {
		return fmt.Errorf("training.%w", err)
	}
	for _, f := range []struct {
		name     string
		v        float64
		min, max float64
	}{
		{"training.epochs", float64(t.Epochs), 1, 1e6},
		{"training.batch", float64(t.Batch), 1, 1 << 20},
		{"training.noise.std", t.Noise.Std, 0, 100},
		{"training.checkpoint_steps", float64(t.Checkpoint), 0, 1e9},
		{"data.limit", float64(c.Data.Limit), 0, 1e9},
		{"data.validation", c.Data.Validation, 0, 0.9},
	} {
		if math.IsNaN(f.v) || f.v < f.min || f.v > f.max {
			return fmt.Errorf("%s is %v, want %v to %v", f.name, f.v, f.min, f.max)
		}
	}
	if e := t.EarlyStopping; e != nil && (e.Patience < 1 || !(e.MinDelta >= 0)) {
		return fmt.Errorf("training.early_stopping: patience is %d and min_delta %v, want at least 1 and 0", e.Patience, e.MinDelta)
	}
	return nil
}

// Write writes the configuration so that ReadConfig reads it back.
func (c Config) Write(path string) error {
	data, err := yaml.MarshalWithOptions(c, yaml.IndentSequence(true))
	if err != nil {
		return fmt.Errorf("config: %w", err)
	}
	return atomicfile.Write(path, func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	})
}
