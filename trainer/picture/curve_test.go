package picture

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"math"
	"testing"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/recorder"
)

// epochs returns a curve with the losses at epochs 1, 2, ...
func epochs(name string, losses ...float64) Curve {
	c := Curve{Name: name, Y: losses}
	for i := range losses {
		c.X = append(c.X, float64(i+1))
	}
	return c
}

// plotted returns the decoded plot.
func plotted(t *testing.T, opts CurveOptions, curves ...Curve) image.Image {
	t.Helper()
	var b bytes.Buffer
	if err := LossCurve(&b, curves, opts); err != nil {
		t.Fatal(err)
	}
	m, err := png.Decode(&b)
	if err != nil {
		t.Fatal(err)
	}
	wantSize(t, m, plotWidth, plotHeight)
	return m
}

// count returns the number of pixels of a colour in r.
func count(m image.Image, c color.Color, r image.Rectangle) (n int) {
	want := color.RGBAModel.Convert(c)
	for y := r.Min.Y; y < r.Max.Y; y++ {
		for x := r.Min.X; x < r.Max.X; x++ {
			if color.RGBAModel.Convert(m.At(x, y)) == want {
				n++
			}
		}
	}
	return n
}

// inside is the part of a plot without title that holds the curves, not the
// legend.
var inside = image.Rect(60, 50, plotWidth, plotHeight-60)

func TestLossCurve(t *testing.T) {
	for _, n := range []int{1, 10, 1000} {
		for _, log := range []bool{false, true} {
			var a, b []float64
			for i := range n {
				a = append(a, 0.1+1/float64(i+1))
				b = append(b, 0.2+1/float64(i+1))
			}
			m := plotted(t, CurveOptions{LogY: log}, epochs("train", a...), epochs("validation", b...))
			for i := range 2 {
				if got := count(m, palette[i], inside); got < 20 {
					t.Errorf("%d epochs, log %t: %d pixels of curve %d", n, log, got, i)
				}
			}
		}
	}
}

func TestTitleMovesPlotDown(t *testing.T) {
	top := image.Rect(0, 0, plotWidth, 45)
	c := epochs("train", 1, 0.5)
	if n := count(plotted(t, CurveOptions{}, c), palette[0], top); n == 0 {
		t.Error("no legend at the top of a plot without title")
	}
	if n := count(plotted(t, CurveOptions{Title: "Title"}, c), palette[0], top); n != 0 {
		t.Error("the legend is where the title should be")
	}
}

func TestCurveIsBroken(t *testing.T) {
	nan, inf := math.NaN(), math.Inf(1)
	l := newLine(epochs("", 1, 2, nan, 3, inf, -inf, 4, 5, 1e300, 0, -1), 0, false)
	var lengths []int
	for _, part := range l.parts {
		lengths = append(lengths, len(part))
	}
	if got := fmt.Sprint(lengths); got != "[2 1 2 2]" {
		t.Errorf("parts of length %s, want [2 1 2 2]", got)
	}
	if l := newLine(epochs("", 1, 0, 10, -1, 100), 0, true); len(l.parts) != 3 || l.parts[2][0].Y != 2 {
		t.Errorf("parts on a logarithmic axis %v, want three, the last at 2", l.parts)
	}
	if l := newLine(Curve{X: []float64{1, nan, 3}, Y: []float64{1, 1, 1}}, 0, false); len(l.parts) != 2 {
		t.Errorf("%d parts around a NaN epoch, want 2", len(l.parts))
	}

	// The gap must show on the page.
	whole := plotted(t, CurveOptions{}, epochs("", 1, 1, 1, 1, 2))
	broken := plotted(t, CurveOptions{}, epochs("", 1, 1, nan, 1, 2))
	if a, b := count(whole, palette[0], inside), count(broken, palette[0], inside); b >= a*3/4 {
		t.Errorf("%d pixels of the broken curve, %d of the whole", b, a)
	}
}

