package nn

import (
	"fmt"

	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/op"
)

// Check trains on the samples offset to offset+n of the order, as Step does, but on one lane of one device, and has every op
// checked: those of the micro-batches, of the update and of what else a step consists of. It takes many times as long. The
// weights are then those that the device makes. c.Upload need not be set.
func (t *Trainer) Check(offset, n int, draw uint32, c op.Checker) error {
	return t.check(offset, n, draw, false, c)
}

// CheckOn is Check on n samples given as values, as StepOn takes them.
func (t *Trainer) CheckOn(x, y []float32, n int, c op.Checker) error {
	return t.fed("CheckOn", x, y, n, func() error { return t.check(0, n, 0, true, c) })
}

func (t *Trainer) check(offset, n int, draw uint32, feed bool, c op.Checker) error {
	c.Upload = t.uploadKnown
	t.apart = true
	defer func() { t.apart = false }()
	var lost error
	err := t.stepWith(offset, n, draw, feed, func(s *op.Call, f *op.Frame, _ []op.Info) {
		if err := c.Run(s, f); err != nil && lost == nil {
			lost = err
		}
	})
	if err != nil {
		return err
	}
	if lost != nil {
		return fmt.Errorf("nn: %w", lost)
	}
	return t.Wait()
}

// uploadKnown gives a tensor of another backend what the trainer has told the device.
func (t *Trainer) uploadKnown(b backend.Backend, dst, src backend.Tensor) {
	switch src.Role {
	case backend.PerStep:
		b.SetStepParams(dst, t.params)
	case backend.Index:
		b.UploadIndex(dst, t.order)
	}
}
