//go:build cuda && linux

package main

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/convae/convae/cuda/driver/cusim"
	"github.com/convae/convae/cuda/ptxsim"
)

// buildTags are the tags that the test is built with.
var buildTags = []string{"cuda"}

func installGPU(t *testing.T) *cusim.Library {
	t.Helper()
	lib := cusim.Install(ptxsim.New(ptxsim.Options{Name: "Simulated GPU", Major: 8, Minor: 0}))
	t.Cleanup(func() {
		if n := lib.Remove(); n != 0 {
			t.Errorf("%d contexts were not destroyed", n)
		}
		for _, err := range lib.Errors() {
			t.Error(err)
		}
	})
	return lib
}

func TestDevicesGPU(t *testing.T) {
	installGPU(t)
	stdout, _, err := run(t, "devices")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(stdout, "cuda:0  Simulated GPU") || !strings.Contains(stdout, "sm_75") || strings.Contains(stdout, "no GPU") {
		t.Errorf("the list is\n%s", stdout)
	}
}

// The command line trains through the real bindings.
func TestTrainOnGPU(t *testing.T) {
	installGPU(t)
	dir := t.TempDir()
	config := write(t, []byte(tinyConfig), dir, "tiny.yaml")
	_, stderr, err := run(t, "train", config, "--out", filepath.Join(dir, "run"), "--log", "json")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(stderr, "cuda:0") || !strings.Contains(stderr, "Simulated GPU") {
		t.Errorf("the log does not name the GPU:\n%s", stderr)
	}
}

// A GPU in exclusive mode: auto trains on the CPU and says why, an explicit cuda is an error.
func TestBusyGPU(t *testing.T) {
	installGPU(t).Fail = func(call string) int {
		if call == "cuDevicePrimaryCtxRetain" {
			return 46
		}
		return 0
	}
	const want = "cuDevicePrimaryCtxRetain: CUDA-capable device(s) is/are busy or unavailable (CUDA_ERROR_DEVICE_UNAVAILABLE): the device is in an exclusive or prohibited compute mode"
	dir := t.TempDir()
	config := write(t, []byte(tinyConfig), dir, "tiny.yaml")
	_, stderr, err := run(t, "train", config, "--out", filepath.Join(dir, "run"), "--log", "lines")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(stderr, "cpu") || !strings.Contains(stderr, want) {
		t.Errorf("the log is\n%s\nwant cpu and %q", stderr, want)
	}
	if _, _, err := run(t, "train", config, "--out", filepath.Join(dir, "run2"), "--device", "cuda"); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("--device cuda: error %v, want %q", err, want)
	}
}
