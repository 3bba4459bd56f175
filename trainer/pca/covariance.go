package pca

import (
	"math/rand/v2"

	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/mat"
)

// covariance is that of n samples, which are read whenever it is needed.
type covariance struct {
	each func(do func(x []float32)) error // with some samples at a time
	mean []float64
	n    int
}

// centred calls do with some samples at a time, less their mean, as rows.
func (c covariance) centred(do func(x *mat.Dense)) error {
	size := len(c.mean)
	buf := make([]float64, chunk*size)
	return c.each(func(x []float32) {
		for i, v := range x {
			buf[i] = float64(v) - c.mean[i%size]
		}
		do(mat.NewDense(len(x)/size, size, buf[:len(x)]))
	})
}

func (c covariance) matrix() (*mat.SymDense, error) {
	cov := mat.NewSymDense(len(c.mean), nil)
	return cov, c.centred(func(x *mat.Dense) { cov.SymRankK(cov, 1/float64(c.n), x.T()) })
}

// times returns the product of the covariance and q, and the trace of the covariance.
func (c covariance) times(q *mat.Dense) (product *mat.Dense, trace float64, err error) {
	rows, columns := q.Dims()
	product = mat.NewDense(rows, columns, nil)
	var y, z mat.Dense
	err = c.centred(func(x *mat.Dense) {
		y.Reset()
		z.Reset()
		y.Mul(x, q)
		z.Mul(x.T(), &y)
		product.Add(product, &z)
		norm := mat.Norm(x, 2)
		trace += norm * norm
	})
	product.Scale(1/float64(c.n), product)
	return product, trace / float64(c.n), err
}

// leading finds the components by subspace iteration with a few vectors more than components (G. Golub and C. Van Loan,
// "Matrix Computations", section 8.2.4). It finds none where the variances along the axes hardly differ.
func (p *PCA) leading(c covariance) (found bool, err error) {
	const (
		more       = 8
		iterations = 100
		tolerance  = 1e-6 // of the residual, as a share of the largest variance
	)
	size, width := len(p.Mean), len(p.Variance)+more
	r := rand.New(rand.NewPCG(1, 1))
	q := mat.NewDense(size, width, nil)
	q.Apply(func(_, _ int, _ float64) float64 { return r.NormFloat64() }, q)
	for range iterations {
		q = orthonormal(q)
		z, trace, err := c.times(q)
		if err != nil {
			return false, err
		}
		var projected mat.Dense
		projected.Mul(q.T(), z)
		small := mat.NewSymDense(width, nil)
		for i := range width {
			for j := i; j < width; j++ {
				small.SetSym(i, j, (projected.At(i, j)+projected.At(j, i))/2)
			}
		}
		var eigen mat.EigenSym
		if !eigen.Factorize(small, true) {
			return false, nil
		}
		var rotation, vectors, residual mat.Dense
		eigen.VectorsTo(&rotation)
		values := eigen.Values(nil)
		vectors.Mul(q, &rotation)
		residual.Mul(z, &rotation)
		residual.Apply(func(i, j int, v float64) float64 { return v - values[j]*vectors.At(i, j) }, &residual)
		if mat.Norm(residual.Slice(0, size, more, width), 2) <= tolerance*values[width-1] {
			p.Total = trace
			p.keep(values, &vectors)
			return true, nil
		}
		q = z
	}
	return false, nil
}

// orthonormal returns an orthonormal basis of the columns' space, by Gram and Schmidt's method applied twice. A column
// that the others span becomes zero.
func orthonormal(a *mat.Dense) *mat.Dense {
	rows, columns := a.Dims()
	q := mat.NewDense(columns, rows, nil) // a row for each column: these lie together
	q.Copy(a.T())
	for range 2 {
		for i := range columns {
			v := q.RawRowView(i)
			for j := range i {
				floats.AddScaled(v, -floats.Dot(v, q.RawRowView(j)), q.RawRowView(j))
			}
			if norm := floats.Norm(v, 2); norm > 0 {
				floats.Scale(1/norm, v)
			}
		}
	}
	return mat.DenseCopyOf(q.T())
}
