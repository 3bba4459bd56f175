package nn

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Loss is what training minimises, summed up by a Reduction: a sum of losses, each times its weight. In a configuration it is a name, for one
// with the weight 1, or weights and constants by name. The zero Loss is BCE.
type Loss struct {
	BCE            float64 // binary cross-entropy. The model ends in a sigmoid; the loss is computed from its logits
	MSE            float64 // squared error
	L1             float64 // absolute error
	Huber          float64 // half the squared error up to Delta, linear beyond
	Charbonnier    float64 // the root of the squared error and Epsilon's square: an absolute error that is smooth at 0
	SSIM           float64 // what the structural similarity lacks of 1, with a Gaussian window of 11 pixels; of images of values of [0,1]
	MSSSIM         float64 // that of five scales, of images of 176 pixels a side or more
	TotalVariation float64 // absolute differences of neighbours in the output's rows and columns; of images
	FocalFrequency float64 // squared differences of the spectra, weighted by how large each is beside the largest of its channel; of images
	Perceptual     Perceptual

	Delta   float64 // of huber: 1, as in Keras
	Epsilon float64 // of charbonnier: 0.001
}

// The losses that people use alone.
var (
	BCE = Loss{BCE: 1}
	MSE = Loss{MSE: 1}
)

// lossField is a weight or a constant by its name.
type lossField struct {
	name   string
	value  *float64
	weight bool
}

// fields lists the weights, in the order in which the losses are added up, and then the constants.
func (l *Loss) fields() []lossField {
	return []lossField{{"bce", &l.BCE, true}, {"mse", &l.MSE, true}, {"l1", &l.L1, true}, {"huber", &l.Huber, true}, {"charbonnier", &l.Charbonnier, true},
		{"ssim", &l.SSIM, true}, {"ms_ssim", &l.MSSSIM, true}, {"total_variation", &l.TotalVariation, true},
		{"focal_frequency", &l.FocalFrequency, true}, {perceptualName, &l.Perceptual.Weight, true}, {"delta", &l.Delta, false}, {"epsilon", &l.Epsilon, false}}
}

// LossNames lists the losses.
func LossNames() (names []string) {
	for _, f := range new(Loss).fields() {
		if f.weight {
			names = append(names, f.name)
		}
	}
	return names
}

// Weights returns the weights of the losses, in the order of LossNames.
func (l Loss) Weights() (weights []float64) {
	for _, f := range l.fields() {
		if f.weight {
			weights = append(weights, *f.value)
		}
	}
	return weights
}

// ParseLoss returns the loss of that name.
func ParseLoss(name string) (l Loss, err error) {
	err = l.Set(name)
	return l, err
}

// Set makes it the loss of that name.
func (l *Loss) Set(name string) error {
	*l = Loss{}
	for _, f := range l.fields() {
		if f.weight && f.name == name {
			*f.value = 1
			return nil
		}
	}
	return fmt.Errorf("want one of %s", strings.Join(LossNames(), ", "))
}

// Type names the value in a flag's help.
func (l *Loss) Type() string { return "name" }

// String returns the loss as a sum, as "l1 + 0.2 total_variation"; "" of the zero Loss.
func (l Loss) String() string {
	var text strings.Builder
	for _, f := range l.fields() {
		if *f.value == 0 {
			continue
		}
		switch {
		case !f.weight:
			fmt.Fprintf(&text, " (%s %v)", f.name, *f.value)
			continue
		case text.Len() > 0:
			text.WriteString(" + ")
		}
		if *f.value != 1 {
			text.WriteString(strconv.FormatFloat(*f.value, 'g', -1, 64) + " ")
		}
		text.WriteString(f.name)
	}
	return text.String()
}

// WithDefaults fills in what is left out and checks the rest.
func (l Loss) WithDefaults() (Loss, error) {
	if l == (Loss{}) {
		return BCE, nil
	}
	sum := 0.0
	for _, f := range l.fields() {
		if !(*f.value >= 0 && *f.value <= math.MaxFloat32) {
			return l, fmt.Errorf("loss: %s is %v, want 0 or more", f.name, *f.value)
		}
		if f.weight {
			sum += *f.value
		}
	}
	if sum == 0 {
		return l, fmt.Errorf("loss: no loss has a weight above 0: want one of %s", strings.Join(LossNames(), ", "))
	}
	for _, c := range []struct {
		name  string
		value *float64
		of    string
		used  bool
		whole float64
	}{{"delta", &l.Delta, "huber", l.Huber > 0, 1}, {"epsilon", &l.Epsilon, "charbonnier", l.Charbonnier > 0, 1e-3}} {
		switch {
		case !c.used && *c.value != 0:
			return l, fmt.Errorf("loss: %s is %v without %s, want the weight of %[3]s too", c.name, *c.value, c.of)
		case c.used && *c.value == 0:
			*c.value = c.whole
		}
	}
	var err error
	l.Perceptual, err = l.Perceptual.withDefaults()
	return l, err
}

// UnmarshalYAML reads the name of a loss, or weights and constants by name. Of a perceptual loss it reads a weight, a file and layers.
func (l *Loss) UnmarshalYAML(unmarshal func(any) error) error {
	var name string
	var values map[string]any
	switch {
	case unmarshal(&values) == nil && values != nil:
		return l.setAll(values)
	case unmarshal(&name) != nil:
		return errors.New("want the name of a loss, or weights of several by name, as {l1: 1, total_variation: 0.1}")
	}
	return l.Set(name)
}

// setAll sets the values of the loss by name.
func (l *Loss) setAll(values map[string]any) error {
	*l = Loss{}
	var names []string
	for _, f := range l.fields() {
		names = append(names, f.name)
		v, ok := values[f.name]
		if !ok {
			continue
		}
		delete(values, f.name)
		if f.name == perceptualName {
			if err := l.Perceptual.set(v); err != nil {
				return err
			}
		} else if *f.value, ok = number(v); !ok {
			return fmt.Errorf("%s is %v, want a number", f.name, v)
		}
	}
	for name := range values {
		return fmt.Errorf("there is no %s: want %s", name, strings.Join(names, ", "))
	}
	return nil
}

// MarshalYAML writes what UnmarshalYAML reads.
func (l Loss) MarshalYAML() (any, error) { return l.value(), nil }

// MarshalJSON writes a name or an object of what UnmarshalYAML reads.
func (l Loss) MarshalJSON() ([]byte, error) { return json.Marshal(l.value()) }

// value is the name of a loss that has one, else its values by name.
func (l Loss) value() any {
	values := map[string]any{}
	for _, f := range l.fields() {
		if f.name == perceptualName && l.Perceptual != (Perceptual{}) {
			values[f.name] = l.Perceptual.value()
		} else if *f.value != 0 {
			values[f.name] = *f.value
		}
	}
	if len(values) == 1 {
		for name, v := range values {
			if v == 1.0 {
				return name
			}
		}
	}
	return values
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
