// Package graph makes a model of layers: named values, the parameters that layers declare, and the ops that they become. A
// chain is the common case: a layer takes what the layer before it gave. A layer that names its inputs takes those.
package graph

import (
	"fmt"
	"slices"

	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/op"
)

// Graph is a model's forward pass for a number of samples.
type Graph struct {
	*op.Tape
	Input, Code, Output op.Value
	Layers              []Info
	Params              []Param
}

// Info is what is known of a layer after shape inference.
type Info struct {
	Layer Layer
	Name  string // unique, as Keras names layers (conv2d, conv2d_1), or as the configuration says
	Part  string // encoder or decoder
	// In is the shape of a sample of the first input, Out of the output.
	In, Out backend.Shape
	// Trainable and State are the layer's numbers that are trained, and those that are not.
	Trainable, State int
	// Rate is what the layer's parameters have of the optimiser's learning rate, if it has any: 1, or what its configuration says, 0 where it is not to
	// be trained.
	Rate float32
}

// Param is a tensor that belongs to a model: a weight or a bias, or a state, which is not trained.
type Param struct {
	Name  string        // as in a PyTorch state dict: encoder.0.weight
	Shape backend.Shape // weights (out, rows, columns, in), bias and states (1, 1, 1, n)
	Layer string        // that it belongs to, by its name in the summary
	Role  ParamRole
	Init  Distribution
	// Rate is what the parameter has of the optimiser's learning rate: 1 unless the layer has a factor of its own, 0 where it is not to be trained.
	Rate float32
	// Of the weights and the bias of a dense layer, and of what PerElement declares: the image that its flattened input was, and the image that
	// its output becomes, or was, else the zero Shape. Files hold dense weights in PyTorch's order, channels first.
	InImage, OutImage backend.Shape
}

// ParamRole says what a Param is.
type ParamRole uint8

const (
	ConvWeights  ParamRole = iota // four dimensions in files: (out, in, rows, columns)
	DenseWeights                  // two: (out, in)
	Bias                          // one; penalties on weights leave it out, as they do Scale
	Scale                         // one: what a normalisation multiplies its channels by
	State                         // one; no optimiser changes it
	Codebook                      // two: (vectors, channels); it is a state too
)

// Weighs reports whether the parameter is one of the weights, which penalties and decay apply to.
func (p *Param) Weighs() bool { return p.Role == ConvWeights || p.Role == DenseWeights }

// Trained reports whether an optimiser changes the parameter.
func (p *Param) Trained() bool { return p.Role < State && p.Rate > 0 }

// Builder makes a graph, layer by layer. Layers use it in Build.
type Builder struct {
	g        *Graph
	samples  int
	training bool
	seed     uint64 // of what layers draw in training

	part    string
	rate    float32        // what the layer's parameters have of the learning rate
	modules int            // modules of the equivalent torch.nn.Sequential, in this part
	names   map[string]int // layers of each kind
	origins map[op.Value]origin
}

// origin remembers what the elements of a value stand for, for the order of dense weights in files.
type origin struct {
	image backend.Shape // that was flattened
	dense []int         // parameters of the dense layer that made it, and of what was done since, element by element
}

// Samples returns the number of samples that the graph is made for.
func (b *Builder) Samples() int { return b.samples }

// Training reports whether the graph is made for training. Then layers may draw random numbers, by StepParams.
func (b *Builder) Training() bool { return b.training }

// Seed is that of what layers draw in training.
func (b *Builder) Seed() uint64 { return b.seed }

// Layer returns the layer's number, from 0: a stream of random numbers of its own.
func (b *Builder) Layer() int { return len(b.g.Layers) - 1 }

// Frozen reports whether the layer is not to be trained.
func (b *Builder) Frozen() bool { return b.rate == 0 }

// First reports whether there have been no layers but reshapes.
func (b *Builder) First() bool {
	for _, s := range b.g.Calls {
		if _, ok := s.Op.(*op.Reshape); !ok {
			return false
		}
	}
	return true
}

// Shape returns the shape of a value, for Samples samples.
func (b *Builder) Shape(v op.Value) backend.Shape { return b.g.Shape(v) }

// New returns a new activation of so many samples.
func (b *Builder) New(s backend.Shape) op.Value {
	return b.g.New(backend.Activation, s.WithN(b.samples))
}

// NewFixed returns a new activation whose shape does not depend on the number of samples.
func (b *Builder) NewFixed(s backend.Shape) op.Value { return b.g.New(backend.Activation, s) }

// StepParams returns what changes from step to step in training, None otherwise.
func (b *Builder) StepParams() op.Value {
	if !b.training {
		return op.None
	}
	return b.g.StepParams()
}

// Emit appends an op.
func (b *Builder) Emit(o op.Op) { b.g.Emit(o) }

// EmitOnce appends an op that is done once for the batch; NewRows and NewBatch return what goes to it and comes from it. See op.Call.
func (b *Builder) EmitOnce(o op.Op) { b.g.EmitOnce(o) }

// NewRows returns a tensor that micro-batches write for an op that is done once; see op.Tape.
func (b *Builder) NewRows(n int) op.Value { return b.g.NewRows(n) }

// NewBatch returns a tensor that an op that is done once writes; see op.Tape.
func (b *Builder) NewBatch(n int) op.Value { return b.g.NewBatch(n) }

