package main

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/convae/convae/cuda/ptxsim"
	"github.com/convae/convae/cuda/sass"
	"github.com/convae/convae/kernels"
	"github.com/convae/convae/nn"
)

// simProfile gathers what a simulated GPU counts, by op, layer and kernel. The simulator calls it for every launch and
// the profiled step around every op.
type simProfile struct {
	rows   []*simRow
	index  map[simKey]*simRow
	at     int  // op at hand; -1 between ops
	active bool // the model is in place

	watch  *sass.Watch // with --machine, and the tools at hand
	counts []prediction
	sample bool // with --sample
}

// prediction is what the model of a machine says of a launch.
type prediction struct {
	*sass.Count
	op int
}

// predict sets up the prediction for a machine, if one is named. Without NVIDIA's tools it says so, and the step is counted alone.
func (p *simProfile) predict(log io.Writer, device, machine string) error {
	if machine == "" {
		if p.sample {
			return errors.New("--sample is without --machine, whose blocks it is about")
		}
		return nil
	}
	if device != "sim" {
		return fmt.Errorf("--machine is %s: it needs --device sim", machine)
	}
	m, err := sass.FindMachine(machine)
	if err != nil {
		return fmt.Errorf("--%w", err)
	}
	c, err := sass.NewCompiler()
	if errors.Is(err, sass.ErrNoTools) {
		fmt.Fprintf(log, "no times are predicted: %v\n", err)
		return nil
	}
	if err != nil {
		return err
	}
	p.watch = &sass.Watch{Compiler: c, Machine: &m, Timed: func(c *sass.Count) { p.counts = append(p.counts, prediction{c, p.at}) }}
	return nil
}

// options are those of the simulator.
func (p *simProfile) options() ptxsim.Options {
	o := ptxsim.Options{OnLaunch: p.launched}
	if p.watch != nil {
		o.Major, o.Minor = p.watch.Machine.Major, p.watch.Machine.Minor
		o.Driver = 12020 // for which kernels do not wait by themselves: the gaps between launches are counted in full
		o.OnLoad, o.BeforeLaunch = p.watch.Compiler.Loaded, p.watch.Before
		o.Skip = ptxsim.Checks{Init: true, Race: true, GlobalRace: true, Count: true} // the same launches are checked without a machine
		if p.sample {
			o.Blocks = func(i int) bool { return !p.active || p.watch.Machine.Times(i) }
		}
	}
	return o
}

// start begins the step that is counted.
func (p *simProfile) start() {
	p.active = true
	if p.watch != nil {
		p.watch.Active = true
	}
}

type simKey struct {
	op     int
	kernel string
}

// simRow is a kernel's work for an op in one training step.
type simRow struct {
	Op        string            `json:"op"`
	Layer     string            `json:"layer"`
	Kernel    string            `json:"kernel"`
	Registers int               `json:"registers"` // on sm_75
	Launches  int               `json:"launches"`
	Classes   map[string]uint64 `json:"instructions"` // of threads, by class
	Total     uint64            `json:"total_instructions"`
	Bytes     uint64            `json:"global_bytes"`   // that threads asked for
	Sectors   uint64            `json:"global_sectors"` // pieces of 32 bytes moved
	Requests  uint64            `json:"global_requests"`
	Shared    uint64            `json:"shared_requests"`
	Conflicts uint64            `json:"bank_conflicts"`

	op int
}

func newSimProfile() *simProfile { return &simProfile{index: map[simKey]*simRow{}, at: -1} }

// observe is an nn.Observe.
func (p *simProfile) observe(i int, before bool, clear func()) {
	p.at = -1
	if before {
		p.at = i
		if p.sample { // blocks that are not executed leave 0
			clear()
		}
	}
}

// launched is the simulator's OnLaunch.
func (p *simProfile) launched(c *ptxsim.LaunchCount) {
	if p.watch != nil {
		p.watch.After(c)
	}
	if !p.active || p.at < 0 {
		return // placing the model, or setting the step parameters
	}
	key := simKey{p.at, c.Kernel}
	r := p.index[key]
	if r == nil {
		r = &simRow{Kernel: c.Kernel, Classes: map[string]uint64{}, op: p.at}
		r.Registers, _ = kernels.Registers(c.Kernel, "sm_80")
		p.index[key] = r
		p.rows = append(p.rows, r)
	}
	r.Launches++
	for class, n := range c.Lanes {
		if n > 0 {
			r.Classes[ptxsim.Class(class).String()] += n
		}
	}
	r.Total += c.LaneTotal()
	for _, t := range []ptxsim.Traffic{c.Loads, c.Stores, c.Atomics} {
		r.Bytes += t.Bytes
		r.Sectors += t.Sectors
		r.Requests += t.Requests
	}
	r.Shared += c.SharedRequests
	r.Conflicts += c.BankConflicts
}

