package picture

import (
	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// legend is a strip of entries above a plot, where no curve can run into it.
type legend []entry

type entry struct {
	name string
	line plot.Thumbnailer
}

// thumbWidth returns the width of the entry's thumbnail: a dot needs less than a
// line.
func (e entry) thumbWidth() vg.Length {
	if _, ok := e.line.(*dotLayer); ok {
		return dotWidth
	}
	return thumbWidth
}

// Sizes of a legend in points.
const (
	thumbWidth = vg.Length(24)
	dotWidth   = vg.Length(8)
	thumbGap   = vg.Length(5)
	entryGap   = vg.Length(18)
)

// draw draws the legend at the top of the page, on as many lines as it needs,
// and returns the rest of the page.
func (l legend) draw(page draw.Canvas) draw.Canvas {
	s := sans(11.5, ink)
	s.YAlign = draw.YCenter
	height := s.FontExtents().Height * 1.3
	rise := s.FontExtents().Descent / 2 // lifts letters to the middle of the thumbnail
	x, top := page.Min.X, page.Max.Y
	for _, e := range l {
		thumb := e.thumbWidth()
		width := thumb + thumbGap + s.Width(e.name)
		if x > page.Min.X && x+width > page.Max.X {
			x = page.Min.X
			top -= height
		}
		box := vg.Rectangle{Min: vg.Point{X: x, Y: top - height}, Max: vg.Point{X: x + thumb, Y: top}}
		e.line.Thumbnail(&draw.Canvas{Canvas: page.Canvas, Rectangle: box})
		page.FillText(s, vg.Point{X: box.Max.X + thumbGap, Y: top - height/2 + rise}, e.name)
		x += width + entryGap
	}
	page.Max.Y = top - height - 6
	return page
}
