package backend

import "fmt"

// Padding is the border rule of Keras.
type Padding uint8

const (
	// Same: the output has ceil(input/stride) positions; an odd number of padding pixels puts the extra one at the
	// bottom and right. A transposed convolution gives input*stride.
	Same Padding = iota
	// Valid: no padding.
	Valid
)

func (p Padding) String() string { return [...]string{"same", "valid"}[p] }

// MaxKernel is the largest side of a kernel, MaxStride the largest stride, MaxDilation the largest dilation, MaxPool the largest side of a
// pool window.
const (
	MaxKernel   = 11
	MaxStride   = 11
	MaxDilation = 11
	MaxPool     = 15
)

// MaxElements bounds a tensor, so that no size or offset overflows 32 bits in a kernel.
const MaxElements = 1<<31 - 1

// ConvSpec is what defines a convolution. Zero Stride, Dilation, Up and Pool mean 1.
type ConvSpec struct {
	X        Shape // input as stored
	Filters  int
	KernelH  int
	KernelW  int
	Stride   int
	Dilation int // rows and columns from one tap of the kernel to the next; over 1 it wants a Stride and an Up of 1
	Padding  Padding
	Up       int // the input is read upsampled by this factor (nearest neighbour)
	Act      Act // applied to the output
	Pool     int // the output is max-pooled with this window and stride, which must divide it
	InAct    Act // ConvBackInput multiplies by its derivative
	// Both factors of a product are rounded to Multiply, here and in the gradients; see Precision. Of an input that is read
	// upsampled, what is rounded are sums: forward, of the weights that fall on one pixel; back, of Spread's gradients.
	Multiply DType
	Winograd bool // sums of products may be made by Winograd's minimal filtering, here and in the gradients; see Precision
}

// ConvShape is a validated ConvSpec with what follows from it. Make it with NewConv.
type ConvShape struct {
	ConvSpec
	In              Shape // input as the convolution sees it, upsampled
	Conv            Shape // output before the pool
	Out             Shape // output
	PadTop, PadLeft int
}

// NewConv validates a convolution and derives its geometry.
func NewConv(c ConvSpec) (ConvShape, error) {
	c.Stride, c.Dilation, c.Up, c.Pool = max(c.Stride, 1), max(c.Dilation, 1), max(c.Up, 1), max(c.Pool, 1)
	s := ConvShape{ConvSpec: c}
	if err := checkKernel(c.X, c.Filters, c.KernelH, c.KernelW, c.Stride, c.Dilation); err != nil {
		return s, err
	}
	if c.KernelH*c.KernelW == 1 {
		s.Dilation = 1 // of a single tap
	}
	if s.Dilation > 1 && c.Stride*c.Up > 1 {
		return s, fmt.Errorf("the dilation is %d, want 1 with a stride of %d and an input that is read upsampled by %d", c.Dilation, c.Stride, c.Up)
	}
	if c.Pool > MaxPool {
		return s, fmt.Errorf("pool is %d, want at most %d", c.Pool, MaxPool)
	}
	if c.Up > MaxUp {
		return s, fmt.Errorf("the upsampling factor is %d, want at most %d", c.Up, MaxUp)
	}
	if c.Up > 1 && c.Stride > c.Up {
		return s, fmt.Errorf("the stride is %d, want at most the factor of an input that is read upsampled, %d", c.Stride, c.Up)
	}
	if err := c.Multiply.checkFactor(); err != nil {
		return s, err
	}
	if c.Multiply != Float32 && c.Up > 1 && c.Stride*c.Pool > 1 {
		return s, fmt.Errorf("an input that is read upsampled takes factors of type %v only with a stride and a pool of 1", c.Multiply)
	}
	s.In = Shape{c.X.N, c.X.H * c.Up, c.X.W * c.Up, c.X.C}
	var oh, ow int
	oh, s.PadTop = convExtent(s.In.H, reach(c.KernelH, c.Dilation), c.Stride, c.Padding)
	ow, s.PadLeft = convExtent(s.In.W, reach(c.KernelW, c.Dilation), c.Stride, c.Padding)
	if oh < 1 || ow < 1 {
		return s, fmt.Errorf("a %dx%d kernel of dilation %d with padding valid does not fit the input %v", c.KernelH, c.KernelW, c.Dilation, s.In)
	}
	s.Conv = Shape{c.X.N, oh, ow, c.Filters}
	if oh%c.Pool != 0 || ow%c.Pool != 0 {
		return s, fmt.Errorf("a fused pool of %d does not divide the output %v", c.Pool, s.Conv)
	}
	s.Out = Shape{c.X.N, oh / c.Pool, ow / c.Pool, c.Filters}
	return s, checkSizes(c.X, s.In, s.Conv, s.Weights(), s.Spread())
}

// Spread is the shape of the gradient of one image's output, summed over the copies of each upsampled pixel: a backend may make
// these sums in its backward pass. Without upsampling it is the zero Shape.
func (s ConvShape) Spread() Shape {
	if s.Up <= 1 {
		return Shape{}
	}
	return Shape{1, s.Stride*(s.Conv.H-1) + s.Up, s.Stride*(s.Conv.W-1) + s.Up, s.Filters}
}

// Elements is the number of elements of the largest tensor that the convolution and its gradients index at once.
func (s ConvShape) Elements() int {
	return max(s.X.Len(), s.In.Len(), s.Conv.Len())
}

