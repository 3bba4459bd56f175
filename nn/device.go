package nn

import (
	"fmt"

	"convae/cpu"
	"convae/cuda"
	"convae/cuda/ptxsim"
	"convae/nn/backend"
)

// Open opens a device by name: "cpu"; "sim", the GPU backend on a simulated GPU, which runs the shipped GPU code on the
// CPU, slowly, and reports what it must not do; or "auto" for the best there is. The reason says why auto chose what it
// chose; it is empty for a device named outright.
func Open(name string) (dev backend.Device, reason string, err error) {
	switch name {
	case "cpu":
		dev, err = cpu.Open(cpu.Options{})
	case "sim":
		dev, err = OpenSim(ptxsim.Options{})
	case "auto":
		dev, err = cpu.Open(cpu.Options{})
		reason = "this build has no CUDA driver"
	default:
		err = fmt.Errorf("nn: device is %q, want auto, cpu or sim", name)
	}
	if err != nil {
		return nil, "", err // not dev: it may hold a nil pointer
	}
	return dev, reason, nil
}

// OpenSim opens a simulated GPU with options of its own.
func OpenSim(o ptxsim.Options) (backend.Device, error) {
	d, err := cuda.Open(ptxsim.New(o), 0, "sim")
	if err != nil {
		return nil, err
	}
	return d, nil
}
