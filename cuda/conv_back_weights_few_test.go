package cuda

import (
	"testing"

	"github.com/convae/convae/nn/backend"
)

// In bf16 the gradient of the weights of few values under a window goes on tensor cores, where it fits, and without tensor cores in another form.
func TestFewTensorGradient(t *testing.T) {
	spec := func(n, h, w, c, filters int) backend.ConvSpec {
		return backend.ConvSpec{X: backend.Shape{N: n, H: h, W: w, C: c}, Filters: filters, KernelH: 3, KernelW: 3, Padding: backend.Same, Multiply: backend.BFloat16}
	}
	with := func(s backend.ConvSpec, change func(*backend.ConvSpec)) backend.ConvSpec { change(&s); return s }
	pool := func(n int) func(*backend.ConvSpec) { return func(s *backend.ConvSpec) { s.Pool = n } }
	up := func(n int) func(*backend.ConvSpec) { return func(s *backend.ConvSpec) { s.Up = n } }
	for _, c := range []struct {
		name string
		backend.ConvSpec
		want string // "" where another form is taken
	}{
		{"first layer", spec(1, 8, 64, 3, 64), "conv_back_weights_few_tensor_bf16"},
		{"pooled", with(spec(1, 8, 128, 3, 64), pool(2)), "conv_back_weights_few_tensor_bf16_pool2"},
		{"strided", with(spec(1, 9, 64, 3, 36), func(s *backend.ConvSpec) { s.Stride = 2 }), "conv_back_weights_few_tensor_bf16"},
		{"one channel", spec(1, 28, 32, 1, 32), "conv_back_weights_few_tensor_bf16_small"},
		{"one channel, pooled", with(spec(1, 4, 64, 1, 32), pool(2)), "conv_back_weights_few_tensor_bf16_small_pool2"},
		{"last layer", with(spec(1, 8, 64, 64, 3), up(2)), "conv_back_weights_few_tensor_bf16_up2"},
		{"one filter", with(spec(1, 8, 32, 32, 1), up(2)), "conv_back_weights_few_tensor_bf16_small_up2"},
		{"last layer, not upsampled", spec(1, 8, 8, 64, 3), ""},
		{"upsampled by 3", with(spec(1, 8, 8, 64, 3), up(3)), ""},
		{"pooled by 3", with(spec(1, 9, 9, 3, 64), pool(3)), ""},
		{"filters of no quads", spec(1, 8, 8, 3, 63), ""},
		{"as many values as there are columns", with(spec(1, 8, 8, 2, 64), func(s *backend.ConvSpec) { s.KernelH, s.KernelW = 4, 4 }), ""},
		{"tf32", with(spec(1, 8, 8, 3, 64), func(s *backend.ConvSpec) { s.Multiply = backend.TF32 }), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := must(backend.NewConv(c.ConvSpec))
			for _, cc := range [][2]int{{8, 0}, {7, 5}} {
				d := openCounterOf(t, cc[0], cc[1])
				f, ok := d.fewTensorGradientFor(&s)
				if want := c.want != "" && cc[0] == 8; ok != want || ok && f.entry.Name() != c.want {
					t.Errorf("compute capability %d.%d: form %s, %v, want %q", cc[0], cc[1], f.entry.Name(), ok, c.want)
				}
			}
		})
	}
}
