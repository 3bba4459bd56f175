// Package check tells whether a device computes what it should: it runs the table of op cases against their float64
// references, and a short training of the denoiser against the CPU.
package check

import (
	"context"
	"math"
	"slices"
	"strings"
	"time"

	"convae/nn"
	"convae/nn/backend"
	"convae/nn/backend/backendtest"
	"convae/trainer/dataset"
)

// Report is what a check found.
type Report struct {
	Device   string   `json:"device"`
	Seed     uint64   `json:"seed"` // of the cases' inputs
	Cases    int      `json:"cases"`
	Ops      []Op     `json:"ops"`
	Training Training `json:"training"`
	Seconds  float64  `json:"seconds"`
	Passed   bool     `json:"passed"`
}

// Op sums up the cases of one op.
type Op struct {
	Op       string   `json:"op"` // method of backend.Backend
	Cases    int      `json:"cases"`
	Worst    float64  `json:"worst"` // worst error as a share of its bound
	Case     string   `json:"case"`  // where that was
	GFLOPS   float64  `json:"gflops,omitempty"`
	Failures []string `json:"failures,omitempty"`
}

// Training compares a short training on the device with the same on the CPU.
type Training struct {
	Steps      int     `json:"steps"`
	Batch      int     `json:"batch"`
	Loss       float64 `json:"loss"`        // of the last step on the device
	LossDiff   float64 `json:"loss_diff"`   // largest difference of any step's loss
	WeightDiff float64 `json:"weight_diff"` // largest difference of any weight at the end
	Rate       float64 `json:"images_per_second"`
	Passed     bool    `json:"passed"`
	Error      string  `json:"error,omitempty"`
}

// Bounds of the training: two correct devices differ by rounding, which Adam's division magnifies where a gradient is
// nearly zero.
const (
	lossBound   = 1e-5
	weightBound = 1e-4
)

// Options are the choices of Run.
type Options struct {
	Words        []string // only cases whose name has one of these; none: all
	Steps, Batch int      // of the training
	Progress     func(done, total int)
}

// Run checks dev against reference. Errors are those of the surroundings; what is wrong with the device stands in the
// report.
func Run(ctx context.Context, dev, reference backend.Device, o Options) (*Report, error) {
	start := time.Now()
	cases, err := backendtest.Select(backendtest.Cases(), o.Words...)
	if err != nil {
		return nil, err
	}
	r := &Report{Device: dev.Name(), Seed: backendtest.Seed, Cases: len(cases), Passed: true}
	results := make([]backendtest.Result, len(cases))
	if err := runCases(ctx, dev.Lanes(), cases, results, o.Progress); err != nil {
		return nil, err
	}
	for _, res := range results {
		r.Passed = r.Passed && res.OK()
		for _, name := range res.Ops {
			r.op(name).add(res)
		}
	}
	slices.SortFunc(r.Ops, func(a, b Op) int { return order(a.Op) - order(b.Op) })
	for _, c := range cases {
		if c.Bench && c.MACs > 0 && r.Passed {
			if err := r.speed(dev.Lanes()[0], c); err != nil {
				return nil, err
			}
		}
	}
	if o.Steps > 0 {
		r.Training = train(ctx, dev, reference, o)
		r.Passed = r.Passed && r.Training.Passed
	}
	r.Seconds = time.Since(start).Seconds()
	return r, ctx.Err()
}

// runCases runs the cases on all lanes at once.
func runCases(ctx context.Context, lanes []backend.Backend, cases []backendtest.Case, results []backendtest.Result, progress func(done, total int)) error {
	next, finished := make(chan int), make(chan int)
	for _, lane := range lanes {
		go func() {
			for i := range next {
				results[i] = backendtest.Run(lane, cases[i])
				finished <- i
			}
		}()
	}
	defer close(next)
	sent, done := 0, 0
	for done < len(cases) {
		var feed chan int
		if sent < len(cases) && ctx.Err() == nil {
			feed = next
		}
		if feed == nil && sent == done {
			return ctx.Err()
		}
		select {
		case feed <- sent:
			sent++
		case <-finished:
			done++
			if progress != nil {
				progress(done, len(cases))
			}
		}
	}
	return nil
}

