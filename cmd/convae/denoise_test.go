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
	"github.com/convae/convae/trainer/dataset"
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
	wantError(t, "in.png: model \"same\" takes rows of 784 values, the image has 40 x 40", denoiseCommand(), "in.png", "out.png", "--model", "flat")
	wantError(t, "takes at least 2 arguments, IN OUT.png | denoise IN... FOLDER; found 1", denoiseCommand(), "in.png")
	wantError(t, "no-folder", denoiseCommand(), "in.png", "no-folder/out.png")
	after, err := os.ReadFile("in.png")
	if err != nil || !bytes.Equal(before, after) {
		t.Errorf("the input was changed (error %v)", err)
	}
	if _, err := os.Stat("out.png"); err == nil {
		t.Error("an output was written in spite of an error")
	}
}

// Several pictures, and those of folders, keep their names in a folder.
func TestDenoiseFolder(t *testing.T) {
	t.Chdir(t.TempDir())
	makeRun(t, "runs/a", 8, 8, 1)
	for i, name := range []string{"a.png", "in/b.png", "in/deep/c.png", "in/.hidden.png"} {
		if err := os.MkdirAll(filepath.Dir(name), 0o777); err != nil {
			t.Fatal(err)
		}
		mustWrite(t, name, ramp(8, 8+i, 1))
	}
	if err := os.Symlink("in", "link"); err != nil {
		t.Fatal(err)
	}
	write(t, []byte("GIF89a"), "in/torn.gif")
	write(t, []byte("no picture"), "in/notes.txt")
	wantError(t, "torn.gif", denoiseCommand(), "a.png", "link", "out")
	out := mustRun(t, denoiseCommand(), "a.png", "link", "out", "--skip-unreadable", "--noise", "0.1")
	if strings.Count(out, " -> ") != 6 || !strings.Contains(out, "left out: picture: link/torn.gif") {
		t.Errorf("printed %q, want three pictures with their noise and what was left out", out)
	}
	for i, name := range []string{"a", "b", "deep/c"} {
		for _, file := range []string{name, name + "-noisy"} {
			img, err := picture.Load("out/"+file+".png", 1)
			if err != nil || img.W != 8+i {
				t.Errorf("%s has width %d, want %d (error %v)", file, img.W, 8+i, err)
			}
		}
	}
	if files, _, err := dataset.PictureFiles("out"); err != nil || len(files) != 6 {
		t.Errorf("the folder has %q, want 6 pictures (error %v)", files, err)
	}

	wantError(t, "nothing was done: of in/torn.gif no picture can be read", denoiseCommand(), "in/torn.gif", "none.png", "--skip-unreadable")
	mustRun(t, denoiseCommand(), "a.png", "out") // a file into a folder that is there
	mustWrite(t, "in/deep/b.png", ramp(8, 8, 1))
	mustWrite(t, "b.gif.png", ramp(8, 8, 1))
	wantError(t, "would both become", denoiseCommand(), "in/b.png", "in/deep/b.png", "out")
	wantError(t, "output is out.png, want the name of a folder", denoiseCommand(), "a.png", "in/b.png", "out.png")
	wantError(t, "output is -, want the name of a folder", denoiseCommand(), "in", "-")
	wantError(t, "want names of files, or - alone", denoiseCommand(), "a.png", "-", "out")
	wantError(t, "lies in the input link", denoiseCommand(), "link", "in/new/out")
	wantError(t, "lies in the input in", denoiseCommand(), "in", "in")
	wantError(t, "output file a.png is the input", denoiseCommand(), "a.png", ".")
	wantError(t, "runs/a has no PNG, JPEG", denoiseCommand(), "runs/a", "out")
}

// Links in a folder are followed as those of data sets are, each folder once, and what is written is not read through them.
func TestDenoiseLinks(t *testing.T) {
	t.Chdir(t.TempDir())
	makeRun(t, "runs/a", 8, 8, 1)
	for _, dir := range []string{"in", "elsewhere/deep"} {
		if err := os.MkdirAll(dir, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	mustWrite(t, "in/a.png", ramp(8, 8, 1))
	mustWrite(t, "elsewhere/deep/b.png", ramp(8, 8, 1))
	write(t, []byte("no picture"), "elsewhere/notes.txt")
	for link, to := range map[string]string{"in/more": "../elsewhere", "in/zagain": "../elsewhere/deep"} {
		if err := os.Symlink(to, link); err != nil {
			t.Fatal(err)
		}
	}
	out, notes, err := run(t, "denoise", "in", "out", "--device", "cpu")
	if err != nil || strings.Count(out, " -> ") != 2 {
		t.Errorf("error %v, printed %q, want two pictures", err, out)
	}
	for _, want := range []string{"note: left out 1 file that is no PNG, JPEG, GIF, BMP, TIFF or WebP: in/more/notes.txt\n", "note: left out 1 folder that is here twice, by a link: in/zagain\n"} {
		if !strings.Contains(notes, want) {
			t.Errorf("it says %q, want %q", notes, want)
		}
	}
	for _, path := range []string{"out/a.png", "out/more/deep/b.png"} {
		if _, err := os.Stat(path); err != nil {
			t.Error(err)
		}
	}
	wantError(t, "output folder elsewhere/deep/out lies in the input in/more/deep", denoiseCommand(), "in", "elsewhere/deep/out")
	wantError(t, "output folder elsewhere/out lies in the input in/more", denoiseCommand(), "in", "elsewhere/out")
}

// A picture goes from the standard input to the standard output, bytes and nothing else.
func TestDenoisePipe(t *testing.T) {
	t.Chdir(t.TempDir())
	makeRun(t, "runs/a", 8, 8, 1)
	mustWrite(t, "in.png", ramp(8, 9, 1))
	mustRun(t, denoiseCommand(), "in.png", "want.png")
	in, errIn := os.ReadFile("in.png")
	want, errWant := os.ReadFile("want.png")
	if errIn != nil || errWant != nil {
		t.Fatal(errIn, errWant)
	}
	var stdout, stderr bytes.Buffer
	root := rootCommand()
	root.SetIn(bytes.NewReader(in))
	root.SetArgs([]string{"denoise", "-", "-"})
	if code := runRoot(t.Context(), root, &stdout, &stderr); code != 0 || !bytes.Equal(stdout.Bytes(), want) || !strings.Contains(stderr.String(), "- -> -: 9 x 8 pixels") {
		t.Errorf("status %d, %d bytes, want the %d of want.png; said %q", code, stdout.Len(), len(want), &stderr)
	}
	for _, c := range []struct{ in, args, want string }{
		{"", "- -", "standard input: nothing came"},
		{"plain text", "- out.png", "standard input: want a PNG, JPEG"},
		{string(in), "- - --noise 1", "--noise writes two pictures"},
	} {
		stdout.Reset()
		stderr.Reset()
		root := rootCommand()
		root.SetIn(strings.NewReader(c.in))
		root.SetArgs(append([]string{"denoise"}, strings.Fields(c.args)...))
		if code := runRoot(t.Context(), root, &stdout, &stderr); code != 1 || stdout.Len() > 0 || !strings.Contains(stderr.String(), c.want) {
			t.Errorf("%s: status %d, %d bytes came, said %q, want %q", c.args, code, stdout.Len(), &stderr, c.want)
		}
	}
}
