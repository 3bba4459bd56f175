package safetensors

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"unicode/utf8"
)

// Write writes f to w. Equal files give equal bytes: the metadata is sorted by
// key, and the tensors stay in their order. The data begins at a multiple of
// eight bytes; to keep every tensor aligned to its elements, as some readers
// need, put the widest dtypes first.
//
// What [Read] would reject is an error, found before anything is written.
// Errors of w are returned as they are.
func (f *File) Write(w io.Writer) error {
	header, err := f.header()
	if err != nil {
		return fmt.Errorf("safetensors: %w", err)
	}
	if _, err := w.Write(header); err != nil {
		return err
	}
	for _, t := range f.Tensors {
		if _, err := w.Write(t.Data); err != nil {
			return err
		}
	}
	return nil
}

// header returns all that comes before the data: the header and its size.
func (f *File) header() ([]byte, error) {
	var buf bytes.Buffer
	buf.Write(make([]byte, 8)) // the size, known at the end
	sep := byte('{')
	field := func(key string, value any) error {
		k, err := json.Marshal(key)
		if err != nil {
			return err
		}
		v, err := json.Marshal(value)
		if err != nil {
			return err
		}
		buf.WriteByte(sep)
		buf.Write(k)
		buf.WriteByte(':')
		buf.Write(v)
		sep = ','
		return nil
	}
	if len(f.Metadata) > 0 {
		for k, v := range f.Metadata {
			if !utf8.ValidString(k) || !utf8.ValidString(v) {
				return nil, fmt.Errorf("%s: key %q or its value is not valid UTF-8", metadataKey, k)
			}
		}
		if err := field(metadataKey, f.Metadata); err != nil {
			return nil, err
		}
	}
	seen := make(map[string]bool)
	offset := 0
	for _, t := range f.Tensors {
		switch {
		case t.Name == metadataKey:
			return nil, fmt.Errorf("tensor %q: the name is reserved", t.Name)
		case !utf8.ValidString(t.Name):
			return nil, fmt.Errorf("tensor %q: the name is not valid UTF-8", t.Name)
		case seen[t.Name]:
			return nil, fmt.Errorf("tensor %q: the name is used twice", t.Name)
		}
		seen[t.Name] = true
		if err := t.check(); err != nil {
			return nil, err
		}
		// The same array may be the data of many tensors.
		if len(t.Data) > math.MaxInt-maxHeader-8-offset {
			return nil, fmt.Errorf("tensor %q: the size of the file overflows", t.Name)
		}
		err := field(t.Name, struct {
			DType   DType  `json:"dtype"`
			Shape   []int  `json:"shape"`
			Offsets [2]int `json:"data_offsets"`
		}{
			t.DType,
			append([]int{}, t.Shape...), // a nil slice would be null
			[2]int{offset, offset + len(t.Data)},
		})
		if err != nil {
			return nil, err
		}
		offset += len(t.Data)
	}
	if sep == '{' {
		buf.WriteByte('{')
	}
	buf.WriteByte('}')
	for buf.Len()%8 != 0 {
		buf.WriteByte(' ')
	}
	size := buf.Len() - 8
	if size > maxHeader {
		return nil, fmt.Errorf("header size %d exceeds the limit (%d bytes)", size, maxHeader)
	}
	header := buf.Bytes()
	binary.LittleEndian.PutUint64(header, uint64(size))
	return header, nil
}
