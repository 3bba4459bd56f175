package pca

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"gonum.org/v1/gonum/mat"

	"github.com/convae/convae/cpu"
	"github.com/convae/convae/nn"
	"github.com/convae/convae/nn/graph"
	"github.com/convae/convae/nn/layer"
	"github.com/convae/convae/trainer/dataset"
)

// known is a set whose mean is 0.5 and whose covariance has the given variances along orthonormal axes, the columns of
// the matrix: for each axis, one point on either side.
func known(variances ...float64) (*dataset.Set, *mat.Dense) {
	size := len(variances)
	r := rand.New(rand.NewPCG(1, 2))
	m := mat.NewDense(size, size, nil)
	m.Apply(func(_, _ int, _ float64) float64 { return r.NormFloat64() }, m)
	var qr mat.QR
	qr.Factorize(m)
	var axes mat.Dense
	qr.QTo(&axes)
	set := &dataset.Set{Name: "known", H: 1, W: 1, C: size}
	for k, v := range variances {
		for _, side := range []float64{-1, 1} {
			for i := range size {
				set.Values = append(set.Values, float32(0.5+side*math.Sqrt(float64(size)*v)*axes.At(i, k)))
			}
		}
	}
	return set, &axes
}

// angles are the principal angles between the spaces of two orthonormal bases, by their columns.
func angles(a, b mat.Matrix) []float64 {
	var m mat.Dense
	m.Mul(a.T(), b)
	var svd mat.SVD
	svd.Factorize(&m, mat.SVDNone)
	cosines := svd.Values(nil)
	for i, c := range cosines {
		cosines[i] = math.Acos(min(c, 1))
	}
	return cosines
}

func TestFit(t *testing.T) {
	variances := []float64{0.1, 4, 0.01, 2, 1, 0.05} // in no order
	set, axes := known(variances...)
	p, err := Fit(t.Context(), set, 3)
	if err != nil {
		t.Fatal(err)
	}
	for i, axis := range []int{1, 3, 4} {
		if math.Abs(p.Variance[i]-variances[axis]) > 1e-5 {
			t.Errorf("variance %d is %v, want %v", i, p.Variance[i], variances[axis])
		}
		if dot := mat.Dot(p.Components.RowView(i), axes.ColView(axis)); math.Abs(math.Abs(dot)-1) > 1e-6 {
			t.Errorf("component %d: cosine %v with its axis", i, dot)
		}
	}
	if math.Abs(p.Total-7.16) > 1e-5 || slices.ContainsFunc(p.Mean, func(m float64) bool { return math.Abs(m-0.5) > 1e-6 }) {
		t.Errorf("variance of all %v, mean %v", p.Total, p.Mean)
	}
	if e := p.Explained(); math.Abs(e-7/7.16) > 1e-6 {
		t.Errorf("explained %v, want %v", e, 7/7.16)
	}
	// What is lost is the variance along the other axes.
	v, err := p.Evaluate(t.Context(), set)
	if err != nil || v.N != 12 || math.Abs(v.MSE-0.16/6) > 1e-6 {
		t.Errorf("N %d, MSE %v, want %v; %v", v.N, v.MSE, 0.16/6, err)
	}
	if p, err = Fit(t.Context(), set, 6); err != nil {
		t.Fatal(err)
	}
	if v, err = p.Evaluate(t.Context(), set); err != nil || v.MSE > 1e-12 {
		t.Errorf("with all components MSE %v, want 0; %v", v.MSE, err)
	}
}

// Sets of more samples than are held at a time, of pixels, are read whole.
func TestChunks(t *testing.T) {
	set := &dataset.Set{Name: "many", H: 1, W: 2, C: 1}
	n := 2*chunk + 3
	for i := range n {
		set.Pixels = append(set.Pixels, uint8(i%256), uint8(255-i%256))
	}
	p, err := Fit(t.Context(), set, 1)
	if err != nil {
		t.Fatal(err)
	}
	want := 0.0
	for i := range n {
		want += float64(i%256) / 255 / float64(n)
	}
	if math.Abs(p.Mean[0]-want) > 1e-6 || math.Abs(p.Variance[0]-p.Total) > 1e-9 {
		t.Errorf("mean %v, want %v; variance %v of %v", p.Mean[0], want, p.Variance[0], p.Total)
	}
	if v, err := p.Evaluate(t.Context(), set); err != nil || v.N != n || v.MSE > 1e-12 {
		t.Errorf("%+v, %v", v, err)
	}
}

