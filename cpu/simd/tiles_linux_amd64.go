//go:build !noasm

package simd

import "syscall"

const (
	requestPermission = 0x1023 // ARCH_REQ_XCOMP_PERM
	tileData          = 18     // XFEATURE_XTILE_DATA
)

// tilesAllowed asks Linux for the tiles of AMX, for all threads of the process: the first use of a tile makes the system save them from then on. A kernel
// that does not know them (before 5.16), or for which the processor has them switched off, refuses. So it does where a thread's stack for signals is
// too small to save 8 KiB of tiles on; those of Go have 32 KiB.
func tilesAllowed() bool {
	_, _, errno := syscall.RawSyscall(syscall.SYS_ARCH_PRCTL, requestPermission, tileData, 0)
	return errno == 0
}
