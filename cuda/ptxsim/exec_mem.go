package ptxsim

import (
	"fmt"
	"math/bits"
	"unsafe"
)

// load reads a little-endian number of n bytes.
//
//go:norace
func load(p unsafe.Pointer, n int) uint64 {
	switch n {
	case 1:
		return uint64(*(*uint8)(p))
	case 2:
		return uint64(*(*uint16)(p))
	case 4:
		return uint64(*(*uint32)(p))
	}
	return uint64(*(*uint32)(p)) | uint64(*(*uint32)(unsafe.Add(p, 4)))<<32
}

//go:norace
func store(p unsafe.Pointer, n int, v uint64) {
	switch n {
	case 1:
		*(*uint8)(p) = uint8(v)
	case 2:
		*(*uint16)(p) = uint16(v)
	case 4:
		*(*uint32)(p) = uint32(v)
	default:
		*(*uint64)(p) = v
	}
}

// extend widens a signed number of n bytes.
func extend(v uint64, n int) uint64 {
	s := 64 - 8*n
	return uint64(int64(v<<s) >> s)
}

// lookup finds the allocation of an address that the instruction's last one does not hold, and faults if there is none.
func (w *warp) lookup(in *inst, lane int, addr, n uint64) *allocation {
	a := w.block.dev.heap.find(addr)
	switch {
	case a == nil:
		w.fault(in, lane, OutOfBounds, addr, fmt.Sprintf("%d bytes where nothing is allocated", n))
	case a.freed:
		w.fault(in, lane, UseAfterFree, addr, fmt.Sprintf("%d bytes at offset %d of %v, which has been freed", n, addr-a.base, a))
	case addr-a.base > a.size || n > a.size-(addr-a.base):
		w.fault(in, lane, OutOfBounds, addr, fmt.Sprintf("%d bytes at offset %d of %v", n, addr-a.base, a))
	case addr&(n-1) != 0:
		w.fault(in, lane, Misaligned, addr, fmt.Sprintf("%d bytes at offset %d of %v", n, addr-a.base, a))
	case a.readOnly && in.access&accessWrite != 0:
		w.fault(in, lane, ReadOnly, addr, fmt.Sprintf("write to constant %v", a))
	case a.readOnly != (in.space == spaceConst) && in.space != spaceGeneric:
		w.fault(in, lane, OutOfBounds, addr, fmt.Sprintf("%v is not in %s memory", a, in.space))
	}
	w.block.cache[in.id] = a
	return a
}

// global checks one lane's access to n bytes of global memory and returns where they are.
//
//go:norace
func (w *warp) global(in *inst, lane int, addr, n uint64) unsafe.Pointer {
	b := w.block
	a := b.cache[in.id]
	off := addr - a.base
	if off >= a.size || off+n > a.size || off&(n-1) != 0 {
		a = w.lookup(in, lane, addr, n)
		off = addr - a.base
	}
	if b.checks.Init {
		if in.access&accessRead != 0 {
			w.checkInit(in, lane, a, off, n)
		}
		if in.access&accessWrite != 0 {
			if n < 4 {
				setBits(&a.init[off>>2], uint8((1<<n-1)<<(off&3)))
			} else {
				for i := off >> 2; i < (off+n)>>2; i++ {
					a.init[i] = 15
				}
			}
		}
	}
	if b.checks.GlobalRace && !a.readOnly {
		w.touch(in, lane, a, off, n, 0)
	}
	return unsafe.Add(a.ptr, off)
}

//go:norace
func (w *warp) checkInit(in *inst, lane int, a *allocation, off, n uint64) {
	for i := off; i < off+n; i += 4 {
		m := uint8(15)
		if n < 4 {
			m = uint8((1<<n - 1) << (off & 3))
		}
		if a.init[i>>2]&m != m {
			w.fault(in, lane, Uninitialised, a.base+i, fmt.Sprintf("offset %d of %v", i, a))
		}
	}
}

// locals checks one lane's access to n bytes of its local memory and returns where they are.
//
//go:norace
func (w *warp) locals(in *inst, lane int, off, n uint64) unsafe.Pointer {
	size := uint64(w.block.prog.local)
	switch {
	case off >= size || off+n > size:
		w.fault(in, lane, OutOfBounds, off, fmt.Sprintf("%d bytes at offset %d of %d bytes of local memory", n, off, size))
	case off&(n-1) != 0:
		w.fault(in, lane, Misaligned, off, fmt.Sprintf("%d bytes at offset %d of local memory", n, off))
	}
	at := uint64(lane)*size + off
	if w.block.checks.Init {
		bytes := w.written[at:][:n]
		for i := range bytes {
			if in.access&accessWrite != 0 {
				bytes[i] = 1
			} else if bytes[i] == 0 {
				w.fault(in, lane, Uninitialised, off, fmt.Sprintf("local memory at offset %d: nothing was written there", off+uint64(i)))
			}
		}
	}
	return unsafe.Pointer(&w.local[at])
}

// at checks one lane's access to n bytes and returns where they are.
//
//go:norace
func (w *warp) at(in *inst, lane int, addr, n uint64) unsafe.Pointer {
	s := in.space
	if s == spaceGeneric {
		switch {
		case addr-sharedWindow < windowSize:
			s, addr = spaceShared, addr-sharedWindow
		case addr-localWindow < windowSize:
			s, addr = spaceLocal, addr-localWindow
		}
	}
	switch s {
	case spaceShared:
		size := uint64(w.block.shared.size)
		if addr >= size || addr+n > size || addr&(n-1) != 0 {
			w.badShared(in, lane, addr, n)
		}
		w.checkShared(in, lane, uint32(addr), uint32(n))
		return unsafe.Add(w.block.shared.ptr, uintptr(addr))
	case spaceLocal:
		return w.locals(in, lane, addr, n)
	}
	return w.global(in, lane, addr, n)
}

// addresses returns the lanes' addresses.
//
//go:norace
func (w *warp) addresses(in *inst, out *[32]uint64) {
	if in.wide {
		a := w.u64(in.a)
		for i := range a {
			out[i] = a[i] + in.imm
		}
		return
	}
	a := w.u32(in.a)
	for i := range a {
		out[i] = uint64(a[i] + uint32(in.imm))
	}
}

// ldAny and stAny are loads and stores of every form, lane by lane.
//
//go:norace
func ldAny(w *warp, in *inst, m uint32) {
	var addr [32]uint64
	w.addresses(in, &addr)
	size := int(in.size)
	n := uint64(size * len(in.x))
	w.block.anyTraffic(in, m, &addr, n)
	for k := m; k != 0; k &= k - 1 {
		i := bits.TrailingZeros32(k) & 31
		p := w.at(in, i, addr[i], n)
		for j, r := range in.x {
			v := load(unsafe.Add(p, j*size), size)
			if in.signed {
				v = extend(v, size)
			}
			if in.long {
				w.u64(r)[i] = v
			} else {
				w.u32(r)[i] = uint32(v)
			}
		}
	}
}

//go:norace
func stAny(w *warp, in *inst, m uint32) {
	var addr [32]uint64
	w.addresses(in, &addr)
	size := int(in.size)
	n := uint64(size * len(in.x))
	w.block.anyTraffic(in, m, &addr, n)
	for k := m; k != 0; k &= k - 1 {
		i := bits.TrailingZeros32(k) & 31
		p := w.at(in, i, addr[i], n)
		for j, r := range in.x {
			q := unsafe.Add(p, j*size)
			if in.long {
				store(q, size, w.u64(r)[i])
			} else {
				store(q, size, uint64(w.u32(r)[i]))
			}
		}
	}
}
