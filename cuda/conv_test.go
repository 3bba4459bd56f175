package cuda

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/convae/convae/cpu"
	"github.com/convae/convae/cuda/ptxsim"
	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/op"
)

func TestDivider(t *testing.T) {
	divide := func(n uint32, d uint64) uint32 { // as conv.cu does
		return uint32(uint64(2*n)*uint64(uint32(d))>>32) >> (d >> 32)
	}
	r := rand.New(rand.NewPCG(1, 2))
	for d := 1; d <= math.MaxInt32; d += 1 + d/7 {
		m := divider(d)
		numbers := []int{0, 1, d - 1, d, d + 1, math.MaxInt32 - 1, math.MaxInt32, math.MaxInt32 / d * d, math.MaxInt32/d*d - 1}
		for range 100 {
			numbers = append(numbers, r.IntN(math.MaxInt32))
		}
		for _, n := range numbers {
			if n = min(n, math.MaxInt32); int(divide(uint32(n), m)) != n/d {
				t.Fatalf("%d/%d is %d", n, d, divide(uint32(n), m))
			}
		}
	}
}

// counter is a simulator that keeps what its launches cost.
type counter struct {
	*Device
	mu       sync.Mutex
	launches []*ptxsim.LaunchCount
}

func openCounter(t *testing.T) *counter { return openCounterOf(t, 8, 0) }

// openCounterOf opens one of that compute capability.
func openCounterOf(t *testing.T, major, minor int) *counter {
	t.Helper()
	c := &counter{}
	var err error
	c.Device, err = Open(ptxsim.New(ptxsim.Options{Major: major, Minor: minor, OnLaunch: func(l *ptxsim.LaunchCount) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.launches = append(c.launches, l)
	}}), 0, "sim")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// convArgs are the tensors of a convolution, full of random numbers.
type convArgs struct {
	x, out, argmax, gradX, gradOut backend.Tensor
	p, grad                        backend.Params
}

func newConvArgs(t *testing.T, b backend.Backend, s backend.ConvShape) convArgs {
	t.Helper()
	r := rand.New(rand.NewPCG(uint64(s.X.Len()), uint64(s.Filters)))
	empty := func(k backend.Role, x backend.Shape) backend.Tensor { // in bf16 narrow, where channels are in eights
		v := tensor(t, b, k, x)
		if k == backend.Activation && s.Multiply == backend.BFloat16 && x.C%8 == 0 {
			v.Type = backend.BFloat16
		}
		return v
	}
	values := func(k backend.Role, s backend.Shape, std float64) backend.Tensor {
		x, v := empty(k, s), make([]float32, s.Len())
		for i := range v {
			v[i] = float32(r.NormFloat64() * std)
		}
		b.Upload(x, v)
		return x
	}
	bias, std := backend.Vec(s.Filters), 1/math.Sqrt(float64(s.Weights().Image()))
	a := convArgs{
		x: values(backend.Activation, s.X, 1), out: empty(backend.Activation, s.Out),
		gradX: empty(backend.Activation, s.X), gradOut: values(backend.Activation, s.Out, 1),
		p:    backend.Params{W: values(backend.Param, s.Weights(), std), Bias: values(backend.Param, bias, 1)},
		grad: backend.Params{W: values(backend.Param, s.Weights(), 1), Bias: values(backend.Param, bias, 1)},
	}
	if s.Pool > 1 {
		a.argmax = tensor(t, b, backend.Argmax, s.Out)
	}
	if n := b.ConvNeeds(s).Packed; n > 0 {
		a.p.Packed = tensor(t, b, backend.Packed, backend.Vec(n))
		b.ConvPack(s, a.p.Packed, a.p.W)
	}
	if n := b.ConvNeeds(s).Workspace; n > 0 {
		w, err := b.Alloc(n)
		if err != nil {
			t.Fatal(err)
		}
		b.SetWorkspace(w)
	}
	return a
}

func (a *convArgs) forward(b backend.Backend, s backend.ConvShape) {
	b.Conv(s, a.out, a.argmax, a.x, a.p)
}
func (a *convArgs) backInput(b backend.Backend, s backend.ConvShape) {
	b.ConvBackInput(s, a.gradX, a.gradOut, a.argmax, a.p, a.x)
}
func (a *convArgs) backWeights(b backend.Backend, s backend.ConvShape) {
	b.ConvBackWeights(s, a.grad, a.gradOut, a.argmax, a.x)
}

