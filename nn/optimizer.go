package nn

import (
	"fmt"
	"math"
	"strings"

	"github.com/convae/convae/nn/backend"
)

// OptimizerNames lists the optimisers.
func OptimizerNames() []string {
	return []string{"adam", "adamw", "sgd", "nadam", "adadelta", "rmsprop", "lion", "lamb"}
}

// Optimizer names an optimiser and its constants. Those that are left out, and a learning rate or epsilon of 0, mean the
// defaults: Keras's, but for the learning rate of adadelta, which is that of the paper.
//
// Adam's epsilon is added to the root of the corrected second moment, as in PyTorch and as in the algorithm of Kingma and
// Ba, "Adam: A Method for Stochastic Optimization", 2015. With EpsilonHat it is added to that of the uncorrected one, as
// in Keras and as at the end of the paper's section 2, and so counts for more in the first steps.
//
// Lamb's step is that of Adam with decay, both corrected as Adam's, times the ratio of the norms of a tensor and of that step, which nothing bounds; biases
// and the parameters of normalisations have neither decay nor ratio, as in NVIDIA's apex and in timm, unless DecayAll is set. A Clip by norm is
// what these two have besides: 1 by default.
type Optimizer struct {
	Name          string   `yaml:"name"`                                       // sgd, adam (default), adamw, nadam, adadelta, rmsprop, lion, lamb
	LearningRate  float64  `yaml:"learning_rate,omitempty" zero:"more than 0"` // sgd 0.01, adadelta 1, all others 0.001
	Momentum      float64  `yaml:"momentum,omitempty"`                         // sgd, rmsprop
	Nesterov      bool     `yaml:"nesterov,omitempty"`                         // sgd
	Beta1         Optional `yaml:"beta1,omitempty"`                            // adam, adamw, nadam, lion, lamb: 0.9
	Beta2         Optional `yaml:"beta2,omitempty"`                            // adam, adamw, nadam, lamb: 0.999, lion: 0.99
	WeightDecay   Optional `yaml:"weight_decay,omitempty"`                     // of weights alone: adamw: 0.004, lion: 0, lamb: 0.01
	DecayAll      bool     `yaml:"decay_all,omitempty" json:",omitempty"`      // adamw, lion, lamb: biases and normalisations decay too, as in PyTorch and Keras
	Rho           Optional `yaml:"rho,omitempty"`                              // adadelta: 0.95, rmsprop: 0.9
	Epsilon       float64  `yaml:"epsilon,omitempty" zero:"more than 0"`       // adam, adamw, nadam, adadelta, rmsprop: 1e-7, lamb: 1e-6
	MomentumDecay Optional `yaml:"momentum_decay,omitempty"`                   // nadam: 1, as in Keras; PyTorch has 0.004
	EpsilonHat    bool     `yaml:"epsilon_hat,omitempty" json:",omitempty"`    // adam, adamw
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
	case "nadam":
		set(&o.LearningRate, 0.001)
		o.Beta1, o.Beta2, o.MomentumDecay = o.Beta1.Or(0.9), o.Beta2.Or(0.999), o.MomentumDecay.Or(1)
		set(&o.Epsilon, 1e-7)
		uses["beta1"], uses["beta2"], uses["epsilon"], uses["momentum_decay"] = true, true, true, true
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
	case "lamb":
		set(&o.LearningRate, 0.001)
		o.Beta1, o.Beta2, o.WeightDecay = o.Beta1.Or(0.9), o.Beta2.Or(0.999), o.WeightDecay.Or(0.01)
		set(&o.Epsilon, 1e-6)
		uses["beta1"], uses["beta2"], uses["epsilon"], uses["weight_decay"] = true, true, true, true
	default:
		return o, fmt.Errorf("optimizer is %q, want one of %s", o.Name, strings.Join(OptimizerNames(), ", "))
	}
	for _, c := range []struct {
		name       string
		value, max float64 // max is exclusive
	}{
		{"momentum", o.Momentum, 1}, {"beta1", o.Beta1.Value(), 1}, {"beta2", o.Beta2.Value(), 1}, {"rho", o.Rho.Value(), 1},
		{"weight_decay", o.WeightDecay.Value(), math.Inf(1)}, {"epsilon", o.Epsilon, math.Inf(1)}, {"momentum_decay", o.MomentumDecay.Value(), math.Inf(1)},
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
	if o.EpsilonHat && o.Name != "adam" && o.Name != "adamw" {
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

// constants returns the optimiser as backends have it.
func (o Optimizer) constants() backend.Optimizer {
	beta1, beta2, decay, rho, eps := float32(o.Beta1.Value()), float32(o.Beta2.Value()), float32(o.WeightDecay.Value()), float32(o.Rho.Value()), float32(o.Epsilon)
	switch o.Name {
	case "sgd":
		return backend.SGD{Momentum: float32(o.Momentum), Nesterov: o.Nesterov}
	case "nadam":
		return backend.Nadam{Beta1: beta1, Beta2: beta2, Eps: eps}
	case "adadelta":
		return backend.Adadelta{Rho: rho, Eps: eps}
	case "rmsprop":
		return backend.RMSprop{Rho: rho, Momentum: float32(o.Momentum), Eps: eps}
	case "lion":
		return backend.Lion{Beta1: beta1, Beta2: beta2, WeightDecay: decay}
	case "lamb":
		return backend.Lamb{Beta1: beta1, Beta2: beta2, Eps: eps, WeightDecay: decay}
	}
	return backend.Adam{Beta1: beta1, Beta2: beta2, Eps: eps, WeightDecay: decay}
}

// states names the optimiser's state tensors, each as large as the parameters.
func (o Optimizer) states() []string { return o.constants().States() }

// stepParams returns what step t (from 1) needs to know.
func (o Optimizer) stepParams(t uint32, rate float64) backend.StepParams {
	c := backend.StepParams{Step: t, LearningRate: float32(rate)}
	beta1, beta2 := o.Beta1.Value(), o.Beta2.Value()
	if o.Name == "adam" || o.Name == "adamw" || o.Name == "lamb" {
		c.BiasCorrection1 = float32(1 - math.Pow(beta1, float64(t)))
		c.BiasCorrection2 = float32(1 - math.Pow(beta2, float64(t)))
	}
	if o.Name == "nadam" {
		ofGradient, ofMean := o.nesterov(t)
		c.LearningRate = float32(rate * ofGradient)
		c.BiasCorrection1 = float32(ofGradient / ofMean)
		c.BiasCorrection2 = float32(1 - math.Pow(beta2, float64(t)))
	}
	if o.EpsilonHat {
		// p -= lr sqrt(c2)/c1 m / (sqrt(v) + eps): the backends' formula, with the second correction in the first.
		c.BiasCorrection1 = float32((1 - math.Pow(beta1, float64(t))) / math.Sqrt(1-math.Pow(beta2, float64(t))))
		c.BiasCorrection2 = 1
	}
	return c
}

// nesterov returns the shares of nadam's learning rate that the gradient itself and the mean of gradients have in step t; see backend.Optim.
func (o Optimizer) nesterov(t uint32) (ofGradient, ofMean float64) {
	fall := math.Pow(0.96, o.MomentumDecay.Value())
	momentum := func(step uint32) float64 { return o.Beta1.Value() * (1 - math.Pow(fall, float64(step))/2) }
	product := 1.0
	for i := uint32(1); i <= t && product > 1e-12; i++ { // 1 less a smaller one is 1 in float32
		product *= momentum(i)
	}
	after := momentum(t + 1)
	return (1 - momentum(t)) / (1 - product), after / (1 - product*after)
}

// without returns the optimiser without weight decay. Lamb's is Adam: what does not decay has no trust ratio either.
func (o Optimizer) without() Optimizer {
	o.WeightDecay = Optional{}
	if o.Name == "lamb" {
		o.Name = "adam"
	}
	return o
}
