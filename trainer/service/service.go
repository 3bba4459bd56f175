// Package service answers requests with what a model makes of pictures and arrays: POST /v1/denoise, /v1/reconstruct and /v1/encode. Requests that
// come at about the same time are run together.
package service

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/convae/convae/nn"
	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/trainer"
	"github.com/convae/convae/trainer/live"
	"github.com/convae/convae/trainer/use"
)

// Options are the choices of New; the zero ones are the defaults that are given with each.
type Options struct {
	Batch  int           // samples that are run together at the most (64)
	Wait   time.Duration // for others to be run together with (5 ms)
	Queue  int           // requests at a time; one more is refused (128)
	Body   int64         // bytes of a request's body (16 MiB)
	Pixels int           // of a picture (16 Mi)
}

func (o Options) withDefaults() Options {
	set := func(v *int, to int) {
		if *v == 0 {
			*v = to
		}
	}
	set(&o.Batch, 64)
	set(&o.Queue, 128)
	set(&o.Pixels, 16<<20)
	if o.Wait == 0 {
		o.Wait = 5 * time.Millisecond
	}
	if o.Body == 0 {
		o.Body = 16 << 20
	}
	return o
}

// Service is a model that answers requests.
type Service struct {
	o       Options
	m       *nn.Model
	data    trainer.Data // in whose units arrays are
	dev     backend.Device
	net     *nn.Network
	device  sync.Mutex // the device does one thing at a time
	places  chan struct{}
	whole   *batcher
	encoder *batcher
	working sync.WaitGroup
	mux     *http.ServeMux
	held    atomic.Int64  // bytes of bodies that are being read
	patient time.Duration // with one who neither sends nor takes anything

	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	batches  *prometheus.HistogramVec
	waiting  prometheus.GaugeFunc
}

// New places a model on a device. data is what it was trained on.
func New(m *nn.Model, data trainer.Data, dev backend.Device, o Options) (*Service, error) {
	o = o.withDefaults()
	net, err := nn.NewNetwork(m, dev, nn.NetworkOptions{})
	if err != nil {
		return nil, err
	}
	s := &Service{o: o, m: m, data: data, dev: dev, net: net, places: make(chan struct{}, o.Queue), mux: http.NewServeMux(), patient: patience,
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "convae_service_requests_total", Help: "Requests to the model, by what was asked and the HTTP status."}, []string{"op", "code"}),
		seconds:  prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "convae_service_request_duration_seconds", Help: "Time from a request to its answer.", Buckets: prometheus.ExponentialBuckets(0.001, 2, 14)}, []string{"op"}),
		batches:  prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "convae_service_batch_samples", Help: "Samples that were run together.", Buckets: prometheus.ExponentialBuckets(1, 2, 11)}, []string{"op"}),
	}
	s.waiting = prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "convae_service_queue_requests", Help: "Requests that are being answered."}, func() float64 { return float64(len(s.places)) })
	s.whole = s.batch("whole", net.Predict, m.Input.Len(), m.Output.Len())
	s.encoder = s.batch("encoder", net.Encode, m.Input.Len(), m.Code.Len())
	s.answer("denoise", kinds, s.denoise)
	s.answer("reconstruct", kinds, s.reconstruct)
	s.answer("encode", []string{kindJSON, kindNPY}, s.encode)
	s.mux.HandleFunc("/v1/", func(w http.ResponseWriter, r *http.Request) {
		live.Error(w, http.StatusNotFound, fmt.Sprintf("there is no %s: want POST /v1/denoise, /v1/reconstruct or /v1/encode", r.URL.Path))
	})
	return s, nil
}

func (s *Service) batch(name string, part func(dst, src []float32, n int) error, in, out int) *batcher {
	b := &batcher{part: part, in: in, out: out, most: s.o.Batch, wait: s.o.Wait, device: &s.device, requests: make(chan *request, s.o.Queue),
		heard: func(n int) { s.batches.WithLabelValues(name).Observe(float64(n)) }}
	s.working.Go(b.work)
	return b
}

// Register has Prometheus told of the requests.
func (s *Service) Register(r prometheus.Registerer) {
	r.MustRegister(s.requests, s.seconds, s.batches, s.waiting)
}

// Close ends the work, after that of requests which are being answered. Later ones are refused.
func (s *Service) Close() {
	for range cap(s.places) {
		s.places <- struct{}{}
	}
	close(s.whole.requests)
	close(s.encoder.requests)
	s.working.Wait()
	s.net.Close()
}

