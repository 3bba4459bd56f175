package main

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/convae/convae/trainer"
)

func TestDiff(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, args := range []string{"--out a", "--out b --learning-rate 0.5 --set model.encoder.1.dense.units=2"} {
		config := write(t, []byte(tableModel), "model.yaml")
		if _, _, err := run(t, append([]string{"train", config, "--device", "cpu", "--limit", "20"}, strings.Fields(args)...)...); err != nil {
			t.Fatal(err)
		}
	}
	history, err := trainer.ReadHistory("b")
	if err != nil {
		t.Fatal(err)
	}
	var d comparison
	if err := json.Unmarshal([]byte(mustRun(t, diffCommand(), "a", "b/"+trainer.ModelFile, "--json")), &d); err != nil {
		t.Fatal(err)
	}
	want := []changedValue{{"model.encoder.1.dense.units", "1", "2"}, {"training.optimizer.learning_rate", "0.1", "0.5"}}
	if len(d.Configuration) != 2 || d.Configuration[0] != want[0] || d.Configuration[1] != want[1] {
		t.Errorf("differences %v, want %v", d.Configuration, want)
	}
	if e := d.LastEpochs; e[0] == nil || e[0].Epoch != 4 || e[1] == nil || e[1].ValLoss != history[len(history)-1].ValLoss {
		t.Errorf("last epochs %v", e)
	}
	text := mustRun(t, diffCommand(), "a", "b")
	for _, want := range []string{"training.optimizer.learning_rate  0.1", "validation loss", "epochs", "images a second"} {
		if !strings.Contains(text, want) {
			t.Errorf("printed\n%s\nwant %q in it", text, want)
		}
	}
	if strings.Contains(text, "PSNR") {
		t.Errorf("of tables there is no PSNR:\n%s", text)
	}
	if text := mustRun(t, diffCommand(), "a", "a/config.yaml"); !strings.Contains(text, "the configurations are the same") || strings.Count(text, " -\n") < 3 {
		t.Errorf("a run and its configuration:\n%s", text)
	}
	if text := mustRun(t, diffCommand(), "denoiser", "denoiser"); strings.Contains(text, "loss") {
		t.Errorf("presets have no results:\n%s", text)
	}
	wantError(t, `there is no run or preset "nowhere": want the folder of a run, a preset`, diffCommand(), "a", "nowhere")
	wantError(t, `there is no run or preset "denoisr", perhaps the preset denoiser: want`, diffCommand(), "a", "denoisr")
	wantError(t, "a/history.csv is no configuration: want the folder of a run, a preset (see convae presets), a configuration (.yaml, .yml, .json)", diffCommand(), "a", "a/history.csv")
	if err := os.WriteFile("b/history.json", []byte("{"), 0o666); err != nil {
		t.Fatal(err)
	}
	wantError(t, "b/history.json is not a list of epochs", diffCommand(), "a", "b")
}
