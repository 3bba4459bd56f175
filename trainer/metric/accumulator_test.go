package metric

import (
	"math"
	"math/rand/v2"
	"testing"
)

// noise returns n values in [0, 1).
func noise(n int, seed uint64) []float32 {
	r := rand.New(rand.NewPCG(seed, 1))
	x := make([]float32, n)
	for i := range x {
		x[i] = r.Float32()
	}
	return x
}

// filled returns n times v.
func filled(n int, v float32) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = v
	}
	return x
}

func near(t *testing.T, name string, got, want, tolerance float64) {
	t.Helper()
	if !(math.Abs(got-want) <= tolerance) {
		t.Errorf("%s = %v, want %v", name, got, want)
	}
}

func mustPanic(t *testing.T, want string, f func()) {
	t.Helper()
	defer func() {
		t.Helper()
		if got := recover(); got != want {
			t.Errorf("panic %v, want %q", got, want)
		}
	}()
	f()
}

func TestWorkersAndBatchesDoNotMatter(t *testing.T) {
	const n, h, w, c = 13, 14, 12, 3
	const size = h * w * c
	pred, target := noise(n*size, 1), noise(n*size, 2)
	want := Evaluate(pred, target, h, w, c, 1)
	if want.N != n {
		t.Fatalf("N = %d, want %d", want.N, n)
	}
	for _, workers := range []int{-1, 0, 2, 3, 4, 50} {
		if got := Evaluate(pred, target, h, w, c, workers); got != want {
			t.Errorf("%d workers: %+v, want %+v", workers, got, want)
		}
	}
	a := Accumulator{Workers: 4}
	for lo := 0; lo < n; lo += 5 {
		hi := min(lo+5, n)
		a.Add(pred[lo*size:hi*size], target[lo*size:hi*size], h, w, c)
	}
	if got := a.Result(); got != want {
		t.Errorf("batches of 5: %+v, want %+v", got, want)
	}
}

// The mean of a batch must be the mean of the images taken alone.
func TestMeanOverImages(t *testing.T) {
	const size = 12 * 12
	target := filled(2*size, 0.5)
	pred := append(filled(size, 0.6), filled(size, 0.51)...)
	v := Evaluate(pred, target, 12, 12, 1, 1)
	near(t, "MSE", v.MSE, (0.01+0.0001)/2, 1e-8)
	near(t, "MAE", v.MAE, (0.1+0.01)/2, 1e-7)
	near(t, "PSNR", v.PSNR, (20+40)/2, 1e-4)
	near(t, "MaxAbs", v.MaxAbs, 0.1, 1e-7)
	first := Evaluate(pred[:size], target[:size], 12, 12, 1, 1)
	second := Evaluate(pred[size:], target[size:], 12, 12, 1, 1)
	near(t, "SSIM", v.SSIM, (first.SSIM+second.SSIM)/2, 1e-15)
}

func TestImagesOfSeveralSizes(t *testing.T) {
	var a Accumulator
	a.Add([]float32{0.5}, []float32{0}, 1, 1, 1)                 // MSE 0.25
	a.Add([]float32{1, 0, 1, 0}, []float32{1, 0, 1, 1}, 1, 2, 2) // MSE 0.25
	a.Add([]float32{1, 1}, []float32{1, 0}, 2, 1, 1)             // MSE 0.5
	v := a.Result()
	if v.N != 3 {
		t.Errorf("N = %d, want 3", v.N)
	}
	near(t, "MSE", v.MSE, 1.0/3, 1e-15)
}

func TestMergeAndReset(t *testing.T) {
	const size = 15 * 11
	pred, target := noise(6*size, 3), noise(6*size, 4)
	want := Evaluate(pred, target, 15, 11, 1, 1)
	var a, b Accumulator
	a.Add(pred[:4*size], target[:4*size], 15, 11, 1)
	b.Add(pred[4*size:], target[4*size:], 15, 11, 1)
	a.Merge(&b)
	got := a.Result()
	if got.N != want.N || got.MaxAbs != want.MaxAbs {
		t.Errorf("merged %+v, want %+v", got, want)
	}
	near(t, "MSE", got.MSE, want.MSE, 1e-14)
	near(t, "MAE", got.MAE, want.MAE, 1e-14)
	near(t, "BCE", got.BCE, want.BCE, 1e-14)
	near(t, "PSNR", got.PSNR, want.PSNR, 1e-13)
	near(t, "SSIM", got.SSIM, want.SSIM, 1e-14)

	a.Reset()
	if got := a.Result(); got != (Values{}) {
		t.Errorf("after Reset %+v", got)
	}
	a.Add(pred, target, 15, 11, 1)
	if got := a.Result(); got != want {
		t.Errorf("after Reset and Add %+v, want %+v", got, want)
	}
}

func TestNoImages(t *testing.T) {
	if got := Evaluate(nil, nil, 28, 28, 1, 4); got != (Values{}) {
		t.Errorf("no images: %+v", got)
	}
}

func TestNaN(t *testing.T) {
	const size = 12 * 12
	nan := float32(math.NaN())
	for _, where := range []string{"pred", "target"} {
		pred, target := noise(3*size, 5), noise(3*size, 6)
		for i := range size { // 0 and 1 take the shortcuts of the cross-entropy
			target[i] = float32(i % 2)
		}
		if where == "pred" {
			pred[7] = nan
		} else {
			target[7] = nan
		}
		v := Evaluate(pred, target, 12, 12, 1, 2)
		for name, x := range map[string]float64{
			"MSE": v.MSE, "MAE": v.MAE, "BCE": v.BCE, "PSNR": v.PSNR, "SSIM": v.SSIM, "MaxAbs": v.MaxAbs,
		} {
			if !math.IsNaN(x) {
				t.Errorf("NaN in %s: %s = %v, want NaN", where, name, x)
			}
		}
	}
}

func TestPanics(t *testing.T) {
	var a Accumulator
	x := make([]float32, 6)
	mustPanic(t, "metric: lengths differ", func() { a.Add(x, x[:5], 1, 1, 1) })
	mustPanic(t, "metric: length is not a whole number of images", func() { a.Add(x, x, 2, 2, 1) })
	mustPanic(t, "metric: image dimension below 1", func() { a.Add(x, x, 2, 0, 1) })
}

func TestAddDoesNotAllocate(t *testing.T) {
	pred, target := noise(4*28*28, 7), noise(4*28*28, 8)
	var a Accumulator
	a.Add(pred, target, 28, 28, 1)
	if n := testing.AllocsPerRun(10, func() { a.Add(pred, target, 28, 28, 1) }); n != 0 {
		t.Errorf("Add allocates %v times", n)
	}
}

func BenchmarkAdd(b *testing.B) {
	const n = 100
	pred, target := noise(n*28*28, 9), noise(n*28*28, 10)
	var a Accumulator
	for b.Loop() {
		a.Add(pred, target, 28, 28, 1)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/image")
}

// The largest distance is that of one image, not of one pixel or of all.
func TestMaxDistance(t *testing.T) {
	var a Accumulator
	a.Add([]float32{0, 0, 3, 4}, []float32{0, 4, 0, 0}, 1, 1, 2)
	var b Accumulator
	b.Add([]float32{1, 1}, []float32{0, 0}, 1, 1, 2)
	b.Merge(&a)
	if v := b.Result(); v.MaxDistance != 5 || v.MaxAbs != 4 || v.N != 3 {
		t.Errorf("%+v, want a distance of 5 and an error of 4", v)
	}
}