// ops returns the forward and the backward ops, and the tensors that they work on.
func (a *convArgs) ops(s backend.ConvShape) ([]op.Op, []backend.Tensor) {
	tensors := make([]backend.Tensor, 1)
	value := func(t backend.Tensor) op.Value {
		if t.IsZero() {
			return op.None
		}
		tensors = append(tensors, t)
		return op.Value(len(tensors) - 1)
	}
	out, argmax, x, w, bias := value(a.out), value(a.argmax), value(a.x), value(a.p.W), value(a.p.Bias)
	gradX, gradOut, gradW, gradBias := value(a.gradX), value(a.gradOut), value(a.grad.W), value(a.grad.Bias)
	return []op.Op{
		&op.Conv{Shape: s, Out: out, Argmax: argmax, X: x, W: w, Bias: bias},
		&op.ConvBackInput{Shape: s, GradX: gradX, GradOut: gradOut, Argmax: argmax, W: w, X: x},
		&op.ConvBackWeights{Shape: s, GradW: gradW, GradBias: gradBias, GradOut: gradOut, Argmax: argmax, X: x},
	}, tensors
}

// The table has small tensors. Here are those for which the other forms of the kernels are taken, on a device without tensor cores and on
// one that has them.
func TestLargeConv(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: the simulator takes seconds, and minutes under the race detector")
	}
	type spec = backend.ConvSpec
	type layer struct {
		spec
		kernels []string
	}
	run := func(major, minor int, layers []layer) {
		for _, c := range layers {
			s := must(backend.NewConv(c.spec))
			t.Run(fmt.Sprintf("%d.%d %v-%d", major, minor, s.X, s.Filters), func(t *testing.T) {
				checkKernels(t, openCounterOf(t, major, minor), s, c.kernels, func(m op.Mismatch) {
					if m.Err != nil || m.Op != "ConvBackWeights" { // whose sums are long; the next line has a bound for them
						t.Errorf("%+v", m)
					} else if math.Abs(m.Got-m.Want) > 1e-6*float64(s.X.N*s.Conv.H*s.Conv.W) {
						t.Errorf("%+v", m)
					}
				})
			})
		}
	}
	run(7, 5, []layer{
		{spec{X: backend.Shape{N: 5, H: 82, W: 83, C: 4}, Filters: 33, KernelH: 1, KernelW: 1, Act: backend.ReLU},
			[]string{"conv_forward_wide4", "conv_back_input_each", "conv_back_weights", "partial_sum"}},
		{spec{X: backend.Shape{N: 1, H: 181, W: 183, C: 8}, Filters: 12, KernelH: 1, KernelW: 1, InAct: backend.Tanh},
			[]string{"conv_forward4", "conv_back_input4", "conv_back_weights4", "partial_sum"}},
		{spec{X: backend.Shape{N: 1, H: 258, W: 192, C: 68}, Filters: 8, KernelH: 1, KernelW: 1, Stride: 2, InAct: backend.ReLU},
			[]string{"conv_forward_small4", "conv_back_input_wide4", "conv_back_weights4", "partial_sum"}},
		{spec{X: backend.Shape{N: 2, H: 12, W: 12, C: 24}, Filters: 20, KernelH: 7, KernelW: 7, Padding: backend.Same, InAct: backend.ReLU},
			[]string{"conv_forward_small4", "conv_back_input_small4", "conv_back_weights_halo4", "partial_sum"}},
		{spec{X: backend.Shape{N: 1, H: 181, W: 183, C: 8}, Filters: 12, KernelH: 2, KernelW: 3, InAct: backend.Tanh},
			[]string{"conv_forward_halo4", "conv_back_input_halo4", "conv_back_weights_halo4", "partial_sum"}},
		{spec{X: backend.Shape{N: 1, H: 258, W: 192, C: 68}, Filters: 8, KernelH: 2, KernelW: 2, Stride: 2, InAct: backend.ReLU},
			[]string{"conv_forward_halo4", "conv_back_input_halo_wide4", "conv_back_weights_halo4", "partial_sum"}},
		{spec{X: backend.Shape{N: 3, H: 108, W: 108, C: 4}, Filters: 20, KernelH: 3, KernelW: 1, Pool: 3, Act: backend.Sigmoid},
			[]string{"conv_forward_halo4", "conv_back_input_lanes4", "conv_back_weights_halo4", "partial_sum"}},
		{spec{X: backend.Shape{N: 2, H: 91, W: 92, C: 12}, Filters: 8, KernelH: 3, KernelW: 3, Up: 2, InAct: backend.ReLU},
			[]string{"conv_forward_halo4", "conv_spread4", "conv_back_input_halo4", "conv_spread4", "conv_back_weights_halo4", "partial_sum"}},
		{spec{X: backend.Shape{N: 1, H: 24, W: 36, C: 8}, Filters: 16, KernelH: 3, KernelW: 3, Pool: 12},
			[]string{"conv_forward_each4", "conv_back_input_halo4", "conv_back_weights4", "partial_sum"}},
		{spec{X: backend.Shape{N: 9, H: 8, W: 7, C: 28}, Filters: 32, KernelH: 3, KernelW: 3, Padding: backend.Same, Act: backend.ReLU, InAct: backend.ReLU},
			[]string{"conv_forward_halo_small4", "conv_back_input_halo_small4", "conv_back_weights_halo4", "partial_sum"}},
		{spec{X: backend.Shape{N: 1, H: 22, W: 50, C: 40}, Filters: 44, KernelH: 3, KernelW: 3, Padding: backend.Same, Pool: 2, Act: backend.ReLU, InAct: backend.ReLU},
			[]string{"conv_forward_halo_wide4", "conv_back_input_halo_wide4", "conv_back_weights_halo4", "partial_sum"}},
	})
	run(8, 0, []layer{
		{spec{X: backend.Shape{N: 1, H: 81, W: 83, C: 8}, Filters: 12, KernelH: 1, KernelW: 1, InAct: backend.Tanh},
			[]string{"conv_forward_tensor_split", "conv_back_input_tensor_split", "conv_back_weights4", "partial_sum"}},
		{spec{X: backend.Shape{N: 2, H: 31, W: 32, C: 12}, Filters: 8, KernelH: 3, KernelW: 3, Up: 2, InAct: backend.ReLU},
			[]string{"conv_forward_tensor_split", "conv_spread4", "conv_back_input_tensor_split", "conv_spread4", "conv_back_weights_tensor_split_small", "partial_sum"}},
		{spec{X: backend.Shape{N: 2, H: 8, W: 8, C: 16}, Filters: 16, KernelH: 4, KernelW: 4, Stride: 2}, // forward, with a few bytes less than 48 KB of dynamic shared memory
			[]string{"conv_forward_tensor_split_small", "conv_back_input_tensor_split", "conv_back_weights_tensor_split_small", "partial_sum"}},
		{spec{X: backend.Shape{N: 9, H: 8, W: 7, C: 28}, Filters: 32, KernelH: 3, KernelW: 3, Padding: backend.Same, Act: backend.ReLU, InAct: backend.ReLU},
			[]string{"conv_forward_tensor_split_small", "conv_back_input_tensor_split_small", "conv_back_weights_tensor_split_small", "partial_sum"}},
		{spec{X: backend.Shape{N: 1, H: 22, W: 50, C: 40}, Filters: 44, KernelH: 4, KernelW: 4, Padding: backend.Same, Pool: 2, Act: backend.ReLU, InAct: backend.ReLU},
			[]string{"conv_forward_tensor_split_deep", "conv_back_input_tensor_split_deep", "conv_back_weights_tensor_split", "partial_sum"}},
		{spec{X: backend.Shape{N: 1, H: 66, W: 66, C: 36}, Filters: 36, KernelH: 3, KernelW: 3, Padding: backend.Same, Pool: 2},
			[]string{"conv_forward_tensor_split_wide", "conv_back_input_tensor_split_wide", "conv_back_weights_tensor_split", "partial_sum"}},
		{spec{X: backend.Shape{N: 1, H: 181, W: 183, C: 8}, Filters: 12, KernelH: 2, KernelW: 3, InAct: backend.Tanh, Multiply: backend.TF32},
			[]string{"conv_forward_tensor", "conv_back_input_tensor", "conv_back_weights_tensor_small", "partial_sum"}},
		{spec{X: backend.Shape{N: 5, H: 82, W: 83, C: 4}, Filters: 36, KernelH: 1, KernelW: 1, Act: backend.ReLU, Multiply: backend.TF32},
			[]string{"conv_forward_tensor_wide", "conv_back_input_lanes4", "conv_back_weights4", "partial_sum"}},
	})
}

