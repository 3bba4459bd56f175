package dataset

import (
	"fmt"
	"math"
)

// Scenes draws n coloured pictures of h rows and w columns, with 3 channels, or 1
// for the same in grey: a ground under a sky with things before it, all of them
// shaded and textured with stripes, checks, spots and grain, so that there are
// edges, slopes, and patterns of many sizes to learn. Sizes are shares of the
// shorter side, so a scene is the same at any resolution.
//
// Picture i depends on seed and i alone, bit for bit and on every architecture.
// It is an error if the pictures would take more than 1 GiB.
func Scenes(n, h, w, c int, seed uint64) (*Set, error) {
	if h < 1 || w < 1 || h > 1<<14 || w > 1<<14 || c != 1 && c != 3 {
		return nil, fmt.Errorf("dataset scenes: size is %d×%d with %d channels, want 1 to %d pixels and 1 or 3 channels", h, w, c, 1<<14)
	}
	s := &Set{Name: "scenes", H: h, W: w, C: c}
	if n = max(n, 0); n > imagesInMemory/s.Size() {
		return nil, fmt.Errorf("dataset scenes: %d pictures of %d×%d×%d pixels take %.1f GB, want at most %.1f: fewer, smaller ones, or a folder of them (convae data scenes --export FOLDER)",
			n, h, w, c, float64(n)*float64(s.Size())/1e9, float64(imagesInMemory)/1e9)
	}
	s.Pixels = make([]uint8, n*s.Size())
	eachOf(n, func(i int) { newScene(newDice(seed, uint64(i))).draw(s.Image(i), h, w, c) })
	return s, nil
}

// colour has red, green and blue in [0, 1].
type colour [3]float64

// mix returns a where t is 0 and b where it is 1.
func (a colour) mix(b colour, t float64) (m colour) {
	for i := range m {
		m[i] = a[i] + mul(b[i]-a[i], t)
	}
	return m
}

func (a colour) scale(by float64) (m colour) {
	for i := range m {
		m[i] = mul(a[i], by)
	}
	return m
}

// scene is what a picture shows.
type scene struct {
	sky, ground surface
	horizon     float64 // share of the picture above the ground
	tilt        float64 // by which the horizon falls to the right
	things      []thing
	light       point // points to where it is brighter
}

// thing is an ellipse, a box, or a ring of either, turned about its middle.
type thing struct {
	surface
	middle, axis point // axis has length 1
	a, b         float64
	box          bool
	hole         float64 // share that is cut out of the middle, 0 for none
}

// surface is two colours in a pattern with grain over it.
type surface struct {
	first, second colour
	pattern       int
	along         point // of length: the inverse of the pattern's period
	shift, grain  float64
	seed          uint64
}

// The patterns.
const (
	plain = iota
	slope
	stripes
	checks
	spots
	clouds
	patterns
)

func newScene(d dice) *scene {
	s := &scene{horizon: d.between(0.3, 0.8), tilt: d.between(-0.15, 0.15), light: d.direction().scale(d.between(0, 0.35))}
	s.sky, s.ground = newSurface(d, d.intn(2)*clouds), newSurface(d, d.intn(patterns))
	for range 3 + d.intn(6) {
		t := thing{surface: newSurface(d, d.intn(patterns)), middle: point{d.between(0, 1), d.between(0.1, 1)}, axis: d.direction(), box: d.intn(2) == 0}
		t.a = d.between(0.06, 0.3)
		t.b = mul(t.a, d.between(0.4, 1))
		if d.intn(4) == 0 {
			t.hole = d.between(0.4, 0.8)
		}
		s.things = append(s.things, t)
	}
	return s
}

func newSurface(d dice, pattern int) surface {
	s := surface{pattern: pattern, shift: d.between(0, 9), grain: d.between(0, 0.12), seed: d.pcg.Uint64()}
	for i := range s.first {
		s.first[i] = d.between(0.05, 0.95)
		s.second[i] = min(max(s.first[i]+d.between(-0.5, 0.5), 0), 1)
	}
	s.along = d.direction().scale(d.between(3, 22))
	if pattern == slope {
		s.along = s.along.scale(0.08)
	}
	return s
}

// direction returns a point at distance 1 from the origin.
func (d dice) direction() point {
	for {
		p := point{d.between(-1, 1), d.between(-1, 1)}
		if n := p.length(); n > 0.1 && n <= 1 {
			return p.scale(1 / n)
		}
	}
}

