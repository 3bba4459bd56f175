package nn

import (
	"fmt"
	"math"

	"github.com/convae/convae/nn/backend"
)

// SetData gives the trainer a data set: count samples of uint8 pixels, 0 to 255, in NHWC order. They are copied to the
// device if it has room; else they are streamed batch by batch, and pixels must stay as it is. Samples are drawn in their
// own order until SetOrder is called. Both ways give the same results.
func (t *Trainer) SetData(pixels []byte, count int) error {
	orderBytes, _, usable, err := t.newData(len(pixels), "bytes", count)
	if err != nil {
		return err
	}
	b := t.mem.b
	t.values = false
	set := backend.Tensor{Shape: t.m.Input.WithN(count), Kind: backend.Byte}
	if b.Bytes(set.Kind, set.Shape)+orderBytes > usable {
		t.stream = &stream{pixels: pixels, order: make([]int32, count)}
		// One is filled while the step before reads the other.
		for i := range t.samples {
			if t.samples[i], err = t.allocSamples(backend.Staged, t.m.Input.WithN(t.o.Batch)); err != nil {
				return err
			}
		}
	} else {
		if set, err = t.allocSamples(set.Kind, set.Shape); err != nil {
			return err
		}
		b.UploadBytes(set, pixels)
		t.samples = [2]backend.Tensor{set, set}
	}
	return t.setOrder(count)
}

// SetValues gives the trainer a data set of float32 values of any range: count samples in NHWC order. The noise that is
// added to them is not clipped. They are copied to the device; it is an error that says how much is needed if it has no
// room for them.
func (t *Trainer) SetValues(values []float32, count int) error {
	orderBytes, free, usable, err := t.newData(len(values), "values", count)
	if err != nil {
		return err
	}
	t.values = true
	shape := backend.Vec(len(values))
	if need := t.mem.b.Bytes(backend.Flat, shape) + orderBytes; need > usable {
		return fmt.Errorf("nn: the data set needs %s on %s, where %s are free: float32 values must fit the device (uint8 pixels are streamed)", BytesText(need), t.dev.Name(), BytesText(free))
	}
	set, err := t.allocSamples(backend.Flat, shape)
	if err != nil {
		return err
	}
	t.mem.b.Upload(set, values)
	t.samples = [2]backend.Tensor{set, set}
	return t.setOrder(count)
}

// newData forgets the data set for one of count samples and n elements, and says what its order takes, what is free
// and what of that may be taken.
func (t *Trainer) newData(n int, elements string, count int) (orderBytes, free, usable int, err error) {
	if count < 1 || count > math.MaxInt32 || n != count*t.m.Input.Len() {
		return 0, 0, 0, fmt.Errorf("nn: the data set has %d %s for %d samples, want %d a sample, the model's input %s", n, elements, count, t.m.Input.Len(), shapeText(t.m.Input))
	}
	t.forget()
	t.data.free()
	t.stream = nil
	t.order = backend.Tensor{Shape: backend.Vec(count), Kind: backend.Index}
	orderBytes = t.mem.b.Bytes(t.order.Kind, t.order.Shape)
	free, usable, err = t.freeBytes()
	return orderBytes, free, usable, err
}

// setOrder makes the order of a data set of count samples, which is their own.
func (t *Trainer) setOrder(count int) error {
	var err error
	if t.order.Buffer, err = t.data.alloc(t.mem.b.Bytes(t.order.Kind, t.order.Shape), "order of the data set"); err != nil {
		return err
	}
	order := make([]int32, count)
	for i := range order {
		order[i] = int32(i)
	}
	t.SetOrder(order)
	return nil
}

// allocSamples allocates a data set, or a batch of it.
func (t *Trainer) allocSamples(k backend.Kind, s backend.Shape) (backend.Tensor, error) {
	p := backend.Tensor{Shape: s, Kind: k}
	var err error
	p.Buffer, err = t.data.alloc(t.mem.b.Bytes(k, s), "data set")
	return p, err
}

// stream is a data set that stays on the host.
type stream struct {
	pixels []byte
	order  []int32
}

// fillStage writes the samples of the step at hand in their order.
func (t *Trainer) fillStage(p []byte) {
	size := t.m.Input.Len()
	for n, i := range t.stream.order[t.offset : t.offset+t.count] {
		copy(p[n*size:][:size], t.stream.pixels[int(i)*size:])
	}
}

// SetOrder sets the order in which samples are drawn, a permutation of the data set.
func (t *Trainer) SetOrder(order []int32) {
	if len(order) != t.order.Shape.C {
		panic("nn: SetOrder: the order is not as long as the data set")
	}
	t.mem.b.UploadIndex(t.order, order)
	if t.stream != nil {
		copy(t.stream.order, order)
	}
}
