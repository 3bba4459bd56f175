package service

import (
	"errors"
	"io"
	"net/http"
	"os"
	"strconv"
	"time"
)

const (
	patience  = 30 * time.Second // with one who neither sends nor takes anything
	leastRate = 64 << 10         // bytes a second that larger bodies and answers are given time for
)

// atLeast is the time that bytes take at the least rate.
func atLeast(bytes int64) time.Duration {
	return time.Duration(float64(bytes) / leastRate * float64(time.Second))
}

// slowly reads a body of which something must come again and again, and all of it at a least rate.
type slowly struct {
	io.Reader
	s     *Service
	out   *http.ResponseController
	began time.Time
	n     int64
}

func (b *slowly) Read(p []byte) (int, error) {
	late := b.began.Add(b.s.patient + atLeast(b.n))
	if next := time.Now().Add(b.s.patient); next.Before(late) {
		late = next
	}
	_ = b.out.SetReadDeadline(late) // a recorder in a test has none
	n, err := b.Reader.Read(p)
	b.n += int64(n)
	if all := b.s.held.Add(int64(n)); all > int64(b.s.o.Queue)*b.s.o.Body {
		return n, refuse(http.StatusTooManyRequests, "the bodies of other requests take all the memory that is for them: try again in a second")
	}
	return n, err
}

// body reads a request's body. Who sends nothing, or too slowly, is not waited for.
func (s *Service) body(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	out := http.NewResponseController(w)
	b := &slowly{Reader: http.MaxBytesReader(w, r.Body, s.o.Body), s: s, out: out, began: time.Now()}
	defer func() { s.held.Add(-b.n) }()
	body, err := io.ReadAll(b)
	var no refusal
	switch {
	case err == nil:
		_ = out.SetReadDeadline(time.Time{}) // the answer may take longer; whoever goes away meanwhile is still noticed
		return body, nil
	case errors.As(err, &no):
		return nil, no
	case errors.As(err, new(*http.MaxBytesError)):
		return nil, refuse(http.StatusRequestEntityTooLarge, "the body has more than %d bytes", s.o.Body)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, refuse(http.StatusRequestTimeout, "%d bytes of the body have come in %.1f s and no more: want something every %v, and %d bytes a second", b.n, time.Since(b.began).Seconds(), s.patient, leastRate)
	default:
		return nil, refuse(http.StatusBadRequest, "the body: %v", err)
	}
}

// write sends an answer. Who does not take it is not waited for.
func (s *Service) write(w http.ResponseWriter, kind string, body []byte) {
	h := w.Header()
	h.Set("Content-Type", kind)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("Cache-Control", "no-store")
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(s.patient + atLeast(int64(len(body))))) // a recorder in a test has none
	_, _ = w.Write(body)                                                                                      // whoever asked may be gone
}
