package ptxsim

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/convae/convae/cuda/driver"
)

// double is work that writes what it reads, twice as large byte by byte.
func double(dst, src driver.Ptr, n int) *Work {
	return &Work{Name: "double", Reads: []Range{{src, n}}, Writes: []Range{{dst, n}}, Run: func(r, w [][]byte) error {
		for i, b := range r[0] {
			w[0][i] = 2 * b
		}
		return nil
	}}
}

// Work of a library has its place in a stream, and in a graph.
func TestWork(t *testing.T) {
	s := newTwoStreams(t)
	a, b, c := upload(s.rig, []uint32{1, 2, 3}), s.alloc(12), s.alloc(12)
	s.ok(s.s.BeginCapture())
	s.ok(s.s.(Worker).Do(double(b, a, 12)))
	s.ok(s.s.(Worker).Do(double(c, b, 12)))
	g, err := s.s.EndCapture()
	s.ok(err)
	s.ok(s.s.Replay(g))
	got := make([]byte, 12)
	s.ok(s.s.ToHost(got, c))
	s.ok(s.s.Synchronize())
	if want := []byte{4, 0, 0, 0, 8, 0, 0, 0, 12, 0, 0, 0}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// What work does wrong is found as it is for a kernel.
func TestWorkFaults(t *testing.T) {
	for name, c := range map[string]struct {
		run  func(s *twoStreams, a, b driver.Ptr)
		kind Kind
		want string // in the error, if it is none of a kind
	}{
		"outside of the memory": {func(s *twoStreams, a, b driver.Ptr) { s.check(s.s.(Worker).Do(double(b, a, 512))) }, "", "double: ptxsim: 512 bytes at offset 0"},
		"never written":         {func(s *twoStreams, a, b driver.Ptr) { s.check(s.s.(Worker).Do(double(a, b, 256))) }, Uninitialised, ""},
		"half a word":           {func(s *twoStreams, a, b driver.Ptr) { s.check(s.s.(Worker).Do(double(b, a+2, 4))) }, Misaligned, ""},
		"a kernel reads what is written beside it": {func(s *twoStreams, a, b driver.Ptr) {
			s.check(s.other.(Worker).Do(double(b, a, 256)))
			s.copy(s.s, a, b)
		}, StreamRace, ""},
		"it reads what a kernel writes beside it": {func(s *twoStreams, a, b driver.Ptr) {
			s.copy(s.other, b, a)
			s.check(s.s.(Worker).Do(double(a, b, 256)))
		}, StreamRace, ""},
		"it writes what a kernel reads beside it": {func(s *twoStreams, a, b driver.Ptr) {
			s.copy(s.other, b, a)
			s.check(s.s.(Worker).Do(double(a, a, 256)))
		}, StreamRace, ""},
		"it waits": {func(s *twoStreams, a, b driver.Ptr) {
			s.copy(s.other, b, a)
			s.check(s.other.Record(s.join))
			s.check(s.s.Wait(s.join))
			s.check(s.s.(Worker).Do(double(a, b, 256)))
		}, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := newTwoStreams(t)
			c.run(s, upload(s.rig, make([]uint32, 64)), s.alloc(256))
			err := s.synchronize()
			var f *Fault
			switch {
			case c.kind == "" && c.want == "":
				s.ok(err)
			case c.kind == "":
				if err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("error %v, want %q", err, c.want)
				}
			case !errors.As(err, &f) || f.Kind != c.kind:
				t.Errorf("error %v, want %s", err, c.kind)
			}
		})
	}
}
