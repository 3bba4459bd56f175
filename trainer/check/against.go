package check

import (
	"fmt"
	"math"
	"strings"

	"github.com/convae/convae/nn"
	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/backend/backendtest"
	"github.com/convae/convae/nn/op"
)

// Against tells how the results of every case, and of every op of the training, compare with another device's, which was
// given the same inputs.
type Against struct {
	Device      string       `json:"device"`
	BitEqual    bool         `json:"bit_equal"`        // in every element of every output
	Worst       float64      `json:"worst"`            // largest difference as a share of the bound
	Abs         float64      `json:"bound_abs"`        // the bound: abs + rel*|value|
	Rel         float64      `json:"bound_rel"`        //
	Differences []Difference `json:"differences"`      // by op and output
	Errors      []string     `json:"errors,omitempty"` // ops that the other device could not do
	Passed      bool         `json:"passed"`
}

// Difference is an output in which the devices differ.
type Difference struct {
	Op     string  `json:"op"` // method of backend.Backend
	Output string  `json:"output"`
	Times  int     `json:"times"` // cases and ops of the training in which they differed
	Worst  float64 `json:"worst"` // largest difference as a share of the bound
	Where  string  `json:"where"` // the case where that was, or the layer of the training
	Got    string  `json:"got"`
	Want   string  `json:"want"`
}

// againstBound is allowed between devices, which sum in different orders; the same code on the same inputs should give
// the same bits but for exponentials, logarithms and the like.
var againstBound = backend.Bound{Abs: 2e-5, Rel: 2e-5}

// anyDifference times the bound is below the distance of any two float32 numbers: what is checked against that tells of
// every difference.
const anyDifference = 0x1p-160

// compared compares a device with another.
type compared struct {
	Against
	other backend.Backend
	tight backend.Bound
}

func newCompared(other backend.Device) *compared {
	return &compared{other: other.Lanes()[0], tight: backend.Bound{Abs: againstBound.Abs * anyDifference, Rel: againstBound.Rel * anyDifference},
		Against: Against{Device: other.Name(), BitEqual: true, Passed: true, Abs: againstBound.Abs, Rel: againstBound.Rel, Differences: []Difference{}}}
}

// run runs a case of the table on both devices.
func (c *compared) run(b backend.Backend, k backendtest.Case) backendtest.Result {
	r, differences := backendtest.Compare(b, c.other, k, c.tight)
	for _, d := range differences {
		c.differs(k.Name, op.Mismatch{Op: subject(k), Output: d.Output, Worst: d.Worst, At: d.At, Got: d.Got, Want: d.Want, Err: d.Err})
	}
	return r
}

// step does a step of a training, of which every op is done by the other device too. Without one, as a nil compared has none,
// it is a step like any other.
func (c *compared) step(t *nn.Trainer, offset, n int) error {
	if c == nil {
		t.Step(offset, n, 0)
		return nil
	}
	return t.Check(offset, n, 0, c.checker())
}

// stepOn does a step on samples given as values.
func (c *compared) stepOn(t *nn.Trainer, x, y []float32, n int) error {
	if c == nil {
		return t.StepOn(x, y, n)
	}
	return t.CheckOn(x, y, n, c.checker())
}

func (c *compared) checker() op.Checker {
	return op.Checker{Reference: c.other, Bound: c.tight, Report: func(m op.Mismatch) { c.differs("training, "+m.Layer, m) }}
}

// differs books a difference.
func (c *compared) differs(where string, m op.Mismatch) {
	if m.Err != nil {
		c.Errors = append(c.Errors, fmt.Sprintf("%s in %s: %v", m.Op, where, m.Err))
		c.BitEqual, c.Passed = false, false
		return
	}
	share := finite(m.Worst * anyDifference)
	if m.Op == "Conv" && m.Output == "Argmax" && share <= 1 {
		return // the other device did this convolution without its pool, which is other code
	}
	c.BitEqual, c.Passed, c.Worst = false, c.Passed && share <= 1, math.Max(c.Worst, share)
	d := c.difference(m.Op, m.Output)
	d.Times++
	if share >= d.Worst {
		d.Worst, d.Where, d.Got, d.Want = share, where, fmt.Sprintf("%.9g", m.Got), fmt.Sprintf("%.9g", m.Want)
	}
}

// difference returns the entry of an output, which it makes if there is none. A case calls gradX what an op calls GradX.
func (c *compared) difference(op, output string) *Difference {
	for i := range c.Differences {
		if d := &c.Differences[i]; d.Op == op && strings.EqualFold(d.Output, output) {
			return d
		}
	}
	c.Differences = append(c.Differences, Difference{Op: op, Output: output})
	return &c.Differences[len(c.Differences)-1]
}
