package cuda

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/convae/convae/cuda/driver"
	"github.com/convae/convae/nn/backend"
)

// An op is timed by events round it, and a failure is kept.
func TestTime(t *testing.T) {
	d, f := openFake(t, 7, 5)
	l := d.lane
	x := tensor(t, l, backend.Flat, backend.Vec(8))
	for range 2 { // events are made once
		f.Calls = nil
		l.Time(func() { l.Zero(x) })
	}
	var names []string
	for _, c := range f.Calls {
		names = append(names, c.Name)
	}
	if want := []string{"Record", "Fill", "Record", "Event.Synchronize"}; !slices.Equal(names[:4], want) {
		t.Errorf("calls %v, want %v and Since", names, want)
	}
	f.Fail = func(c driver.FakeCall) error {
		if c.Name == "Record" {
			return errors.New("lost")
		}
		return nil
	}
	if took := l.Time(func() { l.Zero(x) }); took != 0 || l.Sync() == nil {
		t.Errorf("after a failure Time is %v and Sync %v", took, l.Sync())
	}
}

// The simulator's events have the host's clock.
func TestTimeSim(t *testing.T) {
	l := openSim(t, 8, 0).lane
	x := tensor(t, l, backend.Flat, backend.Vec(100))
	took := l.Time(func() {
		l.Zero(x)
		time.Sleep(3 * time.Millisecond)
	})
	if took < 3*time.Millisecond || took > time.Minute || l.Sync() != nil {
		t.Errorf("took %v (%v)", took, l.Sync())
	}
}
