package picture

import (
	"math"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// line draws a curve: its unbroken parts and the points that need a marker.
type line struct {
	parts   []plotter.XYs
	markers plotter.XYs
	marked  bool // each point has a marker
	stroke  draw.LineStyle
	glyph   draw.GlyphStyle
}

// newLine returns the line of c, or of its logarithms to base 10, with the
// colour and glyph of the i'th curve.
func newLine(c Curve, i int, log bool) *line {
	if len(c.X) != len(c.Y) {
		panic("picture: lengths differ")
	}
	colour := palette[i%len(palette)]
	l := &line{
		marked: len(c.X) <= mostMarkers,
		stroke: draw.LineStyle{Color: colour, Width: lineWidth},
		glyph:  draw.GlyphStyle{Color: colour, Radius: glyphRadius, Shape: glyphs[i%len(glyphs)]},
	}
	broken := true
	for k, x := range c.X {
		y := c.Y[k]
		if !drawable(x) || !drawable(y) || log && y < math.SmallestNonzeroFloat32 {
			broken = true
			continue
		}
		if log {
			y = math.Log10(y)
		}
		if broken {
			l.parts = append(l.parts, nil)
			broken = false
		}
		last := &l.parts[len(l.parts)-1]
		*last = append(*last, plotter.XY{X: x, Y: y})
	}
	for _, part := range l.parts {
		// A part of a single point has no line to show it.
		if len(part) == 1 || l.marked {
			l.markers = append(l.markers, part...)
		}
	}
	return l
}

// drawable reports whether v is finite, as a float32 too: with room to spare
// for the arithmetic of the axes.
func drawable(v float64) bool {
	return math.Abs(v) <= math.MaxFloat32
}

// Plot implements [plot.Plotter].
func (l *line) Plot(c draw.Canvas, p *plot.Plot) {
	x, y := p.Transforms(&c)
	at := func(xy plotter.XY) vg.Point { return vg.Point{X: x(xy.X), Y: y(xy.Y)} }
	for _, part := range l.parts {
		points := make([]vg.Point, len(part))
		for i, xy := range part {
			points[i] = at(xy)
		}
		c.StrokeLines(l.stroke, points)
	}
	for _, xy := range l.markers {
		c.DrawGlyph(l.glyph, at(xy))
	}
}

// DataRange implements [plot.DataRanger].
func (l *line) DataRange() (xmin, xmax, ymin, ymax float64) {
	xmin, ymin = math.Inf(1), math.Inf(1)
	xmax, ymax = math.Inf(-1), math.Inf(-1)
	for _, part := range l.parts {
		x0, x1, y0, y1 := plotter.XYRange(part)
		xmin, xmax = min(xmin, x0), max(xmax, x1)
		ymin, ymax = min(ymin, y0), max(ymax, y1)
	}
	return xmin, xmax, ymin, ymax
}

// Thumbnail implements [plot.Thumbnailer].
func (l *line) Thumbnail(c *draw.Canvas) {
	y := c.Center().Y
	c.StrokeLine2(l.stroke, c.Min.X, y, c.Max.X, y)
	if l.marked {
		c.DrawGlyph(l.glyph, c.Center())
	}
}
