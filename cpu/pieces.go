package cpu

// The work of a piece, at the least: some microseconds, for what has many multiply-adds is fast. Lanes that look for work hand an op over and wait
// for each other in half of one, and an op that is not cut lets the others fall asleep.
const (
	pieceMACs     = 64 << 10
	pieceElements = 4 << 10
	pieceBytes    = 4 * pieceElements // of packed weights
)

// cuttable are the ops that lanes can do together, with the work of the smallest piece. Each asks piece what to do.
var cuttable = map[string]int{
	"ConvPack": pieceBytes, "ConvTransposePack": pieceBytes, "DensePack": pieceBytes,
	"Conv": pieceMACs, "ConvTranspose": pieceMACs, "Dense": pieceMACs,
	"MaxPool": pieceElements, "AveragePool": pieceElements, "Upsample": pieceElements, "Bilinear": pieceElements,
	"Activate": pieceElements, "Plus": pieceElements, "CopyChannels": pieceElements,
}

// Pieces returns into how many pieces it pays to cut an op.
func (l *lane) Pieces(op string, work int) int {
	least, ok := cuttable[op]
	if !ok {
		return 1
	}
	return max(min(work/least, len(l.dev.lanes)), 1)
}

// Pieces is 1, for the plain loops are not cut.
func (l plainLane) Pieces(string, int) int { return 1 }

// Piece has the lane do piece i of n of the ops that follow.
func (l *lane) Piece(i, n int) { l.part, l.parts = i, n }

// piece returns which of n parts of an op's result, such as its rows, the lane is to make: all of them unless it has been told otherwise.
func (l *lane) piece(n int) (lo, hi int) {
	if l.parts <= 1 {
		return 0, n
	}
	return n * l.part / l.parts, n * (l.part + 1) / l.parts
}

// pieceOf is piece for the elements of tensors of one shape, of which each pixel has c.
func (l *lane) pieceOf(c int, v ...*[]float32) {
	lo, hi := l.piece(len(*v[0]) / c)
	for _, x := range v {
		*x = (*x)[lo*c : hi*c]
	}
}
