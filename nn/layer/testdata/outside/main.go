// Command outside is a program of another module: it adds a layer of its own to those that configurations know, with an op of
// its own, and trains a model that has it.
package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/convae/convae/nn"
	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/device"
	"github.com/convae/convae/nn/graph"
	"github.com/convae/convae/nn/op"
	"github.com/convae/convae/trainer"
)

// Scale multiplies by a constant that is part of the model and not trained.
type Scale struct {
	By float32 `yaml:"by"`
}

func init() { graph.Register("scale", func() graph.Layer { return new(Scale) }) }

// Kind returns the layer's name.
func (*Scale) Kind() string { return "Scale" }

// Build emits a sum of as many inputs as the factor says.
func (l *Scale) Build(b *graph.Builder, in ...op.Value) (op.Value, error) {
	if len(in) != 1 || l.By <= 0 {
		return op.None, fmt.Errorf("by is %v for %d inputs, want more than 0 and one input", l.By, len(in))
	}
	b.Param("factor", graph.Param{Shape: backend.Vec(1), Role: graph.State, Init: graph.Constant(l.By)})
	b.Module()
	out := b.New(b.Shape(in[0]))
	b.Emit(&scale{by: l.By, out: out, x: in[0]})
	return out, nil
}

// scale is an op that is made of two methods of a Backend.
type scale struct {
	by     float32
	out, x op.Value
}

func (o *scale) Name() string { return "Scale" }
func (o *scale) Args(visit func(v *op.Value, u op.Use)) {
	visit(&o.out, op.Write)
	visit(&o.x, op.Read)
}
func (o *scale) Run(f *op.Frame) {
	f.B.Copy(f.At(o.out), f.At(o.x))
	f.B.Accumulate(f.At(o.out), o.by-1, f.At(o.x))
}
func (o *scale) Result() op.Value { return o.out }
func (o *scale) Back(g *op.Grads) {
	if grad := g.Of(o); g.Wants(o.x) {
		gradX := g.Like(o.x)
		g.Emit(&scale{by: o.by, out: gradX, x: grad})
		g.Add(o.x, gradX)
	}
}

const config = `
model:
  name: outside
  input: [6]
  encoder:
    - dense: {units: 4, activation: tanh}
    - scale: {by: 2.5}
  decoder:
    - dense: {units: 6, activation: sigmoid}
training: {epochs: 1, loss: bce}
`

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	c, err := trainer.DecodeConfig(strings.NewReader(config))
	if err != nil {
		return err
	}
	m, err := nn.New(c.Model, 1)
	if err != nil {
		return err
	}
	dev, _, err := device.Open("cpu")
	if err != nil {
		return err
	}
	defer dev.Close()
	t, err := nn.NewTrainer(m, dev, nn.TrainerOptions{Batch: 8, Optimizer: nn.Optimizer{Name: "adam", LearningRate: 0.05}})
	if err != nil {
		return err
	}
	defer t.Close()
	pixels := make([]byte, 8*6)
	for i := range pixels {
		pixels[i] = byte(255 * (i % 3 / 2))
	}
	if err := t.SetData(pixels, 8); err != nil {
		return err
	}
	var first, last float64
	for step := range 200 {
		t.ResetLoss()
		t.Step(0, 8, 0)
		if last, err = t.Loss(); err != nil {
			return err
		}
		if step == 0 {
			first = last
		}
	}
	if err := t.Pull(); err != nil {
		return err
	}
	fmt.Printf("trained: %v; state %d, factor %v\n", last < first/10, m.StateSize(), m.Params[2].Data)
	text, err := c.YAML()
	fmt.Println(strings.Contains(string(text), "scale: {by: 2.5}"), err)
	return nil
}
