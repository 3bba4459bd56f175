package main

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/convae/convae/nn"
	"github.com/convae/convae/trainer"
	"github.com/convae/convae/trainer/live"
	"github.com/convae/convae/trainer/picture"
	"github.com/convae/convae/trainer/service"
)

// addressOf waits until a program says where it serves.
func addressOf(t *testing.T, p *process) (url, token string) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if found := regexp.MustCompile(`(http://[^\s#]+)(?:#token=(\w+))?`).FindStringSubmatch(p.stderr.String()); found != nil {
			return found[1], found[2]
		}
		if time.Now().After(deadline) {
			t.Fatalf("the program does not say where it serves:\n%s", p.stderr.String())
		}
	}
}

func get(t *testing.T, method, url, kind, token string, body []byte) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if kind != "" {
		r.Header.Set("Content-Type", kind)
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	w, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Body.Close()
	text, err := io.ReadAll(w.Body)
	if err != nil {
		t.Fatal(err)
	}
	return w.StatusCode, string(text)
}

// A run that trains is served and stopped by the token that it prints; its folder has its log, from which another process shows it.
func TestTrainServe(t *testing.T) {
	dir := t.TempDir()
	config := write(t, []byte(tinyConfig), dir, "tiny.yaml")
	out := filepath.Join(dir, "tiny")
	p := program(t, "train", config, "--epochs", "1000000", "--out", out, "--device", "cpu", "--serve", "127.0.0.1:0")
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	url, token := addressOf(t, p)
	p.await(t, "epoch=2")
	if status, body := get(t, "GET", url+"api/runs/tiny", "", "", nil); status != 200 || !strings.Contains(body, `"state":"running"`) {
		t.Errorf("status %d, %s", status, body)
	}
	if status, body := get(t, "GET", url+"metrics", "", "", nil); status != 200 || !strings.Contains(body, `convae_training_running{run="tiny"} 1`) {
		t.Errorf("status %d, %s", status, body)
	}
	if status, _ := get(t, "POST", url+"api/runs/tiny/stop", "", "", nil); status != http.StatusUnauthorized {
		t.Errorf("stopping without the token: status %d", status)
	}
	if status, body := get(t, "POST", url+"api/runs/tiny/stop", "", token, nil); status != 200 {
		t.Errorf("stopping: status %d, %s", status, body)
	}
	if status := p.wait(); status != interruptedStatus || !strings.Contains(p.stdout.String(), "interrupted and saved") {
		t.Errorf("the run ends with status %d, want %d: %s%s", status, interruptedStatus, p.stdout.String(), p.stderr.String())
	}
	log, err := os.ReadFile(filepath.Join(out, live.LogFile))
	if err != nil || strings.Contains(string(log), token) {
		t.Errorf("the log has the token, or is not there: %v", err)
	}
	var messages []string
	for line := range bytes.Lines(log) {
		var l struct{ Message string }
		if err := json.Unmarshal(line, &l); err != nil {
			t.Errorf("%q: %v", line, err)
		}
		messages = append(messages, l.Message)
	}
	if messages[0] != "device" || messages[len(messages)-1] != "done" || !slices.Contains(messages, "start") || !slices.Contains(messages, "epoch") {
		t.Errorf("the log says %q", messages)
	}
}

