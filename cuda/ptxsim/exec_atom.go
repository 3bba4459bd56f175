package ptxsim

import (
	"math"
	"math/bits"
	"sync/atomic"
	"unsafe"
)

// combine is the result of an atomic operation of size bytes on old and v.
func combine(mode uint8, old, v uint64, size int) uint64 {
	s, t := int64(extend(old, size)), int64(extend(v, size))
	switch mode {
	case atomAdd:
		return old + v
	case atomAddF:
		if size == 8 {
			return math.Float64bits(math.Float64frombits(old) + math.Float64frombits(v))
		}
		return uint64(math.Float32bits(ftz(ftz(math.Float32frombits(uint32(old))) + ftz(math.Float32frombits(uint32(v))))))
	case atomMin:
		return min(old, v)
	case atomMax:
		return max(old, v)
	case atomMinS:
		return uint64(min(s, t))
	case atomMaxS:
		return uint64(max(s, t))
	case atomAnd:
		return old & v
	case atomOr:
		return old | v
	case atomXor:
		return old ^ v
	case atomInc:
		if old >= v {
			return 0
		}
		return old + 1
	case atomDec:
		if old == 0 || old > v {
			return v
		}
		return old - 1
	}
	return v // atomExch
}

// atomicOp is atom and red.
//
//go:norace
func atomicOp(w *warp, in *inst, m uint32) {
	var addr [32]uint64
	w.addresses(in, &addr)
	b, size := w.block, int(in.size)
	b.anyTraffic(in, m, &addr, uint64(size))
	if in.mode == atomAddF {
		b.traffic.floatAtomics += uint64(bits.OnesCount32(m))
	}
	get := func(o int32, i int) uint64 {
		if in.long {
			return w.u64(o)[i]
		}
		return uint64(w.u32(o)[i])
	}
	for k := m; k != 0; k &= k - 1 {
		i := bits.TrailingZeros32(k) & 31
		p := w.at(in, i, addr[i], uint64(size))
		v := get(in.b, i)
		var old uint64
		for done := false; !done; {
			old = atomicLoad(p, size)
			next := v
			if in.mode == atomCas {
				if old != v {
					break
				}
				next = get(in.c, i)
			} else {
				next = combine(in.mode, old, v, size)
			}
			if size == 8 {
				done = atomic.CompareAndSwapUint64((*uint64)(p), old, next)
			} else {
				done = atomic.CompareAndSwapUint32((*uint32)(p), uint32(old), uint32(next))
			}
		}
		if in.d == 0 { // red
			continue
		}
		if in.long {
			w.u64(in.d)[i] = old
		} else {
			w.u32(in.d)[i] = uint32(old)
		}
	}
}

func atomicLoad(p unsafe.Pointer, size int) uint64 {
	if size == 8 {
		return atomic.LoadUint64((*uint64)(p))
	}
	return uint64(atomic.LoadUint32((*uint32)(p)))
}

// setBits sets bits of a byte that other workers may set bits of at the same time.
//
//go:norace
func setBits(p *uint8, m uint8) {
	if *p&m == m {
		return
	}
	at := uintptr(unsafe.Pointer(p)) & 3
	atomic.OrUint32((*uint32)(unsafe.Add(unsafe.Pointer(p), -int(at))), uint32(m)<<(8*at))
}
