// Package diffusers knows the autoencoder of latent diffusion, AutoencoderKL, as the diffusers library saves it: its config.json, the layers
// that it says, and the names of their tensors.
package diffusers

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
)

// Files of a folder that diffusers saves an autoencoder to.
const (
	ConfigFile  = "config.json"
	WeightsFile = "diffusion_pytorch_model.safetensors"
)

// AutoencoderKL is what config.json says of an autoencoder. What decides neither its layers nor their weights is read and left alone.
type AutoencoderKL struct {
	Class   string `json:"_class_name"`
	Version string `json:"_diffusers_version,omitempty"`
	Path    string `json:"_name_or_path,omitempty"`

	InChannels       int      `json:"in_channels"`
	OutChannels      int      `json:"out_channels"`
	DownBlocks       []string `json:"down_block_types"`
	UpBlocks         []string `json:"up_block_types"`
	BlockOutChannels []int    `json:"block_out_channels"` // of each resolution, from that of the pictures on
	LayersPerBlock   int      `json:"layers_per_block"`
	Activation       string   `json:"act_fn"`
	LatentChannels   int      `json:"latent_channels"`
	NormGroups       int      `json:"norm_num_groups"`
	SampleSize       int      `json:"sample_size"` // rows and columns of the pictures that it was trained on

	QuantConv     *bool `json:"use_quant_conv,omitempty"`          // true
	PostQuantConv *bool `json:"use_post_quant_conv,omitempty"`     // true
	MidAttention  *bool `json:"mid_block_add_attention,omitempty"` // true

	// What pipelines do with the codes.
	ScalingFactor float64   `json:"scaling_factor"`
	ShiftFactor   *float64  `json:"shift_factor,omitempty"`
	LatentsMean   []float64 `json:"latents_mean,omitempty"`
	LatentsStd    []float64 `json:"latents_std,omitempty"`
	ForceUpcast   *bool     `json:"force_upcast,omitempty"`
}

const (
	class     = "AutoencoderKL"
	downBlock = "DownEncoderBlock2D"
	upBlock   = "UpDecoderBlock2D"
	silu      = "silu"
)

// Parse reads a config.json; what it leaves out is as in diffusers. An autoencoder with other layers than those that Layers makes is an error.
func Parse(config []byte) (AutoencoderKL, error) {
	c := defaults()
	d := json.NewDecoder(bytes.NewReader(config))
	d.DisallowUnknownFields()
	if err := d.Decode(&c); err != nil {
		return c, fmt.Errorf("diffusers: %s: %w", ConfigFile, err)
	}
	if c.Class != class {
		return c, fmt.Errorf("diffusers: %s: _class_name is %q, want %s", ConfigFile, c.Class, class)
	}
	c.fill()
	return c, c.check()
}

// defaults is the configuration that diffusers has for an empty one.
func defaults() AutoencoderKL {
	return AutoencoderKL{Class: class, InChannels: 3, OutChannels: 3, BlockOutChannels: []int{64}, LayersPerBlock: 1, Activation: silu,
		LatentChannels: 4, NormGroups: 32, SampleSize: 32, ScalingFactor: 0.18215}
}

// fill names the types of blocks that are left out.
func (c *AutoencoderKL) fill() {
	if c.DownBlocks == nil {
		c.DownBlocks = slices.Repeat([]string{downBlock}, len(c.BlockOutChannels))
	}
	if c.UpBlocks == nil {
		c.UpBlocks = slices.Repeat([]string{upBlock}, len(c.BlockOutChannels))
	}
}

func (c *AutoencoderKL) check() error {
	for _, l := range []struct {
		field, block string
		types        []string
	}{{"down_block_types", downBlock, c.DownBlocks}, {"up_block_types", upBlock, c.UpBlocks}} {
		if len(l.types) != len(c.BlockOutChannels) || slices.ContainsFunc(l.types, func(t string) bool { return t != l.block }) {
			return fmt.Errorf("diffusers: %s: %s is %q, want %d times %s, as block_out_channels has so many", ConfigFile, l.field, l.types, len(c.BlockOutChannels), l.block)
		}
	}
	if c.Activation != silu && c.Activation != "swish" {
		return fmt.Errorf("diffusers: %s: act_fn is %q, want %s", ConfigFile, c.Activation, silu)
	}
	if n := len(c.BlockOutChannels); n < 1 || n > maxLevels {
		return fmt.Errorf("diffusers: %s: block_out_channels has %d numbers, want 1 to %d", ConfigFile, n, maxLevels)
	}
	for _, n := range []struct {
		field string
		v     int
	}{{"in_channels", c.InChannels}, {"out_channels", c.OutChannels}, {"layers_per_block", c.LayersPerBlock}, {"latent_channels", c.LatentChannels},
		{"norm_num_groups", c.NormGroups}, {"sample_size", c.SampleSize}, {"block_out_channels", slices.Min(c.BlockOutChannels)}, {"block_out_channels", slices.Max(c.BlockOutChannels)}} {
		if n.v < 1 || n.v > maxNumber {
			return fmt.Errorf("diffusers: %s: %s is %d, want 1 to %d", ConfigFile, n.field, n.v, maxNumber)
		}
	}
	if c.MidAttention != nil && !*c.MidAttention {
		return fmt.Errorf("diffusers: %s: mid_block_add_attention is false, want the attention", ConfigFile)
	}
	return nil
}

// Bounds of a configuration, far beyond those of any autoencoder that there is.
const (
	maxNumber = 1 << 14
	maxLevels = 12
)

// JSON returns the configuration as Parse reads it.
func (c AutoencoderKL) JSON() ([]byte, error) {
	text, err := json.MarshalIndent(c, "", "  ")
	return append(text, '\n'), err
}
