package picture

import (
	"image"
	"image/color"
	"image/png"
	"io"
)

// Image is an image of H by W pixels with C channels, 1 (grey) or 3 (RGB).
// Pix holds values in [0, 1], row after row with the channels of a pixel
// together.
type Image struct {
	H, W, C int
	Pix     []float32
}

// check panics if img is not an image.
func (img Image) check() {
	if img.C != 1 && img.C != 3 {
		panic("picture: channels must be 1 or 3")
	}
	if img.H < 1 || img.W < 1 {
		panic("picture: image dimension below 1")
	}
	if len(img.Pix) != img.H*img.W*img.C {
		panic("picture: pixels do not fill the image")
	}
}

// at returns the 8-bit colour of the pixel in column x and row y.
func (img Image) at(x, y int) color.RGBA {
	i := (y*img.W + x) * img.C
	r := to8(img.Pix[i])
	if img.C == 1 {
		return color.RGBA{r, r, r, 255}
	}
	return color.RGBA{r, to8(img.Pix[i+1]), to8(img.Pix[i+2]), 255}
}

// to8 rounds v in [0, 1] to one of 256 levels. What lies outside is clamped and
// NaN becomes 0.
func to8(v float32) uint8 {
	switch {
	case v >= 1:
		return 255
	case v > 0:
		return uint8(v*255 + 0.5)
	}
	return 0
}

// ToGoImage returns img with 8 bits a channel, clamped and rounded: an
// *image.Gray for one channel and an *image.RGBA for three. It panics if Pix
// does not hold H*W*C values or C is neither 1 nor 3.
func ToGoImage(img Image) image.Image {
	img.check()
	bounds := image.Rect(0, 0, img.W, img.H)
	if img.C == 1 {
		m := image.NewGray(bounds)
		for i, v := range img.Pix {
			m.Pix[i] = to8(v)
		}
		return m
	}
	m := image.NewRGBA(bounds)
	for y := range img.H {
		for x := range img.W {
			m.SetRGBA(x, y, img.at(x, y))
		}
	}
	return m
}

// FromGoImage returns m, of any colour model, with 1 or 3 channels. What is
// transparent lies on white, one channel is the Rec. 601 luma of [color.Gray16]
// before rounding, and 16-bit channels keep their precision.
func FromGoImage(m image.Image, channels int) Image {
	if channels != 1 && channels != 3 {
		panic("picture: channels must be 1 or 3")
	}
	b := m.Bounds()
	img := Image{H: b.Dy(), W: b.Dx(), C: channels}
	img.Pix = make([]float32, img.H*img.W*channels)
	at := pixels(m)
	for y := range img.H {
		row := img.Pix[y*img.W*channels:][:img.W*channels]
		for x := range img.W {
			// An alpha-premultiplied colour is the colour over black.
			c := at(b.Min.X+x, b.Min.Y+y)
			white := 0xffff - c.A
			store(row[x*channels:][:channels], color.RGBA64{c.R + white, c.G + white, c.B + white, 0xffff})
		}
	}
	return img
}

// store writes a colour to one or three channels.
func store(dst []float32, c color.RGBA64) {
	if len(dst) == 1 {
		dst[0] = luma(c)
		return
	}
	dst[0], dst[1], dst[2] = float32(c.R)/0xffff, float32(c.G)/0xffff, float32(c.B)/0xffff
}

// pixels returns the fastest way to read the pixels of m.
func pixels(m image.Image) func(x, y int) color.RGBA64 {
	if m, ok := m.(image.RGBA64Image); ok {
		return m.RGBA64At
	}
	return func(x, y int) color.RGBA64 {
		r, g, b, a := m.At(x, y).RGBA()
		return color.RGBA64{uint16(r), uint16(g), uint16(b), uint16(a)}
	}
}

// luma returns the luma of c with the weights of image/color, which add up to
// 1<<16.
func luma(c color.RGBA64) float32 {
	y := 19595*uint32(c.R) + 38470*uint32(c.G) + 7471*uint32(c.B)
	return float32(float64(y) / (0xffff << 16))
}

// EncodePNG writes img to w as a PNG with 8 bits a channel, clamped and rounded.
func EncodePNG(w io.Writer, img Image) error {
	return png.Encode(w, ToGoImage(img))
}
