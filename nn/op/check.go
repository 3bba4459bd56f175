package op

import (
	"fmt"
	"math"
	"reflect"
	"slices"

	"github.com/convae/convae/nn/backend"
)

// Mismatch tells of an op that did not write what the reference did.
type Mismatch struct {
	Op, Layer string
	Output    string  // field of the op
	Worst     float64 // the worst error as a share of the bound
	At        int     // index of the element
	Got, Want float64
	Err       error // not nil when the op was not compared: the reference had no memory for it, or the op declares its tensors wrongly
}

// Checker has ops done by their device and again by a reference, from the same inputs, and compares all that they write. The
// device goes on with its own results.
//
// It is made for finding faults: every op copies its inputs from the device, and allocates. Packing is checked through the
// ops that use packed weights: the reference packs its own.
type Checker struct {
	Reference backend.Backend
	Bound     backend.Bound // of float32 values; bytes have to be the same
	Report    func(Mismatch)
	// Upload gives dst, a tensor of the reference, what src holds on the device. It is called for what no device can be asked
	// for: step parameters and orders of data sets.
	Upload func(b backend.Backend, dst, src backend.Tensor)
}

// Run does a call on its device, and checks it. An error is the device's; what the reference fails in is reported.
func (c *Checker) Run(s *Call, f *Frame) error {
	r := &rerun{c: c, call: s, device: f, copies: map[backend.Tensor]backend.Tensor{}, before: map[backend.Tensor][]float32{}}
	if len(r.outputs()) == 0 {
		s.Op.Run(f)
		return nil
	}
	defer r.free()
	err := r.copyArgs() // before the op changes what it both reads and writes
	s.Op.Run(f)
	if err == nil && r.lost == nil {
		err = r.again()
	}
	if err != nil {
		c.Report(Mismatch{Op: s.Op.Name(), Layer: s.Layer, Err: err})
	}
	return r.lost
}

// rerun is a call that the reference does again. Its errors are those of the reference.
type rerun struct {
	c       *Checker
	call    *Call
	device  *Frame
	frame   Frame // of the reference; it has no tensors but those that the op declares
	copies  map[backend.Tensor]backend.Tensor
	before  map[backend.Tensor][]float32 // what is in them before the op runs
	buffers []backend.Buffer
	lost    error // the first failure of the device
}

// output is a tensor that an op writes.
type output struct {
	v    Value
	name string
}

// outputs lists what the op writes that can be downloaded. Partial sums are compared as what they add up to.
func (r *rerun) outputs() (list []output) {
	partials := partialsOf(r.call.Op)
	r.call.Op.Args(func(v *Value, u Use) {
		if role := r.device.At(*v).Role; *v != None && *v != partials && u != Read && (isFloat(role) || role == backend.Argmax) {
			list = append(list, output{*v, argName(r.call.Op, v)})
		}
	})
	return list
}

func isFloat(role backend.Role) bool {
	return role == backend.Activation || role == backend.Param || role == backend.Flat
}

// argName returns the name of the field of an op that v points to.
func argName(o Op, v *Value) string {
	if n, ok := o.(interface{ argName(v *Value) string }); ok {
		if name := n.argName(v); name != "" {
			return name
		}
	}
	if s := reflect.Indirect(reflect.ValueOf(o)); s.Kind() == reflect.Struct && s.CanAddr() {
		for _, field := range reflect.VisibleFields(s.Type()) {
			if f := s.FieldByIndex(field.Index); f.Type() == reflect.TypeFor[Value]() && f.Addr().Pointer() == reflect.ValueOf(v).Pointer() {
				return field.Name
			}
		}
	}
	return fmt.Sprintf("tensor %d", *v)
}

