package cuda

import (
	"testing"

	"github.com/convae/convae/nn/backend"
)

// On a device of compute capability 9.0 the gradient of the weights of many channels goes by warpgroups in bf16, with few bank conflicts, and a
// device of another takes other forms.
func TestWarpgroupGradient(t *testing.T) {
	spec := func(n, h, w, c, filters int) backend.ConvSpec {
		return backend.ConvSpec{X: backend.Shape{N: n, H: h, W: w, C: c}, Filters: filters, KernelH: 3, KernelW: 3, Padding: backend.Same, Multiply: backend.BFloat16}
	}
	with := func(s backend.ConvSpec, change func(*backend.ConvSpec)) backend.ConvSpec { change(&s); return s }
	pool := func(n int) func(*backend.ConvSpec) { return func(s *backend.ConvSpec) { s.Pool = n } }
	for _, c := range []struct {
		name string
		backend.ConvSpec
		want string // "" where another form is taken
	}{
		{"many channels", spec(1, 7, 9, 72, 72), "conv_back_weights_wgmma_bf16"},
		{"fewer in", spec(1, 7, 16, 40, 72), "conv_back_weights_wgmma_bf16_few"},
		{"pooled", with(spec(1, 8, 20, 72, 72), pool(2)), "conv_back_weights_wgmma_bf16_pool2"},
		{"fewer in, pooled", with(spec(1, 8, 32, 40, 72), pool(2)), "conv_back_weights_wgmma_bf16_few_pool2"},
		{"strided", with(spec(1, 9, 9, 40, 72), func(s *backend.ConvSpec) { s.Stride = 2 }), "conv_back_weights_wgmma_bf16_few"},
		{"upsampled", with(spec(1, 5, 9, 72, 40), func(s *backend.ConvSpec) { s.Up = 2 }), "conv_back_weights_wgmma_bf16_few"},
		{"pooled by 3", with(spec(1, 9, 9, 72, 72), pool(3)), ""},
		{"few filters", spec(1, 8, 8, 72, 64), ""},
		{"few channels", spec(1, 8, 8, 32, 72), ""},
		{"channels of no octets", spec(1, 8, 8, 44, 72), ""},
		{"1x1", with(spec(1, 8, 8, 72, 72), func(s *backend.ConvSpec) { s.KernelH, s.KernelW = 1, 1 }), ""},
		{"dilated", with(spec(1, 8, 8, 72, 72), func(s *backend.ConvSpec) { s.Dilation = 2 }), ""},
		{"tf32", with(spec(1, 8, 8, 72, 72), func(s *backend.ConvSpec) { s.Multiply = backend.TF32 }), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := must(backend.NewConv(c.ConvSpec))
			for _, cc := range [][2]int{{9, 0}, {8, 0}, {10, 0}} {
				d := openCounterOf(t, cc[0], cc[1])
				f, ok := d.wgmmaGradientFor(&s)
				if want := c.want != "" && cc == [2]int{9, 0}; ok != want || ok && f.entry.Name() != c.want {
					t.Errorf("compute capability %d.%d: form %s, %v, want %q", cc[0], cc[1], f.entry.Name(), ok, c.want)
				}
				if !ok {
					continue
				}
				a := newConvArgs(t, d.lane, s)
				if s.Pool > 1 {
					a.forward(d.lane, s) // which makes the arg-max
				}
				d.launches = nil
				a.backWeights(d.lane, s)
				if err := d.lane.Sync(); err != nil {
					t.Fatal(err)
				}
				for _, n := range d.launches {
					if n.Kernel == c.want && n.BankConflicts*100 > 3*n.SharedRequests {
						t.Errorf("%d extra passes for %d requests to shared memory, want at most 3 %%", n.BankConflicts, n.SharedRequests)
					}
					ok = ok && n.Kernel != c.want
				}
				if ok {
					t.Errorf("%s was not launched", c.want)
				}
			}
		})
	}
}