// checkKernels compares a convolution and its gradients with the CPU's, and asks that these kernels compute them.
func checkKernels(t *testing.T, d *counter, s backend.ConvShape, kernels []string, report func(m op.Mismatch)) {
	t.Helper()
	reference := must(cpu.Open(cpu.Options{Lanes: 1}))
	check := op.Checker{Reference: reference.Lanes()[0], Bound: backend.Bound{Abs: 2e-5, Rel: 2e-5}, Report: report}
	b := d.Lanes()[0]
	a := newConvArgs(t, b, s)
	ops, tensors := a.ops(s)
	d.launches = nil
	for _, o := range ops {
		if err := check.Run(&op.Call{Op: o}, &op.Frame{B: b, Tensors: tensors}); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	for _, l := range d.launches {
		got = append(got, l.Kernel)
	}
	if !slices.Equal(got, kernels) {
		t.Errorf("%q, want %q", got, kernels)
	}
}

// Without tensor cores a layer of 32 filters on 32 channels takes few instructions for each multiply-add, and no bank conflicts to speak of.
func TestConvCost(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: the simulator takes seconds, and minutes under the race detector")
	}
	s := must(backend.NewConv(backend.ConvSpec{X: backend.Shape{N: 168, H: 14, W: 14, C: 32}, Filters: 32, KernelH: 3, KernelW: 3,
		Pool: 2, Act: backend.ReLU, InAct: backend.ReLU}))
	d := openCounterOf(t, 7, 5)
	b := d.Lanes()[0]
	a := newConvArgs(t, b, s)
	for name, op := range map[string]func(backend.Backend, backend.ConvShape){
		"forward": a.forward, "backInput": a.backInput, "backWeights": a.backWeights,
	} {
		d.launches = nil
		op(b, s)
		if err := b.Sync(); err != nil {
			t.Fatal(err)
		}
		instructions, conflicts, accesses := uint64(0), uint64(0), uint64(0)
		for _, l := range d.launches {
			t.Log(l)
			instructions += l.LaneTotal()
			conflicts += l.BankConflicts
			accesses += l.SharedRequests
		}
		if per := float64(instructions) / float64(s.MACs()); per > 2 {
			t.Errorf("%s: %.3f instructions for a multiply-add, want at most 2", name, per)
		}
		if conflicts*100 > accesses {
			t.Errorf("%s: %d bank conflicts in %d accesses to shared memory", name, conflicts, accesses)
		}
	}
}

