package backend

import "github.com/convae/convae/nn/corrupt"

// CheckCorrupt checks the arguments of Corrupt, but not the values of the order.
func CheckCorrupt(c corrupt.Corruption, out, x, order, stepParams *Tensor, first int) {
	if c.Check() != nil || c.Kind == corrupt.JPEG && c.CheckImage(x.Shape.H, x.Shape.W, x.Shape.C) != nil {
		panic(MistakeCorrupt)
	}
	x.activation(x.Shape)
	out.activation(x.Shape)
	order.check(Index, Int32, order.Shape)
	stepParams.step()
	if first < 0 {
		panic(MistakeIndex)
	}
}
