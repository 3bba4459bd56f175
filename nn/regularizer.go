package nn

import (
	"fmt"
	"math"

	"github.com/convae/convae/nn/backend"
)

// Regularizer is a penalty on the weights of all layers, biases excepted: L1 sum |w| + L2 sum w² is added to the loss of a
// batch, as Keras's kernel_regularizer does.
type Regularizer struct {
	L1 float64 `yaml:"l1,omitempty"`
	L2 float64 `yaml:"l2,omitempty"`
}

// Check reports a constant that cannot be.
func (r Regularizer) Check() error {
	return checkPenalties("kernel_regularizer", constant{"l1", r.L1}, constant{"l2", r.L2})
}

func (r Regularizer) norms() backend.Norms {
	return backend.Norms{L1: float32(r.L1), L2: float32(r.L2)}
}

// ActivityRegularizer is a penalty on the code. L1 sum |z| + L2 sum z², over a sample's code, is a part of the sample's loss,
// as with Keras's activity_regularizer. KL keeps each unit of a code between 0 and 1 at a mean activation of Rho: the loss
// of a batch grows by KL times the sum over units of Rho ln(Rho/r) + (1-Rho) ln((1-Rho)/(1-r)), where r is the unit's mean
// over the whole batch (Ng, "Sparse autoencoder", CS294A lecture notes, 2011). For r the encoder runs a first time, so
// that the result depends neither on lanes nor on how a batch is cut.
type ActivityRegularizer struct {
	L1  float64 `yaml:"l1,omitempty"`
	L2  float64 `yaml:"l2,omitempty"`
	KL  float64 `yaml:"kl,omitempty"`
	Rho float64 `yaml:"rho,omitempty"`
}

// Check reports a constant that cannot be.
func (r ActivityRegularizer) Check() error {
	if err := checkPenalties("activity_regularizer", constant{"l1", r.L1}, constant{"l2", r.L2}, constant{"kl", r.KL}); err != nil {
		return err
	}
	if r.KL > 0 && !(r.Rho > 0 && r.Rho < 1) {
		return fmt.Errorf("activity_regularizer: rho is %v, want the mean activation that kl aims at, between 0 and 1, such as 0.05", r.Rho)
	}
	if r.KL == 0 && r.Rho != 0 {
		return fmt.Errorf("activity_regularizer: rho is %v without kl, want the weight of the penalty too, such as kl: 3", r.Rho)
	}
	return nil
}

func (r ActivityRegularizer) norms() backend.Norms {
	return backend.Norms{L1: float32(r.L1), L2: float32(r.L2)}
}

// Contractive is a penalty on how far the code moves with the input: Weight times the squared Frobenius norm of the
// Jacobian of the code, a part of a sample's loss (Rifai et al., "Contractive Auto-Encoders", 2011). Of an encoder of one
// dense layer it is exact. Of any other, or with Estimate, it is estimated, without bias but for curvature, from one
// direction v of standard normal numbers a sample and step: |code(x + Step v) - code(x)|² / Step².
type Contractive struct {
	Weight   float64 `yaml:"weight,omitempty"`
	Step     float64 `yaml:"step,omitempty" zero:"0.0001 to 1"` // 0.01
	Estimate bool    `yaml:"estimate,omitempty"`
}

// WithDefaults fills in the step and checks the constants.
func (c Contractive) WithDefaults() (Contractive, error) {
	if c.Weight == 0 && c != (Contractive{}) {
		return c, fmt.Errorf("contractive: weight is missing: want how much the penalty counts, such as 0.1")
	}
	if c.Weight != 0 && c.Step == 0 {
		c.Step = 0.01
	}
	if c.Weight != 0 && !(c.Step >= 1e-4 && c.Step <= 1) {
		return c, fmt.Errorf("contractive: step is %v, want 0.0001 to 1", c.Step)
	}
	return c, checkPenalties("contractive", constant{"weight", c.Weight})
}

// penalizesCode reports whether the loss has a part that depends on the code alone.
func (o TrainerOptions) penalizesCode() bool {
	return o.Activity != (ActivityRegularizer{}) || o.Contractive.Weight > 0
}

// Clip bounds the gradient of a batch before the optimiser sees it, by one of two ways: each of its elements by Value, or
// the Euclidean norm of all of it by Norm (Pascanu et al. 2013; Keras's global_clipnorm). 0 is no bound.
type Clip struct {
	Value float64 `yaml:"value,omitempty"`
	Norm  float64 `yaml:"norm,omitempty"`
}

// Check reports a bound that cannot be.
func (c Clip) Check() error {
	if c.Value != 0 && c.Norm != 0 {
		return fmt.Errorf("clip: there are value %v and norm %v, want one of them", c.Value, c.Norm)
	}
	return checkPenalties("clip", constant{"value", c.Value}, constant{"norm", c.Norm})
}

type constant struct {
	name  string
	value float64
}

// checkPenalties wants constants from 0 up to what a float32 holds.
func checkPenalties(of string, constants ...constant) error {
	for _, c := range constants {
		if !(c.value >= 0 && c.value <= math.MaxFloat32) {
			return fmt.Errorf("%s: %s is %v, want 0 or more", of, c.name, c.value)
		}
	}
	return nil
}
