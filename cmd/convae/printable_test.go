package main

import (
	"bytes"
	"errors"
	"path/filepath"
	"strings"
	"testing"
)

func TestPrintable(t *testing.T) {
	for s, want := range map[string]string{
		"plain, Ünïcode 漢\n\t": "plain, Ünïcode 漢\n\t", "\x1b[2J\x07": `\x1b[2J\x07`, "a\rb\x7f": `a\x0db\x7f`, "\u009b31m": `\u009b31m`, "\xff": `\xff`, "x\u202etxt": `x\u202etxt`,
	} {
		if got := printable(s); got != want {
			t.Errorf("%q is shown as %q, want %q", s, got, want)
		}
		var b bytes.Buffer
		o := output{w: &b}
		if n, err := o.Write([]byte(s)); n != len(s) || err != nil || b.String() != want {
			t.Errorf("%q is printed as %q, %d, %v", s, b.String(), n, err)
		}
	}
	if got := oneLine(errors.New("a\nb" + strings.Repeat("é", 5000))); !strings.HasPrefix(got, "a bé") || len(got) > maxError+3 || !strings.HasSuffix(got, "é...") {
		t.Errorf("a long error is %d bytes, %.20q", len(got), got)
	}
}

// What is in a file does nothing to the terminal, in an error or otherwise, and a JSON file trains.
func TestFilesDoNothingToTerminals(t *testing.T) {
	t.Chdir(t.TempDir())
	evil := "\x1b]0;owned\x07"
	write(t, []byte("a"+evil+",b,class"+evil+"\n1,2,x"+evil+"\n3,4,y\n"), "t.csv")
	json := `{"model": {"name": "j", "input": [2], "encoder": [{"dense": {"units": 1}}], "decoder": [{"dense": {"units": 2}}]},` +
		`"data": {"name": "csv", "file": "t.csv", "label": "3"}, "training": {"epochs": 1, "loss": "mse", "batch": "full"}}`
	write(t, []byte(json), "c.json")
	var all string
	for _, args := range [][]string{{"train", "c.json", "--out", "run", "--device", "cpu"}, {"anomalies", "run", "--normal", "y"}, {"anomalies", "run", "--normal", "wolf"},
		{"data", "t.csv"}, {"train", "c.json", "--set", "data.columns=[nothing]"}, {"train", "c.json", "--set", `data.columns=["3"]`}} {
		root := rootCommand()
		root.SetArgs(args)
		var stdout, stderr bytes.Buffer
		status := runRoot(t.Context(), root, &stdout, &stderr)
		if status != 0 && args[0] == "train" && len(args) == 6 {
			t.Fatalf("%v: status %d: %s", args, status, stderr.String())
		}
		all += stdout.String() + stderr.String()
	}
	if strings.ContainsAny(all, "\x1b\x07") || !strings.Contains(all, `\x1b]0;owned`) {
		t.Errorf("printed %q", all)
	}
	if c := readFile(t, filepath.Join("run", "config.yaml")); !strings.Contains(c, "name: j") {
		t.Errorf("the run of c.json has %s", c)
	}
}
