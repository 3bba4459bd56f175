package nn_test

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/convae/convae/nn"
	"github.com/convae/convae/nn/device"
	"github.com/convae/convae/nn/graph"
	"github.com/convae/convae/nn/layer"
	"github.com/convae/convae/nn/rng"
	"github.com/convae/convae/trainer"
	"github.com/convae/convae/trainer/dataset"
)

// What docs/library.md shows: trains a model of one's own, saves it, reads it back and uses it.
func Example_library() {
	const epochs = 2
	images := dataset.Digits(100, 1)
	noisy, clean := make([]float32, images.Size()), make([]float32, images.Size())
	dir, err := os.MkdirTemp("", "convae")
	check(err)
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "mine.safetensors")

	model, err := nn.New(nn.Config{Name: "mine", Input: []int{28, 28, 1}, // or nn.Denoiser()
		Encoder: graph.Specs(&layer.Conv2D{Filters: 16, Kernel: layer.Square(3), Activation: "relu"}, &layer.MaxPool2D{Size: 2}),
		Decoder: graph.Specs(&layer.UpSampling2D{Size: 2}, &layer.Conv2D{Filters: 1, Kernel: layer.Square(3), Activation: "sigmoid"})},
		1) // the seed of the weights
	check(err)
	dev, _, err := device.Open("auto") // the best device there is
	check(err)
	defer dev.Close()
	t, err := nn.NewTrainer(model, dev, nn.TrainerOptions{Batch: 32, Loss: nn.BCE, Noise: 0.5})
	check(err)
	defer t.Close()
	check(t.SetData(images.Pixels, images.Len())) // uint8, NHWC; SetValues takes float32 of any range
	order := make([]int32, images.Len())
	for epoch := range epochs {
		rng.Source{Seed: 1, Stream: rng.StreamShuffle}.Perm(order, uint32(epoch))
		t.SetOrder(order)
		t.ResetLoss()
		for at := 0; at < len(order); at += 32 {
			t.Step(at, min(32, len(order)-at), 0) // draw 0 in every epoch: the noise stays the same
		}
		loss, err := t.Loss() // the mean since ResetLoss; it waits for the device
		check(err)
		fmt.Printf("epoch %d: loss below 1: %v\n", epoch+1, loss < 1)
	}
	check(t.Pull()) // the weights, from the device into the model
	check(trainer.SaveModel(file, model))
	model, _, err = trainer.LoadModel(file)
	check(err)
	net, err := nn.NewNetwork(model, dev, nn.NetworkOptions{})
	check(err)
	defer net.Close()
	check(net.Predict(clean, noisy, 1)) // float32, NHWC: count times the values of a sample
	// Output:
	// epoch 1: loss below 1: true
	// epoch 2: loss below 1: true
}

// What go doc shows: runs a model.
func ExampleNewNetwork() {
	model, err := nn.New(nn.Denoiser(), 1)
	check(err)
	dev, _, err := device.Open("auto")
	check(err)
	defer dev.Close()
	net, err := nn.NewNetwork(model, dev, nn.NetworkOptions{})
	check(err)
	defer net.Close()
	in, out := make([]float32, model.Input.Len()), make([]float32, model.Output.Len())
	check(net.Predict(out, in, 1))
	fmt.Println(len(out), "pixels")
	// Output: 784 pixels
}
