package torchfile

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"

	"github.com/convae/convae/nn/safetensors"
)

// The values that a pickle can make, besides nil, bool, int64, float64 and string.
type (
	dict struct {
		keys, values []any
		scanned      int  // values that hasTensors has looked at
		tensors      bool // what it has found
	}
	list   struct{ items []any }
	tuple  []any
	global string // a class or a function, by its module and name
	// storage is numbers in a file of the archive.
	storage struct {
		dtype safetensors.DType
		key   string
		count int64
	}
	// tensor is a view of a storage.
	tensor struct {
		storage      *storage
		offset       int64
		size, stride []int64
	}
	mark struct{}
)

func (d *dict) hasTensors() bool {
	// A dict can be in many places: each of its values is looked at once.
	for ; d.scanned < len(d.values) && !d.tensors; d.scanned++ {
		_, d.tensors = d.values[d.scanned].(*tensor)
	}
	return d.tensors
}

// kindOf says what a value is.
func kindOf(v any) string {
	switch v := v.(type) {
	case nil:
		return "None"
	case bool:
		return "a truth value"
	case int64, float64:
		return fmt.Sprintf("the number %v", v)
	case string:
		return fmt.Sprintf("the text %.40q", v)
	case *dict:
		return "a dict"
	case *list:
		return "a list"
	case tuple:
		return "a tuple"
	case global:
		return string(v)
	case *storage:
		return "a storage"
	case *tensor:
		return "a tensor"
	}
	return "a mark"
}

const (
	orderedDict      = global("collections.OrderedDict")
	rebuildTensor    = global("torch._utils._rebuild_tensor_v2")
	rebuildParameter = global("torch._utils._rebuild_parameter")
	torchSize        = global("torch.Size")
)

// storages are the classes of storages, with the types of their elements.
var storages = map[global]safetensors.DType{
	"torch.FloatStorage": safetensors.F32, "torch.DoubleStorage": safetensors.F64, "torch.HalfStorage": safetensors.F16, "torch.BFloat16Storage": safetensors.BF16,
	"torch.LongStorage": safetensors.I64, "torch.IntStorage": safetensors.I32, "torch.ShortStorage": safetensors.I16, "torch.CharStorage": safetensors.I8,
	"torch.ByteStorage": safetensors.U8, "torch.BoolStorage": safetensors.BOOL,
}

// maxValues is how many values a pickle may make, and how many it may remember. A tensor takes about 30, so these are 35000 tensors; the largest
// models have a few thousand, and optimisers keep up to three more of each.
const maxValues = 1 << 20

// machine runs a pickle.
type machine struct {
	in    []byte
	at    int
	made  int // values so far
	stack []any
	memo  map[uint32]any
}

var errTooMany = fmt.Errorf("it makes more than %d values, which no state dict needs", maxValues)

// count adds to the values that were made.
func (m *machine) count(n int) error {
	if m.made += n; m.made > maxValues {
		return errTooMany
	}
	return nil
}

var errShort = errors.New("it ends too early")

// unpickle makes the value of a pickle of protocol 2.
func unpickle(in []byte) (v any, err error) {
	m := &machine{in: in, memo: map[uint32]any{}}
	for {
		code, err := m.take(1)
		if err != nil {
			return nil, err
		}
		if code[0] == '.' {
			if len(m.stack) != 1 || m.at != len(in) {
				return nil, fmt.Errorf("it leaves %d values and %d bytes, want 1 and 0", len(m.stack), len(in)-m.at)
			}
			return m.stack[0], nil
		}
		err = m.do(code[0])
		if err == nil && m.made > maxValues {
			err = errTooMany
		}
		if err != nil {
			return nil, fmt.Errorf("at byte %d: %w", m.at, err)
		}
	}
}

func (m *machine) take(n int) ([]byte, error) {
	if n < 0 || n > len(m.in)-m.at {
		return nil, errShort
	}
	m.at += n
	return m.in[m.at-n : m.at], nil
}

// uint reads a number of so many bytes.
func (m *machine) uint(n int) (uint32, error) {
	b, err := m.take(n)
	if err != nil {
		return 0, err
	}
	var full [4]byte
	copy(full[:], b)
	return binary.LittleEndian.Uint32(full[:]), nil
}

func (m *machine) line() (string, error) {
	n := bytes.IndexByte(m.in[m.at:], '\n')
	if n < 0 {
		return "", errShort
	}
	b, err := m.take(n + 1)
	return string(b[:max(len(b)-1, 0)]), err
}

