package use

import (
	"errors"
	"math"
	"slices"
	"testing"

	"github.com/convae/convae/nn"
	"github.com/convae/convae/nn/graph"
	"github.com/convae/convae/nn/layer"
	"github.com/convae/convae/trainer/dataset"
)

// The drawn codes have the divergence that a sum over the posterior's numbers gives, and evaluation in pieces changes nothing.
func TestEvidence(t *testing.T) {
	m, err := nn.New(nn.Config{Name: "small vae", Input: []int{28, 28, 1},
		Encoder: graph.Specs(&layer.Conv2D{Filters: 4, Kernel: layer.Square(3), Stride: 2, Activation: "relu"}, &layer.Flatten{}, &layer.Dense{Units: 8}, &layer.Sampling{}),
		Decoder: graph.Specs(&layer.Dense{Units: 784, Activation: "sigmoid"}, &layer.Reshape{Shape: []int{28, 28, 1}})}, 3)
	if err != nil {
		t.Fatal(err)
	}
	net, err := nn.NewNetwork(m, openApplyDevice(t), nn.NetworkOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer net.Close()
	test := dataset.Digits(40, 1)
	const n = 40
	x := make([]float32, n*784)
	if err := test.Read(x, 0, n); err != nil {
		t.Fatal(err)
	}
	bce, err := newTerms(net, nn.BCE)
	if err != nil {
		t.Fatal(err)
	}
	whole, parts := newDrawn(net, bce, n), newDrawn(net, bce, n)
	whole.reset(9)
	parts.reset(9)
	add := func(d *drawn, x []float32, n int) {
		t.Helper()
		code, want := make([]float32, n*4), make([]float32, n*4)
		if err := errors.Join(d.encode(code, x, n), net.Encode(want, x, n), d.add(x, d.sum.N, n)); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(code, want) {
			t.Error("the codes differ from the network's own")
		}
	}
	add(&whole, x, n)
	for _, p := range [][2]int{{0, 7}, {7, 30}, {30, n}} {
		add(&parts, x[p[0]*784:p[1]*784], p[1]-p[0])
	}
	a, b := whole.result(), parts.result()
	if math.Abs(a.ELBO-b.ELBO) > 1e-9*math.Abs(a.ELBO) {
		t.Errorf("whole %+v, in pieces %+v", a, b)
	}
	stats := make([]float32, n*8)
	if err := net.Posterior(stats, x, n); err != nil {
		t.Fatal(err)
	}
	want := 0.0
	for i := range n {
		for k := range 4 {
			mean, logvar := float64(stats[8*i+k]), float64(stats[8*i+4+k])
			want -= (1 + logvar - mean*mean - math.Exp(logvar)) / 2 / n
		}
	}
	if math.Abs(a.Divergence-want) > 1e-9 {
		t.Errorf("divergence %v, want %v", a.Divergence, want)
	}
}
