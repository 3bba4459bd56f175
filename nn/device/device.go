// Package device opens the devices that models run on. It alone knows the CPU backend, the GPU backend and the simulator.
package device

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/convae/convae/cpu"
	"github.com/convae/convae/cuda"
	"github.com/convae/convae/cuda/driver"
	"github.com/convae/convae/cuda/ptxsim"
	"github.com/convae/convae/nn/backend"
)

// Open opens a device by name: "cpu"; "cuda" or "cuda:1", the first or another NVIDIA GPU, which takes a build with the
// tag cuda; "sim", the GPU backend on a simulated GPU, which runs the shipped GPU code on the CPU, slowly, and reports
// what it must not do, and "sim:2" a group of so many of them; or "auto" for the first GPU that can be opened, else the CPU.
// The reason says why auto chose what it chose; it is empty for a device named outright.
func Open(name string) (dev backend.Device, reason string, err error) {
	kind, number, numbered := strings.Cut(name, ":")
	switch {
	case name == "cpu":
		dev, err = openCPU()
	case name == "sim":
		dev, err = OpenSim(ptxsim.Options{})
	case name == "auto":
		return openAuto()
	case name == "cuda":
		dev, err = openCUDA(0)
	case kind == "cuda" && numbered:
		i, e := strconv.Atoi(number)
		if e != nil || i < 0 {
			return nil, "", fmt.Errorf("device is %q, want cuda:0, cuda:1 and so on", name)
		}
		dev, err = openCUDA(i)
	case kind == "sim" && numbered:
		n, e := strconv.Atoi(number)
		if e != nil || n < 1 || n > maxSims {
			return nil, "", fmt.Errorf("device is %q, want sim:1 to sim:%d, a group of so many simulated GPUs", name, maxSims)
		}
		dev, err = openSims(name, n)
	default:
		err = fmt.Errorf("device is %q, want auto, cuda, cuda:1, cpu, sim or sim:2", name)
	}
	if err != nil {
		return nil, "", err // not dev: it may hold a nil pointer
	}
	return dev, "", nil
}

// maxSims is the largest group of simulated GPUs.
const maxSims = 64

func openSims(name string, n int) (backend.Device, error) {
	var all []backend.Device
	for range n {
		d, err := OpenSim(ptxsim.Options{})
		if err != nil {
			return nil, err
		}
		all = append(all, d)
	}
	return backend.NewGroup(name, all...)
}

func openCPU() (backend.Device, error) { return cpu.Open(cpu.Options{}) }

// HostFree returns the bytes of the host's memory that can still be allocated, as cpu.Device.Free does.
func HostFree() (int, error) { return new(cpu.Device).Free() }

func openCUDA(i int) (backend.Device, error) {
	d, err := driver.System()
	if err != nil {
		return nil, err
	}
	return cuda.Open(d, i, fmt.Sprintf("cuda:%d", i))
}

// openAuto opens the first GPU that works, else the CPU.
func openAuto() (backend.Device, string, error) {
	dev, reason, err := openFirst()
	if err == nil {
		return dev, reason, nil
	}
	dev, cpuErr := openCPU()
	if cpuErr != nil {
		return nil, "", cpuErr
	}
	return dev, err.Error(), nil
}

func openFirst() (backend.Device, string, error) {
	d, err := driver.System()
	if err != nil {
		return nil, "", err
	}
	infos, err := d.Devices()
	if err != nil {
		return nil, "", err
	}
	var failed []error
	for i := range infos {
		dev, err := openCUDA(i)
		if err == nil {
			reason := infos[i].Name
			if len(failed) > 0 {
				reason += "; " + errors.Join(failed...).Error()
			}
			return dev, reason, nil
		}
		failed = append(failed, err)
	}
	return nil, "", errors.Join(failed...)
}

// OpenSim opens a simulated GPU with options of its own.
func OpenSim(o ptxsim.Options) (backend.Device, error) {
	d, err := cuda.Open(ptxsim.New(o), 0, "sim")
	if err != nil {
		return nil, err
	}
	return d, nil
}
