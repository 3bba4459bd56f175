package ptxsim

import (
	"math/bits"
	"unsafe"
)

// same and steps say whether all lanes have one address, or addresses at equal steps.
//
//go:norace
func same(a *[32]uint64) bool {
	a0 := a[0]
	if a[31] != a0 || a[7] != a0 {
		return false
	}
	var acc uint64
	for i := range a {
		acc |= a[i] ^ a0
	}
	return acc == 0
}

//go:norace
func steps(a *[32]uint64, step uint64) bool {
	a0 := a[0]
	if a[31]-a0 != 31*step || a[1]-a0 != step {
		return false
	}
	var acc uint64
	for i := range a {
		acc |= (a[i] - a0) ^ (uint64(i) * step)
	}
	return acc == 0
}

const written8 = 0x0f0f0f0f0f0f0f0f // eight words of allocation.init

// row returns the memory of a warp whose lanes access n bytes each, one behind the other, if it lies in the allocation of the
// last time and may be read or written as a whole; else nil.
//
//go:norace
func (w *warp) row(in *inst, addr, n uint64) unsafe.Pointer {
	b := w.block
	a := b.cache[in.id]
	off := addr - a.base
	if off >= a.size || off+32*n > a.size || off&(n-1) != 0 {
		return nil
	}
	if b.checks.Init {
		s := unsafe.Pointer(&a.init[off>>2])
		if in.access&accessWrite != 0 {
			for i := uint64(0); i < n; i += 4 {
				*(*[4]uint64)(unsafe.Add(s, 8*i)) = [4]uint64{written8, written8, written8, written8}
			}
		} else {
			v := uint64(written8)
			for i := uint64(0); i < n; i += 4 {
				q := (*[4]uint64)(unsafe.Add(s, 8*i))
				v &= q[0] & q[1] & q[2] & q[3]
			}
			if v != written8 {
				return nil
			}
		}
	}
	if b.checks.GlobalRace {
		w.touch(in, 0, a, off, 32*n, n)
	}
	b.rowTraffic(in, off, 32*n, n)
	return unsafe.Add(a.ptr, off)
}

// ldGlobal is ld.global of one word.
//
//go:norace
func ldGlobal(w *warp, in *inst, m uint32) {
	d, a := w.u32(in.d), w.u64(in.a)
	if m == full {
		if same(a) {
			v := *(*uint32)(w.global(in, 0, a[0]+in.imm, 4))
			w.block.rowTraffic(in, 0, 4, 4)
			for i := range d {
				d[i] = v
			}
			return
		}
		if steps(a, 4) {
			if p := w.row(in, a[0]+in.imm, 4); p != nil {
				*d = *(*[32]uint32)(p)
				return
			}
		}
	}
	w.block.globalTraffic(in, m, a, in.imm, 4)
	for k := m; k != 0; k &= k - 1 {
		i := bits.TrailingZeros32(k) & 31
		d[i] = *(*uint32)(w.global(in, i, a[i]+in.imm, 4))
	}
}

// stGlobal is st.global of one word.
//
//go:norace
func stGlobal(w *warp, in *inst, m uint32) {
	v, a := w.u32(in.b), w.u64(in.a)
	if m == full && steps(a, 4) {
		if p := w.row(in, a[0]+in.imm, 4); p != nil {
			*(*[32]uint32)(p) = *v
			return
		}
	}
	w.block.globalTraffic(in, m, a, in.imm, 4)
	for k := m; k != 0; k &= k - 1 {
		i := bits.TrailingZeros32(k) & 31
		*(*uint32)(w.global(in, i, a[i]+in.imm, 4)) = v[i]
	}
}

// ldGlobalVec and stGlobalVec are ld.global and st.global of two or four words.
//
//go:norace
func ldGlobalVec(w *warp, in *inst, m uint32) {
	a := w.u64(in.a)
	n := uint64(4 * len(in.x))
	if m == full && steps(a, n) {
		if p := w.row(in, a[0]+in.imm, n); p != nil {
			for j, r := range in.x {
				d := w.u32(r)
				q := unsafe.Add(p, 4*j)
				for i := range d {
					d[i] = *(*uint32)(unsafe.Add(q, uintptr(i)*uintptr(n)))
				}
			}
			return
		}
	}
	w.block.globalTraffic(in, m, a, in.imm, n)
	for k := m; k != 0; k &= k - 1 {
		i := bits.TrailingZeros32(k) & 31
		p := w.global(in, i, a[i]+in.imm, n)
		for j, r := range in.x {
			w.u32(r)[i] = *(*uint32)(unsafe.Add(p, 4*j))
		}
	}
}

//go:norace
func stGlobalVec(w *warp, in *inst, m uint32) {
	a := w.u64(in.a)
	n := uint64(4 * len(in.x))
	if m == full && steps(a, n) {
		if p := w.row(in, a[0]+in.imm, n); p != nil {
			for j, r := range in.x {
				d := w.u32(r)
				q := unsafe.Add(p, 4*j)
				for i := range d {
					*(*uint32)(unsafe.Add(q, uintptr(i)*uintptr(n))) = d[i]
				}
			}
			return
		}
	}
	w.block.globalTraffic(in, m, a, in.imm, n)
	for k := m; k != 0; k &= k - 1 {
		i := bits.TrailingZeros32(k) & 31
		p := w.global(in, i, a[i]+in.imm, n)
		for j, r := range in.x {
			*(*uint32)(unsafe.Add(p, 4*j)) = w.u32(r)[i]
		}
	}
}
