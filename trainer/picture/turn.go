package picture

import (
	"image"
	"image/draw"
	"io"

	"github.com/bep/imagemeta"
)

// orientation returns the EXIF orientation of a file: 1, upright, if it has
// none, or one that cannot be read.
func (f *format) orientation(r io.ReadSeeker) int {
	if f.exif == imagemeta.ImageFormatAuto {
		return 1
	}
	if _, err := r.Seek(0, io.SeekStart); err != nil {
		return 1
	}
	found := 1
	wanted := func(t imagemeta.TagInfo) bool { return t.Tag == "Orientation" && t.Namespace == "IFD0" }
	_, err := imagemeta.Decode(imagemeta.Options{R: r, ImageFormat: f.exif, Sources: imagemeta.EXIF, ShouldHandleTag: wanted,
		HandleTag: func(t imagemeta.TagInfo) error {
			if v, ok := t.Value.(uint16); ok && wanted(t) {
				found = int(v)
				return imagemeta.ErrStopWalking
			}
			return nil
		}})
	if err != nil && found == 1 {
		return 1 // damaged metadata do not make the pixels unreadable
	}
	return found
}

// turns say for each EXIF orientation from which stored pixel a turned one
// comes: its coordinates are swapped and then mirrored.
var turns = [...]struct{ swap, mirrorX, mirrorY bool }{
	2: {mirrorX: true},
	3: {mirrorX: true, mirrorY: true},
	4: {mirrorY: true},
	5: {swap: true},
	6: {swap: true, mirrorY: true},
	7: {swap: true, mirrorX: true, mirrorY: true},
	8: {swap: true, mirrorX: true},
}

// turn returns m as a viewer shows it that has that EXIF orientation.
func turn(m image.Image, orientation int) image.Image {
	if orientation < 2 || orientation >= len(turns) {
		return m
	}
	from, ok := packedOf(m)
	if !ok {
		m = unpacked(m)
		from, _ = packedOf(m)
	}
	t, w, h := turns[orientation], m.Bounds().Dx(), m.Bounds().Dy()
	size := image.Rect(0, 0, w, h)
	if t.swap {
		size = image.Rect(0, 0, h, w)
	}
	turned := from.blank(size)
	to, _ := packedOf(turned)
	for y := range size.Dy() {
		for x := range size.Dx() {
			sx, sy := x, y
			if t.swap {
				sx, sy = y, x
			}
			if t.mirrorX {
				sx = w - 1 - sx
			}
			if t.mirrorY {
				sy = h - 1 - sy
			}
			copy(to.pixel(x, y), from.pixel(sx, sy))
		}
	}
	return turned
}

// unpacked returns a copy of m, of any type, that packedOf takes.
func unpacked(m image.Image) image.Image {
	var to draw.Image = image.NewNRGBA(m.Bounds())
	if isOpaque(m) {
		to = image.NewRGBA(m.Bounds())
	}
	draw.Draw(to, m.Bounds(), m, m.Bounds().Min, draw.Src)
	return to
}

// isOpaque reports whether m is known to have no transparent pixel.
func isOpaque(m image.Image) bool {
	o, ok := m.(interface{ Opaque() bool })
	return ok && o.Opaque()
}

// packed is an image whose pixels have whole bytes, those of a pixel together.
type packed struct {
	pix          []byte
	stride, size int
	blank        func(image.Rectangle) image.Image // an image of the same type
}

func (p packed) pixel(x, y int) []byte { return p.pix[y*p.stride+x*p.size:][:p.size] }

// packedOf returns the pixels of m, and whether it has such.
func packedOf(m image.Image) (packed, bool) {
	switch m := m.(type) {
	case *image.Gray:
		return packed{m.Pix, m.Stride, 1, func(r image.Rectangle) image.Image { return image.NewGray(r) }}, true
	case *image.Gray16:
		return packed{m.Pix, m.Stride, 2, func(r image.Rectangle) image.Image { return image.NewGray16(r) }}, true
	case *image.RGBA:
		return packed{m.Pix, m.Stride, 4, func(r image.Rectangle) image.Image { return image.NewRGBA(r) }}, true
	case *image.NRGBA:
		return packed{m.Pix, m.Stride, 4, func(r image.Rectangle) image.Image { return image.NewNRGBA(r) }}, true
	case *image.RGBA64:
		return packed{m.Pix, m.Stride, 8, func(r image.Rectangle) image.Image { return image.NewRGBA64(r) }}, true
	case *image.NRGBA64:
		return packed{m.Pix, m.Stride, 8, func(r image.Rectangle) image.Image { return image.NewNRGBA64(r) }}, true
	case *image.CMYK:
		return packed{m.Pix, m.Stride, 4, func(r image.Rectangle) image.Image { return image.NewCMYK(r) }}, true
	case *image.Paletted:
		return packed{m.Pix, m.Stride, 1, func(r image.Rectangle) image.Image { return image.NewPaletted(r, m.Palette) }}, true
	}
	return packed{}, false
}