// Fewer images need no more memory.
func TestConvNeeds(t *testing.T) {
	d, _ := openFake(t, 7, 5)
	b := d.Lanes()[0]
	for _, up := range []int{1, 2} {
		for _, channels := range []int{1, 3, 32, 128} {
			last, most := 0, 0
			for n := 1; n < 3000; n += 1 + n/5 {
				s := must(backend.NewConv(backend.ConvSpec{X: backend.Shape{N: n, H: 28, W: 28, C: channels}, Filters: 32, KernelH: 3, KernelW: 3, Up: up}))
				needs := b.ConvNeeds(s)
				if needs.Packed != 0 || needs.Workspace < last || needs.Partials < most {
					t.Errorf("up %d, %d channels, %d images: %+v after %d bytes, %d partial sums", up, channels, n, needs, last, most)
				}
				last, most = needs.Workspace, needs.Partials
			}
		}
	}
}

// The gradient of an upsampled input goes through scratch; with many images it does so in groups.
func TestConvGroups(t *testing.T) {
	d, f := openFake(t, 7, 5)
	b := d.Lanes()[0]
	s := must(backend.NewConv(backend.ConvSpec{X: backend.Shape{N: 100, H: 128, W: 128, C: 4}, Filters: 32, KernelH: 3, KernelW: 3,
		Up: 2, Pool: 2, InAct: backend.ReLU}))
	none := func(k backend.Role, s backend.Shape) backend.Tensor { return tensor(t, b, k, s) }
	x, g, arg, w := none(backend.Activation, s.X), none(backend.Activation, s.Out), none(backend.Argmax, s.Out), none(backend.Param, s.Weights())
	n := b.ConvNeeds(s).Workspace
	b.SetWorkspace(must(b.Alloc(n)))
	if n > 4*spreadFloats+(32<<20) {
		t.Errorf("workspace of %d bytes", n)
	}
	f.Calls = nil
	b.ConvBackInput(s, x, g, arg, backend.Params{W: w}, x)
	b.ConvBackWeights(s, backend.Params{W: w}, g, arg, x)
	images := make(map[string][]uint64)
	for _, c := range f.Launches() {
		switch c.Name {
		case "conv_spread4":
			images[c.Name] = append(images[c.Name], (c.Launch.Args[0]-address(g))/uint64(4*s.Out.Image()), (c.Launch.Args[1]-address(arg))/uint64(s.Out.Image()))
		case "conv_back_input_lanes4":
			images[c.Name] = append(images[c.Name], (c.Launch.Args[14]-address(x))/uint64(4*s.X.Image()), (c.Launch.Args[13]-address(x))/uint64(4*s.X.Image()), c.Launch.Args[16])
		case "conv_back_weights_halo4":
			one := s.WithN(1)
			of, _ := haloGradientFor(&one)
			images[c.Name] = append(images[c.Name], (c.Launch.Args[0]-address(x))/uint64(4*s.X.Image()), c.Launch.Args[20]/uint64(of.units))
		}
	}
	want := map[string][]uint64{
		"conv_spread4":            {0, 0, 31, 31, 62, 62, 93, 93, 0, 0, 31, 31, 62, 62, 93, 93},
		"conv_back_input_lanes4":  {0, 0, 31, 31, 31, 31, 62, 62, 31, 93, 93, 7},
		"conv_back_weights_halo4": {0, 31, 31, 31, 62, 31, 93, 7},
	}
	for k, w := range want {
		if !slices.Equal(images[k], w) {
			t.Errorf("%s: %v, want %v", k, images[k], w)
		}
	}
}

