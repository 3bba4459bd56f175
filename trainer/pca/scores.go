package pca

import (
	"errors"
	"math"

	"gonum.org/v1/gonum/mat"
)

// Scores returns the coordinates of n samples of x along their first k principal components, k numbers each, and the share of the variance that lies along
// these. It is for few samples of any number of values: the eigenvectors of the n by n matrix of their inner products are the scores but for their lengths
// (the method of snapshots, L. Sirovich, "Turbulence and the dynamics of coherent structures", 1987). The sign of a component is arbitrary. k is at most n.
func Scores(x []float32, n, k int) (scores []float64, share float64, err error) {
	size := len(x) / n
	centred := mat.NewDense(n, size, nil)
	mean := make([]float64, size)
	for i, v := range x {
		mean[i%size] += float64(v) / float64(n)
	}
	for i, v := range x {
		centred.Set(i/size, i%size, float64(v)-mean[i%size])
	}
	var gram mat.SymDense
	gram.SymOuterK(1, centred)
	var eigen mat.EigenSym
	if !eigen.Factorize(&gram, true) {
		return nil, 0, errors.New("pca: the eigenvalues of the inner products do not converge: want finite samples")
	}
	values, vectors := eigen.Values(nil), new(mat.Dense)
	eigen.VectorsTo(vectors)
	scores = make([]float64, n*k)
	for j := range k { // eigenvalues rise
		at := n - 1 - j
		length := math.Sqrt(max(values[at], 0))
		for i := range n {
			scores[i*k+j] = length * vectors.At(i, at)
		}
		share += max(values[at], 0)
	}
	if total := mat.Trace(&gram); total > 0 {
		share /= total
	}
	return scores, share, nil
}

// ScoresBytes is what [Scores] takes for n samples of so many values.
func ScoresBytes(n, size int) int { return 8 * (n*size + size + 4*n*n) }
