package picture

import (
	"errors"
	"image/color"

	"gonum.org/v1/plot"
)

// Mark is how the points of a [Series] are drawn.
type Mark int

// The marks. Behind all others is the Backdrop, on top the Line.
const (
	Dots     Mark = iota
	Line          // joins one point to the next
	Backdrop      // faint dots of no colour
)

// Series are points that belong together. A point that cannot be drawn, one
// that is NaN or infinite, is left out and breaks a line.
type Series struct {
	Name   string // in the legend; "" leaves it out of that
	Mark   Mark
	X, Y   []float64
	Values []float64 // one a dot, to be coloured by; nil: the dots have the series' colour
}

// Scatter is the [Plot] of points.
type Scatter struct {
	Title, XLabel, YLabel string
	Series                []Series
	ValueLabel            string // of the bar that explains the colours of values
	Equal                 bool   // x and y have the same unit, and so the same scale
}

func (s Scatter) chart() (*chart, error) {
	p := emptyPlot(s.XLabel, s.YLabel)
	c := &chart{Plot: p, title: s.Title, equal: s.Equal}
	var all []float64
	for _, g := range s.Series {
		all = append(all, g.Values...)
	}
	colours, ok := scaleOf(all)
	if ok {
		c.bar = &colourBar{colours.apart(), s.ValueLabel}
	}
	var front, back dots
	var lines []plot.Plotter
	colour := 0
	for _, g := range s.Series {
		var thumbnail plot.Thumbnailer
		switch g.Mark {
		case Backdrop:
			l := newDotLayer(g, backdropColour)
			back, thumbnail = append(back, l), l
		case Dots:
			l := newDotLayer(g, palette[colour%len(palette)])
			if g.Values != nil {
				l.colours = func(i int) color.Color { return c.bar.colour(g.Values[i]) }
			}
			front, thumbnail = append(front, l), l
		case Line:
			l := newLine(Curve{X: g.X, Y: g.Y}, colour, false)
			l.marked, l.markers = false, nil
			lines, thumbnail = append(lines, l), l
		}
		if g.Values == nil {
			colour++
		}
		if g.Name != "" {
			c.key = append(c.key, entry{g.Name, thumbnail})
		}
	}
	p.Add(back, front)
	p.Add(lines...)
	if !(p.X.Min <= p.X.Max) {
		return nil, errors.New("picture: scatter plot without a finite point")
	}
	setValues(&p.X, fewTicks)
	setValues(&p.Y, fewTicks)
	return c, nil
}

// backdropColour is light enough for dots and lines to stand out before it.
var backdropColour = color.RGBA{0xbd, 0xbd, 0xb9, 0xff}