// Module counts one module of PyTorch's equivalent Sequential, after whose place parameters are named.
func (b *Builder) Module() { b.modules++ }

// Param declares a parameter of the layer, and returns it. Its name is what a module calls it: weight, bias.
func (b *Builder) Param(name string, p Param) op.Value {
	p.Name = fmt.Sprintf("%s.%d.%s", b.part, b.modules, name)
	p.Rate = b.rate
	i := len(b.g.Params)
	b.g.Params = append(b.g.Params, p)
	info := &b.g.Layers[len(b.g.Layers)-1]
	b.g.Params[i].Layer = info.Name
	if p.Trained() {
		info.Trainable += p.Shape.Len()
	} else {
		info.State += p.Shape.Len()
	}
	return b.g.Outside(op.Info{Space: op.Weights, Role: backend.Param, Shape: p.Shape, Index: i, Frozen: b.Frozen()})
}

// PerElement declares a vector of the layer, a number for each channel of a value. Where the value is a vector that was an image, or becomes
// one, files have it in the order in which they have the elements.
func (b *Builder) PerElement(name string, p Param, of op.Value) op.Value {
	if s := b.Shape(of); s.H*s.W == 1 {
		origin := b.origins[of]
		p.OutImage = origin.image
		origin.dense = append(slices.Clone(origin.dense), len(b.g.Params))
		b.origins[of] = origin
	}
	return b.Param(name, p)
}

// Weights are what a layer with weights declares.
type Weights struct {
	Role          ParamRole
	Shape         backend.Shape // of the weights
	Units         int           // of the bias
	FanIn, FanOut int
	Initializer   Initializer
	NoBias        bool
}

// Weighted declares weights and a bias for a layer whose input is x and counts the module; bias is None if there is to be
// none. made is the layer's output, once it is there.
func (b *Builder) Weighted(w Weights, x op.Value) (weights, bias op.Value, made func(out op.Value), err error) {
	init, err := w.Initializer.Distribution(w.FanIn, w.FanOut)
	if err != nil {
		return op.None, op.None, nil, err
	}
	p := Param{Shape: w.Shape, Role: w.Role, Init: init}
	if image := b.origins[x].image; w.Role == DenseWeights && image.H*image.W > 1 {
		p.InImage = image
	}
	first := len(b.g.Params)
	weights = b.Param("weight", p)
	if !w.NoBias {
		bias = b.Param("bias", Param{Shape: backend.Vec(w.Units), Role: Bias})
	}
	b.Module()
	made = func(out op.Value) {
		if w.Role == DenseWeights {
			b.origins[out] = origin{dense: indices(first, len(b.g.Params))}
		}
	}
	return weights, bias, made, nil
}

// Scales declares the gamma, from 1 on, and the beta, from 0 on, of a normalisation of so many channels; None for one that there is not to be.
// PyTorch calls them weight and bias.
func (b *Builder) Scales(channels int, noGamma, noBeta bool) (gamma, beta op.Value) {
	if !noGamma {
		gamma = b.Param("weight", Param{Shape: backend.Vec(channels), Role: Scale, Init: Constant(1)})
	}
	if !noBeta {
		beta = b.Param("bias", Param{Shape: backend.Vec(channels), Role: Bias})
	}
	return gamma, beta
}

func indices(lo, hi int) (list []int) {
	for i := lo; i < hi; i++ {
		list = append(list, i)
	}
	return list
}

// Activate applies an activation by its name, "" for none, and counts the module.
func (b *Builder) Activate(name string, x op.Value) (op.Value, error) {
	f, ok := backend.ParseFunction(name)
	if !ok {
		return op.None, fmt.Errorf("activation is %q, want one of %v", name, backend.ActNames())
	}
	if f.Act == backend.Linear {
		return x, nil
	}
	return b.Apply(f, x), nil
}

// Apply applies an activation function, and counts the module.
func (b *Builder) Apply(f backend.Function, x op.Value) op.Value {
	out := b.g.Like(x)
	b.Emit(&op.Activate{Function: f, Out: out, X: x})
	b.Elementwise(out, x)
	b.Module()
	return out
}

// Elementwise says that the elements of out stand for those of x.
func (b *Builder) Elementwise(out, x op.Value) { b.origins[out] = b.origins[x] }

// Reshape gives a sample another shape with the same number of elements.
func (b *Builder) Reshape(to backend.Shape, x op.Value) op.Value {
	to = to.WithN(b.samples)
	from := b.Shape(x)
	if from == to {
		return x
	}
	out := b.New(to)
	b.Emit(&op.Reshape{Out: out, X: x})
	switch {
	case to.H*to.W == 1:
		b.origins[out] = origin{image: from.WithN(1)}
	case from.H*from.W == 1: // the vector that a dense layer made becomes an image
		for _, i := range b.origins[x].dense {
			if p := &b.g.Params[i]; p.OutImage == (backend.Shape{}) {
				p.OutImage = to.WithN(1)
			}
		}
	}
	return out
}

// unique names layers as Keras does: conv2d, conv2d_1, conv2d_2.
func (b *Builder) unique(kind string) string {
	base := snake(kind)
	n := b.names[base]
	b.names[base]++
	if n == 0 {
		return base
	}
	return fmt.Sprintf("%s_%d", base, n)
}
