// Package eventtest reads event files in tests, by the published formats and not by what writes them: it has a checksum of its own and looks for fields by
// their numbers.
package eventtest

import (
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
)

// Event is a record of a file.
type Event struct {
	Wall    float64 // seconds since 1970
	Step    int64
	Version string
	Graph   []Node
	Start   bool // of a session
	Values  []Value
}

// Value has what its kind has.
type Value struct {
	Tag, Plugin, Text string
	Scalar            float32
	IsScalar          bool
	PNG               []byte
	Histogram         *Histogram
}

// Histogram has counts up to limits.
type Histogram struct {
	Min, Max, Num, Sum, SumSquares float64
	Limits, Counts                 []float64
}

// Node is a node of a graph.
type Node struct {
	Name, Op string
	Inputs   []string
	Attrs    map[string][]byte
}

// ReadFile returns the events of a file. A record that is cut off at its end is left out, as readers do of a file that is being written.
func ReadFile(t testing.TB, path string) (events []Event) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for len(data) >= 12 {
		n := binary.LittleEndian.Uint64(data)
		if sum := binary.LittleEndian.Uint32(data[8:]); sum != maskedCRC(data[:8]) {
			t.Fatalf("%s: the checksum of a length is %#x, want %#x", path, sum, maskedCRC(data[:8]))
		}
		data = data[12:]
		if uint64(len(data)) < n+4 {
			break
		}
		body := data[:n]
		if sum := binary.LittleEndian.Uint32(data[n:]); sum != maskedCRC(body) {
			t.Fatalf("%s: the checksum of an event is %#x, want %#x", path, sum, maskedCRC(body))
		}
		data = data[n+4:]
		events = append(events, event(t, body))
	}
	return events
}

// Curves returns what TensorBoard shows of the files in a folder: by tag the values by step. Files are read in the order of their names, and the start of
// a session drops what was read of its step and later ones.
func Curves(t testing.TB, dir string) map[string]map[int64]Value {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*tfevents*"))
	if err != nil {
		t.Fatal(err)
	}
	curves := map[string]map[int64]Value{}
	for _, path := range files { // in order
		for _, e := range ReadFile(t, path) {
			if e.Start {
				for _, c := range curves {
					for step := range c {
						if step >= e.Step {
							delete(c, step)
						}
					}
				}
			}
			for _, v := range e.Values {
				if curves[v.Tag] == nil {
					curves[v.Tag] = map[int64]Value{}
				}
				if _, twice := curves[v.Tag][e.Step]; twice {
					t.Errorf("%s: step %d has %s twice", path, e.Step, v.Tag)
				}
				curves[v.Tag][e.Step] = v
			}
		}
	}
	return curves
}

func maskedCRC(b []byte) uint32 {
	crc := ^uint32(0)
	for _, x := range b {
		crc ^= uint32(x)
		for range 8 {
			crc = crc>>1 ^ 0x82f63b78*(crc&1)
		}
	}
	crc = ^crc
	return (crc>>15 | crc<<17) + 0xa282ead8
}

// message is the fields of a message by number: of each its bytes, or of numbers their bits.
type message map[protowire.Number][]value

type value struct {
	bits  uint64
	bytes []byte
}

func parse(t testing.TB, b []byte) message {
	t.Helper()
	m := message{}
	for len(b) > 0 {
		num, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			t.Fatal(protowire.ParseError(n))
		}
		b = b[n:]
		var v value
		switch kind {
		case protowire.VarintType:
			v.bits, n = protowire.ConsumeVarint(b)
		case protowire.Fixed64Type:
			v.bits, n = protowire.ConsumeFixed64(b)
		case protowire.Fixed32Type:
			var x uint32
			x, n = protowire.ConsumeFixed32(b)
			v.bits = uint64(x)
		case protowire.BytesType:
			v.bytes, n = protowire.ConsumeBytes(b)
		default:
			t.Fatalf("a field of wire type %d", kind)
		}
		if n < 0 {
			t.Fatal(protowire.ParseError(n))
		}
		m[num] = append(m[num], v)
		b = b[n:]
	}
	return m
}

func (m message) first(num protowire.Number) value {
	if v := m[num]; v != nil {
		return v[0]
	}
	return value{}
}

func (m message) double(num protowire.Number) float64 { return math.Float64frombits(m.first(num).bits) }

func (m message) text(num protowire.Number) string { return string(m.first(num).bytes) }

// doubles reads packed numbers.
func (m message) doubles(num protowire.Number) (list []float64) {
	for b := m.first(num).bytes; len(b) >= 8; b = b[8:] {
		list = append(list, math.Float64frombits(binary.LittleEndian.Uint64(b)))
	}
	return list
}

func event(t testing.TB, b []byte) Event {
	t.Helper()
	m := parse(t, b)
	e := Event{Wall: m.double(1), Step: int64(m.first(2).bits), Version: m.text(3)}
	if g := m[4]; g != nil {
		for _, n := range parse(t, g[0].bytes)[1] {
			e.Graph = append(e.Graph, node(t, n.bytes))
		}
	}
	if s := m[5]; s != nil {
		for _, v := range parse(t, s[0].bytes)[1] {
			e.Values = append(e.Values, summary(t, v.bytes))
		}
	}
	if s := m[7]; s != nil {
		e.Start = parse(t, s[0].bytes).first(1).bits == 1
	}
	return e
}

func node(t testing.TB, b []byte) Node {
	m := parse(t, b)
	n := Node{Name: m.text(1), Op: m.text(2), Attrs: map[string][]byte{}}
	for _, in := range m[3] {
		n.Inputs = append(n.Inputs, string(in.bytes))
	}
	for _, a := range m[5] {
		entry := parse(t, a.bytes)
		n.Attrs[entry.text(1)] = entry.first(2).bytes
	}
	return n
}

func summary(t testing.TB, b []byte) Value {
	m := parse(t, b)
	v := Value{Tag: m.text(1)}
	if meta := m[9]; meta != nil {
		v.Plugin = parse(t, parse(t, meta[0].bytes).first(1).bytes).text(1)
	}
	if s := m[2]; s != nil {
		v.Scalar, v.IsScalar = math.Float32frombits(uint32(s[0].bits)), true
	}
	if i := m[4]; i != nil {
		v.PNG = parse(t, i[0].bytes).first(4).bytes
	}
	if h := m[5]; h != nil {
		p := parse(t, h[0].bytes)
		v.Histogram = &Histogram{p.double(1), p.double(2), p.double(3), p.double(4), p.double(5), p.doubles(6), p.doubles(7)}
	}
	if x := m[8]; x != nil {
		p := parse(t, x[0].bytes)
		const stringType = 7
		if p.first(1).bits != stringType {
			t.Fatal(fmt.Errorf("the tensor of %s has type %d, want %d", v.Tag, p.first(1).bits, stringType))
		}
		v.Text = p.text(8)
	}
	return v
}
