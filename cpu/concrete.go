package cpu

import (
	"math"

	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/rng"
)

// Concretize draws a selection of inputs, or takes the likeliest.
func (l *lane) Concretize(src rng.Source, m, logits, stepParams backend.Tensor) {
	backend.CheckConcretize(&m, &logits, &stepParams)
	s := logits.Shape
	to, from, size := l.floats(m), l.floats(logits), s.Image()
	for j := range s.N {
		row, a := to[j*size:][:size], from[j*size:][:size]
		if stepParams.IsZero() {
			clear(row)
			best := 0
			for i, v := range a {
				if v > a[best] {
					best = i
				}
			}
			row[best] = 1
			continue
		}
		now := l.stepParams(stepParams)
		most := math.Inf(-1)
		for i := 0; i < size; i += 4 {
			words := src.Words(uint32(i/4), uint32(j), now.Step)
			for k := i; k < min(i+4, size); k++ {
				u := float64(words[k-i]>>8|1) / (1 << 24)
				row[k] = float32((float64(a[k]) - math.Log(-math.Log(u))) / float64(now.Temperature))
				most = max(most, float64(row[k]))
			}
		}
		sum := 0.0
		for i, v := range row {
			row[i] = float32(math.Exp(float64(v) - most))
			sum += float64(row[i])
		}
		for i := range row {
			row[i] = float32(float64(row[i]) / sum)
		}
	}
}

// Pick selects from every sample.
func (l *lane) Pick(out, x, m backend.Tensor) {
	backend.CheckPick(&out, &x, &m)
	s, size := out.Shape, m.Shape.Image()
	y, p, sel := l.floats(out), l.floats(x), l.floats(m)
	for at := range y {
		a, b := p[at/s.C*size:][:size], sel[at%s.C*size:][:size]
		sum := float32(0)
		for i, v := range b {
			sum += v * a[i]
		}
		y[at] = sum
	}
}

// ConcreteBack is the gradient of the logits: with g = gradOutᵀ x, that of row j is m (g - the sum of m g) / temperature.
// The sum comes from the outputs' gradients, because it is linear in g.
func (l *lane) ConcreteBack(gradLogits, gradOut, x, m, stepParams backend.Tensor) {
	backend.CheckConcreteBack(&gradLogits, &gradOut, &x, &m, &stepParams)
	s, size := gradOut.Shape, m.Shape.Image()
	grad, gy, p, sel := l.floats(gradLogits), l.floats(gradOut), l.floats(x), l.floats(m)
	scale := 1 / l.stepParams(stepParams).Temperature
	for at, d := range gy {
		a, b, to := p[at/s.C*size:][:size], sel[at%s.C*size:][:size], grad[at%s.C*size:][:size]
		mean := float32(0)
		for i, v := range b {
			mean += v * a[i]
		}
		d *= scale
		for i, v := range b {
			to[i] += v * (a[i] - mean) * d
		}
	}
}
