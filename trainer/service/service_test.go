package service

import (
	"bytes"
	"context"
	"encoding/json"
	"image"
	"image/jpeg"
	"image/png"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/convae/convae/cpu"
	"github.com/convae/convae/nn"
	"github.com/convae/convae/nn/graph"
	"github.com/convae/convae/nn/layer"
	"github.com/convae/convae/trainer"
	"github.com/convae/convae/trainer/dataset"
	"github.com/convae/convae/trainer/picture"
	"github.com/convae/convae/trainer/use"
)

func model(t *testing.T, c int) *nn.Model {
	t.Helper()
	m, err := nn.New(nn.Config{Name: "small", Input: []int{8, 12, c},
		Encoder: graph.Specs(&layer.Conv2D{Filters: 5, Kernel: layer.Square(3), Activation: "relu"}, &layer.MaxPool2D{Size: 2}),
		Decoder: graph.Specs(&layer.UpSampling2D{Size: 2}, &layer.Conv2D{Filters: c, Kernel: layer.Square(3), Activation: "sigmoid"})}, 3)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// serving is a service under test, with a network of its own to compare with.
type serving struct {
	t   *testing.T
	m   *nn.Model
	net *nn.Network
	s   *Service
	url string
}

func start(t *testing.T, m *nn.Model, data trainer.Data, o Options) *serving {
	t.Helper()
	dev, err := cpu.Open(cpu.Options{})
	if err != nil {
		t.Fatal(err)
	}
	s, err := New(m, data, dev, o)
	if err != nil {
		t.Fatal(err)
	}
	net, err := nn.NewNetwork(m, dev, nn.NetworkOptions{})
	if err != nil {
		t.Fatal(err)
	}
	h := httptest.NewServer(s)
	t.Cleanup(func() {
		h.Close()
		s.Close()
		net.Close()
		dev.Close()
	})
	return &serving{t, m, net, s, h.URL}
}

// post sends a body, and returns what comes back.
func (s *serving) post(path, kind, accept string, body []byte) (status int, kindOut string, out []byte) {
	r, err := http.NewRequestWithContext(s.t.Context(), "POST", s.url+path, bytes.NewReader(body))
	if err != nil {
		s.t.Error(err)
		return
	}
	r.Header.Set("Content-Type", kind)
	if accept != "" {
		r.Header.Set("Accept", accept)
	}
	w, err := http.DefaultClient.Do(r)
	if err != nil {
		s.t.Error(err)
		return
	}
	defer w.Body.Close()
	out, err = io.ReadAll(w.Body)
	if err != nil {
		s.t.Error(err)
	}
	return w.StatusCode, w.Header.Get("Content-Type"), out
}

func values(n int, seed uint64) []float32 {
	r := rand.New(rand.NewPCG(1, seed))
	x := make([]float32, n)
	for i := range x {
		x[i] = r.Float32()
	}
	return x
}

func npy(t *testing.T, x []float32, shape ...int) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := trainer.EncodeNPY(&b, x, shape); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func decodeNPY(t *testing.T, b []byte) trainer.Array {
	t.Helper()
	a, err := trainer.DecodeNPY(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatalf("%v: %.200q", err, b)
	}
	return a
}

// What many ask at the same time is run together, and each gets the bits that it would have got alone.
func TestBatchedRequests(t *testing.T) {
	s := start(t, model(t, 1), trainer.Data{}, Options{Batch: 8, Wait: 50 * time.Millisecond, Queue: 64})
	const requests = 40
	size := s.m.Input.Len()
	var together sync.WaitGroup
	var answers [requests][]byte
	for i := range requests {
		together.Go(func() {
			n := 1 + i%3
			path := []string{"/v1/reconstruct", "/v1/encode"}[i%2]
			status, _, out := s.post(path, kindNPY, "", npy(t, values(n*size, uint64(i)), n, 8, 12, 1))
			if status != 200 {
				t.Errorf("request %d: status %d, %s", i, status, out)
			}
			answers[i] = out
		})
	}
	together.Wait()
	for i, out := range answers {
		if t.Failed() {
			return
		}
		n := 1 + i%3
		part, shape := s.net.Predict, s.m.Output
		if i%2 == 1 {
			part, shape = s.net.Encode, s.m.Code
		}
		a := decodeNPY(t, out)
		if want := []int{n, shape.H, shape.W, shape.C}; !slices.Equal(a.Shape, want) {
			t.Fatalf("request %d: shape %v, want %v", i, a.Shape, want)
		}
		x := values(n*size, uint64(i))
		for k := range n {
			want := make([]float32, shape.Len())
			if err := part(want, x[k*size:][:size], 1); err != nil {
				t.Fatal(err)
			}
			for j, v := range want {
				if got := a.Data[k*len(want)+j]; math.Float32bits(got) != math.Float32bits(v) {
					t.Fatalf("request %d, sample %d, value %d: %v, alone %v", i, k, j, got, v)
				}
			}
		}
	}
	for _, name := range []string{"whole", "encoder"} {
		if n := batchesOf(t, s.s, name); n == 0 || n >= requests/2 {
			t.Errorf("%d requests of the %s were run as %d", requests/2, name, n)
		}
	}
}

// batchesOf returns how often samples of a kind were run.
func batchesOf(t *testing.T, s *Service, name string) int {
	t.Helper()
	registry := prometheus.NewRegistry()
	s.Register(registry)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != "convae_service_batch_samples" {
			continue
		}
		for _, m := range f.GetMetric() {
			if m.GetLabel()[0].GetValue() == name {
				return int(m.GetHistogram().GetSampleCount())
			}
		}
	}
	return 0
}

