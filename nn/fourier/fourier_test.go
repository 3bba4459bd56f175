package fourier

import (
	"math"
	"math/cmplx"
	"testing"
)

// Transforms are the sums that define them, of even, odd and prime lengths, and the inverse gives back what there was.
func TestTransform(t *testing.T) {
	for _, n := range []int{1, 2, 3, 4, 5, 6, 8, 12, 13, 32, 48, 100} {
		x, want, room := make([]complex128, n), make([]complex128, n), make([]complex128, n)
		for i := range x {
			x[i] = complex(math.Sin(float64(3*i+1)), math.Cos(float64(i*i)))
		}
		before := append([]complex128(nil), x...)
		for k := range want {
			for j, v := range x {
				want[k] += v * cmplx.Exp(complex(0, -2*math.Pi*float64(j*k)/float64(n)))
			}
			want[k] /= complex(math.Sqrt(float64(n)), 0)
		}
		Transform(Forward, x, room)
		for k := range want {
			if cmplx.Abs(x[k]-want[k]) > 1e-11 {
				t.Fatalf("length %d: number %d is %v, want %v", n, k, x[k], want[k])
			}
		}
		Transform(Inverse, x, room)
		for k := range x {
			if cmplx.Abs(x[k]-before[k]) > 1e-12 {
				t.Fatalf("length %d: there and back number %d is %v, was %v", n, k, x[k], before[k])
			}
		}
	}
}