// serve shows a run, has its model answer, tells Prometheus, and ends in good order.
func TestServe(t *testing.T) {
	dir := t.TempDir()
	run := filepath.Join(dir, "run")
	makeRun(t, run, 28, 28, 1)
	t.Setenv(live.TokenVariable, "0123456789abcdef")
	p := program(t, "serve", run, "--listen", "127.0.0.1:0", "--device", "cpu")
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	url, _ := addressOf(t, p)
	const token = "0123456789abcdef"
	var body bytes.Buffer
	if err := picture.EncodePNG(&body, ramp(30, 41, 1)); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		method, path, kind, token string
		body                      []byte
		status                    int
		want                      string
	}{
		{"GET", "api/runs", "", token, nil, 200, `"id":"run"`},
		{"GET", "api/runs", "", "", nil, 401, "want the token"},
		{"POST", "v1/denoise", "image/png", token, body.Bytes(), 200, "PNG"},
		{"POST", "v1/denoise", "image/png", "", body.Bytes(), 401, "want the token"},
		{"POST", "v1/reconstruct", "image/png", token, body.Bytes(), 422, "41 x 30 pixels"},
		{"GET", "metrics", "", token, nil, 200, `convae_service_requests_total{code="200",op="denoise"} 1`},
	} {
		if status, text := get(t, c.method, url+c.path, c.kind, c.token, c.body); status != c.status || !strings.Contains(text, c.want) {
			t.Errorf("%s: status %d, want %d and %q: %.300s", c.path, status, c.status, c.want, text)
		}
	}
	if err := p.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if status := p.wait(); status != 0 {
		t.Errorf("SIGTERM: status %d: %s", status, p.stderr.String())
	}
}

// A model may be a file alone, or that of a run, which is then shown.
func TestServeModelFile(t *testing.T) {
	dir := t.TempDir()
	run, alone := filepath.Join(dir, "run"), filepath.Join(dir, "alone.safetensors")
	makeRun(t, run, 28, 28, 1)
	file := filepath.Join(run, trainer.ModelFile)
	model, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	write(t, model, alone)
	t.Setenv(live.TokenVariable, "")
	for path, shown := range map[string]string{file: `"id":"run"`, alone: "[]"} {
		p := program(t, "serve", path, "--listen", "127.0.0.1:0", "--device", "cpu")
		if err := p.Start(); err != nil {
			t.Fatal(err)
		}
		url, _ := addressOf(t, p)
		if status, text := get(t, "GET", url+"api/runs", "", "", nil); status != 200 || !strings.Contains(text, shown) {
			t.Errorf("%s: status %d, %s, want %s", path, status, text, shown)
		}
		var body bytes.Buffer
		if err := picture.EncodePNG(&body, ramp(28, 28, 1)); err != nil {
			t.Fatal(err)
		}
		if status, text := get(t, "POST", url+"v1/denoise", "image/png", "", body.Bytes()); status != 200 {
			t.Errorf("%s: status %d, %s", path, status, text)
		}
		if _, text := get(t, "GET", url+"metrics", "", "", nil); !regexp.MustCompile(`convae_build_info\{.*version="[^,"]+"\} 1`).MatchString(text) {
			t.Errorf("the version has other labels in it:\n%s", text)
		}
		if err := p.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		if status := p.wait(); status != 0 {
			t.Errorf("%s: SIGTERM: status %d: %s", path, status, p.stderr.String())
		}
	}
}

func TestServeErrors(t *testing.T) {
	dir := t.TempDir()
	short := write(t, []byte("short"), dir, "token")
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"serve", "--listen", "0.0.0.0:0"}, "takes a token"},
		{[]string{"serve", "--listen", "8080"}, "want :PORT or HOST:PORT"},
		{[]string{"serve", "--listen", ":0", "--token-file", short}, "has 5 characters"},
		{[]string{"serve", "--listen", ":0", dir}, "is no run"},
		{[]string{"serve", "--listen", ":0", "--max-wait", "2h"}, "--max-wait is 2h0m0s"},
		{[]string{"train", "--serve", "0.0.0.0:0"}, "takes a token"},
		{[]string{"train", "--serve", ":0", "--find-rate", "a.png"}, "leave out"},
	} {
		t.Setenv(live.TokenVariable, "")
		if _, _, err := run(t, c.args...); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v, want %q", c.args, err, c.want)
		}
	}
}

