package metric

import (
	"math"
	"testing"
)

func TestCodes(t *testing.T) {
	// Four units: one varies by 1 about a large value, one by a fifth, one by a fiftieth, one is constant.
	var plain, gaussian Codes
	gaussian.Gaussian = true
	for i := range 40 {
		s := float32(i%2)*2 - 1
		code := []float32{1000 + s, s / 5, s / 50, 7}
		plain.Add(code, 4)
		gaussian.Add(append(code, code...), 4)
	}
	want := CodeValues{Units: 4, Active: 2, Mean: (1000 + 7) / 4., Compression: 5}
	for name, c := range map[string]*Codes{"plain": &plain, "gaussian": &gaussian} {
		got := c.Result(20)
		if math.Abs(got.Mean-want.Mean) > 1e-9 {
			t.Errorf("%s: mean %v, want %v", name, got.Mean, want.Mean)
		}
		if got.Mean = want.Mean; got != want {
			t.Errorf("%s: %+v, want %+v", name, got, want)
		}
	}

	// All units of a Gaussian code may have collapsed; of another code the one that varies most is active.
	var a, b Codes
	a.Gaussian = true
	for i := range 10 {
		code := []float32{float32(i%2) / 100, 0}
		a.Add(code, 2)
		b.Add(code, 2)
	}
	if n := a.Result(2).Active; n != 0 {
		t.Errorf("a collapsed Gaussian code has %d active units, want 0", n)
	}
	if n := b.Result(2).Active; n != 1 {
		t.Errorf("a code of small values has %d active units, want 1", n)
	}
	b = Codes{}
	b.Add([]float32{1, 2, 1, 2}, 2)
	if n := b.Result(2).Active; n != 0 {
		t.Errorf("a constant code has %d active units, want 0", n)
	}
	if got := new(Codes).Result(3); got != (CodeValues{}) {
		t.Errorf("no codes: %+v", got)
	}
	defer func() {
		if recover() == nil {
			t.Error("half a code: no panic")
		}
	}()
	b.Add([]float32{1, 2, 3}, 2)
}

// Vectors that are chosen equally often count in full.
func TestPerplexity(t *testing.T) {
	c := Codes{Vector: 2}
	for range 2 { // the second time after a Reset
		c.Reset()
		c.Add([]float32{1, 2, 3, 4, 1, 2, 3, 4}, 4)
		near(t, "two vectors", c.Result(4).Perplexity, 2, 1e-12)
		c.Add([]float32{1, 2, 1, 3}, 4)
		near(t, "three vectors", c.Result(4).Perplexity, math.Exp(math.Log(2)/2+math.Log(3)/3+math.Log(6)/6), 1e-12)
	}
	c = Codes{}
	c.Add([]float32{1, 2}, 2)
	near(t, "no vectors", c.Result(4).Perplexity, 0, 0)
}
