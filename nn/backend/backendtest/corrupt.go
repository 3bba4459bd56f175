package backendtest

import (
	"fmt"
	"math"

	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/corrupt"
	"github.com/convae/convae/nn/rng"
)

// corruptCases makes samples worse in every way: images of odd sizes, a row of pixels, a pixel; patches and squares that the image is no multiple of, and
// larger than it; the widest blur.
func corruptCases() []Case {
	src := rng.Source{Seed: 1<<40 + 7, Stream: rng.StreamNoise}
	shapes := []shape{{N: 2, H: 7, W: 5, C: 3}, {N: 1, H: 1, W: 9, C: 1}, {N: 3, H: 1, W: 1, C: 1}, {N: 1, H: 16, W: 13, C: 1}}
	var cases []Case
	for i, c := range []corrupt.Corruption{{Kind: corrupt.Gaussian, Amount: 0.3}, {Kind: corrupt.Speckle, Amount: 0.5}, {Kind: corrupt.SaltAndPepper, Amount: 0.4},
		{Kind: corrupt.Masking, Amount: 0.5, Size: 2, Value: 0.25}, {Kind: corrupt.Masking, Amount: 0.5, Size: 20}, {Kind: corrupt.Masking, Amount: 1, Size: 1, Value: 1},
		{Kind: corrupt.Blur, Amount: 0.4}, {Kind: corrupt.Blur, Amount: corrupt.MaxBlur},
		{Kind: corrupt.Downscale, Size: 2}, {Kind: corrupt.Downscale, Size: 3}, {Kind: corrupt.Downscale, Size: 11}} {
		for j, s := range shapes {
			cases = append(cases, corruptCase(c, src, s, backend.StepParams{Draw: uint32(i), Offset: uint32(j)}, j%2))
		}
	}
	for i, c := range []corrupt.Corruption{{Kind: corrupt.JPEG, Quality: [2]int{1, 1}}, {Kind: corrupt.JPEG, Quality: [2]int{5, 95}}, {Kind: corrupt.JPEG, Quality: [2]int{100, 100}}} {
		for j, s := range []shape{{N: 2, H: 7, W: 5, C: 3}, {N: 1, H: 1, W: 9, C: 1}, {N: 3, H: 33, W: 18, C: 3}, {N: 2, H: 16, W: 31, C: 1}} {
			cases = append(cases, corruptCase(c, src, s, backend.StepParams{Draw: uint32(i), Offset: uint32(j)}, j%2))
		}
	}
	jpegs := corruptCase(corrupt.Corruption{Kind: corrupt.JPEG, Quality: [2]int{20, 80}}, src, shape{N: 3, H: 9, W: 17, C: 3}, backend.StepParams{Offset: 1}, 1)
	cases = append(cases, bordered(jpegs, "out"), corruptOutside(jpegs))
	edge := corruptCase(corrupt.Corruption{Kind: corrupt.Blur, Amount: 1}, src, shapes[0], backend.StepParams{Draw: 2, Offset: 1}, 0)
	outside := corruptCase(corrupt.Corruption{Kind: corrupt.Masking, Amount: 1, Size: 3}, src, shape{N: 3, H: 4, W: 4, C: 1}, backend.StepParams{Offset: 1}, 1)
	return append(cases, bordered(edge, "out"), corruptOutside(outside))
}

func corruptCase(c corrupt.Corruption, src rng.Source, s shape, now backend.StepParams, first int) Case {
	order := int(now.Offset) + first + s.N
	return Case{
		Name: fmt.Sprintf("corrupt/%v/%dx%dx%dx%d-amount%g-size%d-quality%d-draw%d-offset%d-first%d", c.Kind, s.N, s.H, s.W, s.C, c.Amount, c.Size, c.Quality[0], now.Draw, now.Offset, first),
		Ops:  []string{"Corrupt", "SetStepParams", "UploadIndex"},
		args: []arg{activation("x", s, uniform(0, 1)), {name: "order", role: backend.Index, shape: backend.Vec(order), fill: grid(0, drawnFrom-1, 1)}, stepParamsArg(now),
			activation("out", s, nil).out(corruptBound(c))},
		run: func(b backend.Backend, t tensors) {
			b.Corrupt(c, src, t["out"], t["x"], t["order"], t["stepParams"], first)
		},
		reference: func(d data) values {
			v := make([]float64, s.Len())
			for n := range s.N {
				refCorrupt(v[n*s.Image():][:s.Image()], d["x"][n*s.Image():], c, s, src, uint32(d["order"][int(now.Offset)+first+n]), now.Draw)
			}
			return values{"out": {v: v}}
		},
	}
}

