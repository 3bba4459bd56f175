package cpu

import (
	"testing"

	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/rng"
)

// GatherValues allocates nothing, and panics on samples that are not there.
func TestSelect(t *testing.T) {
	l := open(t, false)
	s := backend.Shape{N: 2, H: 1, W: 1, C: 5}
	x, y := tensor(t, l, backend.Activation, s, 1), tensor(t, l, backend.Activation, s, 2)
	values, stepParams := tensor(t, l, backend.Flat, backend.Vec(15), 3), tensor(t, l, backend.PerStep, backend.Vec(1), 0)
	order := tensor(t, l, backend.Index, backend.Vec(3), 0)
	l.SetStepParams(stepParams, backend.StepParams{})
	l.UploadIndex(order, []int32{2, 0, 3})
	src := rng.Source{Seed: 1, Stream: rng.StreamNoise}
	if n := testing.AllocsPerRun(5, func() { l.GatherValues(0.5, src, x, y, values, order, stepParams, 0) }); n != 0 {
		t.Errorf("it allocates %v times", n)
	}
	for name, c := range map[string]struct {
		want string
		call func()
	}{
		"sample":   {backend.MistakeIndex, func() { l.GatherValues(0, src, x, backend.Tensor{}, values, order, stepParams, 1) }},
		"place":    {backend.MistakeIndex, func() { l.GatherValues(0, src, x, backend.Tensor{}, values, order, stepParams, 2) }},
		"negative": {backend.MistakeIndex, func() { l.GatherValues(0, src, x, backend.Tensor{}, values, order, stepParams, -1) }},
		"length":   {backend.MistakeShape, func() { l.GatherValues(0, src, x, backend.Tensor{}, values.Range(0, 14), order, stepParams, 0) }},
		"noise":    {backend.MistakeRole, func() { l.GatherValues(0, src, x, values, values, order, stepParams, 0) }},
	} {
		func() {
			defer func() {
				if got := recover(); got != c.want {
					t.Errorf("%s: panic %v, want %q", name, got, c.want)
				}
			}()
			c.call()
		}()
	}
}
