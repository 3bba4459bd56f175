// Package sass predicts what a kernel takes on a GPU that is not at hand: it has NVIDIA's assembler make sm_90 machine code of the
// PTX that we ship, executes it with the schedule that the assembler wrote into it, on a model of one streaming multiprocessor, and
// compares each result with that of the PTX simulator. So it is also a second check of the PTX, of the simulator and of the assembler.
//
// Modelled: four schedulers that issue one instruction a cycle, stall counts and scoreboards as the machine code has them, the units,
// among them a tensor core a scheduler, and how long each is taken, passes of shared memory with bank conflicts, L1 with its sectors, the latency of L2 and the bytes a
// cycle that one SM gets from it, copies of the tensor memory accelerator and the mbarriers that wait for them, occupancy by registers and shared
// memory, the blocks of the SM that has most of them, and launches of several streams that share the SMs. The machine code is that of sm_90 on all
// machines.
//
// Not modelled: the instruction cache, DRAM, L2 that all SMs share and its size, reuse of operands and register banks, the yield hint, changes
// of the clock, blocks of one launch that overlap with the next of its stream. All times are predictions.
package sass

import (
	"github.com/convae/convae/cuda/driver"
)

// Launch is a launch of a kernel.
type Launch struct {
	Grid, Block driver.Dim3
	Shared      int    // dynamic bytes
	Params      []byte // as the kernel declares them
	Memory      []Region
}

// Count is what a launch takes on a machine, by the model.
type Count struct {
	Kernel       string
	Grid, Block  driver.Dim3
	Registers    int // a thread
	Shared       int // bytes a block
	Resident     int // blocks that an SM can hold
	Blocks       int // of the SM that has most
	Cycles       int64
	Instructions int64 // of warps, on that SM
	FMAs         int64 // of them multiply-adds of floats
	MMAs         int64 // products of 16 x 8 matrices, of which a warpgroup's instruction is several
	Tensor       int64 // hundredths of a cycle in which the SM's tensor cores are taken, added up
	Products     int64 // multiply-adds of a lane in both
	Bytes        int64 // between that SM and L2
	Stalls       [numStalls]int64
}

// Waves is how often an SM is filled.
func (c *Count) Waves() float64 { return float64(c.Blocks) / float64(c.Resident) }

// Fractions are the shares of the cycles in which a scheduler with warps issued nothing, by what it waited for.
type Fractions struct{ Barrier, Fixed, Pipe, Queue, Load float64 }

// Fractions returns the shares of the stalls.
func (c *Count) Fractions() Fractions {
	var all int64
	for _, n := range c.Stalls {
		all += n
	}
	of := func(s Stall) float64 { return float64(c.Stalls[s]) / float64(max(all, 1)) }
	return Fractions{of(StallBarrier), of(StallFixed), of(StallPipe), of(StallQueue), of(StallBoard)}
}

// Run is a launch that has been executed and waits to be compared.
type Run struct {
	mem    *memory
	before [][]byte
}

// Time executes the blocks of one SM of a machine and says how long it takes.
func (k *Kernel) Time(m *Machine, l *Launch) (c *Count, r *Run, err error) {
	if k.err != nil {
		return nil, nil, k.err
	}
	defer caught(k.Name, &err)
	r = &Run{mem: newMemory(l.Memory)}
	part := k.share(m, l, r.mem)
	part.todo = dealt(m, l, 0, 0)
	c = &Count{Kernel: k.Name, Grid: l.Grid, Block: l.Block, Registers: k.Registers, Shared: k.Shared + l.Shared, Resident: part.resident, Blocks: len(part.todo)}
	s := simulate(m, [][]*share{{part}})
	c.Cycles, c.Instructions, c.FMAs, c.MMAs, c.Tensor, c.Products, c.Bytes = s.now, s.instructions, s.fmas, s.mmas, s.tensor, s.products, s.sectors*sectorBytes
	for i := range s.sched {
		for j, n := range s.sched[i].stalled {
			c.Stalls[j] += n
		}
	}
	return c, r, nil
}

// share makes what an SM gets of a launch, without its blocks.
func (k *Kernel) share(m *Machine, l *Launch, mem *memory) *share {
	each := needsOf(l.Block.X*l.Block.Y*l.Block.Z, k.Registers, k.Shared+l.Shared)
	n := m.resident(each)
	if n == 0 {
		fail("a block does not fit into an SM of %s", m.Name)
	}
	return &share{x: newExecutor(k, l, mem), each: each, resident: n}
}

// dealt returns the blocks that an SM gets of a launch whose first block goes to SM number first.
func dealt(m *Machine, l *Launch, sm, first int) (blocks []int) {
	for i := ((sm-first)%m.SMs + m.SMs) % m.SMs; i < l.blocks(); i += m.SMs {
		blocks = append(blocks, i)
	}
	return blocks
}

// Times says whether Time executes a block of a launch.
func (m *Machine) Times(block int) bool { return block%m.SMs == 0 }

// blocks is the number of blocks of a launch.
func (l *Launch) blocks() int { return l.Grid.X * l.Grid.Y * l.Grid.Z }

// Execute executes all blocks.
func (k *Kernel) Execute(l *Launch) (r *Run, err error) {
	if k.err != nil {
		return nil, k.err
	}
	defer caught(k.Name, &err)
	r = &Run{mem: newMemory(l.Memory)}
	for i := range r.mem.list {
		r.before = append(r.before, append([]byte(nil), r.mem.list[i].Data...))
	}
	x := newExecutor(k, l, r.mem)
	for i := range l.blocks() {
		x.run(x.block(i))
	}
	return r, nil
}

// Compare says how the memory of the launch, in which the PTX simulator has run it meanwhile, differs from what the machine code
// made, or nil. After Execute it looks for what was not written too.
func (r *Run) Compare() error { return r.mem.compare(r.before) }
