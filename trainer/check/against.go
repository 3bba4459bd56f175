package check

import (
	"fmt"
	"math"

	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/backend/backendtest"
)

// Against tells how the results of every op compare with another device's, which was given the same inputs.
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
	Times  int     `json:"times"` // calls in which they differed
	Worst  float64 `json:"worst"` // largest difference as a share of the bound
	Where  string  `json:"where"` // the case where that was, or the training
	Got    string  `json:"got"`
	Want   string  `json:"want"`
}

// againstBound is allowed between devices, which sum in different orders; the same code on the same inputs should give
// the same bits but for exponentials, logarithms and the like.
var againstBound = backend.Bound{Abs: 2e-5, Rel: 2e-5}

// anyDifference times the bound is below the distance of any two float32 numbers: what is checked against that tells of
// every difference.
const anyDifference = 0x1p-160

// compared is a device of one lane that does every op on another device too.
type compared struct {
	backend.Device
	Against
	lane  backend.Backend
	where string
}

func newCompared(dev, other backend.Device) *compared {
	c := &compared{Device: dev, where: "training", Against: Against{Device: other.Name(), BitEqual: true, Passed: true,
		Abs: againstBound.Abs, Rel: againstBound.Rel, Differences: []Difference{}}}
	tight := backend.Bound{Abs: againstBound.Abs * anyDifference, Rel: againstBound.Rel * anyDifference}
	c.lane = backend.Checked(dev.Lanes()[0], other.Lanes()[0], tight, c.differs)
	return c
}

// Lanes returns the one lane.
func (c *compared) Lanes() []backend.Backend { return []backend.Backend{c.lane} }

// run runs a case of the table.
func (c *compared) run(b backend.Backend, k backendtest.Case) backendtest.Result {
	defer func(where string) { c.where = where }(c.where)
	c.where = k.Name
	return backendtest.Run(b, k)
}

// differs books a difference.
func (c *compared) differs(m backend.Mismatch) {
	if m.Err != nil {
		c.Errors = append(c.Errors, fmt.Sprintf("%s in %s: %v", m.Op, c.where, m.Err))
		c.BitEqual, c.Passed = false, false
		return
	}
	share := finite(m.Worst * anyDifference)
	if m.Op == "Conv" && m.Output == "argmax" && share <= 1 {
		return // the other device did this convolution without its pool, which is other code
	}
	c.BitEqual, c.Passed, c.Worst = false, c.Passed && share <= 1, math.Max(c.Worst, share)
	d := c.difference(m.Op, m.Output)
	d.Times++
	if share >= d.Worst {
		d.Worst, d.Where, d.Got, d.Want = share, c.where, fmt.Sprintf("%.9g", m.Got), fmt.Sprintf("%.9g", m.Want)
	}
}

// difference returns the entry of an output, which it makes if there is none.
func (c *compared) difference(op, output string) *Difference {
	for i := range c.Differences {
		if d := &c.Differences[i]; d.Op == op && d.Output == output {
			return d
		}
	}
	c.Differences = append(c.Differences, Difference{Op: op, Output: output})
	return &c.Differences[len(c.Differences)-1]
}
