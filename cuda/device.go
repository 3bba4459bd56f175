package cuda

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/convae/convae/cuda/driver"
	"github.com/convae/convae/kernels"
	"github.com/convae/convae/nn/backend"
)

// Device is a GPU, or a simulator of one.
type Device struct {
	name string
	dev  driver.Device
	lane *lane

	waits bool // kernels wait for the launch before them, whose end their start then need not wait for

	nccl      Libraries // by which it is connected with others; nil if there is none
	ncclBytes int       // that this takes

	code      [kernels.Count]code
	functions map[variant]*function // that are loaded
	compiled  int                   // how many were
	compiling time.Duration         // how long that took
}

// maxBlocks is the largest number of blocks of a reduction in two stages, whose partial results the device keeps room
// for, once for each branch.
const (
	maxBlocks      = 1024
	branchPartials = 4 * maxBlocks // bytes
)

// Kernels can wait by themselves from this compute capability on, and a graph can have launches that do from this version of CUDA on.
const (
	waitMajor  = 9
	waitDriver = 12030
)

// Open opens device index of a driver's list under a name such as "cuda:0". Kernels are compiled when they are needed.
func Open(d driver.Driver, index int, name string) (*Device, error) {
	return OpenWith(d, index, name, kernels.Select)
}

// OpenWith is Open with the kernels that choose returns for a compute capability, such as those with a fault that a test wants to be
// found.
func OpenWith(d driver.Driver, index int, name string, choose func(major, minor int) ([]kernels.Module, error)) (*Device, error) {
	dev, err := d.Open(index)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	o := &Device{name: name, dev: dev, functions: map[variant]*function{}}
	if err := o.init(choose); err != nil {
		return nil, fmt.Errorf("%s: %w", name, errors.Join(err, dev.Close()))
	}
	return o, nil
}

// init finds the kernels and makes the lane.
func (d *Device) init(choose func(major, minor int) ([]kernels.Module, error)) error {
	info := d.dev.Info()
	d.waits = info.Major >= waitMajor && info.Driver >= waitDriver
	modules, err := choose(info.Major, info.Minor)
	if err != nil {
		return err
	}
	for _, m := range modules {
		module, err := parse(m.PTX)
		if err != nil {
			return fmt.Errorf("%s: %w", m.File, err)
		}
		for _, e := range m.Entries {
			d.code[e] = code{module, module.Entry(e.Name()).Params}
		}
	}
	// A device that takes no kernel at all shows it here.
	if err := d.load([]variant{{entry: kernels.VectorClock}}); err != nil {
		return err
	}
	stream, err := d.dev.NewStream()
	if err != nil {
		return fmt.Errorf("making a stream: %w", err)
	}
	partials, err := d.dev.Alloc(2 * branchPartials)
	if err != nil {
		return fmt.Errorf("allocating %d bytes: %w", 2*branchPartials, err)
	}
	pinned, err := d.dev.AllocHost(4 * backend.MaxFetch)
	if err != nil {
		return fmt.Errorf("allocating %d bytes of pinned memory: %w", 4*backend.MaxFetch, err)
	}
	arrived, err := d.dev.NewEvent()
	if err != nil {
		return fmt.Errorf("making an event: %w", err)
	}
	copies, err := d.dev.NewStream()
	if err != nil {
		return fmt.Errorf("making a stream: %w", err)
	}
	before, err := d.dev.NewEvent()
	if err != nil {
		return fmt.Errorf("making an event: %w", err)
	}
	branches, err := newBranches(d.dev, stream)
	if err != nil {
		return err
	}
	d.lane = &lane{dev: d, stream: stream, partials: partials, pinned: pinned, arrived: arrived, copies: copies, before: before, serial: true, branches: branches}
	return nil
}

// tensorCores reports whether the device has those that multiply TF32.
func (d *Device) tensorCores() bool { return d.dev.Info().Major >= 8 }

// Name returns the name given to Open.
func (d *Device) Name() string { return d.name }

// Info describes the device.
func (d *Device) Info() driver.Info { return d.dev.Info() }

// Lanes returns the one executor.
func (d *Device) Lanes() []backend.Backend { return []backend.Backend{d.lane} }

// Policy takes the whole batch at once.
func (d *Device) Policy() backend.Policy { return backend.Policy{Slots: 1, SlotBytes: math.MaxInt} }

// Free returns the bytes of device memory that can still be allocated.
func (d *Device) Free() (int, error) {
	free, _, err := d.dev.Memory()
	if err != nil {
		return 0, fmt.Errorf("%s: asking for the free memory: %w", d.name, err)
	}
	return free, nil
}

// Close waits for the device's work and releases it.
func (d *Device) Close() error {
	failed := d.lane.Sync()
	if err := d.dev.Close(); err != nil {
		return errors.Join(failed, fmt.Errorf("%s: closing: %w", d.name, err))
	}
	return failed
}
