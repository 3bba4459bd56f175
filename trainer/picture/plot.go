package picture

import (
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

// Plot is what [WritePlot] and [WritePanels] draw: [Losses], a [Scatter] or a
// [Histogram].
type Plot interface {
	chart() (*chart, error)
}

// chart is a plot with what stands around it.
type chart struct {
	*plot.Plot
	title string
	key   legend
	bar   *colourBar // nil if there is none
	equal bool       // a unit is as long on both axes
}

// Sizes of a plot. At 96 dots per inch a point is 4/3 pixels.
const (
	plotWidth   = 900 // pixels
	plotHeight  = 560
	plotSide    = 780 // of a plot whose axes have equal units
	panelWidth  = 480
	panelHeight = 440
	plotDPI     = 96
	plotMargin  = vg.Length(13)
	glyphRadius = vg.Length(3.2)
	mostMarkers = 60 // of a curve; with more points the line speaks for itself
	lineWidth   = vg.Length(1.6)
)

// palette is that of M. Okabe and K. Ito, "Color Universal Design", 2008, less
// the yellow that is too faint for a line, with more for the tenth class.
var palette = []color.Color{
	color.RGBA{0x00, 0x72, 0xb2, 0xff}, // blue
	color.RGBA{0xd5, 0x5e, 0x00, 0xff}, // vermilion
	color.RGBA{0x00, 0x9e, 0x73, 0xff}, // bluish green
	color.RGBA{0xcc, 0x79, 0xa7, 0xff}, // reddish purple
	color.RGBA{0xe6, 0x9f, 0x00, 0xff}, // orange
	color.RGBA{0x56, 0xb4, 0xe9, 0xff}, // sky blue
	color.RGBA{0x00, 0x00, 0x00, 0xff}, // black
	color.RGBA{0x9b, 0xc5, 0x3d, 0xff}, // lime
	color.RGBA{0x6a, 0x3d, 0x9a, 0xff}, // violet
	color.RGBA{0x8c, 0x51, 0x0a, 0xff}, // brown
	color.RGBA{0x99, 0x99, 0x99, 0xff}, // grey
	color.RGBA{0x8b, 0x1a, 0x3a, 0xff}, // claret
}

// glyphs tell curves apart without colour.
var glyphs = []draw.GlyphDrawer{draw.CircleGlyph{}, draw.BoxGlyph{}, draw.PyramidGlyph{}}

// WritePlot writes a plot to w as a PNG of 900 by 560 pixels, or of 780 by 780
// if its axes have equal units. It is an error if there is nothing to draw.
func WritePlot(w io.Writer, p Plot) error {
	c, err := p.chart()
	if err != nil {
		return err
	}
	width, height := plotWidth, plotHeight
	if c.equal {
		width, height = plotSide, plotSide
	}
	canvas, page := newPage(width, height)
	c.draw(page)
	return writePNG(w, canvas)
}

// WritePanels writes plots to w side by side in rows, as a PNG of 480 by 440
// pixels for each. It is an error if one of them has nothing to draw.
func WritePanels(w io.Writer, plots []Plot, columns int) error {
	rows := (len(plots) + columns - 1) / columns
	canvas, page := newPage(columns*panelWidth, rows*panelHeight)
	tiles := draw.Tiles{Cols: columns, Rows: rows, PadX: plotMargin * 1.5, PadY: plotMargin * 1.5}
	for i, p := range plots {
		c, err := p.chart()
		if err != nil {
			return err
		}
		c.draw(tiles.At(page, i%columns, i/columns))
	}
	return writePNG(w, canvas)
}

// newPage returns a white canvas of the given pixels, and the part of it within
// the margins.
func newPage(width, height int) (*vgimg.Canvas, draw.Canvas) {
	canvas := vgimg.NewWith(vgimg.UseDPI(plotDPI),
		vgimg.UseWH(vg.Length(width)*vg.Inch/plotDPI, vg.Length(height)*vg.Inch/plotDPI))
	return canvas, draw.Crop(draw.New(canvas), plotMargin, -plotMargin, plotMargin, -plotMargin)
}

func writePNG(w io.Writer, canvas *vgimg.Canvas) error {
	_, err := vgimg.PngCanvas{Canvas: canvas}.WriteTo(w)
	return err
}

// draw draws the chart so that it fills the page.
func (c *chart) draw(page draw.Canvas) {
	if c.title != "" {
		page = drawTitle(page, c.title)
	}
	if len(c.key) > 0 {
		page = c.key.draw(page)
	}
	area := page
	if c.bar != nil {
		area.Max.X -= c.bar.width()
	}
	if c.equal {
		c.equalise(area)
	}
	c.Plot.Draw(area)
	if c.bar != nil {
		data := c.DataCanvas(area)
		page.Min.X, page.Min.Y, page.Max.Y = data.Max.X, data.Min.Y, data.Max.Y
		c.bar.draw(page)
	}
}

// equalise widens the range of one axis until a unit is as long on both.
func (c *chart) equalise(page draw.Canvas) {
	for range 3 { // the labels of other ticks leave the data another room
		size := c.DataCanvas(page).Size()
		x, y := (c.X.Max-c.X.Min)/float64(size.X), (c.Y.Max-c.Y.Min)/float64(size.Y)
		unit := max(x, y)
		grow := func(a *plot.Axis, length vg.Length) {
			margin := (unit*float64(length) - (a.Max - a.Min)) / 2
			a.Min, a.Max = a.Min-margin, a.Max+margin
		}
		grow(&c.X, size.X)
		grow(&c.Y, size.Y)
	}
}

// emptyPlot returns a plot with nothing but its axes and a grid.
func emptyPlot(xLabel, yLabel string) *plot.Plot {
	p := plot.New()
	style(&p.X, xLabel)
	style(&p.Y, yLabel)
	p.Add(grid())
	return p
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
