package safetensors

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"unicode/utf8"

	"github.com/convae/convae/nn/regularfile"
)

// Read reads a safetensors file of size bytes from r, and nothing after it.
//
// The tensors must cover the data exactly, without overlaps or holes. Any
// other flaw is an error too: a header that does not fit the file or is not
// valid UTF-8 JSON, duplicate or unknown keys, an unknown dtype, a shape that
// does not match the offsets, a file that is too short or too long, or that
// has another checksum than [File.AddChecksum] gave it.
//
// The Data of the tensors are parts of one array.
func Read(r io.Reader, size int64) (*File, error) {
	f, err := read(r, size)
	if err != nil {
		return nil, fmt.Errorf("safetensors: %w", err)
	}
	return f, nil
}

// ReadFile is [Read] for the file at path. Its errors name the path.
func ReadFile(path string) (*File, error) {
	file, err := regularfile.Open(path)
	if err != nil {
		return nil, fmt.Errorf("safetensors: %w", err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, fmt.Errorf("safetensors: %w", err)
	}
	f, err := read(file, info.Size())
	if err != nil {
		return nil, fmt.Errorf("safetensors: %s: %w", path, err)
	}
	return f, nil
}

func read(r io.Reader, size int64) (*File, error) {
	if size < 8 {
		return nil, fmt.Errorf("a file of %d bytes has no room for the header size (8 bytes)", size)
	}
	if size > math.MaxInt {
		return nil, fmt.Errorf("a file of %d bytes does not fit in memory", size)
	}
	prefix, err := readN(r, 8)
	if err != nil {
		return nil, err
	}
	n := binary.LittleEndian.Uint64(prefix)
	switch {
	case string(prefix) == "version ":
		return nil, errors.New("is a Git LFS pointer, not the file itself: fetch that with `git lfs pull`")
	case n > uint64(size-8):
		return nil, fmt.Errorf("header size %d exceeds the file (%d bytes)", n, size)
	case n > maxHeader:
		return nil, fmt.Errorf("header size %d exceeds the limit (%d bytes)", n, maxHeader)
	case n < 2:
		return nil, fmt.Errorf("header size %d is too small for a JSON object", n)
	}
	header, err := readN(r, int(n))
	if err != nil {
		return nil, err
	}
	metadata, entries, err := parseHeader(header)
	if err != nil {
		return nil, err
	}
	// The layout is settled before the data is read: a bad file fails early.
	dataSize := int(size) - 8 - len(header)
	if err := checkLayout(entries, dataSize); err != nil {
		return nil, err
	}
	data, err := readN(r, dataSize)
	if err != nil {
		return nil, err
	}
	f := &File{Metadata: metadata, Tensors: make([]Tensor, len(entries))}
	for i, e := range entries {
		f.Tensors[i] = Tensor{e.name, e.dtype, e.shape, data[e.begin:e.end:e.end]}
	}
	return f, f.verify()
}

// readN reads n bytes. It allocates as the bytes arrive, since the stated size
// of the input may be false.
func readN(r io.Reader, n int) ([]byte, error) {
	const chunk = 1 << 20
	buf := make([]byte, 0, min(n, chunk))
	for len(buf) < n {
		buf = slices.Grow(buf, min(n-len(buf), max(len(buf), chunk)))
		m, err := io.ReadFull(r, buf[len(buf):min(n, cap(buf))])
		buf = buf[:len(buf)+m]
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			return nil, errors.New("the file is truncated")
		}
		if err != nil {
			return nil, err
		}
	}
	return buf, nil
}

// An entry is what the header says of a tensor. Its data is at [begin, end).
type entry struct {
	name       string
	dtype      DType
	shape      []int
	begin, end int
}

// checkLayout sorts the entries by their position in the data, and reports
// whether they match their shapes and cover the data exactly.
func checkLayout(entries []entry, dataSize int) error {
	for _, e := range entries {
		if e.begin > e.end {
			return fmt.Errorf("tensor %q: data_offsets [%d %d] end before they begin", e.name, e.begin, e.end)
		}
		if e.end > dataSize {
			return fmt.Errorf("tensor %q: data_offsets [%d %d] exceed the data (%d bytes)", e.name, e.begin, e.end, dataSize)
		}
		n, err := byteSize(e.dtype, e.shape)
		if err != nil {
			return fmt.Errorf("tensor %q: %w", e.name, err)
		}
		if n != e.end-e.begin {
			return fmt.Errorf("tensor %q: %s %v takes %d bytes, data_offsets [%d %d] give %d",
				e.name, e.dtype, e.shape, n, e.begin, e.end, e.end-e.begin)
		}
	}
	// Stable, and by end too, so that empty tensors keep their order and come
	// before the tensor that begins where they are.
	slices.SortStableFunc(entries, func(a, b entry) int {
		return cmp.Or(cmp.Compare(a.begin, b.begin), cmp.Compare(a.end, b.end))
	})
	covered := 0
	for _, e := range entries {
		if e.begin < covered {
			return fmt.Errorf("tensor %q: data_offsets [%d %d] overlap another tensor", e.name, e.begin, e.end)
		}
		if e.begin > covered {
			return fmt.Errorf("data bytes %d to %d, before tensor %q, belong to no tensor", covered, e.begin, e.name)
		}
		covered = e.end
	}
	if covered < dataSize {
		return fmt.Errorf("data bytes %d to %d, at the end, belong to no tensor", covered, dataSize)
	}
	return nil
}

