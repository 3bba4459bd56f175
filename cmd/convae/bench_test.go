package main

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/convae/convae/nn/safetensors"
)

func TestBench(t *testing.T) {
	dir := t.TempDir()
	config := write(t, []byte(tinyConfig), dir, "tiny.yaml")
	out, _, err := run(t, "bench", config, "--device", "cpu", "--train", "8", "--predict", "1,4", "--seconds", "0.01", "--rounds", "3", "--json")
	if err != nil {
		t.Fatal(err)
	}
	var r struct {
		Device, Model string
		Rows          []benchRow
	}
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		t.Fatal(err)
	}
	if r.Device != "cpu" || r.Model != "tiny" || len(r.Rows) != 3 {
		t.Fatalf("%s", out)
	}
	for i, batch := range []int{8, 1, 4} {
		if row := r.Rows[i]; row.Batch != batch || row.Rate <= 0 || len(row.Rounds) != 3 || (row.What == "train") != (i == 0) {
			t.Errorf("row %d is %+v", i, row)
		}
	}
	if out, _, err = run(t, "bench", config, "--device", "cpu", "--seconds", "0"); err != nil || !strings.Contains(out, "tiny on cpu") || !strings.Contains(out, "train") {
		t.Errorf("%v: %s", err, out)
	}
	steps := filepath.Join(dir, "steps.safetensors")
	if _, _, err := run(t, "bench", config, "--device", "cpu", "--train", "8", "--save", steps); err != nil {
		t.Fatal(err)
	}
	f, err := safetensors.ReadFile(steps)
	if err != nil {
		t.Fatal(err)
	}
	for name, elements := range map[string]int{"input": savedSteps * 8 * 784, "target": savedSteps * 8 * 784, "losses": savedSteps, "encoder.0.weight": 18} {
		tensor, ok := f.Tensor(name)
		if !ok || len(tensor.Data) != 4*elements {
			t.Errorf("%s has %d bytes, want %d", name, len(tensor.Data), 4*elements)
		}
	}
	if !json.Valid([]byte(f.Metadata["config"])) {
		t.Errorf("the configuration is %q", f.Metadata["config"])
	}
}

func TestBenchErrors(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"--rounds", "0"}, "--rounds is 0"},
		{[]string{"--train", "0"}, "--train is 0, want 1 to 1048576"},
		{[]string{"--save", "x.safetensors", "--train", "1,2"}, "--save is for one training"},
		{[]string{"--save", "x.txt", "--train", "2"}, ".safetensors"},
		{[]string{"nosuch"}, "nosuch"},
	} {
		if _, _, err := run(t, append([]string{"bench", "--device", "cpu", "--seconds", "0"}, c.args...)...); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: error %v, want one with %q", c.args, err, c.want)
		}
	}
}
