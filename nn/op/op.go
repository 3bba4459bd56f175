// Package op has the ops of a program as values: one struct for each method of a Backend, with its geometry and the
// tensors that it works on. What an op reads and writes is declared once, in Args; planning memory, checking one device
// against another, profiling and fusion all go by that declaration. The gradient of an op (Back) and what it can be fused
// with (Fuse) stand beside it, in the file with the stem that the op has everywhere.
package op

import (
	"github.com/convae/convae/nn/backend"
)

// Value names a tensor of a Tape. The zero Value, None, stands for an argument that an op is not given.
type Value int32

// None is no tensor.
const None Value = 0

// Use says what an op does with an argument.
type Use uint8

const (
	Read  Use = iota // the op needs what was in the tensor
	Write            // the op overwrites all of the tensor
	Add              // the op adds to what was in the tensor, or changes it in place
)

// Op is one call of a Backend as data.
type Op interface {
	// Name is the method of the Backend that Run calls.
	Name() string
	// Args calls visit for every argument, None included. It is the only declaration of what the op touches. A tensor that
	// an op may work on in place can be visited twice, to be read and to be written.
	Args(visit func(v *Value, u Use))
	// Run does the op on the tensors of a frame.
	Run(f *Frame)
}

// Differentiable is an op of a forward pass whose gradient is known. An op that has none, such as one that has only values
// without a gradient for inputs, need not implement it.
type Differentiable interface {
	Op
	// Result is the tensor whose gradient Back starts from.
	Result() Value
	// Back emits the ops that add the op's parameter gradients, and the gradients of those of its inputs that want one.
	Back(g *Grads)
}

// Fuser is an op that can do the work of a neighbour.
type Fuser interface {
	// Fuse returns an op that does this op and then next, which alone reads this op's result, or nil if there is none.
	Fuse(next Op) Op
}

// Activated is an op that applies an activation function to its result.
type Activated interface {
	Op
	Activation() backend.Act
}

// Sized is an op that consists of multiply-adds.
type Sized interface {
	// Geometry is what backend.Paths takes.
	Geometry() any
	MACs() int
}

// Multiplier is an op whose products, and those of its gradients, a precision rules.
type Multiplier interface {
	// SetPrecision has the factors rounded, and says how they may be multiplied. It comes before the op is fused and before its gradients are made.
	SetPrecision(p backend.Precision) error
}

// Narrower is an op that can take activations in a type narrower than float32.
type Narrower interface {
	// Narrow lists those arguments that it can take so; an op that works on weights can if its factors are as narrow.
	Narrow() []Value
}

// narrow lists the activations of a product whose factors are of that type.
func narrow(multiply backend.DType, activations ...Value) []Value {
	if multiply != backend.BFloat16 {
		return nil
	}
	return activations
}

// Needy is an op that needs memory besides its arguments.
type Needy interface {
	Needs(b backend.Backend) backend.Needs
}

// Rowed is an op whose results for a call that is done once a backend wants to make in several parts (Needs.Partials), each a row.
type Rowed interface {
	Needy
	// Rows returns where they go, a tensor of NewRows.
	Rows() Value
}

// Indexed is an op that indexes more elements at once than its largest tensor has.
type Indexed interface {
	Elements() int
}

// Keeper is an op that in training keeps something for its gradient.
type Keeper interface {
	// Keep makes room for it, once ops are fused.
	Keep(t *Tape)
}

// Packer is an op, of a forward or a backward pass, for which a backend may want its weights in a form of its own.
type Packer interface {
	Needy
	// Packs returns the weights and where their packed form goes.
	Packs() (weights Value, packed *Value)
	// Pack returns the op that makes the packed form.
	Pack() Op
}

// Chooser is an op that writes which of several computed values it took, besides the value. Of two that are almost equal
// either may be the right one, by the order in which a device sums; a Checker looks at the value of the device's choice.
type Chooser interface {
	// Choice returns nil if the op makes none.
	Choice() *Choice
}

// Choice tells what an op has chosen from.
type Choice struct {
	Which, Taken Value         // outputs of the op
	Candidates   Op            // makes all values that could be taken
	Result       *Value        // the output of Candidates
	Shape        backend.Shape // of Result
	// At returns the index in Result of a choice for element i, -1 if there is no such choice.
	At func(i, which int) int
}

// Frame is what an op runs on: a lane of a device with the tensors of a program, and the position in the batch of the samples
// at hand.
type Frame struct {
	B       backend.Backend
	Tensors []backend.Tensor // by Value; that of None is the zero Tensor
	First   int              // position of the first sample in the batch
	Count   int              // samples of the batch
	Slots   int              // gradient slots that the batch uses
	// SampleScale is what the loss of a sample is multiplied by, ElementScale what that of one of its elements is, and
	// BatchWeight what the loss of the batch is multiplied by in the sum from which the loss of an epoch is made. If losses are
	// means they are 1/Count, 1/(Count times the elements of a sample), and Count.
	SampleScale, ElementScale, BatchWeight float32
	// Sums are partial sums that SumPartials has left to the optimiser's op, whose Args do not name them.
	Sums []backend.Params

	// Of an op that takes a list, so that none is allocated in a step.
	list []backend.Tensor
	sums []backend.Params

	forked bool // the last call was the first of two branches
}

// Do does the next of a list of calls, and those that are beside each other as branches.
func (f *Frame) Do(c *Call) {
	second := f.forked
	if f.forked = c.Beside; f.forked {
		f.B.(backend.Brancher).Fork()
	}
	if second {
		f.B.(backend.Brancher).Branch()
	}
	c.Op.Run(f)
	if second {
		f.B.(backend.Brancher).Join()
	}
}

// At returns a tensor of the frame.
func (f *Frame) At(v Value) backend.Tensor { return f.Tensors[v] }

// params returns weights, bias and packed weights.
func (f *Frame) params(w, bias, packed Value) backend.Params {
	return backend.Params{W: f.At(w), Bias: f.At(bias), Packed: f.At(packed)}
}

// partials returns the gradients of weights and bias, or the loss w alone, and room for their partial sums.
func (f *Frame) partials(w, bias, partials Value) backend.Params {
	return backend.Params{W: f.At(w), Bias: f.At(bias), Partials: f.At(partials)}
}

// each returns the tensors of a list of values; they are valid until the next call.
func (f *Frame) each(values []Value) []backend.Tensor {
	f.list = f.list[:0]
	for _, v := range values {
		f.list = append(f.list, f.At(v))
	}
	return f.list
}

// Scale is what a term of the loss is multiplied by.
type Scale struct {
	Per    Per
	Factor float32
}

// Per says what a factor, mostly of the loss, is multiplied by.
type Per uint8

const (
	PerElement Per = iota // of the output
	PerSample
	PerBatch
	Alone // it is the factor as it is
)

// Of returns the scale in a frame.
func (s Scale) Of(f *Frame) float32 {
	switch s.Per {
	case PerSample:
		return f.SampleScale * s.Factor
	case PerBatch:
		return f.BatchWeight * s.Factor
	case Alone:
		return s.Factor
	}
	return f.ElementScale * s.Factor
}
