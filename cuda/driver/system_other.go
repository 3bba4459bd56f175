//go:build !cuda || !linux

package driver

import "errors"

// System returns the machine's CUDA driver. This build has none: the error says so.
func System() (Driver, error) {
	return nil, errors.New("this build has no CUDA driver (build it on Linux with -tags cuda)")
}
