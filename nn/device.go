package nn

import (
	"fmt"

	"convae/cpu"
	"convae/nn/backend"
)

// Open opens a device by name: "cpu", or "auto" for the best there is. The reason says why auto chose what it chose;
// it is empty for a device named outright.
func Open(name string) (dev backend.Device, reason string, err error) {
	switch name {
	case "cpu":
		dev, err = cpu.Open(cpu.Options{})
		return dev, "", err
	case "auto":
		dev, err = cpu.Open(cpu.Options{})
		return dev, "this build has no GPU backend", err
	}
	return nil, "", fmt.Errorf("nn: device is %q, want auto or cpu", name)
}