// The commands and requests that docs/live.md shows are such that there are, and do what it says; the alerts ask for metrics that there are.
func TestLiveDocument(t *testing.T) {
	text := documents(t)["docs/live.md"]
	dir := t.TempDir()
	t.Chdir(dir)
	makeRun(t, "runs/first", 28, 28, 1)
	mustWrite(t, "noisy.png", ramp(30, 41, 1))
	mustWrite(t, "digit.png", ramp(28, 28, 1))
	if err := trainer.WriteNPY("digits.npy", make([]float32, 2*28*28), []int{2, 28, 28}); err != nil {
		t.Fatal(err)
	}
	p := program(t, "serve", "runs/first", "--listen", "127.0.0.1:0", "--device", "cpu")
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	url, _ := addressOf(t, p)
	commands, requests := 0, 0
	for _, block := range blocks.FindAllStringSubmatch(text, -1) {
		if block[1] != "sh" {
			continue
		}
		for line := range strings.Lines(block[2]) {
			line, _, _ = strings.Cut(strings.TrimSpace(line), " #")
			if args, ok := strings.CutPrefix(line, "convae "); ok {
				commands++
				if err := checkFlags(words(args)); err != nil {
					t.Errorf("docs/live.md shows %q: %v", line, err)
				}
			}
			found := regexp.MustCompile(`^curl -H 'Content-Type: (\S+)'(?: -H 'Accept: (\S+)')? --data-binary @(\S+) http://localhost:8080/(\S+)`).FindStringSubmatch(line)
			if found == nil {
				continue
			}
			requests++
			body, err := os.ReadFile(found[3])
			if err != nil {
				t.Fatal(err)
			}
			if status, out := get(t, "POST", url+found[4], found[1], "", body); status != 200 {
				t.Errorf("docs/live.md shows %q: status %d, %s", line, status, out)
			}
		}
	}
	if commands < 5 || requests != 3 {
		t.Errorf("docs/live.md shows %d commands and %d requests", commands, requests)
	}
}

// The metrics that docs/live.md lists, and that its alerts ask for, are those that there are.
func TestLiveDocumentMetrics(t *testing.T) {
	text := documents(t)["docs/live.md"]
	rules, err := os.ReadFile("../../docs/prometheus.rules.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var parsed struct {
		Groups []struct {
			Rules []struct{ Alert, Expr string }
		}
	}
	if err := yaml.Unmarshal(rules, &parsed); err != nil || len(parsed.Groups) != 1 || len(parsed.Groups[0].Rules) < 4 {
		t.Fatalf("%v, %+v", err, parsed)
	}
	m, err := nn.New(nn.Denoiser(), 1)
	if err != nil {
		t.Fatal(err)
	}
	dev, _, err := openDevice("cpu")
	if err != nil {
		t.Fatal(err)
	}
	defer dev.Close()
	served, err := service.New(m, trainer.Data{}, dev, service.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer served.Close()
	shown, err := live.New(live.Options{})
	if err != nil {
		t.Fatal(err)
	}
	served.Register(shown.Registerer())
	all := make(chan *prometheus.Desc, 1000)
	shown.Registerer().(*prometheus.Registry).Describe(all)
	close(all)
	names := regexp.MustCompile(`convae_\w+`)
	var known []string
	for d := range all {
		known = append(known, names.FindAllString(d.String(), 1)...)
	}
	for _, rule := range parsed.Groups[0].Rules {
		for _, name := range names.FindAllString(rule.Expr, -1) {
			if !slices.Contains(known, name) {
				t.Errorf("the alert %s asks for %s, which there is not", rule.Alert, name)
			}
		}
	}
	var listed []string
	for _, row := range regexp.MustCompile("(?m)^\\| `convae_.*$").FindAllString(text, -1) {
		listed = append(listed, names.FindAllString(row, -1)...)
	}
	slices.Sort(known)
	slices.Sort(listed)
	if !slices.Equal(known, listed) {
		t.Errorf("docs/live.md lists\n%q, there are\n%q", listed, known)
	}
}