// op returns the entry of an op, which it makes if there is none.
func (r *Report) op(name string) *Op {
	i := slices.IndexFunc(r.Ops, func(o Op) bool { return o.Op == name })
	if i < 0 {
		i = len(r.Ops)
		r.Ops = append(r.Ops, Op{Op: name})
	}
	return &r.Ops[i]
}

func (o *Op) add(res backendtest.Result) {
	o.Cases++
	if !res.OK() {
		o.Failures = append(o.Failures, res.String())
	}
	if res.Worst >= o.Worst && res.Err == nil {
		o.Worst, o.Case = res.Worst, res.Name
	}
}

// order keeps the ops in the order of the table.
func order(op string) int {
	for i, c := range backendtest.Cases() {
		if slices.Contains(c.Ops, op) {
			return i
		}
	}
	return math.MaxInt
}

// speed measures a case for a moment and keeps the best figure of its op.
func (r *Report) speed(b backend.Backend, c backendtest.Case) error {
	run, free, err := backendtest.Prepare(b, c)
	if err != nil {
		return err
	}
	defer free()
	run()
	if err := b.Sync(); err != nil {
		return err
	}
	const moment = 20 * time.Millisecond
	n, start := 0, time.Now()
	for time.Since(start) < moment {
		run()
		n++
		if n&(n-1) == 0 { // an asynchronous device would be given work without end
			if err := b.Sync(); err != nil {
				return err
			}
		}
	}
	if err := b.Sync(); err != nil {
		return err
	}
	// A case names what it prepares its op with too; that was not run again here.
	o := r.op(c.Ops[slices.IndexFunc(c.Ops, func(op string) bool { return !strings.HasSuffix(op, "Pack") && !strings.HasSuffix(op, "Needs") })])
	o.GFLOPS = max(o.GFLOPS, 2*float64(c.MACs)*float64(n)/time.Since(start).Seconds()/1e9)
	return nil
}

// train runs the same steps on both devices.
func train(ctx context.Context, dev, reference backend.Device, o Options) Training {
	t := Training{Steps: o.Steps, Batch: o.Batch}
	digits := dataset.Digits(o.Steps*o.Batch, 1)
	start := time.Now()
	losses, weights, err := steps(ctx, dev, digits, o)
	took := time.Since(start)
	if err == nil {
		var wantLosses, wantWeights []float64
		if wantLosses, wantWeights, err = steps(ctx, reference, digits, o); err == nil {
			t.Loss = losses[len(losses)-1]
			t.LossDiff, t.WeightDiff = farthest(losses, wantLosses), farthest(weights, wantWeights)
		}
	}
	if err != nil {
		t.Error = err.Error()
		return t
	}
	t.Rate = float64(o.Steps*o.Batch) / took.Seconds()
	t.Passed = t.LossDiff <= lossBound && t.WeightDiff <= weightBound // a NaN fails
	return t
}

// steps trains the denoiser and returns the loss of each step and the weights.
func steps(ctx context.Context, dev backend.Device, digits *dataset.Set, o Options) (losses, weights []float64, err error) {
	m, err := nn.New(nn.Denoiser(), 1)
	if err != nil {
		return nil, nil, err
	}
	t, err := nn.NewTrainer(m, dev, nn.TrainerOptions{Batch: o.Batch, Loss: nn.BCE, Noise: 0.5, Seed: 1})
	if err != nil {
		return nil, nil, err
	}
	defer t.Close()
	if err := t.SetData(digits.Pixels, digits.Len()); err != nil {
		return nil, nil, err
	}
	for i := range o.Steps {
		if ctx.Err() != nil {
			return nil, nil, ctx.Err()
		}
		t.ResetLoss()
		t.Step(i*o.Batch, o.Batch, 0)
		loss, err := t.Loss()
		if err != nil {
			return nil, nil, err
		}
		losses = append(losses, loss)
	}
	if err := t.Pull(); err != nil {
		return nil, nil, err
	}
	for _, p := range m.Params {
		for _, v := range p.Data {
			weights = append(weights, float64(v))
		}
	}
	return losses, weights, nil
}

// farthest returns the largest difference, NaN if there is one.
func farthest(a, b []float64) float64 {
	worst := 0.0
	for i := range a {
		worst = max(worst, math.Abs(a[i]-b[i]))
	}
	return worst
}
