package nn

import (
	"fmt"
	"math"
)

// Schedule changes the learning rate in the course of training. Lengths are in epochs. It lives on the host: a rate
// reaches the device in the parameters of each step.
type Schedule struct {
	Name     string  `yaml:"name,omitempty"`                                    // constant (default), step, cosine, plateau
	Warmup   float64 `yaml:"warmup,omitempty"`                                  // epochs in which the rate rises from 0 in a straight line, before all else
	Every    float64 `yaml:"every,omitempty" zero:"more than 0"`                // step: epochs between falls
	Factor   float64 `yaml:"factor,omitempty" zero:"more than 0 and at most 1"` // step, plateau: what a fall multiplies the rate by; 0.1
	Epochs   float64 `yaml:"epochs,omitempty" zero:"more than 0"`               // cosine: where it ends; the run's epochs
	Min      float64 `yaml:"min,omitempty"`                                     // share of the optimiser's rate below which it does not fall
	Patience int     `yaml:"patience,omitempty" zero:"1 or more"`               // plateau: epochs without a lower validation loss before a fall; 5
	MinDelta float64 `yaml:"min_delta,omitempty"`                               // plateau: how much lower counts
}

// Divergence is the weight of a Gaussian code's Kullback-Leibler divergence in the loss: beta (Higgins et al., "beta-VAE",
// 2017), which rises from 0 in the epochs of a warm-up (Sønderby et al. 2016).
type Divergence struct {
	Beta   Optional `yaml:"beta,omitempty"`   // 1
	Warmup float64  `yaml:"warmup,omitempty"` // epochs
}

// Temperature is that of a concrete layer: it falls from Start to End, by the same factor in each of Epochs.
type Temperature struct {
	Start  float64 `yaml:"start,omitempty" zero:"more than 0"`  // 10
	End    float64 `yaml:"end,omitempty" zero:"more than 0"`    // 0.01
	Epochs float64 `yaml:"epochs,omitempty" zero:"more than 0"` // the run's
}

// WithDefaults fills in the zero constants and checks the others.
func (t Temperature) WithDefaults() (Temperature, error) {
	if t.Start == 0 {
		t.Start = 10
	}
	if t.End == 0 {
		t.End = 0.01
	}
	if !(t.End >= 1e-3 && t.Start >= t.End && t.Start <= 1e3) {
		return t, fmt.Errorf("temperature: start is %v and end %v, want 1000 >= start >= end >= 0.001", t.Start, t.End)
	}
	return t, checkPenalties("temperature", constant{"epochs", t.Epochs})
}

// At returns the temperature of a step that begins so many epochs after the start. Zero epochs are no fall.
func (t Temperature) At(epoch float64) float64 {
	if t.Epochs == 0 {
		return t.Start
	}
	return t.Start * math.Pow(t.End/t.Start, min(epoch/t.Epochs, 1))
}

// WithDefaults fills in a beta that is left out and checks the rest.
func (d Divergence) WithDefaults() (Divergence, error) {
	d.Beta = d.Beta.Or(1)
	return d, checkPenalties("divergence", constant{"beta", d.Beta.Value()}, constant{"warmup", d.Warmup})
}

// Weight returns the weight for a step that begins so many epochs after the start.
func (d Divergence) Weight(epoch float64) float64 {
	if epoch < d.Warmup {
		return d.Beta.Value() * epoch / d.Warmup
	}
	return d.Beta.Value()
}

// WithDefaults fills in the zero constants and checks the others.
func (s Schedule) WithDefaults() (Schedule, error) {
	uses := map[string]bool{}
	switch s.Name {
	case "", "constant":
	case "step":
		uses["every"], uses["factor"], uses["min"] = true, true, true
		if s.Every == 0 {
			return s, fmt.Errorf("schedule step: every is missing: want the epochs between two falls of the rate")
		}
	case "cosine":
		uses["epochs"], uses["min"] = true, true
	case "plateau":
		uses["factor"], uses["min"], uses["patience"], uses["min_delta"] = true, true, true, true
		if s.Patience == 0 {
			s.Patience = 5
		}
	default:
		return s, fmt.Errorf("schedule is %q, want constant, step, cosine or plateau", s.Name)
	}
	if uses["factor"] && s.Factor == 0 {
		s.Factor = 0.1
	}
	for _, c := range []struct {
		name       string
		value, max float64
	}{
		{"every", s.Every, 1e6}, {"factor", s.Factor, 1}, {"epochs", s.Epochs, 1e6}, {"min", s.Min, 1},
		{"patience", float64(s.Patience), 1e6}, {"min_delta", s.MinDelta, 1e6}, {"warmup", s.Warmup, 1e6},
	} {
		if c.value != 0 && !uses[c.name] && c.name != "warmup" {
			return s, fmt.Errorf("schedule %s has no %s", s.name(), c.name)
		}
		if !(c.value >= 0 && c.value <= c.max) {
			return s, fmt.Errorf("schedule %s: %s is %v, want 0 to %g", s.name(), c.name, c.value, c.max)
		}
	}
	if s.Name == "cosine" && s.Epochs > 0 && s.Epochs <= s.Warmup {
		return s, fmt.Errorf("schedule cosine: epochs is %v, want more than the %v of warmup", s.Epochs, s.Warmup)
	}
	return s, nil
}

func (s Schedule) name() string {
	if s.Name == "" {
		return "constant"
	}
	return s.Name
}

// Share returns the share of the optimiser's learning rate for a step that begins so many epochs after the start, with
// so many falls on plateaus before it. steps is the number of steps of an epoch: the first step of a warm-up, or of
// training, is not one with a rate of 0.
func (s Schedule) Share(epoch float64, steps, falls int) float64 {
	if s.Warmup > 0 {
		if at := epoch + 1/float64(max(steps, 1)); at < s.Warmup {
			return at / s.Warmup
		}
	}
	share := 1.0
	switch s.Name {
	case "step":
		share = math.Pow(s.Factor, math.Floor(epoch/s.Every+1e-9))
	case "plateau":
		share = math.Pow(s.Factor, float64(falls))
	case "cosine":
		// Loshchilov and Hutter (2017), without restarts.
		at := min(max((epoch-s.Warmup)/(s.Epochs-s.Warmup), 0), 1)
		return s.Min + (1-s.Min)*(1+math.Cos(math.Pi*at))/2
	}
	return max(share, s.Min)
}
