//go:build cuda && linux

package nn

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/convae/convae/cuda/driver/cusim"
	"github.com/convae/convae/cuda/nccl/libsim"
	"github.com/convae/convae/cuda/ptxsim"
	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/device"
)

// library answers the CUDA calls of all tests.
var library *cusim.Library

func TestMain(m *testing.M) {
	library = cusim.Install(ptxsim.New(ptxsim.Options{Name: "Simulated GPU"}, ptxsim.Options{Name: "Simulated GPU"}))
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

// Two GPUs end with the weights of one, bit for bit, through the host's memory and by NCCL.
func TestGPUsTrainAsOne(t *testing.T) {
	var weights [3][][]float32
	for i, c := range []struct {
		device string
		nccl   bool
		how    string
	}{
		{"cuda", false, ""},
		{"cuda:0,cuda:1", false, "in the order of the slots, through the host's memory: cuda:0: no NCCL (libnccl.so.2: cannot open shared object file"},
		{"cuda:0,cuda:1", true, "in the order of the slots, from device to device"},
	} {
		dev, _, err := device.Open(c.device)
		if err != nil {
			t.Fatal(err)
		}
		defer dev.Close()
		if c.nccl {
			lib := libsim.Install(&libsim.Library{}, library)
			defer func() {
				if n := lib.Remove(); n != 0 {
					t.Errorf("%d communicators have not ended", n)
				}
			}()
		}
		m := mustModel(t, zoo()[0])
		tr, err := NewTrainer(m, dev, TrainerOptions{Batch: 4, Slots: 2, Noise: 0.2, Seed: 3})
		if err != nil {
			t.Fatal(err)
		}
		defer tr.Close()
		if how := tr.Reduces(); !strings.HasPrefix(how, c.how) || c.how == "" && how != "" {
			t.Errorf("gradients are summed %s, want %s", how, c.how)
		}
		if err := tr.SetData(pixelsFor(m, 6), 6); err != nil {
			t.Fatal(err)
		}
		trainEpochs(tr, 6, 1)
		for k := range m.Params {
			v := make([]float32, m.Params[k].Shape.Len())
			if err := tr.first().mem.b.Download(v, tr.first().weights[k]); err != nil {
				t.Fatal(err)
			}
			weights[i] = append(weights[i], v)
		}
	}
	for i := range weights[1:] {
		for k := range weights[0] {
			if !slices.Equal(weights[0][k], weights[i+1][k]) {
				t.Errorf("parameter %d differs between one GPU and two", k)
			}
		}
	}
}
