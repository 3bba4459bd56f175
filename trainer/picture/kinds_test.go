package picture

import (
	"image"
	"image/color"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// JPEGs that image/jpeg lacks are named by their kind, not called corrupt.
func TestRareJPEG(t *testing.T) {
	for file, kind := range map[string]string{
		"c_441.jpg":      "chroma sampling 1x4, 1x1, 1x1",
		"c_arith.jpg":    "arithmetic coding",
		"c_odd2.jpg":     "chroma sampling 2x1, 1x1, 2x1",
		"c_progscan.jpg": "progressive with restart markers",
		"c_s3.jpg":       "chroma sampling 3x1, 1x1, 1x1",
	} {
		path := filepath.Join("testdata", file)
		_, err := Open(path)
		want := "picture: " + path + ": this kind of JPEG is not read (" + kind + "): convert it, to PNG for example"
		if err == nil || err.Error() != want {
			t.Errorf("error %v, want %s", err, want)
		}
	}
}

func TestOpenFormats(t *testing.T) {
	for file, kind := range map[string]string{"a.bmp": "*image.Paletted", "b.webp": "*image.YCbCr", "c.gif": "*image.Paletted", "d.tif": "*image.Gray"} {
		path := filepath.Join("testdata", file)
		img, err := Load(path, 1)
		if err != nil || img.H != 8 || img.W != 8 {
			t.Errorf("%s, which holds %s: %d x %d pixels, error %v", file, kind, img.W, img.H, err)
		}
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		plain := filepath.Join(t.TempDir(), "noending")
		write(t, plain, data)
		if ok, err := HasContent(plain); !ok || err != nil || HasName(plain) || !HasName(path) {
			t.Errorf("%s is no picture by content, or by name (error %v)", file, err)
		}
	}
	if ok, err := HasContent("kinds_test.go"); ok || err != nil {
		t.Errorf("this file is a picture: %t, error %v", ok, err)
	}
	if _, err := HasContent("none"); !os.IsNotExist(err) {
		t.Errorf("no file: error %v, want %v", err, fs.ErrNotExist)
	}
}

// A black square on a transparent ground can be told from it, when it is
// resized too.
func TestAlphaLiesOnWhite(t *testing.T) {
	m := image.NewNRGBA(image.Rect(0, 0, 28, 28))
	for i := range 12 * 12 {
		m.SetNRGBA(8+i%12, 8+i/12, color.NRGBA{0, 0, 0, 255})
	}
	for _, img := range []Image{FromGoImage(m, 1), FromGoImage(m, 3), Fit(m, 28, 28, 1), Fit(m, 14, 14, 1), Fit(m, 7, 7, 3)} {
		sum := 0.0
		for _, v := range img.Pix {
			sum += float64(v)
		}
		if mean := sum / float64(len(img.Pix)); mean < 0.81 || mean > 0.82 {
			t.Errorf("%d x %d x %d: mean %g, want 0.816", img.H, img.W, img.C, mean)
		}
	}
}

// What is written has the channels, the bits and the alpha of what was read.
func TestRowsKeepKind(t *testing.T) {
	bounds := image.Rect(0, 0, 5, 4)
	for _, c := range []struct {
		blank interface {
			image.Image
			Set(x, y int, c color.Color)
		}
		channels int
		read     color.Model
	}{
		{image.NewGray(bounds), 1, color.GrayModel},
		{image.NewGray16(bounds), 1, color.Gray16Model},
		{image.NewGray16(bounds), 3, color.RGBA64Model},
		{image.NewRGBA(bounds), 3, color.RGBAModel},
		{image.NewRGBA64(bounds), 3, color.RGBA64Model},
		{image.NewNRGBA(bounds), 3, color.NRGBAModel},
		{image.NewNRGBA64(bounds), 3, color.NRGBA64Model},
		{image.NewNRGBA64(bounds), 1, color.NRGBA64Model},
	} {
		for i := range 20 {
			v := uint16(3000*i + i)
			colour := color.NRGBA64{v, v / 2, 0xffff - v, 0xffff}
			if c.channels == 1 {
				colour.G, colour.B = v, v
			}
			if isOpaqueModel := c.read != color.NRGBAModel && c.read != color.NRGBA64Model; !isOpaqueModel {
				colour.A = 0xffff - 2*v
			}
			c.blank.Set(i%5, i/5, colour)
		}
		r := NewRows(c.blank, c.channels)
		path := filepath.Join(t.TempDir(), "x.png")
		f, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		y, row := 0, make([]float32, r.W*r.C)
		err = r.EncodePNG(f, func() ([]float32, error) {
			r.Read(row, y)
			y++
			return row, nil
		})
		if err != nil || f.Close() != nil {
			t.Fatal(err)
		}
		got, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		if got.ColorModel() != c.read || y != 4 {
			t.Errorf("%T of %d channels was written as %T, in %d rows", c.blank, c.channels, got, y)
		}
		for i := range 20 {
			a, b := straight(c.blank.At(i%5, i/5)), straight(got.At(i%5, i/5))
			if a != b {
				t.Errorf("%T of %d channels: pixel %d is %v, want %v", c.blank, c.channels, i, b, a)
			}
		}
	}
}

// An error of the rows ends the encoding, which returns it.
func TestRowsEncodeError(t *testing.T) {
	r := NewRows(image.NewGray(image.Rect(0, 0, 3, 1000)), 1)
	calls := 0
	err := r.EncodePNG(&strings.Builder{}, func() ([]float32, error) {
		if calls++; calls == 2 {
			return nil, fs.ErrClosed
		}
		return make([]float32, 3), nil
	})
	if err != fs.ErrClosed || calls != 2 {
		t.Errorf("error %v after %d calls, want %v after 2", err, calls, fs.ErrClosed)
	}
}
