package dataset

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// idxFile returns an IDX file of the given parts.
func idxFile(magic uint32, dims []uint32, data ...byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, magic)
	for _, d := range dims {
		b = binary.BigEndian.AppendUint32(b, d)
	}
	return append(b, data...)
}

func zipped(data []byte) []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	z.Write(data)
	z.Close()
	return b.Bytes()
}

func writeFile(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o666); err != nil {
		t.Fatal(err)
	}
}

var (
	goodImages = idxFile(0x803, []uint32{2, 1, 3}, 1, 2, 3, 4, 5, 6)
	goodLabels = idxFile(0x801, []uint32{2}, 7, 9)
)

func TestReadIDX(t *testing.T) {
	dir := t.TempDir()
	pack := func(b []byte) []byte { return b }
	for _, pack := range []func([]byte) []byte{pack, zipped} {
		// Whether a file is gzipped is seen from its content alone.
		images, labels := filepath.Join(dir, "images.gz"), filepath.Join(dir, "labels")
		writeFile(t, images, pack(goodImages))
		writeFile(t, labels, pack(goodLabels))
		s, err := ReadIDXImages(images)
		if err != nil {
			t.Fatal(err)
		}
		if want := (&Set{Name: "images.gz", H: 1, W: 3, C: 1, Pixels: []uint8{1, 2, 3, 4, 5, 6}}); !reflect.DeepEqual(s, want) {
			t.Errorf("images are %+v, want %+v", s, want)
		}
		l, err := ReadIDXLabels(labels)
		if err != nil || !slices.Equal(l, []uint8{7, 9}) {
			t.Errorf("labels are %v, %v, want [7 9]", l, err)
		}
	}
}

func TestReadIDXErrors(t *testing.T) {
	packed := zipped(goodImages)
	badSum := slices.Clone(packed)
	badSum[len(badSum)-8] ^= 1
	for _, c := range []struct {
		name string
		file []byte
		want string
	}{
		{"empty", nil, "cut off in the header: want 16 bytes, found 0"},
		{"half a magic number", goodImages[:2], "want 16 bytes, found 2"},
		{"half a header", goodImages[:9], "want 16 bytes, found 9"},
		{"labels", goodLabels, "magic number is 0x00000801 (labels), want 0x00000803 (images)"},
		{"something else", []byte("P5 28 28 255 abcdefgh"), "magic number is 0x50352032, want 0x00000803 (images)"},
		{"no images", idxFile(0x803, []uint32{0, 1, 3}), "dimension 1 is 0"},
		{"no width", idxFile(0x803, []uint32{1, 1, 0}), "dimension 3 is 0"},
		{"too big", idxFile(0x803, []uint32{1 << 16, 1 << 15, 1}), "dimension 2 is 32768, which makes more than the 1073741824 bytes"},
		{"overflow", idxFile(0x803, []uint32{1 << 30, 1 << 31, 1 << 31}), "dimension 2 is 2147483648"},
		{"big single", idxFile(0x803, []uint32{1<<32 - 1, 1, 1}), "dimension 1 is 4294967295"},
		{"cut off", goodImages[:20], "dimensions [2 1 3] want 22 bytes, found 20"},
		{"too long", append(slices.Clone(goodImages), 0, 0), "want 22 bytes, found at least 24"},
		{"gzip cut off", packed[:len(packed)-9], "gzip: the compressed data are cut off"},
		{"gzip without header", packed[:5], "gzip: the compressed data are cut off"},
		{"gzip with bad sum", badSum, "gzip: invalid checksum"},
		{"gzip and more", append(slices.Clone(packed), "more after the end"...), "gzip: invalid header"},
		{"gzip of a cut off file", zipped(goodImages[:20]), "want 22 bytes, found 20"},
		{"gzip of a file too long", zipped(append(slices.Clone(goodImages), 0)), "want 22 bytes, found at least 23"},
	} {
		path := filepath.Join(t.TempDir(), "file")
		writeFile(t, path, c.file)
		_, err := ReadIDXImages(path)
		if err == nil {
			t.Errorf("%s: no error", c.name)
			continue
		}
		if !strings.HasPrefix(err.Error(), path+": ") || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: error is %q, want %q in it, the path, and one line", c.name, err, c.want)
		}
	}

	path := filepath.Join(t.TempDir(), "images as labels")
	writeFile(t, path, goodImages)
	if _, err := ReadIDXLabels(path); err == nil || !strings.Contains(err.Error(), "magic number is 0x00000803 (images), want 0x00000801 (labels)") {
		t.Errorf("labels from a file of images: error is %v", err)
	}
	if _, err := ReadIDXImages("missing"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error for a missing file is %v", err)
	}
}

