package op

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/convae/convae/nn/backend"
)

// Space says whose memory a tensor lies in.
type Space uint8

const (
	Arena     Space = iota // a micro-batch's, placed in a lane's arena for as long as it is needed
	Weights                // a parameter of the model
	Packed                 // the packed form of a parameter
	Gradients              // the gradient of a parameter, in a slot
	Sums                   // one of a slot's sums; see Sum
	Shared                 // of the whole step: what the optimiser step is told, the data set, statistics of the batch
	Bound                  // a tensor that whoever made the tape has placed already
	Rows                   // what each micro-batch leaves to a call that is done once; there, those of all of them, in their order
	Batch                  // what a call that is done once leaves to all micro-batches
)

// Info is what is known of a Value.
type Info struct {
	Space  Space
	Role   backend.Role
	Type   backend.DType
	Shape  backend.Shape
	Index  int  // of a parameter, a Sum, a Shared tensor, or one of the Rows or the Batch
	Frozen bool // the parameter has no gradient
}

// The sums of a slot, and the tensors that the whole step shares, by Index.
const (
	Loss       = iota // Sums: the loss of the slot's samples
	CodeSums          // Sums: the codes of the slot's samples, added up
	SlotSums          // Sums: all that the slot adds up in a phase
	StepParams = iota // Shared: what changes from step to step
	Samples           // Shared: the data set, or a batch of it
	Order             // Shared: the order of the data set
	CodeRow           // Shared: the gradient of a penalty on the mean code, the same for all samples
)

// Call is an op of a Tape and the layer that it serves.
type Call struct {
	Op    Op
	Layer string
	// Beside says that the call and the next do not depend on each other, and may be done at the same time by a Brancher.
	Beside bool
	// Once says that the call is done once for the batch, when those before it have been done for all micro-batches, and before those
	// after it are done for any. It touches nothing of a single micro-batch, and no Sums.
	Once bool
}

// Tape is a list of ops over tensors. It holds no memory.
type Tape struct {
	Values []Info // by Value
	Calls  []Call
	Layer  string // of the ops that are emitted

	shared map[Info]Value // all that is not in the arena exists once
}

// NewTape returns an empty tape.
func NewTape() *Tape { return &Tape{Values: make([]Info, 1), shared: map[Info]Value{}} }

// New returns a new tensor of a micro-batch, whose elements are of the role's usual type.
func (t *Tape) New(role backend.Role, s backend.Shape) Value { return t.new(role, role.DType(), s) }

func (t *Tape) new(role backend.Role, d backend.DType, s backend.Shape) Value {
	t.Values = append(t.Values, Info{Space: Arena, Role: role, Type: d, Shape: s})
	return Value(len(t.Values) - 1)
}

// Outside returns the tensor that lies outside the arena and is described by i, always the same Value for the same Info.
func (t *Tape) Outside(i Info) Value {
	if v, ok := t.shared[i]; ok {
		return v
	}
	t.Values = append(t.Values, i)
	v := Value(len(t.Values) - 1)
	t.shared[i] = v
	return v
}

// Sum returns a sum of the slot: a Flat tensor of n elements.
func (t *Tape) Sum(index, n int) Value {
	return t.Outside(Info{Space: Sums, Role: backend.Flat, Shape: backend.Vec(n), Index: index})
}

// StepParams returns the tensor of what changes from step to step.
func (t *Tape) StepParams() Value {
	return t.Outside(Info{Space: Shared, Role: backend.PerStep, Shape: backend.Vec(1), Index: StepParams})
}

// Shape returns the shape of a value.
func (t *Tape) Shape(v Value) backend.Shape { return t.Values[v].Shape }

// Like returns a new tensor with the role, the type and the shape of another.
func (t *Tape) Like(v Value) Value {
	i := t.Values[v]
	return t.new(i.Role, i.Type, i.Shape)
}

// Emit appends an op.
func (t *Tape) Emit(o Op) { t.Calls = append(t.Calls, Call{Op: o, Layer: t.Layer}) }

// EmitOnce appends an op that is done once for the batch; see Call.
func (t *Tape) EmitOnce(o Op) { t.Calls = append(t.Calls, Call{Op: o, Layer: t.Layer, Once: true}) }

// NewRows returns a Flat tensor of rows of n elements that the ops of a micro-batch write, for a call that is done once. There is one row,
// unless a Rowed op says how many a device wants.
func (t *Tape) NewRows(n int) Value { return t.numbered(Rows, n) }

// NewBatch returns a Flat tensor of n elements that a call that is done once writes.
func (t *Tape) NewBatch(n int) Value { return t.numbered(Batch, n) }

func (t *Tape) numbered(space Space, n int) Value {
	index := 0
	for _, i := range t.Values {
		if i.Space == space {
			index++
		}
	}
	t.Values = append(t.Values, Info{Space: space, Role: backend.Flat, Shape: backend.Vec(n), Index: index})
	return Value(len(t.Values) - 1)
}

