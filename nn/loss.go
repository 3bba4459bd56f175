package nn

import "fmt"

// Loss is what training minimises, a mean over every element.
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
