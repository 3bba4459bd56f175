package dataset

import (
	"bytes"
	"hash/fnv"
	"math"
	"strings"
	"testing"
)

// Scenes are the same bits wherever they are drawn, a set is the beginning of a longer one, and no two pictures are alike.
func TestScenes(t *testing.T) {
	s, err := Scenes(20, 24, 32, 3, 7)
	if err != nil {
		t.Fatal(err)
	}
	h := fnv.New64a()
	h.Write(s.Pixels)
	if got, want := h.Sum64(), uint64(0x8a9dad4056911cc6); got != want {
		t.Errorf("hash %#x, want %#x: drawings must not change", got, want)
	}
	long, err := Scenes(25, 24, 32, 3, 7)
	if err != nil {
		t.Fatal(err)
	}
	other, err := Scenes(20, 24, 32, 3, 8)
	if err != nil {
		t.Fatal(err)
	}
	for i := range s.Len() {
		if !bytes.Equal(s.Image(i), long.Image(i)) {
			t.Errorf("picture %d is another in a longer set", i)
		}
		if bytes.Equal(s.Image(i), other.Image(i)) || i > 0 && bytes.Equal(s.Image(i), s.Image(i-1)) {
			t.Errorf("picture %d is not the only one of its kind", i)
		}
	}
	for _, bad := range [][3]int{{0, 4, 3}, {4, 4, 2}, {1 << 15, 4, 1}} {
		if _, err := Scenes(1, bad[0], bad[1], bad[2], 1); err == nil || !strings.Contains(err.Error(), "want 1 to 16384 pixels") {
			t.Errorf("size %v: error %v", bad, err)
		}
	}
	if _, err := Scenes(1<<20, 512, 512, 3, 1); err == nil || !strings.Contains(err.Error(), "--export FOLDER") {
		t.Errorf("more than memory: error %v", err)
	}
}

// A scene is the same at another resolution, and in grey: the mean of four pixels is near the pixel at half the size.
func TestScenesResolution(t *testing.T) {
	const side = 64
	large, err := Scenes(10, 2*side, 2*side, 3, 3)
	if err != nil {
		t.Fatal(err)
	}
	small, err := Scenes(10, side, side, 1, 3)
	if err != nil {
		t.Fatal(err)
	}
	for i := range small.Len() {
		sum := 0.0
		for y := range side {
			for x := range side {
				grey := 0.0
				for k := range 4 {
					p := large.Image(i)[((2*y+k/2)*2*side+2*x+k%2)*3:]
					grey += (0.299*float64(p[0]) + 0.587*float64(p[1]) + 0.114*float64(p[2])) / 4
				}
				sum += math.Abs(grey - float64(small.Image(i)[y*side+x]))
			}
		}
		// Grain of a period of a pixel, with up to 12 % of a level of up to 255, and edges, are all that differs.
		if mean := sum / side / side; mean > 8 {
			t.Errorf("picture %d differs by %.1f of 255 levels on average", i, mean)
		}
	}
}