// draw draws the scene.
func (s *scene) draw(dst []uint8, h, w, c int) {
	side := float64(min(h, w))
	soft := 1 / side // edges fade over a pixel
	for y := range h {
		for x := range w {
			// The shorter side goes from 0 to 1, the middle of the longer one is at 0.5.
			p := point{(float64(x)+0.5-mul(0.5, float64(w)))/side + 0.5, (float64(y)+0.5-mul(0.5, float64(h)))/side + 0.5}
			v := s.at(p, soft)
			if c == 1 {
				dst[0] = level(mul(v[0], 0.299) + mul(v[1], 0.587) + mul(v[2], 0.114))
			} else {
				dst[0], dst[1], dst[2] = level(v[0]), level(v[1]), level(v[2])
			}
			dst = dst[c:]
		}
	}
}

// level rounds a value to one of 256.
func level(v float64) uint8 { return uint8(mul(min(max(v, 0), 1), 255) + 0.5) }

// at returns the colour at a point.
func (s *scene) at(p point, soft float64) colour {
	down := p.y - s.horizon - mul(s.tilt, p.x-0.5)
	v := s.sky.at(p).mix(s.ground.at(p), cover(-down, soft))
	for i := range s.things {
		t := &s.things[i]
		// What is a little to the left and above throws a shadow, which fades.
		v = v.scale(1 - mul(0.35, cover(t.outside(p.sub(point{0.02, 0.03})), 0.06)))
		if c := cover(t.outside(p), soft); c > 0 {
			v = v.mix(t.surface.at(p.sub(t.middle)), c)
		}
	}
	return v.scale(1 + s.light.dot(p.sub(point{0.5, 0.5})))
}

// cover says how much of a pixel is covered by what ends at a distance.
func cover(outside, soft float64) float64 { return min(max(0.5-outside/soft, 0), 1) }

// outside returns how far a point is from the thing, about; within, it is negative.
func (t *thing) outside(p point) float64 {
	q := p.sub(t.middle)
	u, v := q.dot(t.axis)/t.a, q.dot(point{-t.axis.y, t.axis.x})/t.b
	r := max(math.Abs(u), math.Abs(v))
	if !t.box {
		r = point{u, v}.length()
	}
	edge := r - 1
	if t.hole > 0 {
		edge = max(edge, t.hole-r)
	}
	return mul(edge, t.b)
}

// at returns the colour of the surface at a point.
func (s surface) at(p point) colour {
	u, v := p.dot(s.along)+s.shift, p.dot(point{-s.along.y, s.along.x})
	t := 0.0
	switch s.pattern {
	case slope:
		t = min(max(u-s.shift+0.5, 0), 1)
	case stripes:
		t = wave(u)
	case checks:
		t = mul(wave(u), wave(v)) + mul(1-wave(u), 1-wave(v))
	case spots:
		a, b := u-math.Floor(u)-0.5, v-math.Floor(v)-0.5
		t = cover(point{a, b}.length()-0.3, 0.2)
	case clouds:
		q := p.scale(4)
		t = mul(0.6, noise(q, s.seed)) + mul(0.4, noise(q.scale(3), s.seed+1))
	}
	return s.first.mix(s.second, t).scale(1 + mul(s.grain, mul(2, noise(p.scale(60), s.seed+2))-1))
}

// wave goes from 0 to 1 and back in each period, with steep but not sudden edges.
func wave(u float64) float64 {
	t := math.Abs(mul(2, u-math.Floor(u)) - 1)
	return min(max(mul(4, t-0.5)+0.5, 0), 1)
}

// noise is smooth between random values on the points of a lattice.
func noise(p point, seed uint64) float64 {
	x, y := math.Floor(p.x), math.Floor(p.y)
	u, v := ease(p.x-x), ease(p.y-y)
	at := func(dx, dy float64) float64 {
		// The finaliser of SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014).
		z := seed + uint64(int64(x+dx))*0x9E3779B97F4A7C15 + uint64(int64(y+dy))*0xC2B2AE3D27D4EB4F
		z = (z ^ z>>30) * 0xBF58476D1CE4E5B9
		z = (z ^ z>>27) * 0x94D049BB133111EB
		return float64((z^z>>31)>>11) / (1 << 53)
	}
	top, bottom := at(0, 0), at(0, 1)
	top += mul(at(1, 0)-top, u)
	bottom += mul(at(1, 1)-bottom, u)
	return top + mul(bottom-top, v)
}

// ease is 0 at 0, 1 at 1, and level at both.
func ease(t float64) float64 { return mul(mul(t, t), 3-mul(2, t)) }
