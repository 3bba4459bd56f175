package backend

// Moves says how a codebook moves; see QuantizeMove. Decay is from 0 to below 1, the others are above 0, or 0.
type Moves struct{ Decay, Epsilon, Revive float32 }

// QuantizeRow is the length of a row of sums for a codebook of that shape.
func QuantizeRow(codebook Shape) int { return codebook.N * (2*codebook.C + 1) }

// CheckQuantize checks the arguments of Quantize.
func CheckQuantize(out, index, x, codebook *Tensor) {
	x.activation(x.Shape)
	out.activation(x.Shape)
	codebook.param(Shape{codebook.Shape.N, 1, 1, x.Shape.C})
	if !index.IsZero() {
		index.activation(numbers(x.Shape))
	}
}

// numbers is the shape of one number for each pixel.
func numbers(x Shape) Shape { x.C = 1; return x }

// CheckQuantizeSums checks the arguments of QuantizeSums.
func CheckQuantizeSums(row, index, x, stepParams *Tensor, first, count int) {
	x.activation(x.Shape)
	index.activation(numbers(x.Shape))
	row.flat(Vec(row.Shape.Len()))
	if row.Shape.Len()%(2*x.Shape.C+1) != 0 || row.Shape.Len() == 0 {
		panic(MistakeShape)
	}
	stepParams.step()
	if first < 0 || first+x.Shape.N > count {
		panic(MistakeIndex)
	}
}

// CheckQuantizeMove checks the arguments of QuantizeMove.
func CheckQuantizeMove(codebook, count, sum, rows *Tensor) {
	codebook.param(codebook.Shape)
	count.param(Vec(codebook.Shape.N))
	sum.param(codebook.Shape)
	rows.rows(QuantizeRow(codebook.Shape))
}