// A header that promises a gigabyte must not make the reader allocate it.
func TestReadIDXAllocatesWhatIsThere(t *testing.T) {
	file := idxFile(0x803, []uint32{1 << 10, 1 << 10, 1 << 10}, 1, 2, 3)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := DecodeIDXImages(bytes.NewReader(file))
	runtime.ReadMemStats(&after)
	if err == nil || !strings.Contains(err.Error(), "want 1073741840 bytes, found 19") {
		t.Errorf("error is %v", err)
	}
	if n := after.TotalAlloc - before.TotalAlloc; n > 1<<20 {
		t.Errorf("%d bytes were allocated for a file of %d", n, len(file))
	}
}

func TestWriteIDX(t *testing.T) {
	var images, labels bytes.Buffer
	s := &Set{H: 1, W: 3, C: 1, Pixels: []uint8{1, 2, 3, 4, 5, 6}}
	if err := WriteIDXImages(&images, s); err != nil || !bytes.Equal(images.Bytes(), goodImages) {
		t.Errorf("images are written as %v, %v, want %v", images.Bytes(), err, goodImages)
	}
	if err := WriteIDXLabels(&labels, []uint8{7, 9}); err != nil || !bytes.Equal(labels.Bytes(), goodLabels) {
		t.Errorf("labels are written as %v, %v, want %v", labels.Bytes(), err, goodLabels)
	}
	for _, bad := range []*Set{
		{H: 1, W: 3, C: 1},
		{H: 1, W: 1, C: 3, Pixels: []uint8{1, 2, 3}},
		{H: 1, W: 3, C: 1, Pixels: []uint8{1, 2, 3, 4}},
		{C: 1, Pixels: []uint8{1}},
	} {
		if err := WriteIDXImages(&images, bad); err == nil {
			t.Errorf("%+v was written without an error", bad)
		}
	}
	if err := WriteIDXLabels(&labels, nil); err == nil {
		t.Error("no labels were written without an error")
	}
}

// Whatever decodes is consistent, is written back as it was, and decodes the
// same when gzipped.
func FuzzIDX(f *testing.F) {
	for _, b := range [][]byte{goodImages, goodLabels, goodImages[:17]} {
		f.Add(b)
		f.Add(zipped(b))
	}
	f.Add(idxFile(0x803, []uint32{1 << 30, 1 << 31, 1 << 31}))
	f.Fuzz(func(t *testing.T, file []byte) {
		isZipped := bytes.HasPrefix(file, []byte{0x1f, 0x8b})
		if s, err := DecodeIDXImages(bytes.NewReader(file)); err == nil {
			var again bytes.Buffer
			if err := WriteIDXImages(&again, s); err != nil {
				t.Fatal(err)
			}
			if !isZipped && !bytes.Equal(again.Bytes(), file) {
				t.Fatalf("%v was written back as %v", file, again.Bytes())
			}
			unzipped, err := DecodeIDXImages(bytes.NewReader(zipped(again.Bytes())))
			if err != nil || !reflect.DeepEqual(unzipped, s) {
				t.Fatalf("gzipped, %+v is read as %+v, %v", s, unzipped, err)
			}
		}
		if labels, err := DecodeIDXLabels(bytes.NewReader(file)); err == nil {
			var again bytes.Buffer
			if err := WriteIDXLabels(&again, labels); err != nil {
				t.Fatal(err)
			}
			if !isZipped && !bytes.Equal(again.Bytes(), file) {
				t.Fatalf("%v was written back as %v", file, again.Bytes())
			}
		}
	})
}
