package live

import (
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/convae/convae/trainer"
)

//go:embed web
var web embed.FS

const (
	pollEvery = time.Second // between looks at the folders of runs
	mostRuns  = 200
	logShown  = 64 << 10 // bytes of a log's end
	fileMost  = 64 << 20 // bytes of a file of an epoch

	endGrace = 5 * time.Second // for requests that are under way at the end
	// Of those who send a body, or take an answer: what is streamed, and the model, have deadlines of their own.
	readTimeout  = 30 * time.Second
	writeTimeout = 30 * time.Second
)

// ErrCut is the error of Serve when requests were still under way at its end, and were cut off.
var ErrCut = fmt.Errorf("live page: requests that had not ended after %v were cut off", endGrace)

// Options are the choices of New.
type Options struct {
	// Loopback says that this machine alone reaches the server: then requests must have its name in their Host header.
	Loopback bool
	Runs     []string     // folders of runs
	Within   string       // a folder of runs, "" for none: those in it are shown too, also such as are begun later
	Token    string       // what all requests must have, "" on a loopback address where reading is free
	Version  string       // of the program
	Model    http.Handler // answers what is below /v1/; nil if no model is served
}

// Server is the live page.
type Server struct {
	o   Options
	hub *hub

	grace time.Duration // for requests that are under way at the end

	guard   guard
	metrics *metrics

	mu   sync.Mutex
	runs []*entry
}

// entry is a run that is shown.
type entry struct {
	id     string
	folder folder
	local  *observer // nil if the run is another process's
}

// New returns a page of runs.
func New(o Options) (*Server, error) {
	s := &Server{o: o, hub: newHub(), grace: endGrace, guard: newGuard(o.Token, o.Loopback)}
	for _, dir := range o.Runs {
		if info, err := os.Stat(filepath.Join(dir, trainer.ConfigFile)); err != nil || !info.Mode().IsRegular() {
			return nil, fmt.Errorf("%s is no run: want a folder that `convae train` made, with its %s", dir, trainer.ConfigFile)
		}
		s.add(dir, nil)
	}
	s.look(time.Now())
	s.metrics = newMetrics(s, o.Version)
	return s, nil
}

// Serve answers requests at a listener until the context ends, and then for five seconds those that are under way; ErrCut says that some were not done by then.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	server := &http.Server{Handler: s.Handler(), ReadHeaderTimeout: 10 * time.Second, ReadTimeout: readTimeout, WriteTimeout: writeTimeout, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10,
		BaseContext: func(net.Listener) context.Context { return context.WithoutCancel(ctx) }}
	watched, stop := context.WithCancel(ctx)
	defer stop()
	go s.watch(watched)
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(l) }()
	select {
	case err := <-failed:
		return fmt.Errorf("live page: %w", err)
	case <-ctx.Done():
	}
	s.hub.close()
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.grace)
	defer cancel()
	err := server.Shutdown(ending)
	if errors.Is(err, context.DeadlineExceeded) {
		_ = server.Close() // what it could say is that a connection had ended
		return ErrCut
	}
	if err != nil {
		return fmt.Errorf("live page: %w", err)
	}
	return nil
}

// Control returns what a request that changes something must have: the token or, without one, a word that was made for this process.
func (s *Server) Control() string { return s.guard.control }

