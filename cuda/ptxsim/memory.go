package ptxsim

import (
	"fmt"
	"slices"
	"sort"
	"sync/atomic"
	"unsafe"

	"github.com/convae/convae/cuda/driver"
)

const (
	globalBase   = 0x7f0000000000
	sharedWindow = 0x7e0000000000 // where shared memory lies in generic addresses
	localWindow  = 0x7d0000000000
	paramWindow  = 0x7c0000000000 // where parameters lie, which only tensor maps are read from
	windowSize   = 1 << 32
	guard        = 1 << 16 // bytes between allocations, so that a small overrun meets none
	keepFreed    = 1 << 14 // freed allocations that are remembered
)

// allocation is a piece of device memory. init holds a byte for each word of four, whose low bits say which bytes of the
// word have been written. tags holds who touched the word in the present launch, see race.go.
type allocation struct {
	base, size uint64
	name       string
	data       []uint64
	ptr        unsafe.Pointer
	init       []uint8
	tags       []tag
	pages      []pageTag
	bytes      []atomic.Pointer[tagPage] // the same for single bytes
	freed      bool
	readOnly   bool
}

// noAllocation holds no address.
var noAllocation = &allocation{base: 1}

func (a *allocation) String() string {
	if a.name != "" {
		return fmt.Sprintf("%s (%d bytes)", a.name, a.size)
	}
	return fmt.Sprintf("the allocation of %d bytes at %#x", a.size, a.base)
}

func (a *allocation) content() []byte { return unsafe.Slice((*byte)(a.ptr), a.size) }

// heap is device memory. Addresses are never given out twice.
type heap struct {
	list  []*allocation // by address
	next  uint64
	total int
	used  int
	freed int
	tags  bool
}

func (h *heap) alloc(n int, name string) (*allocation, error) {
	if n <= 0 {
		return nil, fmt.Errorf("ptxsim: allocation of %d bytes", n)
	}
	size := alignUp(n, 256)
	if size > h.total-h.used {
		return nil, fmt.Errorf("ptxsim: out of memory: %d bytes wanted, %d of %d are free", n, h.total-h.used, h.total)
	}
	words := size/4 + 64
	a := &allocation{base: h.next, size: uint64(n), name: name, data: make([]uint64, words/2), init: make([]uint8, words)}
	a.ptr = unsafe.Pointer(&a.data[0])
	for i := range a.data { // NaN as a float, -1 as an integer: what was never written shows
		a.data[i] = ^uint64(0)
	}
	if h.tags {
		a.tags = make([]tag, words)
		a.pages = make([]pageTag, words/pageWords)
		a.bytes = make([]atomic.Pointer[tagPage], size/tagPageBytes+1)
	}
	h.next += uint64(size) + guard
	h.used += size
	h.list = append(h.list, a)
	return a, nil
}

func (h *heap) free(p driver.Ptr) error {
	a := h.find(uint64(p))
	switch {
	case a == nil || a.base != uint64(p) || a.name != "":
		return fmt.Errorf("ptxsim: free of %#x, which is no allocation", uint64(p))
	case a.freed:
		return fmt.Errorf("ptxsim: second free of %v", a)
	}
	h.drop(a)
	return nil
}

// pieces are the allocations that are not freed.
func (h *heap) pieces() []Piece {
	var list []Piece
	for _, a := range h.list {
		if !a.freed {
			list = append(list, Piece{a.base, a.content()})
		}
	}
	return list
}

func (h *heap) drop(a *allocation) {
	h.used -= alignUp(int(a.size), 256)
	a.freed, a.data, a.init, a.tags, a.pages, a.bytes, a.ptr = true, nil, nil, nil, nil, nil, nil
	if h.freed++; h.freed > keepFreed {
		h.list = slices.DeleteFunc(h.list, func(a *allocation) bool { return a.freed })
		h.freed = 0
	}
}

// find returns the allocation at an address or just before it.
func (h *heap) find(addr uint64) *allocation {
	i := sort.Search(len(h.list), func(i int) bool { return h.list[i].base > addr })
	if i == 0 || addr-h.list[i-1].base >= h.list[i-1].size+guard/2 {
		return nil
	}
	return h.list[i-1]
}

// span returns the allocation that holds n bytes at p.
func (h *heap) span(p driver.Ptr, n int) (*allocation, uint64, error) {
	a := h.find(uint64(p))
	switch {
	case a == nil:
		return nil, 0, fmt.Errorf("ptxsim: no allocation at %#x", uint64(p))
	case a.freed:
		return nil, 0, fmt.Errorf("ptxsim: %v has been freed", a)
	case n < 0 || uint64(p)-a.base > a.size || uint64(n) > a.size-(uint64(p)-a.base):
		return nil, 0, fmt.Errorf("ptxsim: %d bytes at offset %d of %v", n, uint64(p)-a.base, a)
	}
	return a, uint64(p) - a.base, nil
}

// mark notes n written bytes.
func (a *allocation) mark(off, n uint64) {
	for ; n > 0 && off&3 != 0; off, n = off+1, n-1 {
		a.init[off>>2] |= 1 << (off & 3)
	}
	words := a.init[off>>2:][:n>>2]
	for i := range words {
		words[i] = 15
	}
	for off, n = off+n&^3, n&3; n > 0; off, n = off+1, n-1 {
		a.init[off>>2] |= 1 << (off & 3)
	}
}

// copyMarks copies which bytes are written.
func copyMarks(dst *allocation, to uint64, src *allocation, from, n uint64) {
	if to&3 == 0 && from&3 == 0 && n&3 == 0 {
		copy(dst.init[to>>2:][:n>>2], src.init[from>>2:])
		return
	}
	state := make([]bool, n)
	for i := range state {
		o := from + uint64(i)
		state[i] = src.init[o>>2]>>(o&3)&1 != 0
	}
	for i, s := range state {
		o := to + uint64(i)
		dst.init[o>>2] &^= 1 << (o & 3)
		if s {
			dst.init[o>>2] |= 1 << (o & 3)
		}
	}
}