// write prints the table of one step.
func (p *simProfile) write(w io.Writer, model string, batch int, ops []nn.OpProfile, asJSON bool) error {
	if p.watch != nil {
		return p.writePrediction(w, model, batch, ops, asJSON)
	}
	total := &simRow{Op: "step", Classes: map[string]uint64{}}
	for _, r := range p.rows {
		r.Op, r.Layer = ops[r.op].Op, ops[r.op].Layer
		total.Launches += r.Launches
		total.Total += r.Total
		total.Bytes += r.Bytes
		total.Sectors += r.Sectors
		total.Requests += r.Requests
		total.Shared += r.Shared
		total.Conflicts += r.Conflicts
		for c, n := range r.Classes {
			total.Classes[c] += n
		}
	}
	if asJSON {
		return writeJSON(w, map[string]any{"device": "sim", "model": model, "batch": batch, "kernels": p.rows, "step": total})
	}
	fmt.Fprintf(w, "%s on the simulated GPU, batch %d: one training step\n\n", model, batch)
	fmt.Fprintf(w, "%-16s %-10s %-26s %4s %6s %9s %6s %7s %6s %6s %9s %8s %9s %8s\n", "op", "layer", "kernel", "regs", "launch", "Minstr", "share",
		"per FMA", "int%", "shared%", "MB", "sect/req", "B/sector", "conflict")
	for _, r := range append(p.rows, total) {
		per := func(a, b uint64) string {
			if b == 0 {
				return "-"
			}
			return fmt.Sprintf("%.2f", float64(a)/float64(b))
		}
		percent := func(n uint64) string { return fmt.Sprintf("%.1f", 100*float64(n)/float64(max(r.Total, 1))) }
		regs := "-"
		if r.Registers > 0 {
			regs = fmt.Sprint(r.Registers)
		}
		fmt.Fprintf(w, "%-16s %-10s %-26s %4s %6d %9.3f %5.1f%% %7s %6s %6s %9.3f %8s %9s %8s\n", r.Op, r.Layer, r.Kernel, regs, r.Launches, float64(r.Total)/1e6,
			100*float64(r.Total)/float64(max(total.Total, 1)), per(r.Total, r.Classes["fma"]), percent(r.Classes["integer"]), percent(r.Classes["shared"]),
			float64(r.Bytes)/1e6, per(r.Sectors, r.Requests), per(r.Bytes, r.Sectors), per(r.Conflicts, r.Shared))
	}
	_, err := fmt.Fprint(w, `
regs: registers a thread on sm_80; Minstr: millions of thread instructions; per FMA: of them a fused multiply-add; int%, shared%: their
share of integer and shared-memory instructions; MB: what threads ask of global memory; sect/req: 32-byte sectors a warp's request
moves; B/sector: bytes asked for in each (more than 32 where threads share); conflict: extra passes a shared-memory request
`)
	return err
}

// predictedRow is a launch's row of the table. Limits and times are in microseconds.
type predictedRow struct {
	Op        string         `json:"op"`
	Layer     string         `json:"layer"`
	Kernel    string         `json:"kernel"`
	Grid      string         `json:"grid"`
	Threads   int            `json:"threads"`
	Registers int            `json:"registers"`
	Resident  int            `json:"resident_blocks"`
	Waves     float64        `json:"waves"`
	PerFMA    float64        `json:"instructions_per_fma,omitempty"`
	Stalls    sass.Fractions `json:"stalls"`
	Micros    float64        `json:"us"`
	Math      float64        `json:"limit_arithmetic_us"`
	Share     float64        `json:"share_of_arithmetic_limit,omitempty"` // Math of Micros
	Tensor    float64        `json:"tensor_cores_busy,omitempty"`         // share of Micros
	Bytes     float64        `json:"limit_bytes_us"`
	Beside    bool           `json:"beside_next,omitempty"` // the launch and the next may run at the same time
	Together  float64        `json:"together_us,omitempty"` // of the launch and those above it that are beside each other
}

// predictedRows returns a row for each launch of a step.
func (p *simProfile) predictedRows(ops []nn.OpProfile) []predictedRow {
	m := p.watch.Machine
	var rows []predictedRow
	for _, c := range p.counts {
		r := predictedRow{Op: "-", Layer: "-", Kernel: c.Kernel, Grid: fmt.Sprintf("%dx%dx%d", c.Grid.X, c.Grid.Y, c.Grid.Z),
			Threads: c.Block.X * c.Block.Y * c.Block.Z, Registers: c.Registers, Resident: c.Resident, Waves: c.Waves(), Stalls: c.Fractions(),
			Micros: 1e6 * m.Seconds(c.Cycles), Math: 1e6 * m.Seconds(m.ArithmeticCycles(c.Count)), Bytes: 1e6 * m.Seconds(m.ByteCycles(c.Count)), Tensor: m.TensorShare(c.Count)}
		if c.op >= 0 {
			r.Op, r.Layer = ops[c.op].Op, ops[c.op].Layer
		}
		if c.Products > 0 {
			r.PerFMA = float64(c.Instructions) / float64(c.Products)
			r.Share = r.Math / r.Micros
		}
		rows = append(rows, r)
	}
	for _, g := range p.watch.Groups() {
		for i := g.First; i < g.Last; i++ {
			rows[i].Beside = true
		}
		rows[g.Last].Together = 1e6 * m.Seconds(g.Cycles)
	}
	return rows
}