// Pictures, arrays of JSON and .npy go in, and come out as they went in or as Accept says.
func TestKinds(t *testing.T) {
	s := start(t, model(t, 1), trainer.Data{}, Options{})
	m := image.NewGray(image.Rect(0, 0, 12, 8))
	for i := range m.Pix {
		m.Pix[i] = uint8(i * 37)
	}
	var asPNG, asJPEG bytes.Buffer
	if err := png.Encode(&asPNG, m); err != nil {
		t.Fatal(err)
	}
	if err := jpeg.Encode(&asJPEG, m, nil); err != nil {
		t.Fatal(err)
	}
	x, want, code := picture.FromGoImage(m, 1).Pix, make([]float32, 96), make([]float32, s.m.Code.Len())
	if err := s.net.Predict(want, x, 1); err != nil {
		t.Fatal(err)
	}
	if err := s.net.Encode(code, x, 1); err != nil {
		t.Fatal(err)
	}
	nested, _ := json.Marshal([][]float32{x[:12], x[12:24], x[24:36], x[36:48], x[48:60], x[60:72], x[72:84], x[84:]})
	bodies := map[string][]byte{kindPNG: asPNG.Bytes(), kindJSON: nested, kindNPY: npy(t, x, 8, 12)}
	for kind, body := range bodies {
		for accept, kindOut := range map[string]string{"": kind, "*/*": kind, "image/png": kindPNG, "application/json;q=0.5, application/x-npy": kindNPY, "text/html, application/json": kindJSON, "image/jpeg": kindJPEG} {
			for _, path := range []string{"/v1/denoise", "/v1/reconstruct"} {
				status, got, out := s.post(path, kind, accept, body)
				if status != 200 || got != kindOut {
					t.Fatalf("%s of %s, Accept %q: status %d, %s: %.200s", path, kind, accept, status, got, out)
				}
				y, within := []float32(nil), 0.0
				switch kindOut {
				case kindNPY:
					y = decodeNPY(t, out).Data
				case kindJSON:
					var a [][][]float32
					if err := json.Unmarshal(out, &a); err != nil || len(a) != 8 {
						t.Fatalf("%v: %.200s", err, out)
					}
					for _, row := range a {
						for _, v := range row {
							y = append(y, v...)
						}
					}
				default:
					got, _, err := image.Decode(bytes.NewReader(out))
					if err != nil {
						t.Fatal(err)
					}
					y, within = picture.FromGoImage(got, 1).Pix, 0.5/255+1e-6
					if kindOut == kindJPEG {
						within = 0.1 // it loses details
					}
				}
				if maxDifference(y, want) > within {
					t.Errorf("%s of %s as %s is off by %v", path, kind, kindOut, maxDifference(y, want))
				}
			}
		}
		status, got, out := s.post("/v1/encode", kind, "application/x-npy", body)
		if a := decodeNPY(t, out); status != 200 || got != kindNPY || !slices.Equal(a.Shape, []int{4, 6, 5}) || maxDifference(a.Data, code) > 0 {
			t.Errorf("codes of %s: status %d, %s, shape %v", kind, status, got, a.Shape)
		}
		if status, got, out = s.post("/v1/encode", kind, "image/png", body); status != http.StatusNotAcceptable || got != kindJSON || !strings.Contains(string(out), "want one of application/json, application/x-npy") {
			t.Errorf("codes of %s as a picture: status %d, %s", kind, status, out)
		}
		if status, got, _ = s.post("/v1/encode", kind, "image/png, */*;q=0.1", body); status != 200 || kind != kindNPY && got != kindJSON {
			t.Errorf("codes of %s as a picture or else as anything: status %d, %s", kind, status, got)
		}
	}
	if status, kind, out := s.post("/v1/denoise", kindJPEG, "", asJPEG.Bytes()); status != 200 || kind != kindJPEG {
		t.Errorf("a JPEG: status %d, %s, %.100s", status, kind, out)
	}
}

