package ptxsim

import (
	"fmt"

	"github.com/convae/convae/cuda/driver"
)

// Kind is what a kernel did wrong.
type Kind string

// The kinds of fault.
const (
	OutOfBounds      Kind = "out of bounds"
	Misaligned       Kind = "misaligned access"
	UseAfterFree     Kind = "use after free"
	Uninitialised    Kind = "read of uninitialised memory"
	ReadOnly         Kind = "write to read-only memory" // a store to .const, or to memory that the launch reads with ld.global.nc
	SharedRace       Kind = "race in shared memory"     // two threads of a block, at least one writes, no barrier between
	GlobalRace       Kind = "race in global memory"     // two blocks of a launch, at least one writes
	StreamRace       Kind = "race of streams"           // two launches that nothing orders, at least one writes
	DivergentBarrier Kind = "divergent barrier"         // not every thread of the block comes to it
	DivergentSync    Kind = "divergent warp"            // a warp-wide instruction without its members
	Deadlock         Kind = "deadlock"
	Endless          Kind = "endless loop" // more instructions than Options.Limit
	Unfenced         Kind = "missing fence"
	Miscount         Kind = "wrong count of an mbarrier" // more arrivals than a phase has, or numbers that it cannot hold
	Trap             Kind = "trap"
	Internal         Kind = "error of the simulator"
)

// Fault is what a launch did wrong. Synchronize returns it.
type Fault struct {
	Kind    Kind
	Kernel  string
	Line    int    // of the PTX
	Text    string // of that line
	Block   driver.Dim3
	Thread  driver.Dim3
	Address uint64 // for shared and local memory the offset in it
	Detail  string
}

func (f *Fault) Error() string {
	addr := ""
	if f.Address != 0 {
		addr = fmt.Sprintf(", address %#x", f.Address)
	}
	if f.Line == 0 { // of a library
		return fmt.Sprintf("ptxsim: %s: %s%s: %s", f.Kind, f.Kernel, addr, f.Detail)
	}
	return fmt.Sprintf("ptxsim: %s: %s, line %d `%s`, block (%d,%d,%d), thread (%d,%d,%d)%s: %s", f.Kind, f.Kernel, f.Line, f.Text,
		f.Block.X, f.Block.Y, f.Block.Z, f.Thread.X, f.Thread.Y, f.Thread.Z, addr, f.Detail)
}

// fault ends the launch; its caller recovers the panic.
func (w *warp) fault(in *inst, lane int, kind Kind, addr uint64, detail string) {
	b := w.block
	t := int(w.id)*32 + lane
	panic(&Fault{
		Kind: kind, Kernel: b.prog.entry.name, Line: int(in.line), Text: b.prog.module.text(int(in.line)), Block: b.id,
		Thread:  driver.Dim3{X: t % b.dim.X, Y: t / b.dim.X % b.dim.Y, Z: t / b.dim.X / b.dim.Y},
		Address: addr, Detail: detail,
	})
}
