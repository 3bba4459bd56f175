package main

import (
	"os"
	"strings"
	"testing"
)

// A sweep ends with a table and a report, and says what its flags and its file may be.
func TestSweep(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, []byte("base: circle\nset: {data.samples: 40, training.epochs: 2}\nparameters:\n  training.optimizer.learning_rate: {choice: [0.001, 0.1]}\n  model.encoder.1.dense.units: {int: [3, 4]}\nsearch: grid\n"), "few.yaml")
	out, _, err := run(t, "sweep", "few.yaml", "--device", "cpu", "--jobs", "2")
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(out, "\n")
	if len(lines) < 8 || !strings.HasPrefix(lines[0], "trial  model.encoder.1.dense.units  training.optimizer.learning_rate  epochs  val_loss") || !strings.HasPrefix(lines[5], "best: runs/few/trial-00") ||
		lines[6] != "table: runs/few/sweep.csv" || lines[7] != "report: runs/few/report.html" {
		t.Errorf("it says\n%s", out)
	}
	for _, path := range []string{"runs/few/sweep.csv", "runs/few/report.html", "runs/few/trial-004/model.safetensors"} {
		if info, err := os.Stat(path); err != nil || info.Size() == 0 {
			t.Errorf("%s: %v", path, err)
		}
	}
	wantError(t, "--jobs 2 on --device sim: want as many GPUs, as cuda:0,cuda:1, or cpu", sweepCommand(), "few.yaml", "--device", "sim", "--jobs", "2")
	wantError(t, "sweep gone.yaml: ", sweepCommand(), "gone.yaml")
}
