package graph

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"

	"github.com/convae/convae/nn/rng"
)

// Initializer says how the weights of a layer are drawn: by Name, one of glorot_uniform (the default), glorot_normal,
// he_uniform and he_normal, or by Std alone, from the normal distribution of that standard deviation round 0. In YAML it
// reads `he_normal`, or `{normal: {std: 0.1}}`.
type Initializer struct {
	Name string
	Std  float64
}

// normalInitializer is how a file writes an initializer with a standard deviation.
type normalInitializer struct {
	Normal struct {
		Std float64 `yaml:"std" json:"std"`
	} `yaml:"normal,flow" json:"normal"`
}

// UnmarshalYAML reads a name or `{normal: {std: 0.1}}`.
func (i *Initializer) UnmarshalYAML(unmarshal func(any) error) error {
	var n normalInitializer
	if unmarshal(&i.Name) == nil {
		return nil
	}
	if unmarshal(&n) != nil {
		return errors.New("want " + initializerNames)
	}
	*i = Initializer{Name: "normal", Std: n.Normal.Std}
	return nil
}

// MarshalYAML writes what UnmarshalYAML reads.
func (i Initializer) MarshalYAML() (any, error) {
	if i.Std == 0 {
		return i.Name, nil
	}
	var n normalInitializer
	n.Normal.Std = i.Std
	return n, nil
}

// MarshalJSON writes a name as text, as long as the initializer is no more than that.
func (i Initializer) MarshalJSON() ([]byte, error) {
	v, err := i.MarshalYAML()
	if err != nil {
		return nil, err
	}
	return json.Marshal(v)
}

const initializerNames = "glorot_uniform, glorot_normal, he_uniform, he_normal or {normal: {std: 0.1}}"

// Distribution is what the initial values of a parameter are drawn from. The zero Distribution makes zeros.
type Distribution struct {
	mean   float32 // of values without spread
	normal bool
	cut    bool    // a normal distribution is cut at two standard deviations
	spread float32 // limit of the uniform distribution, or standard deviation before the cut; 0 for values that are all alike
}

// Constant sets all values to v.
func Constant(v float32) Distribution { return Distribution{mean: v} }

// Distribution knows the initialisers of Keras: Glorot and Bengio (2010), He et al. (2015).
func (i Initializer) Distribution(fanIn, fanOut int) (Distribution, error) {
	glorot, he := 2/float64(fanIn+fanOut), 2/float64(fanIn)
	uniform := func(v float64) Distribution { return Distribution{spread: float32(math.Sqrt(3 * v))} }
	// A normal distribution cut at two standard deviations keeps 0.8796 of its standard deviation.
	normal := func(v float64) Distribution {
		return Distribution{normal: true, cut: true, spread: float32(math.Sqrt(v) / 0.87962566103423978)}
	}
	if i.Name == "normal" || i.Std != 0 {
		if i.Name != "" && i.Name != "normal" {
			return Distribution{}, fmt.Errorf("initializer %s has a std, want %s", i.Name, initializerNames)
		}
		if !(i.Std > 0 && i.Std <= maxInitialStd) {
			return Distribution{}, fmt.Errorf("initializer normal: std is %v, want more than 0 and at most %v", i.Std, maxInitialStd)
		}
		return Distribution{normal: true, spread: float32(i.Std)}, nil
	}
	switch i.Name {
	case "", "glorot_uniform":
		return uniform(glorot), nil
	case "glorot_normal":
		return normal(glorot), nil
	case "he_uniform":
		return uniform(he), nil
	case "he_normal":
		return normal(he), nil
	}
	return Distribution{}, fmt.Errorf("initializer is %q, want %s", i.Name, initializerNames)
}

// maxInitialStd bounds the standard deviation of initial weights: all beyond it are mistakes.
const maxInitialStd = 100.0

// Draw returns the initial values of parameter i of a model, with n elements: row i of the seed's StreamInit.
func (d Distribution) Draw(seed uint64, i, n int) []float32 {
	src := rng.Source{Seed: seed, Stream: rng.StreamInit}
	data := make([]float32, n)
	for j := range data {
		if data[j] = d.mean; d.spread != 0 {
			data[j] = d.draw(src, uint32(j), uint32(i))
		}
	}
	return data
}

func (d Distribution) draw(src rng.Source, column, row uint32) float32 {
	if !d.normal {
		u := src.Uniforms(column/4, row, 0)[column%4]
		return (2*u - 1) * d.spread // 2u is exact
	}
	for draw := uint32(0); ; draw++ {
		z := src.Normals(column/4, row, draw)[column%4]
		if !d.cut || z > -2 && z < 2 {
			return z * d.spread
		}
	}
}
