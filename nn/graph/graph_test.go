package graph_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/graph"
	"github.com/convae/convae/nn/layer"
	"github.com/convae/convae/nn/op"
)

func dense(units int) graph.Layer { return &layer.Dense{Units: units} }

// Mistakes in names and inputs are errors of the layer that has them.
func TestGraphErrors(t *testing.T) {
	named := func(l graph.Layer, name string, inputs ...string) graph.Spec {
		return graph.Spec{Layer: l, Name: name, Inputs: inputs}
	}
	for _, c := range []struct {
		name             string
		encoder, decoder []graph.Spec
		part             string
		index            int
		want             string
	}{
		{"unknown", []graph.Spec{named(dense(4), "a"), named(&layer.Add{}, "", "a", "b")}, graph.Specs(dense(6)), "encoder", 1, `its input "b" is the name of no layer: want one of a, input`},
		{"itself", []graph.Spec{named(dense(6), "a", "a")}, graph.Specs(dense(6)), "encoder", 0, `its input "a" is not made before it`},
		{"cycle", []graph.Spec{named(dense(6), "a", "b"), named(dense(6), "b", "a")}, graph.Specs(dense(6)), "encoder", 0, `its input "b" is not made before it`},
		{"later part", []graph.Spec{named(dense(6), "", "z")}, []graph.Spec{named(dense(6), "z")}, "encoder", 0, `its input "z" is not made before it`},
		{"shape", []graph.Spec{named(dense(4), "a"), named(dense(5), "b"), named(&layer.Add{}, "", "a", "b")}, graph.Specs(dense(6)), "encoder", 2, "input 2 has the shape (5), want that of the first, (4)"},
		{"unused", []graph.Spec{named(dense(4), "a"), named(dense(5), "b", "input")}, graph.Specs(dense(6)), "encoder", 0, "no layer takes its output"},
		{"unused code", graph.Specs(dense(4)), []graph.Spec{named(dense(6), "", "input")}, "encoder", 0, "no layer takes its output"},
		{"taken", []graph.Spec{named(dense(4), "a"), named(dense(5), "a")}, graph.Specs(dense(6)), "encoder", 1, `its name "a" is taken`},
		{"model's input", []graph.Spec{named(dense(4), "input")}, graph.Specs(dense(6)), "encoder", 0, `its name "input" is taken`},
		{"odd name", []graph.Spec{named(dense(4), "a b")}, graph.Specs(dense(6)), "encoder", 0, `its name is "a b", want letters`},
		{"none", []graph.Spec{{Layer: dense(4), Inputs: []string{}}}, graph.Specs(dense(6)), "encoder", 0, "inputs is empty"},
		{"two for one", []graph.Spec{named(dense(4), "a"), named(dense(4), "", "a", "input")}, graph.Specs(dense(6)), "encoder", 1, "it has 2 inputs, want 1"},
		{"one for two", []graph.Spec{named(dense(4), "a"), named(&layer.Add{}, "")}, graph.Specs(dense(6)), "encoder", 1, "it has 1 input, want at least 2"},
		{"no layer", []graph.Spec{{Name: "a"}}, graph.Specs(dense(6)), "encoder", 0, "names no layer: want one of conv2d"},
	} {
		_, err := graph.Build(backend.Vec(6), graph.Part{Name: "encoder", Layers: c.encoder}, graph.Part{Name: "decoder", Layers: c.decoder}, graph.Options{Samples: 1})
		var l *graph.LayerError
		if !errors.As(err, &l) || l.Part != c.part || l.Index != c.index || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one of %s layer %d with %q", c.name, err, c.part, c.index+1, c.want)
		}
	}
}

// A value with several readers is not fused away, and its gradient is the sum of what they contribute, the last first.
func TestSeveralReaders(t *testing.T) {
	conv := func() graph.Layer {
		return &layer.Conv2D{Filters: 2, Kernel: layer.Square(3), Activation: "relu"}
	}
	g, err := graph.Build(backend.Shape{N: 1, H: 4, W: 4, C: 2}, graph.Part{Name: "encoder", Layers: []graph.Spec{
		{Layer: conv(), Name: "a"}, {Layer: &layer.MaxPool2D{Size: 2}}, {Layer: &layer.UpSampling2D{Size: 2}, Name: "b"},
		{Layer: &layer.Add{}, Inputs: []string{"a", "b"}}}}, graph.Part{Name: "decoder", Layers: graph.Specs(conv())}, graph.Options{Samples: 3, Training: true})
	if err != nil {
		t.Fatal(err)
	}
	g.Fuse(g.Input, g.Code, g.Output)
	list := func(steps []op.Call) (s string) {
		for _, st := range steps {
			s += st.Op.Name() + " "
		}
		return strings.TrimSpace(s)
	}
	forward := g.Calls
	if got := list(forward); got != "Conv MaxPool Upsample Plus Conv" {
		t.Fatalf("fused to %s", got)
	}
	grads := op.NewGrads(g.Tape, forward)
	grads.Add(g.Output, g.Like(g.Output))
	grads.Back(forward)
	// The first convolution's gradient: a copy from the sum, and the pool's added to it, before the activation.
	const want = "ActivateBack ConvBackWeights ConvBackInput Copy Copy UpsampleBack MaxPoolBack Accumulate ActivateBack ConvBackWeights"
	if got := list(g.Calls[len(forward):]); got != want {
		t.Errorf("gradients are\n%s\nwant\n%s", got, want)
	}
}

func TestRegisterRefuses(t *testing.T) {
	for name, f := range map[string]func(){
		"a key that is taken":    func() { graph.Register("dense", func() graph.Layer { return new(Twice) }) },
		"a field of all layers":  func() { graph.Register("inputs", func() graph.Layer { return new(Twice) }) },
		"a layer under two keys": func() { graph.Register("dense2", func() graph.Layer { return new(layer.Dense) }) },
		"a layer without a key":  func() { graph.Register("", func() graph.Layer { return new(Twice) }) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s is registered", name)
				}
			}()
			f()
		}()
	}
}
