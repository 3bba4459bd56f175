package trainer

import (
	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/convae/convae/nn"
	"github.com/convae/convae/nn/safetensors"
)

// A configuration is the same in JSON as in YAML.
func TestPresetsAsJSON(t *testing.T) {
	for _, name := range Presets() {
		want, err := Preset(name)
		if err != nil {
			t.Fatal(err)
		}
		text, err := want.JSON()
		if err != nil {
			t.Fatal(err)
		}
		if got, err := DecodeConfig(bytes.NewReader(text)); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %v, read back from JSON as %+v", name, err, got)
		}
	}
}

// One file holds a model, its weights and, if training wrote it, what it was trained on.
func TestModelInOneFile(t *testing.T) {
	c := smallConfig()
	c.Training.Epochs = 1
	dir := filepath.Join(t.TempDir(), "run")
	if _, err := Train(t.Context(), c, smallOptions(t, dir)); err != nil {
		t.Fatal(err)
	}
	want, wantConfig, err := LoadModel(dir)
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(dir, ModelFile))
	if err != nil {
		t.Fatal(err)
	}
	alone := filepath.Join(t.TempDir(), "mine.safetensors")
	if err := os.WriteFile(alone, data, 0o666); err != nil {
		t.Fatal(err)
	}
	other, err := Preset("dense32")
	if err != nil {
		t.Fatal(err)
	}
	for _, beside := range []string{"nothing", "the configuration of another model"} {
		if beside != "nothing" {
			if err := other.Write(filepath.Join(filepath.Dir(alone), ConfigFile)); err != nil {
				t.Fatal(err)
			}
		}
		m, got, err := LoadModel(alone)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, wantConfig) || !reflect.DeepEqual(m.Params, want.Params) {
			t.Errorf("with %s beside it the file is read as %+v", beside, got)
		}
	}
	// A model that was never trained here.
	if err := SaveModel(alone, want); err != nil {
		t.Fatal(err)
	}
	if m, got, err := LoadModel(alone); err != nil || !reflect.DeepEqual(m.Params, want.Params) || !reflect.DeepEqual(got.Model, want.Config) {
		t.Errorf("%v, %+v", err, got)
	}
}

// A file of weights alone needs the model from elsewhere.
func TestWeightsAlone(t *testing.T) {
	m, err := nn.New(smallConfig().Model, 5)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "weights.safetensors")
	var b bytes.Buffer
	if err := (&safetensors.File{Tensors: m.Tensors()}).Write(&b); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b.Bytes(), 0o666); err != nil {
		t.Fatal(err)
	}
	if _, _, err := LoadModel(path); err == nil || !strings.Contains(err.Error(), "weights.safetensors has weights alone, and no config.yaml lies beside it") {
		t.Errorf("error %v", err)
	}
	if _, _, err := LoadModel(dir); err == nil || !strings.Contains(err.Error(), "is no run: it has no config.yaml") {
		t.Errorf("error %v", err)
	}
	c := smallConfig()
	if err := c.Write(filepath.Join(dir, ConfigFile)); err != nil {
		t.Fatal(err)
	}
	if got, _, err := LoadModel(path); err != nil || !reflect.DeepEqual(got.Params, m.Params) {
		t.Errorf("with its configuration beside it: %v", err)
	}
}
