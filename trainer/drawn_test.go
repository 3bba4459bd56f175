package trainer

import (
	"bytes"
	"context"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/convae/convae/nn"
	"github.com/convae/convae/nn/graph"
	"github.com/convae/convae/nn/layer"
)

// drawn is an Observer that remembers files, and ends the run after some.
type drawn struct {
	silent
	said  []Drawn
	after int
	stop  func()
}

func (d *drawn) Drawn(f Drawn) {
	if d.said = append(d.said, f); len(d.said) == d.after {
		d.stop()
	}
}

// Each validated epoch leaves a picture of samples and the codes of some; those of a run that was interrupted and went on are those of one that was not.
func TestDrawnEpochs(t *testing.T) {
	dir := t.TempDir()
	whole, parts := filepath.Join(dir, "whole"), filepath.Join(dir, "parts")
	var seen drawn
	o := smallOptions(t, whole)
	o.Observer = &seen
	if _, err := Train(t.Context(), smallConfig(), o); err != nil {
		t.Fatal(err)
	}
	want := []Drawn{}
	for epoch := range 3 {
		want = append(want, Drawn{epoch + 1, SamplesPath(whole, epoch+1), LatentPath(whole, epoch+1)})
	}
	if !slices.Equal(seen.said, want) {
		t.Errorf("the observer heard of %v, want %v", seen.said, want)
	}

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	o = smallOptions(t, parts)
	o.Observer = &drawn{after: 2, stop: cancel}
	if _, err := Train(ctx, smallConfig(), o); err != nil {
		t.Fatal(err)
	}
	// A run that was killed between a picture and the checkpoint has one too many.
	for _, path := range []string{SamplesPath(parts, 3), LatentPath(parts, 3)} {
		if err := os.WriteFile(path, []byte("of a run that was killed"), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	o = smallOptions(t, parts)
	o.Resume = true
	o.Observer = onStart{func() {
		if samples, latent, err := DrawnEpochs(parts); !slices.Equal(samples, []int{1, 2}) || !slices.Equal(latent, []int{1, 2}) || err != nil {
			t.Errorf("a run that goes on after epoch 2 has pictures of %v and codes of %v, %v", samples, latent, err)
		}
	}}
	if _, err := Train(t.Context(), smallConfig(), o); err != nil {
		t.Fatal(err)
	}
	for epoch := 1; epoch <= 3; epoch++ {
		for _, path := range []func(string, int) string{SamplesPath, LatentPath} {
			if !bytes.Equal(readFile(t, path(whole, epoch)), readFile(t, path(parts, epoch))) {
				t.Errorf("%s differs", path(parts, epoch))
			}
		}
		l, err := ReadLatent(whole, epoch)
		if err != nil {
			t.Fatal(err)
		}
		if n := len(l.Samples); n != 40 || len(l.X) != n || len(l.Y) != n || len(l.Labels) != n || l.Epoch != epoch || !(l.Share > 0.1 && l.Share <= 1) {
			t.Errorf("epoch %d: %d samples, %d, %d points, %d labels, share %v", l.Epoch, n, len(l.X), len(l.Y), len(l.Labels), l.Share)
		}
	}
	if _, err := png.Decode(bytes.NewReader(readFile(t, SamplesPath(whole, 1)))); err != nil {
		t.Error(err)
	}
	if bytes.Equal(readFile(t, SamplesPath(whole, 1)), readFile(t, SamplesPath(whole, 3))) {
		t.Error("the pictures of two epochs are the same")
	}
}

// onStart is an Observer that does something before the first step.
type onStart struct{ do func() }

func (o onStart) Start(Start)   { o.do() }
func (onStart) First(FirstStep) {}
func (onStart) Step(Step)       {}
func (onStart) Epoch(Epoch)     {}
func (onStart) Drawn(Drawn)     {}
func (onStart) Note(string)     {}

// However many epochs there are, a bounded number has files, evenly spread, with the first and the last.
func TestKeptEpochs(t *testing.T) {
	var history []Epoch
	before := map[int]bool{}
	for n := 1; n <= 2500; n++ {
		history = append(history, Epoch{Epoch: 3 * n})
		keep := keptEpochs(history)
		if len(keep) > drawnKept+1 || len(keep) < min(n, drawnKept/2) {
			t.Fatalf("of %d epochs %d are kept", n, len(keep))
		}
		if !keep[3] || !keep[3*n] {
			t.Fatalf("of %d epochs the first or the last is not kept", n)
		}
		for epoch := range keep { // what is gone does not come back
			if !before[epoch] && epoch != 3*n {
				t.Fatalf("of %d epochs, epoch %d is kept, and was not before", n, epoch)
			}
		}
		before = keep
	}
}

// Points are turned and mirrored back onto those of before.
func TestLatentTurn(t *testing.T) {
	before := &Latent{Samples: []int{4, 5, 6, 9}, X: []float64{1, 2, -3, 0}, Y: []float64{0.5, -1, 0, 2}}
	for _, mirror := range []float64{1, -1} {
		l := &Latent{Samples: before.Samples}
		sin, cos := math.Sincos(2)
		for i := range before.X {
			x, y := before.X[i], mirror*before.Y[i]
			l.X, l.Y = append(l.X, cos*x-sin*y), append(l.Y, sin*x+cos*y)
		}
		l.turn(before)
		for i := range l.X {
			if math.Hypot(l.X[i]-before.X[i], l.Y[i]-before.Y[i]) > 1e-12 {
				t.Errorf("point %d is at %v, %v, want %v, %v", i, l.X[i], l.Y[i], before.X[i], before.Y[i])
			}
		}
	}
	l := &Latent{Samples: []int{4, 5, 6, 8}, X: []float64{1, 2, 3, 4}, Y: []float64{4, 3, 2, 1}}
	if l.turn(before); l.X[0] != 1 || l.Y[0] != 4 {
		t.Error("points of other samples are turned")
	}
}

// Codes of one and of two numbers are points as they are; samples that are no images have no pictures.
func TestLatentOfSmallCodes(t *testing.T) {
	for code := 1; code <= 2; code++ {
		c := smallConfig()
		c.Model.Encoder = graph.Specs(&layer.Flatten{}, &layer.Dense{Units: code})
		c.Model.Decoder = graph.Specs(&layer.Dense{Units: 784, Activation: "sigmoid"}, &layer.Reshape{Shape: []int{28, 28, 1}})
		c.Training.Epochs = 1
		o := smallOptions(t, filepath.Join(t.TempDir(), "run"))
		if _, err := Train(t.Context(), c, o); err != nil {
			t.Fatal(err)
		}
		l, err := ReadLatent(o.Dir, 1)
		if err != nil {
			t.Fatal(err)
		}
		if len(l.X) != 40 || len(l.Y) != 40*(code-1) || l.Share != 0 {
			t.Errorf("code of %d: %d and %d numbers, share %v", code, len(l.X), len(l.Y), l.Share)
		}
	}
	m, err := nn.New(nn.Config{Name: "large", Input: []int{512, 512, 3}, Encoder: graph.Specs(&layer.MaxPool2D{Size: 8}), Decoder: graph.Specs(&layer.UpSampling2D{Size: 8})}, 1)
	if err != nil {
		t.Fatal(err)
	}
	if n := latentCount(m, nil); n != 0 {
		t.Errorf("%d codes of large samples are kept, want none", n)
	}
}
