package live

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/convae/convae/cpu"
	"github.com/convae/convae/nn"
	"github.com/convae/convae/nn/graph"
	"github.com/convae/convae/nn/layer"
	"github.com/convae/convae/trainer"
	"github.com/convae/convae/trainer/dataset"
)

func smallConfig(epochs int) trainer.Config {
	return trainer.Config{
		Model: nn.Config{Name: "small", Input: []int{28, 28, 1},
			Encoder: graph.Specs(&layer.Conv2D{Filters: 2, Kernel: layer.Square(3), Activation: "relu"}, &layer.MaxPool2D{Size: 2}),
			Decoder: graph.Specs(&layer.UpSampling2D{Size: 2}, &layer.Conv2D{Filters: 1, Kernel: layer.Square(3), Activation: "sigmoid"})},
		Data: trainer.Data{Name: "digits"}, Training: trainer.Training{Epochs: epochs, Batch: 16, Noise: trainer.Noise{Std: 0.5}, Seed: 5},
	}
}

// train makes a run, and tells an observer of it.
func train(t *testing.T, ctx context.Context, c trainer.Config, dir string, o trainer.Observer, control *trainer.Control) {
	t.Helper()
	dev, err := cpu.Open(cpu.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer dev.Close()
	set := dataset.Digits(120, 1)
	if _, err := trainer.Train(ctx, c, trainer.Options{Dir: dir, Device: dev, Train: set.Slice(0, 80), Test: set.Slice(80, 120), Observer: o, Control: control}); err != nil {
		t.Fatal(err)
	}
}

// page is a server under test.
type page struct {
	t *testing.T
	*Server
	URL string
}

func serve(t *testing.T, o Options) page {
	t.Helper()
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	h := httptest.NewServer(s.Handler())
	t.Cleanup(func() { s.hub.close(); h.Close() })
	return page{t, s, h.URL}
}

// ask sends a request with headers, "NAME: VALUE", and returns status and body.
func (p page) ask(method, path string, headers ...string) (int, string) {
	p.t.Helper()
	r, err := http.NewRequestWithContext(p.t.Context(), method, p.URL+path, nil)
	if err != nil {
		p.t.Fatal(err)
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Set(name, value)
		if name == "Host" {
			r.Host = value
		}
	}
	w, err := http.DefaultClient.Do(r)
	if err != nil {
		p.t.Fatal(err)
	}
	defer w.Body.Close()
	body, err := io.ReadAll(w.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	return w.StatusCode, string(body)
}

// run asks for a run's details.
func (p page) run(id string) (r Run) {
	p.t.Helper()
	status, body := p.ask("GET", "/api/runs/"+id)
	if status != 200 {
		p.t.Fatalf("status %d: %s", status, body)
	}
	if err := json.Unmarshal([]byte(body), &r); err != nil {
		p.t.Fatal(err)
	}
	return r
}

// stepper calls do in the first steps after the second epoch.
type stepper struct {
	trainer.Observer
	do   func()
	done bool
}

func (s *stepper) Step(step trainer.Step) {
	s.Observer.Step(step)
	if step.Epoch == 3 && !s.done {
		s.done = true
		s.do()
	}
}

// While a run trains, the page has its steps, as events too, and pauses and stops it for those alone who have the token.
func TestRunInThisProcess(t *testing.T) {
	p := serve(t, Options{Loopback: true})
	control := new(trainer.Control)
	events := make(chan string, 1000)
	listen(t, p, events)
	if first := <-events; first != "hello" {
		t.Fatalf("the first event is %q", first)
	}
	dir := filepath.Join(t.TempDir(), "at work!")
	o := &stepper{Observer: p.Observer("a device", control), do: func() {
		r := p.run("at-work-")
		if r.State != State(trainer.Running) || !r.Control || r.Epoch != 3 || r.Epochs != 50 || r.Steps != 5 || r.Device != "a device" || r.Train != 80 || r.Held != 40 || len(r.Points) < 2 {
			t.Errorf("a run at work: %+v", r)
		}
		p.look(time.Now()) // as it is done every second
		if r = p.run("at-work-"); len(r.History) != 2 || !slices.Equal(r.Samples, []int{1, 2}) || !slices.Equal(r.Latent, []int{1, 2}) {
			t.Errorf("after two epochs: %+v", r)
		}
		for _, headers := range [][]string{nil, {"Authorization: Bearer wrong"}, {"Authorization: " + p.Control()}, {"Cookie: " + sessionCookie + "=" + p.guard.session}} {
			if status, body := p.ask("POST", "/api/runs/at-work-/pause", headers...); status != http.StatusUnauthorized || !strings.Contains(body, "want the token") {
				t.Errorf("pausing with %q: status %d, %s", headers, status, body)
			}
		}
		token := "Authorization: Bearer " + p.Control()
		if status, _ := p.ask("POST", "/api/runs/at-work-/pause", token, "Origin: https://elsewhere.example"); status != http.StatusForbidden {
			t.Errorf("pausing from the page of another site: status %d", status)
		}
		if status, _ := p.ask("GET", "/api/runs/at-work-/pause", token); status != http.StatusMethodNotAllowed {
			t.Errorf("pausing by GET: status %d", status)
		}
		if control.State() != trainer.Running {
			t.Errorf("the run is %s", control.State())
		}
		if status, body := p.ask("POST", "/api/runs/at-work-/pause", token); status != 200 || !strings.Contains(body, "paused") {
			t.Errorf("pausing: status %d, %s", status, body)
		}
		go func() {
			for p.run("at-work-").State != State(trainer.Paused) {
				time.Sleep(time.Millisecond)
			}
			for _, path := range []string{"resume", "stop"} {
				if status, body := p.ask("POST", "/api/runs/at-work-/"+path, token); status != 200 {
					t.Errorf("%s: status %d, %s", path, status, body)
				}
			}
		}()
	}}
	train(t, t.Context(), smallConfig(50), dir, o, control)
	if status, body := p.ask("POST", "/api/runs/at-work-/pause", "Authorization: Bearer "+p.Control()); status != http.StatusConflict || !strings.Contains(body, "has ended") {
		t.Errorf("pausing a run that has ended: status %d, %s", status, body)
	}
	steps, runs := 0, 0
	for len(events) > 0 {
		switch <-events {
		case "step":
			steps++
		case "run":
			runs++
		}
	}
	if steps < 2 || runs < 2 {
		t.Errorf("%d events of steps and %d of the run, want at least 2 of each", steps, runs)
	}
}

// listen gives the names of events, until the test ends.
func listen(t *testing.T, p page, names chan<- string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), "GET", p.URL+"/api/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	w, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Body.Close() })
	if kind := w.Header.Get("Content-Type"); w.StatusCode != 200 || kind != "text/event-stream" {
		t.Fatalf("events: status %d, %s", w.StatusCode, kind)
	}
	go func() {
		for lines := bufio.NewScanner(w.Body); lines.Scan(); {
			if name, ok := strings.CutPrefix(lines.Text(), "event: "); ok {
				names <- name
			}
		}
	}()
}

// Runs of other processes are shown from their folders, beside each other.
func TestFolders(t *testing.T) {
	dir := t.TempDir()
	for k, epochs := range []int{2, 3} {
		train(t, t.Context(), smallConfig(epochs), filepath.Join(dir, fmt.Sprint("run", k+1)), nil, nil)
	}
	log := `{"message":"device","device":"cuda:0"}
{"message":"start","params":11,"train":80,"validation":40,"precision":"tf32","epoch":1}
{"message":"training","epoch":2,"step":3,"steps":5,"loss":0.25,"images_per_s":100,"left":"1m5s","waits_for_data":0.125}
{"message":"training","epoch":2,"step":4,"st`
	if err := os.WriteFile(filepath.Join(dir, "run1", LogFile), []byte(log), 0o666); err != nil {
		t.Fatal(err)
	}
	p := serve(t, Options{Within: dir, Loopback: true})
	var list []Run
	if _, body := p.ask("GET", "/api/runs"); json.Unmarshal([]byte(body), &list) != nil || len(list) != 2 || list[0].ID != "run1" || list[1].State != Finished || list[0].History != nil {
		t.Fatalf("the list is %s", body)
	}
	r := p.run("run1")
	if r.State != State(trainer.Running) || r.Control || r.Epoch != 2 || r.Step != 3 || r.Loss != 0.25 || r.Left != 65 || r.Waiting != 0.125 || r.Device != "cuda:0" || len(r.History) != 2 || len(r.Points) != 1 || !strings.Contains(r.Config, "name: small") {
		t.Errorf("a run with a log: %+v", r)
	}
	// Nothing more is heard of it.
	p.look(time.Now().Add(2 * silence))
	if r := p.run("run1"); r.State != Silent {
		t.Errorf("a run without news is %s", r.State)
	}
	for _, c := range []struct{ last, want string }{{`"message":"done"`, "finished"}, {`"message":"done","interrupted":true`, "stopped"}, {`"message":"failed","error":"the disk is full"`, "failed"}} {
		if err := os.WriteFile(filepath.Join(dir, "run1", LogFile), []byte(log+"\n{"+c.last+"}\n"), 0o666); err != nil {
			t.Fatal(err)
		}
		p.look(time.Now())
		if r := p.run("run1"); string(r.State) != c.want || c.want == "failed" && r.Fault != "the disk is full" {
			t.Errorf("a log that ends in %s: %s, %s", c.last, r.State, r.Fault)
		}
	}
	for path, want := range map[string]string{
		"/api/runs/run1/samples/1": "\x89PNG", "/api/runs/run2/latent/3": `{"epoch":3,`, "/api/runs/run1/log": `[{"message":"device"`, "/api/diff?a=run1&b=run2": `[{"path":"training.epochs","a":"2","b":"3"}]`,
		"/": "<!doctype html>", "/page.js": "EventSource", "/chart.js": "svg", "/page.css": ":root", "/icon.svg": "<svg", "/api/info": `"locked":false`,
	} {
		if status, body := p.ask("GET", path); status != 200 || !strings.HasPrefix(strings.TrimSpace(body), want) && !strings.Contains(body, want) {
			t.Errorf("%s: status %d, %.100q", path, status, body)
		}
	}
	for path, want := range map[string]int{"/api/runs/run3": 404, "/api/runs/run1/samples/3": 404, "/api/runs/run1/samples/..%2f..%2fconfig.yaml": 400, "/api/runs/run1/samples/0": 400,
		"/api/runs/..%2frun1": 404, "/api/diff?a=run1": 404, "/web/page.js": 404, "/v1/encode": 404, "/config.yaml": 404} {
		status, body := p.ask("GET", path)
		var e struct{ Error string }
		if err := json.Unmarshal([]byte(body), &e); status != want || err != nil || e.Error == "" {
			t.Errorf("%s: status %d, want %d: %s", path, status, want, body)
		}
	}
	if status, body := p.ask("POST", "/api/runs/run1/stop", "Authorization: Bearer "+p.Control()); status != http.StatusConflict || !strings.Contains(body, "not of this process") {
		t.Errorf("stopping another process's run: status %d, %s", status, body)
	}
	// One that is begun later is found; what is damaged is said, and the rest is shown.
	train(t, t.Context(), smallConfig(1), filepath.Join(dir, "later"), nil, nil)
	if err := os.WriteFile(filepath.Join(dir, "later", "history.json"), []byte("[{"), 0o666); err != nil {
		t.Fatal(err)
	}
	p.look(time.Now())
	if r := p.run("later"); !strings.Contains(r.Fault, "history.json") || len(r.Samples) != 1 || r.Model != "small" {
		t.Errorf("a damaged run: %+v", r)
	}
	if _, err := New(Options{Runs: []string{dir}}); err == nil || !strings.Contains(err.Error(), "is no run") {
		t.Errorf("a folder that is no run: %v", err)
	}
}

// With a token nothing but the page itself is given without it. A browser gets a cookie, which reads and changes nothing.
func TestToken(t *testing.T) {
	const token = "0123456789abcdef"
	p := serve(t, Options{Token: token})
	paths := []string{"/api/runs", "/api/events", "/api/runs/x", "/api/runs/x/log", "/api/runs/x/samples/1", "/api/runs/x/latent/1", "/api/diff", "/metrics"}
	for _, path := range paths {
		for _, header := range []string{"X: y", "Authorization: Bearer 0123456789abcdeg", "Authorization: Bearer", "Cookie: " + sessionCookie + "=" + token} {
			if status, _ := p.ask("GET", path, header); status != http.StatusUnauthorized {
				t.Errorf("%s with %s: status %d", path, header, status)
			}
		}
	}
	if status, body := p.ask("GET", "/api/info"); status != 200 || !strings.Contains(body, `"locked":true`) {
		t.Errorf("what may be known: %d, %s", status, body)
	}
	if status, _ := p.ask("POST", "/api/session", "Authorization: Bearer wrong"); status != http.StatusUnauthorized {
		t.Errorf("a wrong token gets a cookie: status %d", status)
	}
	r := httptest.NewRequest("POST", "/api/session", nil)
	r.Header.Set("Authorization", "Bearer "+token)
	w := httptest.NewRecorder()
	p.Handler().ServeHTTP(w, r)
	cookies := w.Result().Cookies()
	if len(cookies) != 1 || !cookies[0].HttpOnly || cookies[0].SameSite != http.SameSiteStrictMode || strings.Contains(cookies[0].Value, token) {
		t.Fatalf("status %d, cookies %v", w.Code, cookies)
	}
	for _, header := range []string{"Authorization: Bearer " + token, "Cookie: " + cookies[0].Name + "=" + cookies[0].Value} {
		if status, body := p.ask("GET", "/api/runs", header, "Host: training.example"); status != 200 || strings.TrimSpace(body) != "[]" {
			t.Errorf("with %s: status %d, %s", header, status, body)
		}
	}
}

// On a loopback address, names that other sites' pages could have led here are refused.
func TestHostHeader(t *testing.T) {
	p := serve(t, Options{Loopback: true})
	for host, want := range map[string]int{"localhost": 200, "localhost:9000": 200, "LOCALHOST:1": 200, "127.0.0.1:8080": 200, "[::1]:8080": 200, "127.8.8.8": 200,
		"evil.example": 403, "evil.example:8080": 403, "localhost.evil.example": 403, "192.168.1.4": 403, "127.0.0.1.nip.example": 403} {
		for _, path := range []string{"/api/runs", "/", "/metrics"} {
			if status, _ := p.ask("GET", path, "Host: "+host); status != want {
				t.Errorf("%s of %s: status %d, want %d", path, host, status, want)
			}
		}
	}
}

// Without a token only this machine is listened to.
func TestListen(t *testing.T) {
	for _, c := range []struct{ address, token, want string }{
		{":0", "", ""}, {"127.0.0.1:0", "", ""}, {"localhost:0", "", ""}, {":0", "0123456789abcdef", ""},
		{"0.0.0.0:0", "", "takes a token"}, {"192.168.0.1:0", "", "takes a token"}, {"example.org:80", "", "takes a token"}, {"[::]:0", "", "takes a token"},
		{"8080", "", "want :PORT or HOST:PORT"}, {":notaport", "", "notaport"}, {"127.0.0.1:99999", "", "99999"},
	} {
		l, err := Listen(c.address, c.token)
		if err != nil {
			if c.want == "" || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s: %v, want %q", c.address, err, c.want)
			}
			continue
		}
		if c.want != "" || IsLoopback(l.Addr()) != (c.token == "") {
			t.Errorf("%s with token %q listens at %v, want %q", c.address, c.token, l.Addr(), c.want)
		}
		if _, err := Listen(l.Addr().String(), "0123456789abcdef"); err == nil || !strings.Contains(err.Error(), "cannot be listened at") {
			t.Errorf("a port that is taken: %v", err)
		}
		l.Close()
	}
}

