package trainer

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"convae/nn"
	"convae/nn/rng"
)

var testSource = rng.Source{Seed: 11, Stream: rng.StreamTest}

func TestPresets(t *testing.T) {
	for _, name := range Presets() {
		if _, err := Preset(name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	c, err := Preset("denoiser")
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(c.Model, nn.Denoiser()) {
		t.Errorf("the preset's model is %+v, nn.Denoiser's %+v", c.Model, nn.Denoiser())
	}
	if _, err := Preset("nosuch"); err == nil || !strings.Contains(err.Error(), "the presets are denoiser") {
		t.Errorf("error %v", err)
	}
}

// The README shows the preset as it is.
func TestREADMEShowsPreset(t *testing.T) {
	readme := string(readFile(t, "..", "README.md"))
	_, preset, _ := strings.Cut(string(readFile(t, "presets", "denoiser.yaml")), "\n") // without its comment
	if !strings.Contains(readme, preset) {
		t.Error("README.md does not show presets/denoiser.yaml")
	}
}

const goodConfig = `
model:
  name: m
  input: [8, 8, 1]
  encoder:
    - conv2d: {filters: 2, kernel: 3}
  decoder:
    - conv2d: {filters: 1, kernel: [1, 3], activation: sigmoid}
training:
  epochs: 2
`

func TestConfigErrors(t *testing.T) {
	if _, err := DecodeConfig(strings.NewReader(goodConfig)); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, old, new, want string }{
		{"empty", goodConfig, "", "the file is empty"},
		{"unknown field", "filters: 2", "filtres: 2", `line 6, column 16: unknown field "filtres", perhaps filters; want one of filters, kernel, stride`},
		{"unknown layer", "- conv2d: {filters: 2, kernel: 3}", "- conv3d: {}", `line 6, column 7: unknown field "conv3d", perhaps conv2d; want one of conv2d, conv2d_transpose`},
		{"unknown part", "training:", "trainings:", `unknown field "trainings", perhaps training; want one of model, data, training`},
		{"type", "epochs: 2", "epochs: many", "line 10, column 11"},
		{"duplicate", "epochs: 2", "epochs: 2\n  epochs: 3", "line 11, column 3"},
		{"kernel", "[1, 3]", "[1, 3, 5]", "want a number or [height, width]"},
		{"syntax", "[8, 8, 1]", "[8, 8", "line"},
		{"impossible size", "filters: 2", "filters: 9999999999999", "more than"},
		{"epochs", "epochs: 2", "epochs: -1", "training.epochs is -1, want 1 to"},
		{"loss", "epochs: 2", "loss: l7", `training.loss is "l7", want bce or mse`},
		{"noise", "epochs: 2", "noise: {std: .nan}", "training.noise.std is NaN"},
		{"patience", "epochs: 2", "early_stopping: {patience: 0}", "early_stopping: patience is 0"},
		{"optimizer", "epochs: 2", "optimizer: {name: sdg}", `optimizer is "sdg"`},
		{"not YAML", goodConfig, "\x00\x01\x02", ""},
		{"list", goodConfig, "- 1\n- 2", ""},
	} {
		_, err := DecodeConfig(strings.NewReader(strings.Replace(goodConfig, c.old, c.new, 1)))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one with %q", c.name, err, c.want)
		} else if strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: the error has several lines: %q", c.name, err)
		}
	}
	if _, err := ReadConfig(filepath.Join(t.TempDir(), "none.yaml")); err == nil || !strings.Contains(err.Error(), "none.yaml") {
		t.Errorf("missing file: error %v", err)
	}
	big := filepath.Join(t.TempDir(), "big.yaml")
	if err := os.WriteFile(big, bytes.Repeat([]byte("# x\n"), 1<<19), 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadConfig(big); err == nil || !strings.Contains(err.Error(), "larger than") {
		t.Errorf("a huge file: error %v", err)
	}
}

// Writing a configuration and reading it back changes nothing.
func TestConfigRoundTrip(t *testing.T) {
	c, err := DecodeConfig(strings.NewReader(goodConfig))
	if err != nil {
		t.Fatal(err)
	}
	c.Training.EarlyStopping = &EarlyStopping{Patience: 3, MinDelta: 1e-4}
	c.Training.Noise = Noise{Std: 0.25, Fresh: true}
	c.Training.Seed = 1<<64 - 1
	c.Training.Optimizer = nn.Optimizer{Name: "sgd", LearningRate: 0.1, Momentum: 0.9, Nesterov: true}
	path := filepath.Join(t.TempDir(), "config.yaml")
	if err := c.Write(path); err != nil {
		t.Fatal(err)
	}
	back, err := ReadConfig(path)
	if err != nil {
		t.Fatalf("%v\n%s", err, readFile(t, path))
	}
	if !reflect.DeepEqual(c, back) {
		t.Errorf("wrote %+v, read %+v\n%s", c, back, readFile(t, path))
	}
}

func FuzzConfig(f *testing.F) {
	f.Add([]byte(goodConfig))
	for _, name := range Presets() {
		data, err := presets.ReadFile("presets/" + name + ".yaml")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte("model: {input: [1], encoder: [{flatten: {}}], decoder: [{dense: {units: 1}}]}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := DecodeConfig(bytes.NewReader(data))
		if err != nil {
			return
		}
		path := filepath.Join(t.TempDir(), "c.yaml")
		if err := c.Write(path); err != nil {
			t.Fatal(err)
		}
		back, err := ReadConfig(path)
		if err != nil {
			t.Fatalf("%v\n%s", err, readFile(t, path))
		}
		if fmt.Sprintf("%+v", back.Training) != fmt.Sprintf("%+v", c.Training) {
			t.Fatalf("%+v came back as %+v", c.Training, back.Training)
		}
	})
}
