package cuda

import (
	"testing"

	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/op"
)

// Few channels of an image or of an output have forms of their own, and what does not fit them takes the others.
func TestFewChannels(t *testing.T) {
	shape := func(n, h, w, c int) backend.Shape { return backend.Shape{N: n, H: h, W: w, C: c} }
	for _, c := range []struct {
		name    string
		spec    backend.ConvSpec
		kernels []string
	}{
		{"one channel, pooled", backend.ConvSpec{X: shape(3, 14, 18, 1), Filters: 33, KernelH: 3, KernelW: 3, Pool: 2, Act: backend.ReLU},
			[]string{"conv_forward_few_pool2", "conv_back_input_each", "conv_back_weights_few12", "partial_sum"}},
		{"three channels, strided", backend.ConvSpec{X: shape(2, 21, 19, 3), Filters: 36, KernelH: 3, KernelW: 3, Stride: 2, InAct: backend.Tanh},
			[]string{"conv_forward_few", "conv_back_input_lanes4", "conv_back_weights_few32", "partial_sum"}},
		{"one filter, upsampled", backend.ConvSpec{X: shape(2, 7, 9, 40), Filters: 1, KernelH: 3, KernelW: 3, Up: 2, InAct: backend.ReLU},
			[]string{"conv_forward_lanes1", "conv_back_input_few", "conv_back_weights_few12", "partial_sum"}},
		{"three filters, upsampled by 3", backend.ConvSpec{X: shape(2, 5, 3, 8), Filters: 3, KernelH: 3, KernelW: 3, Up: 3},
			[]string{"conv_forward_lanes4", "conv_back_input_few", "conv_spread", "conv_back_weights_few32", "partial_sum"}},
		{"one filter, upsampled, pooled", backend.ConvSpec{X: shape(2, 7, 9, 8), Filters: 1, KernelH: 3, KernelW: 3, Up: 2, Pool: 2},
			[]string{"conv_forward_each4", "conv_spread", "conv_back_input_few", "conv_spread", "conv_back_weights_few12", "partial_sum"}},
		{"one channel before four times as many", backend.ConvSpec{X: shape(2, 7, 9, 1), Filters: 4, KernelH: 2, KernelW: 3},
			[]string{"conv_forward_each", "conv_back_input_lanes1", "conv_back_weights_few12", "partial_sum"}},
		{"three filters, pooled", backend.ConvSpec{X: shape(3, 6, 9, 36), Filters: 3, KernelH: 3, KernelW: 3, Pool: 3, Act: backend.Sigmoid},
			[]string{"conv_forward_lanes4", "conv_back_input", "conv_back_weights", "partial_sum"}},
		{"rows that do not fit", backend.ConvSpec{X: shape(1, 1, 1400, 3), Filters: 8, KernelH: 3, KernelW: 3},
			[]string{"conv_forward", "conv_back_input_lanes4", "conv_back_weights_few4", "partial_sum"}},
		{"weights that do not fit", backend.ConvSpec{X: shape(1, 3, 3, 512), Filters: 4, KernelH: 3, KernelW: 3},
			[]string{"conv_forward_each4", "conv_back_input_tensor_split_small", "conv_back_weights_tensor_split_small"}},
		{"tf32: one channel, pooled", backend.ConvSpec{X: shape(3, 14, 18, 1), Filters: 33, KernelH: 3, KernelW: 3, Pool: 2, Act: backend.ReLU, Multiply: backend.TF32},
			[]string{"conv_forward_few_tensor_pool2", "conv_back_input_each", "conv_back_weights_few12", "partial_sum"}},
		{"tf32: three channels, strided", backend.ConvSpec{X: shape(2, 21, 19, 3), Filters: 36, KernelH: 3, KernelW: 3, Stride: 2, InAct: backend.Tanh, Multiply: backend.TF32},
			[]string{"conv_forward_few_tensor", "conv_back_input_lanes4", "conv_back_weights_few32", "partial_sum"}},
		{"tf32: one filter, upsampled", backend.ConvSpec{X: shape(2, 7, 9, 40), Filters: 1, KernelH: 3, KernelW: 3, Up: 2, InAct: backend.ReLU, Multiply: backend.TF32},
			[]string{"conv_forward_lanes_tensor", "conv_back_input_few_tensor", "conv_back_weights_few12", "partial_sum"}},
		{"tf32: three filters, upsampled", backend.ConvSpec{X: shape(2, 7, 9, 36), Filters: 3, KernelH: 3, KernelW: 3, Up: 2, Multiply: backend.TF32},
			[]string{"conv_forward_lanes_tensor2", "conv_back_input_few_tensor", "conv_spread", "conv_back_weights_few32", "partial_sum"}},
		{"tf32: two channels, too many taps for the steps", backend.ConvSpec{X: shape(1, 9, 9, 2), Filters: 8, KernelH: 4, KernelW: 4, Multiply: backend.TF32},
			[]string{"conv_forward_few", "conv_back_input_lanes4", "conv_back_weights_few32"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := must(backend.NewConv(c.spec))
			checkKernels(t, openCounter(t), s, c.kernels, func(m op.Mismatch) { t.Errorf("%+v", m) })
		})
	}
}

// Blocks have rows of so many positions, however many images there are, so that a gradient of fewer images needs no more memory.
func TestRowsOfABlock(t *testing.T) {
	for _, c := range []struct{ h, w, want int }{{14, 14, 7}, {3, 14, 3}, {64, 64, 2}, {8, 96, 1}, {8, 97, 1}} {
		if got := rowsOf(backend.Shape{N: 5, H: c.h, W: c.w, C: 3}); got != c.want {
			t.Errorf("%d by %d: %d rows, want %d", c.h, c.w, got, c.want)
		}
	}
}
