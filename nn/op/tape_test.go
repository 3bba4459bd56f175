package op_test

import (
	"testing"

	"github.com/convae/convae/nn/op"
)

// Two ops are independent if neither touches what the other writes or adds to.
func TestIndependent(t *testing.T) {
	weights := &op.ConvBackWeights{GradW: 1, GradBias: 2, GradOut: 3, X: 4}
	for _, c := range []struct {
		name string
		b    op.Op
		want bool
	}{
		{"reads the same", &op.ConvBackInput{GradX: 5, GradOut: 3, W: 6, X: 4}, true},
		{"writes what the first reads", &op.ConvBackInput{GradX: 4, GradOut: 3, W: 6}, false},
		{"reads what the first adds to", &op.ConvBackInput{GradX: 5, GradOut: 3, W: 1}, false},
		{"adds to the same", &op.ConvBackWeights{GradW: 7, GradBias: 2, GradOut: 3, X: 4}, false},
		{"lacks the same arguments", &op.ConvBackWeights{GradW: 7, GradBias: 8, GradOut: 3, X: 4}, true},
	} {
		if op.Independent(weights, c.b) != c.want || op.Independent(c.b, weights) != c.want {
			t.Errorf("%s: independent is not %v", c.name, c.want)
		}
	}
}
