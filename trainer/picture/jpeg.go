package picture

import (
	"bufio"
	"fmt"
	"io"
	"strings"
)

// rareJPEG returns what makes a JPEG file one of a kind that image/jpeg cannot
// read, "" if it looks like any other.
func rareJPEG(r io.ReadSeeker) string {
	if _, err := r.Seek(0, io.SeekStart); err != nil {
		return ""
	}
	b := bufio.NewReader(r)
	if _, err := b.Discard(2); err != nil { // the start of the image
		return ""
	}
	restarts := false
	for {
		marker, body, err := jpegSegment(b)
		if err != nil {
			return ""
		}
		switch {
		case marker == 0xdd: // the interval between restart markers
			restarts = len(body) == 2 && (body[0] != 0 || body[1] != 0)
		case marker == 0xda: // the data begin
			return ""
		case marker >= 0xc0 && marker <= 0xcf && marker != 0xc4 && marker != 0xc8 && marker != 0xcc:
			return rareFrame(marker, body, restarts, b)
		}
	}
}

// jpegSegment reads the next segment of a JPEG file.
func jpegSegment(b *bufio.Reader) (marker byte, body []byte, err error) {
	for marker = 0xff; marker == 0xff; { // a marker may be filled up with 0xff
		if marker, err = b.ReadByte(); err != nil {
			return 0, nil, err
		}
	}
	var size [2]byte
	if _, err := io.ReadFull(b, size[:]); err != nil {
		return 0, nil, err
	}
	n := int(size[0])<<8 + int(size[1]) - 2
	if n < 0 {
		return 0, nil, io.ErrUnexpectedEOF
	}
	body = make([]byte, n)
	_, err = io.ReadFull(b, body)
	return marker, body, err
}

// rareFrame looks at the frame header: bits a sample, rows, columns, and of
// each component its number, sampling factors and table.
func rareFrame(marker byte, body []byte, restarts bool, rest *bufio.Reader) string {
	switch {
	case marker >= 0xc9:
		return "arithmetic coding"
	case marker == 0xc3:
		return "lossless coding"
	case marker >= 0xc5:
		return "hierarchical coding"
	case len(body) < 6:
		return ""
	case body[0] != 8:
		return fmt.Sprintf("%d bits a sample", body[0])
	}
	var factors []string
	odd := false
	for c := body[6:]; len(c) >= 3; c = c[3:] {
		h, v := c[1]>>4, c[1]&15
		factors = append(factors, fmt.Sprintf("%dx%d", h, v))
		odd = odd || len(factors) > 1 && c[1] != 0x11
	}
	if first := strings.Join(factors[:min(len(factors), 1)], ""); len(factors) == 3 && (odd || first != "1x1" && first != "2x1" && first != "2x2" && first != "1x2") {
		return "chroma sampling " + strings.Join(factors, ", ")
	}
	if marker == 0xc2 && (restarts || restartsFollow(rest)) {
		return "progressive with restart markers"
	}
	return ""
}

// restartsFollow reports whether the segments before the data set an interval
// between restart markers.
func restartsFollow(b *bufio.Reader) bool {
	for {
		marker, body, err := jpegSegment(b)
		if err != nil || marker == 0xda {
			return false
		}
		if marker == 0xdd && len(body) == 2 && (body[0] != 0 || body[1] != 0) {
			return true
		}
	}
}
