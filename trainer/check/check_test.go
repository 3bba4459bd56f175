package check

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/convae/convae/cpu"
	"github.com/convae/convae/nn/backend"
)

func open(t *testing.T, o cpu.Options) backend.Device {
	t.Helper()
	d, err := cpu.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

// The tests of the table run all of its cases.
func TestCPUPasses(t *testing.T) {
	r, err := Run(t.Context(), open(t, cpu.Options{Lanes: 2}), open(t, cpu.Options{Plain: true}), Options{Every: 5, Steps: 3, Batch: 4})
	if err != nil {
		t.Fatal(err)
	}
	if !r.Passed || r.Cases < 200 {
		t.Errorf("%d cases, passed %v, training %+v", r.Cases, r.Passed, r.Training)
	}
	conv := r.op("Conv")
	if conv.Cases < 20 || conv.Worst <= 0 || conv.GFLOPS <= 0 {
		t.Errorf("Conv: %+v", conv)
	}
	t.Logf("training %+v", r.Training)
}

// wrong is a device that adds the gradient of the weights twice.
type wrong struct{ backend.Device }

type wrongLane struct{ backend.Backend }

func (d wrong) Lanes() []backend.Backend {
	var l []backend.Backend
	for _, b := range d.Device.Lanes() {
		l = append(l, wrongLane{b})
	}
	return l
}

func (l wrongLane) ConvBackWeights(s backend.ConvShape, grad backend.Params, gradOut, argmax, x backend.Tensor) {
	l.Backend.ConvBackWeights(s, grad, gradOut, argmax, x)
	l.Backend.ConvBackWeights(s, grad, gradOut, argmax, x)
}

func TestWrongDeviceFails(t *testing.T) {
	r, err := Run(t.Context(), wrong{open(t, cpu.Options{})}, open(t, cpu.Options{}), Options{Words: []string{"conv"}, Every: 5, Steps: 2, Batch: 4})
	if err != nil {
		t.Fatal(err)
	}
	if r.Passed || r.Training.Passed {
		t.Errorf("a device with a wrong op passes: %+v", r.Training)
	}
	if len(r.op("ConvBackWeights").Failures) == 0 {
		t.Error("the wrong op has no failures")
	}
	if len(r.op("ConvBackInput").Failures) > 0 {
		t.Errorf("an op that is right fails: %q", r.op("ConvBackInput").Failures[0])
	}
}

func TestRunErrors(t *testing.T) {
	dev := open(t, cpu.Options{})
	if _, err := Run(t.Context(), dev, dev, Options{Words: []string{"nosuch"}}); err == nil || !strings.Contains(err.Error(), "no case has a name with nosuch") {
		t.Errorf("error %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Run(ctx, dev, dev, Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: error %v", err)
	}
}
