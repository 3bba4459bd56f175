package dataset

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// writePicture writes a picture of that size whose left half is a and right half b.
func writePicture(t *testing.T, path string, w, h int, a, b color.Color) {
	t.Helper()
	m := image.NewRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			c := a
			if x >= w/2 {
				c = b
			}
			m.Set(x, y, c)
		}
	}
	var buf bytes.Buffer
	err := png.Encode(&buf, m)
	if filepath.Ext(path) == ".JPG" {
		buf.Reset()
		err = jpeg.Encode(&buf, m, &jpeg.Options{Quality: 100})
	}
	if err != nil {
		t.Fatal(err)
	}
	writeBytes(t, path, buf.Bytes())
}

func writeBytes(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o666); err != nil {
		t.Fatal(err)
	}
}

func TestReadImages(t *testing.T) {
	dir := t.TempDir()
	red := color.RGBA{255, 0, 0, 255}
	writePicture(t, filepath.Join(dir, "dog", "1.JPG"), 40, 20, color.White, color.White)
	writePicture(t, filepath.Join(dir, "cat", "2.png"), 4, 4, color.Black, color.White) // no resizing
	writePicture(t, filepath.Join(dir, "cat", "1.png"), 8, 16, red, red)
	writeBytes(t, filepath.Join(dir, "cat", "notes.txt"), []byte("not a picture"))
	writeBytes(t, filepath.Join(dir, ".hidden", "x.png"), []byte("not looked at"))

	defer func(n int) { imagesInMemory = n }(imagesInMemory)
	for _, limit := range []int{1 << 30, 10} { // in memory, in a file
		imagesInMemory = limit
		s, err := ReadImages(t.Context(), dir, ImageOptions{H: 4, W: 4, C: 3, Cache: true, CacheDir: t.TempDir()})
		if err != nil {
			t.Fatal(err)
		}
		if s.Len() != 3 || !slices.Equal(s.Labels, []uint8{0, 0, 1}) || !s.Images() {
			t.Errorf("%d images with labels %v", s.Len(), s.Labels)
		}
		train, test, err := s.Split(0.34)
		if err != nil {
			t.Fatal(err)
		}
		if got := train.Image(0)[:3]; !bytes.Equal(got, []byte{255, 0, 0}) {
			t.Errorf("cat/1.png starts with %v, want red", got)
		}
		if got := s.Image(1)[3:9]; !bytes.Equal(got, []byte{0, 0, 0, 255, 255, 255}) {
			t.Errorf("cat/2.png has %v in the middle of its first row, want black and white", got)
		}
		if got := slices.Min(s.Image(2)); got < 254 {
			t.Errorf("dog/1.JPG has a pixel of %d, want white", got)
		}
		if err := errors.Join(test.Close(), train.Close(), s.Close()); err != nil {
			t.Error(err)
		}
	}
	grey, err := ReadImages(t.Context(), filepath.Join(dir, "cat"), ImageOptions{H: 4, W: 6, C: 1, Cache: true, CacheDir: t.TempDir()})
	if err != nil || grey.Labels != nil || grey.Size() != 24 {
		t.Fatalf("%+v, %v", grey, err)
	}
	if got := grey.Image(0)[0]; got < 50 || got > 90 {
		t.Errorf("red as grey is %d", got)
	}
}

