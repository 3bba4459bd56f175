package nn

import (
	"fmt"
	"math"

	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/graph"
)

// SetData gives the trainer a data set: count samples of uint8 pixels, 0 to 255, in NHWC order. They are copied to the
// device if it has room; else they are streamed batch by batch, and pixels must stay as it is. Samples are drawn in their
// own order until SetOrder is called. Both ways give the same results.
func (t *Trainer) SetData(pixels []byte, count int) error {
	orderBytes, _, usable, err := t.newData(len(pixels), "bytes", count)
	if err != nil {
		return err
	}
	t.values = false
	set := backend.NewTensor(backend.Pixels, t.m.Input.WithN(count))
	if bytesOf(t.first().mem.b, set.Role, set.Shape)+orderBytes > usable {
		size := t.m.Input.Len()
		return t.setStream(count, func(p []byte) {
			for n, i := range t.order[t.offset : t.offset+t.count] {
				copy(p[n*size:][:size], pixels[int(i)*size:])
			}
		})
	}
	for _, r := range t.replicas {
		if set, err = r.allocSamples(set.Role, set.Shape); err != nil {
			return err
		}
		r.mem.b.UploadBytes(set, pixels)
		r.samples = [2]backend.Tensor{set, set}
	}
	return t.setOrder(count)
}

// A Source gives the pixels of samples as they are needed.
type Source interface {
	// Read writes the pixels of the samples at an offset of the order, 0 to 255, one after another in NHWC order.
	Read(dst []byte, offset int, samples []int32) error
}

// SetSource gives the trainer a data set of count samples whose pixels are read batch by batch, each when its step is asked for: of a batch those
// that Share says.
// After an error of the source no more steps are done, and Wait returns it.
func (t *Trainer) SetSource(s Source, count int) error {
	if _, _, _, err := t.newData(count*t.m.Input.Len(), "bytes", count); err != nil {
		return err
	}
	t.values = false
	batch := make([]byte, t.o.Batch*t.m.Input.Len())
	if err := t.setStream(count, func(p []byte) { copy(p, batch) }); err != nil {
		return err
	}
	size := t.m.Input.Len()
	t.stream.read = func() error {
		lo, hi := t.Share(t.count)
		if lo == hi {
			return nil
		}
		return s.Read(batch[lo*size:hi*size], t.offset+lo, t.order[t.offset+lo:t.offset+hi])
	}
	return nil
}

// Share returns which samples of a batch of n the devices of this process take, in a World: lo to hi-1. Without one, these are all.
func (t *Trainer) Share(n int) (lo, hi int) {
	w, chunks := t.o.World, ceilDiv(n, t.plan.chunk)
	first, _ := w.share(t.first().index, chunks)
	_, end := w.share(t.replicas[len(t.replicas)-1].index, chunks)
	return min(first*t.plan.chunk, n), min(end*t.plan.chunk, n)
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
	if need := bytesOf(t.first().mem.b, backend.Flat, shape) + orderBytes; need > usable {
		return fmt.Errorf("nn: the data set needs %s on %s, where %s are free: float32 values must fit the device (uint8 pixels are streamed)", BytesText(need), t.dev.Name(), BytesText(free))
	}
	for _, r := range t.replicas {
		set, err := r.allocSamples(backend.Flat, shape)
		if err != nil {
			return err
		}
		r.mem.b.Upload(set, values)
		r.samples = [2]backend.Tensor{set, set}
	}
	return t.setOrder(count)
}

// newData forgets the data set for one of count samples and n elements, and says what its order takes, what is free
// and what of that may be taken.
func (t *Trainer) newData(n int, elements string, count int) (orderBytes, free, usable int, err error) {
	if count < 1 || count > math.MaxInt32 || n != count*t.m.Input.Len() {
		return 0, 0, 0, fmt.Errorf("nn: the data set has %d %s for %d samples, want %d a sample, the model's input %s", n, elements, count, t.m.Input.Len(), graph.ShapeText(t.m.Input))
	}
	t.stream, t.samples = nil, 0
	for _, r := range t.replicas {
		r.forget()
		r.data.free()
		r.order = backend.NewTensor(backend.Index, backend.Vec(count))
		orderBytes = bytesOf(r.mem.b, r.order.Role, r.order.Shape)
	}
	free, usable, err = t.freeBytes()
	return orderBytes, free, usable, err
}

// setOrder makes the order of a data set of count samples, which is their own.
func (t *Trainer) setOrder(count int) (err error) {
	for _, r := range t.replicas {
		if r.order.Buffer, err = r.data.alloc(bytesOf(r.mem.b, r.order.Role, r.order.Shape), "order of the data set"); err != nil {
			return err
		}
	}
	t.samples, t.order = count, make([]int32, count)
	for i := range t.order {
		t.order[i] = int32(i)
	}
	t.SetOrder(t.order)
	return nil
}

// allocSamples allocates a data set, or a batch of it.
func (r *replica) allocSamples(role backend.Role, s backend.Shape) (backend.Tensor, error) {
	p := backend.NewTensor(role, s)
	var err error
	p.Buffer, err = r.data.alloc(bytesOf(r.mem.b, role, s), "data set")
	return p, err
}

// stream is a data set that stays on the host, or is read as it is needed.
type stream struct {
	read func() error        // reads the samples of the step at hand, unless they are there
	fill func(pixels []byte) // with the samples of the step at hand, in their order
}

// setStream makes room for two batches of a data set: one is filled while the step before reads the other.
func (t *Trainer) setStream(count int, fill func(pixels []byte)) (err error) {
	for _, r := range t.replicas {
		for i := range r.samples {
			if r.samples[i], err = r.allocSamples(backend.Staged, t.m.Input.WithN(t.o.Batch)); err != nil {
				return err
			}
		}
	}
	t.stream = &stream{fill: fill, read: func() error { return nil }}
	return t.setOrder(count)
}

// SetOrder sets the order in which samples are drawn, a permutation of the data set.
func (t *Trainer) SetOrder(order []int32) {
	if len(order) != t.samples {
		panic("nn: SetOrder: the order is not as long as the data set")
	}
	for _, r := range t.replicas {
		r.mem.b.UploadIndex(r.order, order)
	}
	copy(t.order, order)
}
