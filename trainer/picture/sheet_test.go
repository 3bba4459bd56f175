package picture

import (
	"image"
	"image/color"
	"testing"
)

func flat(h, w int, pixel ...float32) Image {
	img := Image{H: h, W: w, C: len(pixel)}
	for range h * w {
		img.Pix = append(img.Pix, pixel...)
	}
	return img
}

func wantColour(t *testing.T, m image.Image, x, y int, want color.RGBA) {
	t.Helper()
	if got := m.At(x, y); got != want {
		t.Errorf("colour at %d, %d = %v, want %v", x, y, got, want)
	}
}

func wantSize(t *testing.T, m image.Image, w, h int) {
	t.Helper()
	if got := m.Bounds().Size(); got != image.Pt(w, h) {
		t.Errorf("size %v, want %dx%d", got, w, h)
	}
}

func TestSheetPixels(t *testing.T) {
	checks := Image{H: 2, W: 2, C: 1, Pix: []float32{0, 1, 0.4, 0.6}}
	row := Row{Images: []Image{checks}}
	for range 9 {
		row.Images = append(row.Images, flat(2, 2, 1, 0.2, 0))
	}
	m := Sheet([]Row{row, row}, SheetOptions{Scale: 20})

	const cell, pitch = 40, 40 + sheetGap
	wantSize(t, m, 2*sheetMargin+10*pitch-sheetGap, 2*sheetMargin+2*pitch-sheetGap)
	grey := func(v uint8) color.RGBA { return color.RGBA{v, v, v, 255} }
	for _, y := range []int{sheetMargin, sheetMargin + pitch} {
		// The corners of the four squares of the first image.
		wantColour(t, m, sheetMargin, y, grey(0))
		wantColour(t, m, sheetMargin+19, y+19, grey(0))
		wantColour(t, m, sheetMargin+20, y+19, grey(255))
		wantColour(t, m, sheetMargin+19, y+20, grey(102))
		wantColour(t, m, sheetMargin+39, y+39, grey(153))
		// Its edge and the gap to the next.
		wantColour(t, m, sheetMargin-1, y-1, edge)
		wantColour(t, m, sheetMargin+cell, y, edge)
		wantColour(t, m, sheetMargin+cell+sheetGap/2, y, paper)
		wantColour(t, m, sheetMargin+9*pitch+cell-1, y+cell-1, color.RGBA{255, 51, 0, 255})
	}
	wantColour(t, m, 0, 0, paper)
}

func TestSheetScale(t *testing.T) {
	for side, scale := range map[int]int{1: 84, 8: 11, 28: 3, 32: 3, 64: 1, 200: 1} {
		row := Row{Images: make([]Image, 20)} // wide enough not to be widened
		row.Images[0] = flat(side, side, 0)
		m := Sheet([]Row{row}, SheetOptions{})
		wantSize(t, m, 2*sheetMargin+20*(side*scale+sheetGap)-sheetGap, 2*sheetMargin+side*scale)
	}
}

// Small images are centred in the place of the largest, absent ones leave paper.
func TestSheetMixed(t *testing.T) {
	m := Sheet([]Row{{Images: []Image{flat(10, 20, 0), flat(20, 10, 1, 0, 0), {}}}}, SheetOptions{Scale: 5})
	red := color.RGBA{255, 0, 0, 255}
	black := color.RGBA{0, 0, 0, 255}
	wantColour(t, m, sheetMargin, sheetMargin+25, black)
	wantColour(t, m, sheetMargin+99, sheetMargin+74, black)
	wantColour(t, m, sheetMargin, sheetMargin+23, paper)
	second := sheetMargin + 100 + sheetGap
	wantColour(t, m, second+25, sheetMargin, red)
	wantColour(t, m, second+74, sheetMargin+99, red)
	wantColour(t, m, second+23, sheetMargin, paper)
	wantColour(t, m, second+100+sheetGap+50, sheetMargin+50, paper)
}

// inked reports whether anything is drawn in r.
func inked(m image.Image, r image.Rectangle) bool {
	for y := r.Min.Y; y < r.Max.Y; y++ {
		for x := r.Min.X; x < r.Max.X; x++ {
			if m.At(x, y) != paper {
				return true
			}
		}
	}
	return false
}

func TestSheetTexts(t *testing.T) {
	images := make([]Image, 10)
	for i := range images {
		images[i] = flat(28, 28, 0)
	}
	plain := Sheet([]Row{{Images: images}}, SheetOptions{}).Bounds()
	m := Sheet([]Row{{"noisy\n14.2 dB", images}}, SheetOptions{Title: "Title", Caption: "Caption"})
	b := m.Bounds()
	if b.Dx() <= plain.Dx() || b.Dy() <= plain.Dy() {
		t.Fatalf("texts leave the size at %v", b.Size())
	}
	left := b.Dx() - plain.Dx()
	top := sheetMargin + 40 // about where the title ends
	for name, r := range map[string]image.Rectangle{
		"title":   image.Rect(sheetMargin, sheetMargin, b.Dx(), top-10),
		"label":   image.Rect(sheetMargin, top, sheetMargin+left-labelGap, b.Dy()-60),
		"caption": image.Rect(sheetMargin, b.Dy()-sheetMargin-20, b.Dx(), b.Dy()-sheetMargin),
	} {
		if !inked(m, r) {
			t.Errorf("no %s in %v", name, r)
		}
	}
	for name, r := range map[string]image.Rectangle{
		"left margin":   image.Rect(0, 0, sheetMargin-1, b.Dy()),
		"right margin":  image.Rect(b.Dx()-sheetMargin+1, 0, b.Dx(), b.Dy()),
		"bottom margin": image.Rect(0, b.Dy()-sheetMargin+1, b.Dx(), b.Dy()),
	} {
		if inked(m, r) {
			t.Errorf("something in the %s %v", name, r)
		}
	}
}

// A label higher than small images must not run into the row below.
func TestSheetLabelsKeepApart(t *testing.T) {
	row := Row{"one\ntwo\nthree", []Image{flat(4, 4, 0)}}
	one := Sheet([]Row{row}, SheetOptions{Scale: 1}).Bounds().Dy()
	two := Sheet([]Row{row, row}, SheetOptions{Scale: 1}).Bounds().Dy()
	if two-one < 3*captionSize {
		t.Errorf("the second row adds %d pixels", two-one)
	}
}

func TestSheetWithoutImages(t *testing.T) {
	for _, rows := range [][]Row{nil, {{}}, {{Label: "none"}}} {
		m := Sheet(rows, SheetOptions{Title: "Nothing"})
		if !inked(m, m.Bounds()) {
			t.Errorf("no title on the sheet of %v", rows)
		}
	}
}

func TestWrap(t *testing.T) {
	s := newTextStyle(regular(), captionSize, ink)
	text := "the quick brown fox jumps over the lazy dog"
	lines := s.wrap(text, 120)
	if len(lines) < 2 {
		t.Fatalf("lines %q", lines)
	}
	if w := s.widest(lines); w > 120 {
		t.Errorf("a line of %d pixels, more than 120", w)
	}
	if got := s.wrap("a\nb incomprehensibilities", 10); len(got) != 3 || got[0] != "a" || got[1] != "b" {
		t.Errorf("lines %q", got)
	}
	if got := s.wrap("", 100); len(got) != 0 {
		t.Errorf("empty text: lines %q", got)
	}
}
