package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/convae/convae/nn"
	"github.com/convae/convae/nn/graph"
	"github.com/convae/convae/nn/layer"
	"github.com/convae/convae/trainer"
)

// The classes of another table are those of the run that are called so, whatever numbers the table alone would give them.
func TestClassesOfTables(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, []byte("a,b,species\n0,9,cat\n1,1.1,dog\n5,0,fox\n0,8,cat\n1,1.2,dog\n5,1,fox\n"), "train.csv")
	write(t, []byte("a,b,species\n2,2.1,dog\n6,1,fox\n2,2.05,dog\n6,2,fox\n"), "new.csv")
	for _, only := range []trainer.Class{"1", "dog"} {
		run := "run-" + string(only)
		lineRun(t, run, trainer.Data{Name: "csv", File: "train.csv", Label: "species", Only: []trainer.Class{only}})
		out := mustRun(t, anomaliesCommand(), run, "new.csv", "--out", "s.csv")
		for _, want := range []string{"labels of the samples: 1 = dog: 2, 2 = fox: 2\n", "labels: 2 normal, 2 anomalous; ROC AUC 1.0000", "of the errors of 2 validation samples"} {
			if !strings.Contains(out, want) {
				t.Errorf("only %s: printed %q, want %q in it", only, out, want)
			}
		}
		if s := readFile(t, "s.csv"); !strings.Contains(s, ",dog\n") || !strings.Contains(s, ",fox\n") {
			t.Errorf("s.csv is %q", s)
		}
	}
	lineRun(t, "all", trainer.Data{Name: "csv", File: "train.csv", Label: "species"})
	out := mustRun(t, anomaliesCommand(), "all", "new.csv", "--normal", "dog", "--json")
	if !strings.Contains(out, `"roc_auc": 1,`) || !strings.Contains(out, `"labels": "1 = dog: 2, 2 = fox: 2"`) {
		t.Errorf("with dogs for normal: %s", out)
	}
	wantError(t, `--normal: there is no class "wolf", want some of cat, dog, fox`, anomaliesCommand(), "run-dog", "new.csv", "--normal", "wolf")
	mustRun(t, encodeCommand(), "--model", "run-dog", "new.csv", "codes.csv")
	if s := readFile(t, "codes.csv"); !strings.HasPrefix(s, "code1,label\n2,dog\n6,fox\n") {
		t.Errorf("codes.csv is %q", s)
	}
}

// Training on one class validates on the same class of the other file, and the run remembers the names.
func TestValidationOnClass(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, []byte("a,b,species\n0,9,cat\n1,1.1,dog\n5,0,fox\n1,1.2,dog\n"), "train.csv")
	write(t, []byte("a,b,species\n2,2.1,dog\n6,1,fox\n7,7,ant\n"), "new.csv")
	write(t, []byte(strings.Replace(tableModel, "data: {name: circle}", "data: {name: csv, file: train.csv, test_file: new.csv, label: species, only: [dog]}", 1)), "c.yaml")
	_, stderr, err := run(t, "train", "c.yaml", "--out", "run", "--log", "lines", "--device", "cpu")
	if err != nil || !strings.Contains(stderr, "labels of the training samples: 1 = dog: 2") || !strings.Contains(stderr, "train=2") || !strings.Contains(stderr, "validation=1") {
		t.Fatalf("%v\n%s", err, stderr)
	}
	c, err := trainer.ReadConfig(filepath.Join("run", trainer.ConfigFile))
	if err != nil || strings.Join(c.Data.Classes, " ") != "cat dog fox ant" || len(c.Data.Only) != 1 || c.Data.Only[0] != "dog" {
		t.Fatalf("the run has %+v, %v", c.Data, err)
	}
	_, test, err := trainer.LoadData(t.Context(), &c.Data, nil)
	if err != nil || test.Len() != 1 || test.Values[0] != 2 {
		t.Errorf("validation on %+v, %v; want the dog", test, err)
	}
	write(t, []byte("a,b,species\n1,1,0\n1,1,1\n"), "numbers.csv")
	if _, _, err := run(t, "train", "c.yaml", "--set", "data.file=numbers.csv", "--set", "data.only=[1]", "--out", "mixed"); err == nil || !strings.Contains(err.Error(), "new.csv: data.only: no sample has one of the labels [fox]") && !strings.Contains(err.Error(), "new.csv: has class") {
		t.Errorf("names to validate on and numbers to train on: error %v", err)
	}
}

// A class that the folder for testing lacks does not shift the labels of the others.
func TestClassesOfFolders(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, class := range []string{"train/cat", "train/dog", "train/fox", "test/dog", "test/fox"} {
		makePicture(t, filepath.Join("pictures", class, "0.png"))
	}
	saveRun(t, "run", trainer.Config{Data: trainer.Data{Name: "images", Dir: "pictures"}, Model: nn.Config{Name: "dim", Input: []int{4, 4, 1},
		Encoder: graph.Specs(&layer.Conv2D{Filters: 1, Kernel: layer.Square(1)}), Decoder: graph.Specs(&layer.Conv2D{Filters: 1, Kernel: layer.Square(1)})}})
	mustRun(t, anomaliesCommand(), "run", "--split", "test", "--out", "s.json")
	var r anomalyReport
	if err := json.Unmarshal([]byte(readFile(t, "s.json")), &r); err != nil || len(r.Scores) != 2 || *r.Scores[0].Label != 1 || r.Scores[0].Class != "dog" || *r.Scores[1].Label != 2 {
		t.Errorf("%+v, %v; want dog as 1 and fox as 2", r, err)
	}
	for _, class := range []string{"0", "1", "2", "10"} {
		makePicture(t, filepath.Join("numbers", class, "0.png"))
	}
	if out := mustRun(t, dataCommand(), "numbers", "--size", "4,4"); !strings.Contains(out, "labels: 0: 1, 1: 1, 2: 1, 10: 1\n") {
		t.Errorf("data prints %q", out)
	}
}

// makePicture writes a picture of 4 x 4 pixels, and the folder that it is in.
func makePicture(t *testing.T, path string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		t.Fatal(err)
	}
	mustWrite(t, path, ramp(4, 4, 1))
}
