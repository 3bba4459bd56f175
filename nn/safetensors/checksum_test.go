package safetensors

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A file with a checksum is read as it was written, or not at all: every bit of it counts.
func TestChecksum(t *testing.T) {
	f := File{Metadata: map[string]string{"model": "m"}, Tensors: []Tensor{FromFloat32s("a", []int{2, 3}, []float32{1, 2, 3, 4, 5, 6}), FromUint8s("b", []int{3}, []uint8{7, 8, 9})}}
	var plain, sealed bytes.Buffer
	if err := f.Write(&plain); err != nil {
		t.Fatal(err)
	}
	f.AddChecksum()
	if err := f.Write(&sealed); err != nil {
		t.Fatal(err)
	}
	data := sealed.Bytes()
	if got, err := Read(bytes.NewReader(data), int64(len(data))); err != nil || len(got.Tensors) != 2 {
		t.Fatal(err)
	}
	if _, err := Read(bytes.NewReader(plain.Bytes()), int64(plain.Len())); err != nil { // as those of others
		t.Fatal(err)
	}
	// With another name for the entry there is no checksum to check, but nothing else is other.
	name := bytes.Index(data, []byte(checksumKey))
	for i := range data {
		for bit := range 8 {
			data[i] ^= 1 << bit
			if _, err := Read(bytes.NewReader(data), int64(len(data))); err == nil && (i < name || i >= name+len(checksumKey)) {
				t.Errorf("bit %d of byte %d may be other", bit, i)
			}
			data[i] ^= 1 << bit
		}
	}
}

func TestLFSPointer(t *testing.T) {
	path := filepath.Join(t.TempDir(), "model.safetensors")
	pointer := "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n"
	if err := os.WriteFile(path, []byte(pointer), 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadFile(path); err == nil || !strings.Contains(err.Error(), "is a Git LFS pointer") || !strings.Contains(err.Error(), path) {
		t.Errorf("error %v", err)
	}
}

func TestNotFinite(t *testing.T) {
	for _, bad := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
		x := FromFloat32s("x", []int{4}, []float32{math.MaxFloat32, -math.MaxFloat32, float32(bad), 0})
		if i, v, found := x.NotFinite(); !found || i != 2 || v == v && v != float32(bad) {
			t.Errorf("%v: %d, %v, %v", bad, i, v, found)
		}
	}
	sound := FromFloat32s("x", []int{3}, []float32{math.MaxFloat32, math.SmallestNonzeroFloat32, 0})
	if _, _, found := sound.NotFinite(); found {
		t.Error("finite values were found not to be")
	}
}
