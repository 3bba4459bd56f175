package cuda

import (
	"strings"
	"testing"

	"github.com/convae/convae/cpu"
	"github.com/convae/convae/kernels"
	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/op"
)

// What is multiplied in TF32 takes the forms on tensor cores for its shape, and what does not fit them takes the others.
func TestTensorForms(t *testing.T) {
	shape := func(n, h, w, c int) backend.Shape { return backend.Shape{N: n, H: h, W: w, C: c} }
	for _, c := range []struct {
		name          string
		spec          backend.ConvSpec
		forward, back string // "" where another form is taken
	}{
		{"large image, pooled", backend.ConvSpec{X: shape(1, 65, 64, 20), Filters: 68, KernelH: 3, KernelW: 3, Pool: 1, Act: backend.ReLU},
			"conv_forward_tensor_wide", "conv_back_input_tensor"},
		{"many columns", backend.ConvSpec{X: shape(2, 18, 14, 68), Filters: 72, KernelH: 3, KernelW: 3, Pool: 2, Act: backend.Tanh},
			"conv_forward_tensor_deep", "conv_back_input_tensor_deep"},
		{"few columns", backend.ConvSpec{X: shape(3, 14, 14, 32), Filters: 32, KernelH: 3, KernelW: 3, Pool: 2, InAct: backend.ReLU},
			"conv_forward_tensor", "conv_back_input_tensor"},
		{"small image", backend.ConvSpec{X: shape(5, 7, 7, 36), Filters: 40, KernelH: 3, KernelW: 3},
			"conv_forward_tensor_small", "conv_back_input_tensor_small"},
		{"large kernel, strided", backend.ConvSpec{X: shape(2, 21, 19, 12), Filters: 36, KernelH: 5, KernelW: 5, Stride: 2, Padding: backend.Valid},
			"conv_forward_tensor_deep", "conv_back_input_tensor"},
		{"one tap", backend.ConvSpec{X: shape(2, 12, 9, 100), Filters: 68, KernelH: 1, KernelW: 1, Act: backend.Sigmoid},
			"conv_forward_tensor_deep", "conv_back_input_tensor_deep"},
		{"channels of no quads", backend.ConvSpec{X: shape(2, 9, 9, 33), Filters: 34, KernelH: 3, KernelW: 3}, "", ""},
		{"a pool larger than a block", backend.ConvSpec{X: shape(1, 30, 30, 8), Filters: 36, KernelH: 3, KernelW: 3, Pool: 15}, "",
			"conv_back_input_tensor"},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.spec.Multiply = backend.TF32
			d := openCounter(t)
			reference := must(cpu.Open(cpu.Options{Lanes: 1}))
			bound := backend.Bound{Abs: 2e-5, Rel: 2e-5}
			check := op.Checker{Reference: reference.Lanes()[0], Bound: bound, Report: func(m op.Mismatch) { t.Errorf("%+v", m) }}
			b, s := d.Lanes()[0], must(backend.NewConv(c.spec))
			a := newConvArgs(t, b, s)
			for _, x := range []backend.Tensor{a.x, a.p.W, a.gradOut} {
				v := make([]float32, x.Shape.Len())
				if err := b.Download(v, x); err != nil {
					t.Fatal(err)
				}
				for i := range v {
					v[i] = backend.RoundTF32(v[i])
				}
				b.Upload(x, v)
			}
			ops, tensors := a.ops(s)
			d.launches = nil
			for _, o := range ops[:2] {
				if err := check.Run(&op.Call{Op: o}, &op.Frame{B: b, Tensors: tensors}); err != nil {
					t.Fatal(err)
				}
			}
			for i, want := range []string{c.forward, c.back} {
				if got := d.launches[i].Kernel; want != "" && got != want || want == "" && tensorKernels[got] {
					t.Errorf("kernel %d is %s, want %q", i, got, want)
				}
			}
		})
	}
}

// tensorKernels are the names of the kernels of conv_tensor.cuh.
var tensorKernels = func() map[string]bool {
	names := map[string]bool{}
	for _, f := range []*correlateForm{&roundedForms.wide, &roundedForms.deep, &roundedForms.few, &roundedForms.small} {
		names[f.forward.Name()], names[f.back.Name()] = true, true
	}
	return names
}()

// A block's rows of pixels are as long, and its strips as far apart, as it takes that rows of a matrix that are read at once lie in different
// banks.
func TestQuietLayout(t *testing.T) {
	for _, c := range []struct{ h, w, pool, stride, positions, most int }{
		{64, 64, 1, 1, 128, 0}, {14, 14, 1, 1, 64, 0}, {7, 7, 1, 1, 32, 0}, {32, 32, 2, 1, 256, 0}, {7, 7, 2, 1, 64, 0}, {32, 32, 1, 2, 128, 0}, {7, 7, 1, 2, 32, 0},
		{5, 14, 2, 3, 64, 0}, {9, 9, 3, 1, 128, 110},
	} {
		w := window{3, 3, c.stride, 1, 1, 1, 1, backend.Shape{N: 4, H: c.h, W: c.w, C: 32}, c.pool}
		l := tensorLaunch{correlateForm: &correlateForm{positions: c.positions}, strips: stripsOf(&w, c.positions, false, c.stride)}
		least := l.pitch
		l.layQuietly(&w)
		if n := l.conflicts(&w, l.pitch); n > c.most || l.pitch < least {
			t.Errorf("%+v: %d rows wait with a pitch of %d, want at most %d", c, n, l.pitch, c.most)
		}
		// A strip's last window and the next strip's first one are neighbours, modulo the banks, unless matrices end with rows of windows.
		last := (c.h-1)*c.pool*l.pitch + (l.width-1)*c.pool
		if got := (l.stack - last) % 8; got != c.pool%8 && l.pitch*c.pool%8 == l.width*c.pool%8 {
			t.Errorf("%+v: the next strip's first window is %d eighths of the banks behind the last one, want %d", c, got, c.pool)
		}
	}
}

