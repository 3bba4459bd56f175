package main

import (
	"os"
	"runtime/debug"

	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/trainer"
)

const (
	heapGrowth = 20       // percent of what is in use that garbage may take
	ownBytes   = 32 << 20 // of the program itself, besides what a run plans
	fileBytes  = 28 << 20 // of ownBytes, code and built-in data mapped from the program's file, which the runtime does not count
)

// frugalHeap keeps garbage small beside what is in use. The runtime's default lets it grow to the same size, so that a data set
// would take twice its bytes while it is read. Data and activations have no pointers: to collect beside them costs little. It
// returns what undoes it, and leaves alone what the environment says.
func frugalHeap() (undo func()) {
	if os.Getenv("GOGC") != "" {
		return func() {}
	}
	before := debug.SetGCPercent(heapGrowth)
	return func() { debug.SetGCPercent(before) }
}

// heldToPlan is an Observer that has the garbage collector keep a run to the memory that it announces.
type heldToPlan struct {
	trainer.Observer
	dev backend.Device
}

// Start sets the limit of the heap, of which a GPU's memory is no part.
func (h heldToPlan) Start(s trainer.Start) {
	h.Observer.Start(s)
	bytes := s.Memory.Host.Total()
	if h.dev.Policy().Host {
		bytes += s.Memory.Device.Total()
	}
	if os.Getenv("GOMEMLIMIT") == "" && h.dev.Name() != "sim" { // a simulated GPU takes several times what it allocates
		debug.SetMemoryLimit(int64(bytes + ownBytes - fileBytes))
	}
}
