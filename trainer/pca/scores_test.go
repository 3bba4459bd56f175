package pca

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/convae/convae/trainer/dataset"
)

// The scores of samples are what Fit and Encode make of them, but for signs, with more values than samples and with fewer.
func TestScores(t *testing.T) {
	for _, size := range []int{5, 70} {
		const n, k = 30, 2
		r := rand.New(rand.NewPCG(1, uint64(size)))
		x := make([]float32, n*size)
		for i := range x {
			x[i] = float32(r.NormFloat64() * float64(1+5*(i%size%3)))
		}
		p, err := Fit(t.Context(), &dataset.Set{Name: "x", H: 1, W: 1, C: size, Values: x}, k)
		if err != nil {
			t.Fatal(err)
		}
		want := make([]float32, n*k)
		p.Encode(want, x)
		got, share, err := Scores(x, n, k)
		if err != nil {
			t.Fatal(err)
		}
		if e := p.Explained(); math.Abs(share-e) > 1e-9 {
			t.Errorf("%d values: share %v, want %v", size, share, e)
		}
		for j := range k {
			sign := 1.0
			if got[j]*float64(want[j]) < 0 {
				sign = -1
			}
			for i := range n {
				// Encode rounds to float32.
				if g, w := sign*got[i*k+j], float64(want[i*k+j]); math.Abs(g-w) > 1e-4 {
					t.Fatalf("%d values, sample %d, component %d: %v, want %v", size, i, j, g, w)
				}
			}
		}
	}
	if scores, share, err := Scores(make([]float32, 12), 4, 2); err != nil || share != 0 || scores[0] != 0 {
		t.Errorf("samples that are all alike: %v, %v, %v", scores, share, err)
	}
}
