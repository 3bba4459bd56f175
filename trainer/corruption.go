package trainer

import (
	"errors"
	"fmt"
	"strings"

	"github.com/convae/convae/nn/corrupt"
)

// Corruption is a way of making inputs worse: one of its fields, each a kind of package corrupt with its numbers.
type Corruption struct {
	Gaussian      *Deviation `yaml:"gaussian,omitempty"`
	Speckle       *Deviation `yaml:"speckle,omitempty"`
	SaltAndPepper *Share     `yaml:"salt_and_pepper,omitempty"`
	Masking       *Masking   `yaml:"masking,omitempty"`
	Blur          *Deviation `yaml:"blur,omitempty"` // in pixels
	Downscale     *Downscale `yaml:"downscale,omitempty"`
	JPEG          *JPEG      `yaml:"jpeg,omitempty"`
}

// Deviation is a standard deviation.
type Deviation struct {
	Std float32 `yaml:"std"`
}

// Share is that of the values that are corrupted.
type Share struct {
	Share float32 `yaml:"share"`
}

// Masking fills square patches of Size pixels with a value.
type Masking struct {
	Size  int     `yaml:"size"`
	Share float32 `yaml:"share"` // of the patches
	Value float32 `yaml:"value,omitempty"`
}

// Downscale makes an image smaller by a factor, and as large as before again.
type Downscale struct {
	Factor int `yaml:"factor"`
}

// JPEG loses what a JPEG file of a quality loses.
type JPEG struct {
	Quality Quality `yaml:"quality,flow"`
}

// Quality is that of JPEG files, 1 to 100: a number, or the least and the most of what is drawn for each sample.
type Quality [2]int

var errQuality = errors.New("want a whole number, or [least, most]")

// UnmarshalYAML reads "30" or "[10, 50]".
func (q *Quality) UnmarshalYAML(unmarshal func(any) error) error {
	var of []float64 // of which an int would lose the fraction
	var n float64
	if unmarshal(&n) == nil {
		of = []float64{n, n}
	} else if unmarshal(&of) != nil || len(of) != 2 {
		return errQuality
	}
	*q = Quality{int(of[0]), int(of[1])}
	if float64(q[0]) != of[0] || float64(q[1]) != of[1] {
		return errQuality
	}
	return nil
}

// MarshalYAML writes what UnmarshalYAML reads.
func (q Quality) MarshalYAML() (any, error) {
	if q[0] == q[1] {
		return q[0], nil
	}
	return []int{q[0], q[1]}, nil
}

// all lists the kinds that are given.
func (c Corruption) all() (list []corrupt.Corruption) {
	for _, d := range []struct {
		kind  corrupt.Kind
		given *Deviation
	}{{corrupt.Gaussian, c.Gaussian}, {corrupt.Speckle, c.Speckle}, {corrupt.Blur, c.Blur}} {
		if d.given != nil {
			list = append(list, corrupt.Corruption{Kind: d.kind, Amount: d.given.Std})
		}
	}
	if s := c.SaltAndPepper; s != nil {
		list = append(list, corrupt.Corruption{Kind: corrupt.SaltAndPepper, Amount: s.Share})
	}
	if m := c.Masking; m != nil {
		list = append(list, corrupt.Corruption{Kind: corrupt.Masking, Amount: m.Share, Size: m.Size, Value: m.Value})
	}
	if d := c.Downscale; d != nil {
		list = append(list, corrupt.Corruption{Kind: corrupt.Downscale, Size: d.Factor})
	}
	if j := c.JPEG; j != nil {
		list = append(list, corrupt.Corruption{Kind: corrupt.JPEG, Quality: j.Quality})
	}
	return list
}

// Check reports a corruption that cannot be.
func (c Corruption) Check() error {
	list := c.all()
	if len(list) != 1 {
		return fmt.Errorf("names %d kinds of corruption: want one of %s, each in a list item of its own", len(list), strings.Join(corrupt.Kinds(), ", "))
	}
	if err := list[0].Check(); err != nil {
		return fmt.Errorf("is not possible: %w", err)
	}
	return nil
}
