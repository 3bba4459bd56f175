package nn

import (
	"math"
	"reflect"
	"slices"
	"testing"

	"github.com/convae/convae/cpu"
	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/graph"
	"github.com/convae/convae/nn/layer"
	"github.com/convae/convae/nn/rng"
)

// cuttable is a model with every op that lanes of the CPU do together, each large enough for three of them.
func cuttable() Config {
	conv := func(filters int, act string) graph.Layer {
		return &layer.Conv2D{Filters: filters, Kernel: layer.Square(3), Activation: act}
	}
	return Config{Name: "cuttable", Input: []int{31, 34, 3},
		Encoder: []graph.Spec{{Layer: conv(24, "relu")}, {Layer: conv(56, "tanh")}, {Layer: &layer.MaxPool2D{Size: 3, Stride: 2}},
			{Layer: &layer.Conv2D{Filters: 48, Kernel: layer.Square(1), Activation: "silu"}}, {Layer: &layer.Conv2D{Filters: 96, Kernel: layer.Square(3), Stride: 2}}},
		Decoder: []graph.Spec{{Layer: &layer.Conv2DTranspose{Filters: 48, Kernel: layer.Square(3), Stride: 2}}, {Layer: &layer.AveragePooling2D{Size: 3, Stride: 1, Padding: "same"}},
			{Layer: conv(32, "")}, {Layer: &layer.Activation{Function: "gelu"}, Name: "middle"}, {Layer: &layer.UpSampling2D{Size: 2, Interpolation: "bilinear"}},
			{Layer: conv(24, ""), Name: "left"}, {Layer: &layer.UpSampling2D{Size: 2}, Inputs: []string{"middle"}, Name: "copies"}, {Layer: conv(24, ""), Name: "right"},
			{Layer: &layer.Add{}, Inputs: []string{"left", "right"}, Name: "sum"}, {Layer: &layer.Concatenate{}, Inputs: []string{"sum", "copies"}}, {Layer: conv(3, "sigmoid")},
			{Layer: &layer.Flatten{}}, {Layer: &layer.Dense{Units: 101}}, {Layer: &layer.Dense{Units: 31 * 34 * 3}}, {Layer: &layer.Reshape{Shape: []int{31, 34, 3}}}}}
}

// However many lanes do the ops of a few samples together, or take samples, the results are the same, bit for bit.
func TestLanesTogether(t *testing.T) {
	m := mustModel(t, cuttable())
	const most = 5
	x := make([]float32, most*m.Input.Len())
	src := rng.Source{Seed: 3, Stream: rng.StreamTest}
	for i := 0; i+4 <= len(x); i += 4 {
		z := src.Uniforms(uint32(i/4), 0, 0)
		copy(x[i:], z[:])
	}
	var want []float32
	for _, lanes := range []int{1, 2, 3, 8, 64} {
		dev, err := cpu.Open(cpu.Options{Lanes: lanes})
		if err != nil {
			t.Fatal(err)
		}
		n, err := NewNetwork(m, dev, NetworkOptions{})
		if err != nil {
			t.Fatal(err)
		}
		defer n.Close()
		for _, count := range []int{1, most, 2} {
			got := make([]float32, count*m.Output.Len())
			if err := n.Predict(got, x[:count*m.Input.Len()], count); err != nil {
				t.Fatal(err)
			}
			if want == nil {
				want = make([]float32, most*m.Output.Len())
				if err := n.Predict(want, x, most); err != nil {
					t.Fatal(err)
				}
			}
			same := func(a, b float32) bool { return math.Float32bits(a) == math.Float32bits(b) }
			if !slices.EqualFunc(got, want[:len(got)], same) {
				t.Errorf("%d samples on %d lanes differ from those on one", count, lanes)
			}
		}
		if lanes != 3 {
			continue
		}
		if len(n.lanes.memory) != 3 || n.lanes.arenas != 3 {
			t.Errorf("%d lanes have %d workspaces and %d arenas", lanes, len(n.lanes.memory), n.lanes.arenas)
		}
		cut, seen := n.parts[wholePart].programs[1], map[string]bool{}
		for i, c := range cut.Calls {
			seen[c.Op.Name()] = seen[c.Op.Name()] || cut.pieces[i] == lanes
		}
		for i, c := range n.packs.lists {
			seen[c[0].Op.Name()] = seen[c[0].Op.Name()] || n.packs.pieces[i].n == lanes
		}
		splitter := n.w.lanes[0].(backend.Splitter)
		for i := range reflect.TypeFor[backend.Backend]().NumMethod() {
			if op := reflect.TypeFor[backend.Backend]().Method(i).Name; splitter.Pieces(op, math.MaxInt) > 1 && !seen[op] {
				t.Errorf("the model has no %s that is large enough for %d lanes", op, lanes)
			}
		}
		if a := testing.AllocsPerRun(3, func() { n.Predict(want[:m.Output.Len()], x[:m.Input.Len()], 1) }); a != 0 {
			t.Errorf("a prediction of one sample on %d lanes allocates %v times", lanes, a)
		}
	}
}
