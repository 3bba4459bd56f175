package trainer

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/convae/convae/nn"
	"github.com/convae/convae/nn/device"
	"github.com/convae/convae/nn/graph"
	"github.com/convae/convae/nn/layer"
	"github.com/convae/convae/trainer/dataset"
	"github.com/convae/convae/trainer/use"
)

// Samples must have the model's shape, not only as many values.
func TestShapesMustAgree(t *testing.T) {
	model := func(input ...int) *nn.Model {
		m, err := nn.New(nn.Config{Name: "m", Input: input, Encoder: graph.Specs(&layer.Dropout{}), Decoder: graph.Specs(&layer.Dropout{})}, 1)
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	colour, grey, vector := model(16, 16, 3), model(28, 28, 1), model(784)
	for _, c := range []struct {
		m       *nn.Model
		h, w, c int
		want    string // "" for a shape that suits
	}{
		{colour, 16, 16, 3, ""}, {grey, 28, 28, 1, ""}, {vector, 28, 28, 1, ""}, {vector, 1, 1, 784, ""}, {grey, 1, 1, 784, ""},
		{colour, 3, 16, 16, `samples of shape (3, 16, 16) do not suit model "m": want (16, 16, 3); the channels come first: numpy.moveaxis(array, 1, -1) puts them last`},
		{grey, 1, 28, 28, "numpy.moveaxis(array, 1, -1) puts them last"},
		{grey, 56, 14, 1, "samples of shape (56, 14, 1) do not suit"}, {grey, 14, 14, 4, "do not suit"},
		{colour, 1, 1, 768, "a vector does not say whether its channels come first or last"},
		{colour, 16, 16, 1, "takes 768"},
	} {
		set := &dataset.Set{Name: "npy", H: c.h, W: c.w, C: c.c, Values: make([]float32, c.h*c.w*c.c)}
		err := use.CheckSet(c.m, nn.BCE, set)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%d x %d x %d for %v: error %v, want %q", c.h, c.w, c.c, c.m.Input, err, c.want)
		}
	}
}

// Values to validate on may lie beyond those that the scaling was fitted to; BCE says nothing of them.
func TestValidationBeyondScaling(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "t.csv")
	if err := os.WriteFile(file, []byte("x,y\n0,1\n1,2\n2,3\n3,5\n4,4\n5,6\n6,7\n7,8\n8,9\n9,9.1\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	text := strings.NewReplacer("FILE", file).Replace(`
model: {name: d, input: [2], encoder: [{dense: {units: 2}}], decoder: [{dense: {units: 2, activation: sigmoid}}]}
data: {name: csv, file: FILE, scaling: minmax, validation: 0.2}
training: {loss: bce, epochs: 1, batch: 4}
`)
	for _, loss := range []string{"bce", "mse"} {
		c, err := DecodeConfig(strings.NewReader(text), Set("training.loss="+loss))
		if err != nil {
			t.Fatal(err)
		}
		dev, _, err := device.Open("cpu")
		if err != nil {
			t.Fatal(err)
		}
		defer dev.Close()
		train, test, err := LoadData(t.Context(), &c.Data, nil)
		if err != nil {
			t.Fatal(err)
		}
		r, err := Train(t.Context(), c, Options{Dir: filepath.Join(dir, loss), Device: dev, Train: train, Test: test})
		if err != nil {
			t.Fatalf("%s: %v", loss, err)
		}
		if e := r.History[0]; e.ValBCE != 0 || e.ValLoss == 0 || !finite(e.ValLoss) || r.Final.Output.BCE != 0 {
			t.Errorf("%s: %+v; want a validation loss, and no BCE of values outside [0,1]", loss, e)
		}
		if _, err := Train(t.Context(), c, Options{Dir: filepath.Join(dir, "swapped"), Device: dev, Train: test, Test: train}); loss == "bce" && (err == nil || !strings.Contains(err.Error(), "loss bce needs values in [0,1]")) {
			t.Errorf("training samples outside: error %v", err)
		}
	}
}
