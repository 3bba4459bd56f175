package main

import (
	"strings"
	"testing"

	"github.com/convae/convae/nn"
	"github.com/convae/convae/nn/graph"
	"github.com/convae/convae/nn/layer"
	"github.com/convae/convae/trainer"
	"github.com/convae/convae/trainer/picture"
)

func TestFeatures(t *testing.T) {
	t.Chdir(t.TempDir())
	config := func(input []int, encoder ...graph.Layer) trainer.Config {
		n := input[0]
		if len(input) == 3 {
			n *= input[1] * input[2]
			encoder = append(encoder, &layer.Flatten{})
		}
		decoder := graph.Specs(&layer.Dense{Units: n})
		if len(input) == 3 {
			decoder = graph.Specs(&layer.Dense{Units: n}, &layer.Reshape{Shape: input})
		}
		return trainer.Config{Model: nn.Config{Name: "model", Input: input, Encoder: graph.Specs(encoder...), Decoder: decoder}}
	}
	saveRun(t, "runs/dense", config([]int{9}, &layer.Dense{Units: 12}))
	saveRun(t, "conv", config([]int{6, 6, 3}, &layer.Conv2D{Filters: 25, Kernel: layer.Square(3)}))
	saveRun(t, "select", config([]int{9}, &layer.Concrete{Select: 2}))
	for _, c := range []struct {
		args, want string
		rows       int
	}{
		{"y.png", "y.png: 12 of 12 filters, of runs/dense\n", 2},
		{"y.png --count 3", "y.png: 3 of 12 filters", 1},
		{"y.png --model conv", "y.png: 25 of 25 filters", 3},
		{"y.png --model select", "selected 2 inputs, ", 1},
	} {
		out := mustRun(t, featuresCommand(), strings.Fields(c.args)...)
		img, err := picture.Load("y.png", 3)
		if err != nil || !strings.Contains(out, c.want) || img.H < c.rows*84 || img.H > c.rows*91+130 {
			t.Errorf("%s: printed %q, %d rows of pixels, error %v", c.args, out, img.H, err)
		}
	}
	saveRun(t, "table", config([]int{7}, &layer.Dense{Units: 2}))
	saveRun(t, "channels", config([]int{6, 6, 4}, &layer.Conv2D{Filters: 2, Kernel: layer.Square(3)}))
	saveRun(t, "pooled", config([]int{9, 9, 1}, &layer.MaxPool2D{Size: 3}, &layer.Flatten{}, &layer.Dense{Units: 2}, &layer.Reshape{Shape: []int{1, 2, 1}}))
	saveRun(t, "up", config([]int{6, 6, 1}, &layer.Conv2DTranspose{Filters: 2, Kernel: layer.Square(3)}))
	wantError(t, `model "model" takes 7 values, which are no image`, featuresCommand(), "y.png", "--model", "table")
	wantError(t, "the filters of conv2d in model \"model\" have 4 channels, want 1 or 3", featuresCommand(), "y.png", "--model", "channels")
	wantError(t, "dense of model \"model\" has 9 inputs, the model 81: want a dense layer on the model's input itself", featuresCommand(), "y.png", "--model", "pooled")
	wantError(t, "conv2d_transpose is the first layer with weights", featuresCommand(), "y.png", "--model", "up")
	wantError(t, "want a name that ends in .png", featuresCommand(), "y.npy")
	wantError(t, "--count is 0, want 1 to 1000", featuresCommand(), "y.png", "--count", "0")
	wantError(t, "nowhere", featuresCommand(), "y.png", "--model", "nowhere")
}
