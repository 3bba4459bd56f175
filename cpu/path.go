package cpu

import (
	"github.com/convae/convae/cpu/simd"
	"github.com/convae/convae/nn/backend"
)

// path names how an op is done.
type path string

const (
	pathTile      path = "tile"           // products or outer products of the image itself or a copy with a border
	pathPhases    path = "phases"         // a product for each phase of an upsampled input, with summed weights
	pathUpsampled path = "upsampled copy" // a product over a copy that is upsampled
	pathResidues  path = "residues"       // a product for each residue of the stride
	pathDilated   path = "taps apart"     // a product, or outer products, of each tap
	pathCopies    path = "summed copies"  // the gradient is first summed over the copies of an upsampled pixel
	pathFewOut    path = "few results"    // a product for all taps, which are then summed
	pathFewIn     path = "few channels"   // outer products with the input's channels as rows
	pathFewGrad   path = "few filters"    // outer products with the filters as rows
	pathWinograd  path = "Winograd"       // products at the positions of transformed tiles
	pathPlain     path = "plain loop"
)

// Path says how an op is done for a shape.
func (l *lane) Path(op string, shape any) string {
	switch c, w := planned(op, shape); {
	case c != nil:
		return string(c.path)
	case w != nil:
		return string(w.path)
	}
	return ""
}

// Executed returns the multiply-adds of that way.
func (l *lane) Executed(op string, shape any) int {
	switch c, w := planned(op, shape); {
	case c != nil:
		return c.images * c.executed()
	case w != nil:
		return w.images * w.executed()
	}
	return 0
}

// Limit measures the limit of a core.
func (l *lane) Limit() float64 { return simd.Limit() }

// planned returns the plan of an op for a shape: a correlation, or the gradient of weights, or neither.
func planned(op string, shape any) (*correlation, *weightGradient) {
	back := false // the roles of a transposed convolution are those of its dual
	var s backend.ConvShape
	switch t := shape.(type) {
	case backend.ConvShape:
		s = whole(t)
	case backend.ConvTransposeShape:
		s, back = whole(t.Dual), true
	case backend.DenseShape:
		s = pixels(t)
	default:
		return nil, nil
	}
	switch op {
	case "Conv", "ConvTranspose", "Dense":
	case "ConvBackInput", "ConvTransposeBackInput", "DenseBackInput":
		back = !back
	case "ConvBackWeights", "ConvTransposeBackWeights", "DenseBackWeights":
		w := planWeights(&s)
		return nil, &w
	default:
		return nil, nil
	}
	c := forward(&s)
	if back {
		c = backward(&s)
	}
	return &c, nil
}

// executed is the multiply-adds for an image, of pairs one for each pair.
func (c *correlation) executed() (n int) {
	switch c.path {
	case pathWinograd:
		return positions * c.tiling.down * c.tiling.across * c.c * c.n
	case pathFewOut:
		return c.y.in * c.x.in * c.c * c.columns()
	}
	for ry := range c.y.period {
		_, ty := c.y.phase(ry)
		for rx := range c.x.period {
			_, tx := c.x.phase(rx)
			n += max(c.y.count(ry), 0) * max(c.x.count(rx), 0) * ty * tx * c.c * c.n
		}
	}
	return n
}

func (p *weightGradient) executed() int {
	if p.path == pathWinograd {
		return positions * p.tiling.down * p.tiling.across * p.weights / (p.y.kernel * p.x.kernel)
	}
	pixels := p.x.out
	if p.pairs {
		pixels = divUp(pixels, 2)
	}
	return p.y.out * pixels * p.weights
}

// Path is "plain loop" for what the plain loops do.
func (l plainLane) Path(op string, shape any) string {
	if l.lane.Path(op, shape) == "" {
		return ""
	}
	return string(pathPlain)
}

// Executed is the multiply-adds of the op itself.
func (l plainLane) Executed(op string, shape any) int {
	if l.lane.Path(op, shape) == "" {
		return 0
	}
	return shape.(interface{ MACs() int }).MACs()
}
