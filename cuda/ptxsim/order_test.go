package ptxsim

import (
	"slices"
	"testing"

	"github.com/convae/convae/cuda/driver"
)

// twoStreams are streams with a kernel that copies 64 words from one piece of memory to another.
type twoStreams struct {
	*rig
	copier     driver.Function
	other      driver.Stream
	fork, join driver.Event
	launches   []Launching
	err        error // the first of a call
}

// check keeps the first error: that of a launch comes with a later call of its stream, or of one that waits for it.
func (s *twoStreams) check(err error) {
	if s.err == nil {
		s.err = err
	}
}

func newTwoStreams(t *testing.T) *twoStreams {
	s := &twoStreams{}
	s.rig = newRig(t, Options{BeforeLaunch: func(l *Launching) { s.launches = append(s.launches, *l) }})
	const body = "mul.wide.u32 %d0, %g, 4;\nadd.s64 %d1, %a0, %d0;\nadd.s64 %d2, %a1, %d0;\nld.global.u32 %r1, [%d2];\nst.global.u32 [%d1], %r1;"
	s.copier = s.load(kernel("sm_75", "u64 u64", body), "k")
	var err error
	s.other, err = s.d.NewStream()
	s.ok(err)
	s.fork, err = s.d.NewEvent()
	s.ok(err)
	s.join, err = s.d.NewEvent()
	s.ok(err)
	return s
}

func (s *twoStreams) copy(in driver.Stream, dst, src driver.Ptr) {
	s.check(in.Launch(&driver.Launch{Function: s.copier, Grid: driver.Dim3{X: 2}, Block: driver.Dim3{X: 32}, Args: []uint64{uint64(dst), uint64(src)}}))
}

// forked copies a to b, and then b to c in one branch and b to d in another; after the join it copies c to a. Each of the waits
// may be left out.
func (s *twoStreams) forked(a, b, c, d driver.Ptr, fork, join bool) {
	s.copy(s.s, b, a)
	s.check(s.s.Record(s.fork))
	if fork {
		s.check(s.other.Wait(s.fork))
	}
	s.copy(s.other, c, b)
	s.copy(s.s, d, b)
	s.check(s.other.Record(s.join))
	if join {
		s.check(s.s.Wait(s.join))
	}
	s.copy(s.s, a, c)
}

// synchronize waits for both streams and returns the first error.
func (s *twoStreams) synchronize() error {
	s.check(s.s.Synchronize())
	s.check(s.other.Synchronize())
	return s.err
}

// Launches of two streams that share memory are a fault unless one waits for the other.
func TestStreamRace(t *testing.T) {
	for _, c := range []struct {
		name       string
		fork, join bool
		at         string // of the fault
	}{
		{"ordered", true, true, ""},
		{"read of what an earlier launch writes", false, true, "ld.global"},
		{"read of what a branch writes", true, false, "ld.global"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newTwoStreams(t)
			a, b, x, y := upload(s.rig, make([]uint32, 64)), s.alloc(256), s.alloc(256), s.alloc(256)
			s.forked(a, b, x, y, c.fork, c.join)
			if err := s.synchronize(); c.at == "" {
				s.ok(err)
			} else {
				wantFault(t, err, StreamRace, c.at)
			}
		})
	}
	t.Run("write of what a branch reads", func(t *testing.T) {
		s := newTwoStreams(t)
		a, b, x := upload(s.rig, make([]uint32, 64)), s.alloc(256), upload(s.rig, make([]uint32, 64))
		s.copy(s.other, b, a)
		s.copy(s.s, a, x)
		wantFault(t, s.synchronize(), StreamRace, "st.global")
	})
	t.Run("two writes", func(t *testing.T) {
		s := newTwoStreams(t)
		a, b := upload(s.rig, make([]uint32, 64)), s.alloc(256)
		s.copy(s.other, b, a)
		s.copy(s.s, b, a)
		wantFault(t, s.synchronize(), StreamRace, "st.global")
	})
	t.Run("the host has waited", func(t *testing.T) {
		s := newTwoStreams(t)
		a, b, x := upload(s.rig, make([]uint32, 64)), s.alloc(256), s.alloc(256)
		s.copy(s.other, b, a)
		s.ok(s.other.Synchronize())
		s.copy(s.s, x, b)
		s.ok(s.s.Record(s.join))
		s.ok(s.join.Synchronize())
		s.copy(s.other, b, x)
		s.ok(s.synchronize())
	})
}

// The branches of a graph are told apart at each replay, and what comes after the graph comes after them all.
func TestBranches(t *testing.T) {
	for _, join := range []bool{true, false} {
		s := newTwoStreams(t)
		a, b, c, d := upload(s.rig, make([]uint32, 64)), s.alloc(256), s.alloc(256), s.alloc(256)
		s.ok(s.s.BeginCapture())
		s.forked(a, b, c, d, true, join)
		if !join {
			s.ok(s.s.Wait(s.join)) // too late, and yet the capture is whole
		}
		g, err := s.s.EndCapture()
		s.ok(err)
		if len(s.launches) > 0 {
			t.Fatal("the capture ran")
		}
		for range 2 {
			s.check(s.s.Replay(g))
		}
		s.copy(s.s, b, c)
		err = s.synchronize()
		if !join {
			wantFault(t, err, StreamRace, "ld.global")
			continue
		}
		s.ok(err)
		if len(s.launches) != 9 {
			t.Fatalf("%d launches, want 9", len(s.launches))
		}
		for i, l := range s.launches {
			var want []uint64
			if i%4 == 2 { // beside the first branch
				want = []uint64{uint64(i)}
			}
			if l.Number != uint64(i+1) || !slices.Equal(l.Beside, want) || (l.Stream == s.launches[0].Stream) != (i%4 != 1) {
				t.Errorf("launch %d: number %d in stream %d, beside %v, want %v", i+1, l.Number, l.Stream, l.Beside, want)
			}
		}
		s.ok(g.Close())
	}
}

// Launches that all streams come after are forgotten.
func TestHistory(t *testing.T) {
	s := newTwoStreams(t)
	a, b := upload(s.rig, make([]uint32, 64)), s.alloc(256)
	for range 100 {
		s.copy(s.s, b, a)
		s.ok(s.s.Synchronize())
	}
	for i, p := range s.d.history.past {
		if len(p) > 2 {
			t.Errorf("stream %d has %d launches that others may not come after", i, len(p))
		}
	}
}
