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
