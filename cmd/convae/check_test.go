package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/convae/convae/trainer/check"
)

func TestCheck(t *testing.T) {
	out, _, err := run(t, "check", "--device", "cpu", "--only", "pool/,act/forward/sigmoid/", "--steps", "1", "--json")
	if err != nil {
		t.Fatal(err)
	}
	var r check.Report
	if err := json.Unmarshal([]byte(out), &r); err != nil || !r.Passed || r.Cases == 0 || !r.Training.Passed {
		t.Errorf("%v: %s", err, out)
	}
	if out, _, err = run(t, "check", "--device", "cpu", "--only", "dense/backInput/7", "--steps", "0"); err != nil || !strings.Contains(out, "DenseBackInput") || !strings.Contains(out, "passed in") {
		t.Errorf("%v: %s", err, out)
	}
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"--device", "tpu"}, `device is "tpu"`}, {[]string{"--only", "nosuch"}, "nosuch"}, {[]string{"--batch", "0"}, "--batch is 0, want 1 to 4096"},
		{[]string{"--device", "cpu", "--against", "sim"}, "want two devices that run the GPU's code"},
		{[]string{"--device", "sim", "--against", "cpu"}, "want two devices that run the GPU's code"},
		{[]string{"--golden", t.TempDir()}, "safetensors"},
	} {
		if _, _, err := run(t, append([]string{"check"}, c.args...)...); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: error %v, want one with %q", c.args, err, c.want)
		}
	}
}

func TestCheckAgainst(t *testing.T) {
	out, _, err := run(t, "check", "--device", "sim", "--against", "sim", "--only", "pool/", "--steps", "0")
	if err != nil || !strings.Contains(out, "against sim: bit for bit the same") {
		t.Errorf("%v: %s", err, out)
	}
}

// A report with a failure says so, names the op, and ends the command with an error.
func TestCheckReportsFailure(t *testing.T) {
	var s strings.Builder
	r := &check.Report{Device: "sim", Ops: []check.Op{{Op: "MaxPool", Cases: 2, Worst: 3, Case: "pool/x", Failures: []string{"pool/x: 3 of the bound"}}},
		Training: check.Training{Error: "lost"}}
	if err := writeReport(&s, r, false); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"MaxPool", "FAILED pool/x: 3 of the bound", "training FAILED: lost", "FAILED in"} {
		if !strings.Contains(s.String(), want) {
			t.Errorf("the report lacks %q:\n%s", want, s.String())
		}
	}
}
