package report

import (
	"context"
	"fmt"

	"github.com/convae/convae/nn/rng"
	"github.com/convae/convae/trainer/dataset"
	"github.com/convae/convae/trainer/metric"
	"github.com/convae/convae/trainer/pca"
	"github.com/convae/convae/trainer/use"
)

// codes are those of validation samples, evenly chosen from all, and the one or two axes along which they are drawn.
type codes struct {
	n, size int
	values  []float32 // n codes of size numbers
	axes    []axis
	pca     *pca.PCA // of codes of more than two numbers
}

// axis has a coordinate of each code.
type axis struct {
	label  string
	values []float64
}

// readCodes encodes samples, of a variational model as the means of their codes.
func (r *report) readCodes(ctx context.Context) error {
	c := &codes{n: min(r.o.Samples, r.set.Len()), size: r.m.Code.Len()}
	switch {
	case c.size > pca.MaxSize:
		r.notes = append(r.notes, fmt.Sprintf("The codes are not drawn as points: they have %d numbers each, and principal components are computed of %d at the most.", c.size, pca.MaxSize))
		return nil
	case c.n < 2:
		r.notes = append(r.notes, "The codes are not drawn as points: there is one sample only.")
		return nil
	}
	var err error
	c.values, err = use.Encode(ctx, r.net, c.n, func(dst []float32, lo, hi int) error {
		_, x, err := r.inputs(lo, hi, c.n)
		copy(dst, x)
		return err
	})
	if err != nil {
		return err
	}
	if err := c.project(ctx); err != nil {
		return err
	}
	r.codes = c
	return nil
}

// sample returns the index of the i'th of n samples that are evenly chosen from all.
func (r *report) sample(i, n int) int { return i * r.set.Len() / n }

// inputs returns samples lo to hi-1 of n that are evenly chosen, clean and as the model is given them.
func (r *report) inputs(lo, hi, n int) (clean, x []float32, err error) {
	size, tr := r.set.Size(), r.c.Training
	clean, x = make([]float32, (hi-lo)*size), make([]float32, (hi-lo)*size)
	for k := lo; k < hi; k++ {
		i, at := r.sample(k, n), (k-lo)*size
		if err := use.Corrupt(clean[at:], x[at:], r.set, i, i+1, tr.Corrupted(), rng.Source{Seed: tr.Seed, Stream: rng.StreamEvaluate}); err != nil {
			return nil, nil, err
		}
	}
	return clean, x, nil
}

// project finds the axes: the code's own numbers if it has one or two, else the first two principal components.
func (c *codes) project(ctx context.Context) error {
	values, width := c.values, c.size
	if c.size > 2 {
		p, err := pca.Fit(ctx, &dataset.Set{Name: "codes", H: 1, W: 1, C: c.size, Values: c.values}, 2)
		if err != nil {
			return err
		}
		c.pca, width = p, 2
		values = make([]float32, 2*c.n)
		p.Encode(values, c.values)
	}
	for k := range width {
		a := axis{label: "code"}
		switch {
		case c.pca != nil:
			share := 0.0
			if c.pca.Total > 0 {
				share = 100 * c.pca.Variance[k] / c.pca.Total
			}
			a.label = fmt.Sprintf("principal component %d (%.1f %% of the variance)", k+1, share)
		case width == 2:
			a.label = fmt.Sprintf("code, number %d", k+1)
		}
		a.values = column(values, width, k)
		c.axes = append(c.axes, a)
	}
	return nil
}

// column returns the k'th number of each row.
func column(values []float32, width, k int) []float64 {
	column := make([]float64, 0, len(values)/width)
	for i := k; i < len(values); i += width {
		column = append(column, float64(values[i]))
	}
	return column
}

// grid returns n coordinates along each axis of a code of two numbers: quantiles of the prior of a variational model,
// else even steps over the span of the codes, from the 1st to the 99th percentile.
func (r *report) grid(n int) (x, y []float64) {
	if r.m.Variational() {
		a := use.PriorAxis(n)
		return a, a
	}
	span := func(a axis) []float64 {
		return steps(metric.Quantile(a.values, 0.01), metric.Quantile(a.values, 0.99), n)
	}
	return span(r.codes.axes[0]), span(r.codes.axes[1])
}

// steps returns n numbers from lo to hi.
func steps(lo, hi float64, n int) []float64 {
	s := make([]float64, n)
	for i := range s {
		s[i] = lo + (hi-lo)*float64(i)/float64(n-1)
	}
	return s
}
