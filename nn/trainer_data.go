package nn

import (
	"fmt"
	"math"

	"convae/nn/backend"
)

// SetData gives the trainer a data set: count samples of uint8 pixels, 0 to 255, in NHWC order. They are copied to the
// device if it has room; else they are streamed batch by batch, and pixels must stay as it is. Samples are drawn in their
// own order until SetOrder is called. Both ways give the same results.
func (t *Trainer) SetData(pixels []byte, count int) error {
	if count < 1 || count > math.MaxInt32 || len(pixels) != count*t.m.Input.Len() {
		return fmt.Errorf("nn: the data set has %d bytes for %d samples, want %d a sample, the model's input %s", len(pixels), count, t.m.Input.Len(), shapeText(t.m.Input))
	}
	b := t.mem.b
	t.forget()
	t.data.free()
	t.stream = nil
	set := backend.Tensor{Shape: t.m.Input.WithN(count), Kind: backend.Byte}
	t.order = backend.Tensor{Shape: backend.Vec(count), Kind: backend.Index}
	orderBytes := b.Bytes(t.order.Kind, t.order.Shape)
	free, err := t.dev.Free()
	if err != nil {
		return fmt.Errorf("nn: %w", err)
	}
	if t.order.Buffer, err = t.data.alloc(orderBytes, "order of the data set"); err != nil {
		return err
	}
	if b.Bytes(set.Kind, set.Shape)+orderBytes > free {
		t.stream = &stream{pixels: pixels, order: make([]int32, count)}
		// One is filled while the step before reads the other.
		for i := range t.pixels {
			if t.pixels[i], err = t.allocPixels(backend.Staged, t.o.Batch); err != nil {
				return err
			}
		}
	} else {
		if set, err = t.allocPixels(backend.Byte, count); err != nil {
			return err
		}
		b.UploadBytes(set, pixels)
		t.pixels = [2]backend.Tensor{set, set}
	}
	order := make([]int32, count)
	for i := range order {
		order[i] = int32(i)
	}
	t.SetOrder(order)
	return nil
}

// allocPixels allocates the pixels of n samples.
func (t *Trainer) allocPixels(k backend.Kind, n int) (backend.Tensor, error) {
	p := backend.Tensor{Shape: t.m.Input.WithN(n), Kind: k}
	var err error
	p.Buffer, err = t.data.alloc(t.mem.b.Bytes(k, p.Shape), "data set")
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
