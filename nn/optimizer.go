package nn

import (
	"fmt"
	"math"

	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/op"
)

// Optimizer names an optimiser and its constants. Those that are left out, and a learning rate or epsilon of 0, mean the
// defaults: Keras's, but for the learning rate of adadelta, which is that of the paper.
//
// Adam's epsilon is added to the root of the corrected second moment, as in PyTorch and as in the algorithm of Kingma and
// Ba, "Adam: A Method for Stochastic Optimization", 2015. With EpsilonHat it is added to that of the uncorrected one, as
// in Keras and as at the end of the paper's section 2, and so counts for more in the first steps.
type Optimizer struct {
	Name         string   `yaml:"name"`                                       // sgd, adam (default), adamw, adadelta, rmsprop, lion
	LearningRate float64  `yaml:"learning_rate,omitempty" zero:"more than 0"` // sgd 0.01, adadelta 1, all others 0.001
	Momentum     float64  `yaml:"momentum,omitempty"`                         // sgd, rmsprop
	Nesterov     bool     `yaml:"nesterov,omitempty"`                         // sgd
	Beta1        Optional `yaml:"beta1,omitempty"`                            // adam, adamw, lion: 0.9
	Beta2        Optional `yaml:"beta2,omitempty"`                            // adam, adamw: 0.999, lion: 0.99
	WeightDecay  Optional `yaml:"weight_decay,omitempty"`                     // of weights alone: adamw: 0.004, lion: 0
	DecayAll     bool     `yaml:"decay_all,omitempty" json:",omitempty"`      // adamw, lion: biases and normalisations decay too, as in PyTorch and Keras
	Rho          Optional `yaml:"rho,omitempty"`                              // adadelta: 0.95, rmsprop: 0.9
	Epsilon      float64  `yaml:"epsilon,omitempty" zero:"more than 0"`       // adam, adamw, adadelta, rmsprop: 1e-7
	EpsilonHat   bool     `yaml:"epsilon_hat,omitempty" json:",omitempty"`    // adam, adamw
}

// WithDefaults fills in the constants that are left out and checks the others.
func (o Optimizer) WithDefaults() (Optimizer, error) {
	set := func(v *float64, d float64) {
		if *v == 0 {
			*v = d
		}
	}
	// Which constants an optimiser has, so that one that it would ignore is an error.
	uses := map[string]bool{}
	switch o.Name {
	case "sgd":
		set(&o.LearningRate, 0.01)
		uses["momentum"] = true
		if o.Nesterov && o.Momentum == 0 {
			return o, fmt.Errorf("optimizer sgd: nesterov needs a momentum above 0")
		}
	case "", "adam", "adamw":
		set(&o.LearningRate, 0.001)
		o.Beta1, o.Beta2 = o.Beta1.Or(0.9), o.Beta2.Or(0.999)
		set(&o.Epsilon, 1e-7)
		uses["beta1"], uses["beta2"], uses["epsilon"] = true, true, true
		if o.Name == "" {
			o.Name = "adam"
		}
		if o.Name == "adamw" {
			o.WeightDecay = o.WeightDecay.Or(0.004)
			uses["weight_decay"] = true
		}
	case "adadelta":
		set(&o.LearningRate, 1)
		o.Rho = o.Rho.Or(0.95)
		set(&o.Epsilon, 1e-7)
		uses["rho"], uses["epsilon"] = true, true
	case "rmsprop":
		set(&o.LearningRate, 0.001)
		o.Rho = o.Rho.Or(0.9)
		set(&o.Epsilon, 1e-7)
		uses["rho"], uses["epsilon"], uses["momentum"] = true, true, true
	case "lion":
		set(&o.LearningRate, 0.001)
		o.Beta1, o.Beta2, o.WeightDecay = o.Beta1.Or(0.9), o.Beta2.Or(0.99), o.WeightDecay.Or(0)
		uses["beta1"], uses["beta2"], uses["weight_decay"] = true, true, true
	default:
		return o, fmt.Errorf("optimizer is %q, want sgd, adam, adamw, adadelta, rmsprop or lion", o.Name)
	}
	for _, c := range []struct {
		name       string
		value, max float64 // max is exclusive
	}{
		{"momentum", o.Momentum, 1}, {"beta1", o.Beta1.Value(), 1}, {"beta2", o.Beta2.Value(), 1}, {"rho", o.Rho.Value(), 1},
		{"weight_decay", o.WeightDecay.Value(), math.Inf(1)}, {"epsilon", o.Epsilon, math.Inf(1)},
	} {
		if c.value != 0 && !uses[c.name] {
			return o, fmt.Errorf("optimizer %s has no %s", o.Name, c.name)
		}
		if !(c.value >= 0 && c.value < c.max) {
			return o, fmt.Errorf("optimizer %s: %s is %v, want 0 <= %s < %v", o.Name, c.name, c.value, c.name, c.max)
		}
	}
	if o.DecayAll && !uses["weight_decay"] {
		return o, fmt.Errorf("optimizer %s has no decay_all", o.Name)
	}
	if o.EpsilonHat && (!uses["beta1"] || !uses["epsilon"]) {
		return o, fmt.Errorf("optimizer %s has no epsilon_hat", o.Name)
	}
	if o.Nesterov && o.Name != "sgd" {
		return o, fmt.Errorf("optimizer %s has no nesterov", o.Name)
	}
	if !(o.LearningRate > 0) || math.IsInf(o.LearningRate, 0) {
		return o, fmt.Errorf("optimizer %s: learning_rate is %v, want a number above 0", o.Name, o.LearningRate)
	}
	return o, nil
}

