package live

import (
	"net/http"
	"runtime"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/convae/convae/trainer"
)

// metrics tell Prometheus of all runs that are shown, when it asks.
type metrics struct {
	http.Handler
	Registry *prometheus.Registry
	server   *Server
}

// Registerer is where what else is served registers its own metrics.
func (s *Server) Registerer() prometheus.Registerer { return s.metrics.Registry }

func newMetrics(s *Server, version string) *metrics {
	m := &metrics{Registry: prometheus.NewRegistry(), server: s}
	build := prometheus.NewGauge(prometheus.GaugeOpts{Name: "convae_build_info", Help: "A metric with the constant value 1 and the versions of convae and Go as labels.",
		ConstLabels: prometheus.Labels{"version": version, "goversion": runtime.Version(), "goos": runtime.GOOS, "goarch": runtime.GOARCH}})
	build.Set(1)
	m.Registry.MustRegister(m, build, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	m.Handler = promhttp.HandlerFor(m.Registry, promhttp.HandlerOpts{})
	return m
}

// sample is a metric of each run.
type sample struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	value func(r *Run) (v float64, known bool)
}

func perRun(name, help string, kind prometheus.ValueType, value func(r *Run) (float64, bool)) sample {
	return sample{prometheus.NewDesc("convae_"+name, help, []string{"run"}, nil), kind, value}
}

// positive is a value that is 0 where it is not known.
func positive(v float64) (float64, bool) { return v, v > 0 }

// last is a value of the newest validated epoch.
func last(of func(e trainer.Epoch) float64) func(r *Run) (float64, bool) {
	return func(r *Run) (float64, bool) {
		if len(r.History) == 0 {
			return 0, false
		}
		return of(r.History[len(r.History)-1]), true
	}
}

const (
	gauge   = prometheus.GaugeValue
	counter = prometheus.CounterValue
)

var samples = []sample{
	perRun("training_steps_total", "Optimiser steps that the run has done.", counter, func(r *Run) (float64, bool) { return float64(r.done), true }),
	perRun("training_samples_total", "Samples that the run has trained on, each epoch counted anew.", counter, func(r *Run) (float64, bool) {
		if r.Train == 0 || r.Steps == 0 || r.Epoch == 0 {
			return 0, false
		}
		return float64(r.Train)*float64(r.Epoch-1) + float64(r.Train)*float64(r.Step)/float64(r.Steps), true
	}),
	perRun("training_epoch", "Epoch at hand, from 1.", gauge, func(r *Run) (float64, bool) { return float64(r.Epoch), r.Epoch > 0 }),
	perRun("training_epochs", "Epochs that the run is to have.", gauge, func(r *Run) (float64, bool) { return float64(r.Epochs), r.Epochs > 0 }),
	perRun("training_loss", "Mean training loss of the epoch at hand so far.", gauge, func(r *Run) (float64, bool) { return r.Loss, r.Loss != 0 }),
	perRun("training_learning_rate", "Learning rate of the last step.", gauge, func(r *Run) (float64, bool) { return positive(r.lastRate) }),
	perRun("training_samples_per_second", "Samples a second that the device has trained on lately.", gauge, func(r *Run) (float64, bool) { return positive(r.Rate) }),
	perRun("training_device_seconds_total", "Time that the device has trained for, without validation and pauses.", counter, func(r *Run) (float64, bool) { return r.seconds, true }),
	perRun("training_left_seconds", "Time to the end of the run at the rate of lately.", gauge, func(r *Run) (float64, bool) { return positive(r.Left) }),
	perRun("training_paused", "1 while the run is paused, else 0.", gauge, is(State(trainer.Paused))),
	perRun("training_running", "1 while the run trains, else 0.", gauge, is(State(trainer.Running))),
	perRun("validation_loss", "Validation loss of the newest validated epoch.", gauge, last(func(e trainer.Epoch) float64 { return e.ValLoss })),
	perRun("validation_mse", "Mean squared error on the validation samples, newest validated epoch.", gauge, last(func(e trainer.Epoch) float64 { return e.ValMSE })),
	perRun("validation_psnr_decibels", "Peak signal-to-noise ratio on the validation images, newest validated epoch.", gauge, last(func(e trainer.Epoch) float64 { return e.ValPSNR })),
	perRun("validation_ssim", "Structural similarity on the validation images, newest validated epoch.", gauge, last(func(e trainer.Epoch) float64 { return e.ValSSIM })),
	perRun("loader_wait_seconds_total", "Time that training has waited for samples that are read as they are needed.", counter, func(r *Run) (float64, bool) { return r.waited, r.Streamed }),
	perRun("device_memory_bytes", "Memory that the run was planned to take on its device.", gauge, func(r *Run) (float64, bool) { return positive(float64(r.memory.Device.Total())) }),
	perRun("host_memory_bytes", "Memory that the run was planned to take on the host besides its device's.", gauge, func(r *Run) (float64, bool) { return positive(float64(r.memory.Host.Total())) }),
	perRun("checkpoint_timestamp_seconds", "When the newest checkpoint was written, in seconds since 1970; time() less this is its age.", gauge, func(r *Run) (float64, bool) {
		return float64(r.saved.UnixMilli()) / 1000, !r.saved.IsZero()
	}),
}

func is(s State) func(r *Run) (float64, bool) {
	return func(r *Run) (float64, bool) {
		if r.State == s {
			return 1, true
		}
		return 0, true
	}
}

var runInfo = prometheus.NewDesc("convae_run_info", "A metric with the constant value 1 and what a run trains as labels.", []string{"run", "model", "device", "precision"}, nil)

// Describe implements prometheus.Collector.
func (m *metrics) Describe(all chan<- *prometheus.Desc) {
	all <- runInfo
	for _, s := range samples {
		all <- s.desc
	}
}

// Collect implements prometheus.Collector.
func (m *metrics) Collect(all chan<- prometheus.Metric) {
	m.server.mu.Lock()
	entries := append([]*entry(nil), m.server.runs...)
	m.server.mu.Unlock()
	for _, e := range entries {
		r := m.server.detail(e)
		all <- prometheus.MustNewConstMetric(runInfo, gauge, 1, r.ID, r.Model, r.Device, r.Precision)
		for _, s := range samples {
			if v, known := s.value(&r); known {
				all <- prometheus.MustNewConstMetric(s.desc, s.kind, v, r.ID)
			}
		}
	}
}
