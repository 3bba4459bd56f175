package use_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/convae/convae/nn"
	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/device"
	"github.com/convae/convae/nn/graph"
	"github.com/convae/convae/nn/layer"
	"github.com/convae/convae/nn/rng"
	"github.com/convae/convae/trainer/dataset"
	"github.com/convae/convae/trainer/picture"
	"github.com/convae/convae/trainer/use"
)

// Points near the line that a model knows are usual: what is further away than the furthest of them is an anomaly. Labels say
// that those of class 0 are normal.
func ExampleFindAnomalies() {
	usual := &dataset.Set{H: 1, W: 1, C: 2, Values: []float32{0, 0, 1, 2, 3, 3}}
	points := &dataset.Set{H: 1, W: 1, C: 2, Values: []float32{5, 5, 0, 4, 2, 2, 2, 3}, Labels: []uint8{0, 1, 0, 1}}
	normal, _ := use.WithLabels(points.Labels, []int{0})
	a, err := use.FindAnomalies(context.Background(), lineNetwork(), usual, points, use.AnomalyOptions{Quantile: 1, Normal: normal})
	check(err)
	fmt.Println(a.Found, "above", a.Threshold)
	for _, s := range a.Ranking()[:2] {
		fmt.Println("sample", s.Index, "of class", *s.Label, "scores", s.Score, s.Anomaly)
	}
	fmt.Printf("%.0f %% of %d anomalous samples found, ROC AUC %v\n", 100*a.Detection.Found, a.Detection.Anomalous, a.Detection.AUC)
	// Output:
	// 1 above 0.5
	// sample 1 of class 1 scores 8 true
	// sample 3 of class 1 scores 0.5 false
	// 50 % of 2 anomalous samples found, ROC AUC 1
}

// One principal component follows a line that the model does not know.
func ExampleComparePCA() {
	train := &dataset.Set{H: 1, W: 1, C: 2, Values: []float32{0, 0, 1, 2, 2, 4, 3, 6}}
	test := &dataset.Set{H: 1, W: 1, C: 2, Values: []float32{4, 8, 5, 10}}
	r, err := use.ComparePCA(context.Background(), lineNetwork(), train, test, 1)
	check(err)
	fmt.Printf("model %.2f, PCA %.2f, which explains %.0f %%\n", r.Autoencoder.MSE, r.PCA.MSE, 100*r.Explained)
	// Output: model 10.25, PCA 0.00, which explains 100 %
}

// Encodes the samples of a set, and decodes the codes.
func ExampleEncode() {
	points := &dataset.Set{H: 1, W: 1, C: 2, Values: []float32{0, 0, 1, 2, 3, 3}}
	net := lineNetwork()
	codes, err := use.Encode(context.Background(), net, points.Len(), points.Read)
	check(err)
	y, err := use.Decode(context.Background(), net, 3, func(dst []float32, lo, hi int) error { copy(dst, codes[lo:hi]); return nil })
	check(err)
	fmt.Println(codes, y)
	// Output: [0 1 3] [0 0 1 1 3 3]
}

// Makes up samples with a variational model; here one that is not trained yet.
func ExamplePriorCodes() {
	c := nn.Config{Name: "vae", Input: []int{9}, Encoder: graph.Specs(&layer.Dense{Units: 4}, &layer.Sampling{}), Decoder: graph.Specs(&layer.Dense{Units: 9, Activation: "sigmoid"})}
	model, err := nn.New(c, 1)
	check(err)
	dev, _, err := device.Open("cpu")
	check(err)
	defer dev.Close()
	net, err := nn.NewNetwork(model, dev, nn.NetworkOptions{})
	check(err)
	defer net.Close()
	codes := use.PriorCodes(model, 1)
	y, err := use.Decode(context.Background(), net, 5, codes)
	check(err)
	all, second := make([]float32, 10), make([]float32, 2)
	codes(all, 0, 5)
	codes(second, 1, 2)
	fmt.Println(len(y)/9, "samples; a code alone is the one among others:", second[0] == all[2] && second[1] == all[3])
	// Output: 5 samples; a code alone is the one among others: true
}

