package trainer

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"

	"github.com/convae/convae/nn"
	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/regularfile"
	"github.com/convae/convae/trainer/atomicfile"
)

// Config is a run's configuration file.
type Config struct {
	Model    nn.Config `yaml:"model"`
	Data     Data      `yaml:"data"`
	Training Training  `yaml:"training"`
}

// Training says how the model is trained. Zero values are filled in by Check; in a file, where a 0 would stand for a default,
// it is refused with what the tag zero wants.
type Training struct {
	Epochs        int                    `yaml:"epochs" zero:"1 or more"`
	Batch         Batch                  `yaml:"batch"`
	Loss          nn.Loss                `yaml:"loss"` // bce (default), or another, or a sum of several
	Optimizer     nn.Optimizer           `yaml:"optimizer"`
	Precision     string                 `yaml:"precision"`                                       // float32 (default), tf32, bf16 or winograd; see backend.Precision
	Recompute     string                 `yaml:"recompute,omitempty"`                             // of activations: auto (default), never or always; see nn.Recompute
	Reduction     string                 `yaml:"reduction,omitempty"`                             // of the loss: mean (default), sample (summed over a sample's elements), sum
	Accumulate    int                    `yaml:"accumulate,omitempty" zero:"1 or more"`           // batches whose gradients make one step, as one batch that much larger would
	Schedule      nn.Schedule            `yaml:"schedule,omitempty"`                              // of the learning rate
	Clip          nn.Clip                `yaml:"clip,omitempty"`                                  // of the gradient
	EMADecay      float64                `yaml:"ema_decay,omitempty" zero:"more than 0, below 1"` // of the moving average of the weights that is evaluated and saved; without it the weights are
	Kernel        nn.Regularizer         `yaml:"kernel_regularizer,omitempty"`
	Activity      nn.ActivityRegularizer `yaml:"activity_regularizer,omitempty"`
	Contractive   nn.Contractive         `yaml:"contractive,omitempty"`
	Temperature   nn.Temperature         `yaml:"temperature,omitempty"` // of a concrete layer
	Divergence    nn.Divergence          `yaml:"divergence,omitempty"`  // of a variational model's codes
	Noise         Noise                  `yaml:"noise,omitempty"`
	Corruption    []Corruption           `yaml:"corruption,omitempty"`    // of the inputs, after the noise, drawn afresh in every epoch
	Seed          uint64                 `yaml:"seed"`                    // of weights, order, noise and dropout
	Init          string                 `yaml:"init,omitempty" json:"-"` // a .safetensors of weights to begin with, or a run that has one, all or some of them; when a run goes on its checkpoint has them
	EarlyStopping *EarlyStopping         `yaml:"early_stopping,omitempty"`
	Validation    int                    `yaml:"validation_freq,omitempty" zero:"1 or more"` // epochs between validations, history lines and checkpoints (1)
	KeepBest      bool                   `yaml:"keep_best,omitempty"`                        // the model is that of the lowest validation loss
	Checkpoint    int                    `yaml:"checkpoint_steps,omitempty"`                 // steps between checkpoints; 0: one an epoch
	// AllReduce says how the gradients of several devices or processes are summed: ordered (default), with the bits of one device that has as many Slots, or fast,
	// in the order of NCCL or of MPI.
	AllReduce string `yaml:"all_reduce,omitempty"`
	// Slots are how many sums of gradients a batch is cut into, which are then summed in their order: the same on any number of devices or processes
	// gives the same bits. Without it the device decides.
	Slots int `yaml:"slots,omitempty" zero:"1 or more"`
	// Bucket is how many MiB of gradients connected devices add at a time, the first while others are still computed (25).
	Bucket int `yaml:"bucket_mib,omitempty" zero:"1 or more"`
	// ShardOptimizer has each of several connected devices keep the optimiser's state of a part of the parameters (ZeRO stage 1).
	ShardOptimizer bool `yaml:"shard_optimizer,omitempty"`
}

// Batch is the number of samples of an optimiser step. In a file or flag it is a number, or `full` (or 0) for FullBatch.
type Batch int

// FullBatch stands for all training samples.
const FullBatch Batch = -1

// Of returns the batch for that number of training samples.
func (b Batch) Of(samples int) int {
	if b == FullBatch {
		return samples
	}
	return int(b)
}

func (b Batch) String() string {
	if b == FullBatch {
		return "full"
	}
	return strconv.Itoa(int(b))
}

// Set reads what String writes.
func (b *Batch) Set(text string) error {
	n, err := strconv.Atoi(text)
	switch {
	case text == "full" || err == nil && n == 0:
		*b = FullBatch
	case err != nil || n < 0:
		return errors.New("want a number of samples, or full")
	default:
		*b = Batch(n)
	}
	return nil
}

// Type names the value in a flag's help.
func (b *Batch) Type() string { return "number|full" }

