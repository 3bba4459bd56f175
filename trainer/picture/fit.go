package picture

import (
	"errors"
	"fmt"
	"image"
	"math"
	"strconv"

	"golang.org/x/image/draw"
)

// A Fitting says how pictures of any size become samples of H rows, W columns
// and C channels, 1 (grey) or 3.
type Fitting struct {
	H, W, C int
	Resize  Resize
	Filter  Filter
}

// Resize says what a picture is resized to before a part of the sample's size is
// cut out of it: [Cover], [Native], or how many pixels its shorter side then
// has. A picture never becomes smaller than the part.
type Resize int

const (
	Cover  Resize = 0  // until it just covers the part
	Native Resize = -1 // not at all, unless it is smaller than the part
)

func (r Resize) String() string {
	switch r {
	case Cover:
		return "cover"
	case Native:
		return "none"
	}
	return strconv.Itoa(int(r))
}

// Set reads what String writes.
func (r *Resize) Set(text string) error {
	switch n, err := strconv.Atoi(text); {
	case text == "cover":
		*r = Cover
	case text == "none":
		*r = Native
	case err != nil || n < 1 || n > 1<<14:
		return fmt.Errorf("want cover, none, or the pixels of the shorter side, 1 to %d", 1<<14)
	default:
		*r = Resize(n)
	}
	return nil
}

// UnmarshalYAML reads what String writes.
func (r *Resize) UnmarshalYAML(unmarshal func(any) error) error {
	var text string
	if err := unmarshal(&text); err != nil {
		return err
	}
	return r.Set(text)
}

// MarshalYAML writes what String writes.
func (r Resize) MarshalYAML() (any, error) {
	if r > 0 {
		return int(r), nil
	}
	return r.String(), nil
}

// A Filter is how the pixels of a resized picture are made of those of the
// picture.
type Filter uint8

const (
	Cubic   Filter = iota // Catmull-Rom
	Area                  // the mean of the pixels under each, as INTER_AREA of OpenCV has it
	Lanczos               // with three lobes
)

var filters = [...]struct {
	name   string
	kernel *draw.Kernel
}{
	Cubic:   {"cubic", draw.CatmullRom},
	Area:    {"area", &draw.Kernel{Support: 0.5, At: func(float64) float64 { return 1 }}},
	Lanczos: {"lanczos", &draw.Kernel{Support: 3, At: func(t float64) float64 { return sinc(t) * sinc(t/3) }}},
}

func sinc(t float64) float64 {
	if t == 0 {
		return 1
	}
	return math.Sin(math.Pi*t) / (math.Pi * t)
}

func (f Filter) String() string { return filters[f].name }

// Set reads what String writes.
func (f *Filter) Set(text string) error {
	for i := range filters {
		if filters[i].name == text {
			*f = Filter(i)
			return nil
		}
	}
	return errors.New("want cubic, area or lanczos")
}

// UnmarshalYAML reads what String writes.
func (f *Filter) UnmarshalYAML(unmarshal func(any) error) error {
	var text string
	if err := unmarshal(&text); err != nil {
		return err
	}
	return f.Set(text)
}

// MarshalYAML writes what String writes.
func (f Filter) MarshalYAML() (any, error) { return f.String(), nil }

// A View says which part of a picture is looked at, and how.
type View struct {
	X, Y    float64 // where the part lies among its places in the picture, from 0 (left, top) up to 1, which is excluded
	Flip    bool    // left and right are swapped
	Upend   bool    // top and bottom are swapped
	Quarter int     // turns by 90 degrees, anticlockwise, 0 to 3
	Colours Colours
}

// Middle is the view of the middle of a picture as it is: of two middles that
// on the left, or above.
func Middle() View {
	before := math.Nextafter(0.5, 0)
	return View{X: before, Y: before, Colours: Colours{1, 1, 1, 0}}
}

// Fit returns a view of m as samples are: resized by the fitting's filter to
// what it says, and cut. What is transparent lies on white. dst takes H*W*C
// bytes, the channels of a pixel together.
func (f Fitting) Fit(dst []byte, m image.Image, v View) {
	h, w := f.extent(v.turned())
	f.Cut(dst, f.scale(m, f.part(m.Bounds(), h, w, v), h, w), v)
}

// Scaled returns what [Fitting.Cut] cuts views out of, turned by an odd number
// of quarters or not: the middle of m as it is resized, of the size of a view,
// or, whole, all of m in the same proportion.
func (f Fitting) Scaled(m image.Image, turned, whole bool) *image.RGBA {
	h, w := f.extent(turned)
	part := f.part(m.Bounds(), h, w, Middle())
	if whole {
		all, b := part.Size(), m.Bounds()
		part = b
		w = max(w, (b.Dx()*w+all.X/2)/all.X)
		h = max(h, (b.Dy()*h+all.Y/2)/all.Y)
	}
	return f.scale(m, part, h, w)
}

