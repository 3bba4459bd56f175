package cuda

import (
	"time"

	"github.com/convae/convae/nn/backend"
)

// Time returns how long the stream took for the ops that f calls, by events before and behind them.
func (l *lane) Time(f func()) (took time.Duration) {
	for i := range l.marks {
		if l.marks[i] == nil {
			l.mark("Time", func() (err error) { l.marks[i], err = l.dev.dev.NewEvent(); return err })
		}
	}
	l.mark("Time", func() error { return l.stream.Record(l.marks[0]) })
	f()
	l.mark("Time", func() error { return l.stream.Record(l.marks[1]) })
	l.mark("Time", func() error { return l.marks[1].Synchronize() })
	l.mark("Time", func() error {
		ms, err := l.marks[1].Since(l.marks[0])
		took = time.Duration(ms * float64(time.Millisecond))
		return err
	})
	return took
}

var _ backend.Timer = (*lane)(nil)
