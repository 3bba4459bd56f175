package main

import (
	"bytes"
	"image"
	"image/color"
	"image/png"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/convae/convae/trainer/atomicfile"
	"github.com/convae/convae/trainer/picture"
)

// ramp is an image of many values, coloured if it has three channels.
func ramp(h, w, c int) picture.Image {
	img := picture.Image{H: h, W: w, C: c, Pix: make([]float32, h*w*c)}
	for i := range img.Pix {
		img.Pix[i] = float32(i%251) / 255
	}
	return img
}

func mustWrite(t *testing.T, path string, img picture.Image) {
	t.Helper()
	if err := atomicfile.Write(path, func(w io.Writer) error { return picture.EncodePNG(w, img) }); err != nil {
		t.Fatal(err)
	}
}

// A model that changes nothing gives back the picture, pixel for pixel, with its channels.
func TestDenoise(t *testing.T) {
	t.Chdir(t.TempDir())
	makeRun(t, "runs/grey", 28, 28, 1)
	makeRun(t, "colour", 16, 16, 3)
	for _, c := range []struct {
		model    string
		channels int
		want     string
	}{{"", 1, "channels: 1, tiles: 2"}, {"", 3, "channels: 3, tiles: 6"}, {"colour", 3, "channels: 3, tiles: 2"}, {"colour/model.safetensors", 1, "channels: 3"}} {
		mustWrite(t, "in.png", ramp(300, 70, c.channels))
		out := mustRun(t, denoiseCommand(), "in.png", "out.png", "--model", c.model, "--device", "cpu")
		if !strings.Contains(out, c.want) || !strings.Contains(out, "70 x 300 pixels") || strings.Count(out, "\n") != 1 {
			t.Errorf("printed %q, want one line with %q", out, c.want)
		}
		a, errA := picture.Load("in.png", 3)
		b, errB := picture.Load("out.png", 3)
		if errA != nil || errB != nil {
			t.Fatal(errA, errB)
		}
		for i := range a.Pix {
			if a.Pix[i] != b.Pix[i] {
				t.Fatalf("%v: value %d is %v, want %v", c, i, b.Pix[i], a.Pix[i])
			}
		}
	}
}

func TestDenoiseNoise(t *testing.T) {
	t.Chdir(t.TempDir())
	makeRun(t, "runs/a", 28, 28, 1)
	mustWrite(t, "in.png", ramp(40, 40, 1))
	out := mustRun(t, denoiseCommand(), "in.png", "out.PNG", "--noise", "0.2", "--seed", "3")
	noisy, err := os.ReadFile("out-noisy.png")
	if err != nil {
		t.Fatal(err)
	}
	same, err := os.ReadFile("out.PNG")
	if err != nil || !bytes.Equal(noisy, same) {
		t.Errorf("the model changes nothing, but its output is not the noisy picture (error %v)", err)
	}
	if !strings.Contains(out, "noise 0.2 (out-noisy.png): PSNR") {
		t.Errorf("printed %q", out)
	}
	a, b := ramp(40, 40, 1), ramp(40, 40, 1)
	addNoise(b.Pix[:601], 0, 0.2, 3) // in parts, as rows come
	addNoise(b.Pix[601:], 601, 0.2, 3)
	stored, err := picture.Load("out-noisy.png", 1)
	if err != nil {
		t.Fatal(err)
	}
	for i, v := range stored.Pix {
		if math.Abs(float64(v-b.Pix[i])) > 0.5/255+1e-6 {
			t.Fatalf("value %d of the noisy picture is %v, want %v", i, v, b.Pix[i])
		}
	}
	sum, n := 0.0, 0
	for i, v := range a.Pix {
		if v > 0.4 && v < 0.6 { // hardly clipped
			sum += math.Pow(float64(b.Pix[i]-v), 2)
			n++
		}
	}
	if std := math.Sqrt(sum / float64(n)); math.Abs(std-0.2) > 0.03 {
		t.Errorf("the noise has standard deviation %g, want 0.2", std)
	}
}