// Readers counts the calls that read each value, in or out of place.
func (t *Tape) Readers() []int {
	n := make([]int, len(t.Values))
	for _, s := range t.Calls {
		s.Op.Args(func(v *Value, u Use) {
			if u != Write {
				n[*v]++
			}
		})
	}
	n[None] = 0
	return n
}

// Reads and Writes list what an op reads and writes; what it adds to is in both.
func Reads(o Op) (v []Value)  { return used(o, Write) }
func Writes(o Op) (v []Value) { return used(o, Read) }

func used(o Op, not Use) (list []Value) {
	o.Args(func(v *Value, u Use) {
		if *v != None && u != not {
			list = append(list, *v)
		}
	})
	return list
}

// Independent says whether neither of two ops touches what the other writes.
func Independent(a, b Op) bool { return !meet(Writes(a), b) && !meet(Writes(b), a) }

// meet says whether an op touches one of the values.
func meet(values []Value, o Op) bool {
	found := false
	o.Args(func(v *Value, _ Use) { found = found || slices.Contains(values, *v) })
	return found
}

// Fuse merges each op with the only reader of its result where one op can do the work of both. The values to keep stay
// tensors of their own.
func (t *Tape) Fuse(keep ...Value) {
	readers := t.Readers()
	for _, v := range keep {
		readers[v]++
	}
	for i := 0; i < len(t.Calls); i++ {
		for t.fuseAt(i, readers) {
			i = max(i-1, 0) // what comes before may now be merged with the new op
		}
	}
}

// fuseAt merges call i with the only reader of its result, which the merged op replaces.
func (t *Tape) fuseAt(i int, readers []int) bool {
	f, ok := t.Calls[i].Op.(Fuser)
	if !ok {
		return false
	}
	result := t.Calls[i].Op.(Differentiable).Result()
	if readers[result] != 1 {
		return false
	}
	j := slices.IndexFunc(t.Calls, func(s Call) bool { return slices.Contains(Reads(s.Op), result) })
	if j < 0 {
		return false // only kept, and read by no op
	}
	merged := f.Fuse(t.Calls[j].Op)
	if merged == nil {
		return false
	}
	// The merged op is named after the layer whose op does the arithmetic.
	layer := t.Calls[j].Layer
	if merged.Name() == t.Calls[i].Op.Name() {
		layer = t.Calls[i].Layer
	}
	t.Calls[j] = Call{Op: merged, Layer: layer}
	t.Calls = slices.Delete(t.Calls, i, i+1)
	return true
}

// Narrow has activations of the arena kept in a type, each that all ops which touch it can take so; but for those to keep as they are. It
// comes when all ops are there.
func (t *Tape) Narrow(d backend.DType, keep ...Value) {
	wide := make([]bool, len(t.Values))
	for _, v := range keep {
		wide[v] = true
	}
	for _, c := range t.Calls {
		var can []Value
		if n, ok := c.Op.(Narrower); ok {
			can = n.Narrow()
		}
		c.Op.Args(func(v *Value, _ Use) { wide[*v] = wide[*v] || !slices.Contains(can, *v) })
	}
	for v := range t.Values {
		if i := &t.Values[v]; i.Space == Arena && i.Role == backend.Activation && !wide[v] {
			i.Type = d
		}
	}
}

// Again emits copies of calls that read instead where the calls read input. They write new tensors; all others, such as
// weights, are shared. It returns the copies, and for each tensor that the calls write the new one that stands for it.
func (t *Tape) Again(calls []Call, input, instead Value) (again []Call, became map[Value]Value) {
	became = map[Value]Value{input: instead}
	for _, s := range calls {
		for _, v := range Writes(s.Op) {
			if became[v] == None {
				became[v] = t.Like(v)
			}
		}
	}
	for _, s := range calls {
		o := clone(s.Op)
		o.Args(func(v *Value, _ Use) {
			if n, ok := became[*v]; ok {
				*v = n
			}
		})
		again = append(again, Call{Op: o, Layer: s.Layer})
	}
	t.Calls = append(t.Calls, again...)
	return again, became
}

func clone(o Op) Op {
	c := reflect.New(reflect.TypeOf(o).Elem())
	c.Elem().Set(reflect.ValueOf(o).Elem())
	if sum, ok := c.Interface().(*Sum); ok {
		sum.X = slices.Clone(sum.X)
	}
	return c.Interface().(Op)
}

func (t *Tape) String() string {
	var s strings.Builder
	for _, st := range t.Calls {
		fmt.Fprintf(&s, "%-22s %-22s %v -> %v\n", st.Op.Name(), st.Layer, Reads(st.Op), Writes(st.Op))
	}
	return s.String()
}
