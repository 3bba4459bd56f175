package picture

import (
	"image/color"
	"math"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// viridis is the colour map of N. Smith and S. van der Walt, at even steps from
// 0 to 1: as bright in steps as the values are, in grey too.
var viridis = []color.RGBA{
	{0x44, 0x01, 0x54, 0xff}, {0x47, 0x2d, 0x7b, 0xff}, {0x3b, 0x52, 0x8b, 0xff},
	{0x2c, 0x72, 0x8e, 0xff}, {0x21, 0x91, 0x8c, 0xff}, {0x28, 0xae, 0x80, 0xff},
	{0x5e, 0xc9, 0x62, 0xff}, {0xad, 0xdc, 0x30, 0xff}, {0xfd, 0xe7, 0x25, 0xff},
}

// scale maps values from lo to hi to colours.
type scale struct{ lo, hi float64 }

// scaleOf returns the scale of the drawable values, and whether there are any.
func scaleOf[T float32 | float64](values []T) (s scale, ok bool) {
	s = scale{math.Inf(1), math.Inf(-1)}
	for _, v := range values {
		if v := float64(v); drawable(v) {
			s = scale{min(s.lo, v), max(s.hi, v)}
		}
	}
	return s, s.lo <= s.hi
}

// apart returns the scale with its ends moved apart if there is nothing between
// them.
func (s scale) apart() scale {
	if s.hi-s.lo > 1e-6*max(math.Abs(s.lo), math.Abs(s.hi)) {
		return s
	}
	a := plot.Axis{Min: s.lo, Max: s.hi}
	widen(&a, 0, 0.5)
	return scale{a.Min, a.Max}
}

// colour returns the colour of v; one beyond the ends has that of the end.
func (s scale) colour(v float64) color.RGBA {
	at := 0.0
	if s.hi > s.lo {
		at = min(max((v-s.lo)/(s.hi-s.lo), 0), 1) * float64(len(viridis)-1)
	}
	i := min(int(at), len(viridis)-2)
	mix := func(a, b uint8) uint8 { return uint8(math.Round(float64(a) + (at-float64(i))*(float64(b)-float64(a)))) }
	a, b := viridis[i], viridis[i+1]
	return color.RGBA{mix(a.R, b.R), mix(a.G, b.G), mix(a.B, b.B), 255}
}

// Heat colours the values of grey images from the smallest of them all, dark
// violet, to the largest, yellow. What is not finite has the colour of the paper.
func Heat(images []Image) []Image {
	var all []float32
	for _, img := range images {
		all = append(all, img.Pix...)
	}
	s, _ := scaleOf(all)
	heated := make([]Image, len(images))
	for k, img := range images {
		heated[k] = Image{H: img.H, W: img.W, C: 3}
		for _, v := range img.Pix {
			c := paper
			if drawable(float64(v)) {
				c = s.colour(float64(v))
			}
			heated[k].Pix = append(heated[k].Pix, float32(c.R)/255, float32(c.G)/255, float32(c.B)/255)
		}
	}
	return heated
}

// colourBar is the key to the colours of values, beside a plot.
type colourBar struct {
	scale
	label string
}

// Sizes of a colour bar in points.
const (
	barGap   = vg.Length(12)
	barWidth = vg.Length(11)
	barTick  = vg.Length(6) // from the bar to the label of a tick
)

func (b *colourBar) ticks() []plot.Tick {
	return evenTicks(b.lo, b.hi, niceStep(b.hi-b.lo, fewTicks))
}

// width returns the width of the bar with its ticks and label.
func (b *colourBar) width() vg.Length {
	tick, label := sans(10.5, lightInk), sans(12, ink)
	var widest vg.Length
	for _, t := range b.ticks() {
		widest = max(widest, tick.Width(t.Label))
	}
	return barGap + barWidth + barTick + widest + barTick + label.Height(b.label)
}

// draw draws the bar along the left edge of the page, as high as the page.
func (b *colourBar) draw(page draw.Canvas) {
	left, height := page.Min.X+barGap, page.Max.Y-page.Min.Y
	const steps = 128
	for i := range steps {
		lo, hi := page.Min.Y+height*vg.Length(i)/steps, page.Min.Y+height*vg.Length(i+1)/steps
		if i < steps-1 {
			hi += 0.5 // no seam
		}
		page.FillPolygon(b.colour(b.lo+(b.hi-b.lo)*(float64(i)+0.5)/steps),
			[]vg.Point{{X: left, Y: lo}, {X: left + barWidth, Y: lo}, {X: left + barWidth, Y: hi}, {X: left, Y: hi}})
	}
	s := sans(10.5, lightInk)
	s.YAlign = draw.YCenter
	rise := s.FontExtents().Descent / 2 // lifts digits to the middle of the tick
	for _, t := range b.ticks() {
		y := page.Min.Y + height*vg.Length((t.Value-b.lo)/(b.hi-b.lo))
		page.StrokeLine2(draw.LineStyle{Color: lightInk, Width: 0.75}, left+barWidth, y, left+barWidth+barTick/2, y)
		page.FillText(s, vg.Point{X: left + barWidth + barTick, Y: y + rise}, t.Label)
	}
	label := sans(12, ink)
	label.Rotation = math.Pi / 2
	label.XAlign, label.YAlign = draw.XCenter, draw.YBottom
	page.FillText(label, vg.Point{X: page.Max.X, Y: page.Center().Y}, b.label)
}
