package nn

import (
	"math"

	"github.com/convae/convae/nn/graph"
	"github.com/convae/convae/nn/op"
)

// fold gives the network the weights that are wanted where normalisations are part of the products before them.
func (n *Network) fold() error {
	g, err := n.m.graph(graph.Options{Samples: 1})
	if err != nil {
		return err
	}
	data := func(v op.Value) []float32 {
		if v == op.None {
			return nil
		}
		return n.m.Params[g.Values[v].Index].Data
	}
	for _, f := range foldNorms(g) {
		channels := g.Shape(f.Norm.X).C
		w, bias := make([]float32, len(data(f.W))), make([]float32, channels)
		scale := make([]float64, channels)
		mean, variance, gamma, beta, before := data(f.Norm.Mean), data(f.Norm.Variance), data(f.Norm.Gamma), data(f.Norm.Beta), data(f.Bias)
		for c := range channels {
			scale[c] = 1 / math.Sqrt(float64(variance[c])+float64(f.Norm.Shape.Epsilon))
			if gamma != nil {
				scale[c] *= float64(gamma[c])
			}
			shift := -float64(mean[c])
			if before != nil {
				shift += float64(before[c])
			}
			shift *= scale[c]
			if beta != nil {
				shift += float64(beta[c])
			}
			bias[c] = float32(shift)
		}
		row := len(w) / channels
		for i, x := range data(f.W) {
			c := i / row
			if f.Columns {
				c = i % channels
			}
			w[i] = float32(scale[c] * float64(x))
		}
		b := n.mem.b
		b.Upload(n.placer.weights[g.Values[f.W].Index], w)
		b.Upload(n.placer.weights[g.Values[f.Norm.Mean].Index], bias)
	}
	return nil
}

// foldNorms makes normalisations of a graph that is not for training part of the products before them. All parts of a model have the same.
func foldNorms(g *graph.Graph) []op.Fold { return g.Fold(g.Input, g.Code, g.Output) }
