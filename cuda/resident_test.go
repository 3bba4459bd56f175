package cuda

import (
	"testing"

	"github.com/convae/convae/nn/backend"
)

// chainOf is the step of a chain of 3x3 convolutions, each of so many filters, of an input upsampled by a factor, with a pool.
func chainOf(n, size int, layers ...[3]int) *backend.ResidentStep {
	s := &backend.ResidentStep{BCE: true}
	x := backend.Shape{N: n, H: size, W: size, C: 1}
	for _, l := range layers {
		c := must(backend.NewConv(backend.ConvSpec{X: x, Filters: l[0], KernelH: 3, KernelW: 3, Up: l[1], Pool: l[2], Act: backend.ReLU, Multiply: backend.TF32}))
		x = c.Out
		s.Layers = append(s.Layers, c)
	}
	return s
}

// denoiser is the step of the default preset.
func denoiser(n int) *backend.ResidentStep {
	return chainOf(n, 28, [3]int{32, 1, 2}, [3]int{32, 1, 2}, [3]int{32, 1, 1}, [3]int{32, 2, 1}, [3]int{1, 2, 1})
}

// What a step keeps in shared memory lies apart from all that is needed at the same time, and within what it says.
func TestResidentPlaces(t *testing.T) {
	d := openSim(t, 9, 0)
	for _, s := range []*backend.ResidentStep{denoiser(128), chainOf(1, 8, [3]int{40, 1, 1}, [3]int{72, 1, 1}, [3]int{3, 1, 1})} {
		r, ok := d.residentFor(s)
		if !ok {
			t.Fatalf("a step of %d bytes does not fit", r.bytes)
		}
		var pieces []piece
		for _, l := range r.layers {
			pieces = append(pieces, l.weights, l.x, l.argmax, l.raw, l.u, l.scratch)
			if l.kind == residentMiddle {
				pieces = append(pieces, l.weightsBack)
			}
		}
		pieces = append(pieces, r.target, r.scratch)
		for i, p := range pieces {
			if p.at%16 != 0 || p.at+p.bytes > r.bytes || p.first > p.last {
				t.Errorf("piece %d is %+v of %d bytes", i, p, r.bytes)
			}
			for _, q := range pieces[:i] {
				if p.bytes > 0 && q.bytes > 0 && p.first <= q.last && q.first <= p.last && p.at < q.at+q.bytes && q.at < p.at+p.bytes {
					t.Errorf("%+v and %+v overlap", p, q)
				}
			}
		}
	}
}

// A step is done at once if the kernel knows its layers and a block has the memory, and if most blocks have as many samples.
func TestResidentOrNot(t *testing.T) {
	plain := func() *backend.ResidentStep { return chainOf(5, 8, [3]int{8, 1, 1}, [3]int{8, 1, 1}, [3]int{1, 1, 1}) }
	change := func(layer int, f func(c *backend.ConvSpec)) *backend.ResidentStep {
		s := plain()
		spec := s.Layers[layer].ConvSpec
		f(&spec)
		s.Layers[layer] = must(backend.NewConv(spec))
		return s
	}
	float32s := plain()
	for i := range float32s.Layers {
		float32s.Layers[i].Multiply = backend.Float32
	}
	for _, c := range []struct {
		name         string
		major, minor int
		step         *backend.ResidentStep
		want         int
	}{
		{"plain", 8, 0, plain(), 5},
		{"the denoiser", 9, 0, denoiser(300), residentBlocks},
		{"too little memory", 8, 9, denoiser(3), 0},
		{"no tensor cores", 7, 5, plain(), 0},
		{"two layers", 9, 0, chainOf(5, 8, [3]int{8, 1, 1}, [3]int{1, 1, 1}), 0},
		{"seven layers", 9, 0, chainOf(5, 8, [3]int{8, 1, 1}, [3]int{8, 1, 1}, [3]int{8, 1, 1}, [3]int{8, 1, 1}, [3]int{8, 1, 1}, [3]int{8, 1, 1}, [3]int{1, 1, 1}), 0},
		{"a large image", 9, 0, chainOf(5, 48, [3]int{8, 1, 1}, [3]int{8, 1, 1}, [3]int{1, 1, 1}), 0},
		{"float32", 9, 0, float32s, 5},
		{"two precisions", 9, 0, change(1, func(c *backend.ConvSpec) { c.Multiply = backend.Float32 }), 0},
		{"bfloat16", 9, 0, change(0, func(c *backend.ConvSpec) { c.Multiply = backend.BFloat16 }), 0},
		{"tanh", 9, 0, change(1, func(c *backend.ConvSpec) { c.Act = backend.Tanh }), 0},
		{"tanh at the end", 9, 0, change(2, func(c *backend.ConvSpec) { c.Act = backend.Tanh }), 5},
		{"a pool of 4", 9, 0, change(1, func(c *backend.ConvSpec) { c.Pool = 4 }), 0},
		{"12 filters", 9, 0, change(1, func(c *backend.ConvSpec) { c.Filters = 12 }), 0},
		{"many filters at the end", 9, 0, change(2, func(c *backend.ConvSpec) { c.Filters = 8 }), 0},
		{"many channels at the beginning", 9, 0, change(0, func(c *backend.ConvSpec) { c.X.C = 8 }), 0},
	} {
		if got := openSim(t, c.major, c.minor).lane.ResidentPartials(c.step); got != c.want {
			t.Errorf("%s: %d partial sums, want %d", c.name, got, c.want)
		}
	}
	l := openSim(t, 9, 0).lane
	for n, want := range map[int]bool{65: false, 66: true, 132: true, 133: false, 264: false} {
		s := denoiser(n)
		for i := range s.Layers {
			s.Layers[i].Multiply = backend.Float32
		}
		if l.ResidentPays(s) != want {
			t.Errorf("that a step of %d samples in float32 pays is %t", n, !want)
		}
	}
	for n, want := range map[int]bool{1: true, 132: true, 133: false, 240: false, 248: true, 264: true, 265: false} {
		if l.ResidentPays(denoiser(n)) != want {
			t.Errorf("that a step of %d samples pays is %t", n, !want)
		}
	}
}
