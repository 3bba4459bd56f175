package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A log whose folder is removed is begun again when the folder is there again.
func TestLogFileRemoved(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	path := filepath.Join(dir, "log.jsonl")
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.Mkdir(dir, 0o777))
	var l logFile
	l.open(path)
	write := func(text string) {
		t.Helper()
		_, err := l.Write([]byte(text))
		must(err)
	}
	write("one\n")
	must(os.RemoveAll(dir))
	write("lost\n")
	must(os.Mkdir(dir, 0o777))
	write("two\n")
	must(l.close())
	if text, err := os.ReadFile(path); err != nil || string(text) != "two\n" {
		t.Errorf("%q, %v", text, err)
	}
}

// A device that was chosen has no reason in the log.
func TestLogReason(t *testing.T) {
	for reason, want := range map[string]bool{"": false, "no GPU": true} {
		var out bytes.Buffer
		p := progress{out: &out, barOut: &out, log: jsonLog(&out)}
		p.device("a device", reason)
		if got := strings.Contains(out.String(), `"reason"`); got != want {
			t.Errorf("with the reason %q: %s", reason, out.String())
		}
	}
}
