package nn

import (
	"github.com/convae/convae/nn/graph"
	"github.com/convae/convae/nn/layer"
)

// Config describes a model. It is the `model` part of a configuration file.
type Config struct {
	Name    string       `yaml:"name"`
	Input   []int        `yaml:"input,flow"` // [rows, columns, channels] or [n]
	Encoder []graph.Spec `yaml:"encoder"`
	Decoder []graph.Spec `yaml:"decoder"`
}

// Denoiser is the convolutional denoiser of the Keras autoencoder tutorial for 28x28 greyscale images.
func Denoiser() Config {
	conv := func(filters int, act string) graph.Layer {
		return &layer.Conv2D{Filters: filters, Kernel: layer.Square(3), Activation: act}
	}
	return Config{
		Name:  "denoiser",
		Input: []int{28, 28, 1},
		Encoder: graph.Specs(
			conv(32, "relu"), &layer.MaxPool2D{Size: 2},
			conv(32, "relu"), &layer.MaxPool2D{Size: 2}),
		Decoder: graph.Specs(
			conv(32, "relu"), &layer.UpSampling2D{Size: 2},
			conv(32, "relu"), &layer.UpSampling2D{Size: 2},
			conv(1, "sigmoid")),
	}
}
