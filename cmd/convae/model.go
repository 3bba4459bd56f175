package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/convae/convae/nn"
	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/device"
	"github.com/convae/convae/trainer"
)

const (
	runsDir    = "runs" // where train makes the folders of new runs
	maxStd     = 100    // largest standard deviation of noise
	deviceHelp = "device: auto, cuda, cuda:1, cpu, sim (a simulated GPU); a group that trains together: all (GPUs), cuda:0,cuda:2 or sim:2"
)

// modelFlags are the flags of the commands that run a trained model.
type modelFlags struct{ model, config, device string }

func (f *modelFlags) add(c *cobra.Command) {
	f.addModel(c)
	c.Flags().StringVar(&f.device, "device", "auto", deviceHelp)
}

// addModel adds those that name the model.
func (f *modelFlags) addModel(c *cobra.Command) {
	c.Flags().StringVar(&f.model, "model", "", "run folder, or its model.safetensors (default: the newest in "+runsDir+"/)")
	f.addConfig(c)
}

func (f *modelFlags) addConfig(c *cobra.Command) {
	c.Flags().StringVar(&f.config, "config", "", "the model of a file of weights alone, such as PyTorch's: a PRESET, a CONFIG.yaml or a run")
}

// load reads the model and returns where it is.
func (f *modelFlags) load() (m *nn.Model, c trainer.Config, path string, err error) {
	if f.config != "" {
		return f.loadParts()
	}
	if path, err = findModel(f.model); err == nil {
		m, c, err = trainer.LoadModel(path)
	}
	return m, c, path, err
}

// loadParts reads a model of which the configuration and the weights are apart.
func (f *modelFlags) loadParts() (m *nn.Model, c trainer.Config, path string, err error) {
	if !hasEnding(f.model, ".safetensors") {
		return nil, c, "", errors.New("--config says which model the weights of a file are of: want that WEIGHTS.safetensors too")
	}
	if c, err = readConfig(f.config); err != nil {
		return nil, c, "", err
	}
	if m, err = nn.New(c.Model, c.Training.Seed); err != nil {
		return nil, c, "", err
	}
	return m, c, f.model, trainer.LoadWeights(f.model, m)
}

// findModel returns path or, if that is empty, the newest run that has a model.
func findModel(path string) (string, error) {
	if path != "" {
		return path, nil
	}
	entries, err := os.ReadDir(runsDir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("find a model: %w", err)
	}
	var newest time.Time
	for _, e := range entries {
		run := filepath.Join(runsDir, e.Name())
		info, err := os.Stat(filepath.Join(run, trainer.ModelFile))
		if err == nil && !info.IsDir() && !info.ModTime().Before(newest) {
			path, newest = run, info.ModTime()
		}
	}
	if path == "" {
		return "", fmt.Errorf("there is no model in %s/: train one first with `convae train`, or name a run", runsDir)
	}
	return path, nil
}

// deviceText names a device with what it says of itself.
func deviceText(dev backend.Device) string {
	if s, ok := dev.(fmt.Stringer); ok {
		return s.String()
	}
	return dev.Name()
}

// openDevice opens a device and says why auto chose it.
func openDevice(name string) (dev backend.Device, reason string, err error) {
	dev, reason, err = device.Open(name)
	if err != nil {
		return nil, "", fmt.Errorf("--device %s: %w", name, err)
	}
	return dev, reason, nil
}

// openNetwork places a model on a device, of which it returns the name. closeNet gives both back.
func openNetwork(m *nn.Model, device string) (net *nn.Network, name string, closeNet func(), err error) {
	dev, _, err := openDevice(device)
	if err != nil {
		return nil, "", nil, err
	}
	if net, err = nn.NewNetwork(m, dev, nn.NetworkOptions{}); err != nil {
		return nil, "", nil, errors.Join(err, dev.Close())
	}
	return net, dev.Name(), func() { net.Close(); dev.Close() }, nil
}

// checkOutput reports an output file that has none of the endings, or that is also an input.
func checkOutput(out, in string, endings ...string) error {
	if !hasEnding(out, endings...) {
		return fmt.Errorf("output file is %s, want a name that ends in %s", out, strings.Join(endings, " or "))
	}
	a, errA := os.Stat(in)
	b, errB := os.Stat(out)
	if errA == nil && errB == nil && os.SameFile(a, b) {
		return fmt.Errorf("output file %s is the input: want another, so that the input is not lost", out)
	}
	return nil
}

// checkTable is checkOutput for what may be written as CSV to the standard output.
func checkTable(out, in string, endings ...string) error {
	if out == standard {
		return nil
	}
	return checkOutput(out, in, endings...)
}

// configEndings are those of configuration files: JSON is YAML, too.
var configEndings = []string{".yaml", ".yml", ".json"}

// hasEnding reports whether path ends so, in letters of either case.
func hasEnding(path string, endings ...string) bool {
	for _, e := range endings {
		if strings.EqualFold(filepath.Ext(path), e) {
			return true
		}
	}
	return false
}
