package main

import (
	"fmt"
	"io"

	"github.com/convae/convae/cuda/ptxsim"
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
func (p *simProfile) observe(i int, before bool) {
	p.at = -1
	if before {
		p.at = i
	}
}

// launched is the simulator's OnLaunch.
func (p *simProfile) launched(c *ptxsim.LaunchCount) {
	if !p.active || p.at < 0 {
		return // placing the model, or setting the step parameters
	}
	key := simKey{p.at, c.Kernel}
	r := p.index[key]
	if r == nil {
		r = &simRow{Kernel: c.Kernel, Classes: map[string]uint64{}, op: p.at}
		r.Registers, _ = kernels.Registers(c.Kernel, "sm_75")
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
regs: registers a thread on sm_75; Minstr: millions of thread instructions; per FMA: of them a fused multiply-add; int%, shared%: their
share of integer and shared-memory instructions; MB: what threads ask of global memory; sect/req: 32-byte sectors a warp's request
moves; B/sector: bytes asked for in each (more than 32 where threads share); conflict: extra passes a shared-memory request
`)
	return err
}