// A few components of samples of many values are those that all of them begin with.
func TestLeading(t *testing.T) {
	const size, k = manyValues + 1, 3
	r := rand.New(rand.NewPCG(3, 4))
	set := &dataset.Set{Name: "wide", H: 1, W: 1, C: size}
	for range 300 { // the deviation along each axis is less than along the one before
		for i := range size {
			set.Values = append(set.Values, float32(r.NormFloat64()*math.Pow(0.9, float64(i))))
		}
	}
	p, err := Fit(t.Context(), set, k)
	if err != nil {
		t.Fatal(err)
	}
	all, err := Fit(t.Context(), set, fewComponents+1)
	if err != nil {
		t.Fatal(err)
	}
	if math.Abs(p.Total/all.Total-1) > 1e-9 {
		t.Errorf("variance of all %v, want %v", p.Total, all.Total)
	}
	for i := range k {
		if math.Abs(p.Variance[i]/all.Variance[i]-1) > 1e-6 {
			t.Errorf("variance %d is %v, want %v", i, p.Variance[i], all.Variance[i])
		}
		if dot := mat.Dot(p.Components.RowView(i), all.Components.RowView(i)); math.Abs(math.Abs(dot)-1) > 1e-6 {
			t.Errorf("component %d: cosine %v with that of all", i, dot)
		}
	}
	// Samples that are all the same have no variance along any axis.
	flat := &dataset.Set{Name: "flat", H: 1, W: 1, C: size, Values: slices.Repeat([]float32{0.5}, 4*size)}
	if p, err = Fit(t.Context(), flat, 1); err != nil || p.Variance[0] != 0 || p.Total != 0 || p.Explained() != 1 {
		t.Errorf("samples without variance: %v, %v", p.Variance, err)
	}
}

func TestErrors(t *testing.T) {
	set, _ := known(2, 1)
	wide := &dataset.Set{Name: "wide", H: 65, W: 64, C: 1, Pixels: make([]uint8, 65*64)}
	for _, c := range []struct {
		set  *dataset.Set
		k    int
		want string
	}{
		{set, 0, "pca: 0 components of 4 samples of 2 values, want 1 to 2"},
		{set, 3, "want 1 to 2"},
		{set.Slice(0, 1), 2, "2 components of 1 samples of 2 values, want 1 to 1"},
		{wide, 1, "data set wide has samples of 4160 values, want at most 4096"},
	} {
		if _, err := Fit(t.Context(), c.set, c.k); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("error %v, want %q", err, c.want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Fit(ctx, set, 1); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v of a fit that was ended", err)
	}
	p, err := Fit(t.Context(), set, 1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Evaluate(t.Context(), wide); err == nil || !strings.Contains(err.Error(), "want 2 as in the training data") {
		t.Errorf("error %v", err)
	}
}

// A linear autoencoder spans the space of the first principal components. With a penalty on the squares of its weights
// the singular vectors of its decoder's weights are those components, largest first (Kunin and others, "Loss landscapes
// of regularized linear autoencoders", 2019); without one only their space is determined.
func TestLinearAutoencoder(t *testing.T) {
	const k = 3
	set, _ := known(4, 2, 1, 0.1, 0.05, 0.01)
	size := set.Size()
	p, err := Fit(t.Context(), set, k)
	if err != nil {
		t.Fatal(err)
	}
	dev, err := cpu.Open(cpu.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer dev.Close()
	for _, l2 := range []float64{0, 0.02} {
		m, err := nn.New(nn.Config{Name: "linear", Input: []int{size}, Encoder: graph.Specs(&layer.Dense{Units: k}), Decoder: graph.Specs(&layer.Dense{Units: size})}, 1)
		if err != nil {
			t.Fatal(err)
		}
		tr, err := nn.NewTrainer(m, dev, nn.TrainerOptions{Batch: set.Len(), Loss: nn.MSE, Kernel: nn.Regularizer{L2: l2}, Optimizer: nn.Optimizer{Name: "sgd", LearningRate: 0.1}})
		if err != nil {
			t.Fatal(err)
		}
		defer tr.Close()
		if err := tr.SetValues(set.Values, set.Len()); err != nil {
			t.Fatal(err)
		}
		for range 5000 {
			tr.Step(0, set.Len(), 0)
		}
		if err := tr.Pull(); err != nil {
			t.Fatal(err)
		}
		w := mat.NewDense(size, k, nil) // the decoder's weights (out, in)
		for i, v := range m.Params[2].Data {
			w.Set(i/k, i%k, float64(v))
		}
		var svd mat.SVD
		if !svd.Factorize(w, mat.SVDThin) {
			t.Fatal("no singular values")
		}
		var u mat.Dense
		svd.UTo(&u)
		a := angles(&u, p.Components.T())
		if slices.Max(a) > 1e-2 {
			t.Errorf("l2 %v: principal angles %v, want at most 0.01", l2, a)
		}
		if l2 == 0 {
			continue
		}
		for i, s := range svd.Values(nil) {
			if want := math.Sqrt(1 - l2*float64(size)/p.Variance[i]); math.Abs(s-want) > 1e-3 {
				t.Errorf("singular value %d of the decoder is %v, want %v", i, s, want)
			}
			if cosine := math.Abs(mat.Dot(u.ColView(i), p.Components.RowView(i))); math.Acos(min(cosine, 1)) > 1e-2 {
				t.Errorf("component %d: cosine %v with the decoder's singular vector", i, cosine)
			}
		}
	}
}
