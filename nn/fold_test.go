package nn

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/graph"
	"github.com/convae/convae/nn/layer"
)

// A normalisation behind a convolution, a transposed one or a dense layer is made part of its weights where a model is used: what comes out is
// the same but for rounding, of the encoder and the decoder too, and no normalisation is left where none has to be.
func TestBatchNormFolds(t *testing.T) {
	norm := func() graph.Layer { return &layer.BatchNormalization{Activation: "relu"} }
	conv := func(noBias bool) graph.Layer {
		return &layer.Conv2D{Filters: 3, Kernel: layer.Square(3), NoBias: noBias}
	}
	for _, c := range []struct {
		name string
		c    Config
		left int // normalisations
	}{
		{"conv", Config{Encoder: graph.Specs(conv(false), norm(), conv(true), norm(), &layer.MaxPool2D{Size: 2}), Decoder: graph.Specs(&layer.UpSampling2D{Size: 2}, conv(true), norm())}, 0},
		{"transposed", Config{Encoder: graph.Specs(conv(false), norm()), Decoder: graph.Specs(&layer.Conv2DTranspose{Filters: 3, Kernel: layer.Square(3)}, norm(), &layer.Conv2DTranspose{Filters: 5, Kernel: layer.Square(2), NoBias: true}, &layer.BatchNormalization{NoScale: true, NoCenter: true})}, 0},
		{"dense", Config{Encoder: graph.Specs(&layer.Flatten{}, &layer.Dense{Units: 5, NoBias: true}, &layer.BatchNormalization{NoCenter: true}), Decoder: graph.Specs(&layer.Dense{Units: 48}, &layer.BatchNormalization{NoScale: true}, &layer.Reshape{Shape: []int{4, 4, 3}})}, 0},
		{"activation between", Config{Encoder: graph.Specs(&layer.Conv2D{Filters: 3, Kernel: layer.Square(3), Activation: "tanh"}, norm()), Decoder: graph.Specs(conv(false), norm())}, 1},
		{"code between", Config{Encoder: graph.Specs(conv(false)), Decoder: graph.Specs(norm(), conv(false), norm())}, 1},
		{"two readers", Config{Encoder: []graph.Spec{{Layer: conv(false), Name: "a"}, {Layer: norm(), Name: "b"}, {Layer: &layer.Add{}, Inputs: []string{"a", "b"}}}, Decoder: graph.Specs(conv(true), norm())}, 1},
		{"input", Config{Encoder: graph.Specs(norm()), Decoder: graph.Specs(conv(false))}, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.c.Name, c.c.Input = c.name, []int{4, 4, 3}
			m := mustModel(t, c.c)
			for i := range m.Params { // such as training leaves
				p := &m.Params[i]
				for k := range p.Data {
					p.Data[k] = p.Data[k]*0.7 + float32(math.Abs(math.Sin(float64(7*i+k))))/2 + 0.1
				}
			}
			dev := openTest(t)
			var results [2][]float32
			for i, unfused := range []bool{true, false} {
				net, err := NewNetwork(m, dev, NetworkOptions{Unfused: unfused})
				if err != nil {
					t.Fatal(err)
				}
				defer net.Close()
				x := make([]float32, 3*m.Input.Len())
				for k := range x {
					x[k] = float32(k%17)/8 - 1
				}
				y, code, again := make([]float32, 3*m.Output.Len()), make([]float32, 3*m.Code.Len()), make([]float32, 3*m.Output.Len())
				if err := net.Predict(y, x, 3); err != nil {
					t.Fatal(err)
				}
				if err := net.Encode(code, x, 3); err != nil {
					t.Fatal(err)
				}
				if err := net.Decode(again, code, 3); err != nil {
					t.Fatal(err)
				}
				within(t, fmt.Sprintf("encoded and decoded, unfused %v", unfused), again, y, backend.Bound{Abs: 1e-5, Rel: 1e-5})
				results[i] = slices.Concat(y, code)
				left := 0
				p, err := net.compile(wholePart, 1)
				if err != nil {
					t.Fatal(err)
				}
				for _, call := range p.Calls {
					if call.Op.Name() == "BatchNorm" {
						left++
					}
				}
				if !unfused && left != c.left {
					t.Errorf("%d normalisations are left, want %d\n%v", left, c.left, p)
				}
			}
			within(t, "outputs and codes", results[1], results[0], backend.Bound{Abs: 1e-5, Rel: 1e-5})
		})
	}
}
