package diffusers

import (
	"fmt"
	"reflect"

	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/graph"
	"github.com/convae/convae/nn/layer"
	"github.com/convae/convae/nn/op"
)

// Of returns the configuration of a model with the layers that AutoencoderKL.Layers has for pixels, in their order, whatever they are called.
// The error says where a model differs.
func Of(input backend.Shape, encoder, decoder []graph.Spec) (AutoencoderKL, error) {
	c := guess(input, encoder, decoder)
	l := c.Layers(true)
	want, err := build(input, l.Encoder, l.Decoder)
	if err != nil {
		return c, err
	}
	got, err := build(input, encoder, decoder)
	if err != nil {
		return c, err
	}
	for i, call := range got.Calls {
		if i == len(want.Calls) {
			return c, fmt.Errorf("diffusers: %s is more than an %s of this size has", call.Layer, class)
		}
		if !reflect.DeepEqual(plain(call.Op), plain(want.Calls[i].Op)) {
			return c, fmt.Errorf("diffusers: %s is not what an %s of this size has for %s", call.Layer, class, want.Calls[i].Layer)
		}
	}
	if len(got.Calls) < len(want.Calls) {
		return c, fmt.Errorf("diffusers: what an %s of this size has for %s is missing", class, want.Calls[len(got.Calls)].Layer)
	}
	return c, nil
}

func build(input backend.Shape, encoder, decoder []graph.Spec) (*graph.Graph, error) {
	return graph.Build(input, graph.Part{Name: "encoder", Layers: encoder}, graph.Part{Name: "decoder", Layers: decoder}, graph.Options{Samples: 1})
}

// plain returns an op without what depends on how many layers there are before it: the random numbers that it draws.
func plain(o op.Op) op.Op {
	if s, ok := o.(*op.Sample); ok {
		return &op.Sample{Code: s.Code, Stats: s.Stats}
	}
	return o
}

// guess reads off a model what the configuration is if it is an autoencoder at all.
func guess(input backend.Shape, encoder, decoder []graph.Spec) AutoencoderKL {
	c := defaults()
	no := false
	c.InChannels, c.SampleSize, c.BlockOutChannels, c.QuantConv, c.PostQuantConv = input.C, input.H, nil, &no, &no
	filters, sums := 1, 0
	level := func() {
		c.BlockOutChannels = append(c.BlockOutChannels, filters)
	}
	var last *layer.Conv2D
	for _, s := range encoder {
		switch l := s.Layer.(type) {
		case *layer.GroupNormalization:
			c.NormGroups = max(l.Groups, 1)
		case *layer.Add:
			sums++
		case *layer.Conv2D:
			if l.Stride > 1 {
				if level(); len(c.BlockOutChannels) == 1 {
					c.LayersPerBlock = max(sums, 1)
				}
			}
			filters, last = l.Filters, l
		case *layer.SpatialAttention:
			if level(); len(c.BlockOutChannels) == 1 {
				c.LayersPerBlock = max(sums-1, 1) // one is that of the middle
			}
		}
	}
	if len(c.BlockOutChannels) == 0 {
		level()
	}
	if last != nil {
		c.LatentChannels = max(last.Filters/2, 1)
		if last.Kernel == layer.Square(1) {
			c.QuantConv = nil
		}
	}
	if first, ok := decoder[0].Layer.(*layer.Conv2D); ok && first.Kernel == layer.Square(1) {
		c.PostQuantConv = nil
	}
	for _, s := range decoder {
		if l, ok := s.Layer.(*layer.Conv2D); ok {
			c.OutChannels = l.Filters
		}
	}
	c.fill()
	return c
}
