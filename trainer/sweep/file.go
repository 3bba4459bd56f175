// Package sweep trains a configuration again and again with other values of some settings, and compares what comes of it.
package sweep

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/convae/convae/trainer"
)

// File is what a sweep's file says.
type File struct {
	Base       string                  `yaml:"base" json:"base"`                           // a preset, or a configuration file beside the sweep's
	Set        map[string]any          `yaml:"set,omitempty" json:"set,omitempty"`         // values of all trials, by path as --set takes it
	Parameters map[string]Distribution `yaml:"parameters" json:"parameters"`               // by path
	Search     string                  `yaml:"search,omitempty" json:"search,omitempty"`   // random or grid
	Trials     int                     `yaml:"trials,omitempty" json:"trials,omitempty"`   // of a random search
	Seed       uint64                  `yaml:"seed,omitempty" json:"seed,omitempty"`       // of a random search
	Metric     string                  `yaml:"metric,omitempty" json:"metric,omitempty"`   // by which trials are compared
	Halving    *Halving                `yaml:"halving,omitempty" json:"halving,omitempty"` // all trials are trained to the end without
	full       int                     // epochs of a whole training, with Halving
	configs    func(settings []Setting) (trainer.Config, error)
}

// Halving is successive halving: all trials are trained for Epochs, the best of them, one of Factor, for Factor times as many, and so on up to the epochs of the
// configuration (Jamieson and Talwalkar, "Non-stochastic best arm identification and hyperparameter optimization", 2016).
type Halving struct {
	Epochs int `yaml:"epochs" json:"epochs"`
	Factor int `yaml:"factor,omitempty" json:"factor,omitempty"` // 3
}

// Distribution says which values a setting has: one of its fields but Points.
type Distribution struct {
	Choice     []any     `yaml:"choice,omitempty" json:"choice,omitempty"`
	Uniform    []float64 `yaml:"uniform,omitempty" json:"uniform,omitempty"`         // least and most
	LogUniform []float64 `yaml:"log_uniform,omitempty" json:"log_uniform,omitempty"` // least and most, above 0
	Int        []int     `yaml:"int,omitempty" json:"int,omitempty"`                 // least and most, both possible
	Points     int       `yaml:"points,omitempty" json:"points,omitempty"`           // of a grid, evenly from least to most
}

// Setting is a value of a path, in YAML.
type Setting struct {
	Path  string `json:"path"`
	Value string `json:"value"`
}

// metrics are those that trials can be compared by.
var metrics = []struct {
	name   string
	of     func(e trainer.Epoch) float64
	higher bool // is better
}{
	{"val_loss", func(e trainer.Epoch) float64 { return e.ValLoss }, false},
	{"val_bce", func(e trainer.Epoch) float64 { return e.ValBCE }, false},
	{"val_mse", func(e trainer.Epoch) float64 { return e.ValMSE }, false},
	{"val_mae", func(e trainer.Epoch) float64 { return e.ValMAE }, false},
	{"val_max_error", func(e trainer.Epoch) float64 { return e.ValMaxError }, false},
	{"val_psnr", func(e trainer.Epoch) float64 { return e.ValPSNR }, true},
	{"val_ssim", func(e trainer.Epoch) float64 { return e.ValSSIM }, true},
}

const maxTrials = 10000

// ReadFile reads a sweep's file, checks it and fills in what is left out. Errors name the file and the field.
func ReadFile(path string) (*File, error) {
	f, err := readFile(path)
	if err != nil {
		return nil, fmt.Errorf("sweep %s: %w", path, err)
	}
	return f, nil
}

func readFile(path string) (*File, error) {
	const most = 1 << 20
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, err
	case info.IsDir():
		return nil, fmt.Errorf("is a folder, want the file (YAML or JSON) that says what to try")
	case !info.Mode().IsRegular() || info.Size() > most:
		return nil, fmt.Errorf("want a file of at most %d bytes", most)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	f := &File{}
	if err := trainer.DecodeYAML(data, f); err != nil {
		return nil, err
	}
	return f, f.check(filepath.Dir(path))
}

