package picture

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func write(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o666); err != nil {
		t.Fatal(err)
	}
}

func encodePNG(t *testing.T, m image.Image) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := png.Encode(&b, m); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func encodeJPEG(t *testing.T, m image.Image) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := jpeg.Encode(&b, m, &jpeg.Options{Quality: 95}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestLoadJPEG(t *testing.T) {
	m := image.NewRGBA(image.Rect(0, 0, 20, 12))
	for i := range 20 * 12 {
		m.Set(i%20, i/20, color.RGBA{204, 102, 51, 255})
	}
	// The content, not the name, tells the format.
	path := filepath.Join(t.TempDir(), "named.png")
	write(t, path, encodeJPEG(t, m))
	img, err := Load(path, 3)
	if err != nil {
		t.Fatal(err)
	}
	if img.H != 12 || img.W != 20 || img.C != 3 {
		t.Fatalf("got %dx%dx%d", img.H, img.W, img.C)
	}
	for i, v := range img.Pix {
		if want := []float64{0.8, 0.4, 0.2}[i%3]; math.Abs(float64(v)-want) > 0.02 {
			t.Fatalf("value %d = %v, want about %v", i, v, want)
		}
	}
}

// pngHeader returns the start of a PNG of w by h pixels, 16-bit RGBA.
func pngHeader(w, h uint32) []byte {
	chunk := append([]byte("IHDR"), make([]byte, 13)...)
	binary.BigEndian.PutUint32(chunk[4:], w)
	binary.BigEndian.PutUint32(chunk[8:], h)
	chunk[12], chunk[13] = 16, 6
	b := append([]byte("\x89PNG\r\n\x1a\n\x00\x00\x00\x0d"), chunk...)
	return binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(chunk))
}

func TestLoadErrors(t *testing.T) {
	rgb := ToGoImage(levels(3))
	goodPNG, goodJPEG := encodePNG(t, rgb), encodeJPEG(t, rgb)
	garbled := bytes.Clone(goodPNG)
	garbled[len(garbled)/2] ^= 0xff

	for _, test := range []struct {
		name string
		data []byte
		want string
	}{
		{"empty", nil, `want a PNG, JPEG, GIF, BMP, TIFF or WebP file, found one starting with ""`},
		{"text", []byte("hello, world"), `want a PNG, JPEG, GIF, BMP, TIFF or WebP file, found one starting with "hello, w"`},
		{"short.gif", []byte("GIF89a..."), "corrupt or truncated GIF"},
		{"short.webp", []byte("RIFF\x04\x00\x00\x00WEBP"), "corrupt or truncated WebP"},
		{"magic.png", goodPNG[:8], "corrupt or truncated PNG: unexpected EOF"},
		{"half.png", goodPNG[:len(goodPNG)/2], "corrupt or truncated PNG"},
		{"notail.png", goodPNG[:len(goodPNG)-6], "corrupt or truncated PNG: unexpected EOF"},
		{"garbled.png", garbled, "corrupt or truncated PNG"},
		{"magic.jpg", goodJPEG[:3], "corrupt or truncated JPEG"},
		{"half.jpg", goodJPEG[:len(goodJPEG)/2], "corrupt or truncated JPEG: unexpected EOF"},
		{"garbage.jpg", []byte("\xff\xd8\xff\x00garbage and more garbage"), "corrupt or truncated JPEG"},
		{"bomb.png", pngHeader(1<<20, 1<<20), "PNG of 1048576x1048576 pixels, more than the limit of 268435456"},
		{"wide.png", pngHeader(1<<28+1, 1), "PNG of 268435457x1 pixels, more than the limit of 268435456"},
		{"flat.png", pngHeader(5, 0), "PNG"},
		{"deep.png", pngHeader(1<<14, 1<<14), "PNG of 16384x16384 pixels, which take 2.1 GB when decoded, more than the limit of 1.1 GB"},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), test.name)
			write(t, path, test.data)
			_, err := Load(path, 1)
			if err == nil {
				t.Fatal("no error")
			}
			if got := err.Error(); !strings.Contains(got, path) || !strings.Contains(got, test.want) || strings.Contains(got, "\n") {
				t.Errorf("error %q, want one line with the path and %q", got, test.want)
			}
		})
	}
}

func TestLoadNoFile(t *testing.T) {
	dir := t.TempDir()
	missing := filepath.Join(dir, "missing.png")
	if _, err := Load(missing, 1); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), missing) {
		t.Errorf("missing file: %v", err)
	}
	if _, err := Load(dir, 1); err == nil || !strings.Contains(err.Error(), dir) {
		t.Errorf("directory: %v", err)
	}
}

func FuzzDecode(f *testing.F) {
	var p, j bytes.Buffer
	small := ToGoImage(Image{H: 2, W: 2, C: 1, Pix: []float32{0, 0.3, 0.6, 1}})
	if err := errors.Join(png.Encode(&p, small), jpeg.Encode(&j, small, nil)); err != nil {
		f.Fatal(err)
	}
	f.Add(p.Bytes())
	f.Add(j.Bytes())
	f.Fuzz(func(t *testing.T, data []byte) {
		if config, _, err := image.DecodeConfig(bytes.NewReader(data)); err == nil && config.Width*config.Height > 1<<20 {
			t.Skip("a header that claims more than a million pixels: decoding it would stall the fuzzing")
		}
		m, err := Decode(bytes.NewReader(data))
		if err != nil {
			return
		}
		FromGoImage(m, 3).check()
	})
}
