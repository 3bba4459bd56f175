package trainer

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"

	"github.com/goccy/go-yaml"

	"github.com/convae/convae/nn"
	"github.com/convae/convae/nn/safetensors"
	"github.com/convae/convae/trainer/atomicfile"
)

// configKey is the key of a file's metadata that has the configuration as JSON.
const configKey = "config"

// SaveModel writes a model, its weights and its configuration, to one file, which LoadModel reads back.
func SaveModel(path string, m *nn.Model) error { return SaveModelAs(path, m, Config{}) }

// SaveModelAs writes a model with all of the configuration that it was trained with, so that the file says what data it is
// for, how they were scaled, and how noisy they were.
func SaveModelAs(path string, m *nn.Model, c Config) error {
	c.Model = m.Config
	config, err := c.JSON()
	if err != nil {
		return err
	}
	f := safetensors.File{Tensors: m.Tensors(), Metadata: map[string]string{"format": "pt", "model": m.Config.Name, configKey: string(config)}}
	if text, found := notFinite(f.Tensors); found {
		return fmt.Errorf("write %s: %s: want finite weights", path, text)
	}
	f.AddChecksum()
	return atomicfile.Write(path, func(w io.Writer) error { return f.Write(w) })
}

// JSON returns the configuration as JSON, which DecodeConfig reads too.
func (c Config) JSON() ([]byte, error) {
	if c.Training.Batch == 0 {
		if err := c.Check(); err != nil { // which fills in what is not given
			return nil, err
		}
	}
	data, err := yaml.MarshalWithOptions(c, yaml.JSON())
	if err != nil {
		return nil, fmt.Errorf("config: %w", err)
	}
	return data, nil
}

// LoadWeights reads weights that SaveModel or PyTorch wrote into a model of the same structure.
func LoadWeights(path string, m *nn.Model) error {
	f, err := safetensors.ReadFile(path)
	if err != nil {
		return err
	}
	return setWeights(path, f, m)
}

func setWeights(path string, f *safetensors.File, m *nn.Model) error {
	if err := checkFinite(path, f); err != nil {
		return err
	}
	if err := m.SetTensors(f); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// checkFinite reports weights that are not finite: nothing sound comes of them.
func checkFinite(path string, f *safetensors.File) error {
	if text, found := notFinite(f.Tensors); found {
		return fmt.Errorf("%s: %s: want finite weights; a training that diverged may have written these", path, text)
	}
	return nil
}

// NewModel draws the weights that training begins with, or reads them from the configuration's training.init, a file or the folder of a run. What of that
// file does not fit the model is told to note; that nothing fits is an error.
func (c Config) NewModel(note func(string)) (*nn.Model, error) {
	m, err := nn.New(c.Model, c.Training.Seed)
	path := c.Training.Init
	if err != nil || path == "" {
		return m, err
	}
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		path = filepath.Join(path, ModelFile)
	}
	f, err := safetensors.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("training.init: %w", err)
	}
	if err := checkFinite(path, f); err != nil {
		return nil, fmt.Errorf("training.init: %w", err)
	}
	taken, misfits, err := m.TakeTensors(f)
	if err != nil {
		return nil, fmt.Errorf("training.init: %s: %w", path, err)
	}
	if taken == 0 {
		return nil, fmt.Errorf("training.init: no tensor of %s fits model %q: %s", path, c.Model.Name, misfits)
	}
	if len(misfits) > 0 {
		note(fmt.Sprintf("%d of the model's %d tensors begin as in %s, the others as drawn: %s", taken, len(m.Params), path, misfits))
	}
	return m, nil
}

// newModel makes the model that training begins with. One that goes on has its weights in a checkpoint.
func (s *session) newModel() (*nn.Model, error) {
	if !s.writes() {
		return nn.New(s.c.Model, s.c.Training.Seed) // rank 0 gives it its weights
	}
	if resume, err := s.resumes(); err != nil {
		return nil, err
	} else if resume {
		return nn.New(s.c.Model, s.c.Training.Seed)
	}
	return s.c.NewModel(s.o.Observer.Note)
}

// LoadModel reads the model of a run's folder, or of a file that SaveModel or training wrote. A file of weights alone has
// to lie beside a config.yaml.
func LoadModel(path string) (*nn.Model, Config, error) {
	weights := path
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, Config{}, fmt.Errorf("there is no %s: want the folder of a run, or its %s", path, ModelFile)
	}
	if err != nil {
		return nil, Config{}, fmt.Errorf("model: %w", err)
	}
	var c Config
	if info.IsDir() {
		weights = filepath.Join(path, ModelFile)
		if c, err = configBeside(path); err != nil { // before the weights: a folder without it is no run
			return nil, c, err
		}
	}
	f, err := safetensors.ReadFile(weights)
	if err != nil {
		return nil, c, err
	}
	if !info.IsDir() {
		if c, err = fileConfig(path, f); err != nil {
			return nil, c, err
		}
	}
	m, err := nn.New(c.Model, c.Training.Seed)
	if err != nil {
		return nil, c, fmt.Errorf("%s: %w", path, err)
	}
	return m, c, setWeights(weights, f, m)
}

// ReadModelConfig reads the configuration of the model in a file that SaveModel or training wrote.
func ReadModelConfig(path string) (Config, error) {
	f, err := safetensors.ReadFile(path)
	if err != nil {
		return Config{}, err
	}
	return fileConfig(path, f)
}

// fileConfig returns the configuration that a file of weights carries, or the one beside it: that may have been written
// since, by a run that went on, but stands for the file only if it describes the same model.
func fileConfig(path string, f *safetensors.File) (Config, error) {
	beside, err := configBeside(filepath.Dir(path))
	text, ok := f.Metadata[configKey]
	if !ok {
		if errors.Is(err, fs.ErrNotExist) {
			err = fmt.Errorf("%s has weights alone, and no %s lies beside it: want the configuration of its model too, with --config", path, ConfigFile)
		}
		return beside, err
	}
	own, ownErr := DecodeConfig(strings.NewReader(text))
	switch {
	case err == nil && (ownErr != nil || reflect.DeepEqual(own.Model, beside.Model)):
		return beside, nil
	case ownErr != nil:
		return own, fmt.Errorf("%s: the configuration in its metadata: %w", path, ownErr)
	}
	return own, nil
}

// configBeside reads the configuration in a run's folder.
func configBeside(dir string) (Config, error) {
	c, err := ReadConfig(filepath.Join(dir, ConfigFile))
	if errors.Is(err, fs.ErrNotExist) {
		return c, fmt.Errorf("%s is no run: it has no %s (%w)", dir, ConfigFile, fs.ErrNotExist)
	}
	return c, err
}
