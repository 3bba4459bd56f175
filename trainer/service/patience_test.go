package service

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/convae/convae/cpu"
	"github.com/convae/convae/trainer"
)

// half sends the beginning of a request, and returns the connection.
func (s *serving) half(text string) net.Conn {
	s.t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { c.Close() })
	if _, err := io.WriteString(c, text); err != nil {
		s.t.Fatal(err)
	}
	return c
}

const halfPost = "POST /v1/reconstruct HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n[1"

// status reads an answer from a connection, for as long as answers may take.
func status(t *testing.T, c net.Conn) (int, string) {
	t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	all, err := io.ReadAll(c) // it is closed
	if err != nil {
		t.Fatalf("%v after %q", err, all)
	}
	var code int
	if _, err := fmt.Sscanf(string(all), "HTTP/1.1 %d", &code); err != nil {
		t.Fatalf("%q", all)
	}
	return code, string(all)
}

// Those who send the half of a request, and then nothing, take no place from others, and are not waited for without end.
func TestStalledBodies(t *testing.T) {
	s := start(t, model(t, 1), trainer.Data{}, Options{Queue: 2})
	s.s.patient = 700 * time.Millisecond
	var stalled []net.Conn
	for range 5 {
		stalled = append(stalled, s.half(fmt.Sprintf(halfPost, 1000)))
	}
	if code, _, out := s.post("/v1/reconstruct", kindNPY, "", npy(t, values(96, 1), 8, 12)); code != 200 {
		t.Errorf("beside them: status %d, %s", code, out)
	}
	for _, c := range stalled {
		if code, text := status(t, c); code != http.StatusRequestTimeout || !strings.Contains(text, "2 bytes of the body have come") {
			t.Errorf("status %d: %s", code, text)
		}
	}
	if held := s.s.held.Load(); held != 0 {
		t.Errorf("%d bytes are still held", held)
	}
}

// A body that comes slowly but steadily is read to its end, also if that takes longer than patience lasts; one that only trickles is not.
func TestSlowBodies(t *testing.T) {
	s := start(t, model(t, 1), trainer.Data{}, Options{})
	s.s.patient = 400 * time.Millisecond
	body := bytes.Repeat([]byte(" "), 160<<10)
	copy(body[len(body)-4:], "[1]")
	c := s.half("POST /v1/reconstruct HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: 163840\r\n\r\n")
	for part := 0; part < len(body); part += 16 << 10 { // 1.0 s in all, 0.4 s and 2.5 s at the least rate are given
		time.Sleep(100 * time.Millisecond)
		if _, err := c.Write(body[part:][:16<<10]); err != nil {
			t.Fatal(err)
		}
	}
	if code, text := status(t, c); code != http.StatusUnprocessableEntity { // it is read, and has another shape than the model takes
		t.Errorf("status %d: %s", code, text)
	}
	c = s.half(fmt.Sprintf(halfPost, 1000))
	go func() {
		for range 40 { // each comes in time for the next, all together do not
			if _, err := io.WriteString(c, " "); err != nil {
				return
			}
			time.Sleep(50 * time.Millisecond)
		}
	}()
	if code, text := status(t, c); code != http.StatusRequestTimeout {
		t.Errorf("status %d: %s", code, text)
	}
}

// A body that is too large by its own account is refused before it comes.
func TestDeclaredTooLarge(t *testing.T) {
	s := start(t, model(t, 1), trainer.Data{}, Options{})
	s.s.patient = time.Minute
	c := s.half(fmt.Sprintf(halfPost, int64(1)<<40))
	if code, text := status(t, c); code != http.StatusRequestEntityTooLarge || !strings.Contains(text, "has 1099511627776 bytes, want at most 16777216") {
		t.Errorf("status %d: %s", code, text)
	}
}

// Those who do not take their answers keep no place.
func TestAnswersNotTaken(t *testing.T) {
	m := model(t, 1)
	s := start(t, m, trainer.Data{}, Options{Queue: 1, Body: 64 << 20})
	const n = 60000 // 23 MB, more than the system keeps for a connection
	var text bytes.Buffer
	body := npy(t, make([]float32, n*96), n, 8, 12)
	fmt.Fprintf(&text, "POST /v1/reconstruct HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-npy\r\nContent-Length: %d\r\n\r\n", len(body))
	text.Write(body)
	c := s.half(text.String())
	first := make([]byte, 15)
	if _, err := io.ReadFull(c, first); err != nil || string(first) != "HTTP/1.1 200 OK" {
		t.Fatalf("%q, %v", first, err)
	}
	if code, _, out := s.post("/v1/reconstruct", kindNPY, "", npy(t, values(96, 1), 8, 12)); code != 200 {
		t.Errorf("beside it: status %d, %s", code, out)
	}
}

// Requests that come after the end are refused.
func TestAfterClose(t *testing.T) {
	dev, err := cpu.Open(cpu.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer dev.Close()
	s, err := New(model(t, 1), trainer.Data{}, dev, Options{Queue: 2})
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	r := httptest.NewRequest("POST", "/v1/reconstruct", strings.NewReader("[1]"))
	r.Header.Set("Content-Type", kindJSON)
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	if w.Code != http.StatusTooManyRequests {
		t.Errorf("status %d, %s", w.Code, w.Body)
	}
}
