package diffusers_test

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/diffusers"
	"github.com/convae/convae/nn/graph"
	"github.com/convae/convae/nn/layer"
)

// f8 is the config.json of the autoencoder of Stable Diffusion 1.
const f8 = `{"_class_name": "AutoencoderKL", "_diffusers_version": "0.4.1", "act_fn": "silu", "block_out_channels": [128, 256, 512, 512],
"down_block_types": ["DownEncoderBlock2D", "DownEncoderBlock2D", "DownEncoderBlock2D", "DownEncoderBlock2D"], "in_channels": 3,
"latent_channels": 4, "layers_per_block": 2, "out_channels": 3, "sample_size": 512,
"up_block_types": ["UpDecoderBlock2D", "UpDecoderBlock2D", "UpDecoderBlock2D", "UpDecoderBlock2D"]}`

func parse(t *testing.T, text string) diffusers.AutoencoderKL {
	t.Helper()
	c, err := diffusers.Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func build(t *testing.T, input backend.Shape, l diffusers.Layers) *graph.Graph {
	t.Helper()
	g, err := graph.Build(input, graph.Part{Name: "encoder", Layers: l.Encoder}, graph.Part{Name: "decoder", Layers: l.Decoder}, graph.Options{Samples: 1})
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// The autoencoder of Stable Diffusion has as many parameters as people count, and as many tensors as its file.
func TestParameters(t *testing.T) {
	l := parse(t, f8).Layers(true)
	g := build(t, backend.Shape{N: 1, H: 256, W: 256, C: 3}, l)
	n := 0
	for _, p := range g.Params {
		n += p.Shape.Len()
	}
	if n != 83_653_863 || len(l.Tensors) != 248 || len(g.Params) != 248 {
		t.Errorf("%d numbers in %d tensors with %d names, want 83,653,863 in 248", n, len(g.Params), len(l.Tensors))
	}
	if code := g.Shape(g.Code); code != (backend.Shape{N: 1, H: 32, W: 32, C: 4}) || g.Shape(g.Output) != g.Shape(g.Input) {
		t.Errorf("code %v, output %v", code, g.Shape(g.Output))
	}
	if slices.Sort(l.Tensors); len(slices.Compact(l.Tensors)) != 248 {
		t.Error("names of tensors occur twice")
	}
}

// The configuration of a model is found out from its layers, and written as it is read.
func TestOf(t *testing.T) {
	for name, text := range map[string]string{
		"f8":       strings.Replace(f8, `"sample_size": 512`, `"sample_size": 64`, 1),
		"one":      `{"block_out_channels": [8], "norm_num_groups": 2, "layers_per_block": 3, "sample_size": 16}`,
		"two":      `{"block_out_channels": [8, 12], "norm_num_groups": 4, "in_channels": 1, "out_channels": 1, "sample_size": 16}`,
		"no quant": `{"block_out_channels": [8, 8, 16], "norm_num_groups": 4, "latent_channels": 16, "use_quant_conv": false, "use_post_quant_conv": false, "sample_size": 16}`,
	} {
		want := parse(t, text)
		input := backend.Shape{N: 1, H: want.SampleSize, W: want.SampleSize, C: want.InChannels}
		l := want.Layers(true)
		got, err := diffusers.Of(input, l.Encoder, l.Decoder)
		want.Version = ""
		if err != nil || !reflect.DeepEqual(got.Layers(true), l) {
			t.Errorf("%s: %v: %+v, want %+v", name, err, got, want)
		}
		text, err := got.JSON()
		if again := parse(t, string(text)); err != nil || !reflect.DeepEqual(again, got) {
			t.Errorf("%s: %s is read as %+v: %v", name, text, again, err)
		}
		for what, change := range map[string]func(l *diffusers.Layers){
			"encoder.conv_norm_out is not what": func(l *diffusers.Layers) {
				i := slices.IndexFunc(l.Encoder, func(s graph.Spec) bool { return s.Name == "encoder.conv_norm_out" })
				norm := *l.Encoder[i].Layer.(*layer.GroupNormalization)
				norm.Epsilon = 1e-5
				l.Encoder = slices.Clone(l.Encoder)
				l.Encoder[i].Layer = &norm
			},
			"to_pixels is missing": func(l *diffusers.Layers) { l.Decoder = l.Decoder[:len(l.Decoder)-1] },
			"activation is more than": func(l *diffusers.Layers) {
				l.Decoder = append(l.Decoder, graph.Spec{Layer: &layer.Activation{Function: "relu"}})
			},
		} {
			changed := want.Layers(true)
			change(&changed)
			if _, err := diffusers.Of(input, changed.Encoder, changed.Decoder); err == nil || !strings.Contains(err.Error(), what) {
				t.Errorf("%s: error %v, want %q", name, err, what)
			}
		}
	}
}

func TestParseErrors(t *testing.T) {
	for want, text := range map[string]string{
		"EOF":                        "{",
		`unknown field "act"`:        `{"act": "silu"}`,
		"_class_name is \"VQModel\"": `{"_class_name": "VQModel"}`,
		"act_fn is \"relu\"":         `{"act_fn": "relu"}`,
		"down_block_types is [\"AttnDownEncoderBlock2D\"], want 1 times DownEncoderBlock2D": `{"down_block_types": ["AttnDownEncoderBlock2D"]}`,
		"up_block_types":                   `{"up_block_types": []}`,
		"block_out_channels has 0":         `{"block_out_channels": []}`,
		"block_out_channels is -1":         `{"block_out_channels": [8, -1]}`,
		"latent_channels is 0":             `{"latent_channels": 0}`,
		"layers_per_block is 100000":       `{"layers_per_block": 100000}`,
		"mid_block_add_attention is false": `{"mid_block_add_attention": false}`,
	} {
		if _, err := diffusers.Parse([]byte(text)); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "config.json") {
			t.Errorf("%s: error %v, want %q", text, err, want)
		}
	}
	if c, err := diffusers.Parse([]byte("{}")); err != nil || c.BlockOutChannels[0] != 64 || c.ScalingFactor != 0.18215 {
		t.Errorf("%+v, %v", c, err)
	}
	if text, err := parse(t, f8).JSON(); err != nil || !json.Valid(text) {
		t.Error(err)
	}
}
