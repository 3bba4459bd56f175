package picture

import (
	"bufio"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bep/imagemeta"
	"golang.org/x/image/bmp"
	"golang.org/x/image/tiff"
	"golang.org/x/image/webp"

	"github.com/convae/convae/nn/regularfile"
)

// maxPixels and maxDecoded bound the memory that a small file can make Load
// allocate.
const (
	maxPixels  = 1 << 28
	maxDecoded = 1 << 30 // bytes of the decoded pixels
)

// Formats names the formats that are read.
const Formats = "PNG, JPEG, GIF, BMP, TIFF or WebP"

// format is a file format and how to read it.
type format struct {
	name         string
	magic        []string // how its files start; ? stands for any byte
	endings      []string // of the names of its files
	exif         imagemeta.ImageFormat
	decodeConfig func(io.Reader) (image.Config, error)
	decode       func(io.Reader) (image.Image, error)
}

// magicSize is the number of bytes that tell a format.
const magicSize = 12

// The formats are listed here, rather than registered with the image package,
// so that no other import widens what Load accepts.
var formats = []format{
	{"PNG", []string{"\x89PNG\r\n\x1a\n"}, []string{".png"}, imagemeta.PNG, png.DecodeConfig, png.Decode},
	{"JPEG", []string{"\xff\xd8\xff"}, []string{".jpg", ".jpeg"}, imagemeta.JPEG, jpeg.DecodeConfig, jpeg.Decode},
	{"GIF", []string{"GIF87a", "GIF89a"}, []string{".gif"}, 0, gif.DecodeConfig, gif.Decode},
	{"BMP", []string{"BM????\x00\x00\x00\x00"}, []string{".bmp"}, 0, bmp.DecodeConfig, bmp.Decode},
	{"TIFF", []string{"II*\x00", "MM\x00*"}, []string{".tif", ".tiff"}, imagemeta.TIFF, tiff.DecodeConfig, tiff.Decode},
	{"WebP", []string{"RIFF????WEBP"}, []string{".webp"}, imagemeta.WebP, webp.DecodeConfig, webp.Decode},
}

// Load reads the picture at path as [FromGoImage] does, with the errors of
// [Open].
func Load(path string, channels int) (Image, error) {
	m, err := Open(path)
	if err != nil {
		return Image{}, err
	}
	return FromGoImage(m, channels), nil
}

// Open reads the PNG, JPEG, GIF, BMP, TIFF or WebP file at path, told apart by
// content, and turns it upright as its EXIF orientation says; of several images
// in a file it reads the first. It is an error, which names the file, if it is
// no regular file or has none of these formats, is corrupt or truncated, is of
// a kind that is not read, or has more than 1<<28 pixels or 1 GiB when decoded.
func Open(path string) (image.Image, error) {
	f, err := regularfile.Open(path)
	if err != nil {
		return nil, fmt.Errorf("picture: %w", err)
	}
	defer f.Close()
	m, err := Decode(f)
	if err != nil {
		return nil, fmt.Errorf("picture: %s: %w", path, err)
	}
	return m, nil
}

// HasName reports whether the file at path is called as pictures are.
func HasName(path string) bool {
	ending := strings.ToLower(filepath.Ext(path))
	return slices.ContainsFunc(formats, func(f format) bool { return slices.Contains(f.endings, ending) })
}

// HasContent reports whether the regular file at path starts as pictures do.
func HasContent(path string) (bool, error) {
	f, err := regularfile.Open(path)
	if err != nil {
		return false, err
	}
	defer f.Close()
	_, known, err := sniff(f)
	return known != nil, err
}

// Decode reads an image as [Open] does, from what a file has in it. Errors name
// no file.
func Decode(r io.ReadSeeker) (image.Image, error) {
	head, format, err := sniff(r)
	if err != nil {
		return nil, err
	}
	if format == nil {
		return nil, fmt.Errorf("want a %s file, found one starting with %q", Formats, head[:min(len(head), 8)])
	}
	if _, err := r.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	config, err := format.decodeConfig(bufio.NewReader(r))
	if err != nil {
		return nil, format.explain(r, err)
	}
	if err := format.checkSize(config); err != nil {
		return nil, err
	}
	if _, err := r.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	m, err := format.decode(bufio.NewReader(r))
	if err != nil {
		return nil, format.explain(r, err)
	}
	if m.Bounds().Empty() {
		return nil, fmt.Errorf("%s without pixels", format.name)
	}
	return turn(m, format.orientation(r)), nil
}

// checkSize reports a picture that would take too much memory.
func (f *format) checkSize(c image.Config) error {
	w, h := c.Width, c.Height
	if w < 1 || h < 1 {
		return fmt.Errorf("%s of %dx%d pixels", f.name, w, h)
	}
	if w > maxPixels/h {
		return fmt.Errorf("%s of %dx%d pixels, more than the limit of %d", f.name, w, h, maxPixels)
	}
	if n := w * h * pixelBytes(c.ColorModel); n > maxDecoded {
		return fmt.Errorf("%s of %dx%d pixels, which take %.1f GB when decoded, more than the limit of %.1f GB: cut it into parts", f.name, w, h, float64(n)/1e9, maxDecoded/1e9)
	}
	return nil
}

// pixelBytes returns the bytes that a decoded pixel takes.
func pixelBytes(m color.Model) int {
	if _, ok := m.(color.Palette); ok {
		return 1
	}
	switch m {
	case color.GrayModel:
		return 1
	case color.Gray16Model:
		return 2
	case color.YCbCrModel:
		return 3
	case color.RGBA64Model, color.NRGBA64Model:
		return 8
	}
	return 4
}

// explain says what the error of a decoder means.
func (f *format) explain(r io.ReadSeeker, err error) error {
	var (
		unsupportedPNG  png.UnsupportedError
		unsupportedJPEG jpeg.UnsupportedError
		unsupportedTIFF tiff.UnsupportedError
	)
	kind := ""
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF):
	case f.name == "JPEG":
		kind = rareJPEG(r)
		if kind == "" && errors.As(err, &unsupportedJPEG) {
			kind = string(unsupportedJPEG)
		}
	case errors.As(err, &unsupportedPNG):
		kind = string(unsupportedPNG)
	case errors.As(err, &unsupportedTIFF):
		kind = string(unsupportedTIFF)
	case errors.Is(err, bmp.ErrUnsupported):
		kind = "its header or depth"
	}
	if kind != "" {
		return fmt.Errorf("this kind of %s is not read (%s): convert it, to PNG for example", f.name, kind)
	}
	return fmt.Errorf("corrupt or truncated %s: %w", f.name, err)
}

// sniff returns the bytes that r starts with and the format that they tell, nil
// if they tell none.
func sniff(r io.Reader) (head []byte, f *format, err error) {
	head = make([]byte, magicSize)
	n, err := io.ReadFull(r, head)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, nil, err
	}
	head = head[:n]
	for i := range formats {
		if slices.ContainsFunc(formats[i].magic, func(magic string) bool { return startsAs(head, magic) }) {
			return head, &formats[i], nil
		}
	}
	return head, nil, nil
}

// startsAs reports whether head starts with magic, where ? is any byte.
func startsAs(head []byte, magic string) bool {
	if len(head) < len(magic) {
		return false
	}
	for i := range len(magic) {
		if magic[i] != '?' && magic[i] != head[i] {
			return false
		}
	}
	return true
}
