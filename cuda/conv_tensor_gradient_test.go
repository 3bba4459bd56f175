package cuda

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/convae/convae/cuda/ptxsim"
	"github.com/convae/convae/nn/backend"
)

// tensorGradients are layers for the forms of gradient_tensor, with odd sizes.
var tensorGradients = []struct {
	backend.ConvSpec
	kernel string
}{
	{backend.ConvSpec{X: backend.Shape{N: 3, H: 9, W: 11, C: 36}, Filters: 40, KernelH: 3, KernelW: 3, Padding: backend.Same}, "conv_back_weights_tensor"},
	{backend.ConvSpec{X: backend.Shape{N: 1, H: 20, W: 18, C: 32}, Filters: 72, KernelH: 3, KernelW: 3, Padding: backend.Same, Pool: 2}, "conv_back_weights_tensor"},
	{backend.ConvSpec{X: backend.Shape{N: 1, H: 18, W: 21, C: 32}, Filters: 24, KernelH: 3, KernelW: 3, Padding: backend.Same, Pool: 3}, "conv_back_weights_tensor_small"},
	{backend.ConvSpec{X: backend.Shape{N: 2, H: 18, W: 17, C: 20}, Filters: 24, KernelH: 5, KernelW: 4, Stride: 2}, "conv_back_weights_tensor_small"},
	{backend.ConvSpec{X: backend.Shape{N: 2, H: 9, W: 17, C: 44}, Filters: 24, KernelH: 3, KernelW: 3, Padding: backend.Same, Up: 2}, "conv_back_weights_tensor"},
	{backend.ConvSpec{X: backend.Shape{N: 2, H: 5, W: 6, C: 8}, Filters: 12, KernelH: 4, KernelW: 2, Up: 3}, "conv_back_weights_tensor_small"},
	{backend.ConvSpec{X: backend.Shape{N: 290, H: 3, W: 3, C: 4}, Filters: 8, KernelH: 3, KernelW: 3, Padding: backend.Same}, "conv_back_weights_tensor_small"}, // parts of more than one unit
}

// backWeightsOf runs the gradients of a layer's weights and bias on a simulated device from what is given, and returns both and the
// kernels that were launched.
func backWeightsOf(t *testing.T, spec backend.ConvSpec, x, gradOut []float32) (w, bias []float32, kernels []string) {
	t.Helper()
	d := openCounter(t)
	b, s := d.Lanes()[0], must(backend.NewConv(spec))
	a := newConvArgs(t, b, s)
	spec.Multiply = backend.Float32
	a.forward(b, must(backend.NewConv(spec))) // which makes the arg-max, in all precisions the same
	b.Upload(a.x, x)
	b.Upload(a.gradOut, gradOut)
	d.launches = nil
	a.backWeights(b, s)
	w, bias = make([]float32, a.grad.W.Shape.Len()), make([]float32, a.grad.Bias.Shape.Len())
	for _, err := range []error{b.Download(w, a.grad.W), b.Download(bias, a.grad.Bias)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, l := range d.launches {
		kernels = append(kernels, l.Kernel)
	}
	return w, bias, kernels
}

// On tensor cores the gradient of weights is that of factors that were rounded before, and that of the bias is not rounded at all.
func TestTensorGradient(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: the simulator takes seconds, and minutes under the race detector")
	}
	for _, c := range tensorGradients {
		s := must(backend.NewConv(c.ConvSpec))
		t.Run(fmt.Sprintf("%v-%d", s.X, s.Filters), func(t *testing.T) {
			r := rand.New(rand.NewPCG(uint64(s.X.Len()), 9))
			values := func(n int) (v, rounded []float32) {
				for range n {
					x := float32(r.NormFloat64())
					if s.Up > 1 { // the sums over copies are rounded, and so must be exact
						x = float32(r.IntN(17)-8) / 8
					}
					v, rounded = append(v, x), append(rounded, backend.RoundTF32(x))
				}
				return v, rounded
			}
			x, roundX := values(s.X.Len())
			g, roundG := values(s.Out.Len())
			rounding := c.ConvSpec
			rounding.Multiply = backend.TF32
			got, bias, kernels := backWeightsOf(t, rounding, x, g)
			want, _, _ := backWeightsOf(t, c.ConvSpec, roundX, roundG)
			_, wantBias, _ := backWeightsOf(t, c.ConvSpec, x, g)
			if !slices.Contains(kernels, c.kernel) {
				t.Errorf("kernels %q, want %s", kernels, c.kernel)
			}
			// Sums of n products of about 1 are about sqrt(n), and are rounded n times, up or down.
			n := float64(s.X.N * s.Conv.H * s.Conv.W)
			bound := 4 * n * 0x1p-24
			for i := range want {
				if d := math.Abs(float64(got[i] - want[i])); !(d <= bound) {
					t.Fatalf("weight %d: %v, want %v, at most %v off", i, got[i], want[i], bound)
				}
			}
			for i := range bias {
				if d := math.Abs(float64(bias[i] - wantBias[i])); !(d <= bound) {
					t.Fatalf("bias %d: %v, want %v, at most %v off", i, bias[i], wantBias[i], bound)
				}
			}
		})
	}
}

// A device without tensor cores for TF32 leaves as many partial sums, of which a program knows.
func TestTensorGradientOnOlderDevices(t *testing.T) {
	spec := tensorGradients[0].ConvSpec
	spec.Multiply = backend.TF32
	s := must(backend.NewConv(spec))
	for _, major := range []int{7, 8} {
		d, err := Open(ptxsim.New(ptxsim.Options{Major: major, Minor: 5}), 0, "sim")
		if err != nil {
			t.Fatal(err)
		}
		b := d.Lanes()[0]
		if n := b.ConvNeeds(s).Partials; n != d.partials(s) || n < 2 {
			t.Errorf("compute capability %d.5: %d partial sums, want %d", major, n, d.partials(s))
		}
		a := newConvArgs(t, b, s)
		a.backWeights(b, s)
		if err := b.Sync(); err != nil {
			t.Error(err)
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}
}