// The output has the bits, the channels and the alpha of the picture, upright.
func TestDenoiseKeepsKind(t *testing.T) {
	turned, err := filepath.Abs("../../trainer/picture/testdata/turned.jpg")
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	makeRun(t, "runs/grey", 8, 8, 1)
	bounds := image.Rect(0, 0, 40, 30)
	grey, alpha := image.NewGray16(bounds), image.NewNRGBA64(bounds)
	for i := range 40 * 30 {
		grey.SetGray16(i%40, i/40, color.Gray16{uint16(i * 50)})
		alpha.SetNRGBA64(i%40, i/40, color.NRGBA64{uint16(i * 50), uint16(i * 7), 0xffff, uint16(i)*50 + 1})
	}
	for _, want := range []image.Image{grey, alpha} {
		var b bytes.Buffer
		if err := png.Encode(&b, want); err != nil {
			t.Fatal(err)
		}
		write(t, b.Bytes(), "in.png")
		mustRun(t, denoiseCommand(), "in.png", "out.png", "--device", "cpu")
		got, err := picture.Open("out.png")
		if err != nil {
			t.Fatal(err)
		}
		if got.ColorModel() != want.ColorModel() || got.Bounds() != bounds {
			t.Errorf("%T became %T of %v", want, got, got.Bounds())
		}
		for i := range 40 * 30 {
			if a, b := want.At(i%40, i/40), got.At(i%40, i/40); a != b {
				t.Fatalf("pixel %d is %v, want %v", i, b, a)
			}
		}
	}
	mustRun(t, denoiseCommand(), turned, "out.png", "--device", "cpu")
	img, err := picture.Load("out.png", 1)
	if err != nil || img.Pix[20] > 0.05 || img.Pix[27*28+7] < 0.95 {
		t.Errorf("a picture that is black at the top when upright: the top is %v, the bottom %v, error %v", img.Pix[20], img.Pix[27*28+7], err)
	}
}

func TestDenoiseErrors(t *testing.T) {
	t.Chdir(t.TempDir())
	mustWrite(t, "in.png", ramp(40, 40, 1))
	wantError(t, "train one first", denoiseCommand(), "in.png", "out.png")
	makeRun(t, "runs/a", 28, 28, 1)
	makeRun(t, "flat", 784)
	before, err := os.ReadFile("in.png")
	if err != nil {
		t.Fatal(err)
	}
	mustWrite(t, "out-noisy.png", ramp(4, 4, 1))
	wantError(t, "output file is out.jpg, want a name that ends in .png", denoiseCommand(), "in.png", "out.jpg")
	wantError(t, "is the input", denoiseCommand(), "in.png", "./in.png")
	wantError(t, "is the input", denoiseCommand(), "out-noisy.png", "out.png", "--noise", "1")
	wantError(t, "none.png", denoiseCommand(), "none.png", "out.png")
	wantError(t, "runs/a/config.yaml", denoiseCommand(), "runs/a/config.yaml", "out.png")
	wantError(t, "nowhere", denoiseCommand(), "in.png", "out.png", "--model", "nowhere")
	wantError(t, "--noise is -1", denoiseCommand(), "in.png", "out.png", "--noise", "-1")
	wantError(t, "--noise is NaN", denoiseCommand(), "in.png", "out.png", "--noise", "NaN")
	wantError(t, "--device abacus", denoiseCommand(), "in.png", "out.png", "--device", "abacus")
	wantError(t, "in.png: model \"same\" takes images of 784 values, the image has 40 x 40", denoiseCommand(), "in.png", "out.png", "--model", "flat")
	wantError(t, "takes 2 arguments, IN OUT.png; found 1", denoiseCommand(), "in.png")
	wantError(t, "no-folder", denoiseCommand(), "in.png", "no-folder/out.png")
	after, err := os.ReadFile("in.png")
	if err != nil || !bytes.Equal(before, after) {
		t.Errorf("the input was changed (error %v)", err)
	}
	if _, err := os.Stat("out.png"); err == nil {
		t.Error("an output was written in spite of an error")
	}
}
