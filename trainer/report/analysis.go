package report

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/convae/convae/trainer"
	"github.com/convae/convae/trainer/picture"
	"github.com/convae/convae/trainer/use"
)

const (
	histogramCodes = 3 // numbers of a code that have a histogram each
	curvePoints    = 200
	gridLines      = 15 // along each axis
)

// analysis draws what a model of points in the plane does with them, in six panels.
func (r *report) analysis(context.Context) error {
	if r.codes == nil || r.set.Size() != 2 {
		return nil
	}
	c := r.codes
	clean, _, err := r.inputs(0, c.n, c.n)
	if err != nil {
		return err
	}
	out := make([]float32, len(clean))
	if err := r.net.Decode(out, c.values, c.n); err != nil {
		return err
	}
	x, y := column(clean, 2, 0), column(clean, 2, 1)
	u, v := column(out, 2, 0), column(out, 2, 1)
	distance := make([]float64, c.n)
	for i := range distance {
		distance[i] = math.Hypot(u[i]-x[i], v[i]-y[i])
	}
	manifold, err := r.decoderCurve()
	if err != nil {
		return err
	}
	points := func(title, valueLabel string, series ...picture.Series) picture.Scatter {
		return picture.Scatter{Title: title, XLabel: "x", YLabel: "y", Series: series, ValueLabel: valueLabel, Equal: true}
	}
	panels := []picture.Plot{
		points("Original and reconstruction", "", picture.Series{Name: "original", X: x, Y: y}, picture.Series{Name: "reconstruction", X: u, Y: v}),
		points("Error map", "distance of the reconstruction", picture.Series{X: x, Y: y, Values: distance}),
		picture.Histogram{Title: "Latent histogram", XLabel: "code", YLabel: "samples", Groups: c.groups()},
		points("Data by code", c.axes[0].label, picture.Series{X: x, Y: y, Values: c.axes[0].values}),
		points("Decoder manifold", "", picture.Series{Name: "data", Mark: picture.Backdrop, X: x, Y: y}, manifold),
	}
	caption := "From left to right: "
	if len(r.history) > 0 {
		training, validation := trainer.LossCurves(r.history)
		panels = append([]picture.Plot{picture.Losses{Curves: []picture.Curve{training, validation}, CurveOptions: picture.CurveOptions{Title: "Loss", LogY: true}}}, panels...)
		caption += "the loss after each epoch; "
	}
	caption += "the points and what the model makes of them; how far each point is from its reconstruction; how often each code occurs; the points in the colours of their codes; and all that the decoder can make, over the data."
	f := figure{Title: "Analysis", Alt: "Panels that show losses, reconstructions, errors and codes of points in the plane", Caption: caption}
	return r.add("analysis.png", f, func(path string) error { return use.WritePlot(path, panels...) })
}

// groups are the numbers of the codes: each for itself if they are few.
func (c *codes) groups() []picture.Group {
	switch {
	case c.size == 1:
		return []picture.Group{{Values: column(c.values, 1, 0)}}
	case c.size > histogramCodes:
		return []picture.Group{{Name: fmt.Sprintf("all %d numbers of a code", c.size), Values: column(c.values, 1, 0)}}
	}
	var groups []picture.Group
	for k := range c.size {
		groups = append(groups, picture.Group{Name: fmt.Sprintf("number %d", k+1), Values: column(c.values, c.size, k)})
	}
	return groups
}

// decoderCurve returns what the decoder makes of the codes' range.
func (r *report) decoderCurve() (picture.Series, error) {
	s := picture.Series{Name: "decoder", Mark: picture.Line}
	for _, line := range r.codeLines() {
		n := len(line) / r.codes.size
		points := make([]float32, 2*n)
		if err := r.net.Decode(points, line, n); err != nil {
			return s, err
		}
		s.X = append(append(s.X, column(points, 2, 0)...), math.NaN()) // which ends the line
		s.Y = append(append(s.Y, column(points, 2, 1)...), math.NaN())
	}
	return s, nil
}

// codeLines are codes along lines: over the range of a code of one number, along the grid of a code of two, and of longer
// ones along their first principal component.
func (r *report) codeLines() (lines [][]float32) {
	c := r.codes
	if c.size != 2 {
		t := c.axes[0].values
		var line []float32
		for _, v := range steps(slices.Min(t), slices.Max(t), curvePoints) {
			line = append(line, float32(v))
			if c.pca != nil {
				line = append(line, 0) // along the second component
			}
		}
		if c.pca != nil {
			codes := make([]float32, curvePoints*c.size)
			c.pca.Decode(codes, line)
			line = codes
		}
		return [][]float32{line}
	}
	x, y := r.grid(gridLines)
	for _, a := range x {
		var line []float32
		for _, b := range steps(y[0], y[gridLines-1], curvePoints) {
			line = append(line, float32(a), float32(b))
		}
		lines = append(lines, line)
	}
	for _, b := range y {
		var line []float32
		for _, a := range steps(x[0], x[gridLines-1], curvePoints) {
			line = append(line, float32(a), float32(b))
		}
		lines = append(lines, line)
	}
	return lines
}
