package nn_test

import (
	"fmt"

	"github.com/convae/convae/nn"
	"github.com/convae/convae/nn/device"
	"github.com/convae/convae/nn/graph"
	"github.com/convae/convae/nn/layer"
	"github.com/convae/convae/trainer/dataset"
)

// open returns a trainer of a model on the drawn digits.
func open(c nn.Config, o nn.TrainerOptions) (*nn.Model, *nn.Trainer, func()) {
	model, err := nn.New(c, 1)
	check(err)
	dev, _, err := device.Open("auto")
	check(err)
	t, err := nn.NewTrainer(model, dev, o)
	check(err)
	digits := dataset.Digits(o.Batch, 1)
	check(t.SetData(digits.Pixels, digits.Len()))
	return model, t, func() { t.Close(); dev.Close() }
}

// Trains a variational autoencoder for a few steps, the divergence growing, and makes up an image.
func ExampleSampling() {
	model, t, done := open(nn.Config{Name: "vae", Input: []int{784},
		Encoder: graph.Specs(&layer.Dense{Units: 32, Activation: "relu"}, &layer.Dense{Units: 4}, &layer.Sampling{}),
		Decoder: graph.Specs(&layer.Dense{Units: 784, Activation: "sigmoid"})},
		nn.TrainerOptions{Batch: 64, Loss: nn.BCE, Reduction: nn.SampleReduction})
	defer done()
	for step := range 10 {
		t.SetDivergence(nn.Divergence{Beta: nn.Given(1), Warmup: 5}.Weight(float64(step)))
		t.Step(0, 64, 0)
	}
	net := t.Network()
	defer net.Close()
	image := make([]float32, 784)
	check(net.Decode(image, []float32{0.5, -1}, 1))
	fmt.Println("a code of", model.Code.Len(), "numbers makes", len(image), "pixels")
	// Output: a code of 2 numbers makes 784 pixels
}

// Selects five pixels of the digits.
func ExampleConcrete() {
	model, t, done := open(nn.Config{Name: "concrete", Input: []int{784}, Encoder: graph.Specs(&layer.Concrete{Select: 5}),
		Decoder: graph.Specs(&layer.Dense{Units: 784, Activation: "sigmoid"})}, nn.TrainerOptions{Batch: 64, Loss: nn.MSE})
	defer done()
	for step := range 20 {
		t.SetTemperature(nn.Temperature{Start: 10, End: 0.1, Epochs: 20}.At(float64(step)))
		t.Step(0, 64, 0)
	}
	check(t.Pull())
	fmt.Println(len(model.Selected()), "pixels selected")
	// Output: 5 pixels selected
}

// Keeps a code sparse, its gradient short, and warms the learning rate up.
func ExampleSchedule() {
	_, t, done := open(nn.Config{Name: "sparse", Input: []int{784}, Encoder: graph.Specs(&layer.Dense{Units: 32, Activation: "sigmoid"}),
		Decoder: graph.Specs(&layer.Dense{Units: 784, Activation: "sigmoid"})},
		nn.TrainerOptions{Batch: 64, Loss: nn.BCE, Clip: nn.Clip{Norm: 1}, Activity: nn.ActivityRegularizer{KL: 0.1, Rho: 0.05}})
	defer done()
	schedule := nn.Schedule{Name: "cosine", Warmup: 2, Epochs: 10}
	for epoch := range 10 {
		t.SetLearningRate(0.01 * schedule.Share(float64(epoch), 1, 0))
		t.Step(0, 64, 0)
	}
	fmt.Printf("the last rate was %.6f\n", t.LearningRate())
	// Output: the last rate was 0.000381
}

// Penalises the Jacobian of the encoder; four batches make a step.
func ExampleContractive() {
	_, t, done := open(nn.Config{Name: "contractive", Input: []int{784}, Encoder: graph.Specs(&layer.Dense{Units: 32, Activation: "sigmoid"}),
		Decoder: graph.Specs(&layer.Dense{Units: 784, Activation: "sigmoid"})},
		nn.TrainerOptions{Batch: 64, MicroBatch: 16, Loss: nn.BCE, Contractive: nn.Contractive{Weight: 1e-3}, Kernel: nn.Regularizer{L2: 1e-4}})
	defer done()
	t.Step(0, 64, 0)
	first, err := t.Loss()
	check(err)
	for range 20 {
		t.ResetLoss()
		t.Step(0, 64, 0)
	}
	last, err := t.Loss()
	check(err)
	fmt.Println("the loss falls:", last < first)
	// Output: the loss falls: true
}
