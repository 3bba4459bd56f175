// Package ptxsim is a CUDA driver without a GPU: it parses PTX and executes it on the CPU, and reports what the code must not
// do. It implements driver.Driver.
//
// A warp of 32 threads runs one instruction at a time over a flat register file; blocks are spread over goroutines. Every
// instruction, modifier, type and directive that is not known is an error of Load, so that what runs means what it says.
//
// Arithmetic rounds as the PTX manual says, float32 fused multiply-add once. Instructions that are approximate on a GPU
// (.approx, .full, matrix products) are computed more exactly here; NaN payloads are not modelled.
//
// Found and reported as a *Fault: accesses out of bounds, misaligned or to freed memory, reads of what was never written,
// races between threads of a block, between blocks of a launch and between launches of streams that do not wait for each other, ld.global.nc of memory that the launch writes, barriers
// that not all threads reach, products of warpgroups (wgmma) whose fences are missing or whose matrices change before they are waited
// for, copies of the tensor memory accelerator (cp.async.bulk) that are not waited for by the mbarrier that they tell, that are not fenced from
// ordinary instructions, or that overwrite what is still read, mbarriers whose phases never become complete, deadlock and endless loops. Two blocks that hand data to each other through atomics count as a
// race as well.
package ptxsim

//go:generate go run ./gen ops_gen.go

import (
	"runtime"

	"github.com/convae/convae/cuda/driver"
)

// Checks are the checks that can be done without.
type Checks struct {
	Init       bool // reads of memory that was never written
	Race       bool // races between the threads of a block
	GlobalRace bool // races between the blocks of a launch, and between launches
	Count      bool // sectors and bank conflicts
}

// Options describe the simulated device. Zero values mean the defaults.
type Options struct {
	Name         string
	Memory       int // bytes, 2 GiB; the simulator needs up to three times of what is allocated
	SMs          int // 80
	Major, Minor int // compute capability, 8.0
	Driver       int // version of CUDA that the driver is for, 12040
	Workers      int // goroutines that run blocks, GOMAXPROCS
	Skip         Checks
	Limit        uint64 // instructions that a warp may run, 1<<32
	// OnLaunch, if set, is called after every launch without a fault.
	OnLaunch func(*LaunchCount)
	// OnLoad, if set, is called with the PTX of every module that is loaded, by the goroutine that loads it.
	OnLoad func(ptx string)
	// BeforeLaunch, if set, is called before every launch, with the device as it is then.
	BeforeLaunch func(*Launching)
	// Blocks, if set, says which blocks of a launch are executed. What the others would have written is not there: memory holds 0 until it is
	// written, and Skip.Init should be set.
	Blocks func(block int) bool
}

// Launching is a launch that is about to run.
type Launching struct {
	Kernel      string
	PTX         string // that the kernel was loaded from
	Grid, Block driver.Dim3
	Shared      int    // dynamic bytes
	Params      []byte // of the kernel, laid out as it declares them
	Memory      []Piece
	Number      uint64   // of the launch, from 1
	Stream      int      // number of its stream; a graph's streams but the one that it is replayed in have their own
	Beside      []uint64 // earlier launches of other streams that nothing orders before this one: on a GPU they may run at the same time
}

// Piece is an allocation of device memory. Data is the memory itself, which nobody but the launch may write.
type Piece struct {
	Base uint64
	Data []byte
}

// New returns a driver with a simulated device for each of the options, which Open makes afresh.
func New(devices ...Options) driver.Driver {
	s := make(sim, len(devices))
	for i, o := range devices {
		s[i] = o.withDefaults()
	}
	return s
}

// withDefaults returns the options with what stands for those that are not set.
func (o Options) withDefaults() Options {
	set := func(v *int, to int) {
		if *v <= 0 {
			*v = to
		}
	}
	if o.Name == "" {
		o.Name = "PTX simulator"
	}
	if o.Major == 0 {
		o.Major, o.Minor = 8, 0
	}
	if o.Limit == 0 {
		o.Limit = 1 << 32
	}
	set(&o.Memory, 2<<30)
	set(&o.SMs, 80)
	set(&o.Driver, 12040)
	set(&o.Workers, runtime.GOMAXPROCS(0))
	return o
}

// sim is a driver: its devices.
type sim []Options
