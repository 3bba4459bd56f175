package picture

import (
	"bytes"
	"image"
	"image/color"
	"image/png"
	"math"
	"path/filepath"
	"testing"
)

func mustPanic(t *testing.T, want string, f func()) {
	t.Helper()
	defer func() {
		t.Helper()
		if got := recover(); got != want {
			t.Errorf("panic %v, want %q", got, want)
		}
	}()
	f()
}

// levels returns an image that holds each of k/255.
func levels(channels int) Image {
	img := Image{H: 16, W: 16, C: channels}
	for k := range 256 {
		for c := range channels {
			img.Pix = append(img.Pix, float32((k+37*c)%256)/255)
		}
	}
	return img
}

func TestRoundTrip(t *testing.T) {
	for _, channels := range []int{1, 3} {
		want := levels(channels)
		var b bytes.Buffer
		if err := EncodePNG(&b, want); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(t.TempDir(), "levels.png")
		write(t, path, b.Bytes())
		got, err := Load(path, channels)
		if err != nil {
			t.Fatal(err)
		}
		if got.H != 16 || got.W != 16 || got.C != channels {
			t.Fatalf("got %dx%dx%d", got.H, got.W, got.C)
		}
		for i, v := range want.Pix {
			if got.Pix[i] != v {
				t.Fatalf("%d channels, value %d = %v, want %v", channels, i, got.Pix[i], v)
			}
		}
	}
}

func TestGreyAsThreeChannelsAndBack(t *testing.T) {
	grey := levels(1)
	rgb := FromGoImage(ToGoImage(grey), 3)
	for i, v := range grey.Pix {
		for c := range 3 {
			if rgb.Pix[3*i+c] != v {
				t.Fatalf("pixel %d channel %d = %v, want %v", i, c, rgb.Pix[3*i+c], v)
			}
		}
	}
	back := FromGoImage(ToGoImage(rgb), 1)
	for i, v := range grey.Pix {
		if back.Pix[i] != v {
			t.Fatalf("pixel %d = %v, want %v", i, back.Pix[i], v)
		}
	}
}

func TestClampAndRound(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	in := []float32{-1, 0, 0.4 / 255, 0.6 / 255, 0.5, 254.6 / 255, 1, 7, nan, inf, -inf}
	want := []uint8{0, 0, 0, 1, 128, 255, 255, 255, 0, 255, 0}
	got := ToGoImage(Image{H: 1, W: len(in), C: 1, Pix: in}).(*image.Gray)
	if !bytes.Equal(got.Pix, want) {
		t.Errorf("got %v, want %v", got.Pix, want)
	}
}

func TestLuma(t *testing.T) {
	m := image.NewRGBA64(image.Rect(3, 5, 7, 6)) // not at the origin
	for x, c := range []color.RGBA64{{0xffff, 0, 0, 0xffff}, {0, 0xffff, 0, 0xffff}, {0, 0, 0xffff, 0xffff}, {1, 1, 1, 0xffff}} {
		m.Set(3+x, 5, c)
	}
	img := FromGoImage(m, 1)
	for i, want := range []float64{0.299, 0.587, 0.114, 1.0 / 65535} {
		if got := float64(img.Pix[i]); math.Abs(got-want) > 1e-5 || got == 0 {
			t.Errorf("luma %d = %v, want %v", i, got, want)
		}
	}
}

// An image type of another package is read through At.
type foreign struct{ image.Image }

func TestForeignImage(t *testing.T) {
	m := ToGoImage(levels(3))
	got, want := FromGoImage(foreign{m}, 3), FromGoImage(m, 3)
	for i := range want.Pix {
		if got.Pix[i] != want.Pix[i] {
			t.Fatalf("value %d = %v, want %v", i, got.Pix[i], want.Pix[i])
		}
	}
}

func TestColourModels(t *testing.T) {
	palette := color.Palette{color.Black, color.NRGBA{255, 51, 0, 255}}
	paletted := image.NewPaletted(image.Rect(0, 0, 1, 1), palette)
	paletted.SetColorIndex(0, 0, 1)
	grey16 := image.NewGray16(image.Rect(0, 0, 1, 1))
	grey16.SetGray16(0, 0, color.Gray16{Y: 0x1234})
	alpha := image.NewNRGBA(image.Rect(0, 0, 1, 1))
	alpha.SetNRGBA(0, 0, color.NRGBA{255, 102, 0, 51}) // a fifth of it over white
	rgb16 := image.NewNRGBA64(image.Rect(0, 0, 1, 1))
	rgb16.SetNRGBA64(0, 0, color.NRGBA64{1, 0x1234, 0xfffe, 0xffff})

	for _, test := range []struct {
		name string
		m    image.Image
		want []float64
	}{
		{"palette", paletted, []float64{1, 0.2, 0}},
		{"grey16", grey16, []float64{0x1234 / 65535.0}},
		{"alpha", alpha, []float64{1, 0.88, 0.8}},
		{"rgb16", rgb16, []float64{1 / 65535.0, 0x1234 / 65535.0, 65534 / 65535.0}},
	} {
		t.Run(test.name, func(t *testing.T) {
			var b bytes.Buffer
			if err := png.Encode(&b, test.m); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(t.TempDir(), "x.png")
			write(t, path, b.Bytes())
			img, err := Load(path, len(test.want))
			if err != nil {
				t.Fatal(err)
			}
			for i, want := range test.want {
				// Compositing rounds to one of 65536 levels, the rest is exact.
				got, tolerance := img.Pix[i], 0.0
				if test.name == "alpha" {
					tolerance = 1.0 / 65535
				}
				if math.Abs(float64(got-float32(want))) > tolerance {
					t.Errorf("value %d = %v, want %v", i, got, want)
				}
			}
		})
	}
}

func TestCallerBugs(t *testing.T) {
	mustPanic(t, "picture: channels must be 1 or 3", func() { ToGoImage(Image{H: 1, W: 1, C: 2, Pix: make([]float32, 2)}) })
	mustPanic(t, "picture: image dimension below 1", func() { ToGoImage(Image{C: 1}) })
	mustPanic(t, "picture: pixels do not fill the image", func() { ToGoImage(Image{H: 2, W: 2, C: 1, Pix: make([]float32, 3)}) })
	mustPanic(t, "picture: channels must be 1 or 3", func() { FromGoImage(image.NewGray(image.Rect(0, 0, 1, 1)), 4) })
}
