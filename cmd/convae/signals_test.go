package main

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestMain makes the test binary the program itself in the processes that program starts.
func TestMain(m *testing.M) {
	if os.Getenv("CONVAE_TEST_PROGRAM") != "" {
		main()
	}
	os.Exit(m.Run())
}

// process is the program at work in a process of its own.
type process struct {
	*exec.Cmd
	stderr syncBuffer
	stdout bytes.Buffer
}

func program(t testing.TB, args ...string) *process {
	t.Helper()
	p := &process{Cmd: exec.Command(os.Args[0], args...)}
	p.Env = append(os.Environ(), "CONVAE_TEST_PROGRAM=1", logVariable+"=lines")
	p.Stdout, p.Stderr = &p.stdout, &p.stderr
	t.Cleanup(func() {
		if p.Process != nil {
			p.Process.Kill()
		}
	})
	return p
}

// wait returns the exit status.
func (p *process) wait() int {
	_ = p.Wait() // the status says it too
	return p.ProcessState.ExitCode()
}

// await waits until the program has written text to stderr.
func (p *process) await(t testing.TB, text string) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !strings.Contains(p.stderr.String(), text); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the program did not say %q:\n%s", text, p.stderr.String())
		}
	}
}

// A run that is told to end by any of the signals, a hang-up among them, says so at once, saves, and goes on from there.
func TestSignalsSave(t *testing.T) {
	dir := t.TempDir()
	config := write(t, []byte(tinyConfig), dir, "tiny.yaml")
	for _, s := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		if signal.Ignored(s) { // as under nohup, which the program then is started with, and heeds
			t.Logf("%v is not tried: it is ignored here", s)
			continue
		}
		run := filepath.Join(dir, s.String())
		p := program(t, "train", config, "--epochs", "1000000", "--out", run, "--device", "cpu")
		if err := p.Start(); err != nil {
			t.Fatal(err)
		}
		p.await(t, "epoch=1 ")
		p.Process.Signal(s)
		if status := p.wait(); status != interruptedStatus || !strings.Contains(p.stdout.String(), "interrupted and saved") || !strings.Contains(p.stderr.String(), "finishing the step at hand") {
			t.Errorf("%v: status %d, output %s\n%s", s, status, p.stdout.String(), p.stderr.String())
		}
	}
}

// Commands that only use a model end soon after the first signal, in whatever they are.
func TestSignalsEnd(t *testing.T) {
	dir := t.TempDir()
	config := write(t, []byte(tinyConfig), dir, "tiny.yaml")
	model := filepath.Join(dir, "run")
	if _, _, err := run(t, "train", config, "--out", model, "--device", "cpu"); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"eval", model, "--data", "digits", "--device", "sim"}, // minutes, if it may
		{"anomalies", model, "--device", "sim"},
		{"check", "--device", "sim"},
	} {
		p := program(t, args...)
		if err := p.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(300 * time.Millisecond)
		start := time.Now()
		p.Process.Signal(os.Interrupt)
		if status, took := p.wait(), time.Since(start); status != interruptedStatus || took > grace+2*time.Second {
			t.Errorf("%s: status %d after %v\n%s", args[0], status, took, p.stderr.String())
		}
	}
}

// fullDevice refuses what is written to it, as /dev/full does.
type fullDevice struct{}

func (fullDevice) Write([]byte) (int, error) { return 0, syscall.ENOSPC }

// Every command whose output cannot be written says so and has the exit status of an error.
func TestOutputFull(t *testing.T) {
	dir := t.TempDir()
	config := write(t, []byte(tinyConfig), dir, "tiny.yaml")
	model := filepath.Join(dir, "run")
	if _, _, err := run(t, "train", config, "--out", model, "--device", "cpu"); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"train", config, "--out", filepath.Join(dir, "other"), "--device", "cpu"}, {"eval", model}, {"eval", model, "--json"}, {"data", "digits"},
		{"summary", "denoiser"}, {"presets"}, {"version"}, {"devices"}, {"--help"}, {"train", "--help"}, {"anomalies", model},
	} {
		root := rootCommand()
		root.SetArgs(args)
		var stderr bytes.Buffer
		if status := runRoot(t.Context(), root, fullDevice{}, &stderr); status != 1 || !strings.Contains(stderr.String(), "no space left on device") {
			t.Errorf("%q: status %d, %s", args, status, stderr.String())
		}
		root = rootCommand()
		root.SetArgs(args)
		if args[0] == "train" {
			root.SetArgs(append(args, "--out", filepath.Join(dir, "third")))
		}
		if status := runRoot(t.Context(), root, io.Discard, &stderr); status != 0 {
			t.Errorf("%q with room: status %d, %s", args, status, stderr.String())
		}
	}
}
