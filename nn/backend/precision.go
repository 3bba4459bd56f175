package backend

import (
	"fmt"
	"math"
)

// Precision tells in which types a program computes: the factors of convolutions, transposed convolutions and dense layers, and of
// their gradients, are rounded to Multiply before they are multiplied, and activations and their gradients are kept as Store between
// layers. Sums, everything else that is computed, what a loss reads and writes, and the weights that an optimiser updates are float32 in
// every precision. The zero Precision is float32 throughout.
//
// With Winograd a backend may make convolutions of 3x3 taps, and their gradients, by Winograd's minimal filtering, which multiplies sums of pixels by sums
// of weights. A result's rounding error is then one of all results of the same 4x4 pixels: it stays within the bound that a sum of as many terms
// in float32 has, 2^-23 (4 + sqrt(terms)), but of the largest sum of magnitudes among those results, not of its own; and what is not finite reaches
// all of them. The CPU does so from 16 channels and 16 tiles on; other devices compute as without it.
type Precision struct {
	Multiply, Store DType
	Winograd        bool
}

// precisions are those that have a name.
var precisions = [...]struct {
	name string
	Precision
}{
	{"float32", Precision{}}, {"tf32", Precision{Multiply: TF32}}, {"bf16", Precision{Multiply: BFloat16, Store: BFloat16}},
	{"winograd", Precision{Winograd: true}},
}

const wantPrecision = "want float32, tf32, bf16 or winograd"

// ParsePrecision returns the precision of a name: float32, tf32, bf16 or winograd.
func ParsePrecision(name string) (Precision, error) {
	for _, p := range precisions {
		if p.name == name {
			return p.Precision, nil
		}
	}
	return Precision{}, fmt.Errorf("precision is %q, %s", name, wantPrecision)
}

// String returns the precision's name or, if it has none, its types.
func (p Precision) String() string {
	for _, named := range precisions {
		if p == named.Precision {
			return named.name
		}
	}
	s := fmt.Sprintf("multiply %v, store %v", p.Multiply, p.Store)
	if p.Winograd {
		s += ", Winograd"
	}
	return s
}

// Check reports a precision in which no backend computes.
func (p Precision) Check() error {
	for _, named := range precisions {
		if p == named.Precision {
			return nil
		}
	}
	return fmt.Errorf("precision is %v: %s", p, wantPrecision)
}

// checkFactor reports a type to which no backend rounds factors.
func (d DType) checkFactor() error {
	if d != Float32 && d != TF32 && d != BFloat16 {
		return fmt.Errorf("the type of factors is %v, want float32, tf32 or bfloat16", d)
	}
	return nil
}

// Round rounds x to a type of factors or of activations.
func (d DType) Round(x float32) float32 {
	switch d {
	case TF32:
		return RoundTF32(x)
	case BFloat16:
		return RoundBF16(x)
	}
	return x
}

// RoundTF32 rounds to the nearest number of 10 bits of mantissa, and what is halfway to the one further from zero, as PTX's
// cvt.rna.tf32.f32 does. What is beyond the largest becomes infinite; infinities and NaN stay what they are.
func RoundTF32(x float32) float32 {
	bits := math.Float32bits(x)
	if bits&infinity == infinity {
		return x
	}
	return math.Float32frombits((bits + tf32Half) &^ (2*tf32Half - 1))
}

// RoundBF16 rounds to the nearest number of 7 bits of mantissa, and what is halfway to the one whose last bit is 0, as PTX's
// cvt.rn.bf16.f32 does. What is beyond the largest becomes infinite; infinities stay, and NaN stays NaN.
func RoundBF16(x float32) float32 {
	bits := math.Float32bits(x)
	if x != x {
		return math.Float32frombits(bits&^(1<<bf16Shift-1) | quiet)
	}
	return math.Float32frombits((bits + (bits>>bf16Shift&1 + 1<<(bf16Shift-1) - 1)) &^ (1<<bf16Shift - 1))
}

// BF16 returns the two bytes of x rounded to bfloat16, and FromBF16 the number that they stand for.
func BF16(x float32) uint16        { return uint16(math.Float32bits(RoundBF16(x)) >> bf16Shift) }
func FromBF16(bits uint16) float32 { return math.Float32frombits(uint32(bits) << bf16Shift) }

const (
	infinity = 0x7f800000 // bits of a float32
	quiet    = 0x00400000 // the bit of a NaN that no conversion loses
	tf32Half = 1 << 12    // half of the last bit that tf32 keeps

	bf16Shift = 16 // bits of a float32 that bfloat16 leaves out
)
