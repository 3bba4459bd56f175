package picture

import "math"

// Colours change the colours of a picture in this order, as torchvision's
// ColorJitter does with factors that it has drawn.
type Colours struct {
	Brightness float64 // by which all values are multiplied: 1 changes nothing
	Contrast   float64 // the share of the picture beside its mean grey: 1 changes nothing
	Saturation float64 // the share of the picture beside itself in grey: 1 changes nothing
	Hue        float64 // turns of the colour circle by which hues are shifted, -0.5 to 0.5: 0 changes nothing
}

// change changes opaque RGBA pixels. Grey ones have neither saturation nor hue.
func (c Colours) change(pix []byte, isGrey bool) {
	if c.Brightness != 1 {
		each(pix, func(p []byte) {
			for i, v := range p {
				p[i] = round8(float64(v) * c.Brightness)
			}
		})
	}
	if c.Contrast != 1 {
		sum := 0
		each(pix, func(p []byte) { sum += int(grey(p)) })
		mean := math.Round(float64(sum) / float64(len(pix)/4))
		each(pix, func(p []byte) {
			for i, v := range p {
				p[i] = round8(mean + c.Contrast*(float64(v)-mean))
			}
		})
	}
	if isGrey {
		return
	}
	if c.Saturation != 1 {
		each(pix, func(p []byte) {
			g := float64(grey(p))
			for i, v := range p {
				p[i] = round8(g + c.Saturation*(float64(v)-g))
			}
		})
	}
	if c.Hue != 0 {
		each(pix, func(p []byte) { shiftHue(p, c.Hue) })
	}
}

// each calls f with the red, green and blue of every pixel.
func each(pix []byte, f func(p []byte)) {
	for ; len(pix) > 0; pix = pix[4:] {
		f(pix[:3:3])
	}
}

func round8(v float64) byte { return byte(min(max(v, 0), 255) + 0.5) }

// shiftHue turns the hue of a colour (A. R. Smith, "Color gamut transform pairs",
// SIGGRAPH 1978), and leaves its value and saturation.
func shiftHue(p []byte, turns float64) {
	r, g, b := float64(p[0]), float64(p[1]), float64(p[2])
	top, bottom := max(r, g, b), min(r, g, b)
	span := top - bottom
	if span == 0 {
		return
	}
	var sixths float64
	switch top {
	case r:
		sixths = (g - b) / span
	case g:
		sixths = 2 + (b-r)/span
	default:
		sixths = 4 + (r-g)/span
	}
	sixths = math.Mod(sixths+6*turns+12, 6)
	for i, offset := range [...]float64{5, 3, 1} {
		k := math.Mod(offset+sixths, 6)
		p[i] = round8(top - span*min(max(min(k, 4-k), 0), 1))
	}
}
