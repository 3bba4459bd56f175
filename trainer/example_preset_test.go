package trainer_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/convae/convae/nn"
	"github.com/convae/convae/nn/device"
	"github.com/convae/convae/trainer"
	"github.com/convae/convae/trainer/dataset"
)

// fit trains a preset with a few changes on 256 drawn digits, and measures it on 64 others.
func fit(preset string, changes ...trainer.Change) (*nn.Model, trainer.Result) {
	c, err := trainer.Preset(preset, changes...)
	check(err)
	dev, _, err := device.Open("cpu")
	check(err)
	defer dev.Close()
	dir, err := os.MkdirTemp("", "convae")
	check(err)
	defer os.RemoveAll(dir)
	digits, run := dataset.Digits(320, 1), filepath.Join(dir, "run")
	r, err := trainer.Train(context.Background(), c, trainer.Options{Dir: run, Device: dev, Train: digits.Slice(0, 256), Test: digits.Slice(256, 320)})
	check(err)
	model, _, err := trainer.LoadModel(run)
	check(err)
	return model, r
}

// Denoises with convolutions: the images that come out are closer to the clean ones than those that go in.
func ExamplePreset_denoiser() {
	_, r := fit("denoiser", trainer.Set("training.epochs=3"), trainer.Set("training.batch=16"))
	fmt.Println("PSNR rises:", r.Final.Output.PSNR > r.Final.Input.PSNR)
	// Output: PSNR rises: true
}

// Keeps the code sparse with an L1 penalty.
func ExamplePreset_sparse() {
	epochs := trainer.Set("training.epochs=20")
	_, dense := fit("sparse-l1", epochs, trainer.Set("training.activity_regularizer={l1: 0}"))
	_, sparse := fit("sparse-l1", epochs, trainer.Set("training.activity_regularizer={l1: 0.01}"))
	fmt.Println("the code is smaller:", sparse.Final.Code.Mean < dense.Final.Code.Mean/2)
	// Output: the code is smaller: true
}

// Keeps the code from changing with the input.
func ExamplePreset_contractive() {
	_, r := fit("contractive", trainer.Set("training.epochs=5"))
	fmt.Printf("%d units, compression %.2f\n", r.Final.Code.Units, r.Final.Code.Compression)
	// Output: 120 units, compression 6.53
}

// Trains a variational autoencoder; the divergence of its codes from the standard normal distribution is warmed up.
func ExamplePreset_variational() {
	_, r := fit("vae", trainer.Set("training.epochs=4"), trainer.Set("training.divergence={beta: 1, warmup: 2}"))
	e := r.Final.Drawn
	fmt.Println("a bound of the likelihood in nats:", e.ELBO == -(e.BCE+e.Divergence))
	// Output: a bound of the likelihood in nats: true
}

// Selects the pixels from which the image can best be drawn.
func ExamplePreset_concrete() {
	model, _ := fit("concrete", trainer.Set("training.epochs=2"), trainer.Set("model.encoder.1.concrete.select=9"))
	fmt.Println(len(model.Selected()), "of", model.Input.Len(), "pixels")
	// Output: 9 of 784 pixels
}

// Stops when the validation loss no longer falls and keeps the best epoch; the learning rate falls in a cosine.
func ExamplePreset_stopping() {
	_, r := fit("dense32", trainer.Set("training.epochs=100"), trainer.Set("training.optimizer.learning_rate=0.03"), trainer.Set("training.keep_best=true"),
		trainer.Set("training.early_stopping={patience: 2}"), trainer.Set("training.schedule={name: cosine, warmup: 1}"), trainer.Set("training.batch=64"))
	fmt.Println("the best epoch comes before the last:", r.BestAt < len(r.History))
	// Output: the best epoch comes before the last: true
}
