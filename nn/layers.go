package nn

import (
	"errors"
	"fmt"

	"github.com/convae/convae/nn/backend"
)

// Layer is one layer of a model: *Conv2D, *Conv2DTranspose, *MaxPool2D, *UpSampling2D, *Dense, *Activation, *Flatten,
// *Reshape, *Dropout, *Sampling or *Concrete.
type Layer interface {
	// Kind returns the layer's name in Keras, such as "Conv2D".
	Kind() string
	// lower appends the layer's ops and returns an error that says what the input shape should have been.
	lower(b *builder) error
}

// Size is a height and a width. In YAML a single number means both.
type Size struct{ H, W int }

// Square returns the size n by n.
func Square(n int) Size { return Size{n, n} }

// UnmarshalYAML reads "3" or "[3, 5]".
func (s *Size) UnmarshalYAML(unmarshal func(any) error) error {
	var p []float64 // of which an int would lose the fraction
	var n float64
	if unmarshal(&n) == nil {
		p = []float64{n, n}
	} else if unmarshal(&p) != nil || len(p) != 2 {
		return errSize
	}
	*s = Size{int(p[0]), int(p[1])}
	if float64(s.H) != p[0] || float64(s.W) != p[1] {
		return errSize
	}
	return nil
}

var errSize = errors.New("want a whole number, or [rows, columns]")

// MarshalYAML writes a square as one number.
func (s Size) MarshalYAML() (any, error) {
	if s.H == s.W {
		return s.H, nil
	}
	return []int{s.H, s.W}, nil
}

// Conv2D is a two-dimensional convolution.
type Conv2D struct {
	Filters     int         `yaml:"filters"`
	Kernel      Size        `yaml:"kernel"`                         // 1 to 7
	Stride      int         `yaml:"stride,omitempty" zero:"1 or 2"` // 1 (default) or 2
	Padding     string      `yaml:"padding,omitempty"`              // same (default; Keras's is valid) or valid
	Activation  string      `yaml:"activation,omitempty"`           // linear (default), relu, sigmoid, tanh
	NoBias      bool        `yaml:"no_bias,omitempty"`              //
	Initializer Initializer `yaml:"initializer,omitempty"`
}

// Conv2DTranspose is a transposed convolution: with padding same its output is stride times its input.
type Conv2DTranspose struct {
	Filters     int         `yaml:"filters"`
	Kernel      Size        `yaml:"kernel"`
	Stride      int         `yaml:"stride,omitempty" zero:"1 or more"`
	Padding     string      `yaml:"padding,omitempty"`
	Activation  string      `yaml:"activation,omitempty"`
	NoBias      bool        `yaml:"no_bias,omitempty"`
	Initializer Initializer `yaml:"initializer,omitempty"`
}

// MaxPool2D is max-pooling.
type MaxPool2D struct {
	Size    int    `yaml:"size"`
	Stride  int    `yaml:"stride,omitempty" zero:"1 or more"` // Size by default
	Padding string `yaml:"padding,omitempty"`                 // same (default) or valid
}

// UpSampling2D repeats each pixel Size times in both directions.
type UpSampling2D struct {
	Size int `yaml:"size"`
}

// Dense is a fully connected layer; its input must be flat.
type Dense struct {
	Units       int         `yaml:"units"`
	Activation  string      `yaml:"activation,omitempty"`
	NoBias      bool        `yaml:"no_bias,omitempty"`
	Initializer Initializer `yaml:"initializer,omitempty"`
}

// Activation applies a function to every element.
type Activation struct {
	Function string `yaml:"function"` // relu, sigmoid, tanh, linear
}

// Flatten makes an image a vector, rows first and channels last as in Keras.
type Flatten struct{}

// Reshape gives the input another shape: one number for a vector or three for rows, columns, channels.
type Reshape struct {
	Shape []int `yaml:"shape"`
}

