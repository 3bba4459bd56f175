package main

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/convae/convae/nn"
	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/trainer"
)

// complete returns what a shell offers for the last of the words.
func complete(t *testing.T, words ...string) []string {
	t.Helper()
	out, _, err := run(t, append([]string{"__complete"}, words...)...)
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if err != nil || !strings.HasPrefix(lines[len(lines)-1], ":") {
		t.Fatalf("%v: %q, error %v", words, out, err)
	}
	return lines[:len(lines)-1]
}

func TestCompletion(t *testing.T) {
	t.Chdir(t.TempDir())
	makeRun(t, "runs/first", 4)
	makeRun(t, "runs/second", 4)
	if err := os.WriteFile("deer.yaml", nil, 0o666); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		words string
		want  []string
	}{
		{"train de", []string{"denoiser", "deep32", "deep64", "dense32", "deer.yaml"}},
		{"bench deer", []string{"deer.yaml"}},
		{"presets dense", []string{"dense32"}},
		{"train denoiser de", nil},
		{"train --data m", []string{"mnist"}},
		{"train --device s", []string{"sim", "sim:2"}},
		{"train --loss=ms", []string{"mse", "ms_ssim"}},
		{"train --optimizer ad", []string{"adam", "adamw", "adadelta"}},
		{"train --resume runs/", []string{"runs/first", "runs/second"}},
		{"denoise --model runs/s", []string{"runs/second"}},
		{"eval r", []string{"runs/first", "runs/second"}},
		{"profile runs/f", []string{"runs/first"}},
		{"report --compare runs/f", []string{"runs/first"}},
		{"diff runs/first runs/s", []string{"runs/second"}},
		{"diff denois", []string{"denoiser"}},
		{"export m.onnx --part w", []string{"whole"}},
		{"export m.onnx --layout n", []string{"nchw", "nhwc"}},
		{"export m.pt --names=l", []string{"layers"}},
	} {
		if got := complete(t, strings.Fields(c.words)...); !slices.Equal(got, c.want) {
			t.Errorf("%s: offered %q, want %q", c.words, got, c.want)
		}
	}
}

// What is offered for a flag is taken, and each list belongs to a flag that there is.
func TestCompletionsAreTaken(t *testing.T) {
	accepts := map[string]func(value string) error{
		"loss":      func(v string) error { return new(nn.Loss).Set(v) },
		"optimizer": func(v string) error { _, err := nn.Optimizer{Name: v}.WithDefaults(); return err },
		"precision": func(v string) error { _, err := backend.ParsePrecision(v); return err },
		"split":     checkSplit,
	}
	for name, accept := range accepts {
		for _, v := range completions[name]() {
			if err := accept(v); err != nil {
				t.Errorf("--%s %s: %v", name, v, err)
			}
		}
	}
	for name := range completions {
		if !slices.ContainsFunc(rootCommand().Commands(), func(c *cobra.Command) bool { return c.Flags().Lookup(name) != nil }) {
			t.Errorf("no command has a flag --%s", name)
		}
	}
	for _, name := range configurations() {
		if _, err := trainer.Preset(name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