func TestReadToken(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	t.Setenv(TokenVariable, "")
	for _, c := range []struct{ file, variable, token, err string }{
		{"", "", "", ""}, {"", "of the environment", "", "spaces"}, {"", "of-the-environment", "of-the-environment", ""}, {"", "short", "", "5 characters"},
		{file("a", "of-the-file-itself\n"), "of-the-environment", "of-the-file-itself", ""}, {file("b", "\n"), "", "", "is empty"}, {file("c", "secret"), "", "", "6 characters"}, {filepath.Join(dir, "none"), "", "", "no such file"},
	} {
		t.Setenv(TokenVariable, c.variable)
		token, err := ReadToken(c.file)
		if token != c.token || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("file %q, variable %q: %q, %v", c.file, c.variable, token, err)
		}
		if err != nil && (strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "short")) {
			t.Errorf("the error tells the token: %v", err)
		}
	}
}

// Pages that do not read are let go, and there are not more than so many.
func TestHub(t *testing.T) {
	h := newHub()
	slow := make(chan string, 1)
	h.listeners[slow] = true
	h.send("a", nil)
	h.send("b", nil)
	if len(h.listeners) != 0 {
		t.Error("who does not read is waited for")
	}
	if <-slow; func() bool { _, ok := <-slow; return ok }() {
		t.Error("the connection is not ended")
	}
	for range mostListeners {
		h.listeners[make(chan string)] = true
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("GET", "/api/events", nil))
	if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" {
		t.Errorf("one page too many: status %d", w.Code)
	}
}

