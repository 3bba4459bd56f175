package layer

import (
	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/graph"
	"github.com/convae/convae/nn/op"
)

// Conv2D is a two-dimensional convolution.
type Conv2D struct {
	Filters     int               `yaml:"filters"`
	Kernel      Size              `yaml:"kernel"`                            // 1 to 11
	Stride      int               `yaml:"stride,omitempty" zero:"1 to 11"`   // 1
	Dilation    int               `yaml:"dilation,omitempty" zero:"1 to 11"` // 1; Keras's dilation_rate
	Groups      int               `yaml:"groups,omitempty" zero:"1 or more"` // of channels and of filters, which see no others: 1
	Padding     string            `yaml:"padding,omitempty"`                 // same (default; Keras's is valid) or valid
	Activation  string            `yaml:"activation,omitempty"`              // linear (default), or as in Activation
	NoBias      bool              `yaml:"no_bias,omitempty"`                 //
	Initializer graph.Initializer `yaml:"initializer,omitempty"`
}

// Kind returns Keras's name of the layer.
func (*Conv2D) Kind() string { return "Conv2D" }

// Build emits the convolution and its activation.
func (l *Conv2D) Build(b *graph.Builder, in ...op.Value) (op.Value, error) {
	x, err := one(in)
	if err != nil {
		return op.None, err
	}
	pad, err := parsePadding(l.Padding)
	if err != nil {
		return op.None, err
	}
	if l.Groups > 1 || l.Dilation > 1 && l.Stride > 1 {
		s, err := backend.NewGrouped(backend.GroupedSpec{X: b.Shape(x), Filters: l.Filters, Groups: l.Groups, KernelH: l.Kernel.H, KernelW: l.Kernel.W,
			Stride: l.Stride, Dilation: l.Dilation, Padding: pad})
		if err != nil {
			return op.None, err
		}
		area := l.Kernel.H * l.Kernel.W
		w := graph.Weights{FanIn: area * s.Channels(), FanOut: area * l.Filters, Initializer: l.Initializer, NoBias: l.NoBias}
		return grouped(b, x, s, w, l.Activation)
	}
	s, err := backend.NewConv(backend.ConvSpec{X: b.Shape(x), Filters: l.Filters, KernelH: l.Kernel.H, KernelW: l.Kernel.W, Stride: l.Stride, Dilation: l.Dilation, Padding: pad})
	if err != nil {
		return op.None, err
	}
	area := l.Kernel.H * l.Kernel.W
	w, bias, made, err := b.Weighted(graph.Weights{Role: graph.ConvWeights, Shape: s.Weights(), Units: l.Filters,
		FanIn: area * s.X.C, FanOut: area * l.Filters, Initializer: l.Initializer, NoBias: l.NoBias}, x)
	if err != nil {
		return op.None, err
	}
	out := b.New(s.Out)
	b.Emit(&op.Conv{Shape: s, Out: out, X: x, W: w, Bias: bias})
	made(out)
	return b.Activate(l.Activation, out)
}

// grouped emits a convolution in groups and its activation. w is without role and shape.
func grouped(b *graph.Builder, x op.Value, s backend.GroupedShape, w graph.Weights, activation string) (op.Value, error) {
	w.Role, w.Shape, w.Units = graph.ConvWeights, s.Weights(), s.Filters
	weights, bias, made, err := b.Weighted(w, x)
	if err != nil {
		return op.None, err
	}
	out := b.New(s.Out)
	b.Emit(&op.Grouped{Shape: s, Out: out, X: x, W: weights, Bias: bias})
	made(out)
	return b.Activate(activation, out)
}

// Conv2DTranspose is a transposed convolution: with padding same its output is stride times its input.
type Conv2DTranspose struct {
	Filters     int               `yaml:"filters"`
	Kernel      Size              `yaml:"kernel"`
	Stride      int               `yaml:"stride,omitempty" zero:"1 or more"`
	Padding     string            `yaml:"padding,omitempty"`
	Activation  string            `yaml:"activation,omitempty"`
	NoBias      bool              `yaml:"no_bias,omitempty"`
	Initializer graph.Initializer `yaml:"initializer,omitempty"`
}

// Kind returns Keras's name of the layer.
func (*Conv2DTranspose) Kind() string { return "Conv2DTranspose" }

// Build emits the transposed convolution and its activation.
func (l *Conv2DTranspose) Build(b *graph.Builder, in ...op.Value) (op.Value, error) {
	x, err := one(in)
	if err != nil {
		return op.None, err
	}
	pad, err := parsePadding(l.Padding)
	if err != nil {
		return op.None, err
	}
	s, err := backend.NewConvTranspose(backend.ConvTransposeSpec{X: b.Shape(x), Filters: l.Filters, KernelH: l.Kernel.H, KernelW: l.Kernel.W, Stride: l.Stride, Padding: pad})
	if err != nil {
		return op.None, err
	}
	// Fans as Keras counts them for a transposed kernel (rows, columns, out, in): in and out change places.
	area := l.Kernel.H * l.Kernel.W
	w, bias, made, err := b.Weighted(graph.Weights{Role: graph.ConvWeights, Shape: s.Weights(), Units: l.Filters,
		FanIn: area * l.Filters, FanOut: area * s.X.C, Initializer: l.Initializer, NoBias: l.NoBias}, x)
	if err != nil {
		return op.None, err
	}
	out := b.New(s.Out)
	b.Emit(&op.ConvTranspose{Shape: s, Out: out, X: x, W: w, Bias: bias})
	made(out)
	return b.Activate(l.Activation, out)
}
