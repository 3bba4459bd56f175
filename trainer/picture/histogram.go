package picture

import (
	"errors"
	"image/color"
	"math"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// Group is a list of values that a [Histogram] counts.
type Group struct {
	Name   string // in the legend; "" leaves it out of that
	Values []float64
}

// Histogram is the [Plot] of how often values occur. All groups have the same
// bins, as many as the square root of the values, and 50 at the most. What is
// NaN or infinite is left out.
type Histogram struct {
	Title, XLabel, YLabel string
	Groups                []Group
}

func (h Histogram) chart() (*chart, error) {
	var all []float64
	for _, g := range h.Groups {
		all = append(all, g.Values...)
	}
	s, ok := scaleOf(all)
	if !ok {
		return nil, errors.New("picture: histogram without a finite value")
	}
	p := emptyPlot(h.XLabel, h.YLabel)
	c := &chart{Plot: p, title: h.Title}
	s = s.apart()
	count := min(max(int(math.Sqrt(float64(len(all)))), 5), 50)
	for i, g := range h.Groups {
		b := &bins{scale: s, counts: make([]int, count), colour: palette[i%len(palette)], alone: len(h.Groups) == 1}
		b.count(g.Values)
		p.Add(b)
		if g.Name != "" {
			c.key = append(c.key, entry{g.Name, b})
		}
	}
	setValues(&p.X, fewTicks)
	setValues(&p.Y, fewTicks)
	p.Y.Min = 0
	return c, nil
}

// bins are counts at even steps from lo to hi.
type bins struct {
	scale
	counts []int
	colour color.Color
	alone  bool // no other bins are behind these
}

func (b *bins) count(values []float64) {
	n := len(b.counts)
	for _, v := range values {
		if drawable(v) {
			b.counts[min(int((v-b.lo)/(b.hi-b.lo)*float64(n)), n-1)]++
		}
	}
}

// Plot implements [plot.Plotter].
func (b *bins) Plot(c draw.Canvas, p *plot.Plot) {
	x, y := p.Transforms(&c)
	at := func(i int) vg.Length { return x(b.lo + (b.hi-b.lo)*float64(i)/float64(len(b.counts))) }
	outline := []vg.Point{{X: at(0), Y: y(0)}}
	for i, n := range b.counts {
		outline = append(outline, vg.Point{X: at(i), Y: y(float64(n))}, vg.Point{X: at(i + 1), Y: y(float64(n))})
	}
	outline = append(outline, vg.Point{X: at(len(b.counts)), Y: y(0)})
	c.FillPolygon(b.fill(), outline)
	c.StrokeLines(draw.LineStyle{Color: b.colour, Width: 1}, outline)
}

// fill lets what is behind shine through.
func (b *bins) fill() color.Color {
	if b.alone {
		return fade(b.colour, 0.6)
	}
	return fade(b.colour, 0.25)
}

// DataRange implements [plot.DataRanger].
func (b *bins) DataRange() (xmin, xmax, ymin, ymax float64) {
	most := 1
	for _, n := range b.counts {
		most = max(most, n)
	}
	return b.lo, b.hi, 0, float64(most)
}

// Thumbnail implements [plot.Thumbnailer].
func (b *bins) Thumbnail(c *draw.Canvas) {
	y := c.Center().Y
	box := []vg.Point{{X: c.Min.X, Y: y - 4}, {X: c.Max.X, Y: y - 4}, {X: c.Max.X, Y: y + 4}, {X: c.Min.X, Y: y + 4}, {X: c.Min.X, Y: y - 4}}
	c.FillPolygon(b.fill(), box)
	c.StrokeLines(draw.LineStyle{Color: b.colour, Width: 1}, box)
}
