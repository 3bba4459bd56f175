package nn

import "fmt"

// Loss is what training minimises, summed up by a Reduction.
type Loss uint8

const (
	// BCE is the binary cross-entropy. The model ends in a sigmoid; the loss is computed from its logits.
	BCE Loss = iota
	// MSE is the mean squared error.
	MSE
)

func (l Loss) String() string { return [...]string{"bce", "mse"}[l] }

// ParseLoss returns the loss of that name.
func ParseLoss(name string) (Loss, error) {
	switch name {
	case "bce":
		return BCE, nil
	case "mse":
		return MSE, nil
	}
	return 0, fmt.Errorf("loss is %q, want bce or mse", name)
}

// Reduction says how the loss of a batch is made of those of its elements. The losses that are reported are means over
// samples whatever the reduction.
type Reduction uint8

const (
	// MeanReduction is the mean over all elements of all samples, as in Keras.
	MeanReduction Reduction = iota
	// SampleReduction is the sum over the elements of a sample, and the mean over samples: nats an image, with BCE.
	SampleReduction
	// SumReduction is the sum over all elements of all samples: gradients grow with the batch.
	SumReduction
)

func (r Reduction) String() string { return [...]string{"mean", "sample", "sum"}[r] }

// ParseReduction returns the reduction of that name.
func ParseReduction(name string) (Reduction, error) {
	for r := MeanReduction; r <= SumReduction; r++ {
		if r.String() == name {
			return r, nil
		}
	}
	return 0, fmt.Errorf("reduction is %q, want mean, sample (summed over a sample's elements) or sum", name)
}

// Elements returns how many elements a reported loss is a sum of, of a sample of n elements.
func (r Reduction) Elements(n int) int {
	if r == MeanReduction {
		return 1
	}
	return n
}