// What is multiplied in bf16 takes the forms for pairs if it is narrow, has packed weights and channels in eights.
func TestPairForms(t *testing.T) {
	d := openSim(t, 9, 0)
	for _, c := range []struct {
		channels int
		narrow   bool
		packed   bool
		want     bool
	}{{64, true, true, true}, {68, true, true, false}, {64, false, true, false}, {64, true, false, false}} {
		s := must(backend.NewConv(backend.ConvSpec{X: backend.Shape{N: 2, H: 18, W: 14, C: c.channels}, Filters: 72, KernelH: 3, KernelW: 3, Multiply: backend.BFloat16}))
		forward, back := d.packing(&s)
		if (forward.words > 0) != (c.channels%8 == 0) || back.words != c.channels*9*72/2 {
			t.Errorf("%d channels: %d words of packed weights forward and %d back", c.channels, forward.words, back.words)
		}
		k := correlation{multiply: s.Multiply}
		if c.packed {
			k.packed = 256
		}
		src, w := stored(values{narrow: c.narrow}, s.X), forwardWindow(&s)
		f, ok := d.tensorFor(&k, &src, &w, false)
		if ok != c.want || ok && f.forward != kernels.ConvForwardTensorBF16Deep {
			t.Errorf("%+v: %t, %v", c, ok, f.correlateForm)
		}
	}
}

// On tensor cores, layers as those of the denoiser and of a larger model have few bank conflicts: under 3 % of the requests to shared memory, of
// every kernel, in every precision and with warpgroups too. Residues of an odd number of rows are of unequal height but have one layout: in the lower
// ones the next strip lies a row further on than banks would have it, so that one row of one matrix at every end of a strip waits.
func TestTensorConflicts(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: the simulator takes seconds, and minutes under the race detector")
	}
	shape := func(n, h, w, c int) backend.Shape { return backend.Shape{N: n, H: h, W: w, C: c} }
	launched := map[string]bool{}
	for _, spec := range []backend.ConvSpec{
		{X: shape(2, 28, 28, 1), Filters: 32, Pool: 2},
		{X: shape(5, 14, 14, 32), Filters: 32, Pool: 2},
		{X: shape(5, 7, 7, 32), Filters: 32},
		{X: shape(5, 7, 7, 32), Filters: 32, Up: 2},
		{X: shape(5, 14, 14, 32), Filters: 32, Stride: 2},
		{X: shape(5, 15, 13, 32), Filters: 32, Stride: 2},
		{X: shape(2, 14, 14, 32), Filters: 1, Up: 2},
		{X: shape(1, 64, 64, 3), Filters: 64, Pool: 2},
		{X: shape(1, 64, 64, 64), Filters: 64, Pool: 2},
		{X: shape(1, 32, 32, 64), Filters: 64},
		{X: shape(1, 32, 32, 64), Filters: 64, Up: 2},
		{X: shape(1, 64, 64, 64), Filters: 3, Up: 2},
	} {
		for _, on := range []struct {
			multiply backend.DType
			major    int
		}{{backend.Float32, 8}, {backend.TF32, 8}, {backend.BFloat16, 8}, {backend.TF32, 9}, {backend.BFloat16, 9}} {
			spec.KernelH, spec.KernelW, spec.Padding, spec.Multiply = 3, 3, backend.Same, on.multiply
			s := must(backend.NewConv(spec))
			d := openCounterOf(t, on.major, 0)
			b := d.Lanes()[0]
			a := newConvArgs(t, b, s)
			all := func() { a.forward(b, s); a.backInput(b, s); a.backWeights(b, s) }
			b.(backend.Preparer).Prepare(all)
			d.launches = nil
			all()
			for _, l := range d.launches {
				if !strings.Contains(l.Kernel, "tensor") && !strings.Contains(l.Kernel, "wgmma") {
					continue
				}
				launched[l.Kernel] = true
				most := uint64(3) // per cent
				if s.Stride > 1 && s.X.H%s.Stride > 0 {
					most = 5
				}
				if l.BankConflicts*100 > most*l.SharedRequests {
					t.Errorf("%v-%d, %s: %d extra passes for %d requests to shared memory, want at most %d %%", s.X, s.Filters, l.Kernel, l.BankConflicts, l.SharedRequests, most)
				}
			}
		}
	}
	if len(launched) < 40 {
		t.Errorf("%d kernels on tensor cores were launched, want 40 at least", len(launched))
	}
}
