package layer

import (
	"fmt"
	"math"

	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/graph"
	"github.com/convae/convae/nn/op"
)

// VectorQuantizer replaces each pixel of its input by the nearest of the vectors of a codebook. The gradient passes straight through it, and the loss
// takes in the commitment, which draws what comes in to the codebook. The codebook itself moves to moving averages of the pixels that choose its
// vectors (van den Oord and others, "Neural Discrete Representation Learning", 2017, appendix A.1), over the whole batch, however that is cut;
// vectors that are hardly chosen move to pixels drawn from the batch. Files call the averages cluster_size and embed_avg.
type VectorQuantizer struct {
	Embeddings int     `yaml:"embeddings"`                                          // vectors of the codebook
	Commitment float32 `yaml:"commitment,omitempty" zero:"more than 0, at most 10"` // 0.25: times the mean squared distance of a sample's pixels from their vectors
	Decay      float32 `yaml:"decay,omitempty" zero:"more than 0, below 1"`         // 0.99: what the averages keep of themselves
	Epsilon    float32 `yaml:"epsilon,omitempty" zero:"more than 0, at most 1"`     // 0.00001, by which counts are smoothed
	Revive     float32 `yaml:"revive,omitempty" zero:"more than 0"`                 // 1: a vector that fewer pixels of a batch choose, on average, moves
}

// maxEmbeddings is as many blocks as a GPU's grid has in a direction.
const maxEmbeddings = 1<<16 - 1

// Kind returns the layer's name in Keras's example.
func (*VectorQuantizer) Kind() string { return "VectorQuantizer" }

// Build emits the quantisation, and in training what moves the codebook.
func (l *VectorQuantizer) Build(b *graph.Builder, in ...op.Value) (op.Value, error) {
	x, err := one(in)
	if err != nil {
		return op.None, err
	}
	if l.Embeddings < 2 || l.Embeddings > maxEmbeddings {
		return op.None, fmt.Errorf("embeddings is %d, want 2 to %d", l.Embeddings, maxEmbeddings)
	}
	commitment, err := l.constant("commitment", l.Commitment, 0.25, 10)
	if err != nil {
		return op.None, err
	}
	moves := backend.Moves{}
	for _, c := range []struct {
		name               string
		given, ifNone, max float32
		to                 *float32
	}{{"decay", l.Decay, 0.99, 1 - 1.0/(1<<24), &moves.Decay}, {"epsilon", l.Epsilon, 1e-5, 1, &moves.Epsilon}, {"revive", l.Revive, 1, math.MaxFloat32, &moves.Revive}} {
		if *c.to, err = l.constant(c.name, c.given, c.ifNone, c.max); err != nil {
			return op.None, err
		}
	}
	s := b.Shape(x)
	shape := backend.Shape{N: l.Embeddings, H: 1, W: 1, C: s.C}
	init, err := graph.Initializer{Name: "he_uniform"}.Distribution(s.C, s.C)
	if err != nil {
		return op.None, err
	}
	o := &op.Quantize{Out: b.New(s), X: x, Commitment: commitment, Codebook: b.Param("embed", graph.Param{Shape: shape, Role: graph.Codebook, Init: init})}
	count := b.Param("cluster_size", graph.Param{Shape: backend.Vec(l.Embeddings), Role: graph.State})
	sum := b.Param("embed_avg", graph.Param{Shape: shape, Role: graph.Codebook})
	b.Module()
	if !b.Training() {
		b.Emit(o)
		return o.Out, nil
	}
	s.C = 1
	o.Index = b.New(s)
	b.Emit(o)
	if b.Frozen() {
		return o.Out, nil
	}
	rows := b.NewRows(backend.QuantizeRow(shape))
	b.Emit(&op.QuantizeSums{Source: source(b), Row: rows, Index: o.Index, X: x, StepParams: b.StepParams()})
	b.EmitOnce(&op.QuantizeMove{Moves: moves, Codebook: o.Codebook, Count: count, Sum: sum, Rows: rows})
	return o.Out, nil
}

// constant returns a constant, or what it is if none is given, and wants it above 0 and at most max.
func (*VectorQuantizer) constant(name string, given, ifNone, max float32) (float32, error) {
	if given == 0 {
		given = ifNone
	}
	if !(given > 0 && given <= max) {
		return 0, fmt.Errorf("%s is %v, want more than 0 and at most %v", name, given, max)
	}
	return given, nil
}
