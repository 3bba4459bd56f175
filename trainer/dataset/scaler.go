package dataset

import (
	"fmt"
	"math"
)

// A Scaler maps value v of column j to (v - Offset[j]) / Scale[j].
type Scaler struct {
	Offset []float64 `yaml:"offset,flow"`
	Scale  []float64 `yaml:"scale,flow"`
}

// FitScaler fits a scaling to samples of size values each: minmax maps each
// column to [0, 1], standard to a mean of 0 and a standard deviation of 1. A
// column whose values are all the same becomes 0.
func FitScaler[T float32 | float64](kind string, values []T, size int) (Scaler, error) {
	if kind != "minmax" && kind != "standard" {
		return Scaler{}, fmt.Errorf("scaling is %q, want minmax, standard or none", kind)
	}
	s := Scaler{make([]float64, size), make([]float64, size)}
	n := float64(len(values) / size)
	for j := range size {
		lo, hi, sum := math.Inf(1), math.Inf(-1), 0.0
		for i := j; i < len(values); i += size {
			v := float64(values[i])
			lo, hi, sum = min(lo, v), max(hi, v), sum+v
		}
		if kind == "minmax" {
			s.Offset[j], s.Scale[j] = lo, hi-lo
		} else {
			mean, squares := sum/n, 0.0
			for i := j; i < len(values); i += size {
				d := float64(values[i]) - mean
				squares += mul(d, d)
			}
			s.Offset[j], s.Scale[j] = mean, math.Sqrt(squares/n)
		}
		if lo == hi {
			s.Offset[j], s.Scale[j] = lo, 1
		}
	}
	return s, nil
}

// ApplyScaler returns the scaled values of samples as long as the scaler. A
// Scaler without columns changes nothing.
func ApplyScaler[T float32 | float64](s Scaler, values []T) []float32 {
	out := make([]float32, len(values))
	for i, v := range values {
		if size := len(s.Offset); size > 0 {
			out[i] = float32((float64(v) - s.Offset[i%size]) / s.Scale[i%size])
		} else {
			out[i] = float32(v)
		}
	}
	return out
}

// Undo returns values scaled by s as they were before.
func (s Scaler) Undo(values []float32) []float32 {
	out := make([]float32, len(values))
	for i, v := range values {
		if size := len(s.Offset); size > 0 {
			out[i] = float32(mul(float64(v), s.Scale[i%size]) + s.Offset[i%size])
		} else {
			out[i] = v
		}
	}
	return out
}
