package dataset

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"github.com/convae/convae/nn/regularfile"
)

// The IDX format, from the home page of MNIST: a magic number, which names
// the type of the elements (08: unsigned byte) and the number of dimensions;
// the dimensions; the elements. All numbers are big-endian and of 4 bytes.
const (
	idxImagesMagic = 0x00000803 // [N, H, W]uint8
	idxLabelsMagic = 0x00000801 // [N]uint8

	// maxIDXBytes is the most data that is accepted in a file.
	maxIDXBytes = 1 << 30
)

// ReadIDXImages reads the greyscale images in the IDX file at path, plain or
// gzipped. The set is named after the file and has no labels. The errors name
// the file.
func ReadIDXImages(path string) (*Set, error) {
	s, err := readFile(path, DecodeIDXImages)
	if err != nil {
		return nil, err
	}
	s.Name = filepath.Base(path)
	return s, nil
}

// ReadIDXLabels reads the labels in the IDX file at path, plain or gzipped.
// The errors name the file.
func ReadIDXLabels(path string) ([]uint8, error) {
	return readFile(path, DecodeIDXLabels)
}

// DecodeIDXImages reads the greyscale images in the IDX file r, plain or
// gzipped, to its end. The set has no name and no labels. A file that is
// anything but whole and exact is an error.
func DecodeIDXImages(r io.Reader) (*Set, error) {
	data, dims, err := decodeIDX(r, idxImagesMagic)
	if err != nil {
		return nil, err
	}
	return &Set{H: dims[1], W: dims[2], C: 1, Pixels: data}, nil
}

// DecodeIDXLabels reads the labels in the IDX file r, plain or gzipped, to
// its end. A file that is anything but whole and exact is an error.
func DecodeIDXLabels(r io.Reader) ([]uint8, error) {
	data, _, err := decodeIDX(r, idxLabelsMagic)
	return data, err
}

// readFile applies decode to the file at path, and names it in the errors.
func readFile[T any](path string, decode func(io.Reader) (T, error)) (T, error) {
	var none T
	f, err := regularfile.Open(path)
	if err != nil {
		return none, err
	}
	defer f.Close()
	v, err := decode(f)
	if err != nil {
		return none, fmt.Errorf("%s: %w", path, err)
	}
	return v, nil
}

// decodeIDX reads the IDX file r, which must start with magic, to its end.
func decodeIDX(r io.Reader, magic uint32) (data []byte, dims []int, err error) {
	r, err = unpack(r)
	if err != nil {
		return nil, nil, err
	}
	dims, err = decodeHeader(r, magic)
	if err != nil {
		return nil, nil, err
	}
	header, size := 4+4*len(dims), 1
	for _, d := range dims {
		size *= d // does not overflow: decodeHeader has seen to that
	}

	// The header may lie about the size, so memory is taken only as the data
	// come in.
	data, err = io.ReadAll(io.LimitReader(r, int64(size)))
	if err != nil {
		return nil, nil, fmt.Errorf("after %d of %d bytes: %w", header+len(data), header+size, err)
	}
	if len(data) < size {
		return nil, nil, fmt.Errorf("cut off: dimensions %v want %d bytes, found %d", dims, header+size, header+len(data))
	}
	// The rest must be empty. Looking for it also makes gzip check its sum.
	extra, err := io.CopyN(io.Discard, r, 1<<20)
	if err != io.EOF && err != nil {
		return nil, nil, fmt.Errorf("after %d bytes: %w", header+size, err)
	}
	if extra > 0 {
		return nil, nil, fmt.Errorf("too long: dimensions %v want %d bytes, found at least %d", dims, header+size, int64(header+size)+extra)
	}
	return data, dims, nil
}

// decodeHeader reads the magic number, which must be the given one, and the
// dimensions, whose product is checked to be from 1 to maxIDXBytes.
func decodeHeader(r io.Reader, magic uint32) (dims []int, err error) {
	header := make([]byte, 4+4*(magic&0xff))
	n, err := io.ReadFull(r, header)
	if n >= 4 {
		if found := binary.BigEndian.Uint32(header); found != magic {
			return nil, fmt.Errorf("magic number is 0x%08x%s, want 0x%08x%s", found, magicName(found), magic, magicName(magic))
		}
	}
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return nil, fmt.Errorf("cut off in the header: want %d bytes, found %d", len(header), n)
	}
	if err != nil {
		return nil, fmt.Errorf("header: %w", err)
	}
	size := uint64(1)
	for i := 4; i < len(header); i += 4 {
		d := binary.BigEndian.Uint32(header[i:])
		if d == 0 {
			return nil, fmt.Errorf("dimension %d is 0, want at least 1", i/4)
		}
		size *= uint64(d) // of numbers up to 2³⁰ and 2³²
		if size > maxIDXBytes {
			return nil, fmt.Errorf("dimension %d is %d, which makes more than the %d bytes that are accepted", i/4, d, maxIDXBytes)
		}
		dims = append(dims, int(d))
	}
	return dims, nil
}

func magicName(magic uint32) string {
	switch magic {
	case idxImagesMagic:
		return " (images)"
	case idxLabelsMagic:
		return " (labels)"
	}
	return ""
}

// unpack returns the content of r: unpacked if r starts like a gzip file,
// else as it is.
func unpack(r io.Reader) (io.Reader, error) {
	b := bufio.NewReader(r)
	start, err := b.Peek(2)
	if err != nil && err != io.EOF {
		return nil, err
	}
	if !bytes.Equal(start, []byte{0x1f, 0x8b}) {
		return b, nil
	}
	z, err := gzip.NewReader(b)
	if err != nil {
		return nil, unpackError(err)
	}
	return unpacker{z}, nil
}

// An unpacker says what the errors of gzip mean.
type unpacker struct{ z *gzip.Reader }

func (u unpacker) Read(p []byte) (int, error) {
	n, err := u.z.Read(p)
	if err != nil && err != io.EOF {
		err = unpackError(err)
	}
	return n, err
}

func unpackError(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("gzip: the compressed data are cut off")
	}
	if errors.Is(err, gzip.ErrChecksum) || errors.Is(err, gzip.ErrHeader) {
		return fmt.Errorf("%w: the compressed data are damaged", err)
	}
	return fmt.Errorf("gzip: %w", err)
}
