package picture

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"image"
	"image/color"
	"path/filepath"
	"slices"
	"testing"
)

// exif is metadata with that orientation and nothing else.
func exif(orientation uint16) []byte {
	b := []byte("MM\x00*\x00\x00\x00\x08\x00\x01\x01\x12\x00\x03\x00\x00\x00\x01")
	b = binary.BigEndian.AppendUint16(b, orientation)
	return append(b, make([]byte, 6)...)
}

// withExif adds metadata to a PNG, before its data, or to a JPEG.
func withExif(file []byte, orientation uint16) []byte {
	body := exif(orientation)
	at, chunk := 2, append([]byte("\xff\xe1"), 0, byte(len(body)+8))
	if bytes.HasPrefix(file, []byte("\x89PNG")) {
		at = 8 + 25
		chunk = append(binary.BigEndian.AppendUint32(nil, uint32(len(body))), "eXIf"...)
		chunk = append(chunk, body...)
		chunk = binary.BigEndian.AppendUint32(chunk, crc32.ChecksumIEEE(chunk[4:]))
	} else {
		chunk = append(append(chunk, "Exif\x00\x00"...), body...)
	}
	return slices.Concat(file[:at], chunk, file[at:])
}

// The letters of a stored picture of three columns and two rows, abc and def,
// as viewers show them with each orientation of the EXIF standard.
var shown = map[uint16][]string{
	1: {"abc", "def"},
	2: {"cba", "fed"},
	3: {"fed", "cba"},
	4: {"def", "abc"},
	5: {"ad", "be", "cf"},
	6: {"da", "eb", "fc"},
	7: {"fc", "eb", "da"},
	8: {"cf", "be", "ad"},
	9: {"abc", "def"}, // there is no such orientation
}

// Pictures of every type are turned, and keep their type.
func TestOpenTurnsUpright(t *testing.T) {
	bounds := image.Rect(0, 0, 3, 2)
	letters := color.Palette{}
	for l := range 6 {
		letters = append(letters, color.Gray{uint8(40 * (l + 1))})
	}
	for _, blank := range []interface {
		image.Image
		Set(x, y int, c color.Color)
	}{image.NewGray(bounds), image.NewGray16(bounds), image.NewRGBA(bounds), image.NewNRGBA64(bounds), image.NewPaletted(bounds, letters)} {
		for i := range 6 {
			blank.Set(i%3, i/3, letters[i])
		}
		want := blank.ColorModel()
		if want == color.NRGBA64Model {
			want = color.RGBA64Model // as image/png reads what is opaque
		}
		for o, rows := range shown {
			path := filepath.Join(t.TempDir(), "x.png")
			write(t, path, withExif(encodePNG(t, blank), o))
			m, err := Open(path)
			if err != nil {
				t.Fatal(err)
			}
			if _, paletted := m.(*image.Paletted); !paletted && m.ColorModel() != want {
				t.Errorf("%T with orientation %d became %T", blank, o, m)
			}
			var got []string
			for y := range m.Bounds().Dy() {
				row := ""
				for x := range m.Bounds().Dx() {
					row += string('a' + rune(color.GrayModel.Convert(m.At(x, y)).(color.Gray).Y/40-1))
				}
				got = append(got, row)
			}
			if !slices.Equal(got, rows) {
				t.Errorf("%T with orientation %d is %v, want %v", blank, o, got, rows)
			}
		}
	}
}

func TestOpenTurnsJPEG(t *testing.T) {
	m := image.NewRGBA(image.Rect(0, 0, 32, 16))
	for y := range 16 {
		for x := range 32 {
			m.Set(x, y, color.Gray{uint8(x / 16 * 255)})
		}
	}
	path := filepath.Join(t.TempDir(), "x.jpg")
	write(t, path, withExif(encodeJPEG(t, m), 6))
	img, err := Load(path, 1)
	if err != nil {
		t.Fatal(err)
	}
	if img.H != 32 || img.W != 16 || img.Pix[0] > 0.05 || img.Pix[16*32-1] < 0.95 {
		t.Errorf("%d x %d pixels from %g to %g, want 16 x 32 from black at the top to white", img.W, img.H, img.Pix[0], img.Pix[16*32-1])
	}
	damaged := withExif(encodeJPEG(t, m), 6)
	copy(damaged[12:], "XX") // where the byte order stands
	write(t, path, damaged)
	if img, err = Load(path, 1); err != nil || img.W != 32 {
		t.Errorf("damaged metadata: width %d, error %v, want the picture as it is stored", img.W, err)
	}
}
