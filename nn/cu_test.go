//go:build cuda && linux

package nn

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/convae/convae/cuda/driver/cusim"
	"github.com/convae/convae/cuda/ptxsim"
	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/device"
)

// library answers the CUDA calls of all tests.
var library *cusim.Library

func TestMain(m *testing.M) {
	library = cusim.Install(ptxsim.New(ptxsim.Options{Name: "Simulated GPU"}))
	openGPU = func() (backend.Device, error) { dev, _, err := device.Open("cuda"); return dev, err }
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

// A device that is lost in the middle of a run ends it with the driver's words and what to do.
func TestGPULost(t *testing.T) {
	for _, c := range []struct {
		call   string
		result int
		want   []string
	}{
		{"cuGraphLaunch", 719, []string{"cuda:0: Replay: cuGraphLaunch: unspecified launch failure", "compute-sanitizer", "--resume"}},
		{"cuStreamSynchronize", 214, []string{"cuStreamSynchronize: uncorrectable ECC error encountered", "--resume", "Xid"}},
	} {
		t.Run(c.call, func(t *testing.T) {
			dev, _, err := device.Open("cuda")
			if err != nil {
				t.Fatal(err)
			}
			defer dev.Close()
			m := mustModel(t, Denoiser())
			tr, err := NewTrainer(m, dev, TrainerOptions{Batch: 2})
			if err != nil {
				t.Fatal(err)
			}
			defer tr.Close()
			if err := tr.SetData(pixelsFor(m, 4), 4); err != nil {
				t.Fatal(err)
			}
			failing(t, c.call, 2, c.result)
			for range 3 {
				tr.Step(0, 2, 0)
				_, err = tr.Loss()
			}
			if err == nil {
				t.Fatal("the loss of a lost device was read")
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q, want %q", err, want)
				}
			}
		})
	}
}
