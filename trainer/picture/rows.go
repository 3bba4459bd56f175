package picture

import (
	"image"
	"image/color"
	"image/png"
	"io"
)

// Rows is a decoded picture of H by W pixels that is read row by row, so that
// no second copy of it is in memory, with C channels, 1 (grey) or 3 (RGB).
type Rows struct {
	H, W, C int
	m       image.Image
	alpha   bool
}

// NewRows returns the rows of m with 1 or 3 channels.
func NewRows(m image.Image, channels int) *Rows {
	if channels != 1 && channels != 3 {
		panic("picture: channels must be 1 or 3")
	}
	b := m.Bounds()
	return &Rows{H: b.Dy(), W: b.Dx(), C: channels, m: m, alpha: !isOpaque(m)}
}

// Alpha reports whether pixels may be transparent.
func (r *Rows) Alpha() bool { return r.alpha }

// Read fills dst with the W*C values of row y, in [0,1]. The colours are not
// multiplied by alpha; those of pixels that cannot be seen at all are black.
func (r *Rows) Read(dst []float32, y int) {
	b := r.m.Bounds()
	if r.alpha {
		for x := range r.W {
			c := straight(r.m.At(b.Min.X+x, b.Min.Y+y))
			store(dst[x*r.C:][:r.C], color.RGBA64{c.R, c.G, c.B, 0xffff})
		}
		return
	}
	at := pixels(r.m)
	for x := range r.W {
		store(dst[x*r.C:][:r.C], at(b.Min.X+x, b.Min.Y+y))
	}
}

// straight returns a colour that is not multiplied by alpha.
func straight(c color.Color) color.NRGBA64 {
	if c, ok := c.(color.NRGBA); ok { // without the rounding of a detour
		return color.NRGBA64{uint16(c.R) * 0x101, uint16(c.G) * 0x101, uint16(c.B) * 0x101, uint16(c.A) * 0x101}
	}
	return color.NRGBA64Model.Convert(c).(color.NRGBA64)
}

// IsGrey reports whether all pixels of m are grey.
func IsGrey(m image.Image) bool {
	switch m.ColorModel() {
	case color.GrayModel, color.Gray16Model:
		return true
	}
	b, at := m.Bounds(), pixels(m)
	for y := b.Min.Y; y < b.Max.Y; y++ {
		for x := b.Min.X; x < b.Max.X; x++ {
			if c := at(x, y); c.R != c.G || c.R != c.B {
				return false
			}
		}
	}
	return true
}

// EncodePNG writes a PNG of the size, the channels and the bits a channel of r,
// with r's alpha if it has any. next gives its rows, W*C values each, from the
// first to the last; what lies outside [0,1] is clamped. Its errors are
// returned.
func (r *Rows) EncodePNG(w io.Writer, next func() ([]float32, error)) error {
	m := &rowImage{Rows: r, next: next, y: -1, deep: pixelBits(r.m.ColorModel()) == 16}
	if err := png.Encode(stopper{w, m}, m); m.err == nil {
		return err
	}
	return m.err
}

// pixelBits returns the bits of a channel, 8 or 16.
func pixelBits(m color.Model) int {
	switch m {
	case color.Gray16Model, color.RGBA64Model, color.NRGBA64Model:
		return 16
	}
	return 8
}

// rowImage is the image that an encoder reads from the first row to the last.
type rowImage struct {
	*Rows
	next func() ([]float32, error)
	y    int       // of row, -1 before the first
	row  []float32 // W*C values
	deep bool
	err  error
}

func (m *rowImage) Bounds() image.Rectangle { return image.Rect(0, 0, m.W, m.H) }

// Opaque keeps the encoder from looking at all pixels before the first row.
func (m *rowImage) Opaque() bool { return !m.alpha }

func (m *rowImage) ColorModel() color.Model {
	switch grey := m.C == 1 && !m.alpha; {
	case grey && m.deep:
		return color.Gray16Model
	case grey:
		return color.GrayModel
	case m.deep:
		return color.NRGBA64Model
	}
	return color.NRGBAModel
}

func (m *rowImage) At(x, y int) color.Color {
	for ; m.y < y && m.err == nil; m.y++ {
		m.row, m.err = m.next()
	}
	if m.err != nil {
		return color.NRGBA{}
	}
	v := m.row[x*m.C:][:m.C]
	if m.C == 1 && !m.alpha {
		if m.deep {
			return color.Gray16{to16(v[0])}
		}
		return color.Gray{to8(v[0])}
	}
	alpha := uint16(0xffff)
	if m.alpha {
		b := m.m.Bounds()
		alpha = straight(m.m.At(b.Min.X+x, b.Min.Y+y)).A
	}
	red, green, blue := v[0], v[m.C/2], v[m.C-1]
	if m.deep {
		return color.NRGBA64{to16(red), to16(green), to16(blue), alpha}
	}
	return color.NRGBA{to8(red), to8(green), to8(blue), uint8(alpha >> 8)}
}

// to16 is to8 with 65536 levels.
func to16(v float32) uint16 {
	switch {
	case v >= 1:
		return 0xffff
	case v > 0:
		return uint16(float64(v)*0xffff + 0.5)
	}
	return 0
}

// stopper ends an encoding when the image has failed.
type stopper struct {
	io.Writer
	m *rowImage
}

func (s stopper) Write(p []byte) (int, error) {
	if s.m.err != nil {
		return 0, s.m.err
	}
	return s.Writer.Write(p)
}
