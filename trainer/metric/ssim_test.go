package metric

import (
	"fmt"
	"math"
	"testing"
)

// naiveSSIM is SSIM straight from the definition: at each position a two
// dimensional window, the means, then the central second moments.
func naiveSSIM(x, y []float32, h, w, c int) float64 {
	length := func(n int) int {
		n = min(n, 11)
		if n%2 == 0 {
			n--
		}
		return n
	}
	wh, ww := length(h), length(w)
	window := make([]float64, wh*ww)
	var total float64
	for r := range wh {
		for q := range ww {
			dr, dq := float64(r-wh/2), float64(q-ww/2)
			g := math.Exp(-(dr*dr + dq*dq) / (2 * 1.5 * 1.5))
			window[r*ww+q] = g
			total += g
		}
	}
	var sum float64
	var count int
	for ch := range c {
		for top := 0; top+wh <= h; top++ {
			for left := 0; left+ww <= w; left++ {
				each := func(visit func(g, a, b float64)) {
					for r := range wh {
						for q := range ww {
							i := ((top+r)*w+left+q)*c + ch
							visit(window[r*ww+q]/total, float64(x[i]), float64(y[i]))
						}
					}
				}
				var mx, my, vx, vy, vxy float64
				each(func(g, a, b float64) { mx += g * a; my += g * b })
				each(func(g, a, b float64) {
					vx += g * (a - mx) * (a - mx)
					vy += g * (b - my) * (b - my)
					vxy += g * (a - mx) * (b - my)
				})
				c1, c2 := math.Pow(0.01, 2), math.Pow(0.03, 2)
				sum += (2*mx*my + c1) * (2*vxy + c2) / ((mx*mx + my*my + c1) * (vx + vy + c2))
				count++
			}
		}
	}
	return sum / float64(count)
}

func TestSSIMAgainstDefinition(t *testing.T) {
	for _, s := range []struct{ h, w, c int }{
		{28, 28, 1}, {11, 11, 1}, {12, 17, 3}, {10, 28, 1}, {28, 7, 2}, {4, 2, 1}, {1, 30, 1}, {1, 1, 3},
	} {
		t.Run(fmt.Sprintf("%dx%dx%d", s.h, s.w, s.c), func(t *testing.T) {
			n := s.h * s.w * s.c
			x, y := noise(n, 11), noise(n, 12)
			for i := range y { // correlated, as a denoised image is
				y[i] = 0.7*x[i] + 0.3*y[i]
			}
			var f filter
			near(t, "SSIM", f.ssim(x, y, s.h, s.w, s.c), naiveSSIM(x, y, s.h, s.w, s.c), 1e-12)
		})
	}
}

func TestSSIMProperties(t *testing.T) {
	x, y := noise(20*20*3, 13), noise(20*20*3, 14)
	var f filter
	near(t, "SSIM(x, x)", f.ssim(x, x, 20, 20, 3), 1, 1e-12)
	near(t, "SSIM(x, y)-SSIM(y, x)", f.ssim(x, y, 20, 20, 3)-f.ssim(y, x, 20, 20, 3), 0, 1e-12)

	inverse := make([]float32, len(x))
	for i, v := range x {
		inverse[i] = 1 - v
	}
	if s := f.ssim(x, inverse, 20, 20, 3); s >= 0 {
		t.Errorf("SSIM of an image and its inverse = %v, want below 0", s)
	}

	// Flat images differ in luminance alone: (2ab + C1)/(a² + b² + C1).
	a, b := 0.25, 0.75
	want := (2*a*b + 1e-4) / (a*a + b*b + 1e-4)
	near(t, "flat", f.ssim(filled(400, 0.25), filled(400, 0.75), 20, 20, 1), want, 1e-12)
}

// A filter must not keep anything of one size that spoils the next.
func TestFilterChangesSize(t *testing.T) {
	var f filter
	for _, s := range [][2]int{{28, 28}, {5, 30}, {28, 28}, {30, 5}} {
		n := s[0] * s[1]
		x, y := noise(n, 15), noise(n, 16)
		near(t, fmt.Sprint(s), f.ssim(x, y, s[0], s[1], 1), naiveSSIM(x, y, s[0], s[1], 1), 1e-12)
	}
}
