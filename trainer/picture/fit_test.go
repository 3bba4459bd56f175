package picture

import (
	"image"
	"image/color"
	"math"
	"testing"
)

// ramp is a picture whose pixel in column x and row y is (x, y, 0).
func ramp(w, h int) image.Image {
	m := image.NewNRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			m.Set(x, y, color.NRGBA{uint8(x), uint8(y), 0, 255})
		}
	}
	return m
}

// Which pixel of a picture a part begins with, and which way it goes on, for every way to look at it.
func TestFitViews(t *testing.T) {
	const w, h = 9, 7
	m := ramp(w, h)
	end := math.Nextafter(1, 0)
	view := func(change func(*View)) View {
		v := Middle()
		change(&v)
		return v
	}
	for name, c := range map[string]struct {
		fit                  Fitting
		v                    View
		first, second, below [2]int // column and row of the picture
	}{
		"middle":    {Fitting{H: 3, W: 4, C: 3, Resize: Native}, Middle(), [2]int{2, 2}, [2]int{3, 2}, [2]int{2, 3}},
		"start":     {Fitting{H: 3, W: 4, C: 3, Resize: Native}, view(func(v *View) { v.X, v.Y = 0, 0 }), [2]int{0, 0}, [2]int{1, 0}, [2]int{0, 1}},
		"end":       {Fitting{H: 3, W: 4, C: 3, Resize: Native}, view(func(v *View) { v.X, v.Y = end, end }), [2]int{5, 4}, [2]int{6, 4}, [2]int{5, 5}},
		"flip":      {Fitting{H: 3, W: 4, C: 3, Resize: Native}, view(func(v *View) { v.Flip = true }), [2]int{5, 2}, [2]int{4, 2}, [2]int{5, 3}},
		"upend":     {Fitting{H: 3, W: 4, C: 3, Resize: Native}, view(func(v *View) { v.Upend = true }), [2]int{2, 4}, [2]int{3, 4}, [2]int{2, 3}},
		"quarter":   {Fitting{H: 3, W: 4, C: 3, Resize: Native}, view(func(v *View) { v.Quarter = 1 }), [2]int{5, 1}, [2]int{5, 2}, [2]int{4, 1}},
		"half":      {Fitting{H: 3, W: 4, C: 3, Resize: Native}, view(func(v *View) { v.Quarter = 2 }), [2]int{5, 4}, [2]int{4, 4}, [2]int{5, 3}},
		"three":     {Fitting{H: 3, W: 4, C: 3, Resize: Native}, view(func(v *View) { v.Quarter = 3 }), [2]int{3, 4}, [2]int{3, 3}, [2]int{4, 4}},
		"cover":     {Fitting{H: 7, W: 7, C: 3}, Middle(), [2]int{1, 0}, [2]int{2, 0}, [2]int{1, 1}},
		"by side":   {Fitting{H: 3, W: 4, C: 3, Resize: 7}, Middle(), [2]int{2, 2}, [2]int{3, 2}, [2]int{2, 3}},
		"too small": {Fitting{H: 7, W: 9, C: 3, Resize: 3}, Middle(), [2]int{0, 0}, [2]int{1, 0}, [2]int{0, 1}},
	} {
		dst := make([]byte, c.fit.H*c.fit.W*3)
		c.fit.Fit(dst, m, c.v)
		at := func(i int) [2]int { return [2]int{int(dst[3*i]), int(dst[3*i+1])} }
		if at(0) != c.first || at(1) != c.second || at(c.fit.W) != c.below {
			t.Errorf("%s: begins with %v, %v, and %v below, want %v, %v and %v", name, at(0), at(1), at(c.fit.W), c.first, c.second, c.below)
		}
	}
}

// The mean of the pixels under one is what area makes; the others come close to it on a ramp, and all keep a constant.
func TestFilters(t *testing.T) {
	for f := Cubic; f <= Lanczos; f++ {
		dst := make([]byte, 4*4)
		fit := Fitting{H: 4, W: 4, C: 1, Filter: f}
		m := image.NewGray(image.Rect(0, 0, 16, 16))
		for i := range m.Pix {
			m.Pix[i] = byte(8 * (i % 16))
		}
		fit.Fit(dst, m, Middle())
		for x, want := range []int{12, 44, 76, 108} {
			tolerance := 3
			if f == Area {
				tolerance = 1
			}
			if got := int(dst[4+x]); max(got-want, want-got) > tolerance {
				t.Errorf("%v: pixel %d is %d, want %d", f, x, got, want)
			}
		}
		for i := range m.Pix {
			m.Pix[i] = 77
		}
		fit.Fit(dst, m, Middle())
		for i, v := range dst {
			if v != 77 {
				t.Errorf("%v: pixel %d of a constant is %d, want 77", f, i, v)
			}
		}
	}
}

// Changes of colours against values by hand; none changes nothing.
func TestColours(t *testing.T) {
	for name, c := range map[string]struct {
		c    Colours
		from [2][3]byte
		want [2][3]byte
	}{
		"none":         {Colours{1, 1, 1, 0}, [2][3]byte{{1, 2, 3}, {200, 100, 0}}, [2][3]byte{{1, 2, 3}, {200, 100, 0}}},
		"brighter":     {Colours{1.5, 1, 1, 0}, [2][3]byte{{1, 2, 3}, {200, 100, 0}}, [2][3]byte{{2, 3, 5}, {255, 150, 0}}},
		"no contrast":  {Colours{1, 0, 1, 0}, [2][3]byte{{10, 10, 10}, {30, 30, 30}}, [2][3]byte{{20, 20, 20}, {20, 20, 20}}},
		"grey":         {Colours{1, 1, 0, 0}, [2][3]byte{{255, 0, 0}, {0, 0, 255}}, [2][3]byte{{76, 76, 76}, {29, 29, 29}}},
		"a third":      {Colours{1, 1, 1, 1. / 3}, [2][3]byte{{255, 0, 0}, {10, 200, 30}}, [2][3]byte{{0, 255, 0}, {30, 10, 200}}},
		"half the hue": {Colours{1, 1, 1, -0.5}, [2][3]byte{{255, 0, 0}, {9, 9, 9}}, [2][3]byte{{0, 255, 255}, {9, 9, 9}}},
	} {
		pix := []byte{c.from[0][0], c.from[0][1], c.from[0][2], 255, c.from[1][0], c.from[1][1], c.from[1][2], 255}
		c.c.change(pix, false)
		got := [2][3]byte{{pix[0], pix[1], pix[2]}, {pix[4], pix[5], pix[6]}}
		if got != c.want {
			t.Errorf("%s: %v becomes %v, want %v", name, c.from, got, c.want)
		}
	}
}
