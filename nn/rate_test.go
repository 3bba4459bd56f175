package nn

import (
	"math"
	"reflect"
	"strings"
	"testing"

	"github.com/convae/convae/nn/backend"
)

// rated is chainOf(), of whose layers, counted through encoder and decoder, some have a factor of the learning rate.
func rated(factors map[int]float64) Config {
	c := chainOf()
	for i, f := range factors {
		if i < len(c.Encoder) {
			c.Encoder[i].LearningRateFactor = &f
		} else {
			c.Decoder[i-len(c.Encoder)].LearningRateFactor = &f
		}
	}
	return c
}

// The first step of every optimiser changes a layer by as much as its factor says, whether all layers have one or some have.
func TestLearningRateFactor(t *testing.T) {
	for _, dev := range []backend.Device{openTest(t), openSim(t)} {
		for _, o := range []Optimizer{{Name: "sgd"}, {Name: "sgd", Momentum: 0.9, Nesterov: true}, {Name: "adam"}, {Name: "adamw", WeightDecay: Given(0.1)},
			{Name: "adamw", WeightDecay: Given(0.1), DecayAll: true}, {Name: "nadam"}, {Name: "adadelta"}, {Name: "rmsprop", Momentum: 0.5}, {Name: "lion", WeightDecay: Given(0.1)}, {Name: "lamb"}} {
			if o.Name == "sgd" || o.Name == "lion" {
				o.LearningRate = 0.5
			}
			before, all := mustModel(t, chainOf()), stepBy(t, chainOf(), dev, o)
			for _, factors := range []map[int]float64{{2: 0.25, 4: 3}, {0: 0.5, 1: 0.5, 2: 0.5, 3: 0.5, 4: 0.5}} {
				m := stepBy(t, rated(factors), dev, o)
				for i, p := range m.Params {
					if !p.Trained() {
						continue
					}
					factor := map[string]float64{"conv2d_1": factors[2], "conv2d_2": factors[4]}[p.Layer]
					if len(factors) == 5 {
						factor = 0.5
					}
					if factor == 0 {
						factor = 1
					}
					if p.Rate != float32(factor) {
						t.Fatalf("%s has the rate %v, want %v", p.Name, p.Rate, factor)
					}
					moved := 0.0
					for j, start := range before.Params[i].Data {
						change, whole := float64(p.Data[j]-start), float64(all.Params[i].Data[j]-start)
						moved = max(moved, math.Abs(change))
						// Both have three roundings of a parameter, of which decay takes two, and those of the products that make the step.
						if diff := math.Abs(change - factor*whole); !(diff <= 1e-5*math.Abs(factor*whole)+3*(1+factor)*6e-8*(math.Abs(float64(start))+math.Abs(whole))) {
							t.Fatalf("%s, %s, factors %v: %s changes by %v, want %v times %v", dev.Name(), o.Name, factors, p.Name, change, factor, whole)
						}
					}
					if moved == 0 {
						t.Errorf("%s, %s: %s has not changed", dev.Name(), o.Name, p.Name)
					}
				}
			}
		}
	}
}

// A factor of 0 is as if the layer were not to be trained.
func TestLearningRateFactorZero(t *testing.T) {
	dev := openTest(t)
	m, want := stepBy(t, rated(map[int]float64{0: 0, 2: 0}), dev, Optimizer{Name: "adam"}), stepBy(t, chainOf(0, 2), dev, Optimizer{Name: "adam"})
	for i, p := range m.Params {
		if !reflect.DeepEqual(p, want.Params[i]) {
			t.Errorf("%s is %+v, want %+v", p.Name, p.Param, want.Params[i].Param)
		}
	}
	var text strings.Builder
	if err := mustModel(t, rated(map[int]float64{0: 0, 2: 0.25})).WriteSummary(&text); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"Param #  Learning rate\n", " 76         frozen\n", " 111         0.25 x\n", "batch_normalization (BatchNormalization) "} {
		if !strings.Contains(text.String(), line) {
			t.Errorf("the summary has no %q:\n%s", line, text.String())
		}
	}
	for _, bad := range []float64{-1, math.NaN(), math.Inf(1), 1e-60} {
		if _, err := New(rated(map[int]float64{3: bad}), 7); err == nil || !strings.Contains(err.Error(), "learning_rate_factor is ") {
			t.Errorf("%v: error %v", bad, err)
		}
	}
}
