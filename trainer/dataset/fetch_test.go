package dataset

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// content is what the mirrors of the tests serve, in several reads.
var content = func() []byte {
	b := make([]byte, 300_000)
	rand.NewChaCha8([32]byte{}).Read(b)
	return b
}()

func sha256Of(b []byte) string { sum := sha256.Sum256(b); return hex.EncodeToString(sum[:]) }

// A mirror serves files and notes the Range of each request.
type mirror struct {
	*httptest.Server
	mu     sync.Mutex
	ranges []string
}

func newMirror(t *testing.T, serve http.HandlerFunc) *mirror {
	m := &mirror{}
	m.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		m.mu.Lock()
		m.ranges = append(m.ranges, r.Header.Get("Range"))
		m.mu.Unlock()
		serve(w, r)
	}))
	t.Cleanup(m.Close)
	return m
}

func (m *mirror) wantRanges(t *testing.T, want ...string) {
	t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	if found, want := fmt.Sprintf("%q", m.ranges), fmt.Sprintf("%q", want); found != want {
		t.Errorf("requests came with Range %s, want %s", found, want)
	}
}

// serveWhole answers every request, and its Range, from b.
func serveWhole(b []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(b))
	}
}

// serveCut breaks the connection after n bytes of content.
func serveCut(n int) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(len(content)))
		w.Write(content[:n])
	}
}

// source returns one of the single file "a.gz", which holds content.
func source(mirrors ...*mirror) Source {
	s := Source{Name: "test", Files: []File{{Name: "a.gz", SHA256: sha256Of(content)}}}
	for _, m := range mirrors {
		s.Mirrors = append(s.Mirrors, m.URL+"/")
	}
	return s
}

func wantFile(t *testing.T, dir string) {
	t.Helper()
	if b, err := os.ReadFile(filepath.Join(dir, "a.gz")); err != nil || !bytes.Equal(b, content) {
		t.Errorf("the file is not what was served: %d bytes, %v", len(b), err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("the folder holds %v, %v, want one file", entries, err)
	}
}

func TestFetch(t *testing.T) {
	packed := zipped(content)
	m := newMirror(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/plain":
			serveWhole(content)(w, r)
		case "/sha256.gz", "/served.gz":
			serveWhole(packed)(w, r)
		default:
			http.NotFound(w, r)
		}
	})
	s := source(m)
	s.Files = []File{
		{Name: "plain", SHA256: sha256Of(content)},
		{Name: "sha256.gz", SHA256: sha256Of(content)}, // of the unpacked content
		{Name: "served.gz", SHA256: sha256Of(packed), AsServed: true},
	}
	cache := t.TempDir()
	type step struct{ done, total int64 }
	last := make(map[string]step)
	dir, err := s.Fetch(t.Context(), cache, func(file string, done, total int64) {
		if done < last[file].done {
			t.Errorf("progress of %s went from %d back to %d", file, last[file].done, done)
		}
		last[file] = step{done, total}
	})
	if err != nil {
		t.Fatal(err)
	}
	if want := filepath.Join(cache, "test"); dir != want {
		t.Errorf("folder is %s, want %s", dir, want)
	}
	for file, b := range map[string][]byte{"plain": content, "sha256.gz": packed, "served.gz": packed} {
		if found, err := os.ReadFile(filepath.Join(dir, file)); err != nil || !bytes.Equal(found, b) {
			t.Errorf("%s is not what was served: %v", file, err)
		}
		if size := int64(len(b)); last[file] != (step{size, size}) {
			t.Errorf("progress of %s ended with %v, want %d of as many", file, last[file], size)
		}
	}
	m.wantRanges(t, "", "", "")

	// What is there is kept, and what is damaged is fetched again.
	writeFile(t, filepath.Join(dir, "plain"), content[:100])
	if _, err := s.Fetch(t.Context(), cache, nil); err != nil {
		t.Error(err)
	}
	m.wantRanges(t, "", "", "", "")
}

func TestFetchResumes(t *testing.T) {
	const n = 100_000
	serve := serveCut(n)
	m := newMirror(t, func(w http.ResponseWriter, r *http.Request) { serve(w, r) })
	s, cache := source(m), t.TempDir()
	_, err := s.Fetch(t.Context(), cache, nil)
	if want := "connection lost: want 300000 bytes, found 100000"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("error is %v, want %q in it", err, want)
	}

	serve = serveWhole(content)
	first, total := int64(-1), int64(-1)
	dir, err := s.Fetch(t.Context(), cache, func(_ string, done, all int64) {
		if first < 0 {
			first, total = done, all
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	wantFile(t, dir)
	m.wantRanges(t, "", "bytes=100000-")
	if first != n || total != int64(len(content)) {
		t.Errorf("progress began with %d of %d, want %d of %d", first, total, n, len(content))
	}
}

// A part file can be of no use to a server, or be all there is.
func TestFetchStartsAgain(t *testing.T) {
	ignoreRange := func(w http.ResponseWriter, r *http.Request) { w.Write(content) }
	for _, c := range []struct {
		name   string
		part   []byte
		serve  http.HandlerFunc
		ranges []string
	}{
		{"Range ignored", content[:1000], ignoreRange, []string{"bytes=1000-"}},
		{"part whole", content, serveWhole(content), []string{"bytes=300000-", ""}},
		{"part too long", append(content[:len(content):len(content)], 1, 2), serveWhole(content), []string{"bytes=300002-", ""}},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := newMirror(t, c.serve)
			s, dir := source(m), t.TempDir()
			writeFile(t, partPath(filepath.Join(dir, "a.gz"), m.URL+"/a.gz"), c.part)
			if err := s.fetchFile(t.Context(), s.Files[0], dir, nil); err != nil {
				t.Fatal(err)
			}
			wantFile(t, dir)
			m.wantRanges(t, c.ranges...)
		})
	}
}