// Weights returns the shape of the weights, (Filters, KernelH, KernelW, channels in).
func (s ConvShape) Weights() Shape { return Shape{s.Filters, s.KernelH, s.KernelW, s.X.C} }

// WithN returns the same convolution for another number of images.
func (s ConvShape) WithN(n int) ConvShape {
	s.X.N, s.In.N, s.Conv.N, s.Out.N = n, n, n, n
	return s
}

// MACs returns the multiply-adds of the forward pass.
func (s ConvShape) MACs() int { return s.Conv.Len() * s.KernelH * s.KernelW * s.X.C }

// ConvTransposeSpec is what defines a transposed convolution. Zero Stride means 1.
type ConvTransposeSpec struct {
	X        Shape
	Filters  int
	KernelH  int
	KernelW  int
	Stride   int
	Padding  Padding
	Act      Act   // applied to the output
	InAct    Act   // ConvTransposeBackInput multiplies by its derivative
	Multiply DType // both factors of a product are rounded to it, here and in the gradients; see Precision
	Winograd bool  // sums of products may be made by Winograd's minimal filtering, here and in the gradients; see Precision
}

// ConvTransposeShape is a validated ConvTransposeSpec. Make it with NewConvTranspose. Dual is the convolution of which
// this is the gradient: its input is this output, its weights (channels in, KernelH, KernelW, Filters) are these
// weights.
type ConvTransposeShape struct {
	ConvTransposeSpec
	Out  Shape
	Dual ConvShape
}

// NewConvTranspose validates a transposed convolution and derives its geometry.
func NewConvTranspose(c ConvTransposeSpec) (ConvTransposeShape, error) {
	c.Stride = max(c.Stride, 1)
	s := ConvTransposeShape{ConvTransposeSpec: c}
	if err := checkKernel(c.X, c.Filters, c.KernelH, c.KernelW, c.Stride, 1); err != nil {
		return s, err
	}
	s.Out = Shape{c.X.N, transposeExtent(c.X.H, c.KernelH, c.Stride, c.Padding),
		transposeExtent(c.X.W, c.KernelW, c.Stride, c.Padding), c.Filters}
	if err := checkSizes(c.X, s.Out, s.Weights()); err != nil {
		return s, err
	}
	var err error
	s.Dual, err = NewConv(ConvSpec{X: s.Out, Filters: c.X.C, KernelH: c.KernelH, KernelW: c.KernelW, Stride: c.Stride, Padding: c.Padding,
		Multiply: c.Multiply, Winograd: c.Winograd})
	return s, err
}

// Weights returns the shape of the weights, (channels in, KernelH, KernelW, Filters).
func (s ConvTransposeShape) Weights() Shape { return Shape{s.X.C, s.KernelH, s.KernelW, s.Filters} }

// WithN returns the same transposed convolution for another number of images.
func (s ConvTransposeShape) WithN(n int) ConvTransposeShape {
	s.X.N, s.Out.N, s.Dual = n, n, s.Dual.WithN(n)
	return s
}

// MACs returns the multiply-adds of the forward pass.
func (s ConvTransposeShape) MACs() int { return s.Dual.MACs() }

// reach is how many rows or columns a kernel reaches over.
func reach(kernel, dilation int) int { return (kernel-1)*dilation + 1 }

// convExtent returns the output extent of a convolution or pool and the padding before the input.
func convExtent(in, kernel, stride int, p Padding) (out, pad int) {
	if p == Valid {
		if in < kernel {
			return 0, 0
		}
		return (in-kernel)/stride + 1, 0
	}
	out = (in + stride - 1) / stride
	return out, max((out-1)*stride+kernel-in, 0) / 2
}

func transposeExtent(in, kernel, stride int, p Padding) int {
	if p == Valid {
		return in*stride + max(kernel-stride, 0)
	}
	return in * stride
}

func checkImages(x Shape) error {
	if x.N < 1 || x.H < 1 || x.W < 1 || x.C < 1 {
		return fmt.Errorf("the input shape %v has an extent below 1", x)
	}
	return nil
}

func checkKernel(x Shape, filters, kh, kw, stride, dilation int) error {
	if err := checkImages(x); err != nil {
		return err
	}
	if filters < 1 {
		return fmt.Errorf("filters is %d, want at least 1", filters)
	}
	if kh < 1 || kh > MaxKernel || kw < 1 || kw > MaxKernel {
		return fmt.Errorf("the kernel is %dx%d, want sides from 1 to %d", kh, kw, MaxKernel)
	}
	if stride > MaxStride {
		return fmt.Errorf("the stride is %d, want 1 to %d", stride, MaxStride)
	}
	if dilation > MaxDilation {
		return fmt.Errorf("the dilation is %d, want 1 to %d", dilation, MaxDilation)
	}
	return nil
}

// checkSizes reports tensors that are too large to index.
func checkSizes(shapes ...Shape) error {
	for _, s := range shapes {
		n := 1
		for _, d := range [...]int{s.N, s.H, s.W, s.C} {
			if d > 0 && (d > MaxElements || n > MaxElements/d) {
				return fmt.Errorf("the shape %v has more than %d elements", s, MaxElements)
			}
			n *= d
		}
	}
	return nil
}