// writePrediction prints a row for each launch, and the sum of the step.
func (p *simProfile) writePrediction(w io.Writer, model string, batch int, ops []nn.OpProfile, asJSON bool) error {
	if err := p.watch.Err(); err != nil {
		return err
	}
	m, rows := p.watch.Machine, p.predictedRows(ops)
	cores := 0.0 // what the products on tensor cores would take at the peak
	for _, c := range p.counts {
		cores += 1e6 * m.Seconds(m.TensorCycles(c.Count))
	}
	busy, gaps := 0.0, 1e6*sass.LaunchGap*float64(len(rows))
	for _, r := range rows {
		switch {
		case r.Together > 0:
			busy += r.Together
		case !r.Beside:
			busy += r.Micros
		}
	}
	if asJSON {
		return writeJSON(w, map[string]any{"device": "sim", "machine": m.Name, "model": model, "batch": batch, "launches": rows, "busy_us": busy, "gaps_us": gaps, "limit_tensor_us": cores})
	}
	fmt.Fprintf(w, "%s, batch %d: one training step as predicted for %s at %.3f GHz; no GPU was asked\n\n", model, batch, m.Name, m.GHz)
	writePredictedRows(w, rows)
	_, err := fmt.Fprintf(w, `
step: %.1f us in %d launches + %.1f us between them = %.1f us
res: blocks that a multiprocessor holds; waves: how often the fullest one is filled; per FMA: instructions a multiply-add; bar%%...load%%:
what schedulers with nothing to issue waited for: a barrier, a fixed latency, a unit, the queue of memory instructions, a load;
us: of the launch alone; together: of it and of those above that are marked, which are branches of the graph side by side: the step has
this time for them, and a gap for every launch, also where branches would share one; math us, byte us: the least time by the
multiply-adds executed, and by the bytes that the fullest multiprocessor moves from and to L2; math%%: the share of math us in us
`, busy, len(rows), gaps, busy+gaps)
	if err == nil && onTensorCores(rows) {
		share := cores / (busy + gaps)
		_, err = fmt.Fprintf(w, `core%%: the share of us in which the tensor cores of the fullest multiprocessor are taken
tensor cores: at their peak the step's products of matrices would take %.1f us, which is %.1f %% of the step, and %.1f %% of what mma.sync reaches
`, cores, 100*share, 100*share/m.TensorReach())
	}
	return err
}

// onTensorCores says whether a launch uses the tensor cores, which then have a column of the table.
func onTensorCores(rows []predictedRow) bool {
	return slices.ContainsFunc(rows, func(r predictedRow) bool { return r.Tensor > 0 })
}

// writePredictedRows prints the table of launches; readPredicted reads it.
func writePredictedRows(w io.Writer, rows []predictedRow) {
	op, layer, kernel := 16, 10, 22 // widths
	for _, r := range rows {
		op, layer, kernel = max(op, len(r.Op)), max(layer, len(r.Layer)), max(kernel, len(r.Kernel))
	}
	cores := func(string) string { return "" }
	if onTensorCores(rows) {
		cores = func(s string) string { return fmt.Sprintf("%5s ", s) }
	}
	fmt.Fprintf(w, "%-*s %-*s %-*s %12s %4s %4s %3s %6s %7s %5s %5s %5s %5s %5s %8s %8s %7s %5s %s%7s\n", op, "op", layer, "layer", kernel, "kernel", "grid",
		"thr", "regs", "res", "waves", "per FMA", "bar%", "fix%", "pipe%", "mem%", "load%", "us", "together", "math us", "math%", cores("core%"), "byte us")
	for _, r := range rows {
		per, share, together := "-", "-", ""
		if r.PerFMA > 0 {
			per, share = fmt.Sprintf("%.2f", r.PerFMA), fmt.Sprintf("%.0f", 100*r.Share)
		}
		switch {
		case r.Together > 0:
			together = fmt.Sprintf("%.2f", r.Together)
		case r.Beside:
			together = "|"
		}
		s := r.Stalls
		fmt.Fprintf(w, "%-*s %-*s %-*s %12s %4d %4d %3d %6.2f %7s %5.0f %5.0f %5.0f %5.0f %5.0f %8.2f %8s %7.2f %5s %s%7.2f\n", op, r.Op, layer, r.Layer, kernel, r.Kernel,
			r.Grid, r.Threads, r.Registers, r.Resident, r.Waves, per, 100*s.Barrier, 100*s.Fixed, 100*s.Pipe, 100*s.Queue, 100*s.Load, r.Micros, together,
			r.Math, share, cores(fmt.Sprintf("%.0f", 100*r.Tensor)), r.Bytes)
	}
}
