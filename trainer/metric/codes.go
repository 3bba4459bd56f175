package metric

import (
	"encoding/binary"
	"maps"
	"math"
	"slices"
)

// CodeValues say what an encoder makes of N samples.
type CodeValues struct {
	Units       int     `json:"units"`        // values of a code
	Active      int     `json:"active_units"` // units that tell samples apart
	Mean        float64 `json:"mean"`         // of all values of all codes
	Compression float64 `json:"compression"`  // values of a sample for each value of its code
	// Perplexity is how many vectors of a codebook are chosen, each as often as the others counting as one: the exponential of the entropy, in nats,
	// of the share of pixels that have each; 0 without a codebook.
	Perplexity float64 `json:"perplexity,omitempty"`
}

// activeShare is the variance over the samples from which on a unit of a Gaussian code counts as active, a hundredth of
// its prior's: Y. Burda, R. Grosse and R. Salakhutdinov, "Importance Weighted Autoencoders", 2016. Units of other codes
// have no scale of their own, and are held against the one that varies most.
const activeShare = 0.01

// Codes gathers how the values of codes vary. The zero value is ready to use.
type Codes struct {
	// Gaussian says that the codes are the means of a variational model.
	Gaussian bool
	// Vector is the length of the vectors that quantised codes consist of, 0 of others.
	Vector int

	n            int
	first        []float32       // code, from which differences are taken, so that large values leave the variance its digits
	sum, squares []float64       // of the differences, by unit
	chosen       map[string]*int // how often each vector was, by its bits
	bits         []byte          // of a vector
}

// Add adds codes of the given number of units. It panics if the number changes or the codes are not whole.
func (c *Codes) Add(codes []float32, units int) {
	if units < 1 || len(codes)%units != 0 || c.n > 0 && units != len(c.sum) {
		panic("metric: length is not a whole number of codes")
	}
	if len(codes) == 0 {
		return
	}
	if c.n == 0 {
		c.begin(codes[:units])
	}
	for ; len(codes) > 0; codes = codes[units:] {
		for i, v := range codes[:units] {
			d := float64(v) - float64(c.first[i])
			c.sum[i] += d
			c.squares[i] += float64(d * d)
		}
		for at := 0; c.Vector > 0 && at+c.Vector <= units; at += c.Vector {
			c.choose(codes[at:][:c.Vector])
		}
		c.n++
	}
}

// choose counts a vector.
func (c *Codes) choose(vector []float32) {
	c.bits = c.bits[:0]
	for _, v := range vector {
		c.bits = binary.LittleEndian.AppendUint32(c.bits, math.Float32bits(v))
	}
	n, ok := c.chosen[string(c.bits)]
	if !ok {
		n = new(int)
		c.chosen[string(c.bits)] = n
	}
	*n++
}

// perplexity is that of the vectors.
func (c *Codes) perplexity() float64 {
	total, entropy := 0.0, 0.0
	for _, n := range c.chosen {
		total += float64(*n)
	}
	for _, key := range slices.Sorted(maps.Keys(c.chosen)) { // in one order: so that the sum is the same each time
		share := float64(*c.chosen[key]) / total
		entropy -= share * math.Log(share)
	}
	return math.Exp(entropy)
}

// begin takes the first code.
func (c *Codes) begin(code []float32) {
	if c.Vector > 0 {
		c.chosen = map[string]*int{}
	}
	if len(c.first) == len(code) {
		copy(c.first, code)
		clear(c.sum)
		clear(c.squares)
		return
	}
	c.first = slices.Clone(code)
	c.sum, c.squares = make([]float64, len(code)), make([]float64, len(code))
}

// CodeSums are what a Codes has gathered, for another to merge.
type CodeSums struct {
	N            int
	First        []float32 // code
	Sum, Squares []float64 // of the differences from it, by unit
	Chosen       map[string]int
}

// Sums returns what has been gathered so far.
func (c *Codes) Sums() CodeSums {
	if c.n == 0 {
		return CodeSums{}
	}
	s := CodeSums{N: c.n, First: slices.Clone(c.first), Sum: slices.Clone(c.sum), Squares: slices.Clone(c.squares)}
	if c.Vector > 0 {
		s.Chosen = make(map[string]int, len(c.chosen))
		for key, n := range c.chosen {
			s.Chosen[key] = *n
		}
	}
	return s
}

// Merge adds the codes that another Codes has gathered. It panics if they have other units.
func (c *Codes) Merge(s CodeSums) {
	if s.N == 0 {
		return
	}
	if c.n == 0 {
		c.begin(s.First)
	}
	if len(s.Sum) != len(c.sum) {
		panic("metric: length is not a whole number of codes")
	}
	n := float64(s.N)
	for i := range c.sum {
		d := float64(s.First[i]) - float64(c.first[i]) // from one first code to the other
		c.squares[i] += s.Squares[i] + float64(2*d*s.Sum[i]) + float64(n*float64(d*d))
		c.sum[i] += s.Sum[i] + float64(n*d)
	}
	for key, n := range s.Chosen {
		if c.chosen[key] == nil {
			c.chosen[key] = new(int)
		}
		*c.chosen[key] += n
	}
	c.n += s.N
}

// Reset forgets the codes added so far.
func (c *Codes) Reset() { c.n = 0 }

// Result returns the values of the codes added so far, of samples of the given size; all zero if there were none.
func (c *Codes) Result(size int) CodeValues {
	if c.n == 0 {
		return CodeValues{}
	}
	n, units := float64(c.n), len(c.sum)
	v := CodeValues{Units: units, Compression: float64(size) / float64(units)}
	if c.Vector > 0 {
		v.Perplexity = c.perplexity()
	}
	least := 0.0
	for i, s := range c.sum {
		v.Mean += (float64(c.first[i]) + s/n) / float64(units)
		least = max(least, c.variance(i)*activeShare)
	}
	if c.Gaussian {
		least = activeShare
	}
	for i := range c.sum {
		if c.variance(i) > least {
			v.Active++
		}
	}
	return v
}

// variance returns that of a unit.
func (c *Codes) variance(unit int) float64 {
	n := float64(c.n)
	mean := c.sum[unit] / n
	return c.squares[unit]/n - float64(mean*mean)
}

// CodesBytes is what a Codes holds of codes of so many units.
func CodesBytes(units int) int { return (4 + 8 + 8) * units }
