package live

import (
	"fmt"
	"net/http"
	"sync"
	"time"
)

const (
	mostListeners = 64
	waiting       = 64               // events that a listener may be behind by
	heartbeat     = 15 * time.Second // between comments that keep proxies from closing a quiet connection
	eventTimeout  = 10 * time.Second // for a listener to take an event
)

// hub sends events to browsers.
type hub struct {
	mu        sync.Mutex
	listeners map[chan string]bool
	closed    chan struct{}
	once      sync.Once
}

func newHub() *hub { return &hub{listeners: map[chan string]bool{}, closed: make(chan struct{})} }

// send gives an event to all. One who does not keep up is let go, and comes back by itself to read what there is.
func (h *hub) send(name string, data []byte) {
	text := fmt.Sprintf("event: %s\ndata: %s\n\n", name, data)
	h.mu.Lock()
	defer h.mu.Unlock()
	for c := range h.listeners {
		select {
		case c <- text:
		default:
			delete(h.listeners, c)
			close(c)
		}
	}
}

// close ends all connections.
func (h *hub) close() { h.once.Do(func() { close(h.closed) }) }

func (h *hub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	events := make(chan string, waiting)
	h.mu.Lock()
	full := len(h.listeners) >= mostListeners
	if !full {
		h.listeners[events] = true
	}
	h.mu.Unlock()
	if full {
		w.Header().Set("Retry-After", "10")
		Error(w, http.StatusServiceUnavailable, fmt.Sprintf("%d pages are open already", mostListeners))
		return
	}
	defer func() {
		h.mu.Lock()
		delete(h.listeners, events)
		h.mu.Unlock()
	}()
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no")
	out := http.NewResponseController(w)
	_ = out.SetReadDeadline(time.Time{}) // nothing more is to come; a recorder in a test has none
	write := func(text string) bool {
		_ = out.SetWriteDeadline(time.Now().Add(eventTimeout)) // a recorder in a test has none
		if _, err := w.Write([]byte(text)); err != nil {
			return false
		}
		return out.Flush() == nil
	}
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	for text, ok := "retry: 2000\nevent: hello\ndata: {}\n\n", true; ok && write(text); {
		select {
		case text, ok = <-events:
		case <-beat.C:
			text = ": still here\n\n"
		case <-h.closed:
			return
		case <-r.Context().Done():
			return
		}
	}
}
