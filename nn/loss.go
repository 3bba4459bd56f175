package nn

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/graph"
	"github.com/convae/convae/nn/op"
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
		{"ssim", &l.SSIM, true}, {"ms_ssim", &l.MSSSIM, true}, {"total_variation", &l.TotalVariation, true}, {"delta", &l.Delta, false}, {"epsilon", &l.Epsilon, false}}
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
	return l, nil
}

// UnmarshalYAML reads the name of a loss, or weights and constants by name.
func (l *Loss) UnmarshalYAML(unmarshal func(any) error) error {
	var name string
	var values map[string]float64
	switch {
	case unmarshal(&values) == nil && values != nil:
		return l.setAll(values)
	case unmarshal(&name) != nil:
		return errors.New("want the name of a loss, or weights of several by name, as {l1: 1, total_variation: 0.1}")
	}
	return l.Set(name)
}

// setAll sets the values of the loss by name.
func (l *Loss) setAll(values map[string]float64) error {
	*l = Loss{}
	var names []string
	for _, f := range l.fields() {
		names = append(names, f.name)
		if v, ok := values[f.name]; ok {
			*f.value = v
			delete(values, f.name)
		}
	}
	for name := range values {
		return fmt.Errorf("there is no %s: want %s", name, strings.Join(names, ", "))
	}
	return nil
}

// MarshalYAML writes what UnmarshalYAML reads.
func (l Loss) MarshalYAML() (any, error) { return l.value(), nil }

// MarshalJSON writes a name or an object of numbers.
func (l Loss) MarshalJSON() ([]byte, error) { return json.Marshal(l.value()) }

