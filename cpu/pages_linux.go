package cpu

import (
	"syscall"
	"unsafe"
)

// hugePage is the bytes of a huge page, as x86 and most ARM systems have them.
const hugePage = 2 << 20

// hugePages asks the system to back the memory of f with huge pages, where it gives them to those who ask: tensors are read and written from end
// to end, and a small page costs a look-up and stops the processor's prefetching every 4 KiB. What lies in no whole huge page stays as it is; nor
// does it matter if the system has none.
func hugePages(f []float32) {
	if len(f) == 0 {
		return
	}
	start := uintptr(unsafe.Pointer(unsafe.SliceData(f)))
	skip := -start % hugePage
	if size := 4 * uintptr(len(f)); size >= skip+hugePage {
		b := unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(f))), size)
		_ = syscall.Madvise(b[skip:skip+(size-skip)/hugePage*hugePage], syscall.MADV_HUGEPAGE)
	}
}
