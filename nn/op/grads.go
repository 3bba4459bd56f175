package op

import (
	"slices"

	"github.com/convae/convae/nn/backend"
)

// Grads makes the backward pass of the ops of a tape, at its end. The gradient of a value with several readers is the sum
// of what each reader contributes, in the order in which the readers' gradients are emitted: the last reader first.
type Grads struct {
	*Tape
	of      map[Value]Value // the gradient so far
	before  map[Value]bool  // it is with respect to the values before the producer's activation
	wanted  map[Value]bool  // whether anything up to the value has parameters
	readers map[Value]int   // calls that contribute to a value's gradient, besides what Watch adds
	makers  map[Value]Op
	watch   map[Value]*watcher
}

type watcher struct {
	f    func(grad Value)
	done bool // several ops may have written the value
}

// NewGrads looks at the calls of a tape whose gradients are to be made.
func NewGrads(t *Tape, calls []Call) *Grads {
	g := &Grads{Tape: t, of: map[Value]Value{}, before: map[Value]bool{}, wanted: map[Value]bool{}, readers: map[Value]int{}, makers: map[Value]Op{}, watch: map[Value]*watcher{}}
	for _, s := range calls {
		wants := false
		for _, v := range Reads(s.Op) {
			g.readers[v]++
			wants = wants || g.wanted[v] || t.Values[v].Space == Weights && !t.Values[v].Frozen
		}
		for _, v := range Writes(s.Op) {
			g.makers[v], g.wanted[v] = s.Op, wants || g.wanted[v]
		}
	}
	return g
}

// Emit appends an op, unless all that it would make are gradients of frozen parameters.
func (g *Grads) Emit(o Op) {
	if len(Writes(o)) > 0 {
		g.Tape.Emit(o)
	}
}

// Wants reports whether the gradient of a value is of use: something that it was made from has parameters.
func (g *Grads) Wants(v Value) bool { return g.wanted[v] }

// Watch makes Back call f with the gradient of v when all readers of v have contributed to it, and before the op that made v
// uses it. f may emit ops that add to the gradient.
func (g *Grads) Watch(v Value, f func(grad Value)) { g.watch[v] = &watcher{f: f} }

// Add contributes grad, a tensor that nothing else uses, to the gradient of v.
func (g *Grads) Add(v, grad Value) {
	if sum, ok := g.of[v]; ok {
		g.Emit(&Accumulate{Dst: sum, Alpha: 1, X: grad})
		return
	}
	g.of[v] = grad
}

// Of returns the gradient of an op's result. If the op applies an activation to it, the gradient is with respect to the
// values before that.
func (g *Grads) Of(o Differentiable) Value {
	v := o.Result()
	grad := g.of[v]
	if a, ok := o.(Activated); ok && a.Activation() != backend.Linear && !g.before[v] {
		g.Emit(&ActivateBack{Function: backend.Function{Act: a.Activation()}, GradX: grad, GradOut: grad, Of: v})
	}
	return grad
}

// Through is asked by the op that makes the gradient of v. If nothing else contributes to that gradient, it returns the
// activation that v is the output of, and the op has to multiply the gradient by its derivative; otherwise it returns Linear.
func (g *Grads) Through(v Value) backend.Act {
	a, ok := g.makers[v].(Activated)
	if _, more := g.of[v]; !ok || more || g.readers[v] != 1 || g.watch[v] != nil {
		return backend.Linear
	}
	g.before[v] = true
	return a.Activation()
}

// Parameter returns where the gradient of a parameter is added up, None for None and for one that is frozen.
func (g *Grads) Parameter(w Value) Value {
	if w == None || g.Values[w].Frozen {
		return None
	}
	i := g.Values[w]
	i.Space = Gradients
	return g.Outside(i)
}

// Back emits the gradients of calls, the last first. It leaves out those before which there is nothing to train. The gradient
// of the result of the last call must have been given to Add before.
func (g *Grads) Back(calls []Call) {
	for _, s := range slices.Backward(calls) {
		d, ok := s.Op.(Differentiable)
		if !ok {
			continue
		}
		grad, ok := g.of[d.Result()]
		if !ok || !g.wanted[d.Result()] {
			continue
		}
		if w := g.watch[d.Result()]; w != nil && !w.done {
			w.done = true
			w.f(grad)
		}
		g.Layer = s.Layer
		d.Back(g)
	}
}
