package sass

import (
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/convae/convae/cuda/ptxsim"
)

// Watch follows the launches of a PTX simulator: its Before and After are the simulator's BeforeLaunch and OnLaunch.
type Watch struct {
	Active  bool     // off, launches pass unseen
	Machine *Machine // what to time launches on; nil executes all blocks and times none
	// Timed, if set, gets what the model counts.
	Timed func(*Count)

	Compiler *Compiler

	timed  []timed
	groups []Group

	run  *Run
	name string
	n    int // launches compared
	err  error
}

// Group is launches of several streams that may run at the same time, and what they take together.
type Group struct {
	First, Last int // in the order in which launches were timed, from 0
	Cycles      int64
}

// timed is a launch that was timed.
type timed struct {
	Work
	number uint64
	stream int
}

// Compiler makes machine code of the modules that a PTX simulator loads, each once: its Loaded is the simulator's OnLoad, so that
// modules that are loaded side by side are compiled so.
type Compiler struct {
	tools Tools
	mu    sync.Mutex
	made  map[string]func() (map[string]*Kernel, error) // by PTX
}

// NewCompiler returns a compiler. The error is ErrNoTools where NVIDIA's programs are not at hand.
func NewCompiler() (*Compiler, error) {
	t, err := FindTools()
	if err != nil {
		return nil, err
	}
	return &Compiler{tools: t, made: map[string]func() (map[string]*Kernel, error){}}, nil
}

// Loaded compiles a module. A failure is that of the first launch of a kernel of it.
func (c *Compiler) Loaded(ptx string) { _, _ = c.module(ptx)() }

// module returns the function that compiles a module the first time.
func (c *Compiler) module(ptx string) func() (map[string]*Kernel, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.made[ptx] == nil {
		c.made[ptx] = sync.OnceValues(func() (map[string]*Kernel, error) { return c.tools.Compile(ptx) })
	}
	return c.made[ptx]
}

// Spilling returns the kernels of all modules so far that spill registers, by name.
func (c *Compiler) Spilling() (names []string, err error) {
	c.mu.Lock()
	all := slices.Collect(maps.Values(c.made))
	c.mu.Unlock()
	for _, module := range all {
		ks, err := module()
		if err != nil {
			return nil, err
		}
		for name, k := range ks {
			if k.Spills > 0 {
				names = append(names, name)
			}
		}
	}
	return names, nil
}

// kernel returns a kernel of a module.
func (c *Compiler) kernel(ptx, name string) (*Kernel, error) {
	ks, err := c.module(ptx)()
	if err != nil {
		return nil, err
	}
	if ks[name] == nil {
		return nil, fmt.Errorf("sass: no machine code of %s", name)
	}
	return ks[name], nil
}

// Before executes a launch's machine code.
func (w *Watch) Before(p *ptxsim.Launching) {
	w.run = nil
	if !w.Active || w.err != nil {
		return
	}
	l := &Launch{Grid: p.Grid, Block: p.Block, Shared: p.Shared, Params: p.Params}
	for _, m := range p.Memory {
		l.Memory = append(l.Memory, Region{Base: m.Base, Data: m.Data})
	}
	k, err := w.Compiler.kernel(p.PTX, p.Kernel)
	if err != nil {
		w.err = err
		return
	}
	w.name = p.Kernel
	if w.Machine == nil {
		w.run, err = k.Execute(l)
	} else {
		err = w.time(p, Work{k, l})
	}
	if err != nil {
		w.run, w.err = nil, err
	}
}

// time times a launch alone and, if it may run beside earlier ones, together with those.
func (w *Watch) time(p *ptxsim.Launching, work Work) (err error) {
	var c *Count
	if c, w.run, err = work.Kernel.Time(w.Machine, work.Launch); err != nil {
		return err
	}
	if w.Timed != nil {
		w.Timed(c)
	}
	w.timed = append(w.timed, timed{work, p.Number, p.Stream})
	first := slices.IndexFunc(w.timed, func(t timed) bool { return slices.Contains(p.Beside, t.number) })
	if first < 0 {
		return nil
	}
	g := Group{First: first, Last: len(w.timed) - 1}
	if n := len(w.groups); n > 0 && w.groups[n-1].Last >= first { // of which this launch is one more
		g.First = min(first, w.groups[n-1].First)
		w.groups = w.groups[:n-1]
	}
	g.Cycles, err = TimeTogether(w.Machine, byStream(w.timed[g.First:])...)
	w.groups = append(w.groups, g)
	return err
}

// byStream returns the launches of each stream, in the order of their first ones.
func byStream(list []timed) (branches [][]Work) {
	index := map[int]int{}
	for _, t := range list {
		i, ok := index[t.stream]
		if !ok {
			i = len(branches)
			index[t.stream] = i
			branches = append(branches, nil)
		}
		branches[i] = append(branches[i], t.Work)
	}
	return branches
}

// Groups returns the launches that may run at the same time.
func (w *Watch) Groups() []Group { return w.groups }

// After compares memory after the launch.
func (w *Watch) After(*ptxsim.LaunchCount) {
	if w.run == nil {
		return
	}
	w.n++
	if err := w.run.Compare(); err != nil {
		w.err = fmt.Errorf("sass: launch %d, %s: %w", w.n, w.name, err)
	}
	w.run = nil
}

// Launches is the number of launches compared.
func (w *Watch) Launches() int { return w.n }

// Err is what went wrong first: machine code that cannot be run, or that gives other bits than the PTX.
func (w *Watch) Err() error { return w.err }