// value is the name of a loss that has one, else its values by name.
func (l Loss) value() any {
	values := map[string]float64{}
	for _, f := range l.fields() {
		if *f.value != 0 {
			values[f.name] = *f.value
		}
	}
	if len(values) == 1 {
		for name, v := range values {
			if v == 1 {
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

// emitLoss appends the losses of the output, each with its gradient.
func (c *compiler) emitLoss(grads *op.Grads) {
	p, l := c.p, c.o.Loss
	targets := map[backend.Shape]op.Value{p.Shape(p.Target): p.Target}
	targetOf := func(prediction op.Value) op.Value {
		target, ok := targets[p.Shape(prediction)]
		if !ok {
			target = p.Like(prediction)
			p.Emit(&op.Reshape{Out: target, X: p.Target})
			targets[p.Shape(prediction)] = target
		}
		return target
	}
	term := func(weight float64, prediction op.Value) op.Term {
		return op.Term{Shape: p.Shape(prediction), Scale: op.Scale{Factor: float32(weight)}, Loss: p.Sum(op.Loss, 1), Grad: p.Like(prediction), Prediction: prediction,
			Target: targetOf(prediction)}
	}
	for _, t := range []struct {
		weight    float64
		of        op.PointLoss
		parameter float64
	}{{l.BCE, op.SigmoidBCE, 0}, {l.MSE, op.MSE, 0}, {l.L1, op.L1, 0}, {l.Huber, op.Huber, l.Delta}, {l.Charbonnier, op.Charbonnier, l.Epsilon}} {
		if t.weight == 0 {
			continue
		}
		prediction := p.Output
		if t.of == op.SigmoidBCE {
			prediction = c.logits
		}
		o := &op.Pointwise{Of: t.of, Parameter: float32(t.parameter), Term: term(t.weight, prediction)}
		p.Emit(o)
		grads.Add(prediction, o.Grad)
	}
	if l.SSIM > 0 {
		c.emitSSIM(grads, l.SSIM, targetOf(p.Output), backend.ScaleWeights{Scales: 1, Of: [5]float32{1}})
	}
	if l.MSSSIM > 0 {
		c.emitSSIM(grads, l.MSSSIM, targetOf(p.Output), backend.ScaleWeights{Scales: len(scaleWeights), Of: scaleWeights})
	}
	if l.TotalVariation > 0 {
		o := &op.TotalVariation{Term: term(l.TotalVariation, p.Output)}
		o.Target = op.None
		p.Emit(o)
		grads.Add(p.Output, o.Grad)
	}
}

// checkLoss reports a loss that the model cannot have.
func (c *compiler) checkLoss() error {
	s, l := c.g.Shape(c.g.Output), c.o.Loss
	for _, f := range l.fields() {
		if ofImages := f.value == &l.SSIM || f.value == &l.MSSSIM || f.value == &l.TotalVariation; ofImages && *f.value > 0 && s.H*s.W == 1 {
			return fmt.Errorf("nn: loss %s is of images, and the output of model %q is a vector: want a model of images, or another loss", f.name, c.m.Config.Name)
		}
	}
	if l.MSSSIM > 0 && min(s.H, s.W) < leastSide {
		return fmt.Errorf("nn: loss ms_ssim is of images of at least %d pixels a side, whose fifth scale has the whole window, and the output of model %q is %s: want larger ones, or the loss ssim",
			leastSide, c.m.Config.Name, graph.ShapeText(s))
	}
	return nil
}

// scaleWeights are those of the five scales, by the paper that backend.SSIM names.
var scaleWeights = [5]float32{0.0448, 0.2856, 0.3001, 0.2363, 0.1333}

const (
	ssimWindow = 11
	leastSide  = ssimWindow << (len(scaleWeights) - 1)
)

// emitSSIM appends what a similarity of one or more scales lacks of 1, the mean over the channels of a sample, which counts as the loss of each of
// the sample's elements does. Scales but the last have the structure alone; from one to the next four pixels become one.
func (c *compiler) emitSSIM(grads *op.Grads, weight float64, target op.Value, o backend.ScaleWeights) {
	p := c.p
	type level struct {
		x, y, slopes op.Value
		shape        backend.SSIMShape
		pool         backend.PoolShape // to the next
	}
	var levels []level
	x, y, output := p.Output, target, p.Shape(p.Output)
	vectors := backend.Shape{N: output.N, H: 1, W: 1, C: output.C}
	means := p.New(backend.Activation, backend.Shape{N: output.N, H: 1, W: 1, C: o.Scales * output.C})
	for j := range o.Scales {
		l := level{x: x, y: y}
		var err error
		if l.shape, err = backend.NewSSIM(backend.SSIMSpec{X: p.Shape(x), Window: ssimWindow, Sigma: 1.5, K1: 0.01, K2: 0.03, Structure: j < o.Scales-1}); err != nil {
			panic("nn: a loss that was checked has no similarity")
		}
		index, mean := p.New(backend.Activation, l.shape.Out), p.New(backend.Activation, vectors)
		l.slopes = p.New(backend.Activation, l.shape.Slopes())
		p.Emit(&op.SSIM{Shape: l.shape, Index: index, Slopes: l.slopes, X: x, Target: y})
		p.Emit(&op.SumPixels{Scale: 1 / float32(l.shape.Positions()), Out: mean, A: index})
		p.Emit(&op.CopyChannels{Out: means, To: j * output.C, X: mean, Count: output.C})
		if j < o.Scales-1 {
			if l.pool, err = backend.NewPool(backend.PoolSpec{X: p.Shape(x), Size: 2, Stride: 2, Padding: backend.Valid}); err != nil {
				panic("nn: a loss that was checked has no scales")
			}
			half := [2]op.Value{p.New(backend.Activation, l.pool.Out), p.New(backend.Activation, l.pool.Out)}
			p.Emit(&op.AveragePool{Shape: l.pool, Out: half[0], X: x})
			p.Emit(&op.AveragePool{Shape: l.pool, Out: half[1], X: y})
			x, y = half[0], half[1]
		}
		levels = append(levels, l)
	}
	gradMeans, grad := p.Like(means), op.None
	p.Emit(&op.SSIMLoss{Weights: o, Scale: op.Scale{Factor: float32(weight * float64(output.Image()) / float64(output.C))}, Loss: p.Sum(op.Loss, 1), GradMeans: gradMeans, Means: means})
	for j, l := range slices.Backward(levels) {
		gradMean, gradX := p.New(backend.Activation, vectors), p.Like(l.x)
		p.Emit(&op.CopyChannels{Out: gradMean, X: gradMeans, From: j * output.C, Count: output.C})
		p.Emit(&op.SSIMBack{Shape: l.shape, Scale: 1 / float32(l.shape.Positions()), GradX: gradX, Slopes: l.slopes, GradSums: gradMean, X: l.x, Target: l.y})
		if grad != op.None {
			below := p.Like(l.x)
			p.Emit(&op.AveragePoolBack{Shape: l.pool, GradX: below, GradOut: grad})
			p.Emit(&op.Accumulate{Dst: gradX, Alpha: 1, X: below})
		}
		grad = gradX
	}
	grads.Add(p.Output, grad)
}