// Dropout zeroes a share of the elements in training and scales up the rest; it does nothing otherwise.
type Dropout struct {
	Rate float32 `yaml:"rate"`
}

// Sampling makes a Gaussian code of means and logarithms of variances: of its input's channels the first half are means.
// In training it draws the code, and the loss takes in the code's divergence from the standard normal distribution;
// otherwise the code is the means. It ends an encoder.
type Sampling struct{}

// Concrete selects inputs: it has Select outputs, in training each a random mixture of the inputs that a temperature drives
// towards one of them, otherwise the likeliest one. It begins an encoder, on a flat input.
type Concrete struct {
	Select int `yaml:"select"`
}

func (*Conv2D) Kind() string          { return "Conv2D" }
func (*Conv2DTranspose) Kind() string { return "Conv2DTranspose" }
func (*MaxPool2D) Kind() string       { return "MaxPooling2D" }
func (*UpSampling2D) Kind() string    { return "UpSampling2D" }
func (*Dense) Kind() string           { return "Dense" }
func (*Activation) Kind() string      { return "Activation" }
func (*Flatten) Kind() string         { return "Flatten" }
func (*Reshape) Kind() string         { return "Reshape" }
func (*Dropout) Kind() string         { return "Dropout" }
func (*Sampling) Kind() string        { return "Sampling" }
func (*Concrete) Kind() string        { return "Concrete" }

func (l *Conv2D) lower(b *builder) error {
	pad, err := parsePadding(l.Padding)
	if err != nil {
		return err
	}
	s, err := backend.NewConv(backend.ConvSpec{X: b.shape, Filters: l.Filters, KernelH: l.Kernel.H, KernelW: l.Kernel.W, Stride: l.Stride, Padding: pad})
	if err != nil {
		return err
	}
	area := l.Kernel.H * l.Kernel.W
	n := node{op: opConv, conv: s.ConvSpec, out: s.Out}
	return b.weighted(n, s.Weights(), l.Filters, area*b.shape.C, area*l.Filters, l.NoBias, l.Initializer, l.Activation)
}

func (l *Conv2DTranspose) lower(b *builder) error {
	pad, err := parsePadding(l.Padding)
	if err != nil {
		return err
	}
	s, err := backend.NewConvTranspose(backend.ConvTransposeSpec{X: b.shape, Filters: l.Filters, KernelH: l.Kernel.H, KernelW: l.Kernel.W, Stride: l.Stride, Padding: pad})
	if err != nil {
		return err
	}
	// Fans as Keras counts them for a transposed kernel (rows, columns, out, in): in and out change places.
	area := l.Kernel.H * l.Kernel.W
	n := node{op: opConvTranspose, convT: s.ConvTransposeSpec, out: s.Out}
	return b.weighted(n, s.Weights(), l.Filters, area*l.Filters, area*b.shape.C, l.NoBias, l.Initializer, l.Activation)
}

func (l *Dense) lower(b *builder) error {
	if b.shape.H*b.shape.W != 1 {
		return fmt.Errorf("the input %s is not flat: put a flatten layer before it", shapeText(b.shape))
	}
	s, err := backend.NewDense(backend.DenseSpec{N: 1, In: b.shape.C, Out: l.Units})
	if err != nil {
		return err
	}
	n := node{op: opDense, dense: s.DenseSpec, out: s.OutShape()}
	return b.weighted(n, s.Weights(), l.Units, b.shape.C, l.Units, l.NoBias, l.Initializer, l.Activation)
}

func (l *MaxPool2D) lower(b *builder) error {
	pad, err := parsePadding(l.Padding)
	if err != nil {
		return err
	}
	s, err := backend.NewPool(backend.PoolSpec{X: b.shape, Size: l.Size, Stride: l.Stride, Padding: pad})
	if err != nil {
		return err
	}
	b.add(node{op: opPool, pool: s.PoolSpec, out: s.Out})
	b.module()
	return nil
}