// check fills in what is left out, and reports the first field that cannot be. dir is where a base may lie.
func (f *File) check(dir string) error {
	names := make([]string, len(metrics))
	for i, m := range metrics {
		names[i] = m.name
	}
	if f.Search == "" {
		f.Search = "random"
	}
	if f.Metric == "" {
		f.Metric = names[0]
	}
	switch {
	case f.Base == "":
		return fmt.Errorf("base is missing: want a preset (%s) or a configuration file", strings.Join(trainer.Presets(), ", "))
	case f.Search != "random" && f.Search != "grid":
		return fmt.Errorf("search is %q%s", f.Search, trainer.Advice(f.Search, []string{"random", "grid"}, "; want one of"))
	case !slices.Contains(names, f.Metric):
		return fmt.Errorf("metric is %q%s", f.Metric, trainer.Advice(f.Metric, names, "; want one of"))
	case len(f.Parameters) == 0:
		return fmt.Errorf("parameters is missing: want paths, as --set takes them, with a distribution each, as training.batch: {choice: [32, 64]}")
	case f.Search == "grid" && f.Trials != 0:
		return fmt.Errorf("trials is %d with search grid, which tries all values: leave it out", f.Trials)
	case f.Search == "grid" && f.Seed != 0:
		return fmt.Errorf("seed is %d with search grid, which draws nothing: leave it out (training.seed is a setting like others)", f.Seed)
	case f.Search == "random" && (f.Trials < 1 || f.Trials > maxTrials):
		return fmt.Errorf("trials is %d, want 1 to %d", f.Trials, maxTrials)
	}
	if err := f.checkWithin(); err != nil {
		return err
	}
	for _, path := range slices.Sorted(maps.Keys(f.Parameters)) {
		d := f.Parameters[path]
		if err := d.check(f.Search == "grid"); err != nil {
			return fmt.Errorf("parameters.%s: %w", path, err)
		}
		if _, both := f.Set[path]; both {
			return fmt.Errorf("set.%s is set for all trials, and a parameter too: want one of them", path)
		}
	}
	var fixed []Setting
	for _, path := range slices.Sorted(maps.Keys(f.Set)) {
		text, err := valueText(f.Set[path])
		if err != nil {
			return fmt.Errorf("set.%s: %w", path, err)
		}
		fixed = append(fixed, Setting{path, text})
	}
	base := f.Base
	if ext := filepath.Ext(base); (ext == ".yaml" || ext == ".yml" || ext == ".json") && !filepath.IsAbs(base) {
		base = filepath.Join(dir, base)
	}
	f.configs = func(settings []Setting) (trainer.Config, error) {
		var changes []trainer.Change
		for _, s := range slices.Concat(fixed, settings) {
			changes = append(changes, trainer.Set(s.Path+"="+s.Value))
		}
		if base != f.Base || filepath.IsAbs(base) {
			return trainer.ReadConfig(base, changes...)
		}
		return trainer.Preset(base, changes...)
	}
	c, err := f.configs(nil)
	if err != nil {
		return fmt.Errorf("base: %w", err)
	}
	if err := f.checkPaths(); err != nil {
		return err
	}
	if f.Search == "grid" {
		if _, err := f.Settings(); err != nil { // if it has too many
			return err
		}
	}
	return f.checkHalving(c)
}

// checkWithin reports a setting that would be lost, because it is a part of one that a parameter sets as a whole.
func (f *File) checkWithin() error {
	for _, whole := range slices.Sorted(maps.Keys(f.Parameters)) {
		within := func(path string) bool { return strings.HasPrefix(path, whole+".") }
		for _, path := range slices.Sorted(maps.Keys(f.Parameters)) {
			if within(path) {
				return fmt.Errorf("parameters.%s is a part of parameters.%s: want one of them", path, whole)
			}
		}
		for _, path := range slices.Sorted(maps.Keys(f.Set)) {
			if within(path) {
				return fmt.Errorf("set.%s is a part of parameters.%s, which sets it in each trial: want one of them", path, whole)
			}
		}
	}
	return nil
}

// checkPaths reports a parameter whose path there is not, or a value that its setting cannot have whatever the others are.
func (f *File) checkPaths() error {
	for _, path := range slices.Sorted(maps.Keys(f.Parameters)) {
		values, err := f.Parameters[path].ends()
		if err != nil {
			return fmt.Errorf("parameters.%s: %w", path, err)
		}
		for _, v := range values {
			c, err := f.configs(nil)
			if err == nil {
				err = trainer.Set(path + "=" + v)(&c)
			}
			if err != nil {
				return fmt.Errorf("parameters.%s: %w", path, err)
			}
		}
	}
	return nil
}

