package graph_test

import (
	"fmt"
	"strings"

	"github.com/convae/convae/nn"
	"github.com/convae/convae/nn/graph"
	"github.com/convae/convae/nn/op"
	"github.com/convae/convae/trainer"
)

// Twice doubles its input: a layer of another module.
type Twice struct{}

func (*Twice) Kind() string { return "Twice" }

func (*Twice) Build(b *graph.Builder, in ...op.Value) (op.Value, error) {
	if len(in) != 1 {
		return op.None, fmt.Errorf("it has %d inputs, want 1", len(in))
	}
	b.Module()
	out := b.New(b.Shape(in[0]))
	b.Emit(&op.Plus{Out: out, A: in[0], B: in[0]})
	return out, nil
}

// A layer that is registered can be used in configurations and in Go.
func ExampleRegister() {
	graph.Register("twice", func() graph.Layer { return new(Twice) })
	c, err := trainer.DecodeConfig(strings.NewReader(`
model:
  name: example
  input: [8]
  encoder:
    - dense: {units: 3}
    - twice: {}
  decoder:
    - dense: {units: 8}
training: {epochs: 1, loss: mse}
`))
	if err != nil {
		fmt.Println(err)
		return
	}
	m, err := nn.New(c.Model, 1)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, l := range m.Layers {
		fmt.Println(l.Name, l.Out.C, l.Trainable)
	}
	// Output:
	// dense 3 27
	// twice 3 0
	// dense_1 8 32
}