// A server that is told to end ends the connections of pages, and does not wait for them.
func TestServeEnds(t *testing.T) {
	s, err := New(Options{Loopback: true})
	if err != nil {
		t.Fatal(err)
	}
	l, err := Listen(":0", "")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- s.Serve(ctx, l) }()
	w, err := http.Get("http://" + l.Addr().String() + "/api/events")
	if err != nil {
		t.Fatal(err)
	}
	defer w.Body.Close()
	cancel()
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(4 * time.Second):
		t.Error("the server waits for a page")
	}
	if _, err := io.ReadAll(w.Body); err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Error(err)
	}
}

// Metrics are named and described as Prometheus has them, and say what is known of each run.
func TestMetrics(t *testing.T) {
	dir := t.TempDir()
	p := serve(t, Options{Loopback: true, Version: "convae 1"})
	control := new(trainer.Control)
	train(t, t.Context(), smallConfig(2), filepath.Join(dir, "a"), p.Observer("a device", control), control)
	p.look(time.Now())
	problems, err := testutil.GatherAndLint(p.metrics.Registry)
	if err != nil || len(problems) > 0 {
		t.Errorf("%v, %v", problems, err)
	}
	want := `
# HELP convae_training_steps_total Optimiser steps that the run has done.
# TYPE convae_training_steps_total counter
convae_training_steps_total{run="a"} 10
# HELP convae_training_epochs Epochs that the run is to have.
# TYPE convae_training_epochs gauge
convae_training_epochs{run="a"} 2
`
	if err := testutil.GatherAndCompare(p.metrics.Registry, strings.NewReader(want), "convae_training_steps_total", "convae_training_epochs"); err != nil {
		t.Error(err)
	}
	status, body := p.ask("GET", "/metrics")
	for _, name := range []string{"convae_build_info{", "convae_run_info{", "convae_training_loss{", "convae_validation_loss{", "convae_training_learning_rate{", "convae_training_device_seconds_total{", "convae_checkpoint_timestamp_seconds{", "go_goroutines", "process_cpu_seconds_total"} {
		if !strings.Contains(body, "\n"+name) {
			t.Errorf("status %d: there is no %s", status, name)
		}
	}
}

