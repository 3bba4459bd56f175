package backend

import "github.com/convae/convae/nn/rng"

// ResidentStep is what a training step does for each sample of a chain of convolutions with biases: it gathers the sample from a data set of
// pixels, as GatherPixels does, runs the layers forward, computes a loss as SigmoidBCE or MSE does, and all gradients of weights.
type ResidentStep struct {
	Layers []ConvShape
	BCE    bool // the last layer gives logits; else the loss is MSE
}

// ResidentArgs are the tensors of such a step. Noise is drawn if Std is above 0.
type ResidentArgs struct {
	Std                        float32
	Source                     rng.Source
	Samples, Order, StepParams Tensor
	First                      int      // position in the batch of the first sample
	Layers                     []Params // weights, biases, and room for partial sums of their gradients
	Scale                      float32  // of the loss
	Loss                       Tensor   // room for partial sums of it
}

// Resident is implemented by backends that can do all that with what they make of a sample in the memory of a processor.
type Resident interface {
	// ResidentPartials returns how many partial sums of each gradient, and of the loss, are made; 0 if the backend does not do the step. It
	// never decreases with the number of samples.
	ResidentPartials(s *ResidentStep) int
	// ResidentPays reports whether that is faster than op by op for so many samples.
	ResidentPays(s *ResidentStep) bool
	// ResidentStep does the step, and leaves partial sums for SumPartials.
	ResidentStep(s *ResidentStep, a *ResidentArgs)
}

// CheckResidentStep checks the arguments of ResidentStep, on a backend that makes so many partial sums.
func CheckResidentStep(s *ResidentStep, a *ResidentArgs, count int) {
	if count == 0 || len(a.Layers) != len(s.Layers) {
		panic(MistakeShape)
	}
	x := s.Layers[0].X
	a.Samples.given()
	if a.Samples.Role != Pixels && a.Samples.Role != Staged {
		panic(MistakeRole)
	}
	a.Samples.check(a.Samples.Role, Uint8, x.WithN(a.Samples.Shape.N))
	a.Order.check(Index, Int32, a.Order.Shape)
	a.StepParams.step()
	if a.First < 0 {
		panic(MistakeIndex)
	}
	for i := range s.Layers {
		p := &a.Layers[i]
		p.layer(s.Layers[i].Weights(), s.Layers[i].Filters)
		p.Partials.flat(p.PartialsShape(count))
	}
	a.Loss.flat(Shape{count, 1, 1, 1})
}
