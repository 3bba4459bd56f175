package cuda

import (
	"github.com/convae/convae/cuda/driver"
	"github.com/convae/convae/nn/backend"
)

// recording is a graph of the driver; graph is nil when the device had failed.
type recording struct {
	lane  *lane
	graph driver.Graph
}

// Record returns the ops that f calls as a graph. What they need is compiled before, because nothing can be loaded meanwhile.
func (l *lane) Record(f func()) backend.Recording {
	r := &recording{lane: l}
	if l.Prepare(f); l.err != nil {
		return r
	}
	l.setClock()
	if err := l.stream.BeginCapture(); err != nil {
		l.check("Record", err)
		return r
	}
	l.spreadOf = spreadKey{} // a graph counts on nothing that was done before it, and nothing after it on what is in it
	f()
	l.spreadOf = spreadKey{}
	// The capture is ended also after a failure within it, or the stream would be of no use.
	graph, err := l.stream.EndCapture()
	l.check("Record", err)
	r.graph = graph
	return r
}

// Replay runs a graph.
func (l *lane) Replay(r backend.Recording) {
	g, ok := r.(*recording)
	if !ok || g.lane != l {
		panic("cuda: a recording that this device did not make")
	}
	l.do("Replay", func() error { return l.stream.Replay(g.graph) })
}

// Close frees the graph.
func (r *recording) Close() {
	if r.graph != nil {
		r.lane.check("Close of a recording", r.graph.Close())
		r.graph = nil
	}
}

var _ backend.Recorder = (*lane)(nil)
