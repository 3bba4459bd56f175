package use

import (
	"math"
	"runtime"
	"strings"
	"testing"

	"github.com/convae/convae/cpu"
	"github.com/convae/convae/nn"
	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/graph"
	"github.com/convae/convae/nn/layer"
	"github.com/convae/convae/nn/rng"
	"github.com/convae/convae/trainer/picture"
)

func openApplyDevice(t *testing.T) backend.Device {
	t.Helper()
	dev, err := cpu.Open(cpu.Options{Lanes: 2})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dev.Close() })
	return dev
}

func newApplyModel(t *testing.T, input []int, encoder, decoder []graph.Spec) *nn.Model {
	t.Helper()
	m, err := nn.New(nn.Config{Name: "m", Input: input, Encoder: encoder, Decoder: decoder}, 3)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func conv(filters, kernel int, act string) *layer.Conv2D {
	return &layer.Conv2D{Filters: filters, Kernel: layer.Square(kernel), Activation: act}
}

// setIdentity makes convolutions of 1 x 1, or dense layers, hand on what they get.
func setIdentity(m *nn.Model) {
	for _, p := range m.Params {
		clear(p.Data)
		if p.Shape.N > 1 || strings.HasSuffix(p.Name, "weight") {
			for i := range p.Shape.N {
				p.Data[i*p.Shape.Image()+i] = 1
			}
		}
	}
}

// blur makes every 3 x 3 convolution of one channel a blur.
func blur(m *nn.Model) {
	for _, p := range m.Params {
		for i := range p.Data {
			p.Data[i] = 0
			if strings.HasSuffix(p.Name, "weight") {
				p.Data[i] = 1.0 / 9
			}
		}
	}
}

func randomImage(h, w, c int) picture.Image {
	img := picture.Image{H: h, W: w, C: c, Pix: make([]float32, h*w*c)}
	for i := range img.Pix {
		img.Pix[i] = rng.Source{Seed: 9, Stream: rng.StreamTest}.Uniforms(uint32(i/4), 0, 0)[i%4]
	}
	return img
}

func worst(a, b picture.Image) (d float64) {
	for i, v := range a.Pix {
		e := math.Abs(float64(v - b.Pix[i]))
		if !(e <= d) { // NaN too
			d = e
		}
	}
	return d
}

// A model that changes nothing gives back images of any size: tiles cover every pixel and their weights add up to 1.
func TestApplyIdentity(t *testing.T) {
	dev := openApplyDevice(t)
	conv1 := func(filters int) []graph.Spec { return graph.Specs(conv(filters, 1, "linear")) }
	models := map[string]*nn.Model{
		"grey":   newApplyModel(t, []int{28, 28, 1}, conv1(1), conv1(1)),
		"colour": newApplyModel(t, []int{28, 28, 3}, conv1(3), conv1(3)),
		"dense":  newApplyModel(t, []int{9, 7, 1}, graph.Specs(&layer.Flatten{}, &layer.Dense{Units: 63}), graph.Specs(&layer.Dense{Units: 63}, &layer.Reshape{Shape: []int{9, 7, 1}})),
		"tiny":   newApplyModel(t, []int{3, 2, 1}, graph.Specs(&layer.Flatten{}, &layer.Dense{Units: 6}), graph.Specs(&layer.Dense{Units: 6})),
	}
	for name, m := range models {
		setIdentity(m)
		for _, size := range [][2]int{{1, 1}, {28, 28}, {100, 75}, {257, 256}, {300, 517}, {1, 1000}} {
			for _, c := range []int{1, 3} {
				if m.Input.C > c {
					continue
				}
				img := randomImage(size[0], size[1], c)
				got, err := Apply(t.Context(), m, dev, img)
				if err != nil {
					t.Fatalf("%s, %v: %v", name, size, err)
				}
				if got.H != img.H || got.W != img.W || got.C != c {
					t.Fatalf("%s, %v: result is %d x %d x %d", name, size, got.H, got.W, got.C)
				}
				if d := worst(img, got); d > 1e-6 {
					t.Errorf("%s, %v, %d channels: a pixel is off by %g", name, size, c, d)
				}
			}
		}
	}
}

// denoiser has two pools; its output depends on its input up to 15 pixels away.
func denoiser(t *testing.T) *nn.Model {
	up := &layer.UpSampling2D{Size: 2}
	pool := &layer.MaxPool2D{Size: 2}
	return newApplyModel(t, []int{28, 28, 1},
		graph.Specs(conv(4, 3, "relu"), pool, conv(4, 3, "relu"), pool),
		graph.Specs(conv(4, 3, "relu"), up, conv(4, 3, "relu"), up, conv(1, 3, "sigmoid")))
}

// What tiles give is what the model gives for the whole image at once: no seams.
func TestApplySeamless(t *testing.T) {
	dev := openApplyDevice(t)
	m := denoiser(t)
	for _, size := range [][2]int{{300, 517}, {1100, 40}} {
		img := randomImage(size[0], size[1], 1)
		got, err := Apply(t.Context(), m, dev, img)
		if err != nil {
			t.Fatal(err)
		}
		if tiles, err := newTiling(m, img.H, img.W, img.C); err != nil || tiles.count() < 4 {
			t.Fatalf("%d tiles, error %v: want several", tiles.count(), err)
		}
		h, w := (img.H+3)/4*4, (img.W+3)/4*4
		whole, err := rebuilt(m, h, w)
		if err != nil {
			t.Fatal(err)
		}
		net, err := nn.NewNetwork(whole, dev, nn.NetworkOptions{})
		if err != nil {
			t.Fatal(err)
		}
		defer net.Close()
		in, out := make([]float32, h*w), make([]float32, h*w)
		for i := range in {
			in[i] = img.Pix[mirror(i/w, img.H)*img.W+mirror(i%w, img.W)]
		}
		if err := net.Predict(out, in, 1); err != nil {
			t.Fatal(err)
		}
		varied := false
		for y := range img.H - 16 {
			for x := range img.W - 16 { // up to where the whole image was padded less than a tile
				a, b := got.Pix[y*img.W+x], out[y*w+x]
				if d := math.Abs(float64(a - b)); !(d < 1e-5) {
					t.Fatalf("%v: row %d, column %d is %g, without tiles %g", size, y, x, a, b)
				}
				varied = varied || b != out[0]
			}
		}
		if !varied {
			t.Fatal("the model gives a plain image, which shows nothing")
		}
	}
}

// An image of the model's own size, and each channel of a coloured one, goes through the model as it is.
func TestApplyOwnSize(t *testing.T) {
	dev := openApplyDevice(t)
	flat := newApplyModel(t, []int{28 * 28}, graph.Specs(&layer.Dense{Units: 9, Activation: "relu"}), graph.Specs(&layer.Dense{Units: 784, Activation: "sigmoid"}))
	for _, m := range []*nn.Model{denoiser(t), flat} {
		net, err := nn.NewNetwork(m, dev, nn.NetworkOptions{})
		if err != nil {
			t.Fatal(err)
		}
		defer net.Close()
		img := randomImage(28, 28, 3)
		got, err := Apply(t.Context(), m, dev, img)
		if err != nil {
			t.Fatal(err)
		}
		in, out := make([]float32, 784), make([]float32, 784)
		for c := range 3 {
			for i := range in {
				in[i] = img.Pix[3*i+c]
			}
			if err := net.Predict(out, in, 1); err != nil {
				t.Fatal(err)
			}
			for i, v := range out {
				if d := math.Abs(float64(got.Pix[3*i+c] - v)); !(d < 1e-6) {
					t.Fatalf("channel %d, pixel %d is %g, want %g", c, i, got.Pix[3*i+c], v)
				}
			}
		}
	}
}

// Images that do not fill a tile are mirrored at the bottom and the right: a blur sees no black beyond them.
func TestApplyMirrors(t *testing.T) {
	m := newApplyModel(t, []int{9, 9, 1}, graph.Specs(conv(1, 3, "linear"), &layer.Flatten{}), graph.Specs(&layer.Reshape{Shape: []int{9, 9, 1}}))
	blur(m)
	img := picture.Image{H: 5, W: 4, C: 1, Pix: make([]float32, 20)}
	for i := range img.Pix {
		img.Pix[i] = 1
	}
	got, err := Apply(t.Context(), m, openApplyDevice(t), img)
	if err != nil {
		t.Fatal(err)
	}
	if v := got.Pix[4*4+3]; math.Abs(float64(v)-1) > 1e-6 {
		t.Errorf("the lower right corner is %g, want 1", v)
	}
	if v := got.Pix[0]; math.Abs(float64(v)-4.0/9) > 1e-6 {
		t.Errorf("the upper left corner, at the tile's own edge, is %g, want 4/9", v)
	}
}

// The memory for an image is that of a row of tiles, however high it is, and its rows are read in order.
func TestAppliedMemory(t *testing.T) {
	dev := openApplyDevice(t)
	m := newApplyModel(t, []int{16, 16, 1}, graph.Specs(conv(1, 1, "linear"), &layer.Flatten{}), graph.Specs(&layer.Reshape{Shape: []int{16, 16, 1}}))
	setIdentity(m)
	const w = 2000
	allocated := func(h int) uint64 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		last := -1
		a, err := NewApplied(m, dev, h, w, 1, func(dst []float32, y int) {
			if y > last+1 || y < last-16 {
				t.Errorf("row %d is read after row %d", y, last)
			}
			last = y
			for x := range dst {
				dst[x] = float32(y) / float32(h)
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		defer a.Close()
		for y := range h {
			row, err := a.Next(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if v, want := row[y%w], float32(y)/float32(h); math.Abs(float64(v-want)) > 1e-6 {
				t.Fatalf("row %d is %g, want %g", y, v, want)
			}
		}
		runtime.ReadMemStats(&after)
		return after.TotalAlloc - before.TotalAlloc
	}
	allocated(100)
	if low, high := allocated(100), allocated(1000); high > low+900*w/4 {
		t.Errorf("%d bytes for 100 rows, %d for 1000, which have %d values more", low, high, 900*w)
	}
}

func TestApplyErrors(t *testing.T) {
	dev := openApplyDevice(t)
	halves := newApplyModel(t, []int{28, 28, 1}, graph.Specs(conv(1, 3, ""), &layer.MaxPool2D{Size: 2}), graph.Specs(conv(1, 3, "")))
	flat := newApplyModel(t, []int{784}, graph.Specs(&layer.Dense{Units: 2}), graph.Specs(&layer.Dense{Units: 784}))
	colour := newApplyModel(t, []int{8, 8, 3}, graph.Specs(conv(2, 3, "")), graph.Specs(conv(3, 3, "")))
	two := newApplyModel(t, []int{8, 8, 2}, graph.Specs(conv(2, 3, "")), graph.Specs(conv(2, 3, "")))
	for _, c := range []struct {
		m    *nn.Model
		img  picture.Image
		want string
	}{
		{halves, randomImage(28, 28, 1), "want an output like the input"},
		{flat, randomImage(28, 27, 1), "784 values, the image has 28 x 27"},
		{colour, randomImage(8, 8, 1), "3 channels, the image has 1"},
		{two, randomImage(8, 8, 3), "2 channels, the image has 3"},
		{colour, picture.Image{H: 8, W: 8, C: 3}, "0 values"},
		{colour, picture.Image{H: 8, W: 8, C: 2, Pix: make([]float32, 128)}, "8 x 8 pixels with 2 channels"},
		{colour, picture.Image{C: 3}, "0 x 0"},
	} {
		_, err := Apply(t.Context(), c.m, dev, c.img)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("error %v, want one with %q", err, c.want)
		}
	}
}

// Models whose layers shrink the image without padding still get a size that fits.
func TestApplyValidPadding(t *testing.T) {
	m := newApplyModel(t, []int{9, 9, 1},
		graph.Specs(&layer.Conv2D{Filters: 2, Kernel: layer.Square(4), Padding: "valid"}, &layer.MaxPool2D{Size: 3}),
		graph.Specs(&layer.UpSampling2D{Size: 3}, &layer.Conv2DTranspose{Filters: 1, Kernel: layer.Square(4), Padding: "valid"}))
	dev := openApplyDevice(t)
	for _, size := range [][2]int{{1, 1}, {3, 100}, {290, 40}} {
		img := randomImage(size[0], size[1], 1)
		if got, err := Apply(t.Context(), m, dev, img); err != nil || got.H != img.H || got.W != img.W {
			t.Errorf("%v: %d x %d, error %v", size, got.H, got.W, err)
		}
	}
}

func TestAxis(t *testing.T) {
	for _, c := range []struct{ image, tile, grid int }{{1, 1, 1}, {5, 1, 1}, {7, 3, 1}, {28, 28, 4}, {260, 256, 4}, {5000, 256, 8}, {999, 28, 1}, {999, 28, 64}} {
		a := newAxis(c.image, c.tile, c.grid)
		sum := make([]float64, c.image+c.tile)
		for i, s := range a.starts {
			if s >= c.image {
				t.Errorf("%v: tile %d starts at %d, outside the image", c, i, s)
			}
			if c.grid < c.tile && s%c.grid != 0 {
				t.Errorf("%v: tile %d starts at %d, off the grid", c, i, s)
			}
			for q, w := range a.weights[i] {
				sum[s+q] += float64(w)
			}
		}
		for p, v := range sum[:c.image] {
			if math.Abs(v-1) > 1e-6 {
				t.Errorf("%v: the weights over pixel %d add up to %g", c, p, v)
			}
		}
	}
}
