// Package torchfile reads and writes the files in which torch.save puts the tensors of a model: a zip archive with a pickle, which says what
// there is, and the numbers of each storage.
//
// A pickle is a program. The reader knows the few instructions and the few constructors that a state dict is made of, builds plain values of
// them, and refuses all else by its name, so no code is ever run. What it allocates is in proportion to the size of the file.
package torchfile

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"path"
	"slices"
	"strings"

	"github.com/convae/convae/nn/regularfile"
	"github.com/convae/convae/nn/safetensors"
)

const (
	maxPickle = 64 << 20
	maxDims   = 64
	// Views of a storage may show elements several times, as tied weights do; more than so many times all of a file's elements are no weights.
	maxViews = 16
)

// Is reports whether a file that begins so may be one of torch.save: a zip archive.
func Is(head []byte) bool { return bytes.HasPrefix(head, []byte("PK\x03\x04")) }

// IsLegacy reports whether a file that begins so is one that torch.save wrote before PyTorch 1.6: a pickle without an archive.
func IsLegacy(head []byte) bool {
	return bytes.HasPrefix(head, []byte{0x80, 0x02, 0x8a, 0x0a, 'l', 0xfc, 0x9c, 'F', 0xf9, ' ', 'j', 0xa8, 'P', 0x19})
}

// ReadFile reads the tensors of a state dict, or of the one state dict in a checkpoint, in their order. Elements keep their type and lie
// in row-major order, whatever their strides were.
func ReadFile(name string) (*safetensors.File, error) {
	f, err := regularfile.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	t, err := Read(f, info.Size())
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return t, nil
}

// archive is an open file.
type archive struct {
	files    map[string]*zip.File // by their names in the archive's folder
	loaded   map[string][]byte    // storages
	left     uint64               // bytes that may still be read: files of an archive can lie in the same place
	elements int                  // of the storages
	shown    int                  // of tensors that are views of them
}

// Read is ReadFile for a file of so many bytes.
func Read(r io.ReaderAt, size int64) (*safetensors.File, error) {
	z, err := zip.NewReader(r, size)
	if err != nil {
		return nil, fmt.Errorf("it is no archive of torch.save: %w", err)
	}
	a := &archive{files: map[string]*zip.File{}, loaded: map[string][]byte{}, left: uint64(size)}
	var root string
	for _, f := range z.File {
		if path.Base(f.Name) == "data.pkl" && strings.Count(f.Name, "/") == 1 {
			root = path.Dir(f.Name)
		}
	}
	if root == "" {
		return nil, errors.New("the archive has no data.pkl: want one of torch.save")
	}
	for _, f := range z.File {
		name, ok := strings.CutPrefix(f.Name, root+"/")
		if !ok {
			continue
		}
		if f.Method != zip.Store || f.CompressedSize64 != f.UncompressedSize64 || f.UncompressedSize64 > uint64(size) {
			return nil, fmt.Errorf("%s is compressed: torch.save does not do that", f.Name)
		}
		if a.files[name] != nil {
			return nil, fmt.Errorf("%s is there twice", f.Name)
		}
		a.files[name] = f
	}
	if a.files["constants.pkl"] != nil {
		return nil, errors.New("it is a TorchScript program: want a state dict, as torch.save(model.state_dict(), FILE) writes it")
	}
	if a.files["byteorder"] != nil {
		order, err := a.read("byteorder", 16)
		if err != nil {
			return nil, err
		}
		if string(order) != "little" {
			return nil, fmt.Errorf("its byte order is %q, want little", order)
		}
	}
	pickle, err := a.read("data.pkl", maxPickle)
	if err != nil {
		return nil, err
	}
	top, err := unpickle(pickle)
	if err != nil {
		return nil, fmt.Errorf("data.pkl: %w", err)
	}
	tensors, err := stateDict(top)
	if err != nil {
		return nil, err
	}
	out := &safetensors.File{}
	for _, t := range tensors {
		made, err := a.tensor(t)
		if err != nil {
			return nil, fmt.Errorf("tensor %q: %w", t.name, err)
		}
		out.Tensors = append(out.Tensors, made)
	}
	return out, nil
}

// read returns a file of the archive, of at most so many bytes.
func (a *archive) read(name string, most uint64) ([]byte, error) {
	f := a.files[name]
	if f == nil {
		return nil, fmt.Errorf("the archive has no %s", name)
	}
	if f.UncompressedSize64 > most {
		return nil, fmt.Errorf("%s has %d bytes, want at most %d", name, f.UncompressedSize64, most)
	}
	if f.UncompressedSize64 > a.left {
		return nil, fmt.Errorf("%s lies where other files of the archive are", name)
	}
	a.left -= f.UncompressedSize64
	r, err := f.Open()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	defer r.Close()
	// The buffer that grows is twice what is read: its size is known, and no more than the file's. The end has the checksum.
	data := bytes.NewBuffer(make([]byte, 0, f.UncompressedSize64+bytes.MinRead))
	if _, err := data.ReadFrom(r); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return data.Bytes(), nil
}

// named is a tensor of a state dict.
type named struct {
	name string
	*tensor
}

// stateDictNames are what checkpoints call the state dict of the model, if they have several.
var stateDictNames = []string{"state_dict", "model_state_dict", "model"}

