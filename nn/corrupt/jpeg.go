package corrupt

import (
	"math"

	"github.com/convae/convae/nn/rng"
)

// jpeg does to a sample what a baseline JPEG file of it loses: colours become luminance and chrominance, of which a pixel of a square of four has the mean,
// and blocks of 8 by 8 of these are rounded in the cosine transform, by the tables of the standard's annex K and the scale for a quality that the
// Independent JPEG Group gave them. (ITU-T T.81; JFIF for the colours.) What a file does besides loses nothing.
//
// A pixel is rounded to 0 to 255 first. What lies beyond the image in its last blocks is the nearest pixel of it. Colours are sums of whole numbers of
// thousandths, so that they round alike in any arithmetic.
func (c Corruption) jpeg(dst, x []float32, h, w, channels int, src rng.Source, row, draw uint32) {
	steps := c.quality(src, row, draw).steps()
	var t jpegTile
	for top := 0; top < h; top += 2 * 8 {
		for left := 0; left < w; left += 2 * 8 {
			for i := range t.luma {
				y, px := i/16, i%16
				t.set(i, x[(min(top+y, h-1)*w+min(left+px, w-1))*channels:][:channels])
			}
			t.average()
			for b := range 4 {
				requantize(block{t.luma[:], b/2*8*16 + b%2*8, 16}, &steps[0], -128, 127)
			}
			for k := range t.chroma {
				requantize(block{t.chroma[k][:], 0, 8}, &steps[1], -128, 127)
			}
			for i := range t.luma {
				if y, px := top+i/16, left+i%16; y < h && px < w {
					t.get(i, dst[(y*w+px)*channels:][:channels])
				}
			}
		}
	}
}

// quality is that of a JPEG file, 1 to 100.
type quality int

// quality draws that of a sample.
func (c Corruption) quality(src rng.Source, row, draw uint32) quality {
	count := c.Quality[1] - c.Quality[0] + 1
	u := src.Uniforms(0, row, draw)[0]
	return quality(c.Quality[0] + min(int(float32(u*float32(count))), count-1))
}

// steps returns the steps that the cosines of luminance and of chrominance are rounded to, by row and column.
func (q quality) steps() (steps [2][64]float32) {
	scale := 200 - 2*int(q)
	if q < 50 {
		scale = 5000 / int(q)
	}
	for k := range steps {
		for i, base := range jpegSteps[k] {
			steps[k][i] = float32(min(max((int(base)*scale+50)/100, 1), 255))
		}
	}
	return steps
}

// jpegSteps are those of quality 50, of luminance and of chrominance.
var jpegSteps = [2][64]uint8{
	{16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55, 14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51, 87, 80, 62,
		18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92, 49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99},
	{17, 18, 24, 47, 99, 99, 99, 99, 18, 21, 26, 66, 99, 99, 99, 99, 24, 26, 56, 99, 99, 99, 99, 99, 47, 66, 99, 99, 99, 99, 99, 99,
		99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99},
}

// jpegTile is 16 by 16 pixels: their luminance less 128, the chrominances of each, and their means.
type jpegTile struct {
	luma   [256]float32
	fine   [2][256]float32
	chroma [2][64]float32
}

// set makes luminance and chrominances of pixel i, of one or three channels.
func (t *jpegTile) set(i int, pixel []float32) {
	level := func(v float32) float32 { return floor(float32(min(max(v, 0), 1)*255) + 0.5) }
	if len(pixel) == 1 {
		t.luma[i] = level(pixel[0]) - 128
		return
	}
	r, g, b := level(pixel[0]), level(pixel[1]), level(pixel[2])
	t.luma[i] = thousandths(299*r+587*g+114*b) - 128
	t.fine[0][i] = thousandths(-169*r - 331*g + 500*b)
	t.fine[1][i] = thousandths(500*r - 419*g - 81*b)
}

// average makes the chrominances of squares of four pixels.
func (t *jpegTile) average() {
	for k := range t.chroma {
		for i := range t.chroma[k] {
			f := t.fine[k][i/8*32+i%8*2:]
			t.chroma[k][i] = floor((f[0]+f[1]+f[16]+f[17])*0.25 + 0.5)
		}
	}
}

// get writes pixel i.
func (t *jpegTile) get(i int, pixel []float32) {
	value := func(v float32) float32 { return min(max(v, 0), 255) / 255 }
	y := t.luma[i] + 128
	if len(pixel) == 1 {
		pixel[0] = value(y)
		return
	}
	at := i/32*8 + i%16/2
	cb, cr := t.chroma[0][at], t.chroma[1][at]
	pixel[0] = value(thousandths(1000*y + 1402*cr))
	pixel[1] = value(thousandths(1000*y - 344*cb - 714*cr))
	pixel[2] = value(thousandths(1000*y + 1772*cb))
}

// thousandths rounds so many of them to a whole number.
func thousandths(v float32) float32 { return floor((v + 500) / 1000) }

func floor(v float32) float32 { return float32(math.Floor(float64(v))) }

// block is 8 by 8 values from at on, of rows that are stride apart.
type block struct {
	values     []float32
	at, stride int
}

func (b block) of(y, x int) *float32 { return &b.values[b.at+y*b.stride+x] }

// cosines are those of the transform: of frequency u at place x.
var cosines = func() (c [8][8]float32) {
	for u := range c {
		for x := range c[u] {
			c[u][x] = float32(math.Cos(float64((2*x+1)*u) * math.Pi / 16))
		}
	}
	return c
}()

// weight is what the sum of a pair of frequencies is to be multiplied by, either way.
func weight(v, u int) float32 {
	switch {
	case u == 0 && v == 0:
		return 0.125
	case u == 0 || v == 0:
		return 0.17677669
	}
	return 0.25
}

// requantize transforms a block, rounds what it becomes to multiples of the steps, and transforms it back to whole numbers from lowest to highest.
func requantize(b block, steps *[64]float32, lowest, highest float32) {
	var t, f [8][8]float32
	for y := range 8 {
		for u := range 8 {
			sum := float32(0)
			for x := range 8 {
				sum += float32(*b.of(y, x) * cosines[u][x])
			}
			t[y][u] = sum
		}
	}
	for v := range 8 {
		for u := range 8 {
			sum := float32(0)
			for y := range 8 {
				sum += float32(t[y][u] * cosines[v][y])
			}
			level := floor(float32(sum*weight(v, u))/steps[8*v+u] + 0.5)
			f[v][u] = float32(float32(level*steps[8*v+u]) * weight(v, u))
		}
	}
	for y := range 8 {
		for u := range 8 {
			sum := float32(0)
			for v := range 8 {
				sum += float32(f[v][u] * cosines[v][y])
			}
			t[y][u] = sum
		}
	}
	for y := range 8 {
		for x := range 8 {
			sum := float32(0)
			for u := range 8 {
				sum += float32(t[y][u] * cosines[u][x])
			}
			*b.of(y, x) = min(max(floor(sum+0.5), lowest), highest)
		}
	}
}
