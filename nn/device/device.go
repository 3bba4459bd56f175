// Package device opens the devices that models run on. It alone knows the CPU backend, the GPU backend and the simulator.
package device

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/convae/convae/cpu"
	"github.com/convae/convae/cuda"
	"github.com/convae/convae/cuda/driver"
	"github.com/convae/convae/cuda/nccl"
	"github.com/convae/convae/cuda/nccl/ncclsim"
	"github.com/convae/convae/cuda/ptxsim"
	"github.com/convae/convae/nn/backend"
)

// Open opens a device by name: "cpu"; "cuda" or "cuda:1", the first or another NVIDIA GPU, which takes a build with the
// tag cuda; "sim", the GPU backend on a simulated GPU, which runs the shipped GPU code on the CPU, slowly, and reports
// what it must not do; or "auto" for the first GPU that can be opened, else the CPU. "cuda:0,cuda:2" is a group of these GPUs, "all" the group of
// all of them, and "sim:2" one of so many simulated GPUs.
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
	case name == "all":
		dev, err = openAll()
	case strings.Contains(name, ","):
		dev, err = openGPUs(name, strings.Split(name, ","))
	case name == "cuda" || kind == "cuda" && numbered:
		dev, err = openGPUs(name, []string{name})
	case kind == "sim" && numbered:
		n, e := strconv.Atoi(number)
		if e != nil || n < 1 || n > maxSims {
			return nil, "", fmt.Errorf("device is %q, want sim:1 to sim:%d, a group of so many simulated GPUs", name, maxSims)
		}
		dev, err = openSims(name, n)
	default:
		err = fmt.Errorf("device is %q, want auto, cuda, cuda:1, cuda:0,cuda:1, all, cpu, sim or sim:2", name)
	}
	if err != nil {
		return nil, "", err // not dev: it may hold a nil pointer
	}
	return dev, "", nil
}

// openGPUs opens the GPUs of these names, as a group if they are several.
func openGPUs(name string, names []string) (backend.Device, error) {
	var gpus []int
	for _, n := range names {
		kind, number, numbered := strings.Cut(n, ":")
		i, err := 0, error(nil)
		if numbered {
			i, err = strconv.Atoi(number)
		}
		switch {
		case err != nil || i < 0 || kind != "cuda":
			return nil, fmt.Errorf("device is %q, want cuda:0, cuda:1 and so on, or several of these with commas between them", name)
		case slices.Contains(gpus, i):
			return nil, fmt.Errorf("device is %q, which names cuda:%d twice", name, i)
		}
		gpus = append(gpus, i)
	}
	if len(gpus) == 1 {
		return openCUDA(gpus[0])
	}
	return openGroup(name, gpus)
}

// openAll opens all GPUs that there are.
func openAll() (backend.Device, error) {
	infos, err := listGPUs()
	if err != nil {
		return nil, err
	}
	if len(infos) == 1 {
		return openCUDA(0)
	}
	gpus := make([]int, len(infos))
	names := make([]string, len(infos))
	for i := range gpus {
		gpus[i], names[i] = i, fmt.Sprintf("cuda:%d", i)
	}
	return openGroup(strings.Join(names, ","), gpus)
}

// openGroup opens a group of GPUs of one compute capability: others have other kernels, which need other memory and give other bits.
func openGroup(name string, gpus []int) (backend.Device, error) {
	infos, err := listGPUs()
	if err != nil {
		return nil, err
	}
	capability := func(i int) string { return fmt.Sprintf("%d.%d", infos[i].Major, infos[i].Minor) }
	for _, i := range gpus {
		if i >= len(infos) {
			continue // opening it says so
		}
		if first := gpus[0]; capability(i) != capability(first) {
			return nil, fmt.Errorf("device is %q, want GPUs of one compute capability: that of cuda:%d is %s, that of cuda:%d is %s", name, first, capability(first), i, capability(i))
		}
	}
	return open(name, len(gpus), func(i int) (backend.Device, error) { return openCUDA(gpus[i]) })
}

func listGPUs() ([]driver.Info, error) {
	d, err := driver.System()
	if err != nil {
		return nil, err
	}
	return d.Devices()
}

// open makes a group of n devices. If one of them fails those that are open are closed.
func open(name string, n int, member func(i int) (backend.Device, error)) (backend.Device, error) {
	var all []backend.Device
	group := func() (backend.Device, error) {
		for i := range n {
			d, err := member(i)
			if err != nil {
				return nil, err
			}
			all = append(all, d)
		}
		return backend.NewGroup(name, all...)
	}
	g, err := group()
	if err == nil {
		return g, nil
	}
	errs := []error{err}
	for _, d := range all {
		errs = append(errs, d.Close())
	}
	return nil, errors.Join(errs...)
}

// maxSims is the largest group of simulated GPUs.
const maxSims = 64

func openSims(name string, n int) (backend.Device, error) {
	return open(name, n, func(int) (backend.Device, error) { return OpenSim(ptxsim.Options{}) })
}

func openCPU() (backend.Device, error) { return cpu.Open(cpu.Options{}) }

// OpenCPU opens the CPU with so many lanes, for those that share it.
func OpenCPU(lanes int) (backend.Device, error) { return cpu.Open(cpu.Options{Lanes: lanes}) }

// HostFree returns the bytes of the host's memory that can still be allocated, as cpu.Device.Free does.
func HostFree() (int, error) { return new(cpu.Device).Free() }

func openCUDA(i int) (backend.Device, error) {
	d, err := driver.System()
	if err != nil {
		return nil, err
	}
	dev, err := cuda.Open(d, i, fmt.Sprintf("cuda:%d", i))
	if err != nil {
		return nil, err
	}
	dev.SetNCCL(func(int) (nccl.Library, error) { return nccl.System() }, ncclBytes)
	return dev, nil
}

// ncclBytes is what NCCL is assumed to take of a GPU's memory: by its defaults some 4 MiB for each of some tens of channels, for several protocols
// and neighbours.
const ncclBytes = 512 << 20

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
	infos, err := listGPUs()
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
	d.SetNCCL(func(processes int) (nccl.Library, error) { return &ncclsim.Library{Apart: processes > 1}, nil }, 0)
	return d, nil
}
