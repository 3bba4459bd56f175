package use

import (
	"fmt"
	"slices"

	"github.com/convae/convae/nn"
	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/trainer/dataset"
)

// CheckSet reports a data set whose samples the model cannot take, or the loss. A model of vectors takes images, row by
// row, and one of grey images takes vectors; of colours a vector does not say which value is which.
func CheckSet(m *nn.Model, loss nn.Loss, set *dataset.Set) error {
	if n := set.Size(); n != m.Input.Len() {
		what := fmt.Sprintf("samples of %d values", n)
		if set.H*set.W > 1 {
			what = fmt.Sprintf("images of %d x %d x %d = %d values", set.H, set.W, set.C, n)
		}
		return fmt.Errorf("data set %s has %s, model %q takes %d", set.Name, what, m.Config.Name, m.Input.Len())
	}
	if shape := sampleShape(set); !FitsInput(shape, m.Input) {
		return fmt.Errorf("data set %s: samples of shape %s do not suit model %q: want %s%s", set.Name, dataset.ShapeText(shape), m.Config.Name,
			dataset.ShapeText([]int{m.Input.H, m.Input.W, m.Input.C}), ShapeAdvice(shape, m.Input))
	}
	if loss.BCE == 0 {
		return nil
	}
	if i := outside(set); i >= 0 {
		return fmt.Errorf("data set %s: value %d of sample %d is %v, and loss bce needs values in [0,1]: use data.scaling minmax or loss mse", set.Name, i%set.Size()+1, i/set.Size()+1, set.Values[i])
	}
	return nil
}

// outside returns the index of the first value that is not in [0,1], -1 if all are.
func outside(set *dataset.Set) int {
	return slices.IndexFunc(set.Values, func(v float32) bool { return !(v >= 0 && v <= 1) })
}

func sampleShape(set *dataset.Set) []int {
	if set.H*set.W == 1 {
		return []int{set.C}
	}
	return []int{set.H, set.W, set.C}
}

// FitsInput reports whether a sample of that shape, (n), (rows, columns) or (rows, columns, channels), is one of the
// input's.
func FitsInput(shape []int, input backend.Shape) bool {
	n := 1
	for _, d := range shape {
		n *= d
	}
	switch {
	case n != input.Len():
		return false
	case input.H*input.W == 1:
		return true
	case len(shape) == 1:
		return input.C == 1
	case len(shape) == 2:
		return input.C == 1 && shape[0] == input.H && shape[1] == input.W
	}
	return slices.Equal(shape, []int{input.H, input.W, input.C})
}

// ShapeAdvice says what to do about samples of a shape that does not suit an input, "" if that is not known.
func ShapeAdvice(shape []int, input backend.Shape) string {
	switch {
	case slices.Equal(shape, []int{input.C, input.H, input.W}):
		return "; the channels come first: numpy.moveaxis(array, 1, -1) puts them last"
	case len(shape) == 1 && shape[0] == input.Len():
		return "; a vector does not say whether its channels come first or last: want an array of that shape"
	}
	return ""
}