// The two gradients of an upsampled layer share what they spread, unless something else was done between them.
func TestSpreadOnce(t *testing.T) {
	d := openCounter(t)
	b := d.Lanes()[0]
	s := must(backend.NewConv(backend.ConvSpec{X: backend.Shape{N: 3, H: 5, W: 6, C: 4}, Filters: 8, KernelH: 3, KernelW: 3, Up: 2, Pool: 2, InAct: backend.Tanh}))
	a := newConvArgs(t, b, s)
	a.forward(b, s) // which writes the arg-max
	download := func(x backend.Tensor) []float32 {
		v := make([]float32, x.Shape.Len())
		if err := b.Download(v, x); err != nil {
			t.Fatal(err)
		}
		return v
	}
	spreads := func(run func()) int {
		d.launches = nil
		run()
		if err := b.Sync(); err != nil {
			t.Fatal(err)
		}
		n := 0
		for _, l := range d.launches {
			if l.Kernel == "conv_spread4" {
				n++
			}
		}
		return n
	}
	weights := s // a gradient of weights does not say what comes before the layer
	weights.InAct = backend.Linear
	a.backInput(b, s)
	want := download(a.gradX)
	halves := s.WithN(1)
	other := download(a.gradOut)
	slices.Reverse(other)
	for _, c := range []struct {
		name    string
		between func()
		spreads int
	}{
		{"nothing between", func() {}, 1},
		{"a gradient of fewer images between", func() { b.ConvBackWeights(halves, a.grad, one(a.gradOut), one(a.argmax), one(a.x)) }, 3},
		{"another workspace", func() { b.SetWorkspace(must(b.Alloc(b.ConvNeeds(s).Workspace))) }, 2},
		{"the gradient is cleared and uploaded again", func() {
			v := download(a.gradOut)
			b.Zero(a.gradOut)
			b.Upload(a.gradOut, v)
		}, 2},
		{"in a graph of its own", func() {
			g := b.(backend.Recorder).Record(func() { a.backInput(b, s) })
			b.(backend.Recorder).Replay(g)
			g.Close()
		}, 3},
	} {
		b.Zero(a.gradX)
		if n := spreads(func() { a.backWeights(b, weights); c.between(); a.backInput(b, s) }); n != c.spreads {
			t.Errorf("%s: spread %d times, want %d", c.name, n, c.spreads)
		}
		if got := download(a.gradX); !slices.Equal(got, want) {
			t.Errorf("%s: the gradient of the input differs", c.name)
		}
	}
	a.backWeights(b, s)
	b.Upload(a.gradOut, other)
	a.backInput(b, s)
	if slices.Equal(download(a.gradX), want) {
		t.Error("another gradient of the output gives the same gradient of the input")
	}
}

// one is the first image of a tensor.
func one(x backend.Tensor) backend.Tensor {
	x.Shape = x.Shape.WithN(1)
	return x
}

