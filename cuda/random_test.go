package cuda

import (
	"math"
	"testing"

	"github.com/convae/convae/nn/backend"
)

// What is not in the data set is known to the device alone, and must show.
func TestGatherOfNothing(t *testing.T) {
	d := openSim(t, 7, 5)
	l := d.Lanes()[0]
	s := backend.Shape{N: 5, H: 3, W: 3, C: 1}
	pixels, order := tensor(t, l, backend.Pixels, s.WithN(4)), tensor(t, l, backend.Index, backend.Vec(6))
	stepParams := tensor(t, l, backend.PerStep, backend.Vec(1))
	clean, noisy := tensor(t, l, backend.Activation, s), tensor(t, l, backend.Activation, s)
	l.UploadIndex(order, []int32{0, 0, 3, 4, -1, 2})
	l.SetStepParams(stepParams, backend.StepParams{Offset: 1})
	values := tensor(t, l, backend.Flat, backend.Vec(4*s.Image()))
	for name, gather := range map[string]func(){ // places 2 to 6
		"GatherPixels": func() { l.GatherPixels(0.5, src, clean, noisy, pixels, order, stepParams, 1) },
		"GatherValues": func() { l.GatherValues(0.5, src, clean, noisy, values, order, stepParams, 1) },
	} {
		gather()
		for _, x := range []backend.Tensor{clean, noisy} {
			v := make([]float32, s.Len())
			if err := l.Download(v, x); err != nil {
				t.Fatal(err)
			}
			for i, y := range v {
				there := i/s.Image() == 0 || i/s.Image() == 3
				if isNaN := math.IsNaN(float64(y)); isNaN == there {
					t.Fatalf("%s: image %d has %v", name, i/s.Image(), y)
				}
			}
		}
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
}

// A step that is rounded otherwise than specified shows in few numbers only, so there have to be many.
func TestNormalBits(t *testing.T) {
	d := openSim(t, 7, 5)
	l := d.Lanes()[0]
	s := backend.Shape{N: 4, H: 512, W: 512, C: 1}
	if testing.Short() {
		s.N = 1
	}
	x, stepParams := tensor(t, l, backend.Activation, s), tensor(t, l, backend.PerStep, backend.Vec(1))
	l.SetStepParams(stepParams, backend.StepParams{Step: 5})
	l.Normal(src, x, stepParams, 7)
	v := make([]float32, s.Len())
	if err := l.Download(v, x); err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(v); i += 4 {
		want := src.Normals(uint32(i%s.Image()/4), uint32(7+i/s.Image()), 5)
		for j, w := range want {
			if math.Float32bits(v[i+j]) != math.Float32bits(w) {
				t.Fatalf("number %d is %v, want %v", i+j, v[i+j], w)
			}
		}
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
}