// In a long curve only a point without neighbours has a marker.
func TestIsolatedPoint(t *testing.T) {
	losses := make([]float64, 1000)
	losses[10], losses[12] = math.NaN(), math.NaN()
	l := newLine(epochs("", losses...), 0, false)
	if len(l.markers) != 1 || l.markers[0].X != 12 {
		t.Errorf("markers %v, want one at epoch 12", l.markers)
	}
}

// Whatever the numbers, both axes must have a few ticks and drawing must not
// panic. The drawing is recorded, which is faster than to paint it.
func TestExtremes(t *testing.T) {
	try := func(c Curve, log bool) {
		t.Helper()
		p, _, err := newPlot([]Curve{c}, CurveOptions{LogY: log})
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range []*plot.Axis{&p.X, &p.Y} {
			if n := len(a.Tick.Marker.Ticks(a.Min, a.Max)); n < 1 || n > 100 {
				t.Errorf("x %v, y %v, log %t: %d ticks on %q", c.X, c.Y, log, n, a.Label.Text)
			}
		}
		p.Draw(draw.NewCanvas(&recorder.Canvas{}, 500, 300))
	}
	for _, losses := range [][]float64{
		{0}, {-1}, {0, 0, 0}, {5, 5}, {1e-300, 2e-300}, {1e-45}, {5e-324, 1}, {1e-44, 3e38}, {-3e38, 3e38},
		{1, 1 + 1e-15}, {1, 1 + 2e-6}, {1e20, 1e20 + 1e5}, {0, 1e-40}, {1e-7, 2e-7}, {1e6, 2e6}, {0.09, 0.11},
	} {
		try(epochs("", losses...), false)
		try(epochs("", append(losses, 1)...), true)
	}
	for _, x := range []float64{0, -5, 0.25, 1e9, 1e38, -1e38} {
		try(Curve{X: []float64{x}, Y: []float64{1}}, false)
		try(Curve{X: []float64{x, x + 1e-3}, Y: []float64{1, 2}}, false)
	}
	for _, y := range []float64{1e-40, 1e-3, 1, 9.99, 1e38} {
		for _, ratio := range []float64{1, 1 + 1e-12, 1.001, 1.5, 3} {
			try(epochs("", y, y*ratio), true)
		}
	}
}

func TestManyLongNames(t *testing.T) {
	var curves []Curve
	for i := range 12 {
		curves = append(curves, epochs(fmt.Sprintf("a curve with a rather long name, %d", i), 1, float64(i)))
	}
	plotted(t, CurveOptions{}, curves...)
}

func TestNothingToPlot(t *testing.T) {
	nan := math.NaN()
	for name, test := range map[string]struct {
		curves []Curve
		log    bool
	}{
		"no curves":    {nil, false},
		"empty curve":  {[]Curve{{Name: "train"}}, false},
		"NaN":          {[]Curve{epochs("train", nan, nan)}, false},
		"not positive": {[]Curve{epochs("train", 0, -1)}, true},
	} {
		var b bytes.Buffer
		if err := LossCurve(&b, test.curves, CurveOptions{LogY: test.log}); err == nil || b.Len() > 0 {
			t.Errorf("%s: error %v, %d bytes written", name, err, b.Len())
		}
	}
	// One curve that has points is enough.
	plotted(t, CurveOptions{}, Curve{Name: "validation"}, epochs("train", 1, 2))
}

type failing struct{}

var errFull = errors.New("disk full")

func (failing) Write([]byte) (int, error) { return 0, errFull }

func TestWriteError(t *testing.T) {
	if err := LossCurve(failing{}, []Curve{epochs("", 1)}, CurveOptions{}); !errors.Is(err, errFull) {
		t.Errorf("LossCurve: %v, want %v", err, errFull)
	}
	if err := EncodePNG(failing{}, levels(1)); !errors.Is(err, errFull) {
		t.Errorf("EncodePNG: %v, want %v", err, errFull)
	}
}

func TestUnequalLengths(t *testing.T) {
	mustPanic(t, "picture: lengths differ", func() {
		_ = LossCurve(&bytes.Buffer{}, []Curve{{X: []float64{1, 2}, Y: []float64{1}}}, CurveOptions{})
	})
}
