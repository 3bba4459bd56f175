package cuda

import (
	"errors"
	"fmt"
	"math"

	"github.com/convae/convae/cuda/driver"
	"github.com/convae/convae/kernels"
	"github.com/convae/convae/nn/backend"
)

// Device is a GPU, or a simulator of one.
type Device struct {
	name    string
	dev     driver.Device
	kernels [kernels.Count]driver.Function
	shared  [kernels.Count]int // dynamic shared memory that each kernel was allowed
	lane    *lane
}

// maxBlocks is the largest number of blocks of a reduction in two stages, whose partial results the device keeps room
// for, once for each branch.
const (
	maxBlocks      = 1024
	branchPartials = 4 * maxBlocks // bytes
)

// Open opens device index of a driver's list under a name such as "cuda:0", and loads the kernels.
func Open(d driver.Driver, index int, name string) (*Device, error) {
	dev, err := d.Open(index)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	o := &Device{name: name, dev: dev}
	if err := o.init(); err != nil {
		return nil, fmt.Errorf("%s: %w", name, errors.Join(err, dev.Close()))
	}
	return o, nil
}

// init loads the kernels and makes the lane.
func (d *Device) init() error {
	info := d.dev.Info()
	modules, err := kernels.Select(info.Major, info.Minor)
	if err != nil {
		return err
	}
	for _, m := range modules {
		module, err := d.dev.Load(m.PTX)
		if err != nil {
			return fmt.Errorf("loading %s: %w", m.File, err)
		}
		for _, e := range m.Entries {
			if d.kernels[e], err = module.Function(e.Name()); err != nil {
				return fmt.Errorf("finding %s in %s: %w", e.Name(), m.File, err)
			}
		}
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
