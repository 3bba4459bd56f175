package picture

import (
	"image"
	"image/color"
	"image/draw"
	"strings"
	"sync"

	"golang.org/x/image/font"
	"golang.org/x/image/font/gofont/gomedium"
	"golang.org/x/image/font/gofont/goregular"
	"golang.org/x/image/font/opentype"
	"golang.org/x/image/math/fixed"
)

// The fonts are parsed when a sheet first needs them, not at start-up.
var (
	regular = sync.OnceValue(func() *opentype.Font { return parse(goregular.TTF) })
	medium  = sync.OnceValue(func() *opentype.Font { return parse(gomedium.TTF) })
)

// parse parses a font that is part of the program.
func parse(ttf []byte) *opentype.Font {
	f, err := opentype.Parse(ttf)
	if err != nil {
		panic(err)
	}
	return f
}

// textStyle draws lines of text in one size and colour.
type textStyle struct {
	face   font.Face
	colour color.Color
	height int // from one line to the next
}

// newTextStyle returns a style whose em is size pixels.
func newTextStyle(f *opentype.Font, size float64, colour color.Color) textStyle {
	face, err := opentype.NewFace(f, &opentype.FaceOptions{Size: size, DPI: 72, Hinting: font.HintingFull})
	if err != nil {
		panic(err)
	}
	return textStyle{face, colour, int(size*1.35 + 0.5)}
}

// width returns the width of a line in pixels.
func (s textStyle) width(line string) int {
	return font.MeasureString(s.face, line).Ceil()
}

// widest returns the width of the widest line in pixels.
func (s textStyle) widest(lines []string) (w int) {
	for _, line := range lines {
		w = max(w, s.width(line))
	}
	return w
}

// draw draws a line whose left edge is x, its capitals centred within the line
// of height s.height below y.
func (s textStyle) draw(m draw.Image, x, y int, line string) {
	capitals := s.face.Metrics().CapHeight.Round()
	d := font.Drawer{
		Dst:  m,
		Src:  image.NewUniform(s.colour),
		Face: s.face,
		Dot:  fixed.P(x, y+(s.height+capitals)/2),
	}
	d.DrawString(line)
}

// wrap breaks text between words into lines of at most width pixels, as far as
// the words allow.
func (s textStyle) wrap(text string, width int) []string {
	var lines []string
	for paragraph := range strings.Lines(text) {
		line := ""
		for word := range strings.FieldsSeq(paragraph) {
			switch longer := line + " " + word; {
			case line == "":
				line = word
			case s.width(longer) <= width:
				line = longer
			default:
				lines = append(lines, line)
				line = word
			}
		}
		lines = append(lines, line)
	}
	return lines
}
