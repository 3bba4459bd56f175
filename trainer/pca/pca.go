// Package pca reduces samples to their principal components: the linear code that an autoencoder is measured against.
package pca

import (
	"context"
	"errors"
	"fmt"
	"runtime"

	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/mat"

	"github.com/convae/convae/trainer/dataset"
	"github.com/convae/convae/trainer/metric"
)

// MaxSize is the most values that a sample may have: their covariance is a square of that side.
const MaxSize = 4096

const (
	chunk = 512 // samples that are held as float64 values at a time
	// All components of so many values take minutes, a few of them seconds.
	manyValues    = 512
	fewComponents = 8
)

// PCA is the subspace of K dimensions that holds most of the samples' variance.
type PCA struct {
	Mean       []float64  // of the samples it was fitted to
	Components *mat.Dense // K rows, orthonormal, those of the largest variance first; the signs are arbitrary
	Variance   []float64  // along each component: sums of squares divided by the number of samples
	Total      float64    // variance of all values together
}

// Fit finds the first k principal components of a set, pixels scaled to [0,1].
func Fit(ctx context.Context, set *dataset.Set, k int) (*PCA, error) {
	n, size := set.Len(), set.Size()
	if size > MaxSize {
		return nil, fmt.Errorf("pca: data set %s has samples of %d values, want at most %d: their covariance is a matrix of %d x %d", set.Name, size, MaxSize, size, size)
	}
	if most := min(n, size); k < 1 || k > most {
		return nil, fmt.Errorf("pca: %d components of %d samples of %d values, want 1 to %d", k, n, size, most)
	}
	p := &PCA{Mean: make([]float64, size), Variance: make([]float64, k)}
	x := make([]float32, chunk*size)
	each := func(do func(x []float32)) error { // with some samples at a time
		for lo := 0; lo < n; lo += chunk {
			if err := ctx.Err(); err != nil {
				return err
			}
			x, err := read(x, set, lo)
			if err != nil {
				return err
			}
			do(x)
		}
		return nil
	}
	err := each(func(x []float32) {
		for i, v := range x {
			p.Mean[i%size] += float64(v) / float64(n)
		}
	})
	if err != nil {
		return nil, err
	}
	c := covariance{each: each, mean: p.Mean, n: n}
	if k <= fewComponents && size > manyValues {
		if found, err := p.leading(c); found || err != nil {
			return p, err
		}
	}
	return p, p.all(c)
}

// all finds all components of the covariance and keeps the first.
func (p *PCA) all(c covariance) error {
	cov, err := c.matrix()
	if err != nil {
		return err
	}
	var eigen mat.EigenSym
	if !eigen.Factorize(cov, true) {
		return errors.New("pca: the eigenvalues of the covariance do not converge: want finite samples")
	}
	values, vectors := eigen.Values(nil), new(mat.Dense)
	eigen.VectorsTo(vectors)
	p.Total = mat.Trace(cov)
	p.keep(values, vectors)
	return nil
}

// keep takes the components from eigenvectors, the columns, whose values rise.
func (p *PCA) keep(values []float64, vectors *mat.Dense) {
	size, last := len(p.Mean), len(values)-1
	p.Components = mat.NewDense(len(p.Variance), size, nil)
	for i := range p.Variance {
		p.Components.SetRow(i, mat.Col(nil, last-i, vectors))
		p.Variance[i] = max(values[last-i], 0)
	}
}

// Explained is the share of the variance that the components hold.
func (p *PCA) Explained() float64 {
	if p.Total == 0 {
		return 1
	}
	return floats.Sum(p.Variance) / p.Total
}

// Encode writes the codes, of K numbers each, of the samples in x.
func (p *PCA) Encode(dst, x []float32) {
	size := len(p.Mean)
	centred := mat.NewDense(len(x)/size, size, nil)
	for i, v := range x {
		centred.Set(i/size, i%size, float64(v)-p.Mean[i%size])
	}
	var codes mat.Dense
	codes.Mul(centred, p.Components.T())
	for i, v := range codes.RawMatrix().Data {
		dst[i] = float32(v)
	}
}

// Decode writes the samples that the codes stand for.
func (p *PCA) Decode(dst, codes []float32) {
	size, k := len(p.Mean), len(p.Variance)
	z := mat.NewDense(len(codes)/k, k, nil)
	for i, v := range codes {
		z.Set(i/k, i%k, float64(v))
	}
	var x mat.Dense
	x.Mul(z, p.Components)
	for i, v := range x.RawMatrix().Data {
		dst[i] = float32(v + p.Mean[i%size])
	}
}

// Evaluate compares what the codes of a set's samples stand for with the samples.
func (p *PCA) Evaluate(ctx context.Context, set *dataset.Set) (metric.Values, error) {
	if set.Size() != len(p.Mean) {
		return metric.Values{}, fmt.Errorf("pca: data set %s has samples of %d values, want %d as in the training data", set.Name, set.Size(), len(p.Mean))
	}
	x, y := make([]float32, chunk*set.Size()), make([]float32, chunk*set.Size())
	codes := make([]float32, chunk*len(p.Variance))
	a := metric.Accumulator{Workers: runtime.GOMAXPROCS(0)}
	for lo := 0; lo < set.Len(); lo += chunk {
		if err := ctx.Err(); err != nil {
			return metric.Values{}, err
		}
		x, err := read(x, set, lo)
		if err != nil {
			return metric.Values{}, err
		}
		n := len(x) / set.Size()
		p.Encode(codes, x)
		p.Decode(y, codes[:n*len(p.Variance)])
		a.Add(y[:len(x)], x, set.H, set.W, set.C)
	}
	return a.Result(), nil
}

// read reads samples from lo on, as many as x holds and the set has, and returns the part of x that they take.
func read(x []float32, set *dataset.Set, lo int) ([]float32, error) {
	size := set.Size()
	n := min(len(x)/size, set.Len()-lo)
	return x[:n*size], set.Read(x[:n*size], lo, lo+n)
}
