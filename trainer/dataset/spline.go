package dataset

import "math"

type point struct{ x, y float64 }

func (p point) add(q point) point             { return point{p.x + q.x, p.y + q.y} }
func (p point) sub(q point) point             { return point{p.x - q.x, p.y - q.y} }
func (p point) scale(f float64) point         { return point{mul(p.x, f), mul(p.y, f)} }
func (p point) dot(q point) float64           { return mul(p.x, q.x) + mul(p.y, q.y) }
func (p point) length() float64               { return math.Sqrt(p.dot(p)) }
func (p point) lerp(q point, t float64) point { return p.add(q.sub(p).scale(t)) }

// splinePieces is the number of straight pieces drawn from knot to knot.
const splinePieces = 6

// A dab is a round spot of the pen: where it is, its radius, and how bright
// it is from 0 to 1. A line of dabs, joined up, is a drawn stroke.
type dab struct {
	point
	radius, ink float64
}

// trace returns the line of dabs along the smooth curve through knots, one
// that is sharp where two knots in a row are at the same place. The curve
// consists of cubic Béziers, with the pen changing evenly along each.
func trace(knots []dab) []dab {
	line := make([]dab, 0, splinePieces*len(knots)+1)
	for len(knots) > 0 {
		end := 1
		for end < len(knots) && knots[end].point != knots[end-1].point {
			end++
		}
		line = traceSmooth(line, knots[:end])
		knots = knots[end:]
	}
	return line
}

// traceSmooth appends the curve through knots, which has no corners.
func traceSmooth(line, knots []dab) []dab {
	line = append(line, knots[0])
	velocity := velocities(knots)
	for i := 1; i < len(knots); i++ {
		a, b := knots[i-1], knots[i]
		third := b.sub(a.point).length() / 3
		c0 := a.add(velocity[i-1].scale(third))
		c1 := b.sub(velocity[i].scale(third))
		for j := 1; j <= splinePieces; j++ {
			t := float64(j) / splinePieces
			line = append(line, dab{
				bezier(a.point, c0, c1, b.point, t),
				a.radius + mul(b.radius-a.radius, t),
				a.ink + mul(b.ink-a.ink, t),
			})
		}
	}
	return line
}

// velocities returns the derivative of the curve at each knot, per unit of
// chord length: that of the parabola through the knot and its neighbours.
func velocities(knots []dab) []point {
	v := make([]point, len(knots))
	last := len(knots) - 1
	if last < 1 {
		return v
	}
	for i := range v {
		k := min(max(i, 1), max(last-1, 1)) // the middle of the parabola
		before := knots[k].sub(knots[k-1].point)
		if last == 1 {
			v[i] = before.scale(1 / before.length())
			continue
		}
		after := knots[k+1].sub(knots[k].point)
		d0, d1 := before.length(), after.length()
		v0, v1 := before.scale(1/d0), after.scale(1/d1)
		middle := v0.scale(d1).add(v1.scale(d0)).scale(1 / (d0 + d1))
		switch {
		case i < k:
			v[i] = v0.scale(2).sub(middle)
		case i > k:
			v[i] = v1.scale(2).sub(middle)
		default:
			v[i] = middle
		}
	}
	return v
}

// bezier returns the point at t of a cubic Bézier curve (de Casteljau).
func bezier(a, b, c, d point, t float64) point {
	ab, bc, cd := a.lerp(b, t), b.lerp(c, t), c.lerp(d, t)
	return ab.lerp(bc, t).lerp(bc.lerp(cd, t), t)
}
