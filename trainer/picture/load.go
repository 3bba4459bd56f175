package picture

import (
	"bufio"
	"errors"
	"fmt"
	"image"
	"image/jpeg"
	"image/png"
	"io"
	"os"
	"strings"
)

// maxPixels bounds the memory that a small file can make Load allocate.
const maxPixels = 1 << 28

// format is a file format and how to read it.
type format struct {
	name         string
	magic        string
	decodeConfig func(io.Reader) (image.Config, error)
	decode       func(io.Reader) (image.Image, error)
}

// The formats are listed here, rather than registered with the image package,
// so that no other import widens what Load accepts.
var formats = []format{
	{"PNG", "\x89PNG\r\n\x1a\n", png.DecodeConfig, png.Decode},
	{"JPEG", "\xff\xd8\xff", jpeg.DecodeConfig, jpeg.Decode},
}

// Load reads the PNG or JPEG file at path, told apart by content, as
// [FromGoImage] does. It is an error, which names the file, if the file is
// neither, is corrupt or truncated, or has more than 1<<28 pixels.
func Load(path string, channels int) (Image, error) {
	m, err := Open(path)
	if err != nil {
		return Image{}, err
	}
	return FromGoImage(m, channels), nil
}

// Open is [Load] without the conversion.
func Open(path string) (image.Image, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("picture: %w", err)
	}
	defer f.Close()
	m, err := decode(f)
	if err != nil {
		return nil, fmt.Errorf("picture: %s: %w", path, err)
	}
	return m, nil
}

// decode reads an image, whose size it checks before it makes room for it.
func decode(r io.ReadSeeker) (image.Image, error) {
	format, err := sniff(r)
	if err != nil {
		return nil, err
	}
	if _, err := r.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	config, err := format.decodeConfig(bufio.NewReader(r))
	if err != nil {
		return nil, fmt.Errorf("corrupt or truncated %s: %w", format.name, err)
	}
	w, h := config.Width, config.Height
	if w < 1 || h < 1 {
		return nil, fmt.Errorf("%s of %dx%d pixels", format.name, w, h)
	}
	if w > maxPixels/h {
		return nil, fmt.Errorf("%s of %dx%d pixels, more than the limit of %d", format.name, w, h, maxPixels)
	}
	if _, err := r.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	m, err := format.decode(bufio.NewReader(r))
	if err != nil {
		return nil, fmt.Errorf("corrupt or truncated %s: %w", format.name, err)
	}
	return m, nil
}

// sniff returns the format that r starts as.
func sniff(r io.Reader) (*format, error) {
	head := make([]byte, 8)
	n, err := io.ReadFull(r, head)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, err
	}
	for i := range formats {
		if strings.HasPrefix(string(head[:n]), formats[i].magic) {
			return &formats[i], nil
		}
	}
	return nil, fmt.Errorf("want a PNG or JPEG file, found one starting with %q", head[:n])
}
