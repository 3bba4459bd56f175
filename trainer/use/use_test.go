package use

import (
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/convae/convae/nn"
	"github.com/convae/convae/nn/graph"
	"github.com/convae/convae/nn/layer"
	"github.com/convae/convae/trainer/dataset"
)

func mustNew(t *testing.T, c nn.Config) *nn.Model {
	t.Helper()
	m, err := nn.New(c, 1)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestFeatures(t *testing.T) {
	c := nn.Config{Name: "features", Input: []int{2, 2, 1}, Encoder: graph.Specs(&layer.Flatten{}, &layer.Dense{Units: 2}), Decoder: graph.Specs(&layer.Dense{Units: 4}, &layer.Reshape{Shape: []int{2, 2, 1}})}
	m := mustNew(t, c)
	copy(m.Params[0].Data, []float32{2, -4, 0, 1, 0, 0, 0, 0})
	images, err := Features(m)
	if err != nil || len(images) != 2 || images[0].H != 2 || images[0].W != 2 || images[0].C != 1 {
		t.Fatalf("%+v, %v", images, err)
	}
	if want := []float32{0.75, 0, 0.5, 0.625}; !slices.Equal(images[0].Pix, want) || !slices.Equal(images[1].Pix, []float32{0.5, 0.5, 0.5, 0.5}) {
		t.Errorf("pixels %v and %v, want %v and grey", images[0].Pix, images[1].Pix, want)
	}

	c.Encoder = graph.Specs(&layer.Flatten{}, &layer.Concrete{Select: 2})
	m = mustNew(t, c)
	copy(m.Params[0].Data, []float32{0, 0, 9, 0, 5, 1, 2, 3})
	if images, err = Features(m); err != nil || len(images) != 1 || !slices.Equal(images[0].Pix, []float32{1, 0, 1, 0}) {
		t.Errorf("selected %+v, %v", images, err)
	}

	c = nn.Config{Name: "none", Input: []int{2, 2, 1}, Encoder: graph.Specs(&layer.Activation{Function: "relu"}), Decoder: graph.Specs(&layer.Activation{Function: "relu"})}
	if _, err = Features(mustNew(t, c)); err == nil || !strings.Contains(err.Error(), "has no weights") {
		t.Errorf("without weights: error %v", err)
	}
}

// The mean of the samples' errors is the mean squared error that Evaluate finds, over several chunks.
func TestSampleErrors(t *testing.T) {
	m := mustNew(t, nn.Config{Name: "small", Input: []int{28, 28, 1},
		Encoder: graph.Specs(&layer.Conv2D{Filters: 4, Kernel: layer.Square(3), Activation: "relu"}, &layer.MaxPool2D{Size: 2}, &layer.Dropout{Rate: 0.1}),
		Decoder: graph.Specs(&layer.UpSampling2D{Size: 2}, &layer.Conv2D{Filters: 1, Kernel: layer.Square(3), Activation: "sigmoid"})})
	net, err := nn.NewNetwork(m, openApplyDevice(t), nn.NetworkOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer net.Close()
	set := dataset.Digits(ChunkSamples+30, 1)
	e, err := Evaluate(t.Context(), net, set, nn.Loss{}, Corruption{}, 1, false)
	if err != nil {
		t.Fatal(err)
	}
	scores, err := SampleErrors(t.Context(), net, set)
	if err != nil || len(scores) != set.Len() {
		t.Fatalf("%d scores, %v", len(scores), err)
	}
	mean := 0.0
	for _, s := range scores {
		mean += s / float64(len(scores))
	}
	if math.Abs(mean-e.Output.MSE) > 1e-9 {
		t.Errorf("the mean score is %v, want %v", mean, e.Output.MSE)
	}
	alone, err := SampleErrors(t.Context(), net, set.Slice(ChunkSamples+3, ChunkSamples+4))
	if err != nil || math.Abs(alone[0]-scores[ChunkSamples+3]) > 1e-9 {
		t.Errorf("a sample alone scores %v, with others %v, %v", alone, scores[ChunkSamples+3], err)
	}
	if _, err := SampleErrors(t.Context(), net, set.Slice(0, 0)); err == nil || !strings.Contains(err.Error(), "is empty") {
		t.Errorf("no samples: error %v", err)
	}
	if _, err := SampleErrors(t.Context(), net, dataset.Circle(5, 0.1, 1)); err == nil || !strings.Contains(err.Error(), "takes 784") {
		t.Errorf("other samples: error %v", err)
	}
	if _, err := Interpolate(net, make([]float32, 784), make([]float32, 784), 1); err == nil || !strings.Contains(err.Error(), "1 steps: want 2 or more") {
		t.Errorf("one step: error %v", err)
	}
	if _, err := Interpolate(net, make([]float32, 784), make([]float32, 3), 2); err == nil {
		t.Error("an end of another size: no error")
	}
	for i := range m.Params {
		m.Params[i].Data[0] = float32(math.NaN())
	}
	broken, err := nn.NewNetwork(m, openApplyDevice(t), nn.NetworkOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer broken.Close()
	if _, err := SampleErrors(t.Context(), broken, set); err == nil || !strings.Contains(err.Error(), "not finite") {
		t.Errorf("a broken model: error %v", err)
	}
}

// A model whose decoder takes more than the code is measured as a whole.
func TestEvaluateSkipConnections(t *testing.T) {
	m := mustNew(t, nn.Config{Name: "skips", Input: []int{28, 28, 1},
		Encoder: []graph.Spec{{Layer: &layer.Conv2D{Filters: 2, Kernel: layer.Square(3)}, Name: "fine"}, {Layer: &layer.MaxPool2D{Size: 2}}},
		Decoder: []graph.Spec{{Layer: &layer.UpSampling2D{Size: 2}, Name: "coarse"}, {Layer: &layer.Concatenate{}, Inputs: []string{"fine", "coarse"}},
			{Layer: &layer.Conv2D{Filters: 1, Kernel: layer.Square(3), Activation: "sigmoid"}}}})
	if m.Separable() {
		t.Error("the decoder is said to run on codes alone")
	}
	net, err := nn.NewNetwork(m, openApplyDevice(t), nn.NetworkOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer net.Close()
	if e, err := Evaluate(t.Context(), net, dataset.Digits(20, 1), nn.Loss{}, Corruption{}, 1, false); err != nil || !(e.Output.MSE > 0) || e.Code.Active == 0 {
		t.Errorf("%+v, %v", e, err)
	}
}
