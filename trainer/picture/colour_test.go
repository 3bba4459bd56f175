package picture

import (
	"image/color"
	"math"
	"testing"
)

// The colours grow brighter in even steps, so that they say the same in grey.
func TestColoursAreEven(t *testing.T) {
	s := scale{-1, 3}
	if s.colour(-1) != viridis[0] || s.colour(-9) != viridis[0] || s.colour(3) != viridis[8] || s.colour(99) != viridis[8] || s.colour(1) != viridis[4] {
		t.Errorf("%v, %v, %v", s.colour(-9), s.colour(1), s.colour(99))
	}
	last := uint8(0)
	for i := range 101 {
		grey := color.GrayModel.Convert(s.colour(-1 + 4*float64(i)/100)).(color.Gray).Y
		if i > 0 && (grey < last || grey > last+5) {
			t.Errorf("step %d is from grey %d to %d", i, last, grey)
		}
		last = grey
	}
}

func TestHeat(t *testing.T) {
	nan := float32(math.NaN())
	m := Heat([]Image{{H: 1, W: 3, C: 1, Pix: []float32{2, nan, 6}}, {H: 1, W: 1, C: 1, Pix: []float32{4}}})
	for _, c := range []struct {
		img, x int
		want   color.RGBA
	}{{0, 0, viridis[0]}, {0, 1, paper}, {0, 2, viridis[8]}, {1, 0, viridis[4]}} {
		if got := m[c.img].at(c.x, 0); got != c.want {
			t.Errorf("image %d, pixel %d: %v, want %v", c.img, c.x, got, c.want)
		}
	}
	if m[0].C != 3 || len(m[0].Pix) != 9 {
		t.Errorf("%d channels, %d values", m[0].C, len(m[0].Pix))
	}
	if same := Heat([]Image{flat(1, 1, 5)}); same[0].at(0, 0) != viridis[0] {
		t.Errorf("a lone value has colour %v", same[0].at(0, 0))
	}
}

func TestMosaic(t *testing.T) {
	m := Mosaic([]Image{flat(2, 1, 1), flat(2, 1, 2), flat(2, 1, 3)}, 2, 1)
	nan := float32(math.NaN())
	want := []float32{1, nan, 2, 1, nan, 2, nan, nan, nan, 3, nan, nan, 3, nan, nan}
	if m.H != 5 || m.W != 3 || len(m.Pix) != len(want) {
		t.Fatalf("%d x %d, %v", m.W, m.H, m.Pix)
	}
	for i, v := range m.Pix {
		if v != want[i] && !(v != v && want[i] != want[i]) {
			t.Errorf("pixel %d is %v, want %v", i, v, want[i])
		}
	}
	if m = Mosaic([]Image{flat(1, 1, 0.1, 0.2, 0.3), flat(1, 1, 0.4, 0.5, 0.6)}, 2, 0); m.W != 2 || m.Pix[3] != 0.4 {
		t.Errorf("colours: %+v", m)
	}
	mustPanic(t, "picture: images of a mosaic differ in size", func() { Mosaic([]Image{flat(1, 1, 0), flat(1, 2, 0)}, 2, 0) })
}

func TestGrid(t *testing.T) {
	rows := Grid(make([]Image, 7), 3)
	if len(rows) != 3 || len(rows[0].Images) != 3 || len(rows[2].Images) != 1 || Grid(nil, 3) != nil {
		t.Errorf("rows %v", rows)
	}
}

// Each row has its own scale unless one is given.
func TestSheetScalesRows(t *testing.T) {
	rows := []Row{{Images: []Image{flat(28, 28, 0)}}, {Images: []Image{flat(2, 2, 1, 0, 0)}}}
	m := Sheet(rows, SheetOptions{})
	second := sheetMargin + 84 + sheetGap
	wantColour(t, m, sheetMargin+83, second+83, color.RGBA{255, 0, 0, 255})
	wantColour(t, m, sheetMargin+83, sheetMargin+83, color.RGBA{0, 0, 0, 255})
	m = Sheet(rows, SheetOptions{Scale: 2})
	wantColour(t, m, sheetMargin+28-2, sheetMargin+56+sheetGap+28-2, color.RGBA{255, 0, 0, 255})
	wantColour(t, m, sheetMargin+28-3, sheetMargin+56+sheetGap+28-2, edge)
}

func TestSpanDecade(t *testing.T) {
	for _, c := range []struct {
		want   bool
		losses []float64
	}{{true, []float64{1, 0.09}}, {false, []float64{1, 0.1}}, {false, []float64{0, 5}}, {false, []float64{-1, 100}}, {false, nil}, {true, []float64{1, math.NaN(), 100}}} {
		if got := SpanDecade([]Curve{epochs("", c.losses...)}); got != c.want {
			t.Errorf("%v: %t", c.losses, got)
		}
	}
}