// Pictures that are held out come from every class, and the rest keep their order.
func TestReadImagesHeldOut(t *testing.T) {
	dir := t.TempDir()
	for i := range 200 {
		v := color.Gray{uint8(i)}
		writePicture(t, filepath.Join(dir, fmt.Sprint(i/20), fmt.Sprintf("%03d.png", i)), 2, 2, v, v)
	}
	var told [][2]int
	s, err := ReadImages(t.Context(), dir, ImageOptions{H: 2, W: 2, C: 1, HeldOut: 0.1, Progress: func(done, total int) { told = append(told, [2]int{done, total}) }})
	if err != nil {
		t.Fatal(err)
	}
	if want := [][2]int{{64, 200}, {128, 200}, {192, 200}, {200, 200}}; !slices.Equal(told, want) {
		t.Errorf("progress %v, want %v", told, want)
	}
	train, validation, err := s.Split(0.1)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[uint8]bool{}
	for _, part := range []*Set{train, validation} {
		for i := range part.Len() {
			v := part.Image(i)[0]
			if seen[v] || part.Labels[i] != v/20 || i > 0 && v < part.Image(i - 1)[0] {
				t.Fatalf("image %d of %d has value %d and label %d", i, part.Len(), v, part.Labels[i])
			}
			seen[v] = true
		}
	}
	for class := range uint8(10) {
		if n := bytes.Count(validation.Labels, []byte{class}); n != 2 {
			t.Errorf("%d of class %d are held out, want 2 of 20", n, class)
		}
	}
}

// The order is one of all numbers, whatever the split.
func TestHeldOutLast(t *testing.T) {
	for n := range 40 {
		for _, f := range []float64{0.01, 0.1, 0.34, 0.5, 0.9} {
			order := heldOutLast(n, f)
			at := SplitAt(n, f)
			if len(order) != n || !slices.IsSorted(order[:at]) || !slices.IsSorted(order[at:]) {
				t.Fatalf("n %d, fraction %v: %v", n, f, order)
			}
			slices.Sort(order)
			for i, v := range order {
				if i != v {
					t.Fatalf("n %d, fraction %v: %v", n, f, order)
				}
			}
		}
	}
}

// A wide picture keeps its middle, a tall one too.
func TestReadImagesCrops(t *testing.T) {
	dir := t.TempDir()
	m := image.NewGray(image.Rect(0, 0, 30, 10))
	for y := range 10 {
		for x := 10; x < 20; x++ {
			m.SetGray(x, y, color.Gray{200})
		}
	}
	var wide bytes.Buffer
	if err := png.Encode(&wide, m); err != nil {
		t.Fatal(err)
	}
	writeBytes(t, filepath.Join(dir, "wide.png"), wide.Bytes())
	s, err := ReadImages(t.Context(), dir, ImageOptions{H: 5, W: 5, C: 1})
	if err != nil {
		t.Fatal(err)
	}
	for i, v := range s.Pixels {
		if v < 199 || v > 201 {
			t.Errorf("pixel %d is %d, want 200: the middle alone", i, v)
		}
	}
}

func TestReadImagesErrors(t *testing.T) {
	dir := t.TempDir()
	check := func(want, dir string, h, c int) {
		t.Helper()
		if _, err := ReadImages(t.Context(), dir, ImageOptions{H: h, W: 4, C: c, Cache: true, CacheDir: t.TempDir()}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one with %q", err, want)
		}
	}
	check("has no PNG, JPEG, GIF, BMP, TIFF or WebP file", dir, 4, 1)
	check("there is no folder", filepath.Join(dir, "none"), 4, 1)
	check("size is 0×4", dir, 0, 1)
	check("2 channels", dir, 4, 2)
	for i := range 20 { // the first bad one is named, whoever reads it
		writePicture(t, filepath.Join(dir, string(rune('a'+i))+".png"), 3, 3, color.Black, color.White)
	}
	writeBytes(t, filepath.Join(dir, "c.png"), []byte("\x89PNG\r\n\x1a\nshort"))
	writeBytes(t, filepath.Join(dir, "p.png"), []byte("text"))
	defer func(n int) { imagesInMemory = n }(imagesInMemory)
	for _, imagesInMemory = range []int{1 << 30, 1} {
		check("c.png: corrupt or truncated PNG", dir, 4, 1)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := ReadImages(ctx, dir, ImageOptions{H: 4, W: 4, C: 1, Cache: true}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: error %v", err)
	}
}