// parseHeader parses the JSON of the header. The entries it returns have all
// fields, but no more is known of them.
func parseHeader(header []byte) (map[string]string, []entry, error) {
	if header[0] != '{' {
		return nil, nil, fmt.Errorf("header begins with %q, want '{'", header[0])
	}
	if !utf8.Valid(header) {
		return nil, nil, errors.New("header is not valid UTF-8")
	}
	// A check of the whole syntax, as the tokens below are read one by one.
	var raw json.RawMessage
	if err := json.Unmarshal(header, &raw); err != nil {
		return nil, nil, fmt.Errorf("header is not valid JSON: %w", err)
	}
	dec := json.NewDecoder(bytes.NewReader(header))
	dec.UseNumber()
	var metadata map[string]string
	var entries []entry
	err := parseObject(dec, "header", func(key string) error {
		if key == metadataKey {
			var err error
			metadata, err = parseMetadata(dec)
			return err
		}
		e, err := parseEntry(dec, key)
		entries = append(entries, e)
		return err
	})
	return metadata, entries, err
}

// parseMetadata parses an object of strings. It returns nil for an empty one.
func parseMetadata(dec *json.Decoder) (map[string]string, error) {
	var metadata map[string]string
	err := parseObject(dec, metadataKey, func(key string) error {
		value, err := parseString(dec)
		if err != nil {
			return fmt.Errorf("%s: value of %q: %w", metadataKey, key, err)
		}
		if metadata == nil {
			metadata = make(map[string]string)
		}
		metadata[key] = value
		return nil
	})
	return metadata, err
}

// parseEntry parses the header's entry for the named tensor.
func parseEntry(dec *json.Decoder, name string) (entry, error) {
	e := entry{name: name}
	what := fmt.Sprintf("tensor %q", name)
	var offsets []int
	missing := []string{"dtype", "shape", "data_offsets"}
	err := parseObject(dec, what, func(key string) error {
		var err error
		switch key {
		case "dtype":
			var s string
			s, err = parseString(dec)
			e.dtype = DType(s)
		case "shape":
			e.shape, err = parseInts(dec)
		case "data_offsets":
			offsets, err = parseInts(dec)
			if err == nil && len(offsets) != 2 {
				err = fmt.Errorf("%d integers, want 2", len(offsets))
			}
		default:
			return fmt.Errorf("%s: unknown field %q", what, key)
		}
		if err != nil {
			return fmt.Errorf("%s: %s: %w", what, key, err)
		}
		missing = slices.DeleteFunc(missing, func(s string) bool { return s == key })
		return nil
	})
	if err != nil {
		return entry{}, err
	}
	if len(missing) > 0 {
		return entry{}, fmt.Errorf("%s: %s is missing", what, missing[0])
	}
	e.begin, e.end = offsets[0], offsets[1]
	return e, nil
}

// parseObject parses an object and calls field after each key, to parse its
// value. Decoding into a map or struct would not show duplicate keys.
func parseObject(dec *json.Decoder, what string, field func(key string) error) error {
	tok, err := dec.Token()
	if err != nil {
		return err
	}
	if tok != json.Delim('{') {
		return fmt.Errorf("%s is not a JSON object", what)
	}
	seen := make(map[string]bool)
	for dec.More() {
		key, err := parseString(dec)
		if err != nil {
			return err
		}
		if seen[key] {
			return fmt.Errorf("%s: duplicate key %q", what, key)
		}
		seen[key] = true
		if err := field(key); err != nil {
			return err
		}
	}
	_, err = dec.Token()
	return err
}

func parseString(dec *json.Decoder) (string, error) {
	tok, err := dec.Token()
	if err != nil {
		return "", err
	}
	s, ok := tok.(string)
	if !ok {
		return "", errors.New("not a string")
	}
	return s, nil
}

// parseInts parses an array of integers, none negative.
func parseInts(dec *json.Decoder) ([]int, error) {
	tok, err := dec.Token()
	if err != nil {
		return nil, err
	}
	if tok != json.Delim('[') {
		return nil, errors.New("not an array")
	}
	var ints []int
	for dec.More() {
		tok, err := dec.Token()
		if err != nil {
			return nil, err
		}
		num, ok := tok.(json.Number)
		if !ok {
			return nil, errors.New("an element is not a number")
		}
		// The number must fit a non-negative int.
		i, err := strconv.ParseUint(num.String(), 10, strconv.IntSize-1)
		if err != nil {
			return nil, fmt.Errorf("%s is not an integer from 0 to %d", num, math.MaxInt)
		}
		ints = append(ints, int(i))
	}
	_, err = dec.Token()
	return ints, err
}
