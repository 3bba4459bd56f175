// Package fourier has the discrete Fourier transform that the focal frequency loss is made of.
package fourier

import "math"

// MaxSide is the length of the longest line that is transformed.
const MaxSide = 1024

// Direction is that of a transform.
type Direction float64

// The transforms with the exponents -2πi jk/n and 2πi jk/n.
const (
	Forward Direction = -1
	Inverse Direction = 1
)

// Transform replaces x by its discrete Fourier transform, divided by the root of its length. room is as long. Halves are transformed by themselves
// while the length is even (Cooley and Tukey, 1965).
func Transform(d Direction, x, room []complex128) {
	transform(d, x, room)
	scale := complex(1/math.Sqrt(float64(len(x))), 0)
	for i := range x {
		x[i] *= scale
	}
}

func transform(d Direction, x, room []complex128) {
	n := len(x)
	if n%2 != 0 {
		copy(room, x)
		for k := range x {
			x[k] = 0
			for j, v := range room {
				x[k] += v * turn(d, j*k, n)
			}
		}
		return
	}
	half := n / 2
	even, odd := room[:half], room[half:n]
	for i := range half {
		even[i], odd[i] = x[2*i], x[2*i+1]
	}
	transform(d, even, x[:half])
	transform(d, odd, x[:half])
	for k := range half {
		t := turn(d, k, n) * odd[k]
		x[k], x[k+half] = even[k]+t, even[k]-t
	}
}

// turn is the root of unity of k/n turns.
func turn(d Direction, k, n int) complex128 {
	sin, cos := math.Sincos(2 * math.Pi * float64(k%n) / float64(n))
	return complex(cos, float64(d)*sin)
}