func (l *UpSampling2D) lower(b *builder) error {
	s, err := backend.NewUpsample(b.shape, l.Size)
	if err != nil {
		return err
	}
	b.add(node{op: opUpsample, up: l.Size, out: s.Out})
	b.module()
	return nil
}

func (l *Activation) lower(b *builder) error {
	if l.Function == "" {
		return fmt.Errorf("function is missing: want one of %v", backend.ActNames())
	}
	return b.activation(l.Function)
}

func (l *Flatten) lower(b *builder) error {
	b.reshape(backend.Vec(b.shape.Image()))
	b.module()
	return nil
}

func (l *Reshape) lower(b *builder) error {
	s, err := parseShape(l.Shape)
	if err != nil {
		return err
	}
	if s.Len() != b.shape.Len() {
		return fmt.Errorf("shape %s has %d elements, the input %s has %d", shapeText(s), s.Len(), shapeText(b.shape), b.shape.Len())
	}
	b.reshape(s)
	b.module()
	return nil
}

func (l *Dropout) lower(b *builder) error {
	if !(l.Rate >= 0 && l.Rate < 1) {
		return fmt.Errorf("rate is %v, want 0 <= rate < 1", l.Rate)
	}
	b.add(node{op: opDropout, rate: l.Rate, out: b.shape})
	b.module()
	return nil
}

func (l *Sampling) lower(b *builder) error {
	if b.shape.C%2 != 0 {
		return fmt.Errorf("%d channels are no pairs of a mean and a logarithm of a variance: want twice the code's channels before it", b.shape.C)
	}
	out := b.shape
	out.C /= 2
	b.add(node{op: opSample, out: out})
	b.module()
	return nil
}

func (l *Concrete) lower(b *builder) error {
	for _, n := range b.model.nodes {
		if n.op != opReshape {
			return fmt.Errorf("it selects inputs: want it first in the encoder, after a flatten at most")
		}
	}
	if b.shape.H*b.shape.W != 1 {
		return fmt.Errorf("the input %s is not flat: put a flatten layer before it", shapeText(b.shape))
	}
	if l.Select < 1 || l.Select > b.shape.C {
		return fmt.Errorf("select is %d, want 1 to the %d inputs", l.Select, b.shape.C)
	}
	s, err := backend.NewDense(backend.DenseSpec{N: 1, In: b.shape.C, Out: l.Select})
	if err != nil {
		return err
	}
	n := node{op: opConcrete, dense: s.DenseSpec, out: s.OutShape()}
	return b.weighted(n, s.Weights(), l.Select, b.shape.C, l.Select, true, Initializer{Name: "glorot_normal"}, "")
}

func parsePadding(s string) (backend.Padding, error) {
	switch s {
	case "", "same":
		return backend.Same, nil
	case "valid":
		return backend.Valid, nil
	}
	return 0, fmt.Errorf("padding is %q, want same or valid", s)
}

// parseShape reads (n) or (rows, columns, channels).
func parseShape(d []int) (backend.Shape, error) {
	const limit = 1 << 30
	n := 1
	for _, v := range d {
		if v < 1 || v > limit/n {
			return backend.Shape{}, fmt.Errorf("shape %v: want extents of at least 1 and at most %d elements", d, limit)
		}
		n *= v
	}
	switch len(d) {
	case 1:
		return backend.Vec(d[0]), nil
	case 3:
		return backend.Shape{N: 1, H: d[0], W: d[1], C: d[2]}, nil
	}
	return backend.Shape{}, fmt.Errorf("shape %v: want [n] or [rows, columns, channels]", d)
}

// shapeText prints the shape of one sample as a person writes it.
func shapeText(s backend.Shape) string {
	if s.H == 1 && s.W == 1 {
		return fmt.Sprintf("(%d)", s.C)
	}
	return fmt.Sprintf("(%d, %d, %d)", s.H, s.W, s.C)
}
