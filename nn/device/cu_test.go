//go:build cuda && linux

package device

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/convae/convae/cuda/driver/cusim"
	"github.com/convae/convae/cuda/ptxsim"
	"github.com/convae/convae/nn/backend"
)

// library answers the CUDA calls of all tests.
var library *cusim.Library

func TestMain(m *testing.M) {
	library = cusim.Install(ptxsim.New(ptxsim.Options{Name: "Simulated GPU"}, ptxsim.Options{Name: "Simulated GPU"}, ptxsim.Options{Name: "Newer GPU", Major: 9}))
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
		{"cuDevicePrimaryCtxRetain", 46, "nvidia-smi -c DEFAULT"},
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
	if _, _, err := Open("cuda:3"); err == nil || !strings.Contains(err.Error(), "cuda:3: there is no device 3: the driver lists 3, from 0") {
		t.Errorf("error %v", err)
	}
}

func TestGroupOfGPUs(t *testing.T) {
	dev, _, err := Open("cuda:1,cuda:0")
	if err != nil {
		t.Fatal(err)
	}
	defer dev.Close()
	if dev.Name() != "cuda:1,cuda:0" {
		t.Errorf("the group is %s", dev.Name())
	}
	var names []string
	for _, d := range backend.Members(dev) {
		names = append(names, d.Name())
	}
	if !slices.Equal(names, []string{"cuda:1", "cuda:0"}) {
		t.Errorf("the members are %v", names)
	}
	for name, want := range map[string]string{
		"cuda:0,cuda:2":        `device is "cuda:0,cuda:2", want GPUs of one compute capability: that of cuda:0 is 8.0, that of cuda:2 is 9.0`,
		"all":                  `device is "cuda:0,cuda:1,cuda:2", want GPUs of one compute capability`,
		"cuda:0,cuda:3":        "cuda:3: there is no device 3: the driver lists 3, from 0",
		"cuda:0,cuda:1,cuda:0": `device is "cuda:0,cuda:1,cuda:0", which names cuda:0 twice`,
	} {
		if dev, _, err := Open(name); dev != nil || err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Open(%q): %v, error %v, want %q", name, dev, err, want)
		}
	}
}
