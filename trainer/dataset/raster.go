package dataset

import "math"

const (
	digitBox    = 20.0 // pixels, the side of the square a digit is fitted to
	digitMargin = 2.0  // pixels at each edge of the image that stay black
	softness    = 1.1  // pixels over which the edge of a stroke fades
)

// fit scales the lines to fill digitBox, whichever of height and width is the
// greater, and moves them so that the middle of the image is near their centre
// of mass, as in MNIST. The pen's radius is in pixels and stays what it is.
func fit(lines [][]dab, d dice) {
	var broadest float64
	for _, line := range lines {
		for _, b := range line {
			broadest = max(broadest, b.radius)
		}
	}

	lo, hi, _ := extent(lines)
	size := hi.sub(lo)
	factor := mul(digitBox-mul(2, broadest), d.between(0.95, 1.05)) / max(size.x, size.y)
	for _, line := range lines {
		for i := range line {
			line[i].point = line[i].scale(factor)
		}
	}

	lo, hi, centre := extent(lines)
	shift := point{digitSide / 2, digitSide / 2}.sub(centre)
	shift = shift.add(point{d.between(-0.5, 0.5), d.between(-0.5, 0.5)})
	reach := digitMargin + broadest + softness/2
	shift.x = min(max(shift.x, reach-lo.x), digitSide-reach-hi.x)
	shift.y = min(max(shift.y, reach-lo.y), digitSide-reach-hi.y)
	for _, line := range lines {
		for i := range line {
			line[i].point = line[i].add(shift)
		}
	}
}

// extent returns the corners of the box around the lines, and their centre of
// mass: that of their pieces, weighing each by length and radius.
func extent(lines [][]dab) (lo, hi, centre point) {
	lo = point{math.Inf(1), math.Inf(1)}
	hi = point{math.Inf(-1), math.Inf(-1)}
	var mass float64
	for _, line := range lines {
		for i, b := range line {
			lo = point{min(lo.x, b.x), min(lo.y, b.y)}
			hi = point{max(hi.x, b.x), max(hi.y, b.y)}
			if i == 0 {
				continue
			}
			a := line[i-1]
			m := mul(b.sub(a.point).length(), a.radius+b.radius)
			centre = centre.add(a.lerp(b.point, 0.5).scale(m))
			mass += m
		}
	}
	return lo, hi, centre.scale(1 / mass)
}

// rasterize draws the lines into img, digitSide×digitSide pixels that are
// black. A pixel is as bright as the brightest piece of a line makes it.
func rasterize(img []uint8, lines [][]dab) {
	for _, line := range lines {
		for i := 1; i < len(line); i++ {
			rasterizePiece(img, line[i-1], line[i])
		}
	}
}

// rasterizePiece draws the straight piece from a to b.
func rasterizePiece(img []uint8, a, b dab) {
	reach := max(a.radius, b.radius) + softness/2
	x0, x1 := pixelRange(min(a.x, b.x)-reach, max(a.x, b.x)+reach)
	y0, y1 := pixelRange(min(a.y, b.y)-reach, max(a.y, b.y)+reach)
	ab := b.sub(a.point)
	inverse := 1 / max(ab.dot(ab), 1e-12)
	for y := y0; y < y1; y++ {
		for x := x0; x < x1; x++ {
			ap := point{float64(x) + 0.5, float64(y) + 0.5}.sub(a.point)
			t := min(max(mul(ap.dot(ab), inverse), 0), 1) // where b.a is nearest
			off := ap.sub(ab.scale(t))
			square := off.dot(off)
			if square >= mul(reach, reach) {
				continue
			}
			radius := a.radius + mul(b.radius-a.radius, t)
			cover := min(max((radius-math.Sqrt(square))/softness+0.5, 0), 1)
			cover = mul(mul(cover, cover), 3-mul(2, cover))
			ink := a.ink + mul(b.ink-a.ink, t)
			value := uint8(mul(mul(cover, ink), 255) + 0.5)
			at := &img[y*digitSide+x]
			*at = max(*at, value)
		}
	}
}

// pixelRange returns the pixels whose middles are between lo and hi, those in
// the image.
func pixelRange(lo, hi float64) (first, end int) {
	return int(min(max(math.Ceil(lo-0.5), 0), digitSide)), int(min(max(math.Floor(hi-0.5)+1, 0), digitSide))
}
