package picture

import (
	"image/color"
	"math"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// dots draws layers of dots in turns, one dot of each, so that none lies over
// all of another.
type dots []*dotLayer

type dotLayer struct {
	points  plotter.XYs // NaN where there is none
	colour  color.Color
	colours func(i int) color.Color // of each dot; nil if all have the colour
}

func newDotLayer(s Series, colour color.Color) *dotLayer {
	if len(s.X) != len(s.Y) || s.Values != nil && len(s.Values) != len(s.X) {
		panic("picture: lengths differ")
	}
	l := &dotLayer{colour: colour, points: make(plotter.XYs, len(s.X))}
	for i, x := range s.X {
		l.points[i] = plotter.XY{X: x, Y: s.Y[i]}
		if !drawable(x) || !drawable(s.Y[i]) || s.Values != nil && !drawable(s.Values[i]) {
			l.points[i] = plotter.XY{X: math.NaN(), Y: math.NaN()}
		}
	}
	return l
}

// glyph returns how dots are drawn: the more, the smaller and the more
// transparent.
func (d dots) glyph() (radius vg.Length, alpha float64) {
	n := 0
	for _, l := range d {
		n += len(l.points)
	}
	switch {
	case n <= 200:
		return glyphRadius, 1
	case n <= 1000:
		return 2.3, 0.8
	}
	return 1.7, 0.65
}

// Plot implements [plot.Plotter].
func (d dots) Plot(c draw.Canvas, p *plot.Plot) {
	x, y := p.Transforms(&c)
	radius, alpha := d.glyph()
	most := 0
	for _, l := range d {
		most = max(most, len(l.points))
	}
	for i := range most {
		for _, l := range d {
			if i >= len(l.points) || math.IsNaN(l.points[i].X) {
				continue
			}
			colour := l.colour
			if l.colours != nil {
				colour = l.colours(i)
			}
			at := vg.Point{X: x(l.points[i].X), Y: y(l.points[i].Y)}
			c.DrawGlyph(draw.GlyphStyle{Color: fade(colour, alpha), Radius: radius, Shape: draw.CircleGlyph{}}, at)
		}
	}
}

// DataRange implements [plot.DataRanger].
func (d dots) DataRange() (xmin, xmax, ymin, ymax float64) {
	xmin, ymin = math.Inf(1), math.Inf(1)
	xmax, ymax = math.Inf(-1), math.Inf(-1)
	for _, l := range d {
		for _, p := range l.points {
			if !math.IsNaN(p.X) {
				xmin, xmax = min(xmin, p.X), max(xmax, p.X)
				ymin, ymax = min(ymin, p.Y), max(ymax, p.Y)
			}
		}
	}
	return xmin, xmax, ymin, ymax
}

// Thumbnail implements [plot.Thumbnailer].
func (l *dotLayer) Thumbnail(c *draw.Canvas) {
	c.DrawGlyph(draw.GlyphStyle{Color: l.colour, Radius: glyphRadius, Shape: draw.CircleGlyph{}}, c.Center())
}

// fade returns a colour with that opacity.
func fade(c color.Color, alpha float64) color.Color {
	r, g, b, _ := c.RGBA()
	return color.NRGBA{uint8(r >> 8), uint8(g >> 8), uint8(b >> 8), uint8(math.Round(255 * alpha))}
}