// The split of the weights' gradient follows from the shape alone, fills waves of a nominal device, and is not made for parts
// too small.
func TestSplits(t *testing.T) {
	d := openSim(t, 7, 5)
	for _, c := range []struct{ n, size, channels, filters, want int }{
		{1, 1, 4, 32, 1},        // one place
		{1, 16, 4, 32, 4},       // 256 places
		{128, 28, 30, 32, 62},   // 17 blocks, of which 1,056 are a wave
		{128, 28, 32, 32, 132},  // 1 block, of which 132 are a wave
		{16, 64, 128, 64, 16},   // 8 blocks: 128
		{16, 32, 256, 128, 4},   // 32 blocks: 128
		{16, 32, 384, 256, 4},   // 96 blocks: neither one wave nor two are full to three quarters, three of four parts are
		{16, 32, 512, 384, 2},   // 192 blocks: two waves of one part are not full to three quarters, three of two parts are
		{16, 32, 512, 512, 1},   // 256 blocks
		{16, 32, 1024, 1024, 1}, // 1,024 blocks: four waves
		{1024, 32, 64, 64, 132 / 4},
	} {
		s := must(backend.NewConv(backend.ConvSpec{X: backend.Shape{N: c.n, H: c.size, W: c.size, C: c.channels}, Filters: c.filters, KernelH: 3, KernelW: 3}))
		if got := d.splits(&s); got != c.want {
			t.Errorf("%+v: %d parts, want %d", c, got, c.want)
		}
	}
}

func TestConvDoesNotAllocate(t *testing.T) {
	d, f := openFake(t, 8, 0)
	b := d.Lanes()[0]
	s := must(backend.NewConv(backend.ConvSpec{X: backend.Shape{N: 9, H: 14, W: 14, C: 8}, Filters: 32, KernelH: 3, KernelW: 3, Up: 2}))
	a := newConvArgs(t, b, s)
	f.Quiet = true
	if n := testing.AllocsPerRun(5, func() { a.forward(b, s); a.backInput(b, s); a.backWeights(b, s) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestConvMistakesPanic(t *testing.T) {
	d, _ := openFake(t, 8, 0)
	b := d.Lanes()[0]
	s := must(backend.NewConv(backend.ConvSpec{X: backend.Shape{N: 9, H: 14, W: 14, C: 8}, Filters: 32, KernelH: 3, KernelW: 3, Pool: 2,
		InAct: backend.ReLU}))
	ok := newConvArgs(t, b, s)
	odd := tensor(t, b, backend.Activation, backend.Shape{N: 9, H: 49, W: 1, C: 32})
	none := backend.Tensor{}
	for _, c := range []struct {
		name, want string
		run        func(a convArgs)
	}{
		{"no geometry", backend.MistakeGeometry, func(a convArgs) { a.forward(b, backend.ConvShape{}) }},
		{"no geometry back", backend.MistakeGeometry, func(a convArgs) { a.backInput(b, backend.ConvShape{}) }},
		{"no geometry of weights", backend.MistakeGeometry, func(a convArgs) { a.backWeights(b, backend.ConvShape{}) }},
		{"no geometry of a dense layer", backend.MistakeGeometry, func(a convArgs) { b.Dense(backend.DenseShape{}, a.out, a.x, a.p) }},
		{"output of another shape", backend.MistakeShape, func(a convArgs) { a.out = odd; a.forward(b, s) }},
		{"weights that are none", backend.MistakeRole, func(a convArgs) { a.p.W = odd; a.forward(b, s) }},
		{"no weights", backend.MistakeMissing, func(a convArgs) { a.p.W = none; a.forward(b, s) }},
		{"bias of another shape", backend.MistakeShape, func(a convArgs) { a.p.Bias = a.p.W; a.forward(b, s) }},
		{"arg-max that is none", backend.MistakeRole, func(a convArgs) { a.argmax = odd; a.forward(b, s) }},
		{"no arg-max", backend.MistakeMissing, func(a convArgs) { a.argmax = none; a.backInput(b, s) }},
		{"no arg-max for weights", backend.MistakeMissing, func(a convArgs) { a.argmax = none; a.backWeights(b, s) }},
		{"no output to derive", backend.MistakeMissing, func(a convArgs) { a.x = none; a.backInput(b, s) }},
		{"no gradient", backend.MistakeMissing, func(a convArgs) { a.grad.W = none; a.backWeights(b, s) }},
		{"an unknown activation", backend.MistakeAct, func(a convArgs) { s := s; s.Act = 9; a.forward(b, s) }},
		{"no workspace", errWorkspace, func(a convArgs) { b.SetWorkspace(nil); a.backWeights(b, s) }},
	} {
		got := func() (p any) {
			defer func() { p = recover() }()
			c.run(ok)
			return nil
		}()
		if got != c.want {
			t.Errorf("%s: %v, want %q", c.name, got, c.want)
		}
	}
}
