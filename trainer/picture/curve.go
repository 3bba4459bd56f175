package picture

import (
	"errors"
	"io"
	"math"

	"gonum.org/v1/plot"
)

// Curve is a loss Y[i] at each epoch X[i].
type Curve struct {
	Name string
	X, Y []float64
}

// CurveOptions are the options of [LossCurve].
type CurveOptions struct {
	Title  string
	XLabel string // "epoch" if empty
	YLabel string // "loss" if empty
	LogY   bool   // a logarithmic loss axis
	LogX   bool   // a logarithmic x axis, of positive numbers, instead of one of whole epochs
}

// Losses is the [Plot] of loss curves. A point that cannot be drawn breaks its
// curve: one that is NaN, infinite or beyond the range of float32 or, on a
// logarithmic axis, not positive. The X and Y of a curve must be equally long.
type Losses struct {
	Curves []Curve
	CurveOptions
}

// LossCurve writes [Losses] to w as [WritePlot] does.
func LossCurve(w io.Writer, curves []Curve, opts CurveOptions) error {
	return WritePlot(w, Losses{curves, opts})
}

// SpanDecade reports whether the losses are positive and the largest is more
// than ten times the smallest: a logarithmic axis then shows them best.
func SpanDecade(curves []Curve) bool {
	lo, hi := math.Inf(1), math.Inf(-1)
	for _, c := range curves {
		for _, y := range c.Y {
			if drawable(y) {
				lo, hi = min(lo, y), max(hi, y)
			}
		}
	}
	return lo > 0 && hi > 10*lo
}

func (l Losses) chart() (*chart, error) {
	p, key, err := newPlot(l.Curves, l.CurveOptions)
	if err != nil {
		return nil, err
	}
	return &chart{Plot: p, title: l.Title, key: key}, nil
}

// newPlot returns the plot of the curves, without a title, and its legend.
func newPlot(curves []Curve, opts CurveOptions) (*plot.Plot, legend, error) {
	p := emptyPlot(orDefault(opts.XLabel, "epoch"), orDefault(opts.YLabel, "loss"))
	var key legend
	for i, c := range curves {
		if opts.LogX {
			c.X = logarithms(c.X)
		}
		l := newLine(c, i, opts.LogY)
		p.Add(l)
		key = append(key, entry{c.Name, l})
	}
	if p.X.Min > p.X.Max {
		return nil, nil, errors.New("picture: loss curve without a finite point")
	}
	if opts.LogX {
		setLosses(&p.X, true)
	} else {
		setEpochs(&p.X)
	}
	setLosses(&p.Y, opts.LogY)
	return p, key, nil
}

// logarithms are those to base 10; what is not positive has none that can be drawn.
func logarithms(x []float64) []float64 {
	out := make([]float64, len(x))
	for i, v := range x {
		out[i] = math.Log10(v)
	}
	return out
}

// orDefault returns s, or fallback if s is empty.
func orDefault(s, fallback string) string {
	if s == "" {
		return fallback
	}
	return s
}
