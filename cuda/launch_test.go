package cuda

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/convae/convae/cuda/driver"
	"github.com/convae/convae/kernels"
	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/corrupt"
)

// launched describes launches by kernel, blocks and threads of a block.
func launched(calls []driver.FakeCall) []string {
	var s []string
	for _, c := range calls {
		g, b := c.Launch.Grid, c.Launch.Block
		if g.Y|g.Z|b.Y|b.Z != 0 {
			s = append(s, fmt.Sprintf("%s %v %v", c.Name, g, b))
			continue
		}
		s = append(s, fmt.Sprintf("%s %dx%d", c.Name, g.X, b.X))
	}
	return s
}

// Every kernel gets the threads that its source says it needs, also for the largest tensors that there are.
func TestLaunchGeometry(t *testing.T) {
	d, f := openFake(t, 7, 5)
	l := d.Lanes()[0]
	act := func(n, h, w, c int) backend.Tensor {
		return tensor(t, l, backend.Activation, backend.Shape{N: n, H: h, W: w, C: c})
	}
	flat := func(n int) backend.Tensor { return tensor(t, l, backend.Flat, backend.Vec(n)) }
	stepParams := tensor(t, l, backend.PerStep, backend.Vec(1))
	none := backend.Tensor{}
	x, y := act(3, 31, 33, 5), act(3, 31, 33, 5) // 15345 elements, 3837 fours
	big := act(1, 1, 1, math.MaxInt32)
	p, q := flat(1025), flat(1025)
	update := backend.Update{Param: p, Grad: q, State: [2]backend.Tensor{q, q}, StepParams: stepParams, Rate: 1}
	pool := func(c int) (backend.PoolShape, backend.Tensor, backend.Tensor) {
		s := must(backend.NewPool(backend.PoolSpec{X: backend.Shape{N: 2, H: 31, W: 33, C: c}, Size: 3, Stride: 2}))
		return s, tensor(t, l, backend.Activation, s.X), tensor(t, l, backend.Activation, s.Out)
	}
	up := func(c int) (backend.UpsampleShape, backend.Tensor, backend.Tensor) {
		s := must(backend.NewUpsample(backend.Shape{N: 2, H: 5, W: 7, C: c}, 3))
		return s, tensor(t, l, backend.Activation, s.X), tensor(t, l, backend.Activation, s.Out)
	}
	depth := func(o backend.DepthOrder) (backend.DepthShape, backend.Tensor, backend.Tensor) {
		s := must(backend.NewDepth(backend.Shape{N: 2, H: 5, W: 7, C: 32}, 2, o))
		return s, tensor(t, l, backend.Activation, s.X), tensor(t, l, backend.Activation, s.Out)
	}
	grouped := func(c int) (backend.GroupedShape, backend.Tensor, backend.Tensor, backend.Params) {
		s := must(backend.NewGrouped(backend.GroupedSpec{X: backend.Shape{N: 2, H: 7, W: 9, C: c}, Filters: c, Groups: c, KernelH: 3, KernelW: 3}))
		return s, tensor(t, l, backend.Activation, s.X), tensor(t, l, backend.Activation, s.Out),
			backend.Params{W: tensor(t, l, backend.Param, s.Weights()), Bias: tensor(t, l, backend.Param, backend.Vec(c))}
	}
	single := act(3, 1, 1, 5)
	sum := make([]backend.Tensor, 17)
	for i := range sum {
		sum[i] = p
	}
	pixels, order := tensor(t, l, backend.Pixels, x.Shape.WithN(5)), tensor(t, l, backend.Index, backend.Vec(9))
	values := flat(5 * x.Shape.Image())
	param := func(n int) backend.Tensor { return tensor(t, l, backend.Param, backend.Vec(n)) }
	matrix := func(n, c int) backend.Tensor {
		return tensor(t, l, backend.Flat, backend.Shape{N: n, H: 1, W: 1, C: c})
	}
	norm := func(c int) backend.BatchNormShape {
		return must(backend.NewBatchNorm(backend.BatchNormSpec{X: backend.Shape{N: 3, H: 31, W: 33, C: c}, Epsilon: 1}))
	}
	moments := func(c int) backend.BatchNormParams { return backend.BatchNormParams{Mean: flat(c), Variance: flat(c)} }
	for _, c := range []struct {
		name string
		run  func()
		want []string
	}{
		{"set stepParams", func() { l.SetStepParams(stepParams, backend.StepParams{}) }, []string{"vector_clock 1x1"}},
		{"axpy", func() { l.Axpy(p, 2, q) }, []string{"vector_axpy 2x256"}},
		{"axpy of nothing", func() { l.Axpy(p.Range(3, 3), 2, q.Range(5, 5)) }, nil},
		{"sum of 1", func() { l.Sum(p, sum[:1]) }, []string{"vector_sum 5x256"}},
		{"sum of 8", func() { l.Sum(p, sum[:8]) }, []string{"vector_sum 5x256"}},
		{"sum of 17", func() { l.Sum(p, sum) }, []string{"vector_sum 5x256", "vector_sum 5x256", "vector_sum 5x256"}},
		{"activate", func() { l.Activate(backend.Function{Act: backend.Tanh}, x, y) }, []string{"act_forward 15x256"}},
		{"normalise", func() { l.BatchNorm(norm(5), x, y, moments(5)) }, []string{"batchnorm_forward 8x256"}}, // 384 threads of eight pixels for each channel
		{"normalise fours", func() { l.BatchNorm(norm(8), act(3, 31, 33, 8), act(3, 31, 33, 8), moments(8)) }, []string{"batchnorm_forward4 3x256"}},
		{"statistics", func() { l.BatchNormStatistics(norm(8), matrix(7, 17), act(3, 31, 33, 8)) }, []string{"batchnorm_statistics4 {7 1 0} {256 0 0}"}},
		{"statistics of many", func() { l.BatchNormStatistics(norm(257), matrix(7, 515), act(3, 31, 33, 257)) }, []string{"batchnorm_statistics {7 2 0} {256 0 0}"}},
		{"moments", func() {
			l.BatchNormMoments(backend.Moving{}, flat(514), param(257), param(257), matrix(7, 515))
		}, []string{"batchnorm_moments 33x256"}},
		{"activate the largest", func() { l.Activate(backend.Function{Act: backend.Tanh}, big, big) }, []string{"act_forward 2097152x256"}},
		{"activate back", func() { l.ActivateBack(backend.Function{Act: backend.Tanh}, x, y, x) }, []string{"act_back 15x256"}},
		{"rescale", func() { l.Rescale(2, -1, x, y) }, []string{"act_rescale 15x256"}},
		{"clamp", func() { l.ClampVariance(backend.Limits{Max: 1}, act(3, 5, 7, 6), act(3, 5, 7, 6)) }, []string{"gaussian_clamp 3x256"}},
		{"pool", func() { s, in, out := pool(5); l.MaxPool(s, out, none, in) }, []string{"pool_forward 11x256"}},
		{"pool of fours", func() { s, in, out := pool(20); l.MaxPool(s, out, none, in) }, []string{"pool_forward4 11x256"}},
		{"pool back", func() { s, in, out := pool(5); l.MaxPoolBack(s, in, out, tensor(t, l, backend.Argmax, s.Out)) }, []string{"pool_back 40x256"}},
		{"pool back of fours", func() { s, in, out := pool(20); l.MaxPoolBack(s, in, out, tensor(t, l, backend.Argmax, s.Out)) }, []string{"pool_back4 40x256"}},
		{"upsample", func() { s, in, out := up(3); l.Upsample(s, out, in) }, []string{"upsample_forward 8x256"}},
		{"upsample of fours", func() { s, in, out := up(12); l.Upsample(s, out, in) }, []string{"upsample_forward4 8x256"}},
		{"upsample back", func() { s, in, out := up(3); l.UpsampleBack(s, in, out) }, []string{"upsample_back 1x256"}},
		{"upsample back of fours", func() { s, in, out := up(16); l.UpsampleBack(s, in, out) }, []string{"upsample_back4 2x256"}},
		{"grouped", func() { s, in, out, p := grouped(5); l.Grouped(s, out, in, p) }, []string{"grouped_forward 3x256"}},
		{"grouped of fours, back", func() { s, in, out, p := grouped(20); l.GroupedBackInput(s, in, out, p.W) }, []string{"grouped_back_input4 3x256"}},
		{"grouped, back to the weights", func() { s, in, out, p := grouped(40); l.GroupedBackWeights(s, p, out, in) }, []string{"grouped_back_weights 20x256"}},
		{"average", func() { s, in, out := pool(5); l.AveragePool(s, out, in) }, []string{"pool_average 11x256"}},
		{"average of fours back", func() { s, in, out := pool(20); l.AveragePoolBack(s, in, out) }, []string{"pool_average_back4 40x256"}},
		{"bilinear", func() { s, in, out := up(3); l.Bilinear(s, out, in) }, []string{"upsample_bilinear 8x256"}},
		{"bilinear of fours back", func() { s, in, out := up(16); l.BilinearBack(s, in, out) }, []string{"upsample_bilinear_back4 2x256"}},
		{"depth", func() { s, in, out := depth(backend.ChannelFirst); l.DepthToSpace(s, out, in) }, []string{"depth_to_space 9x256"}},
		{"depth of fours back", func() { s, in, out := depth(backend.BlockFirst); l.SpaceToDepth(s, in, out) }, []string{"depth_back4 3x256"}},
		{"times", func() { l.Times(x, x, y) }, []string{"channelwise_times 60x256"}},
		{"times of fours", func() { l.Times(act(1, 2, 2, 3), act(1, 2, 2, 3), act(1, 2, 2, 3)) }, []string{"channelwise_times4 1x256"}},
		{"times by pixels", func() { l.Times(x, y, single) }, []string{"channelwise_times 60x256"}},
		{"fourier", func() { l.Fourier(act(2, 5, 7, 6), act(2, 5, 7, 3)) }, []string{"fourier_lines 30x256", "fourier_lines 42x256"}},
		{"most", func() { l.SpectrumMost(act(2, 1, 1, 3), act(2, 5, 7, 6)) }, []string{"fourier_most 6x256"}},
		{"focal", func() { l.Focal(1, flat(1), none, none, act(2, 5, 7, 6), act(2, 1, 1, 3)) }, []string{"fourier_focal 1x256", "loss_total 1x256"}},
		{"unit norm", func() { l.UnitNorm(x, y, none) }, []string{"unitnorm_forward 384x256"}},
		{"unit norm back", func() { l.UnitNormBack(x, y, y, none) }, []string{"unitnorm_back 384x256"}},
		{"sum of pixels", func() { l.SumPixels(1, single, x, none) }, []string{"channelwise_sum 3x256"}},
		{"spread", func() { l.SpreadPixels(1, x, single) }, []string{"channelwise_spread 60x256"}},
		{"plus", func() { l.Plus(x, x, y) }, []string{"merge_plus 15x256"}},
		{"plus of the largest", func() { l.Plus(big, big, big) }, []string{"merge_plus 2097152x256"}},
		{"channels", func() { l.CopyChannels(x, 1, y, 2, 3) }, []string{"merge_channels 36x256"}},
		{"channels of fours", func() { l.CopyChannels(act(3, 31, 33, 12), 4, act(3, 31, 33, 16), 8, 8) }, []string{"merge_channels4 24x256"}},
		{"no channels", func() { l.CopyChannels(x, 5, y, 5, 0) }, nil},
		{"cross-entropy", func() { l.SigmoidBCE(1, p.Range(0, 1), none, none, x, y) }, []string{"loss_bce 15x256", "loss_total 1x256"}},
		{"squared error of the largest", func() { l.MSE(1, p.Range(0, 1), none, big, big, big) }, []string{"loss_mse 1024x256", "loss_total 1x256"}},
		{"sgd", func() { l.SGD(backend.SGD{}, update) }, []string{"optim_sgd 2x256"}},
		{"adam", func() { l.Adam(backend.Adam{}, update) }, []string{"optim_adam 2x256"}},
		{"lamb", func() { l.Lamb(backend.Lamb{}, update) }, []string{"optim_lamb_moments 2x256", "optim_lamb 2x256"}},
		{"adadelta", func() { l.Adadelta(backend.Adadelta{}, update) }, []string{"optim_adadelta 2x256"}},
		// 5115 elements an image are 1279 blocks of four.
		{"normal", func() { l.Normal(src, x, stepParams, 0) }, []string{"random_normal 15x256"}},
		{"corrupt", func() {
			l.Corrupt(corrupt.Corruption{Kind: corrupt.Masking, Amount: 0.5, Size: 3}, src, x, y, order, stepParams, 0)
		}, []string{"corrupt_sample 60x256"}},
		{"dropout", func() { l.Dropout(0.5, src, x, x, stepParams, 0) }, []string{"random_dropout 15x256"}},
		{"gather", func() { l.GatherPixels(0, src, x, none, pixels, order, stepParams, 0) }, []string{"random_gather 15x256"}},
		{"select", func() { l.GatherValues(0, src, x, none, values, order, stepParams, 0) }, []string{"random_select 15x256"}},
	} {
		f.Calls = nil
		c.run()
		if err := l.Sync(); err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		if got := launched(f.Launches()); !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

// The arguments are the kernel's parameters, in order.
func TestLaunchArguments(t *testing.T) {
	d, f := openFake(t, 9, 0)
	l := d.Lanes()[0]
	s := backend.Shape{N: 2, H: 3, W: 5, C: 4}
	x, stepParams := tensor(t, l, backend.Activation, s), tensor(t, l, backend.PerStep, backend.Vec(1))
	v := tensor(t, l, backend.Flat, backend.Vec(40))
	pixels, order := tensor(t, l, backend.Pixels, s.WithN(7)), tensor(t, l, backend.Index, backend.Vec(9))
	values := tensor(t, l, backend.Flat, backend.Vec(7*60))
	bits := func(v float32) uint64 { return uint64(math.Float32bits(v)) }
	at := func(i int) uint64 { return address(v) + 4*uint64(i) }
	sum := make([]backend.Tensor, 9)
	for i := range sum {
		sum[i] = v.Range(i, i+3)
	}
	pool := must(backend.NewPool(backend.PoolSpec{X: s, Size: 3, Stride: 2}))
	out := tensor(t, l, backend.Activation, pool.Out)
	for _, c := range []struct {
		name string
		run  func()
		want [][]uint64
	}{
		{"stepParams", func() {
			l.SetStepParams(stepParams, backend.StepParams{Step: 1, Draw: 2, Offset: math.MaxUint32, LearningRate: -4, BiasCorrection1: 5, BiasCorrection2: 6, Divergence: 7, Temperature: 8})
			l.Zero(x)
		},
			[][]uint64{{address(stepParams), 1, 2, math.MaxUint32, bits(-4), bits(5), bits(6), bits(7), bits(8)}}},
		{"sum", func() { l.Sum(v.Range(20, 23), sum) }, [][]uint64{
			{at(20), 3, 8, at(0), at(1), at(2), at(3), at(4), at(5), at(6), at(7)}, {at(20), 3, 2, at(20), at(8), 0, 0, 0, 0, 0, 0}}},
		{"pool", func() { l.MaxPool(pool, out, backend.Tensor{}, x) }, [][]uint64{
			{address(out), 0, address(x), 2 * 2 * 3, 3, 5, 4, 2, 3, 3, 2, 1, 1, 0}}},
		{"channels", func() { l.CopyChannels(x, 1, x, 2, 2) }, [][]uint64{{address(x), address(x), 60, 2, 4, 1, 4, 2, 0}}},
		{"gather", func() { l.GatherPixels(0.25, src, x, backend.Tensor{}, pixels, order, stepParams, 3) }, [][]uint64{
			{address(x), 0, address(pixels), address(order), address(stepParams), 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 60, 7, 9, 3, 0x9abcdef0, 0x12345678, uint64(src.Stream), bits(0.25), 0}}},
		{"gather that sets the stepParams", func() {
			l.SetStepParams(stepParams, backend.StepParams{Step: 1, Draw: 2, Offset: 3, LearningRate: 4, BiasCorrection1: 5, BiasCorrection2: 6, Divergence: 7, Temperature: 8})
			l.GatherPixels(0.25, src, x, backend.Tensor{}, pixels, order, stepParams, 3)
		}, [][]uint64{
			{address(x), 0, address(pixels), address(order), address(stepParams), 1, 1, 2, 3, bits(4), bits(5), bits(6), bits(7), bits(8),
				2, 60, 7, 9, 3, 0x9abcdef0, 0x12345678, uint64(src.Stream), bits(0.25), 0}}},
		{"select", func() { l.GatherValues(0.25, src, x, x, values, order, stepParams, 3) }, [][]uint64{
			{address(x), address(x), address(values), address(order), address(stepParams), 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 60, 7, 9, 3, 0x9abcdef0, 0x12345678, uint64(src.Stream), bits(0.25)}}},
	} {
		f.Calls = nil
		c.run()
		got := f.Launches()
		for i, w := range c.want {
			if len(got) != len(c.want) || !slices.Equal(got[i].Launch.Args, w) {
				t.Errorf("%s: launch %d of %d has %v, want %v", c.name, i, len(got), got[i].Launch.Args, w)
			}
		}
	}
}

func TestNoOpAllocates(t *testing.T) {
	d, f := openFake(t, 8, 0)
	l := d.Lanes()[0]
	f.Quiet = true
	s := backend.Shape{N: 2, H: 6, W: 6, C: 4}
	x, stepParams := tensor(t, l, backend.Activation, s), tensor(t, l, backend.PerStep, backend.Vec(1))
	v, host := tensor(t, l, backend.Flat, backend.Vec(9)), make([]float32, 9)
	pool := must(backend.NewPool(backend.PoolSpec{X: s, Size: 2}))
	out, places := tensor(t, l, backend.Activation, pool.Out), tensor(t, l, backend.Argmax, pool.Out)
	sum := []backend.Tensor{v, v, v}
	for name, op := range map[string]func(){
		"Zero": func() { l.Zero(x) }, "Copy": func() { l.Copy(x, x) }, "Upload": func() { l.Upload(v, host) },
		"SetStepParams": func() { l.SetStepParams(stepParams, backend.StepParams{}) }, "Sum": func() { l.Sum(v, sum) },
		"Download": func() {
			if err := l.Download(host, v); err != nil {
				panic("a quiet device failed")
			}
		},
		"Plus": func() { l.Plus(x, x, x) }, "CopyChannels": func() { l.CopyChannels(x, 0, x, 1, 3) },
		"MaxPool": func() { l.MaxPool(pool, out, places, x) }, "Activate": func() { l.Activate(backend.Function{Act: backend.ReLU}, x, x) },
		"Huber":      func() { l.Huber(1, 1, v.Range(0, 1), backend.Tensor{}, x, x, x) },
		"SigmoidBCE": func() { l.SigmoidBCE(1, v.Range(0, 1), backend.Tensor{}, x, x, x) }, "Dropout": func() { l.Dropout(0.5, src, x, x, stepParams, 0) },
		"Adam": func() {
			l.Adam(backend.Adam{}, backend.Update{Param: v, State: [2]backend.Tensor{v, v}, Grad: v, StepParams: stepParams, Rate: 1})
		},
	} {
		if n := testing.AllocsPerRun(5, op); n != 0 {
			t.Errorf("%s allocates %v times", name, n)
		}
	}
}

// More shared memory than is there for all has to be asked for, once.
func TestLaunchAsksForSharedMemory(t *testing.T) {
	d, f := openFake(t, 8, 0)
	one := driver.Dim3{X: 1}
	d.lane.launch("test", kernels.ActForward, one, one, 0, 0, 0, 0, 0, 0, 0) // which loads it
	f.Calls = nil
	for _, n := range []int{100, unasked, 60000, 50000, 60000, 70000} {
		d.lane.launch("test", kernels.ActForward, one, one, n, 0, 0, 0, 0, 0, 0)
	}
	var got []string
	for _, c := range f.Calls {
		got = append(got, fmt.Sprint(c.Name, " ", c.N+c.Launch.Shared))
	}
	want := []string{"act_forward 100", "act_forward 40960", "SetDynamicShared 60000", "act_forward 60000", "act_forward 50000",
		"act_forward 60000", "SetDynamicShared 70000", "act_forward 70000"}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	f.Fail = func(c driver.FakeCall) error {
		if c.Name == "SetDynamicShared" {
			return errors.New("planted")
		}
		return nil
	}
	d.lane.launch("test", kernels.ActForward, one, one, 80000, 0, 0, 0, 0, 0, 0)
	if err := d.lane.Sync(); err == nil || err.Error() != "cuda:0: test: planted" {
		t.Errorf("error %v", err)
	}
	defer func() {
		if recover() == nil {
			t.Error("a launch with too few arguments did not panic")
		}
	}()
	d.lane.launch("test", kernels.ActForward, one, one, 0, 0)
}
