package backend

import (
	"math"
	"strings"
	"testing"
)

func TestRoundTF32(t *testing.T) {
	for in, want := range map[uint32]uint32{
		0x3f800000: 0x3f800000, // 1
		0x3f800fff: 0x3f800000, // below half of the last bit
		0x3f801000: 0x3f802000, // halfway: away from zero
		0x3f803000: 0x3f804000, // halfway, above an odd number
		0xbf801000: 0xbf802000, // halfway, negative
		0x3fffffff: 0x40000000, // into the next exponent
		0x00000fff: 0x00000000, // subnormal
		0x80001000: 0x80002000, // subnormal
		0x7f7fffff: 0x7f800000, // beyond the largest
		0x7f800000: 0x7f800000, // infinity
		0xff800000: 0xff800000,
	} {
		if got := math.Float32bits(RoundTF32(math.Float32frombits(in))); got != want {
			t.Errorf("%#08x becomes %#08x, want %#08x", in, got, want)
		}
	}
	for _, nan := range []uint32{0x7fc00000, 0x7f800001, 0xffffffff} {
		if got := RoundTF32(math.Float32frombits(nan)); got == got {
			t.Errorf("NaN %#08x becomes %v", nan, got)
		}
	}
}

func TestRoundBF16(t *testing.T) {
	for in, want := range map[uint32]uint32{
		0x3f800000: 0x3f800000, // 1
		0x3f807fff: 0x3f800000, // below half of the last bit
		0x3f808000: 0x3f800000, // halfway: to the even one, below
		0x3f818000: 0x3f820000, // halfway: to the even one, above
		0x3f808001: 0x3f810000, // above half
		0xbf818000: 0xbf820000, // halfway, negative
		0x3fffffff: 0x40000000, // into the next exponent
		0x00007fff: 0x00000000, // subnormal
		0x80018000: 0x80020000, // subnormal
		0x7f7fffff: 0x7f800000, // beyond the largest
		0x7f7f7fff: 0x7f7f0000, // almost
		0x7f800000: 0x7f800000, // infinity
		0xff800000: 0xff800000,
	} {
		x := math.Float32frombits(in)
		if got := math.Float32bits(RoundBF16(x)); got != want {
			t.Errorf("%#08x becomes %#08x, want %#08x", in, got, want)
		}
		if got := math.Float32bits(FromBF16(BF16(x))); got != want {
			t.Errorf("%#08x in two bytes is %#08x, want %#08x", in, got, want)
		}
		if got := BFloat16.Round(x); math.Float32bits(got) != want {
			t.Errorf("%#08x is rounded to %v", in, got)
		}
	}
	for _, nan := range []uint32{0x7fc00000, 0x7f800001, 0xffffffff} {
		x := math.Float32frombits(nan)
		if got := FromBF16(BF16(x)); got == got {
			t.Errorf("NaN %#08x becomes %v", nan, got)
		}
	}
}

// The shapes take the types of factors that backends round to, and hand them on.
func TestFactors(t *testing.T) {
	x := Shape{2, 6, 5, 3}
	build := func(d DType) (ConvShape, ConvTransposeShape, DenseShape, []error) {
		c, err := NewConv(ConvSpec{X: x, Filters: 4, KernelH: 3, KernelW: 3, Multiply: d})
		u, err2 := NewConvTranspose(ConvTransposeSpec{X: x, Filters: 4, KernelH: 3, KernelW: 3, Stride: 2, Multiply: d})
		l, err3 := NewDense(DenseSpec{N: 2, In: 3, Out: 4, Multiply: d})
		return c, u, l, []error{err, err2, err3}
	}
	for _, d := range []DType{Float32, TF32, BFloat16} {
		c, u, l, errs := build(d)
		for _, err := range errs {
			if err != nil {
				t.Error(err)
			}
		}
		if c.Multiply != d || u.Multiply != d || u.Dual.Multiply != d || l.Multiply != d {
			t.Errorf("%v: the shapes have %v, %v, %v and %v", d, c.Multiply, u.Multiply, u.Dual.Multiply, l.Multiply)
		}
	}
	_, _, _, errs := build(Uint8)
	for _, err := range errs {
		if err == nil || !strings.Contains(err.Error(), "want float32, tf32 or bfloat16") {
			t.Errorf("error %v", err)
		}
	}
}

// What would round single weights, and not the sums that the contract names, is refused; nn then runs it as ops of its own.
func TestFactorsOfUpsampled(t *testing.T) {
	spec := ConvSpec{X: Shape{2, 6, 4, 3}, Filters: 4, KernelH: 3, KernelW: 3, Up: 2, Multiply: TF32}
	if _, err := NewConv(spec); err != nil {
		t.Error(err)
	}
	strided, pooled := spec, spec
	strided.Stride, pooled.Pool = 2, 2
	for _, s := range []ConvSpec{strided, pooled} {
		if _, err := NewConv(s); err == nil || !strings.Contains(err.Error(), "takes factors of type tf32 only with a stride and a pool of 1") {
			t.Errorf("%+v: error %v", s, err)
		}
		s.Multiply = Float32
		if _, err := NewConv(s); err != nil {
			t.Error(err)
		}
	}
}

func TestPrecisionNames(t *testing.T) {
	for name, want := range map[string]Precision{"float32": {}, "tf32": {Multiply: TF32}, "bf16": {Multiply: BFloat16, Store: BFloat16}} {
		p, err := ParsePrecision(name)
		if err != nil || p != want || p.String() != name {
			t.Errorf("%s is %v (%v), want %+v", name, p, err, want)
		}
		if err := p.Check(); err != nil {
			t.Errorf("%s: error %v", name, err)
		}
	}
	for _, name := range []string{"", "fp16", "TF32"} {
		if p, err := ParsePrecision(name); err == nil {
			t.Errorf("%q is %v", name, p)
		}
	}
	half := Precision{Store: BFloat16}
	if got := half.String(); got != "multiply float32, store bfloat16" {
		t.Error(got)
	}
	if err := half.Check(); err == nil || err.Error() != "precision is multiply float32, store bfloat16: want float32, tf32, bf16 or winograd" {
		t.Errorf("error %v", err)
	}
}
