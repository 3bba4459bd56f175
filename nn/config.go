package nn

import (
	"fmt"
	"strings"
)

// Config describes a model. It is the `model` part of a configuration file.
type Config struct {
	Name    string      `yaml:"name"`
	Input   []int       `yaml:"input,flow"` // [rows, columns, channels] or [n]
	Encoder []LayerSpec `yaml:"encoder"`
	Decoder []LayerSpec `yaml:"decoder"`
}

// LayerSpec names one layer; exactly one field is set. In YAML it reads `conv2d: {filters: 32, kernel: 3}`.
type LayerSpec struct {
	Conv2D          *Conv2D          `yaml:"conv2d,omitempty,flow"`
	Conv2DTranspose *Conv2DTranspose `yaml:"conv2d_transpose,omitempty,flow"`
	MaxPool2D       *MaxPool2D       `yaml:"maxpool2d,omitempty,flow"`
	UpSampling2D    *UpSampling2D    `yaml:"upsampling2d,omitempty,flow"`
	Dense           *Dense           `yaml:"dense,omitempty,flow"`
	Activation      *Activation      `yaml:"activation,omitempty,flow"`
	Flatten         *Flatten         `yaml:"flatten,omitempty,flow"`
	Reshape         *Reshape         `yaml:"reshape,omitempty,flow"`
	Dropout         *Dropout         `yaml:"dropout,omitempty,flow"`
	Sampling        *Sampling        `yaml:"sampling,omitempty,flow"`
	Concrete        *Concrete        `yaml:"concrete,omitempty,flow"`
}

// layerNames are the keys of LayerSpec.
const layerNames = "conv2d, conv2d_transpose, maxpool2d, upsampling2d, dense, activation, flatten, reshape, dropout, sampling, concrete"

// Layer returns the one layer that is set.
func (s LayerSpec) Layer() (Layer, error) {
	var set []Layer
	add := func(l Layer, ok bool) {
		if ok {
			set = append(set, l)
		}
	}
	add(s.Conv2D, s.Conv2D != nil)
	add(s.Conv2DTranspose, s.Conv2DTranspose != nil)
	add(s.MaxPool2D, s.MaxPool2D != nil)
	add(s.UpSampling2D, s.UpSampling2D != nil)
	add(s.Dense, s.Dense != nil)
	add(s.Activation, s.Activation != nil)
	add(s.Flatten, s.Flatten != nil)
	add(s.Reshape, s.Reshape != nil)
	add(s.Dropout, s.Dropout != nil)
	add(s.Sampling, s.Sampling != nil)
	add(s.Concrete, s.Concrete != nil)
	switch len(set) {
	case 1:
		return set[0], nil
	case 0:
		return nil, fmt.Errorf("names no layer: want one of %s (an empty one as `flatten: {}`)", layerNames)
	}
	var kinds []string
	for _, l := range set {
		kinds = append(kinds, l.Kind())
	}
	return nil, fmt.Errorf("names %d layers (%s): each needs a list item of its own", len(set), strings.Join(kinds, ", "))
}

// Spec wraps layers for a Config. It panics on a type that is not of this package.
func Spec(layers ...Layer) []LayerSpec {
	specs := make([]LayerSpec, len(layers))
	for i, l := range layers {
		switch l := l.(type) {
		case *Conv2D:
			specs[i].Conv2D = l
		case *Conv2DTranspose:
			specs[i].Conv2DTranspose = l
		case *MaxPool2D:
			specs[i].MaxPool2D = l
		case *UpSampling2D:
			specs[i].UpSampling2D = l
		case *Dense:
			specs[i].Dense = l
		case *Activation:
			specs[i].Activation = l
		case *Flatten:
			specs[i].Flatten = l
		case *Reshape:
			specs[i].Reshape = l
		case *Dropout:
			specs[i].Dropout = l
		case *Sampling:
			specs[i].Sampling = l
		case *Concrete:
			specs[i].Concrete = l
		default:
			panic("nn: Spec: unknown layer type")
		}
	}
	return specs
}

// Denoiser is the convolutional denoiser of the Keras autoencoder tutorial for 28x28 greyscale images.
func Denoiser() Config {
	conv := func(filters int, act string) Layer {
		return &Conv2D{Filters: filters, Kernel: Square(3), Activation: act}
	}
	return Config{
		Name:  "denoiser",
		Input: []int{28, 28, 1},
		Encoder: Spec(
			conv(32, "relu"), &MaxPool2D{Size: 2},
			conv(32, "relu"), &MaxPool2D{Size: 2}),
		Decoder: Spec(
			conv(32, "relu"), &UpSampling2D{Size: 2},
			conv(32, "relu"), &UpSampling2D{Size: 2},
			conv(1, "sigmoid")),
	}
}
