package main

import (
	"bytes"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/convae/convae/trainer"
	"github.com/convae/convae/trainer/metric"
)

func TestWriteJSON(t *testing.T) {
	type inner struct {
		Deep float32 `json:"deep"`
	}
	var b bytes.Buffer
	v := map[string]any{"values": metric.Values{N: 3, MSE: math.NaN()}, "list": []float64{1, math.Inf(-1)}, "none": (*inner)(nil), "sub": struct {
		inner
		Skipped int `json:",omitempty"`
	}{inner: inner{float32(math.Inf(1))}}}
	if err := writeJSON(&b, v); err != nil {
		t.Fatal(err)
	}
	var back map[string]any
	if err := json.Unmarshal(b.Bytes(), &back); err != nil {
		t.Fatal(err)
	}
	values, list, sub := back["values"].(map[string]any), back["list"].([]any), back["sub"].(map[string]any)
	if mse, ok := values["MSE"]; !ok || mse != nil || values["N"] != 3.0 || list[0] != 1.0 || list[1] != nil || back["none"] != nil || len(sub) != 1 {
		t.Errorf("%s", b.Bytes())
	}
}

// Weights that are not finite are refused; a model whose outputs are not is measured, and the exit status tells.
func TestEvalNotFinite(t *testing.T) {
	dir := t.TempDir()
	config := write(t, []byte(strings.Replace(tinyConfig, "sigmoid}", "linear}", 1)), dir, "tiny.yaml")
	run := func(args ...string) (string, error) {
		out, _, err := run(t, args...)
		return out, err
	}
	model := filepath.Join(dir, "run")
	if _, err := run("train", config, "--loss", "mse", "--out", model, "--device", "cpu"); err != nil {
		t.Fatal(err)
	}
	m, _, err := trainer.LoadModel(model)
	if err != nil {
		t.Fatal(err)
	}
	for i := range m.Params {
		for k := range m.Params[i].Data {
			m.Params[i].Data[k] = 3e38
		}
	}
	if err := trainer.SaveModel(filepath.Join(model, trainer.ModelFile), m); err != nil {
		t.Fatal(err)
	}
	for _, flags := range [][]string{{"--json"}, nil} {
		out, err := run(append([]string{"eval", model}, flags...)...)
		if err == nil || !strings.Contains(err.Error(), "the model makes values that are not finite") || flags != nil && !json.Valid([]byte(out)) || out == "" {
			t.Errorf("eval %v: %v\n%s", flags, err, out)
		}
	}
	m.Params[0].Data[1] = float32(math.NaN())
	if err := trainer.SaveModel(filepath.Join(dir, "nan.safetensors"), m); err == nil || !strings.Contains(err.Error(), "value 1 of tensor encoder.0.weight is NaN") {
		t.Errorf("saving NaN: %v", err)
	}
	data := mustRead(t, filepath.Join(model, trainer.ModelFile))
	copy(data[len(data)-4:], []byte{0, 0, 0xc0, 0x7f})
	data = bytes.Replace(data, []byte("convae_sha256"), []byte("others_sha256"), 1) // as a file of others, which has no checksum
	write(t, data, model, trainer.ModelFile)
	if _, err := run("eval", model); err == nil || !strings.Contains(err.Error(), "is NaN: want finite weights") {
		t.Errorf("NaN weights: %v", err)
	}
}

func mustRead(t testing.TB, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}
