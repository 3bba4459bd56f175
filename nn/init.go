package nn

import (
	"fmt"
	"math"

	"github.com/convae/convae/nn/rng"
)

// initializer draws initial weights.
type initializer struct {
	normal bool
	scale  float32 // limit of the uniform distribution, or standard deviation before truncation
}

// parseInitializer knows the initialisers of Keras: Glorot and Bengio (2010), He et al. (2015).
func parseInitializer(name string, fanIn, fanOut int) (initializer, error) {
	glorot, he := 2/float64(fanIn+fanOut), 2/float64(fanIn)
	uniform := func(v float64) initializer { return initializer{false, float32(math.Sqrt(3 * v))} }
	// A normal distribution cut at two standard deviations keeps 0.8796 of its standard deviation.
	normal := func(v float64) initializer { return initializer{true, float32(math.Sqrt(v) / 0.87962566103423978)} }
	switch name {
	case "", "glorot_uniform":
		return uniform(glorot), nil
	case "glorot_normal":
		return normal(glorot), nil
	case "he_uniform":
		return uniform(he), nil
	case "he_normal":
		return normal(he), nil
	}
	return initializer{}, fmt.Errorf("initializer is %q, want glorot_uniform, glorot_normal, he_uniform or he_normal", name)
}

// initialize draws all weights: row i of the seed's StreamInit is parameter i. Biases start at zero.
func (m *Model) initialize(seed uint64) {
	src := rng.Source{Seed: seed, Stream: rng.StreamInit}
	for i := range m.Params {
		p := &m.Params[i]
		p.Data = make([]float32, p.Shape.Len())
		if p.isBias {
			continue
		}
		for j := range p.Data {
			p.Data[j] = p.init.draw(src, uint32(j), uint32(i))
		}
	}
}

func (in initializer) draw(src rng.Source, column, row uint32) float32 {
	if !in.normal {
		u := src.Uniforms(column/4, row, 0)[column%4]
		return (2*u - 1) * in.scale // 2u is exact
	}
	for draw := uint32(0); ; draw++ {
		z := src.Normals(column/4, row, draw)[column%4]
		if z > -2 && z < 2 {
			return z * in.scale
		}
	}
}