// UnmarshalYAML reads a number or `full`.
func (b *Batch) UnmarshalYAML(unmarshal func(any) error) error {
	var text string
	if err := unmarshal(&text); err != nil {
		return err
	}
	return b.Set(text)
}

// MarshalYAML writes a number or `full`.
func (b Batch) MarshalYAML() (any, error) {
	if b == FullBatch {
		return "full", nil
	}
	return int(b), nil
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

// maxConfigBytes bounds a configuration file: that of a run on a table has two numbers and a name of each column, and there
// are tables of half a million columns.
const maxConfigBytes = 32 << 20

// ReadConfig reads a configuration file, with changes as DecodeConfig takes them. Fields that do not exist are errors,
// with line and column.
func ReadConfig(path string, changes ...Change) (Config, error) {
	f, err := regularfile.Open(path)
	if preset := strings.TrimSuffix(path, filepath.Ext(path)); slices.Contains(Presets(), preset) && errors.Is(err, fs.ErrNotExist) {
		return Config{}, fmt.Errorf("there is no file %s: the preset is called %s", path, preset)
	}
	if err != nil {
		return Config{}, fmt.Errorf("config: %w", err)
	}
	defer f.Close()
	c, err := DecodeConfig(f, changes...)
	if err != nil {
		return Config{}, fmt.Errorf("config %s: %w", path, err)
	}
	return c, nil
}

// DecodeConfig reads a configuration, changes it and checks it.
func DecodeConfig(r io.Reader, changes ...Change) (c Config, err error) {
	data, err := io.ReadAll(io.LimitReader(r, maxConfigBytes+1))
	if err != nil {
		return c, err
	}
	if len(data) > maxConfigBytes {
		return c, fmt.Errorf("is larger than %d bytes", maxConfigBytes)
	}
	body, err := parseYAML(data)
	if err != nil {
		return c, err
	}
	uses, err := expandBlocks(body)
	if err != nil {
		return c, err
	}
	if err := decodeNode(body, &c, ""); err != nil {
		return c, err
	}
	for _, change := range changes {
		if err := change(&c); err != nil {
			return c, err
		}
	}
	if err := c.Check(); err != nil {
		return c, err
	}
	return c, atLayer(body, uses, c.Model.Check())
}

// CheckTraining returns the error with which training on any data that the model takes would end before its first step.
func (c Config) CheckTraining() error {
	o, err := c.Training.Options(1)
	if err != nil {
		return err
	}
	return c.Model.CheckTraining(o)
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
	set(&t.Validation, 1)
	if t.Batch == 0 {
		t.Batch = 128
	}
	if t.Precision == "" {
		t.Precision = backend.Precision{}.String()
	}
	if err := c.Data.check(c.Model.Input); err != nil {
		return err
	}
	var err error
	if t.Loss, err = t.Loss.WithDefaults(); err != nil {
		return fmt.Errorf("training.%w", err)
	}
	if _, err := t.precision(); err != nil {
		return fmt.Errorf("training.%w", err)
	}
	for i, how := range t.Corruption {
		if err := how.Check(); err != nil {
			return fmt.Errorf("training.corruption.%d %w", i+1, err)
		}
	}
	if _, err := t.recompute(); err != nil {
		return fmt.Errorf("training.%w", err)
	}
	if err := t.checkTraining(c.Model); err != nil {
		return err
	}
	for _, f := range []struct {
		name     string
		v        float64
		min, max float64
	}{
		{"training.epochs", float64(t.Epochs), 1, 1e6},
		{"training.batch", float64(t.Batch.Of(1)), 1, 1 << 20},
		{"training.validation_freq", float64(t.Validation), 1, 1e6},
		{"training.noise.std", t.Noise.Std, 0, 100}, {"training.ema_decay", t.EMADecay, 0, math.Nextafter(1, 0)},
		{"training.checkpoint_steps", float64(t.Checkpoint), 0, 1e9},
		{"data.limit", float64(c.Data.Limit), 0, 1e9}, {"data.validation_limit", float64(c.Data.ValidationLimit), 0, 1e9},
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

// YAML returns the configuration as DecodeConfig reads it.
func (c Config) YAML() ([]byte, error) {
	data, err := yaml.MarshalWithOptions(c, yaml.IndentSequence(true))
	if err != nil {
		return nil, fmt.Errorf("config: %w", err)
	}
	if len(data) > maxConfigBytes {
		return nil, fmt.Errorf("config: would have %d bytes, want at most %d: data.columns has %d columns, take fewer", len(data), maxConfigBytes, len(c.Data.Columns))
	}
	return data, nil
}

// Write writes the configuration so that ReadConfig reads it back.
func (c Config) Write(path string) error {
	data, err := c.YAML()
	if err != nil {
		return err
	}
	return atomicfile.Write(path, func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	})
}