// Cut writes a view of a picture that [Fitting.Scaled] has made, at a whole
// pixel of it. The picture's pixels are lost.
func (f Fitting) Cut(dst []byte, m *image.RGBA, v View) {
	h, w := f.extent(v.turned())
	b := m.Bounds()
	if b.Dx() != w || b.Dy() != h {
		at := image.Pt(int(v.X*float64(b.Dx()-w+1)), int(v.Y*float64(b.Dy()-h+1)))
		m = f.scale(m, image.Rect(0, 0, w, h).Add(b.Min).Add(at), h, w)
	}
	v.Colours.change(m.Pix, f.C == 1)
	f.store(dst, m, v)
}

// turned reports whether rows of the view are columns of the picture.
func (v View) turned() bool { return v.Quarter%2 == 1 }

// extent returns the rows and columns of the picture that a view has.
func (f Fitting) extent(turned bool) (h, w int) {
	if turned {
		return f.W, f.H
	}
	return f.H, f.W
}

// scale returns a part of m as h rows and w columns, on white.
func (f Fitting) scale(m image.Image, part image.Rectangle, h, w int) *image.RGBA {
	to := image.NewRGBA(image.Rect(0, 0, w, h))
	draw.Draw(to, to.Bounds(), image.White, image.Point{}, draw.Src)
	if part.Size() == to.Bounds().Size() {
		draw.Draw(to, to.Bounds(), m, part.Min, draw.Over)
	} else {
		filters[f.Filter].kernel.Scale(to, to.Bounds(), m, part, draw.Over, nil)
	}
	return to
}

// part returns the pixels of a picture that become h rows and w columns.
func (f Fitting) part(b image.Rectangle, h, w int, v View) image.Rectangle {
	fromW, fromH := b.Dx(), b.Dy()
	short := min(fromW, fromH)
	switch {
	case f.Resize == Native && fromW >= w && fromH >= h:
		fromW, fromH = w, h
	case f.Resize > 0 && fromW*int(f.Resize) >= w*short && fromH*int(f.Resize) >= h*short:
		n := int(f.Resize)
		fromW, fromH = min(max((w*short+n/2)/n, 1), fromW), min(max((h*short+n/2)/n, 1), fromH)
	case fromW*h > fromH*w: // the part that has the proportions wanted
		fromW = max((fromH*w+h/2)/h, 1)
	default:
		fromH = max((fromW*h+w/2)/w, 1)
	}
	at := image.Pt(int(v.X*float64(b.Dx()-fromW+1)), int(v.Y*float64(b.Dy()-fromH+1)))
	return image.Rect(0, 0, fromW, fromH).Add(b.Min).Add(at)
}

// store writes a part, turned as the view says.
func (f Fitting) store(dst []byte, m *image.RGBA, v View) {
	w, h := m.Bounds().Dx(), m.Bounds().Dy()
	for y := range f.H {
		for x := range f.W {
			sx, sy := x, y
			if v.Flip {
				sx = f.W - 1 - x
			}
			if v.Upend {
				sy = f.H - 1 - y
			}
			switch v.Quarter % 4 {
			case 1:
				sx, sy = w-1-sy, sx
			case 2:
				sx, sy = w-1-sx, h-1-sy
			case 3:
				sx, sy = sy, h-1-sx
			}
			p := m.Pix[sy*m.Stride+4*sx:][:3]
			if f.C == 3 {
				copy(dst, p)
				dst = dst[3:]
			} else {
				dst[0] = grey(p)
				dst = dst[1:]
			}
		}
	}
}

// grey returns the luma of a pixel, rounded.
func grey(p []byte) byte {
	return byte((19595*uint32(p[0]) + 38470*uint32(p[1]) + 7471*uint32(p[2]) + 1<<15) >> 16)
}

// Fit returns the middle of m with w columns, h rows and 1 or 3 channels of 8
// bits, resized until it just covers that size.
func Fit(m image.Image, h, w, channels int) Image {
	f := Fitting{H: h, W: w, C: channels}
	pix := make([]byte, h*w*channels)
	f.Fit(pix, m, Middle())
	img := Image{H: h, W: w, C: channels, Pix: make([]float32, len(pix))}
	for i, v := range pix {
		img.Pix[i] = float32(v) / 255
	}
	return img
}
