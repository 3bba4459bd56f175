package backend

import (
	"fmt"
	"math"
)

// Precision tells in which types a program computes: the factors of convolutions, transposed convolutions and dense layers, and of
// their gradients, are rounded to Multiply before they are multiplied, and activations are kept as Store. Sums, everything else that
// is computed, and the weights that an optimiser updates are float32 in every precision. The zero Precision is float32 throughout.
type Precision struct{ Multiply, Store DType }

// precisions are those that have a name.
var precisions = [...]struct {
	name string
	Precision
}{{"float32", Precision{}}, {"tf32", Precision{Multiply: TF32}}, {"bf16", Precision{Multiply: BFloat16, Store: BFloat16}}}

// ParsePrecision returns the precision of a name: float32, tf32 or bf16. That there is a name does not say that there is a backend
// which computes so; see Check.
func ParsePrecision(name string) (Precision, error) {
	for _, p := range precisions {
		if p.name == name {
			return p.Precision, nil
		}
	}
	return Precision{}, fmt.Errorf("precision is %q, want float32 or tf32", name)
}

// String returns the precision's name or, if it has none, its types.
func (p Precision) String() string {
	for _, named := range precisions {
		if p == named.Precision {
			return named.name
		}
	}
	return fmt.Sprintf("multiply %v, store %v", p.Multiply, p.Store)
}

// Check reports a precision that no backend of this build has.
func (p Precision) Check() error {
	if p.Multiply.checkFactor() != nil || p.Store != Float32 {
		return fmt.Errorf("precision is %v, which is not there yet: want float32 or tf32", p)
	}
	return nil
}

// checkFactor reports a type to which no backend rounds factors.
func (d DType) checkFactor() error {
	if d != Float32 && d != TF32 {
		return fmt.Errorf("the type of factors is %v, want float32 or tf32", d)
	}
	return nil
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

const (
	infinity = 0x7f800000 // bits of a float32
	tf32Half = 1 << 12    // half of the last bit that tf32 keeps
)
