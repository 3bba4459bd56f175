package cuda

import (
	"fmt"

	"github.com/convae/convae/cuda/driver"
	"github.com/convae/convae/nn/backend"
)

// branches are where two branches of ops run: the first in a stream of its own, the second in the lane's. In a recording they become
// branches of the graph. Each has scratch memory of its own.
type branches struct {
	side, main     driver.Stream
	forked, joined driver.Event
	spread         driver.Event // in the first: what spread leaves for the second is there
	second         bool         // the second is at hand
	workspace      int          // where the workspace of the branch at hand begins
	used           int          // bytes of it that were asked for since the fork
}

// newBranches makes the branches of a lane with that stream.
func newBranches(d driver.Device, stream driver.Stream) (b branches, err error) {
	b.main = stream
	if b.side, err = d.NewStream(); err != nil {
		return b, fmt.Errorf("making a stream: %w", err)
	}
	for _, e := range []*driver.Event{&b.forked, &b.joined, &b.spread} {
		if *e, err = d.NewEvent(); err != nil {
			return b, fmt.Errorf("making an event: %w", err)
		}
	}
	return b, nil
}

// Fork begins the first branch.
func (l *lane) Fork() {
	b := &l.branches
	l.setClock()
	l.order("Fork", func() error { return l.stream.Record(b.forked) })
	l.order("Fork", func() error { return b.side.Wait(b.forked) })
	l.stream, b.used = b.side, 0
}

// Branch begins the second, whose scratch memory lies behind that of the first.
func (l *lane) Branch() {
	b := &l.branches
	l.stream, b.second, b.workspace = b.main, true, backend.AlignUp(b.used)
	l.partials += branchPartials
}

// Join makes what follows wait for the first branch; it is in the stream of the second.
func (l *lane) Join() {
	b := &l.branches
	l.order("Join", func() error { return b.side.Record(b.joined) })
	l.order("Join", func() error { return l.stream.Wait(b.joined) })
	l.partials -= branchPartials
	b.second, b.workspace = false, 0
}

// order is do for a call that does nothing but order others.
func (l *lane) order(op string, call func() error) {
	if l.err == nil && !l.preparing {
		l.check(op, call())
	}
}

var _ backend.Brancher = (*lane)(nil)