// A wrong method is told which there are.
func TestMethods(t *testing.T) {
	p := serve(t, Options{})
	for _, c := range []struct {
		method, path string
		status       int
		allow        string
	}{{"POST", "/api/runs", 405, "GET, HEAD"}, {"DELETE", "/api/runs/x", 405, "GET, HEAD"}, {"GET", "/api/runs/x/pause", 405, "POST"}, {"PUT", "/metrics", 405, "GET, HEAD"}, {"POST", "/nothing", 404, ""}} {
		w := httptest.NewRecorder()
		p.Handler().ServeHTTP(w, httptest.NewRequest(c.method, c.path, nil))
		var e struct{ Error string }
		if err := json.Unmarshal(w.Body.Bytes(), &e); err != nil || w.Code != c.status || w.Header().Get("Allow") != c.allow || e.Error == "" {
			t.Errorf("%s %s: status %d, Allow %q, %s", c.method, c.path, w.Code, w.Header().Get("Allow"), w.Body)
		}
	}
}

// At the end those who have not ended after a while are cut off, and that is said.
func TestCutOff(t *testing.T) {
	stuck := make(chan struct{})
	s, err := New(Options{Model: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(stuck)
		_, _ = io.ReadAll(r.Body)
	})})
	if err != nil {
		t.Fatal(err)
	}
	s.grace = 50 * time.Millisecond
	l, err := Listen("127.0.0.1:0", "")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, l) }()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, "POST /v1/denoise HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n[1"); err != nil {
		t.Fatal(err)
	}
	<-stuck
	stop()
	if err := <-ended; !errors.Is(err, ErrCut) {
		t.Errorf("the end with a request that does not end: %v", err)
	}
}
