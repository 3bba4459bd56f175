//go:build !noasm

package simd

import "golang.org/x/sys/cpu"

// Supported lists the levels of this machine, the best last.
func Supported() []Level {
	can := []Level{None}
	if cpu.X86.HasAVX2 && cpu.X86.HasFMA {
		can = append(can, AVX2)
		if cpu.X86.HasAVX512F && cpu.X86.HasAVX512BW && cpu.X86.HasAVX512DQ && cpu.X86.HasAVX512VL {
			can = append(can, AVX512)
		}
	}
	return can
}