func (m *machine) push(v any) {
	m.made++
	m.stack = append(m.stack, v)
}

func (m *machine) pop() (any, error) {
	if len(m.stack) == 0 {
		return nil, errors.New("it takes a value that is not there")
	}
	v := m.stack[len(m.stack)-1]
	m.stack = m.stack[:len(m.stack)-1]
	if _, ok := v.(mark); ok {
		return nil, errors.New("it takes a mark for a value")
	}
	return v, nil
}

// popMark takes the values behind the last mark.
func (m *machine) popMark() (tuple, error) {
	for i := len(m.stack) - 1; i >= 0; i-- {
		if _, ok := m.stack[i].(mark); ok {
			values := append(tuple(nil), m.stack[i+1:]...)
			m.stack = m.stack[:i]
			return values, nil
		}
	}
	return nil, errors.New("it takes values behind a mark that is not there")
}

// popN takes the last n values.
func (m *machine) popN(n int) (tuple, error) {
	values := make(tuple, n)
	for i := n - 1; i >= 0; i-- {
		v, err := m.pop()
		if err != nil {
			return nil, err
		}
		values[i] = v
	}
	return values, nil
}

// do does one instruction, of those that torch.save writes.
func (m *machine) do(code byte) error {
	switch code {
	case 0x80: // PROTO
		version, err := m.uint(1)
		if err == nil && version != 2 {
			err = fmt.Errorf("its protocol is %d, want 2, which torch.save writes", version)
		}
		return err
	case 'c': // GLOBAL
		module, err := m.line()
		if err != nil {
			return err
		}
		name, err := m.line()
		if err != nil {
			return err
		}
		g := global(module + "." + name)
		if _, ok := storages[g]; !ok && g != orderedDict && g != rebuildTensor && g != rebuildParameter && g != torchSize {
			return fmt.Errorf("it names %.80q, which no state dict needs and which is not made here: want one of tensors alone, as torch.save(model.state_dict(), FILE) writes it", string(g))
		}
		m.push(g)
	case 'q', 'r', 'h', 'j': // BINPUT, LONG_BINPUT, BINGET, LONG_BINGET
		return m.remember(code)
	case '(':
		m.push(mark{})
	case 'X': // BINUNICODE
		n, err := m.uint(4)
		if err != nil {
			return err
		}
		text, err := m.take(int(n))
		if err != nil {
			return err
		}
		m.push(string(text))
	case 'J', 'K', 'M', 0x8a, 'G': // BININT, BININT1, BININT2, LONG1, BINFLOAT
		return m.number(code)
	case 'N':
		m.push(nil)
	case 0x88, 0x89: // NEWTRUE, NEWFALSE
		m.push(code == 0x88)
	case ')', 't', 0x85, 0x86, 0x87: // EMPTY_TUPLE, TUPLE, TUPLE1 to TUPLE3
		return m.tuple(code)
	case '}':
		m.push(&dict{})
	case ']':
		m.push(&list{})
	case 's', 'u', 'a', 'e': // SETITEM, SETITEMS, APPEND, APPENDS
		return m.add(code)
	case 'Q': // BINPERSID
		id, err := m.pop()
		if err != nil {
			return err
		}
		s, err := persistent(id)
		if err != nil {
			return err
		}
		m.push(s)
	case 'R': // REDUCE
		args, err := m.popN(2)
		if err != nil {
			return err
		}
		v, err := m.reduce(args[0], args[1])
		if err != nil {
			return err
		}
		m.push(v)
	case 'b': // BUILD: what a dict has besides its items, such as _metadata
		args, err := m.popN(2)
		if err != nil {
			return err
		}
		if _, ok := args[0].(*dict); !ok {
			return fmt.Errorf("it sets the state of %s", kindOf(args[0]))
		}
		m.push(args[0])
	default:
		return fmt.Errorf("it has the instruction %#02x, which torch.save does not write", code)
	}
	return nil
}

func (m *machine) remember(code byte) error {
	n := 1
	if code == 'r' || code == 'j' {
		n = 4
	}
	i, err := m.uint(n)
	if err != nil {
		return err
	}
	if code == 'q' || code == 'r' {
		v, err := m.pop()
		if err != nil {
			return err
		}
		if m.memo[i] = v; len(m.memo) > maxValues {
			return fmt.Errorf("it remembers more than %d values, which no state dict needs", maxValues)
		}
		m.stack = append(m.stack, v)
		return nil
	}
	v, ok := m.memo[i]
	if !ok {
		return fmt.Errorf("it remembers value %d, which is not there", i)
	}
	m.push(v)
	return nil
}