// corruptBound: what is drawn is exact but for the product and the sum of noise, each rounded once, of values up to 1 and noise up to 6 standard
// deviations; averages of values up to 1 are sums of as many products as there are values, or of as many values.
func corruptBound(c corrupt.Corruption) backend.Bound {
	switch c.Kind {
	case corrupt.Gaussian, corrupt.Speckle:
		return backend.Bound{Abs: 6 * eps}
	case corrupt.Blur:
		_, r := c.Weights()
		return backend.Bound{Abs: float64(2*r+4) * eps}
	case corrupt.Downscale:
		return backend.Bound{Abs: float64(c.Size*c.Size+4) * eps}
	}
	return exact
}

// refCorrupt makes a sample worse in float64.
//
// JPEG has rounding in its middle, where the least difference becomes a large one: it is what package corrupt says, which is tested against files.
func refCorrupt(out, x []float64, c corrupt.Corruption, s shape, src rng.Source, row, draw uint32) {
	if c.Kind == corrupt.JPEG {
		from, to := make([]float32, s.Image()), make([]float32, s.Image())
		for i := range from {
			from[i] = float32(x[i])
		}
		c.Sample(to, from, s.H, s.W, s.C, src, row, draw)
		for i, v := range to {
			out[i] = float64(v)
		}
		return
	}
	at := func(y, px, ch int) float64 { return x[(y*s.W+px)*s.C+ch] }
	clip := func(v float64) float64 { return math.Min(math.Max(v, 0), 1) }
	for i := range out {
		ch, px, y := i%s.C, i/s.C%s.W, i/s.C/s.W
		switch u, z := src.Uniforms(uint32(i/4), row, draw)[i%4], float64(src.Normals(uint32(i/4), row, draw)[i%4]); c.Kind {
		case corrupt.Gaussian:
			out[i] = clip(x[i] + float64(c.Amount)*z)
		case corrupt.Speckle:
			out[i] = clip(x[i] * (1 + float64(c.Amount)*z))
		case corrupt.SaltAndPepper:
			if out[i] = x[i]; u < c.Amount/2 {
				out[i] = 0
			} else if u < c.Amount {
				out[i] = 1
			}
		case corrupt.Masking:
			patch := y/c.Size*int(math.Ceil(float64(s.W)/float64(c.Size))) + px/c.Size
			if out[i] = x[i]; src.Uniforms(uint32(patch/4), row, draw)[patch%4] < c.Amount {
				out[i] = float64(c.Value)
			}
		case corrupt.Blur:
			out[i] = refBlur(float64(c.Amount), y, px, s, func(y, px int) float64 { return at(y, px, ch) })
		case corrupt.Downscale:
			out[i] = refDownscale(c.Size, y, px, s, func(y, px int) float64 { return at(y, px, ch) })
		}
	}
}

// refBlur divides the weighted sum by that of the weights.
func refBlur(std float64, y, x int, s shape, at func(y, x int) float64) float64 {
	fold := func(i, n int) int { // reflections at both sides, one after the other
		for i < 0 || i >= n {
			if i < 0 {
				i = -1 - i
			} else {
				i = 2*n - 1 - i
			}
		}
		return i
	}
	r := int(math.Ceil(3 * float64(float32(std))))
	sum, weights := 0.0, 0.0
	for dy := -r; dy <= r; dy++ {
		for dx := -r; dx <= r; dx++ {
			g := math.Exp(-float64(dx*dx+dy*dy) / (2 * std * std))
			sum += g * at(fold(y+dy, s.H), fold(x+dx, s.W))
			weights += g
		}
	}
	return sum / weights
}

// refDownscale interpolates between the means of squares, whose centres are half a square from their first edge.
func refDownscale(size, y, x int, s shape, at func(y, x int) float64) float64 {
	mean := func(by, bx int) float64 {
		sum, n := 0.0, 0.0
		for y := by * size; y < min((by+1)*size, s.H); y++ {
			for x := bx * size; x < min((bx+1)*size, s.W); x++ {
				sum += at(y, x)
				n++
			}
		}
		return sum / n
	}
	side := func(at, n int) (int, int, float64) {
		place := (float64(at)+0.5)/float64(size) - 0.5
		low := math.Floor(place)
		last := (n - 1) / size
		return min(max(int(low), 0), last), min(max(int(low)+1, 0), last), place - low
	}
	y0, y1, fy := side(y, s.H)
	x0, x1, fx := side(x, s.W)
	upper := mean(y0, x0)*(1-fx) + mean(y0, x1)*fx
	lower := mean(y1, x0)*(1-fx) + mean(y1, x1)*fx
	return upper*(1-fy) + lower*fy
}

// corruptOutside has an order that ends before the last image.
func corruptOutside(k Case) Case {
	k.Name += "/outside"
	k.mistake = true
	for i := range k.args {
		if k.args[i].name == "order" {
			k.args[i].shape.C--
		}
	}
	inside := k.reference
	k.reference = func(d data) values {
		r := inside(data{"x": d["x"], "order": append(append([]float64(nil), d["order"]...), 0)})
		for i := len(r["out"].v) * 2 / 3; i < len(r["out"].v); i++ {
			r["out"].v[i] = math.NaN()
		}
		return r
	}
	return k
}
