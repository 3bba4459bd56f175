package cuda

import (
	"math/rand/v2"
	"testing"

	"github.com/convae/convae/nn/backend"
)

// orderedSum is the sum of a column in the order that partial.cu promises: every eighth row apart, or every 32nd of many, and then
// by halves.
func orderedSum(column []float32) float32 {
	strides := 8
	if len(column) > manyRows {
		strides = 32
	}
	sums := make([]float32, strides)
	for r, x := range column {
		sums[r%strides] += x
	}
	for half := strides / 2; half > 0; half /= 2 {
		for k := range half {
			sums[k] += sums[k+half]
		}
	}
	return sums[0]
}

// The order of summation follows from the number of partial sums alone: neither from the columns nor from what else is added up.
func TestSumOrder(t *testing.T) {
	d := openCounter(t)
	b := d.Lanes()[0]
	random := rand.New(rand.NewPCG(1, 2))
	values := func(x backend.Tensor) []float32 {
		v := make([]float32, x.Shape.Len())
		for i := range v {
			v[i] = float32(random.NormFloat64())
		}
		b.Upload(x, v)
		return v
	}
	var list []backend.Params
	var want [][]float32
	for i, rows := range []int{1, 2, 3, 5, 7, 8, 9, 33, 98, 211, 256, 257, 392, 1056} {
		p := backend.Params{W: tensor(t, b, backend.Param, backend.Vec(140+i%3)), Bias: tensor(t, b, backend.Param, backend.Vec(4))}
		p.Partials = tensor(t, b, backend.Flat, p.PartialsShape(rows))
		sum, parts := append(values(p.W), values(p.Bias)...), values(p.Partials)
		for c := range sum {
			column := make([]float32, rows)
			for r := range column {
				column[r] = parts[r*len(sum)+c]
			}
			sum[c] += orderedSum(column)
		}
		list, want = append(list, p), append(want, sum)
	}
	b.SumPartials(list)
	for i, p := range list {
		got := make([]float32, len(want[i]))
		n := p.W.Shape.Len()
		if err := b.Download(got[:n], p.W); err != nil {
			t.Fatal(err)
		}
		if err := b.Download(got[n:], p.Bias); err != nil {
			t.Fatal(err)
		}
		for c := range got {
			if got[c] != want[i][c] {
				t.Errorf("%d rows, column %d: %v, want %v", p.Partials.Shape.N, c, got[c], want[i][c])
			}
		}
	}
}