// Cleans a high image row by row; here with a model that is not trained yet.
func ExampleNewApplied() {
	model, err := nn.New(nn.Denoiser(), 1)
	check(err)
	dev, _, err := device.Open("cpu")
	check(err)
	defer dev.Close()
	a, err := use.NewApplied(model, dev, 40, 28, 1, func(dst []float32, y int) { clear(dst) })
	check(err)
	defer a.Close()
	values := 0
	for range 40 {
		row, err := a.Next(context.Background())
		check(err)
		values += len(row)
	}
	fmt.Println(values, "values of", a.Tiles(), "tile")
	// Output: 1120 values of 1 tile
}

// Noise is drawn by the number of a sample, whatever others are read with it; pixels stay in [0,1].
func ExampleCorrupt() {
	set := &dataset.Set{H: 1, W: 2, C: 1, Pixels: []byte{0, 255, 255, 0}}
	src := rng.Source{Seed: 1, Stream: rng.StreamEvaluate}
	clean, noisy, one := make([]float32, 4), make([]float32, 4), make([]float32, 2)
	check(use.Corrupt(clean, noisy, set, 0, 2, use.Corruption{Std: 0.5}, src))
	check(use.Corrupt(make([]float32, 2), one, set, 1, 2, use.Corruption{Std: 0.5}, src))
	fmt.Println(clean, one[0] == noisy[2] && one[1] == noisy[3], min(one[0], one[1]) >= 0, max(one[0], one[1]) <= 1)
	// Output: [0 1 1 0] true true true
}

// Chooses samples to show, as many of each label.
func ExampleSpread() {
	set := &dataset.Set{H: 1, W: 1, C: 1, Pixels: make([]byte, 6), Labels: []uint8{7, 7, 7, 7, 3, 3}}
	fmt.Println(use.Spread(set, 4))
	// Output: [4 5 0 2]
}

// A model of vectors takes images of as many values, but none of others.
func ExampleCheckSet() {
	model := lineNetwork().Model()
	fmt.Println(use.CheckSet(model, nn.MSE, &dataset.Set{Name: "pairs", H: 1, W: 2, C: 1, Values: []float32{0, 1}}))
	fmt.Println(use.CheckSet(model, nn.MSE, &dataset.Set{Name: "squares", H: 2, W: 2, C: 1, Values: make([]float32, 4)}))
	// Output:
	// <nil>
	// data set squares has images of 2 x 2 x 1 = 4 values, model "line" takes 2
}

// A vector of 784 values is drawn as a square grey image.
func ExampleImageShape() {
	fmt.Println(use.ImageShape(backend.Shape{N: 1, H: 1, W: 1, C: 784}))
	_, ok := use.ImageShape(backend.Shape{N: 1, H: 1, W: 1, C: 2})
	fmt.Println(ok)
	// Output:
	// (1, 28, 28, 1) true
	// false
}

// Says what to do about an array whose channels come first.
func ExampleShapeAdvice() {
	input := backend.Shape{N: 1, H: 32, W: 32, C: 3}
	fmt.Println(use.FitsInput([]int{3, 32, 32}, input), use.ShapeAdvice([]int{3, 32, 32}, input))
	// Output: false ; the channels come first: numpy.moveaxis(array, 1, -1) puts them last
}

// Draws four samples of 2 x 2 values, and the four as a manifold.
func ExampleWriteSheet() {
	dir, err := os.MkdirTemp("", "convae")
	check(err)
	defer os.RemoveAll(dir)
	images := use.Images(make([]float32, 16), backend.Shape{N: 1, H: 2, W: 2, C: 1})
	check(use.WriteSheet(filepath.Join(dir, "sheet.png"), picture.Grid(images, 2), picture.SheetOptions{Title: "samples"}))
	check(use.WriteManifold(filepath.Join(dir, "manifold.png"), images, 2))
	files, err := os.ReadDir(dir)
	check(err)
	fmt.Println(len(images), "images in each of", files[0].Name(), "and", files[1].Name())
	// Output: 4 images in each of manifold.png and sheet.png
}

// Three rows show a sample, what the model makes of it, and the difference.
func ExampleWorstRows() {
	pair := &dataset.Set{H: 1, W: 2, C: 1, Values: []float32{0.25, 1}}
	rows, err := use.WorstRows(lineNetwork(), pair, []use.Score{{Index: 0}}, 10)
	check(err)
	for _, r := range rows {
		fmt.Println(r.Label, r.Images[0].Pix)
	}
	// Output:
	// input [0.25 1]
	// output [0.25 0.25]
	// difference [0 0.75]
}
