package picture

import (
	"image"

	"golang.org/x/image/draw"
)

// Fit returns m with w columns, h rows and 1 or 3 channels of 8 bits: it is
// resized until it just covers that size, and its middle is cut out. What is
// transparent lies on white.
func Fit(m image.Image, h, w, channels int) Image {
	// The part of the picture that has the proportions wanted.
	b := m.Bounds()
	fromW, fromH := b.Dx(), b.Dy()
	if fromW*h > fromH*w {
		fromW = max((fromH*w+h/2)/h, 1)
	} else {
		fromH = max((fromW*h+w/2)/w, 1)
	}
	from := image.Rect(0, 0, fromW, fromH).Add(b.Min).Add(image.Pt((b.Dx()-fromW)/2, (b.Dy()-fromH)/2))
	to := image.NewRGBA(image.Rect(0, 0, w, h))
	draw.Draw(to, to.Bounds(), image.White, image.Point{}, draw.Src)
	if from.Size() == to.Bounds().Size() {
		draw.Draw(to, to.Bounds(), m, from.Min, draw.Over)
	} else {
		draw.CatmullRom.Scale(to, to.Bounds(), m, from, draw.Over, nil)
	}
	return FromGoImage(to, channels)
}