func (m *machine) number(code byte) error {
	switch code {
	case 'J':
		n, err := m.uint(4)
		if err != nil {
			return err
		}
		m.push(int64(int32(n)))
	case 'K', 'M':
		n, err := m.uint(map[byte]int{'K': 1, 'M': 2}[code])
		if err != nil {
			return err
		}
		m.push(int64(n))
	case 'G':
		b, err := m.take(8)
		if err != nil {
			return err
		}
		m.push(math.Float64frombits(binary.BigEndian.Uint64(b)))
	case 0x8a:
		n, err := m.uint(1)
		if err != nil {
			return err
		}
		if n > 8 {
			return fmt.Errorf("it has a number of %d bytes, want at most 8", n)
		}
		b, err := m.take(int(n))
		if err != nil {
			return err
		}
		v := int64(0)
		for i, x := range b {
			v |= int64(x) << (8 * i)
		}
		if n > 0 {
			v = v << (64 - 8*n) >> (64 - 8*n) // the sign
		}
		m.push(v)
	}
	return nil
}

func (m *machine) tuple(code byte) error {
	var t tuple
	var err error
	switch code {
	case ')':
	case 't':
		t, err = m.popMark()
	default:
		t, err = m.popN(int(code - 0x84))
	}
	if err != nil {
		return err
	}
	m.push(t)
	return nil
}

// add puts items into a dict or a list.
func (m *machine) add(code byte) (err error) {
	var items tuple
	switch code {
	case 's':
		items, err = m.popN(2)
	case 'a':
		items, err = m.popN(1)
	default:
		items, err = m.popMark()
	}
	if err != nil {
		return err
	}
	to, err := m.pop()
	if err != nil {
		return err
	}
	switch to := to.(type) {
	case *dict:
		if code == 'a' || code == 'e' || len(items)%2 != 0 {
			return errors.New("it puts values without keys into a dict")
		}
		for i := 0; i < len(items); i += 2 {
			to.keys, to.values = append(to.keys, items[i]), append(to.values, items[i+1])
		}
	case *list:
		if code == 's' || code == 'u' {
			return errors.New("it puts values with keys into a list")
		}
		to.items = append(to.items, items...)
	default:
		return fmt.Errorf("it puts values into %s", kindOf(to))
	}
	m.push(to)
	return nil
}

// persistent makes a storage of its description: ("storage", class, key, device, elements).
func persistent(id any) (*storage, error) {
	t, ok := id.(tuple)
	if ok && len(t) == 5 && t[0] == any("storage") {
		class, okClass := t[1].(global)
		key, okKey := t[2].(string)
		count, okCount := t[4].(int64)
		if dtype := storages[class]; okClass && okKey && okCount && dtype != "" {
			return &storage{dtype, key, count}, nil
		}
	}
	return nil, errors.New("it has a reference that is no storage of numbers")
}

// reduce calls one of the functions that are known.
func (m *machine) reduce(f, args any) (any, error) {
	t, ok := args.(tuple)
	if !ok {
		return nil, fmt.Errorf("it calls %s with %s", kindOf(f), kindOf(args))
	}
	switch f {
	case orderedDict:
		return m.newDict(t)
	case torchSize:
		if len(t) == 1 {
			if inner, ok := t[0].(tuple); ok {
				return inner, nil
			}
		}
	case rebuildParameter:
		if len(t) == 3 {
			if v, ok := t[0].(*tensor); ok {
				return v, nil
			}
		}
	case rebuildTensor:
		return newTensor(t)
	}
	return nil, fmt.Errorf("it calls %s with what it does not take", kindOf(f))
}

// newDict makes a dict of nothing, or of a list of pairs.
func (m *machine) newDict(args tuple) (*dict, error) {
	d := &dict{}
	if len(args) == 0 {
		return d, nil
	}
	pairs, ok := args[0].(*list)
	if len(args) != 1 || !ok {
		return nil, errors.New("it makes a dict of something that is no list of pairs")
	}
	if err := m.count(len(pairs.items)); err != nil { // the same list can be copied often
		return nil, err
	}
	for _, p := range pairs.items {
		var pair []any
		switch p := p.(type) {
		case *list:
			pair = p.items
		case tuple:
			pair = p
		}
		if len(pair) != 2 {
			return nil, errors.New("it makes a dict of something that is no list of pairs")
		}
		d.keys, d.values = append(d.keys, pair[0]), append(d.values, pair[1])
	}
	return d, nil
}