// stateDict returns the tensors of a state dict, or of the one in a checkpoint.
func stateDict(root any) ([]named, error) {
	d, ok := root.(*dict)
	if !ok {
		return nil, fmt.Errorf("it has %s, want a state dict, as torch.save(model.state_dict(), FILE) writes it", kindOf(root))
	}
	where := ""
	if !d.hasTensors() {
		var found []string
		inner := map[string]*dict{}
		for i, k := range d.keys {
			if sub, ok := d.values[i].(*dict); ok && sub.hasTensors() {
				name, _ := k.(string)
				found, inner[name] = append(found, name), sub
			}
		}
		name := ""
		if len(found) == 1 {
			name = found[0]
		}
		for _, n := range slices.Backward(stateDictNames) {
			if inner[n] != nil {
				name = n
			}
		}
		switch {
		case len(found) == 0:
			return nil, errors.New("it has no tensors: want a state dict, as torch.save(model.state_dict(), FILE) writes it")
		case inner[name] == nil:
			return nil, fmt.Errorf("it has several dicts of tensors, %q: want one, or one that is called %s", found[:min(len(found), 8)], strings.Join(stateDictNames, " or "))
		}
		d, where = inner[name], name+": "
	}
	var list []named
	seen := map[string]bool{}
	for i, k := range d.keys {
		name, ok := k.(string)
		if !ok {
			return nil, fmt.Errorf("%sa key of the state dict is %s, want a name", where, kindOf(k))
		}
		t, ok := d.values[i].(*tensor)
		if !ok {
			return nil, fmt.Errorf("%s%q is %s, want a tensor: a state dict has nothing else", where, name, kindOf(d.values[i]))
		}
		if seen[name] {
			return nil, fmt.Errorf("%s%q is there twice", where, name)
		}
		seen[name] = true
		list = append(list, named{name, t})
	}
	return list, nil
}

// tensor gathers the elements of a view of a storage.
func (a *archive) tensor(t named) (safetensors.Tensor, error) {
	s := t.storage
	out := safetensors.Tensor{Name: t.name, DType: s.dtype, Shape: []int{}}
	n := 1
	last := t.offset // position of the last element
	for i, d := range t.size {
		if d < 0 || t.stride[i] < 0 || d > math.MaxInt32 || t.stride[i] > math.MaxInt32 || t.offset > math.MaxInt32 {
			return out, fmt.Errorf("its shape is %v, its strides are %v and its offset is %d, want numbers from 0 to %d", t.size, t.stride, t.offset, math.MaxInt32)
		}
		if d > 0 && n > math.MaxInt32/int(d) {
			return out, fmt.Errorf("its shape is %v, want at most %d elements", t.size, math.MaxInt32)
		}
		n *= int(d)
		out.Shape = append(out.Shape, int(d))
		if d > 0 {
			last += (d - 1) * t.stride[i]
		}
	}
	if n == 0 {
		return out, nil
	}
	data, err := a.storage(s)
	if err != nil {
		return out, err
	}
	if t.offset < 0 || last < 0 || last >= s.count {
		return out, fmt.Errorf("it reaches to element %d of a storage of %d", last, s.count)
	}
	if a.shown += n; a.shown > maxViews*a.elements+1<<16 {
		return out, fmt.Errorf("the tensors show more than %d times the elements that the file has", maxViews)
	}
	size := s.dtype.Size()
	if int64(n) == last-t.offset+1 && rowMajor(t.tensor) {
		out.Data = data[int(t.offset)*size:][:n*size]
		return out, nil
	}
	out.Data = make([]byte, 0, n*size)
	index := make([]int64, len(t.size))
	for range n {
		at := t.offset
		for i, k := range index {
			at += k * t.stride[i]
		}
		out.Data = append(out.Data, data[int(at)*size:][:size]...)
		for i := len(index) - 1; i >= 0; i-- {
			if index[i]++; index[i] < t.size[i] {
				break
			}
			index[i] = 0
		}
	}
	return out, nil
}

// rowMajor reports whether the elements of a tensor lie one behind the other.
func rowMajor(t *tensor) bool {
	next := int64(1)
	for i := len(t.size) - 1; i >= 0; i-- {
		if t.size[i] != 1 && t.stride[i] != next {
			return false
		}
		next *= t.size[i]
	}
	return true
}

// storage reads the numbers of a storage, once.
func (a *archive) storage(s *storage) ([]byte, error) {
	size := int64(s.dtype.Size())
	if s.count < 0 || s.count > math.MaxInt64/16 {
		return nil, fmt.Errorf("its storage has %d elements", s.count)
	}
	data, ok := a.loaded[s.key]
	if !ok {
		var err error
		if data, err = a.read("data/"+s.key, math.MaxInt64); err != nil {
			return nil, err
		}
		a.loaded[s.key] = data
		a.elements += len(data) / int(size)
	}
	if int64(len(data)) != s.count*size {
		return nil, fmt.Errorf("its storage data/%s has %d bytes, want %d elements of %s", s.key, len(data), s.count, s.dtype)
	}
	return data, nil
}

// Write writes tensors as torch.save writes a state dict, for torch.load, also with weights_only.
func Write(w io.Writer, f *safetensors.File) error {
	z := zip.NewWriter(w)
	p := &pickler{}
	if err := p.stateDict(f.Tensors); err != nil {
		return err
	}
	files := []struct {
		name string
		data []byte
	}{{"data.pkl", p.Bytes()}, {"byteorder", []byte("little")}}
	for i, t := range f.Tensors {
		files = append(files, struct {
			name string
			data []byte
		}{fmt.Sprintf("data/%d", i), t.Data})
	}
	files = append(files, struct {
		name string
		data []byte
	}{"version", []byte("3\n")})
	for _, file := range files {
		if err := store(z, "archive/"+file.name, file.data); err != nil {
			return fmt.Errorf("write %s: %w", file.name, err)
		}
	}
	return z.Close()
}
