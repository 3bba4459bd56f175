package trainer_test

import (
	"fmt"
	"log"

	"convae/nn"
	"convae/trainer"
	"convae/trainer/dataset"
	"convae/trainer/metric"
)

// lineNetwork makes (a, a) of (a, b).
func lineNetwork() *nn.Network {
	c := nn.Config{Name: "line", Input: []int{2}, Encoder: nn.Spec(&nn.Dense{Units: 1}), Decoder: nn.Spec(&nn.Dense{Units: 2})}
	model, err := nn.New(c, 1)
	if err != nil {
		log.Fatal(err)
	}
	copy(model.Params[0].Data, []float32{1, 0})
	copy(model.Params[2].Data, []float32{1, 1})
	dev, _, err := nn.Open("cpu")
	if err != nil {
		log.Fatal(err)
	}
	net, err := nn.NewNetwork(model, dev, nn.NetworkOptions{})
	if err != nil {
		log.Fatal(err)
	}
	return net
}

// Scores points by their distance from the line that a model knows.
func ExampleSampleErrors() {
	usual := &dataset.Set{H: 1, W: 1, C: 2, Values: []float32{0, 0, 1, 2, 3, 3}}
	others := &dataset.Set{H: 1, W: 1, C: 2, Values: []float32{5, 5, 0, 4}}
	net := lineNetwork()
	errors, err := trainer.SampleErrors(net, usual)
	if err != nil {
		log.Fatal(err)
	}
	scores, err := trainer.SampleErrors(net, others)
	if err != nil {
		log.Fatal(err)
	}
	threshold := metric.Quantile(errors, 0.99)
	fmt.Println(scores, scores[0] > threshold, scores[1] > threshold)
	// Output: [0 8] false true
}

// Goes from one point to another in four steps.
func ExampleInterpolate() {
	points, err := trainer.Interpolate(lineNetwork(), []float32{0, 0}, []float32{3, 3}, 4)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(points)
	// Output: [0 0 1 1 2 2 3 3]
}

// Draws what the first layer of a trained model looks for; here one that is not trained yet.
func ExampleFeatures() {
	c, err := trainer.Preset("dense32")
	if err != nil {
		log.Fatal(err)
	}
	model, err := nn.New(c.Model, 1)
	if err != nil {
		log.Fatal(err)
	}
	images, err := trainer.Features(model)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(len(images), "filters of", images[0].W, "x", images[0].H, "pixels")
	// Output: 32 filters of 28 x 28 pixels
}
