package nn_test

import (
	"fmt"
	"log"

	"github.com/convae/convae/nn"
	"github.com/convae/convae/nn/device"
	"github.com/convae/convae/nn/graph"
	"github.com/convae/convae/nn/layer"
	"github.com/convae/convae/trainer/dataset"
)

// check ends an example that went wrong.
func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

// Trains the denoiser for a few steps and runs it.
func Example() {
	model, err := nn.New(nn.Denoiser(), 1)
	check(err)
	dev, _, err := device.Open("auto")
	check(err)
	defer dev.Close()
	t, err := nn.NewTrainer(model, dev, nn.TrainerOptions{Batch: 32, Loss: nn.BCE, Noise: 0.5, Seed: 1})
	check(err)
	defer t.Close()
	digits := dataset.Digits(128, 1)
	check(t.SetData(digits.Pixels, digits.Len()))
	var losses []float64
	for range 2 {
		t.ResetLoss()
		for at := 0; at < digits.Len(); at += 32 {
			t.Step(at, 32, 0)
		}
		loss, err := t.Loss()
		check(err)
		losses = append(losses, loss)
	}
	fmt.Println("the loss falls:", losses[1] < losses[0])
	net := t.Network()
	defer net.Close()
	code, image := make([]float32, model.Code.Len()), make([]float32, model.Output.Len())
	check(net.Encode(code, make([]float32, model.Input.Len()), 1))
	check(net.Decode(image, code, 1))
	fmt.Println(len(code), "values make", len(image), "pixels")
	// Output:
	// the loss falls: true
	// 1568 values make 784 pixels
}

// Trains on float32 values, of a table or a simulation, instead of pixels.
func ExampleTrainer_SetValues() {
	model, err := nn.New(nn.Config{Name: "points", Input: []int{2},
		Encoder: graph.Specs(&layer.Dense{Units: 4, Activation: "tanh"}, &layer.Dense{Units: 1}),
		Decoder: graph.Specs(&layer.Dense{Units: 4, Activation: "tanh"}, &layer.Dense{Units: 2})}, 1)
	check(err)
	dev, _, err := device.Open("cpu")
	check(err)
	defer dev.Close()
	points := dataset.Spiral(500, 0.3, 42)
	t, err := nn.NewTrainer(model, dev, nn.TrainerOptions{Batch: points.Len(), Loss: nn.MSE, Optimizer: nn.Optimizer{LearningRate: 0.01}})
	check(err)
	defer t.Close()
	check(t.SetValues(points.Values, points.Len()))
	for range 300 {
		t.ResetLoss()
		t.Step(0, points.Len(), 0)
	}
	loss, err := t.Loss()
	check(err)
	fmt.Println("a mean squared error below 0.03:", loss < 0.03)
	// Output:
	// a mean squared error below 0.03: true
}
