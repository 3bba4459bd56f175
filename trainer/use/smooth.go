package use

import "math"

// smoother averages the pixels of an image by a Gaussian that ends four standard deviations away, with the image mirrored beyond its sides, edge
// pixels twice, as scipy.ndimage.gaussian_filter does.
type smoother struct {
	h, w   int
	weight []float64 // by distance
	line   []float64
}

// newSmoother returns one that does nothing for a standard deviation of 0.
func newSmoother(std float64, h, w int) *smoother {
	s := &smoother{h: h, w: w, line: make([]float64, max(h, w))}
	if std == 0 {
		return s
	}
	sum := 0.0
	for d := range int(4*std+0.5) + 1 {
		g := math.Exp(-float64(d*d) / (2 * std * std))
		s.weight = append(s.weight, g)
		if sum += g; d > 0 {
			sum += g
		}
	}
	for d := range s.weight {
		s.weight[d] /= sum
	}
	return s
}

func (s *smoother) smooth(image []float64) {
	if s.weight == nil {
		return
	}
	for y := range s.h {
		s.along(image[y*s.w:], s.w, 1)
	}
	for x := range s.w {
		s.along(image[x:], s.h, s.w)
	}
}

// along averages n pixels that lie a stride apart.
func (s *smoother) along(image []float64, n, stride int) {
	line := s.line[:n]
	for i := range line {
		line[i] = image[i*stride]
	}
	for i := range line {
		sum := s.weight[0] * line[i]
		for d := 1; d < len(s.weight); d++ {
			sum += s.weight[d] * (line[mirrored(i-d, n)] + line[mirrored(i+d, n)])
		}
		image[i*stride] = sum
	}
}

// mirrored returns the place within n of a place beyond them.
func mirrored(i, n int) int {
	if i %= 2 * n; i < 0 {
		i += 2 * n
	}
	return min(i, 2*n-1-i)
}