func TestFetchWrongRange(t *testing.T) {
	m := newMirror(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Range", "bytes 5-299999/300000")
		w.WriteHeader(http.StatusPartialContent)
		w.Write(content[5:])
	})
	part := filepath.Join(t.TempDir(), "part")
	writeFile(t, part, content[:1000])
	err := download(t.Context(), m.URL, part, time.Minute, func(done, total int64) {})
	if want := `asked for the bytes from 1000 on, Content-Range of the answer is "bytes 5-299999/300000"`; err == nil || err.Error() != want {
		t.Errorf("error is %v, want %s", err, want)
	}
}

func TestFetchWrongChecksum(t *testing.T) {
	forged := []byte("something else")
	m := newMirror(t, serveWhole(forged))
	s, cache := source(m), t.TempDir()
	for _, file := range []File{
		{Name: "a.gz", SHA256: sha256Of(content)},
		{Name: "a.gz", SHA256: sha256Of(content), AsServed: true},
	} {
		s.Files[0] = file
		_, err := s.Fetch(t.Context(), cache, nil)
		if err == nil || !strings.Contains(err.Error(), "is "+sha256Of(forged)+", want "+file.SHA256) {
			t.Errorf("error is %v, want both checksums in it", err)
		}
		if entries, _ := os.ReadDir(filepath.Join(cache, "test")); len(entries) > 0 {
			t.Errorf("%s is left of a wrong download", entries[0].Name())
		}
	}
}

func TestFetchNextMirror(t *testing.T) {
	down := newMirror(t, nil)
	down.Close()
	cut := newMirror(t, serveCut(1000))
	wrong := newMirror(t, serveWhole([]byte("something else")))
	good := newMirror(t, serveWhole(content))
	spare := newMirror(t, serveWhole(content))
	dir, err := source(down, cut, wrong, good, spare).Fetch(t.Context(), t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	wantFile(t, dir)
	good.wantRanges(t, "") // not going on from what another mirror served
	spare.wantRanges(t)
}

func TestFetchNotFound(t *testing.T) {
	a, b := newMirror(t, http.NotFound), newMirror(t, http.NotFound)
	_, err := source(a, b).Fetch(t.Context(), t.TempDir(), nil)
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{
		"dataset test: no mirror gave a.gz: ",
		a.URL + "/a.gz: HTTP status is 404 Not Found",
		b.URL + "/a.gz: HTTP status is 404 Not Found",
		"put a.gz into a folder and name it with --data-dir",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error is %q, want %q in it", err, want)
		}
	}
}

func TestFetchCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	m := newMirror(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(len(content)))
		w.Write(content[:1000])
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	spare := newMirror(t, serveWhole(content))
	_, err := source(m, spare).Fetch(ctx, t.TempDir(), func(_ string, done, _ int64) {
		if done == 1000 {
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v, want context.Canceled", err)
	}
	spare.wantRanges(t)
}

func TestDownloadStalls(t *testing.T) {
	m := newMirror(t, func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	err := download(t.Context(), m.URL, filepath.Join(t.TempDir(), "part"), 20*time.Millisecond, func(done, total int64) {})
	if want := "the server sent nothing for 20ms"; err == nil || err.Error() != want {
		t.Errorf("error is %v, want %s", err, want)
	}
}

func TestFetchUnknown(t *testing.T) {
	_, err := Fetch(t.Context(), "digits", t.TempDir(), nil)
	if want := `no data set "digits" to download, want mnist or fashion-mnist`; err == nil || err.Error() != want {
		t.Errorf("error is %v, want %s", err, want)
	}
}

func TestSources(t *testing.T) {
	for _, s := range sources {
		if len(s.Files) != 4 || len(s.Mirrors) == 0 {
			t.Errorf("%s has %d files and %d mirrors", s.Name, len(s.Files), len(s.Mirrors))
		}
		for _, m := range s.Mirrors {
			if !strings.HasPrefix(m, "https://") || !strings.HasSuffix(m, "/") {
				t.Errorf("%s: mirror is %s, want https://.../", s.Name, m)
			}
		}
		for _, f := range s.Files {
			if sum, err := hex.DecodeString(f.SHA256); err != nil || len(sum) != sha256.Size {
				t.Errorf("%s: %s is not pinned by a SHA-256 sum", s.Name, f.Name)
			}
		}
	}
}
