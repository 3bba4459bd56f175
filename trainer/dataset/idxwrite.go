package dataset

import (
	"encoding/binary"
	"fmt"
	"io"
)

// WriteIDXImages writes the images of s to w as an IDX file, without its
// labels. It is an error if s has no images, colour, or a part of an image.
func WriteIDXImages(w io.Writer, s *Set) error {
	if s.C != 1 {
		return fmt.Errorf("dataset %s: images have %d channels, an IDX file of images has 1", s.Name, s.C)
	}
	n := s.Len()
	if n == 0 || n*s.Size() != len(s.Pixels) {
		return fmt.Errorf("dataset %s: %d pixels are not one or more images of %d×%d", s.Name, len(s.Pixels), s.H, s.W)
	}
	return writeIDX(w, idxImagesMagic, s.Pixels, n, s.H, s.W)
}

// WriteIDXLabels writes labels to w as an IDX file. It is an error if there
// are none.
func WriteIDXLabels(w io.Writer, labels []uint8) error {
	if len(labels) == 0 {
		return fmt.Errorf("no labels to write, an IDX file has at least 1")
	}
	return writeIDX(w, idxLabelsMagic, labels, len(labels))
}

func writeIDX(w io.Writer, magic uint32, data []uint8, dims ...int) error {
	if len(data) > maxIDXBytes {
		return fmt.Errorf("%d bytes are too many for an IDX file, the limit is %d", len(data), maxIDXBytes)
	}
	header := binary.BigEndian.AppendUint32(nil, magic)
	for _, d := range dims {
		header = binary.BigEndian.AppendUint32(header, uint32(d))
	}
	if _, err := w.Write(header); err != nil {
		return err
	}
	_, err := w.Write(data)
	return err
}
