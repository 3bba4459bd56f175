package use

import (
	"fmt"

	"github.com/convae/convae/nn"
)

// Interpolate encodes two samples and decodes codes at even steps on the line from one to the other, both included. It
// returns steps samples, one after the other.
func Interpolate(net *nn.Network, a, b []float32, steps int) ([]float32, error) {
	if steps < 2 {
		return nil, fmt.Errorf("an interpolation of %d steps: want 2 or more", steps)
	}
	size, out := net.Model().Code.Len(), net.Model().Output.Len()
	ends := make([]float32, 2*size)
	for i, x := range [][]float32{a, b} {
		if err := net.Encode(ends[i*size:][:size], x, 1); err != nil {
			return nil, err
		}
	}
	codes, y := make([]float32, steps*size), make([]float32, steps*out)
	for i := range codes {
		t, j := float32(i/size)/float32(steps-1), i%size
		codes[i] = (1-t)*ends[j] + t*ends[size+j]
	}
	return y, net.Decode(y, codes, steps)
}
