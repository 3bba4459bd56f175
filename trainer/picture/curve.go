package picture

import (
	"errors"
	"image/color"
	"io"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"
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
}

// Sizes of a plot. At 96 dots per inch a point is 4/3 pixels.
const (
	plotWidth   = 900 // pixels
	plotHeight  = 560
	plotDPI     = 96
	plotMargin  = vg.Length(13)
	glyphRadius = vg.Length(3.2)
	mostMarkers = 60 // of a curve; with more points the line speaks for itself
	lineWidth   = vg.Length(1.6)
)

// palette is that of M. Okabe and K. Ito, "Color Universal Design", 2008, less
// the yellow that is too faint for a line.
var palette = []color.Color{
	color.RGBA{0x00, 0x72, 0xb2, 0xff}, // blue
	color.RGBA{0xd5, 0x5e, 0x00, 0xff}, // vermilion
	color.RGBA{0x00, 0x9e, 0x73, 0xff}, // bluish green
	color.RGBA{0xcc, 0x79, 0xa7, 0xff}, // reddish purple
	color.RGBA{0xe6, 0x9f, 0x00, 0xff}, // orange
	color.RGBA{0x56, 0xb4, 0xe9, 0xff}, // sky blue
	color.RGBA{0x00, 0x00, 0x00, 0xff}, // black
}

// glyphs tell curves apart without colour.
var glyphs = []draw.GlyphDrawer{draw.CircleGlyph{}, draw.BoxGlyph{}, draw.PyramidGlyph{}}

// LossCurve writes a PNG of 900 by 560 pixels with the curves to w. A point
// that cannot be drawn breaks its curve: one that is NaN, infinite or beyond
// the range of float32 or, on a logarithmic axis, not positive. It is an error
// if no point is left. It panics if the X and Y of a curve differ in length.
func LossCurve(w io.Writer, curves []Curve, opts CurveOptions) error {
	p, key, err := newPlot(curves, opts)
	if err != nil {
		return err
	}
	canvas := vgimg.NewWith(vgimg.UseDPI(plotDPI),
		vgimg.UseWH(plotWidth*vg.Inch/plotDPI, plotHeight*vg.Inch/plotDPI))
	page := draw.Crop(draw.New(canvas), plotMargin, -plotMargin, plotMargin, -plotMargin)
	if opts.Title != "" {
		page = drawTitle(page, opts.Title)
	}
	p.Draw(key.draw(page))
	_, err = vgimg.PngCanvas{Canvas: canvas}.WriteTo(w)
	return err
}

// newPlot returns the plot of the curves, without a title, and its legend.
func newPlot(curves []Curve, opts CurveOptions) (*plot.Plot, legend, error) {
	p := plot.New()
	style(&p.X, orDefault(opts.XLabel, "epoch"))
	style(&p.Y, orDefault(opts.YLabel, "loss"))
	p.Add(grid())

	var key legend
	for i, c := range curves {
		l := newLine(c, i, opts.LogY)
		p.Add(l)
		key = append(key, entry{c.Name, l})
	}
	if p.X.Min > p.X.Max {
		return nil, nil, errors.New("picture: loss curve without a finite point")
	}
	setEpochs(&p.X)
	setLosses(&p.Y, opts.LogY)
	return p, key, nil
}

// orDefault returns s, or fallback if s is empty.
func orDefault(s, fallback string) string {
	if s == "" {
		return fallback
	}
	return s
}

// sans returns a text style of the given size in points.
func sans(size vg.Length, colour color.Color) text.Style {
	return text.Style{
		Color:   colour,
		Font:    font.Font{Typeface: "Liberation", Variant: "Sans", Size: size},
		Handler: plot.DefaultTextHandler,
	}
}

// style gives an axis its label, fonts and colours.
func style(a *plot.Axis, label string) {
	restyle := func(s *text.Style, size vg.Length, colour color.Color) {
		x, y := s.XAlign, s.YAlign
		*s = sans(size, colour)
		s.XAlign, s.YAlign = x, y
	}
	a.Label.Text = label
	a.Padding = 0 // the axes meet, their ranges keep the data off them
	a.Label.Padding = 5
	restyle(&a.Label.TextStyle, 12, ink)
	restyle(&a.Tick.Label, 10.5, lightInk)
	a.Tick.Length = 4
	a.Tick.LineStyle = draw.LineStyle{Color: lightInk, Width: 0.75}
	a.LineStyle = a.Tick.LineStyle
}

// grid returns light grid lines at the labelled ticks.
func grid() *plotter.Grid {
	light := draw.LineStyle{Color: color.RGBA{0xe4, 0xe4, 0xe2, 0xff}, Width: 0.75}
	return &plotter.Grid{Vertical: light, Horizontal: light}
}

// drawTitle draws the title and returns what is left of the page.
func drawTitle(page draw.Canvas, title string) draw.Canvas {
	s := sans(14, ink)
	s.YAlign = draw.YTop
	page.FillText(s, vg.Point{X: page.Min.X, Y: page.Max.Y}, title)
	return draw.Crop(page, 0, 0, 0, -s.Height(title)-6)
}