// newTensor makes a tensor of storage, offset, shape, strides, and what is only for training: whether it wants a gradient, and hooks.
func newTensor(args tuple) (*tensor, error) {
	if len(args) != 6 && len(args) != 7 {
		return nil, fmt.Errorf("it makes a tensor of %d values, want 6", len(args))
	}
	s, okStorage := args[0].(*storage)
	offset, okOffset := args[1].(int64)
	size, okSize := numbers(args[2])
	stride, okStride := numbers(args[3])
	if !okStorage || !okOffset || !okSize || !okStride || len(size) != len(stride) || len(size) > maxDims {
		return nil, errors.New("it makes a tensor of what is no storage, offset, shape and strides")
	}
	return &tensor{s, offset, size, stride}, nil
}

func numbers(v any) (n []int64, ok bool) {
	t, ok := v.(tuple)
	if len(t) > maxDims {
		return nil, false
	}
	for _, x := range t {
		i, isInt := x.(int64)
		if !isInt {
			return nil, false
		}
		n = append(n, i)
	}
	return n, ok
}

// pickler writes a pickle of protocol 2.
type pickler struct{ bytes.Buffer }

func (p *pickler) global(g string) { p.WriteString("c" + g + "\n") }

func (p *pickler) text(s string) {
	p.WriteByte('X')
	p.Write(binary.LittleEndian.AppendUint32(nil, uint32(len(s))))
	p.WriteString(s)
}

func (p *pickler) int(n int) {
	if n <= math.MaxInt32 {
		p.WriteByte('J')
		p.Write(binary.LittleEndian.AppendUint32(nil, uint32(n)))
		return
	}
	p.Write([]byte{0x8a, 8})
	p.Write(binary.LittleEndian.AppendUint64(nil, uint64(n)))
}

func (p *pickler) ints(list []int) {
	p.WriteByte('(')
	for _, n := range list {
		p.int(n)
	}
	p.WriteByte('t')
}

// stateDict writes an OrderedDict of tensors, each with a storage of its own.
func (p *pickler) stateDict(tensors []safetensors.Tensor) error {
	classes := map[safetensors.DType]string{
		safetensors.F32: "FloatStorage", safetensors.F64: "DoubleStorage", safetensors.F16: "HalfStorage", safetensors.BF16: "BFloat16Storage", safetensors.I64: "LongStorage",
	}
	p.Write([]byte{0x80, 2})
	p.global("collections\nOrderedDict")
	p.WriteString(")R(")
	for i, t := range tensors {
		class := classes[t.DType]
		if class == "" {
			return fmt.Errorf("tensor %q has the type %s, which is not written", t.Name, t.DType)
		}
		count := 1
		stride := make([]int, len(t.Shape))
		for k := len(t.Shape) - 1; k >= 0; k-- {
			stride[k] = count
			count *= t.Shape[k]
		}
		if count*t.DType.Size() != len(t.Data) {
			return fmt.Errorf("tensor %q has the shape %v and %d bytes", t.Name, t.Shape, len(t.Data))
		}
		p.text(t.Name)
		p.global("torch._utils\n_rebuild_tensor_v2")
		p.WriteString("((")
		p.text("storage")
		p.global("torch\n" + class)
		p.text(fmt.Sprint(i))
		p.text("cpu")
		p.int(count)
		p.WriteString("tQ")
		p.int(0)
		p.ints(t.Shape)
		p.ints(stride)
		p.WriteByte(0x89)
		p.global("collections\nOrderedDict")
		p.WriteString(")RtR")
	}
	p.WriteString("u.")
	return nil
}

// store adds a file to an archive as it is, with its size in front.
func store(z *zip.Writer, name string, data []byte) error {
	h := &zip.FileHeader{Name: name, Method: zip.Store, CRC32: crc32.ChecksumIEEE(data), CompressedSize64: uint64(len(data)), UncompressedSize64: uint64(len(data))}
	w, err := z.CreateRaw(h)
	if err != nil {
		return err
	}
	_, err = w.Write(data)
	return err
}