// Handler answers all requests.
func (s *Server) Handler() http.Handler {
	g := &s.guard
	files, err := fs.Sub(web, "web")
	if err != nil {
		panic("live: the page is embedded")
	}
	page := http.FileServerFS(files)
	mux := http.NewServeMux()
	for _, name := range []string{"/{$}", "/page.js", "/chart.js", "/page.css", "/icon.svg"} {
		mux.Handle("GET "+name, page)
	}
	mux.HandleFunc("GET /api/info", func(w http.ResponseWriter, r *http.Request) {
		answer(w, map[string]any{"version": s.o.Version, "locked": !g.reads(r), "model": s.o.Model != nil})
	})
	mux.HandleFunc("POST /api/session", g.changing(g.login))
	mux.HandleFunc("GET /api/events", g.reading(s.hub.ServeHTTP))
	mux.HandleFunc("GET /api/runs", g.reading(func(w http.ResponseWriter, _ *http.Request) { answer(w, s.list()) }))
	mux.HandleFunc("GET /api/runs/{id}", g.reading(s.one(func(w http.ResponseWriter, _ *http.Request, e *entry) { answer(w, s.detail(e)) })))
	mux.HandleFunc("GET /api/runs/{id}/samples/{epoch}", g.reading(s.one(s.file(trainer.SamplesPath, "image/png"))))
	mux.HandleFunc("GET /api/runs/{id}/latent/{epoch}", g.reading(s.one(s.file(trainer.LatentPath, "application/json"))))
	mux.HandleFunc("GET /api/runs/{id}/log", g.reading(s.one(s.log)))
	mux.HandleFunc("GET /api/diff", g.reading(s.diff))
	for path, change := range map[string]func(*trainer.Control) error{"pause": (*trainer.Control).Pause, "resume": (*trainer.Control).Resume, "stop": (*trainer.Control).Stop} {
		mux.HandleFunc("POST /api/runs/{id}/"+path, g.changing(s.one(s.control(change))))
	}
	mux.HandleFunc("GET /metrics", g.reading(s.metrics.ServeHTTP))
	if s.o.Model != nil {
		mux.Handle("/v1/", g.computing(s.o.Model))
	}
	return g.protect(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		refusal, pattern := mux.Handler(r)
		if pattern != "" {
			mux.ServeHTTP(w, r)
			return
		}
		said := headerOnly{http.Header{}}
		refusal.ServeHTTP(said, r) // of it the methods are wanted that there are
		if allow := said.header.Get("Allow"); allow != "" {
			w.Header().Set("Allow", allow)
			Error(w, http.StatusMethodNotAllowed, fmt.Sprintf("the method is %s, want %s", r.Method, allow))
			return
		}
		Error(w, http.StatusNotFound, "there is no "+r.URL.Path+" here")
	}))
}

// headerOnly keeps the header of an answer alone.
type headerOnly struct{ header http.Header }

func (h headerOnly) Header() http.Header         { return h.header }
func (h headerOnly) Write(p []byte) (int, error) { return len(p), nil }
func (h headerOnly) WriteHeader(int)             {}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(encode(v)) // whoever asked may be gone
}

// add has a run shown, and returns its name in addresses.
func (s *Server) add(dir string, local *observer) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	dir = filepath.Clean(dir)
	for _, e := range s.runs {
		if e.folder.dir == dir {
			if local != nil {
				e.local = local
			}
			return e.id
		}
	}
	name := dir
	if whole, err := filepath.Abs(dir); err == nil {
		name = whole
	}
	name = filepath.Base(name)
	id := strings.Map(func(r rune) rune {
		if r == '-' || r == '_' || r == '.' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' {
			return r
		}
		return '-'
	}, name)
	taken := func(id string) bool {
		return strings.Trim(id, ".") == "" || slices.ContainsFunc(s.runs, func(e *entry) bool { return e.id == id })
	}
	for first, i := id, 2; taken(id); i++ {
		id = fmt.Sprintf("%s-%d", first, i)
	}
	e := &entry{id: id, folder: folder{dir: dir}, local: local}
	e.folder.refresh(time.Now())
	s.runs = append(s.runs, e)
	return id
}

// watch looks at the folders until the context ends.
func (s *Server) watch(ctx context.Context) {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			s.look(now)
		}
	}
}

// look reads what is new in folders, and tells browsers of it.
func (s *Server) look(now time.Time) {
	if s.o.Within != "" {
		entries, _ := os.ReadDir(s.o.Within) // a folder that is not there yet has no runs
		for _, e := range entries {
			dir := filepath.Join(s.o.Within, e.Name())
			if _, err := os.Stat(filepath.Join(dir, trainer.ConfigFile)); err == nil && s.count() < mostRuns {
				s.add(dir, nil)
			}
		}
	}
	for _, dir := range s.o.Runs { // one that was removed may have come back
		if _, err := os.Lstat(filepath.Join(dir, trainer.ConfigFile)); err == nil {
			s.add(dir, nil)
		}
	}
	s.mu.Lock()
	var changed []string
	s.runs = slices.DeleteFunc(s.runs, func(e *entry) bool {
		training := e.local != nil && e.local.control.State() != trainer.Ended
		gone := !training && e.folder.gone()
		if gone {
			changed = append(changed, e.id)
		}
		return gone
	})
	for _, e := range s.runs {
		if e.folder.refresh(now) {
			changed = append(changed, e.id)
		}
	}
	s.mu.Unlock()
	for _, id := range changed {
		s.changed(id)
	}
}

func (s *Server) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.runs)
}