func (f *File) checkHalving(c trainer.Config) error {
	f.full = c.Training.Epochs
	h := f.Halving
	if h == nil {
		return nil
	}
	if h.Factor == 0 {
		h.Factor = 3
	}
	switch _, swept := f.Parameters["training.epochs"]; {
	case swept:
		return fmt.Errorf("parameters.training.epochs: halving sets the epochs of trials: want one of them")
	case h.Factor < 2 || h.Factor > 1000:
		return fmt.Errorf("halving.factor is %d, want 2 to 1000", h.Factor)
	case h.Epochs < 1 || h.Epochs > f.full:
		return fmt.Errorf("halving.epochs is %d, want 1 to %d, the epochs of the configuration", h.Epochs, f.full)
	}
	return nil
}

// rungs are after how many epochs trials are compared; 0 stands for those of each trial's configuration.
func (f *File) rungs() (epochs []int) {
	if f.Halving == nil {
		return []int{0}
	}
	for e := f.Halving.Epochs; e < f.full; e *= f.Halving.Factor {
		epochs = append(epochs, e)
	}
	return append(epochs, f.full)
}

func (d *Distribution) check(grid bool) error {
	given := 0
	for _, there := range []bool{d.Choice != nil, d.Uniform != nil, d.LogUniform != nil, d.Int != nil} {
		if there {
			given++
		}
	}
	if given != 1 {
		return fmt.Errorf("has %d distributions, want one of choice, uniform, log_uniform and int", given)
	}
	if d.Choice != nil {
		switch {
		case len(d.Choice) == 0:
			return fmt.Errorf("choice is empty, want values")
		case d.Points != 0:
			return fmt.Errorf("points is %d with choice, which has as many as it lists: leave it out", d.Points)
		}
		return nil
	}
	name, lo, hi, n := d.bounds()
	switch {
	case n != 2:
		return fmt.Errorf("%s has %d numbers, want two, the least and the most", name, n)
	case !(lo <= hi) || math.IsInf(lo, 0) || math.IsInf(hi, 0) || d.Int == nil && lo == hi:
		return fmt.Errorf("%s is [%g, %g], want the least first and then the most", name, lo, hi)
	case d.LogUniform != nil && lo <= 0:
		return fmt.Errorf("log_uniform begins with %g, want more than 0", lo)
	case d.Int != nil && hi-lo >= 1<<31:
		return fmt.Errorf("int is [%g, %g], want less than %d numbers", lo, hi, 1<<31)
	case !grid && d.Points != 0:
		return fmt.Errorf("points is %d with search random, which draws: leave it out, or search grid", d.Points)
	case grid && d.Points == 0 && d.Int == nil:
		return fmt.Errorf("points is missing: a grid tries so many values of %s", name)
	case d.Points != 0 && (d.Points < 2 || d.Points > maxTrials):
		return fmt.Errorf("points is %d, want 2 to %d", d.Points, maxTrials)
	}
	return nil
}

// bounds returns the name of what is no choice, and its n numbers.
func (d *Distribution) bounds() (name string, lo, hi float64, n int) {
	list := d.Uniform
	name = "uniform"
	switch {
	case d.LogUniform != nil:
		name, list = "log_uniform", d.LogUniform
	case d.Int != nil:
		name, list = "int", nil
		for _, v := range d.Int {
			list = append(list, float64(v))
		}
	}
	if len(list) == 2 {
		lo, hi = list[0], list[1]
	}
	return name, lo, hi, len(list)
}

// valueText writes a value so that a setting takes it: JSON is YAML.
func valueText(v any) (string, error) {
	switch s, ok := v.(string); {
	case v == nil:
		return "null", nil
	case ok:
		if _, err := strconv.ParseFloat(s, 64); err == nil {
			return s, nil // 1e-3 is text to the library, and a number to a setting
		}
	}
	text, err := json.Marshal(v)
	if err != nil {
		return "", fmt.Errorf("is no value that a setting takes: %w", err)
	}
	return string(text), nil
}
