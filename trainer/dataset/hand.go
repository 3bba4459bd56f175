package dataset

// The hand's variety; deviations are in units of half a glyph's height.
const (
	wobble   = 0.06 // of each knot on its own
	bend     = 0.10 // of the whole glyph, smoothly
	pressure = 0.12 // of the pen's radius from knot to knot, relative
	grain    = 0.08 // of the pen's radius from dab to dab, relative
)

// drawDigit draws digit into img, digitSide×digitSide pixels that are black.
func drawDigit(img []uint8, digit int, d dice) {
	g := pickGlyph(digit, d)
	radius := penRadius(d)
	w := newWarp(d)
	lines := make([][]dab, len(g.strokes))
	for i, s := range g.strokes {
		lines[i] = trace(write(s, w, radius, d))
		for j := range lines[i] {
			lines[i][j].radius = mul(lines[i][j].radius, 1+d.normal(grain))
		}
	}
	fit(lines, d)
	rasterize(img, lines)
}

// penRadius returns half the width of a pen in pixels: mostly near the mean,
// now and then a broad one.
func penRadius(d dice) float64 {
	u := d.uniform()
	return 0.82 + mul(0.5, d.uniform()) + mul(u, mul(u, u))
}

// write returns the knots of s as a hand of warp w puts them down.
func write(s stroke, w warp, radius float64, d dice) []dab {
	knots := make([]dab, len(s))
	for i, p := range s {
		if i > 0 && p == s[i-1] { // a corner stays one
			knots[i] = knots[i-1]
			continue
		}
		p = p.sub(point{50, 50}).scale(1. / 50)
		p = w.at(p).add(point{d.normal(wobble), d.normal(wobble)})
		force := 1 + d.normal(pressure)
		if i == 0 || i == len(s)-1 {
			force = mul(force, 0.92) // the pen is just landing or taking off
		}
		knots[i] = dab{p, mul(radius, force), min(1, 1.05-mul(0.14, d.uniform()))}
	}
	return knots
}

// A warp moves the points of a glyph in the same way for all its strokes: a
// smooth bend, then a linear map.
type warp struct {
	bend           [6]float64
	xx, xy, yx, yy float64
}

func newWarp(d dice) warp {
	var w warp
	for i := range w.bend {
		w.bend[i] = d.normal(bend)
	}
	width, slant := 1.05+d.normal(0.17), 0.16+d.normal(0.2)
	// A rotation given by the tangent of half its angle needs no sine.
	t := d.normal(0.05)
	norm := 1 + mul(t, t)
	cos, sin := (1-mul(t, t))/norm, mul(2, t)/norm
	w.xx, w.xy = mul(cos, width), -mul(cos, slant)-sin
	w.yx, w.yy = mul(sin, width), cos-mul(sin, slant)
	return w
}

func (w warp) at(p point) point {
	x2, xy, y2 := mul(p.x, p.x), mul(p.x, p.y), mul(p.y, p.y)
	p = p.add(point{
		mul(w.bend[0], x2) + mul(w.bend[1], xy) + mul(w.bend[2], y2),
		mul(w.bend[3], x2) + mul(w.bend[4], xy) + mul(w.bend[5], y2),
	})
	return point{
		mul(w.xx, p.x) + mul(w.xy, p.y),
		mul(w.yx, p.x) + mul(w.yy, p.y),
	}
}
