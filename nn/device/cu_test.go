//go:build cuda && linux

package device

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/convae/convae/cuda/driver/cusim"
	"github.com/convae/convae/cuda/ptxsim"
)

// library answers the CUDA calls of all tests.
var library *cusim.Library

func TestMain(m *testing.M) {
	library = cusim.Install(ptxsim.New(ptxsim.Options{Name: "Simulated GPU"}))
	autoDevice = "cuda:0"
	code := m.Run()
	err := errors.Join(library.Errors()...)
	if n := library.Remove(); err != nil || n != 0 {
		fmt.Fprintf(os.Stderr, "the simulator reports: %v; %d contexts were not destroyed\n", err, n)
		code = max(code, 1)
	}
	os.Exit(code)
}

// failing makes calls of a name fail from the nth on.
func failing(t *testing.T, call string, n, result int) {
	t.Helper()
	seen := 0
	library.Fail = func(c string) int {
		if c == call {
			if seen++; seen >= n {
				return result
			}
		}
		return 0
	}
	t.Cleanup(func() { library.Fail = nil })
}

// auto takes the CPU when the GPU cannot be opened, and says why; cuda fails with the same words.
func TestGPUCannotBeOpened(t *testing.T) {
	for _, c := range []struct {
		call   string
		result int
		want   string
	}{
		{"cuInit", 100, "no CUDA-capable device is detected (CUDA_ERROR_NO_DEVICE)"},
		{"cuCtxCreate", 46, "nvidia-smi -c DEFAULT"},
		{"cuModuleLoadDataEx", 222, "the provided PTX was compiled with an unsupported toolchain"},
		{"cuMemAlloc", 2, "out of memory (CUDA_ERROR_OUT_OF_MEMORY)"},
		{"cuStreamCreate", 999, "unknown error (CUDA_ERROR_UNKNOWN)"},
	} {
		t.Run(c.call, func(t *testing.T) {
			failing(t, c.call, 1, c.result)
			dev, reason, err := Open("auto")
			if err != nil {
				t.Fatal(err)
			}
			defer dev.Close()
			if dev.Name() != "cpu" || !strings.Contains(reason, c.want) {
				t.Errorf("auto is %s because %q, want cpu and %q", dev.Name(), reason, c.want)
			}
			if dev, _, err := Open("cuda"); dev != nil || err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("cuda is %v, error %v, want %q", dev, err, c.want)
			}
		})
	}
}

func TestNoSuchGPU(t *testing.T) {
	if _, _, err := Open("cuda:3"); err == nil || !strings.Contains(err.Error(), "cuda:3: there is no device 3: the driver lists 1, from 0") {
		t.Errorf("error %v", err)
	}
}
