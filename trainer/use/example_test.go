package use_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/convae/convae/nn"
	"github.com/convae/convae/nn/device"
	"github.com/convae/convae/nn/graph"
	"github.com/convae/convae/nn/layer"
	"github.com/convae/convae/trainer"
	"github.com/convae/convae/trainer/dataset"
	"github.com/convae/convae/trainer/metric"
	"github.com/convae/convae/trainer/picture"
	"github.com/convae/convae/trainer/use"
)

// lineNetwork makes (a, a) of (a, b).
func lineNetwork() *nn.Network {
	c := nn.Config{Name: "line", Input: []int{2}, Encoder: graph.Specs(&layer.Dense{Units: 1}), Decoder: graph.Specs(&layer.Dense{Units: 2})}
	model, err := nn.New(c, 1)
	check(err)
	copy(model.Params[0].Data, []float32{1, 0})
	copy(model.Params[2].Data, []float32{1, 1})
	dev, _, err := device.Open("cpu")
	check(err)
	net, err := nn.NewNetwork(model, dev, nn.NetworkOptions{})
	check(err)
	return net
}

// Scores points by their distance from the line that a model knows.
func ExampleSampleErrors() {
	usual := &dataset.Set{H: 1, W: 1, C: 2, Values: []float32{0, 0, 1, 2, 3, 3}}
	others := &dataset.Set{H: 1, W: 1, C: 2, Values: []float32{5, 5, 0, 4}}
	net := lineNetwork()
	errors, err := use.SampleErrors(context.Background(), net, usual)
	check(err)
	scores, err := use.SampleErrors(context.Background(), net, others)
	check(err)
	threshold := metric.Quantile(errors, 0.99)
	fmt.Println(scores, scores[0] > threshold, scores[1] > threshold)
	// Output: [0 8] false true
}

// Goes from one point to another in four steps.
func ExampleInterpolate() {
	points, err := use.Interpolate(lineNetwork(), []float32{0, 0}, []float32{3, 3}, 4)
	check(err)
	fmt.Println(points)
	// Output: [0 0 1 1 2 2 3 3]
}

// Draws what the first layer of a trained model looks for; here one that is not trained yet.
func ExampleFeatures() {
	c, err := trainer.Preset("dense32")
	check(err)
	model, err := nn.New(c.Model, 1)
	check(err)
	images, err := use.Features(model)
	check(err)
	fmt.Println(len(images), "filters of", images[0].W, "x", images[0].H, "pixels")
	// Output: 32 filters of 28 x 28 pixels
}

// Cleans an image of any size with a model of convolutions; here one that is not trained yet.
func ExampleApply() {
	model, err := nn.New(nn.Denoiser(), 1)
	check(err)
	dev, _, err := device.Open("cpu")
	check(err)
	defer dev.Close()
	noisy := picture.Image{H: 50, W: 301, C: 3, Pix: make([]float32, 50*301*3)}
	clean, err := use.Apply(context.Background(), model, dev, noisy)
	check(err)
	fmt.Println(clean.W, "x", clean.H, "pixels,", clean.C, "channels")
	// Output: 301 x 50 pixels, 3 channels
}

// Measures a model on points, and what its code is like.
func ExampleEvaluate() {
	points := &dataset.Set{H: 1, W: 1, C: 2, Values: []float32{0, 0, 1, 2, 3, 3}}
	e, err := use.Evaluate(context.Background(), lineNetwork(), points, nn.Loss{}, use.Corruption{}, 1, false)
	check(err)
	fmt.Printf("MSE %.4f, max error %.0f; %d of %d units active, compression %.0f\n", e.Output.MSE, e.Output.MaxAbs, e.Code.Active, e.Code.Units, e.Code.Compression)
	// Output: MSE 0.1667, max error 1; 1 of 1 units active, compression 2
}

// The codes of a grid of 2 x 2, row by row from above, at the quartiles of the standard normal distribution.
func ExampleManifoldCodes() {
	axis := use.PriorAxis(2)
	fmt.Printf("%.2f\n", use.ManifoldCodes(axis, axis))
	// Output: [-0.67 0.67 0.67 0.67 -0.67 -0.67 0.67 -0.67]
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

// Codes go to NumPy's files and come back.
func Example_codes() {
	net := lineNetwork()
	codes := make([]float32, 3)
	check(net.Encode(codes, []float32{0, 0, 1, 2, 3, 3}, 3))
	dir, err := os.MkdirTemp("", "convae")
	check(err)
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "codes.npy")
	check(trainer.WriteNPY(file, codes, []int{3, 1}))
	a, err := trainer.ReadNPY(file)
	check(err)
	points := make([]float32, 6)
	check(net.Decode(points, a.Data, 3))
	fmt.Println(a.Shape, points)
	// Output: [3 1] [0 0 1 1 3 3]
}