func maxDifference(a, b []float32) (most float64) {
	if len(a) != len(b) {
		return math.Inf(1)
	}
	for i := range a {
		most = max(most, math.Abs(float64(a[i])-float64(b[i])))
	}
	return most
}

// A picture of any size is denoised tile by tile, as the command does, also one of colours by a model of one channel.
func TestDenoiseAnySize(t *testing.T) {
	s := start(t, model(t, 1), trainer.Data{}, Options{})
	img := picture.Image{H: 31, W: 45, C: 3, Pix: values(31*45*3, 1)}
	var body bytes.Buffer
	if err := picture.EncodePNG(&body, img); err != nil {
		t.Fatal(err)
	}
	status, kind, out := s.post("/v1/denoise", kindPNG, "", body.Bytes())
	if status != 200 || kind != kindPNG {
		t.Fatalf("status %d, %s: %s", status, kind, out)
	}
	got, err := png.Decode(bytes.NewReader(out))
	if err != nil {
		t.Fatal(err)
	}
	decoded, err := png.Decode(bytes.NewReader(body.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	want, err := use.Apply(t.Context(), s.m, s.s.dev, picture.FromGoImage(decoded, 3))
	if err != nil {
		t.Fatal(err)
	}
	if d := maxDifference(picture.FromGoImage(got, 3).Pix, want.Pix); d > 0.5/255+1e-6 {
		t.Errorf("off by %v", d)
	}
}

// Arrays are in the units of the data that the model was trained on; bytes are pixels.
func TestUnits(t *testing.T) {
	m, err := nn.New(nn.Config{Name: "line", Input: []int{2}, Encoder: graph.Specs(&layer.Dense{Units: 1}), Decoder: graph.Specs(&layer.Dense{Units: 2})}, 1)
	if err != nil {
		t.Fatal(err)
	}
	data := trainer.Data{Scaler: &dataset.Scaler{Offset: []float64{10, -1}, Scale: []float64{2, 4}}}
	s := start(t, m, data, Options{})
	status, _, out := s.post("/v1/reconstruct", kindJSON, "", []byte("[[10, 3], [14, -1]]"))
	var got [][]float32
	if err := json.Unmarshal(out, &got); err != nil || status != 200 {
		t.Fatalf("status %d, %s", status, out)
	}
	want := make([]float32, 4)
	if err := s.net.Predict(want, data.Scaled([]float32{10, 3, 14, -1}), 2); err != nil {
		t.Fatal(err)
	}
	if want = data.Unscaled(want); maxDifference(slices.Concat(got...), want) > 0 {
		t.Errorf("%v, want %v", got, want)
	}
}

// What cannot be answered gets a status and says why.
func TestRefusals(t *testing.T) {
	s := start(t, model(t, 1), trainer.Data{}, Options{Body: 4096, Pixels: 1000})
	var large, colour bytes.Buffer
	if err := png.Encode(&large, image.NewGray(image.Rect(0, 0, 40, 40))); err != nil {
		t.Fatal(err)
	}
	if err := png.Encode(&colour, image.NewRGBA(image.Rect(0, 0, 9, 9))); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		path, kind, accept, body string
		status                   int
		want                     string
	}{
		{"/v1/denoise", "text/plain", "", "x", 415, "Content-Type"},
		{"/v1/denoise", "", "", "x", 415, "Content-Type"},
		{"/v1/denoise", kindJSON, "text/html", "[1]", 406, "Accept"},
		{"/v1/denoise", kindJSON, "", strings.Repeat("[", 5000), 413, "has 5000 bytes, want at most 4096"},
		{"/v1/denoise", kindPNG, "", large.String(), 413, "40 x 40 pixels"},
		{"/v1/reconstruct", kindPNG, "", colour.String(), 422, "9 x 9 pixels, want 12 x 8"},
		{"/v1/denoise", kindPNG, "", "no picture", 400, "no image/png"},
		{"/v1/denoise", kindJPEG, "", large.String(), 400, "it is png"},
		{"/v1/denoise", kindNPY, "", "no array", 400, "no application/x-npy"},
		{"/v1/encode", kindJSON, "", "[1, 2, 3]", 422, "shape is (3,), want (8, 12, 1)"},
		{"/v1/encode", kindJSON, "", "[[1, 2], [3]]", 400, "of one length"},
		{"/v1/encode", kindJSON, "", "[[1, 2], 3]", 400, "found the number 3 beside arrays, want numbers all at one depth"},
		{"/v1/encode", kindJSON, "", "[1, [2]]", 400, "nested less deeply"},
		{"/v1/encode", kindJSON, "", "[[[[[1]]]]]", 400, "nested more than 4 deep"},
		{"/v1/encode", kindJSON, "", "[]", 400, "found an empty array, want numbers in each"},
		{"/v1/encode", kindJSON, "", "[[1], []]", 400, "found an empty array"},
		{"/v1/encode", kindJSON, "", `{"a": 1}`, 400, "found an object, want arrays of numbers, as [[0, 0.5], [1, 0]]"},
		{"/v1/encode", kindJSON, "", `[{"a": 1}]`, 400, "found an object"},
		{"/v1/encode", kindJSON, "", `["a"]`, 400, `found the text "a", want arrays`},
		{"/v1/encode", kindJSON, "", "null", 400, "found null, want arrays"},
		{"/v1/encode", kindJSON, "", "[true]", 400, "found true, want arrays"},
		{"/v1/encode", kindJSON, "", "[1", 400, "unexpected EOF"},
		{"/v1/encode", kindJSON, "", "[1] [2]", 400, "found a second array after the first"},
		{"/v1/encode", kindJSON, "", "[1] 2", 400, "found the number 2 after the array"},
		{"/v1/encode", kindJSON, "", "[1e300]", 400, "found the number 1e+300, want numbers that float32 holds"},
		{"/v1/encode", kindJSON, "", "5", 400, "found the number 5 alone, want arrays"},
		{"/v1/encode", kindJSON, "", "", 400, "EOF"},
		{"/v1/other", kindJSON, "", "[1]", 404, "want POST /v1/denoise"},
	} {
		status, kind, out := s.post(c.path, c.kind, c.accept, []byte(c.body))
		var e struct{ Error string }
		if err := json.Unmarshal(out, &e); err != nil || status != c.status || kind != kindJSON || !strings.Contains(e.Error, c.want) {
			t.Errorf("%s %s %.20q: status %d, %s, want %d and %q", c.path, c.kind, c.body, status, out, c.status, c.want)
		}
	}
	w, err := http.Get(s.url + "/v1/encode")
	if err != nil {
		t.Fatal(err)
	}
	w.Body.Close()
	if w.StatusCode != http.StatusMethodNotAllowed || w.Header.Get("Allow") != "POST" {
		t.Errorf("GET: status %d, Allow %q", w.StatusCode, w.Header.Get("Allow"))
	}
	registry := prometheus.NewRegistry()
	s.s.Register(registry)
	if problems, err := testutil.GatherAndLint(registry); err != nil || len(problems) > 0 {
		t.Errorf("%v, %v", problems, err)
	}
	if n := testutil.ToFloat64(s.s.requests.WithLabelValues("denoise", "413")); n != 2 {
		t.Errorf("%v requests were too large, want 2", n)
	}
}

// Requests beyond the queue are refused at once, and those in it are answered: under a load of many at a time nothing is lost.
func TestLoad(t *testing.T) {
	s := start(t, model(t, 1), trainer.Data{}, Options{Batch: 16, Wait: 2 * time.Millisecond, Queue: 8})
	body := npy(t, values(96, 1), 8, 12)
	_, _, want := s.post("/v1/reconstruct", kindNPY, "", body)
	const clients, each = 32, 25
	counts := make([]map[int]int, clients)
	var all sync.WaitGroup
	for i := range clients {
		counts[i] = map[int]int{}
		all.Go(func() {
			for range each {
				status, _, out := s.post("/v1/reconstruct", kindNPY, "", body)
				counts[i][status]++
				if status == 200 && !bytes.Equal(out, want) {
					t.Error("an answer under load is another")
				}
			}
		})
	}
	all.Wait()
	sum := map[int]int{}
	for _, c := range counts {
		for status, n := range c {
			sum[status] += n
		}
	}
	if sum[200]+sum[429] != clients*each || sum[200] < each {
		t.Errorf("statuses %v", sum)
	}
	t.Logf("statuses %v, %d batches", sum, batchesOf(t, s.s, "whole"))
	// The places are free again.
	for range 8 {
		s.s.places <- struct{}{}
		defer func() { <-s.s.places }()
	}
	status, _, out := s.post("/v1/reconstruct", kindNPY, "", body)
	if status != http.StatusTooManyRequests || !strings.Contains(string(out), "8 requests are being answered") {
		t.Errorf("with no place left: status %d, %s", status, out)
	}
}

// Who has gone is not worked for.
func TestGone(t *testing.T) {
	s := start(t, model(t, 1), trainer.Data{}, Options{Wait: 100 * time.Millisecond})
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(10*time.Millisecond, cancel)
	if _, err := s.s.whole.ask(ctx, values(96, 1), 1); err == nil {
		t.Error("an answer for one who has gone")
	}
	if _, err := s.s.whole.ask(t.Context(), values(96, 1), 1); err != nil {
		t.Error(err)
	}
	if n := batchesOf(t, s.s, "whole"); n != 1 {
		t.Errorf("the model was run %d times, want once", n)
	}
}
