package cpu

import "github.com/convae/convae/nn/backend"

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
		return ""
	}
	switch op {
	case "Conv", "ConvTranspose", "Dense":
	case "ConvBackInput", "ConvTransposeBackInput", "DenseBackInput":
		back = !back
	case "ConvBackWeights", "ConvTransposeBackWeights", "DenseBackWeights":
		return string(planWeights(&s).path)
	default:
		return ""
	}
	if back {
		return string(backward(&s).path)
	}
	return string(forward(&s).path)
}

// Path is "plain loop" for what the plain loops do.
func (l plainLane) Path(op string, shape any) string {
	if l.lane.Path(op, shape) == "" {
		return ""
	}
	return string(pathPlain)
}