func (s *Service) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.mux.ServeHTTP(w, r) }

// refusal is an error of a request, with its HTTP status.
type refusal struct {
	status int
	text   string
}

func (r refusal) Error() string { return r.text }

func refuse(status int, format string, args ...any) error {
	return refusal{status, fmt.Sprintf(format, args...)}
}

// answer has POST /v1/NAME answered by what do makes of an input, in one of some kinds.
func (s *Service) answer(name string, to []string, do func(ctx context.Context, in *input) (*output, error)) {
	s.mux.HandleFunc("/v1/"+name, func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		status := s.serve(w, r, to, do)
		s.requests.WithLabelValues(name, strconv.Itoa(status)).Inc()
		if status < 400 {
			s.seconds.WithLabelValues(name).Observe(time.Since(began).Seconds())
		}
	})
}

// serve answers one request, and returns the status. A place is taken while the model is used, and not while others send a body or take an answer.
func (s *Service) serve(w http.ResponseWriter, r *http.Request, to []string, do func(ctx context.Context, in *input) (*output, error)) int {
	kind, accept, err := s.head(r, to)
	if err != nil {
		w.Header().Set("Connection", "close") // the body is not waited for
		return s.fail(w, err)
	}
	body, err := s.body(w, r)
	if err != nil {
		w.Header().Set("Connection", "close")
		return s.fail(w, err)
	}
	answer, err := s.work(r.Context(), kind, accept, body, do)
	if err != nil {
		if r.Context().Err() != nil {
			return 499 // whoever asked has gone; the number is nginx's
		}
		return s.fail(w, err)
	}
	s.write(w, accept, answer)
	return http.StatusOK
}

// fail answers with an error, and returns its status.
func (s *Service) fail(w http.ResponseWriter, err error) int {
	var no refusal
	if !errors.As(err, &no) {
		no = refusal{http.StatusInternalServerError, err.Error()}
	}
	switch no.status {
	case http.StatusTooManyRequests:
		w.Header().Set("Retry-After", "1")
	case http.StatusMethodNotAllowed:
		w.Header().Set("Allow", "POST")
	}
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(s.patient)) // a recorder in a test has none
	live.Error(w, no.status, no.text)
	return no.status
}

// work makes the answer to a body of one kind, in another.
func (s *Service) work(ctx context.Context, kind, accept string, body []byte, do func(ctx context.Context, in *input) (*output, error)) (answer []byte, err error) {
	select {
	case s.places <- struct{}{}:
		defer func() { <-s.places }()
	default:
		return nil, refuse(http.StatusTooManyRequests, "%d requests are being answered already: try again in a second", s.o.Queue)
	}
	in, err := s.decode(body, kind)
	if err != nil {
		return nil, err
	}
	out, err := do(ctx, in)
	if err != nil {
		return nil, err
	}
	return out.encode(accept)
}

// denoise gives a picture of any size to the model tile by tile; one of the model's size, and arrays, as they are.
func (s *Service) denoise(ctx context.Context, in *input) (*output, error) {
	if in.picture == nil || s.fits(in.picture) {
		return s.reconstruct(ctx, in)
	}
	img := in.colours(s.m)
	s.device.Lock()
	defer s.device.Unlock()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	y, err := use.Apply(ctx, s.m, s.dev, img)
	if err != nil {
		return nil, refuse(http.StatusUnprocessableEntity, "%v", err)
	}
	return &output{values: y.Pix, shape: []int{y.H, y.W, y.C}, unscaled: y.Pix}, nil
}

// reconstruct gives samples to the whole model.
func (s *Service) reconstruct(ctx context.Context, in *input) (*output, error) {
	x, n, err := in.samples(s.m, s.data)
	if err != nil {
		return nil, err
	}
	y, err := s.whole.ask(ctx, x, n)
	if err != nil {
		return nil, err
	}
	return &output{values: y, shape: in.like(s.m.Output, n), unscaled: s.data.Unscaled(y)}, nil
}

// encode gives samples to the encoder; the codes of a variational model are means.
func (s *Service) encode(ctx context.Context, in *input) (*output, error) {
	x, n, err := in.samples(s.m, s.data)
	if err != nil {
		return nil, err
	}
	y, err := s.encoder.ask(ctx, x, n)
	if err != nil {
		return nil, err
	}
	return &output{values: y, shape: in.like(s.m.Code, n), unscaled: y}, nil
}
