//go:build !cuda || !linux

package nccl

import "errors"

// System returns the machine's NCCL. This build has none: the error says so.
func System() (Library, error) {
	return nil, errors.New("this build has no NCCL (build it on Linux with -tags cuda)")
}
