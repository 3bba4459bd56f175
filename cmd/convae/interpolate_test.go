package main

import (
	"errors"
	"math"
	"os"
	"slices"
	"testing"

	"github.com/convae/convae/trainer/dataset"
	"github.com/convae/convae/trainer/picture"
)

// A model that changes nothing mixes the samples themselves.
func TestInterpolate(t *testing.T) {
	t.Chdir(t.TempDir())
	makeRun(t, "runs/a", 28, 28, 1)
	_, test := dataset.DigitsSplit(0)
	a, b := make([]float32, 784), make([]float32, 784)
	if err := errors.Join(test.Read(a, 3, 4), test.Read(b, 1999, 2000)); err != nil {
		t.Fatal(err)
	}
	mustWriteNPY(t, "b.npy", b, 28, 28)
	mustWrite(t, "b.png", picture.Image{H: 28, W: 28, C: 1, Pix: b})
	for _, end := range []string{"1999", "b.npy", "b.png"} {
		mustRun(t, interpolateCommand(), "3", end, "y.npy", "--steps", "5")
		y := mustReadNPY(t, "y.npy")
		if !slices.Equal(y.Shape, []int{5, 28, 28, 1}) {
			t.Fatalf("%s: shape %v", end, y.Shape)
		}
		for i, v := range y.Data {
			f := float64(i/784) / 4
			if want := (1-f)*float64(a[i%784]) + f*float64(b[i%784]); math.Abs(float64(v)-want) > 1e-5 {
				t.Fatalf("%s: value %d is %v, want %v", end, i, v, want)
			}
		}
	}
	mustRun(t, interpolateCommand(), "0", "1", "y.png", "--steps", "12", "--split", "train", "--data", "digits", "--seed", "4")
	if img, err := picture.Load("y.png", 1); err != nil || img.W < 10*28 || img.H < 3*28 {
		t.Errorf("the sheet has %d x %d pixels, error %v", img.W, img.H, err)
	}
}

func TestInterpolateErrors(t *testing.T) {
	t.Chdir(t.TempDir())
	makeRun(t, "runs/a", 6, 4, 1)
	makeRun(t, "big", 28, 28, 1)
	makeRun(t, "two", 2)
	mustWriteNPY(t, "x.npy", make([]float32, 24), 6, 4)
	mustWriteNPY(t, "many.npy", make([]float32, 48), 2, 6, 4)
	for _, c := range []struct {
		want string
		args []string
	}{
		{`takes 3 arguments, A B OUT.png|OUT.npy|OUT.csv; found 2: ["x.npy" "y.png"]`, []string{"x.npy", "y.png"}},
		{"output file is y.jpg, want a name that ends in .png or .npy", []string{"x.npy", "x.npy", "y.jpg"}},
		{"is the input", []string{"many.npy", "x.npy", "./x.npy"}},
		{"--steps is 1, want 2 to 1000", []string{"x.npy", "x.npy", "y.png", "--steps", "1"}},
		{`--split is "all"`, []string{"x.npy", "x.npy", "y.png", "--split", "all"}},
		{"many.npy has 2 samples, want one", []string{"x.npy", "many.npy", "y.png"}},
		{"none.png: no such file or directory (A and B are pictures, .npy files or numbers of samples)", []string{"x.npy", "none.png", "y.png"}},
		{`data set digits has images of 28 x 28 pixels, channels: 1; model "same" takes (6, 4, 1)`, []string{"x.npy", "5", "y.png"}},
		{"sample 2000: want 0 to 1999 of data set digits", []string{"5", "2000", "y.png", "--model", "big"}},
		{`no data set "nothing"`, []string{"5", "6", "y.png", "--model", "big", "--data", "nothing"}},
		{"which is no image: want OUT.npy", []string{"5", "6", "y.png", "--model", "two"}},
	} {
		wantError(t, c.want, interpolateCommand(), c.args...)
	}
	if _, err := os.Stat("y.png"); err == nil {
		t.Error("an output was written in spite of an error")
	}
}
