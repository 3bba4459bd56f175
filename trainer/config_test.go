package trainer

import (
	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/convae/convae/nn"
	"github.com/convae/convae/nn/rng"
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

// The document shows the preset as it is.
func TestDocumentShowsPreset(t *testing.T) {
	shown := string(readFile(t, "..", "docs", "configuration.md"))
	_, preset, _ := strings.Cut(string(readFile(t, "presets", "denoiser.yaml")), "\n") // without its comment
	if !strings.Contains(shown, preset) {
		t.Error("docs/configuration.md does not show presets/denoiser.yaml")
	}
}

// The configurations that the documents show whole can be trained.
func TestDocumentsShowConfigurations(t *testing.T) {
	shown := 0
	documents, err := filepath.Glob("../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range append(documents, "../README.md") {
		for _, block := range strings.Split(string(readFile(t, path)), "```yaml\n")[1:] {
			text, _, _ := strings.Cut(block, "```")
			if !strings.HasPrefix(text, "model:") || !strings.Contains(text, "\ntraining:") {
				continue
			}
			shown++
			c, err := DecodeConfig(strings.NewReader(text))
			if err == nil {
				_, err = nn.New(c.Model, 1)
			}
			if err != nil {
				t.Errorf("%s: %v in\n%s", path, err, text)
			}
		}
	}
	if shown < 2 {
		t.Errorf("the documents show %d configurations", shown)
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
		{"unknown field", "filters: 2", "filtres: 2", `line 6, column 16: unknown field "filtres" in model.encoder.1.conv2d, perhaps filters; want one of filters, kernel, stride`},
		{"unknown layer", "- conv2d: {filters: 2, kernel: 3}", "- conv3d: {}", `line 6, column 7: unknown field "conv3d" in model.encoder.1, perhaps conv2d; want one of conv2d, conv2d_transpose`},
		{"layer's input", "- conv2d: {filters: 2, kernel: 3}", "- conv2d: {filters: 2, kernel: 3}\n      inputs: [nowhere]", `line 6, column 7: nn: encoder layer 1: its input "nowhere" is the name of no layer: want one of input`},
		{"two layers", "- conv2d: {filters: 2, kernel: 3}", "- conv2d: {filters: 2, kernel: 3}\n      flatten: {}", "model.encoder.1 names 2 layers (conv2d, flatten)"},
		{"no layer", "- conv2d: {filters: 2, kernel: 3}", "- name: a", "model.encoder.1 names no layer: want one of conv2d"},
		{"unknown part", "training:", "trainings:", `unknown field "trainings", perhaps training; want one of model, data, training`},
		{"type", "epochs: 2", "epochs: many", `line 10, column 11: training.epochs is "many", want a whole number`},
		{"fraction", "epochs: 2", "epochs: 1.5", "line 10, column 11: training.epochs is 1.5, want a whole number"},
		{"switch", "epochs: 2", "keep_best: 1", "training.keep_best is 1, want true or false"},
		{"rate", "epochs: 2", "optimizer: {name: adam, learning_rate: fast}", `training.optimizer.learning_rate is "fast", want a number`},
		{"group", "epochs: 2", "optimizer: adam", `training.optimizer is "adam", want fields: name, learning_rate, momentum`},
		{"seed", "epochs: 2", "seed: -1", "training.seed is -1, want a whole number of 0 or more"},
		{"large", "epochs: 2", "epochs: 99999999999999999999", `training.epochs is "99999999999999999999", want a whole number`},
		{"list", "[8, 8, 1]", "8", "line 4, column 10: model.input is 8, want a list, as [a, b]"},
		{"item", "[8, 8, 1]", "[8, 8, x]", `model.input.3 is "x", want a whole number`},
		{"text", "name: m", "name: [m]", "model.name is a list, want text"},
		{"batch", "epochs: 2", "batch: 1.5", `line 10, column 10: training.batch is 1.5, want a number of samples, or full`},
		{"layer", "filters: 2", "filters: 2.5", "model.encoder.1.conv2d.filters is 2.5, want a whole number"},
		{"kernel of a fraction", "kernel: 3", "kernel: 3.5", "line 6, column 36: model.encoder.1.conv2d.kernel is 3.5, want a whole number, or [rows, columns]"},
		{"no space", "epochs: 2", "epochs:2", `training is "epochs:2", want fields: epochs, batch, loss, optimizer,`},
		{"no space", "training:\n  epochs: 2", "training:\n  seed: 1\n  epochs:2", "with a space after the colon"},
		{"tab", "  epochs: 2", "\tepochs: 2", "indent with spaces"},
		{"documents", "training:", "---\ntraining:", "has 2 documents, want one"},
		{"duplicate", "epochs: 2", "epochs: 2\n  epochs: 3", "line 11, column 3"},
		{"kernel", "[1, 3]", "[1, 3, 5]", "line 8, column 36: model.decoder.1.conv2d.kernel is a list, want a whole number, or [rows, columns]"},
		{"syntax", "[8, 8, 1]", "[8, 8", "line"},
		{"impossible size", "filters: 2", "filters: 9999999999999", "more than"},
		{"epochs", "epochs: 2", "epochs: -1", "training.epochs is -1, want 1 to"},
		{"loss", "epochs: 2", "loss: l7", `training.loss is "l7", want one of bce, mse, l1`},
		{"noise", "epochs: 2", "noise: {std: .nan}", "training.noise.std is NaN"},
		{"corruption", "epochs: 2", "corruption: [{fog: {std: 1}}]", "fog"},
		{"corruption's number", "epochs: 2", "corruption: [{blur: {share: 1}}]", "share"},
		{"corruption's range", "epochs: 2", "corruption: [{masking: {share: 0.5}}]", "masking: size is 0, want 1 to"},
		{"corruption's field", "epochs: 2", "corruption: [{masking: {much: 0.5}}]", `unknown field "much" in training.corruption.1.masking; want one of size, share, value`},
		{"quality of JPEG", "epochs: 2", "corruption: [{jpeg: {quality: [30, 101]}}]", "jpeg: quality is 30 to 101, want 1 to 100"},
		{"qualities of JPEG", "epochs: 2", "corruption: [{jpeg: {quality: [1, 2, 3]}}]", "want a whole number, or [least, most]"},
		{"two corruptions in one", "epochs: 2", "corruption: [{blur: {std: 1}, downscale: {factor: 2}}]", "names 2 kinds of corruption: want one of gaussian"},
		{"patience", "epochs: 2", "early_stopping: {patience: 0}", "early_stopping: patience is 0"},
		{"optimizer", "epochs: 2", "optimizer: {name: sdg}", `optimizer is "sdg"`},
		{"not YAML", goodConfig, "\x00\x01\x02", "is no text: want YAML or JSON in UTF-8"},
		{"a list", goodConfig, "- 1\n- 2", "want fields: model"},
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
	if err := os.WriteFile(big, bytes.Repeat([]byte("# x\n"), maxConfigBytes/4+1), 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadConfig(big); err == nil || !strings.Contains(err.Error(), "larger than") {
		t.Errorf("a huge file: error %v", err)
	}
}

// Numbers that are whole, however they are written, anchors and empty fields are read.
func TestConfigForms(t *testing.T) {
	text := strings.Replace(goodConfig, "epochs: 2", "epochs: 1000.0\n  seed: 18446744073709551615\n  clip:\n  contractive: {weight: 1e-3}\n  batch: &n 16\n  checkpoint_steps: *n", 1)
	c, err := DecodeConfig(strings.NewReader(text))
	if tr := c.Training; err != nil || tr.Epochs != 1000 || tr.Seed != 1<<64-1 || tr.Contractive.Weight != 1e-3 || tr.Batch != 16 || tr.Checkpoint != 16 {
		t.Errorf("%+v, %v", c.Training, err)
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
	c.Training.Corruption = []Corruption{{Masking: &Masking{Size: 4, Share: 0.5, Value: 0.25}}, {SaltAndPepper: &Share{0.125}}, {Blur: &Deviation{1.5}}, {Downscale: &Downscale{4}}, {JPEG: &JPEG{Quality{30, 30}}}, {JPEG: &JPEG{Quality{10, 50}}}}
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
		if name == "kl-f8" { // kl-small is the same and shorter
			continue
		}
		data, err := presets.ReadFile("presets/" + name + ".yaml")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte(blockConfig))
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
		again := filepath.Join(t.TempDir(), "again.yaml")
		if err := back.Write(again); err != nil || !bytes.Equal(readFile(t, again), readFile(t, path)) {
			t.Fatalf("%v; %s came back as %s", err, readFile(t, path), readFile(t, again))
		}
	})
}