// changed has browsers ask for a run anew.
func (s *Server) changed(id string) { s.hub.send("run", encode(map[string]string{"id": id})) }

// one finds the run that a request is about.
func (s *Server) one(next func(http.ResponseWriter, *http.Request, *entry)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if e := s.find(r.PathValue("id")); e != nil {
			next(w, r, e)
			return
		}
		Error(w, http.StatusNotFound, fmt.Sprintf("there is no run %q here", r.PathValue("id")))
	}
}

func (s *Server) find(id string) *entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.runs {
		if e.id == id {
			return e
		}
	}
	return nil
}

// detail returns all that is known of a run.
func (s *Server) detail(e *entry) Run {
	s.mu.Lock()
	r, local := e.folder.run, e.local
	s.mu.Unlock()
	r.ID, r.Name = e.id, filepath.Base(e.folder.dir)
	if local != nil {
		local.over(&r)
	}
	return r
}

// list returns all runs, without what is long.
func (s *Server) list() []Run {
	s.mu.Lock()
	entries := slices.Clone(s.runs)
	s.mu.Unlock()
	all := []Run{}
	for _, e := range entries {
		r := s.detail(e)
		r.History, r.Points, r.Samples, r.Latent, r.Config = nil, nil, nil, nil, ""
		all = append(all, r)
	}
	return all
}

// file answers with a file of an epoch.
func (s *Server) file(path func(run string, epoch int) string, kind string) func(http.ResponseWriter, *http.Request, *entry) {
	return func(w http.ResponseWriter, r *http.Request, e *entry) {
		epoch, err := strconv.Atoi(r.PathValue("epoch"))
		if err != nil || epoch < 1 {
			Error(w, http.StatusBadRequest, fmt.Sprintf("the epoch is %q, want a number from 1 on", r.PathValue("epoch")))
			return
		}
		data, err := e.folder.readSome(path("", epoch), fileMost)
		if err != nil {
			Error(w, http.StatusNotFound, fmt.Sprintf("run %s keeps nothing of epoch %d", e.id, epoch))
			return
		}
		w.Header().Set("Content-Type", kind)
		w.Header().Set("Cache-Control", "private, max-age=60")
		_, _ = w.Write(data)
	}
}

// log answers with the end of a run's log.
func (s *Server) log(w http.ResponseWriter, _ *http.Request, e *entry) {
	lines := []json.RawMessage{}
	for line := range strings.Lines(string(e.folder.tail(logShown))) {
		if json.Valid([]byte(line)) {
			lines = append(lines, json.RawMessage(line))
		}
	}
	answer(w, lines)
}

// diff answers with the values in which the configurations of two runs differ.
func (s *Server) diff(w http.ResponseWriter, r *http.Request) {
	var configs [2]trainer.Config
	for i, key := range []string{"a", "b"} {
		e := s.find(r.URL.Query().Get(key))
		if e == nil {
			Error(w, http.StatusNotFound, fmt.Sprintf("there is no run %q here: want ?a=RUN&b=RUN", r.URL.Query().Get(key)))
			return
		}
		var err error
		if configs[i], err = trainer.DecodeConfig(strings.NewReader(s.detail(e).Config)); err != nil {
			Error(w, http.StatusUnprocessableEntity, fmt.Sprintf("%s: %v", filepath.Join(e.folder.dir, trainer.ConfigFile), err))
			return
		}
	}
	changed, err := trainer.Differences(configs[0], configs[1])
	if err != nil {
		Error(w, http.StatusUnprocessableEntity, err.Error())
		return
	}
	type value struct {
		Path string `json:"path"`
		A    string `json:"a"`
		B    string `json:"b"`
	}
	values := []value{}
	for _, v := range changed {
		values = append(values, value(v))
	}
	answer(w, values)
}

// control has a run of this process do something.
func (s *Server) control(change func(*trainer.Control) error) func(http.ResponseWriter, *http.Request, *entry) {
	return func(w http.ResponseWriter, _ *http.Request, e *entry) {
		s.mu.Lock()
		local := e.local
		s.mu.Unlock()
		if local == nil {
			Error(w, http.StatusConflict, fmt.Sprintf("run %s is not of this process: it can be paused and stopped where `convae train --serve` runs it", e.id))
			return
		}
		if err := change(local.control); err != nil {
			Error(w, http.StatusConflict, err.Error())
			return
		}
		s.changed(e.id)
		answer(w, map[string]trainer.ControlState{"state": local.control.State()})
	}
}
