package nn_test

import (
	"fmt"
	"log"

	"convae/nn"
	"convae/trainer/dataset"
)

// Trains the denoiser for a few steps and runs it.
func Example() {
	model, err := nn.New(nn.Denoiser(), 1)
	if err != nil {
		log.Fatal(err)
	}
	dev, _, err := nn.Open("auto")
	if err != nil {
		log.Fatal(err)
	}
	defer dev.Close()
	t, err := nn.NewTrainer(model, dev, nn.TrainerOptions{Batch: 32, Loss: nn.BCE, Noise: 0.5, Seed: 1})
	if err != nil {
		log.Fatal(err)
	}
	defer t.Close()
	digits := dataset.Digits(128, 1)
	if err := t.SetData(digits.Pixels, digits.Len()); err != nil {
		log.Fatal(err)
	}
	var losses []float64
	for range 2 {
		t.ResetLoss()
		for at := 0; at < digits.Len(); at += 32 {
			t.Step(at, 32, 0)
		}
		loss, err := t.Loss()
		if err != nil {
			log.Fatal(err)
		}
		losses = append(losses, loss)
	}
	fmt.Println("the loss falls:", losses[1] < losses[0])
	net := t.Network()
	defer net.Close()
	code, image := make([]float32, model.Code.Len()), make([]float32, model.Output.Len())
	if err := net.Encode(code, make([]float32, model.Input.Len()), 1); err != nil {
		log.Fatal(err)
	}
	if err := net.Decode(image, code, 1); err != nil {
		log.Fatal(err)
	}
	fmt.Println(len(code), "values make", len(image), "pixels")
	// Output:
	// the loss falls: true
	// 1568 values make 784 pixels
}

// Trains on float32 values, of a table or a simulation, instead of pixels.
func ExampleTrainer_SetValues() {
	model, err := nn.New(nn.Config{Name: "points", Input: []int{2},
		Encoder: nn.Spec(&nn.Dense{Units: 4, Activation: "tanh"}, &nn.Dense{Units: 1}),
		Decoder: nn.Spec(&nn.Dense{Units: 4, Activation: "tanh"}, &nn.Dense{Units: 2})}, 1)
	if err != nil {
		log.Fatal(err)
	}
	dev, _, err := nn.Open("cpu")
	if err != nil {
		log.Fatal(err)
	}
	defer dev.Close()
	points := dataset.Spiral(500, 0.3, 42)
	t, err := nn.NewTrainer(model, dev, nn.TrainerOptions{Batch: points.Len(), Loss: nn.MSE, Optimizer: nn.Optimizer{LearningRate: 0.01}})
	if err != nil {
		log.Fatal(err)
	}
	defer t.Close()
	if err := t.SetValues(points.Values, points.Len()); err != nil {
		log.Fatal(err)
	}
	for range 300 {
		t.ResetLoss()
		t.Step(0, points.Len(), 0)
	}
	loss, err := t.Loss()
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("a mean squared error below 0.03:", loss < 0.03)
	// Output:
	// a mean squared error below 0.03: true
}
