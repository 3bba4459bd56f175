// Package check tells whether a device computes what it should: it runs the table of op cases against their float64
// references, and a short training of the denoiser against the CPU; or the cases and the training of golden files; and all
// of it op by op against another device.
package check

import (
	"context"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/convae/convae/nn"
	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/backend/backendtest"
	"github.com/convae/convae/trainer/dataset"
)

// Report is what a check found.
type Report struct {
	Device   string   `json:"device"`
	Seed     uint64   `json:"seed"` // of the cases' inputs
	Cases    int      `json:"cases"`
	Ops      []Op     `json:"ops"`
	NotRun   []string `json:"not_run,omitempty"` // golden cases of ops that there are not, and why; and a training that is not in the folder
	Training Training `json:"training"`
	Against  *Against `json:"against,omitempty"`
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

// Training compares a short training on the device with the same on the reference, or with a golden one.
type Training struct {
	Reference  string  `json:"reference"` // "cpu", or the name of a golden file
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
	Words        []string       // only cases whose name has one of these; none: all
	Every        int            // of these only every so manieth of each op; below 2: all
	Golden       string         // folder of golden files, which take the place of the table and of the reference's training
	Against      backend.Device // compare every op with this device too, on the same inputs; nil: none
	Steps, Batch int            // of the training; no steps: no training; a golden one has its own
	Progress     func(done, total int)
}

// Run checks dev against reference. Errors are those of the surroundings; what is wrong with the device stands in the
// report.
func Run(ctx context.Context, dev, reference backend.Device, o Options) (*Report, error) {
	start := time.Now()
	cases, notRun, err := pick(o)
	if err != nil {
		return nil, err
	}
	r := &Report{Device: dev.Name(), Seed: backendtest.Seed, Cases: len(cases), NotRun: notRun, Passed: true}
	run, lanes := backendtest.Run, dev.Lanes()
	var against *compared
	if o.Against != nil {
		against = newCompared(o.Against)
		run, lanes, r.Against = against.run, lanes[:1], &against.Against // the other device does one case at a time
	}
	results := make([]backendtest.Result, len(cases))
	if err := runCases(ctx, lanes, run, cases, results, o.Progress); err != nil {
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
		if c.Bench && c.MACs > 0 && r.Passed && r.Against == nil {
			if err := r.speed(dev.Lanes()[0], c); err != nil {
				return nil, err
			}
		}
	}
	switch {
	case o.Steps == 0:
	case o.Golden == "":
		r.Training = train(ctx, dev, reference, against, o)
		r.Passed = r.Passed && r.Training.Passed
	case !hasTraining(o.Golden):
		r.NotRun = append(r.NotRun, goldenTraining+": the folder has no such training")
	default:
		r.Training = trainGolden(ctx, dev, against, o.Golden)
		r.Passed = r.Passed && r.Training.Passed
	}
	if r.Against != nil {
		r.Passed = r.Passed && r.Against.Passed
	}
	r.Seconds = time.Since(start).Seconds()
	return r, ctx.Err()
}

// pick returns the cases that the options ask for, and which golden ones there are besides that cannot be run.
func pick(o Options) (cases []backendtest.Case, notRun []string, err error) {
	if o.Golden == "" {
		cases = backendtest.Cases()
	} else if cases, notRun, err = backendtest.LoadGolden(o.Golden); err != nil {
		return nil, nil, err
	}
	cases, err = backendtest.Select(cases, o.Words...)
	if err != nil || o.Every < 2 {
		return cases, notRun, err
	}
	var picked []backendtest.Case
	seen := make(map[string]int)
	for _, c := range cases {
		take := false
		for _, op := range c.Ops {
			take = take || seen[op]%o.Every == 0
			seen[op]++
		}
		if take {
			picked = append(picked, c)
		}
	}
	return picked, notRun, nil
}

// runCases runs the cases on all lanes at once.
func runCases(ctx context.Context, lanes []backend.Backend, run func(backend.Backend, backendtest.Case) backendtest.Result, cases []backendtest.Case, results []backendtest.Result, progress func(done, total int)) error {
	next, finished := make(chan int), make(chan int)
	for _, lane := range lanes {
		go func() {
			for i := range next {
				results[i] = run(lane, cases[i])
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
	if worst := finite(res.Worst); worst >= o.Worst && res.Err == nil {
		o.Worst, o.Case = worst, res.Name
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
	o := r.op(subject(c))
	o.GFLOPS = max(o.GFLOPS, 2*float64(c.MACs)*float64(n)/time.Since(start).Seconds()/1e9)
	return nil
}

// subject returns the op that a case is about: a case also names what it prepares that op with.
func subject(c backendtest.Case) string {
	return c.Ops[max(0, slices.IndexFunc(c.Ops, func(op string) bool { return !strings.HasSuffix(op, "Pack") && !strings.HasSuffix(op, "Needs") }))]
}

// finite keeps NaN and infinities out of the report: JSON has none.
func finite(v float64) float64 {
	if v < math.MaxFloat64 {
		return v
	}
	return math.MaxFloat64
}

// train runs the same steps on both devices.
func train(ctx context.Context, dev, reference backend.Device, against *compared, o Options) Training {
	digits := dataset.Digits(o.Steps*o.Batch, 1)
	return compareTraining(Training{Reference: reference.Name(), Steps: o.Steps, Batch: o.Batch},
		func() (outcome, error) { return steps(ctx, dev, against, digits, o) },
		func() (outcome, error) { return steps(ctx, reference, nil, digits, o) })
}

// outcome is what a training came to: the loss of each step and the weights at the end.
type outcome struct{ losses, weights []float64 }

// compareTraining runs a training on the device and compares it with what it should come to.
func compareTraining(t Training, run, reference func() (outcome, error)) Training {
	start := time.Now()
	got, err := run()
	took := time.Since(start)
	if err == nil {
		var want outcome
		if want, err = reference(); err == nil {
			t.Loss = finite(got.losses[len(got.losses)-1])
			t.LossDiff, t.WeightDiff = farthest(got.losses, want.losses), farthest(got.weights, want.weights)
		}
	}
	if err != nil {
		t.Error = err.Error()
		return t
	}
	t.Rate = float64(t.Steps*t.Batch) / took.Seconds()
	t.Passed = t.LossDiff <= lossBound && t.WeightDiff <= weightBound
	return t
}

// steps trains the denoiser on digits. Each op is compared, if against is not nil.
func steps(ctx context.Context, dev backend.Device, against *compared, digits *dataset.Set, o Options) (outcome, error) {
	m, err := nn.New(nn.Denoiser(), 1)
	if err != nil {
		return outcome{}, err
	}
	t, err := nn.NewTrainer(m, dev, nn.TrainerOptions{Batch: o.Batch, Loss: nn.BCE, Noise: 0.5, Seed: 1})
	if err != nil {
		return outcome{}, err
	}
	defer t.Close()
	if err := t.SetData(digits.Pixels, digits.Len()); err != nil {
		return outcome{}, err
	}
	return follow(ctx, m, t, o.Steps, func(i int) error { return against.step(t, i*o.Batch, o.Batch) })
}

// follow does the steps and returns what they came to.
func follow(ctx context.Context, m *nn.Model, t *nn.Trainer, steps int, step func(i int) error) (r outcome, err error) {
	for i := range steps {
		if ctx.Err() != nil {
			return r, ctx.Err()
		}
		t.ResetLoss()
		if err := step(i); err != nil {
			return r, err
		}
		loss, err := t.Loss()
		if err != nil {
			return r, err
		}
		r.losses = append(r.losses, loss)
	}
	if err := t.Pull(); err != nil {
		return r, err
	}
	for _, p := range m.Params {
		r.weights = appendFloats(r.weights, p.Data)
	}
	return r, nil
}

func appendFloats(dst []float64, v []float32) []float64 {
	for _, x := range v {
		dst = append(dst, float64(x))
	}
	return dst
}

// farthest returns the largest difference; NaN is the farthest.
func farthest(a, b []float64) float64 {
	worst := 0.0
	for i := range a {
		worst = max(worst, math.Abs(a[i]-b[i]))
	}
	return finite(worst)
}
