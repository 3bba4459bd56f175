package trainer

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/convae/convae/nn"
	"github.com/convae/convae/nn/safetensors"
	"github.com/convae/convae/trainer/atomicfile"
)

// Files of a run's folder.
const (
	ConfigFile  = "config.yaml"
	ModelFile   = "model.safetensors"
	bestFile    = "best.safetensors" // weights of the best epoch so far
	SamplesFile = "samples.png"
	LossFile    = "loss.png"
)

// startFiles are in a run's folder before its first checkpoint.
var startFiles = []string{ConfigFile, historyCSV, historyJSON, checkpointDir}

// createRun makes the folder of a new run. One that exists must be empty, so that no earlier run is overwritten; with
// again it may also hold a run that ended before its first checkpoint.
func createRun(dir string, again bool) error {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return fmt.Errorf("run folder: %w", err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("run folder: %w", err)
	}
	foreign := func(e os.DirEntry) bool {
		return !slices.Contains(startFiles, e.Name()) && !atomicfile.IsTemp(e.Name())
	}
	if len(entries) > 0 && (!again || slices.ContainsFunc(entries, foreign)) {
		return fmt.Errorf("run folder %s is not empty: choose another, or go on with --resume %s", dir, dir)
	}
	return nil
}

// SaveModel writes a model's weights.
func SaveModel(path string, m *nn.Model) error {
	f := safetensors.File{Tensors: m.Tensors(), Metadata: map[string]string{"format": "pt", "model": m.Config.Name}}
	return atomicfile.Write(path, func(w io.Writer) error { return f.Write(w) })
}

// LoadWeights reads weights that SaveModel or PyTorch wrote into a model of the same structure.
func LoadWeights(path string, m *nn.Model) error {
	f, err := safetensors.ReadFile(path)
	if err != nil {
		return err
	}
	if err := m.SetTensors(f); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// LoadModel reads the model of a run: its folder, or its model.safetensors with config.yaml beside it.
func LoadModel(path string) (*nn.Model, Config, error) {
	weights := path
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, Config{}, fmt.Errorf("there is no %s: want the folder of a run, or its %s", path, ModelFile)
	}
	if err != nil {
		return nil, Config{}, fmt.Errorf("model: %w", err)
	}
	dir := path
	if info.IsDir() {
		weights = filepath.Join(path, ModelFile)
	} else {
		dir = filepath.Dir(path)
	}
	c, err := ReadConfig(filepath.Join(dir, ConfigFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, c, fmt.Errorf("%s is no run: it has no %s", dir, ConfigFile)
	}
	if err != nil {
		return nil, c, err
	}
	m, err := nn.New(c.Model, c.Training.Seed)
	if err != nil {
		return nil, c, fmt.Errorf("config %s: %w", filepath.Join(dir, ConfigFile), err)
	}
	return m, c, LoadWeights(weights, m)
}