// copyArgs copies the op's arguments to the reference. What the op overwrites is copied too: a part of it that an op leaves
// alone is then the same on both.
func (r *rerun) copyArgs() (err error) {
	r.frame = *r.device
	r.frame.B, r.frame.Tensors = r.c.Reference, make([]backend.Tensor, len(r.device.Tensors))
	r.frame.list, r.frame.sums = nil, nil
	partials := partialsOf(r.call.Op)
	r.call.Op.Args(func(v *Value, _ Use) {
		if t := r.device.At(*v); err == nil && r.lost == nil && !t.IsZero() && t.Role != backend.Packed && *v != partials {
			r.frame.Tensors[*v], err = r.copy(t)
		}
	})
	return err
}

// copy returns the reference's copy of a tensor. Values in one place have one copy, for ops that work in place.
func (r *rerun) copy(t backend.Tensor) (backend.Tensor, error) {
	if c, ok := r.copies[t]; ok {
		return c, nil
	}
	c, err := r.alloc(t.Role, t.Type, t.Shape)
	if err != nil {
		return c, err
	}
	r.copies[t] = c
	switch b := r.c.Reference; {
	case isFloat(t.Role):
		v := make([]float32, t.Shape.Len())
		r.lost = r.device.B.Download(v, t)
		b.Upload(c, v)
		r.before[t] = v
	case t.Type == backend.Uint8:
		v := make([]byte, t.Shape.Len())
		r.lost = r.device.B.DownloadBytes(v, t)
		b.UploadBytes(c, v)
	case r.c.Upload != nil:
		r.c.Upload(b, c, t)
	}
	return c, nil
}

func (r *rerun) alloc(role backend.Role, d backend.DType, s backend.Shape) (backend.Tensor, error) {
	t := backend.Tensor{Role: role, Type: d, Shape: s}
	var err error
	t.Buffer, err = r.memory(r.c.Reference.Bytes(role, d, s))
	return t, err
}

func (r *rerun) memory(n int) (backend.Buffer, error) {
	b, err := r.c.Reference.Alloc(n)
	if err == nil {
		r.buffers = append(r.buffers, b)
	}
	return b, err
}

func (r *rerun) free() {
	r.c.Reference.SetWorkspace(nil)
	for _, b := range r.buffers {
		r.c.Reference.Free(b)
	}
}

// add gives the reference a tensor that the device does not have.
func (r *rerun) add(role backend.Role, d backend.DType, s backend.Shape) (Value, error) {
	t, err := r.alloc(role, d, s)
	r.frame.Tensors = append(r.frame.Tensors, t)
	return Value(len(r.frame.Tensors) - 1), err
}

// run runs an op on the reference, with the workspace, the packed weights and the partial sums that the reference wants. It returns the
// op with these.
func (r *rerun) run(o Op) (Op, error) {
	n, ok := o.(Needy)
	if !ok {
		o.Run(&r.frame)
		return o, nil
	}
	needs := n.Needs(r.c.Reference)
	if needs.Workspace > 0 {
		w, err := r.memory(needs.Workspace)
		if err != nil {
			return nil, err
		}
		r.c.Reference.SetWorkspace(w)
	}
	if _, ok := o.(Packer); ok {
		o = clone(o) // whose packed weights may be others
		p := o.(Packer)
		_, packed := p.Packs()
		if *packed = None; needs.Packed > 0 {
			var err error
			if *packed, err = r.add(backend.Packed, backend.Uint8, backend.Vec(needs.Packed)); err != nil {
				return nil, err
			}
			p.Pack().Run(&r.frame)
		}
	}
	if partialsOf(o) != None {
		o = clone(o)
		w, bias, partials := o.(Partial).Sums()
		if *partials = None; needs.Partials > 0 {
			g := r.frame.partials(w, bias, None)
			var err error
			if *partials, err = r.add(backend.Flat, backend.Float32, g.PartialsShape(needs.Partials)); err != nil {
				return nil, err
			}
		}
	}
	o.Run(&r.frame)
	return o, nil
}

