//go:build !noasm

package simd

import (
	"sync"

	"golang.org/x/sys/cpu"
)

// Supported lists the levels of this machine, the best last.
func Supported() []Level { return supported() }

var supported = sync.OnceValue(func() []Level {
	can := []Level{None}
	if !cpu.X86.HasAVX2 || !cpu.X86.HasFMA {
		return can
	}
	can = append(can, AVX2)
	if !cpu.X86.HasAVX512F || !cpu.X86.HasAVX512BW || !cpu.X86.HasAVX512DQ || !cpu.X86.HasAVX512VL {
		return can
	}
	can = append(can, AVX512)
	if !cpu.X86.HasAVX512BF16 {
		return can
	}
	can = append(can, AVX512BF16)
	if cpu.X86.HasAMXTile && cpu.X86.HasAMXBF16 && tilesAllowed() {
		can = append(can, AMX)
	}
	return can
})
