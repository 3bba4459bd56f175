package metric

import "slices"

// CodeValues say what an encoder makes of N samples.
type CodeValues struct {
	Units       int     `json:"units"`        // values of a code
	Active      int     `json:"active_units"` // units that tell samples apart
	Mean        float64 `json:"mean"`         // of all values of all codes
	Compression float64 `json:"compression"`  // values of a sample for each value of its code
}

// activeShare is the variance over the samples from which on a unit of a Gaussian code counts as active, a hundredth of
// its prior's: Y. Burda, R. Grosse and R. Salakhutdinov, "Importance Weighted Autoencoders", 2016. Units of other codes
// have no scale of their own, and are held against the one that varies most.
const activeShare = 0.01

// Codes gathers how the values of codes vary. The zero value is ready to use.
type Codes struct {
	// Gaussian says that the codes are the means of a variational model.
	Gaussian bool

	n            int
	first        []float32 // code, from which differences are taken, so that large values leave the variance its digits
	sum, squares []float64 // of the differences, by unit
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
		c.n++
	}
}

// begin takes the first code.
func (c *Codes) begin(code []float32) {
	if len(c.first) == len(code) {
		copy(c.first, code)
		clear(c.sum)
		clear(c.squares)
		return
	}
	c.first = slices.Clone(code)
	c.sum, c.squares = make([]float64, len(code)), make([]float64, len(code))
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
