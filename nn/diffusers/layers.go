package diffusers

import (
	"fmt"
	"strings"

	"github.com/convae/convae/nn/graph"
	"github.com/convae/convae/nn/layer"
)

// Layers are those of an autoencoder, each with the name that diffusers has for it.
type Layers struct {
	Encoder, Decoder []graph.Spec
	// Tensors are the names of the parameters of a model of these layers, in its order.
	Tensors []string
}

// Layers returns the layers of the autoencoder. Those for pixels take and make pictures of [0,1], as models here do, where diffusers has
// numbers of -1 to 1.
func (c AutoencoderKL) Layers(pixels bool) Layers {
	w := &writer{c: c, last: graph.InputName}
	if pixels {
		w.add("to_numbers", &layer.Rescaling{Scale: 2, Offset: -1})
	}
	w.encoder()
	l := Layers{Encoder: w.specs}
	w.specs = nil
	w.decoder()
	if pixels {
		w.add("to_pixels", &layer.Rescaling{Scale: 0.5, Offset: 0.5})
	}
	l.Decoder, l.Tensors = w.specs, w.tensors
	return l
}

// writer makes the layers one after the other.
type writer struct {
	c        AutoencoderKL
	specs    []graph.Spec
	tensors  []string
	last     string // the name of the layer before
	channels int    // that it has
}

func (w *writer) add(name string, l graph.Layer, inputs ...string) {
	w.specs = append(w.specs, graph.Spec{Name: name, Layer: l, Inputs: inputs})
	w.last = name
}

// conv adds a convolution of 3x3 or 1x1. On even numbers of rows and columns a stride of 2 pads at the bottom and right alone, as diffusers
// does with (0, 1, 0, 1).
func (w *writer) conv(name string, filters, kernel, stride int, inputs ...string) {
	w.add(name, &layer.Conv2D{Filters: filters, Kernel: layer.Square(kernel), Stride: stride}, inputs...)
	w.tensors = append(w.tensors, name+".weight", name+".bias")
	w.channels = filters
}

func (w *writer) norm(name string) {
	w.add(name, &layer.GroupNormalization{Groups: w.c.NormGroups, Epsilon: epsilon, Activation: silu})
	w.tensors = append(w.tensors, name+".weight", name+".bias")
}

// epsilon is that of all normalisations.
const epsilon = 1e-6

// resnet adds a residual block.
func (w *writer) resnet(name string, filters int) {
	before, channels := w.last, w.channels
	w.norm(name + ".norm1")
	w.conv(name+".conv1", filters, 3, 0)
	w.norm(name + ".norm2")
	w.conv(name+".conv2", filters, 3, 0)
	if channels != filters {
		w.conv(name+".conv_shortcut", filters, 1, 0, before)
		before = w.last
	}
	w.add(name, &layer.Add{}, name+".conv2", before)
}

// middle adds the blocks at the lowest resolution.
func (w *writer) middle(name string) {
	filters := w.channels
	w.resnet(name+".resnets.0", filters)
	attention := name + ".attentions.0"
	w.add(attention, &layer.SpatialAttention{Groups: w.c.NormGroups, Epsilon: epsilon, Residual: true})
	for _, tensor := range attentionTensors {
		w.tensors = append(w.tensors, attention+"."+tensor.name+".weight", attention+"."+tensor.name+".bias")
	}
	w.resnet(name+".resnets.1", filters)
}

// attentionTensors are the parts of an attention that have weights, in their order, and what releases before 0.15 call them.
var attentionTensors = []struct{ name, former string }{
	{"group_norm", "group_norm"}, {"to_q", "query"}, {"to_k", "key"}, {"to_v", "value"}, {"to_out.0", "proj_attn"},
}

// TensorName returns what a tensor of an attention is called today; other names stay as they are.
func TensorName(name string) string {
	for _, t := range attentionTensors {
		for _, of := range []string{".weight", ".bias"} {
			if layer, ok := strings.CutSuffix(name, "."+t.former+of); ok && strings.Contains(layer, ".attentions.") {
				return layer + "." + t.name + of
			}
		}
	}
	return name
}

func (w *writer) encoder() {
	c := w.c
	w.conv("encoder.conv_in", c.BlockOutChannels[0], 3, 0)
	for i, filters := range c.BlockOutChannels {
		block := fmt.Sprintf("encoder.down_blocks.%d", i)
		for k := range c.LayersPerBlock {
			w.resnet(fmt.Sprintf("%s.resnets.%d", block, k), filters)
		}
		if i < len(c.BlockOutChannels)-1 {
			w.conv(block+".downsamplers.0.conv", filters, 3, 2)
		}
	}
	w.middle("encoder.mid_block")
	w.norm("encoder.conv_norm_out")
	w.conv("encoder.conv_out", 2*c.LatentChannels, 3, 0)
	if yes(c.QuantConv) {
		w.conv("quant_conv", 2*c.LatentChannels, 1, 0)
	}
	w.add("code", &layer.Sampling{Clamp: []float32{-30, 20}})
}

func (w *writer) decoder() {
	c := w.c
	if yes(c.PostQuantConv) {
		w.conv("post_quant_conv", c.LatentChannels, 1, 0)
	}
	last := len(c.BlockOutChannels) - 1
	w.conv("decoder.conv_in", c.BlockOutChannels[last], 3, 0)
	w.middle("decoder.mid_block")
	for i := range c.BlockOutChannels {
		filters, block := c.BlockOutChannels[last-i], fmt.Sprintf("decoder.up_blocks.%d", i)
		for k := range c.LayersPerBlock + 1 {
			w.resnet(fmt.Sprintf("%s.resnets.%d", block, k), filters)
		}
		if i < last {
			w.add(block+".upsamplers.0", &layer.UpSampling2D{Size: 2})
			w.conv(block+".upsamplers.0.conv", filters, 3, 0)
		}
	}
	w.norm("decoder.conv_norm_out")
	w.conv("decoder.conv_out", c.OutChannels, 3, 0)
}

// yes reports a choice that is true unless it is said.
func yes(choice *bool) bool { return choice == nil || *choice }
