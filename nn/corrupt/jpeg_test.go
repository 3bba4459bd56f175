package corrupt

import (
	"bytes"
	"image"
	"image/color"
	"image/jpeg"
	"math"
	"testing"

	"github.com/convae/convae/nn/rng"
)

// scene is an image with edges, a gradient and a texture, of levels of 255.
func scene(h, w, channels int) []float32 {
	x := make([]float32, h*w*channels)
	for i := range x {
		c, px, y := i%channels, i/channels%w, i/channels/w
		v := float64(90+2*px) + 30*math.Sin(float64(y*(c+1))/5)
		if (px-w/2)*(px-w/2)+(y-h/3)*(y-h/3) < h*h/16 {
			v = float64(47 + 71*c*c%157 + y)
		}
		x[i] = float32(math.Round(math.Min(math.Max(v, 0), 255))) / 255
	}
	return x
}

// file returns what a JPEG file of that quality makes of an image.
func file(t *testing.T, x []float32, h, w, channels, quality int) []float32 {
	t.Helper()
	var img interface {
		image.Image
		Set(x, y int, c color.Color)
	} = image.NewRGBA(image.Rect(0, 0, w, h))
	if channels == 1 {
		img = image.NewGray(image.Rect(0, 0, w, h))
	}
	level := func(i int) uint8 { return uint8(math.Round(float64(x[i] * 255))) }
	for y := range h {
		for px := range w {
			if i := (y*w + px) * channels; channels == 1 {
				img.Set(px, y, color.Gray{level(i)})
			} else {
				img.Set(px, y, color.RGBA{level(i), level(i + 1), level(i + 2), 255})
			}
		}
	}
	var data bytes.Buffer
	if err := jpeg.Encode(&data, img, &jpeg.Options{Quality: quality}); err != nil {
		t.Fatal(err)
	}
	back, err := jpeg.Decode(&data)
	if err != nil {
		t.Fatal(err)
	}
	out := make([]float32, len(x))
	for y := range h {
		for px := range w {
			r, g, b, _ := back.At(px, y).RGBA()
			for c, v := range []uint32{r, g, b}[:channels] {
				out[(y*w+px)*channels+c] = float32(v>>8) / 255
			}
		}
	}
	return out
}

// JPEG makes of an image what a file of that quality does, but for what rounding does to values that lie just between two.
func TestJPEGIsThatOfFiles(t *testing.T) {
	for _, s := range [][3]int{{48, 64, 3}, {33, 21, 3}, {40, 31, 1}, {5, 70, 3}} {
		h, w, channels := s[0], s[1], s[2]
		x := scene(h, w, channels)
		for _, quality := range []int{1, 10, 40, 50, 75, 95, 100} {
			got := make([]float32, len(x))
			Corruption{Kind: JPEG, Quality: [2]int{quality, quality}}.Sample(got, x, h, w, channels, rng.Source{}, 0, 0)
			want, changed := file(t, x, h, w, channels, quality), 0.0
			far, sum := 0, 0.0
			for i := range got {
				d := 255 * math.Abs(float64(got[i]-want[i]))
				sum += d
				changed += 255 * math.Abs(float64(want[i]-x[i]))
				if d > 4 {
					far++
				}
			}
			n := float64(len(x))
			if !(sum/n <= 0.6) || float64(far)/n > 0.02 {
				t.Errorf("%v of quality %d: off by %.3f levels, by more than 4 in %.2f %% of the values; a file changes them by %.3f", s, quality, sum/n, 100*float64(far)/n, changed/n)
			}
		}
	}
}

// The quality of a sample is drawn from all of a range, anew for each sample and epoch, and one sample's is the same each time.
func TestJPEGDraws(t *testing.T) {
	c, src := Corruption{Kind: JPEG, Quality: [2]int{30, 34}}, rng.Source{Seed: 3, Stream: 4}
	counts := map[quality]int{}
	for row := range uint32(1000) {
		if q := c.quality(src, row, 1); q != c.quality(src, row, 1) {
			t.Fatal("a sample has two qualities")
		} else {
			counts[q]++
		}
	}
	for q := quality(30); q <= 34; q++ {
		if counts[q] < 150 || counts[q] > 250 { // 200 with a standard deviation of 12.6
			t.Errorf("quality %d is drawn %d times of 1000", q, counts[q])
		}
	}
	if len(counts) != 5 {
		t.Errorf("qualities drawn: %v", counts)
	}
}
