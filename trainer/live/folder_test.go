//go:build unix

package live

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/convae/convae/trainer"
)

// A run whose folder is removed is no longer shown, and is again when it is back.
func TestRemovedRun(t *testing.T) {
	dir := t.TempDir()
	run, aside := filepath.Join(dir, "runs", "one"), filepath.Join(dir, "aside")
	train(t, t.Context(), smallConfig(1), run, nil, nil)
	for _, o := range []Options{{Within: filepath.Dir(run)}, {Runs: []string{run}}} {
		p := serve(t, o)
		if err := os.Rename(run, aside); err != nil {
			t.Fatal(err)
		}
		p.look(time.Now())
		if status, body := p.ask("GET", "/api/runs"); status != 200 || strings.TrimSpace(body) != "[]" {
			t.Errorf("the list without it: status %d, %s", status, body)
		}
		if status, _ := p.ask("GET", "/api/runs/one"); status != http.StatusNotFound {
			t.Errorf("a run that is gone: status %d", status)
		}
		if _, body := p.ask("GET", "/metrics"); strings.Contains(body, `run="one"`) {
			t.Errorf("metrics of a run that is gone:\n%s", body)
		}
		if err := os.Rename(aside, run); err != nil {
			t.Fatal(err)
		}
		p.look(time.Now())
		if r := p.run("one"); r.State != Finished {
			t.Errorf("a run that is back: %+v", r)
		}
	}
}

// What of a run is garbage, or no file, is said, all of it; nothing waits for a pipe, and no link leads out of the folder.
func TestDamagedRun(t *testing.T) {
	for _, c := range []struct {
		name  string
		spoil func(path func(string) string) error
		want  []string // in the fault
	}{
		{"garbage", func(path func(string) string) error {
			return errors.Join(os.WriteFile(path(trainer.ConfigFile), []byte("\x00\x01"), 0o666), os.WriteFile(path(trainer.HistoryFile), []byte("{"), 0o666), os.WriteFile(path(LogFile), []byte("no\nlog\n"), 0o666))
		}, []string{trainer.ConfigFile, "history.json is not a list of epochs", "log.jsonl: none of its lines is JSON"}},
		{"pipes", func(path func(string) string) error {
			return errors.Join(os.Remove(path(trainer.HistoryFile)), syscall.Mkfifo(path(trainer.HistoryFile), 0o666), syscall.Mkfifo(path(LogFile), 0o666))
		}, []string{"history.json is not a regular file but a named pipe"}},
		{"links", func(path func(string) string) error {
			secret := path("../secret")
			return errors.Join(os.WriteFile(secret, []byte("secret"), 0o666), os.Remove(path("samples/0001.png")), os.Symlink(secret, path("samples/0001.png")), os.Symlink(secret, path(LogFile)),
				os.Remove(path(trainer.HistoryFile)), os.Symlink("../secret", path(trainer.HistoryFile)))
		}, []string{"history.json: path escapes"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			run := filepath.Join(dir, "one")
			train(t, t.Context(), smallConfig(1), run, nil, nil)
			if err := c.spoil(func(name string) string { return filepath.Join(run, name) }); err != nil {
				t.Fatal(err)
			}
			p := serve(t, Options{Within: dir})
			r := p.run("one")
			for _, want := range c.want {
				if !strings.Contains(r.Fault, want) {
					t.Errorf("the fault is %q, want %q in it", r.Fault, want)
				}
			}
			for _, path := range []string{"samples/1", "latent/1", "log", ""} {
				if status, body := p.ask("GET", "/api/runs/one/"+path); strings.Contains(body, "secret\"") || body == "secret" || c.name == "links" && path == "samples/1" && status != http.StatusNotFound {
					t.Errorf("%s: status %d, %.100q", path, status, body)
				}
			}
		})
	}
}
