package backend

import "fmt"

// Precision tells in which types a program computes: factors are rounded to Multiply before they are multiplied, and
// activations are kept as Store. Sums, and the weights that an optimiser updates, are float32 in every precision. The zero
// Precision is float32 throughout.
type Precision struct{ Multiply, Store DType }

func (p Precision) String() string {
	return fmt.Sprintf("multiply %v, store %v", p.Multiply, p.Store)
}

// Check reports a precision that no backend of this build has.
func (p Precision) Check() error {
	if p != (Precision{}) {
		return fmt.Errorf("precision is %v: this build computes in float32 only", p)
	}
	return nil
}