// states names the optimiser's state tensors, each as large as the parameters.
func (o Optimizer) states() []string {
	switch o.Name {
	case "sgd":
		if o.Momentum == 0 {
			return nil
		}
		return []string{"velocity"}
	case "adadelta":
		return []string{"acc_grad", "acc_delta"}
	case "rmsprop":
		if o.Momentum == 0 {
			return []string{"v"}
		}
		return []string{"v", "speed"}
	case "lion":
		return []string{"m"}
	}
	return []string{"m", "v"}
}

// stepParams returns what step t (from 1) needs to know.
func (o Optimizer) stepParams(t uint32, rate float64) backend.StepParams {
	c := backend.StepParams{Step: t, LearningRate: float32(rate)}
	beta1, beta2 := o.Beta1.Value(), o.Beta2.Value()
	if o.Name == "adam" || o.Name == "adamw" {
		c.BiasCorrection1 = float32(1 - math.Pow(beta1, float64(t)))
		c.BiasCorrection2 = float32(1 - math.Pow(beta2, float64(t)))
	}
	if o.EpsilonHat {
		// p -= lr sqrt(c2)/c1 m / (sqrt(v) + eps): the backends' formula, with the second correction in the first.
		c.BiasCorrection1 = float32((1 - math.Pow(beta1, float64(t))) / math.Sqrt(1-math.Pow(beta2, float64(t))))
		c.BiasCorrection2 = 1
	}
	return c
}

// without returns the optimiser without weight decay.
func (o Optimizer) without() Optimizer {
	o.WeightDecay = Optional{}
	return o
}

// op returns the op that runs the optimiser on a stretch of the parameters.
func (o Optimizer) op(param, grad op.Value, state []op.Value, stepParams op.Value, t op.Tally) op.Op {
	switch o.Name {
	case "sgd":
		velocity := op.None
		if len(state) > 0 {
			velocity = state[0]
		}
		return &op.SGD{Constants: backend.SGD{Momentum: float32(o.Momentum), Nesterov: o.Nesterov}, Param: param, Velocity: velocity, Grad: grad, StepParams: stepParams, Tally: t}
	case "adadelta":
		return &op.Adadelta{Constants: backend.Adadelta{Rho: float32(o.Rho.Value()), Eps: float32(o.Epsilon)}, Param: param,
			AccGrad: state[0], AccDelta: state[1], Grad: grad, StepParams: stepParams, Tally: t}
	case "rmsprop":
		speed := op.None
		if len(state) > 1 {
			speed = state[1]
		}
		return &op.RMSprop{Constants: backend.RMSprop{Rho: float32(o.Rho.Value()), Momentum: float32(o.Momentum), Eps: float32(o.Epsilon)}, Param: param,
			V: state[0], Speed: speed, Grad: grad, StepParams: stepParams, Tally: t}
	case "lion":
		return &op.Lion{Constants: backend.Lion{Beta1: float32(o.Beta1.Value()), Beta2: float32(o.Beta2.Value()), WeightDecay: float32(o.WeightDecay.Value())}, Param: param,
			M: state[0], Grad: grad, StepParams: stepParams, Tally: t}
	}
	constants := backend.Adam{Beta1: float32(o.Beta1.Value()), Beta2: float32(o.Beta2.Value()), Eps: float32(o.Epsilon), WeightDecay: float32(o.WeightDecay.Value())}
	return &op.Adam{Constants: constants, Param: param, M: state[0], V: state[1], Grad: grad, StepParams: stepParams, Tally: t}
}