// again runs the op on the reference, and compares.
func (r *rerun) again() error {
	rerun, err := r.run(r.call.Op)
	if err != nil {
		return err
	}
	if err := r.checkRead(); err != nil {
		return err
	}
	var choice *Choice
	if c, ok := r.call.Op.(Chooser); ok {
		choice = c.Choice()
	}
	for _, o := range r.outputs() {
		if choice != nil && o.v == choice.Which {
			if err := r.compareChoice(o, choice); err != nil {
				return err
			}
			continue
		}
		want, err := made(&r.frame, rerun, o.v)
		if err != nil {
			return err
		}
		r.compare(o, o.v, want)
	}
	return nil
}

// checkRead returns an error if the op has changed a tensor that it says it only reads: such a change would go unchecked.
func (r *rerun) checkRead() error {
	outputs := r.outputs()
	for t, want := range r.before {
		if slices.ContainsFunc(outputs, func(o output) bool { return r.device.At(o.v) == t }) {
			continue
		}
		got, err := download(r.c.Reference, r.copies[t])
		if err != nil {
			return err
		}
		for i := range got {
			if math.Float32bits(got[i]) != math.Float32bits(want[i]) {
				return fmt.Errorf("it changes a tensor %v that it declares to read only", t.Shape)
			}
		}
	}
	return nil
}

// compareChoice compares what the device took with the reference's value at the position of the device's choice.
func (r *rerun) compareChoice(o output, c *Choice) (err error) {
	if *c.Result, err = r.add(backend.Activation, r.device.At(c.Taken).Type, c.Shape); err != nil {
		return err
	}
	result := *c.Result
	if _, err := r.run(c.Candidates); err != nil {
		return err
	}
	all, err := download(r.c.Reference, r.frame.At(result))
	if err != nil {
		return err
	}
	which, err := download(r.device.B, r.device.At(c.Which))
	if err != nil {
		r.lost = err
		return nil
	}
	want := make([]float32, len(which))
	for i := range want {
		want[i] = float32(math.Inf(1)) // which no choice of another's can be
		if at := c.At(i, int(which[i])); at >= 0 {
			want[i] = all[at]
		}
	}
	r.compare(o, c.Taken, want)
	return nil
}

// compare reports a tensor of the device that is not as wanted, as output o.
func (r *rerun) compare(o output, v Value, want []float32) {
	t := r.device.At(v)
	got, err := made(r.device, r.call.Op, v)
	if err != nil {
		r.lost = err
		return
	}
	bound := r.c.Bound
	if t.Role == backend.Argmax {
		bound = backend.Bound{}
	}
	w := make([]float64, len(want))
	for i, x := range want {
		w[i] = float64(x)
	}
	if share, at := bound.Worst(got, w); share > 1 {
		r.c.Report(Mismatch{Op: r.call.Op.Name(), Layer: r.call.Layer, Output: o.name, Worst: share, At: at, Got: float64(got[at]), Want: w[at]})
	}
}

// made returns what an op has left in an output, with the partial sums that are still to be added.
func made(f *Frame, o Op, v Value) ([]float32, error) {
	got, err := download(f.B, f.At(v))
	p := partialsOf(o)
	if err != nil || p == None {
		return got, err
	}
	w, bias, _ := o.(Partial).Sums()
	if v != w && v != bias {
		return got, nil
	}
	sums, err := download(f.B, f.At(p))
	first := 0
	if v == bias {
		first = f.At(w).Shape.Len()
	}
	for i := range got {
		sum := float64(got[i])
		for at := first + i; at < len(sums); at += f.At(p).Shape.Image() {
			sum += float64(sums[at])
		}
		got[i] = float32(sum)
	}
	return got, err
}

// partialsOf returns the partial sums that an op leaves, or None.
func partialsOf(o Op) Value {
	if p, ok := o.(Partial); ok {
		_, _, partials := p.Sums()
		return *partials
	}
	return None
}

// download returns the values of a tensor of float32 values or of bytes.
func download(b backend.Backend, t backend.Tensor) ([]float32, error) {
	v := make([]float32, t.Shape.Len())
	if t.Role != backend.Argmax {
		return v, b.Download(v, t)
	}
	p := make([]byte, len(v))
	err := b.DownloadBytes(p, t)
	for i, x := range p {
		v[i] = float32(x)
	}
	return v, err
}
