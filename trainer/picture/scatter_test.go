package picture

import (
	"bytes"
	"image"
	"image/color"
	"image/png"
	"math"
	"testing"

	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/recorder"
)

// drawn returns the picture of a plot.
func drawn(t *testing.T, p Plot) image.Image {
	t.Helper()
	var b bytes.Buffer
	if err := WritePlot(&b, p); err != nil {
		t.Fatal(err)
	}
	m, err := png.Decode(&b)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// centre returns the middle of the pixels of a colour below the legend.
func centre(t *testing.T, m image.Image, c color.Color) (x, y float64) {
	t.Helper()
	want, n := color.RGBAModel.Convert(c), 0.0
	b := m.Bounds()
	for j := b.Min.Y + 75; j < b.Max.Y; j++ {
		for i := b.Min.X; i < b.Max.X; i++ {
			if color.RGBAModel.Convert(m.At(i, j)) == want {
				x, y, n = x+float64(i), y+float64(j), n+1
			}
		}
	}
	if n < 10 {
		t.Fatalf("%v pixels of colour %v", n, want)
	}
	return x / n, y / n
}

func dot(name string, x, y float64) Series {
	return Series{Name: name, X: []float64{x}, Y: []float64{y}}
}

// Points are where their coordinates say, and of equal units if asked for.
func TestScatter(t *testing.T) {
	s := Scatter{Title: "Points", XLabel: "x", YLabel: "y", Series: []Series{dot("a", 0, 0), dot("b", 3, 0), dot("c", 0, 3)}}
	for _, equal := range []bool{false, true} {
		s.Equal = equal
		m := drawn(t, s)
		ax, ay := centre(t, m, palette[0])
		bx, by := centre(t, m, palette[1])
		cx, cy := centre(t, m, palette[2])
		if math.Abs(ay-by) > 1 || math.Abs(ax-cx) > 1 || bx < ax+300 || cy > ay-300 {
			t.Errorf("equal %t: dots at %.0f,%.0f, %.0f,%.0f and %.0f,%.0f", equal, ax, ay, bx, by, cx, cy)
		}
		if same := math.Abs((bx-ax)-(ay-cy)) < 2; same != equal {
			t.Errorf("equal %t: 3 units are %.1f pixels along x and %.1f along y", equal, bx-ax, ay-cy)
		}
	}
	wantSize(t, drawn(t, s), plotSide, plotSide)
	s.Equal = false
	wantSize(t, drawn(t, s), plotWidth, plotHeight)
}

// Values are told by colours, which a bar at the right explains.
func TestScatterValues(t *testing.T) {
	low, high := viridis[0], viridis[len(viridis)-1]
	m := drawn(t, Scatter{ValueLabel: "error", Series: []Series{{X: []float64{0, 1, 2}, Y: []float64{0, 0, 0}, Values: []float64{7, 9, 8}}}})
	right := m.Bounds().Max.X - 110 // where the bar is
	for _, want := range []struct {
		c    color.RGBA
		left bool
	}{{low, true}, {high, false}} {
		dots := image.Rect(60, 0, right, plotHeight)
		n, x := 0, 0
		for j := dots.Min.Y; j < dots.Max.Y; j++ {
			for i := dots.Min.X; i < dots.Max.X; i++ {
				if m.At(i, j) == want.c || color.RGBAModel.Convert(m.At(i, j)) == want.c {
					n, x = n+1, x+i
				}
			}
		}
		if n < 10 || (x/n < plotWidth/3) != want.left {
			t.Errorf("%d pixels of %v about x %d", n, want.c, x/max(n, 1))
		}
	}
	near := func(y int, want color.RGBA) bool {
		for x := right; x < m.Bounds().Max.X; x++ {
			c := color.RGBAModel.Convert(m.At(x, y)).(color.RGBA)
			if d := math.Abs(float64(c.R)-float64(want.R)) + math.Abs(float64(c.G)-float64(want.G)) + math.Abs(float64(c.B)-float64(want.B)); d < 15 {
				return true
			}
		}
		return false
	}
	if !near(30, high) || near(30, low) || !near(plotHeight-45, low) || near(plotHeight-45, high) {
		t.Error("the bar does not go from the lowest colour up to the highest")
	}
}

// Lines lie over dots, and these over the backdrop.
func TestScatterOrder(t *testing.T) {
	flat := func(mark Mark) Series { return Series{Mark: mark, X: []float64{0, 1, 2}, Y: []float64{0, 0, 0}} }
	count := func(m image.Image, c color.Color) int { return count(m, c, inside) }
	m := drawn(t, Scatter{Series: []Series{flat(Dots), flat(Backdrop)}})
	if n := count(m, palette[0]); n < 30 || count(m, backdropColour) != 0 {
		t.Errorf("%d pixels of the dots, %d of the backdrop under them", n, count(m, backdropColour))
	}
	m = drawn(t, Scatter{Series: []Series{flat(Line), flat(Dots)}})
	if n := count(m, palette[0]); n < 600 {
		t.Errorf("%d pixels of the line over the dots", n)
	}
	// A point that is not there ends a line.
	broken := flat(Line)
	broken.Y[1] = math.NaN()
	broken.X, broken.Y = append(broken.X, 3), append(broken.Y, 0)
	if whole, n := count(m, palette[0]), count(drawn(t, Scatter{Series: []Series{broken}}), palette[0]); n > whole/2 || n < 100 {
		t.Errorf("%d pixels of the broken line, %d of the whole", n, whole)
	}
}

// Many dots are small and let others shine through; no class lies over all others.
func TestScatterManyDots(t *testing.T) {
	a, b := Series{}, Series{}
	for i := range 3000 {
		x, y := float64(i%60), float64(i/60)
		a.X, a.Y = append(a.X, x), append(a.Y, y)
		b.X, b.Y = append(b.X, x+0.1), append(b.Y, y)
	}
	few, _ := dots{newDotLayer(dot("", 0, 0), palette[0])}.glyph()
	many, alpha := dots{newDotLayer(a, palette[0])}.glyph()
	if many >= few || alpha >= 1 {
		t.Errorf("radius %v and opacity %v of 3000 dots, radius %v of one", many, alpha, few)
	}
	var first, second bytes.Buffer
	for _, w := range []*bytes.Buffer{&first, &second} {
		if err := WritePlot(w, Scatter{Series: []Series{a, b}}); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(first.Bytes(), second.Bytes()) {
		t.Error("two drawings of the same differ")
	}
	// Dots are drawn in turns: one of the first series lies over one of the second that came before it.
	over := drawn(t, Scatter{Series: []Series{
		{X: []float64{0, 1}, Y: []float64{0, 1}},
		{X: []float64{1, 0}, Y: []float64{1, 2}},
	}})
	if n := count(over, palette[0], inside); n < 40 {
		t.Errorf("%d pixels of two dots, one of which is drawn over another", n)
	}
}

func TestPanels(t *testing.T) {
	var b bytes.Buffer
	empty := Scatter{Series: []Series{dot("", math.NaN(), 0)}}
	plots := []Plot{
		Scatter{Series: []Series{dot("", 0, 0)}},
		Losses{Curves: []Curve{epochs("a", 1, 2), epochs("b", 2, 1)}},
		Histogram{Groups: []Group{{Values: []float64{1, 2, 2}}}},
		Scatter{Series: []Series{{Mark: Backdrop, X: []float64{0}, Y: []float64{0}}}},
	}
	if err := WritePanels(&b, plots, 3); err != nil {
		t.Fatal(err)
	}
	m, err := png.Decode(&b)
	if err != nil {
		t.Fatal(err)
	}
	wantSize(t, m, 3*panelWidth, 2*panelHeight)
	for i, want := range []color.Color{palette[0], palette[1], palette[0], backdropColour, palette[0]} {
		at := image.Rect(0, 0, panelWidth, panelHeight).Add(image.Pt(i%3*panelWidth, i/3*panelHeight))
		if n := count(m, want, at); (n >= 20) != (i < 4) {
			t.Errorf("panel %d: %d pixels of its colour", i, n)
		}
	}
	if err := WritePanels(&b, []Plot{plots[0], empty}, 2); err == nil || err.Error() != "picture: scatter plot without a finite point" {
		t.Errorf("error %v of an empty panel", err)
	}
	if err := WritePlot(&b, Histogram{Groups: []Group{{Values: []float64{math.NaN()}}}}); err == nil || err.Error() != "picture: histogram without a finite value" {
		t.Errorf("error %v of an empty histogram", err)
	}
}

// Whatever the numbers, plots can be drawn.
func TestExtremePoints(t *testing.T) {
	nan, inf := math.NaN(), math.Inf(1)
	for _, v := range [][]float64{{0}, {5, 5}, {1, 1 + 1e-15}, {1e-300, 0}, {-3e38, 3e38}, {1e38, 1e38}, {nan, 1, inf}, {1e-30, 2e-30}} {
		for _, p := range []Plot{
			Scatter{Series: []Series{{X: v, Y: v, Values: v}}},
			Scatter{Series: []Series{{X: v, Y: make([]float64, len(v))}}, Equal: true},
			Histogram{Groups: []Group{{Values: v}, {Name: "none"}}},
		} {
			c, err := p.chart()
			if err != nil {
				t.Fatal(err)
			}
			c.draw(draw.NewCanvas(&recorder.Canvas{}, 500, 400))
		}
	}
}

func TestHistogram(t *testing.T) {
	b := &bins{scale: scale{0, 4}, counts: make([]int, 4)}
	b.count([]float64{0, 0.9, 1, 3.5, 4, math.NaN(), math.Inf(-1)})
	if b.counts[0] != 2 || b.counts[1] != 1 || b.counts[2] != 0 || b.counts[3] != 2 {
		t.Errorf("counts %v", b.counts)
	}
	// Three of four values in the first half: as much more of it is filled.
	h := Histogram{Groups: []Group{{Values: []float64{0, 0, 0, 1}}}}
	m := drawn(t, h)
	fill := color.RGBAModel.Convert(m.At(120, plotHeight-80))
	left, right := count(m, fill, image.Rect(60, 0, 480, plotHeight)), count(m, fill, image.Rect(480, 0, plotWidth, plotHeight))
	if ratio := float64(left) / float64(right); fill == color.RGBAModel.Convert(color.White) || ratio < 2.8 || ratio > 3.2 {
		t.Errorf("%d pixels of three values in the first bin, %d of one in the last", left, right)
	}
	c, err := h.chart()
	if err != nil || c.Y.Min != 0 {
		t.Errorf("the counts begin at %v; %v", c.Y.Min, err)
	}
}
