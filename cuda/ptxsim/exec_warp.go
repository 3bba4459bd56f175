package ptxsim

import "math/bits"

// poison is what an instruction that reads a lane which does not take part returns; as a float it is NaN.
const poison = 0x7fc0dead

// syncWarp is bar.warp.sync: it orders the memory accesses of the warp's threads.
//
//go:norace
func syncWarp(w *warp, in *inst, m uint32) {
	w.clock[w.id]++
	w.block.shared.trim(w.block)
}

//go:norace
func shfl(w *warp, in *inst, m uint32) {
	a := *w.u32(in.a)
	bs, cs := *w.u32(in.b), *w.u32(in.x[0])
	d := w.u32(in.d)
	var ok uint32
	for k := m; k != 0; k &= k - 1 {
		i := bits.TrailingZeros32(k) & 31
		lane, b, clamp, seg := int32(i), int32(bs[i]&31), int32(cs[i]&31), int32(cs[i]>>8&31)
		last := lane&seg | clamp&^seg
		var j int32
		var in1 bool
		switch in.mode {
		case shflBfly:
			j = lane ^ b
			in1 = j <= last
		case shflUp:
			j = lane - b
			in1 = j >= last
		case shflDown:
			j = lane + b
			in1 = j <= last
		case shflIdx:
			j = lane&seg | b&^seg
			in1 = j <= last
		}
		if !in1 {
			j = lane
		} else {
			ok |= 1 << i
		}
		if m>>uint(j)&1 == 0 {
			d[i] = poison
		} else {
			d[i] = a[j&31]
		}
	}
	if in.x[1] != 0 {
		p := w.p(in.x[1])
		*p = *p&^m | ok&m
	}
}

//go:norace
func vote(w *warp, in *inst, m uint32) {
	p := *w.p(in.a)
	if in.inv {
		p = ^p
	}
	p &= m
	var r bool
	switch in.mode {
	case voteBallot:
		d := w.u32(in.d)
		for k := m; k != 0; k &= k - 1 {
			d[bits.TrailingZeros32(k)&31] = p
		}
		return
	case voteAny:
		r = p != 0
	case voteAll:
		r = p == m
	case voteUni:
		r = p == 0 || p == m
	}
	d := w.p(in.d)
	*d &^= m
	if r {
		*d |= m
	}
}

//go:norace
func activeMask(w *warp, in *inst, m uint32) {
	d := w.u32(in.d)
	for k := m; k != 0; k &= k - 1 {
		d[bits.TrailingZeros32(k)&31] = m
	}
}

//go:norace
func (w *warp) value(in *inst, i int) uint64 {
	if in.long {
		return w.u64(in.a)[i]
	}
	return uint64(w.u32(in.a)[i])
}

//go:norace
func matchAny(w *warp, in *inst, m uint32) {
	var r [32]uint32
	for k := m; k != 0; k &= k - 1 {
		i := bits.TrailingZeros32(k) & 31
		for q := m; q != 0; q &= q - 1 {
			if j := bits.TrailingZeros32(q) & 31; w.value(in, i) == w.value(in, j) {
				r[i] |= 1 << j
			}
		}
	}
	d := w.u32(in.d)
	for k := m; k != 0; k &= k - 1 {
		i := bits.TrailingZeros32(k) & 31
		d[i] = r[i]
	}
}

//go:norace
func matchAll(w *warp, in *inst, m uint32) {
	r := m
	first := w.value(in, bits.TrailingZeros32(m)&31)
	for k := m; k != 0; k &= k - 1 {
		if w.value(in, bits.TrailingZeros32(k)&31) != first {
			r = 0
		}
	}
	d := w.u32(in.d)
	for k := m; k != 0; k &= k - 1 {
		d[bits.TrailingZeros32(k)&31] = r
	}
	if in.x[0] != 0 {
		p := w.p(in.x[0])
		*p = *p&^m | r
	}
}

//go:norace
func redux(w *warp, in *inst, m uint32) {
	a := w.u32(in.a)
	first := bits.TrailingZeros32(m) & 31
	r := uint64(a[first])
	for k := m & (m - 1); k != 0; k &= k - 1 {
		r = combine(in.mode, r, uint64(a[bits.TrailingZeros32(k)&31]), 4)
	}
	d := w.u32(in.d)
	for k := m; k != 0; k &= k - 1 {
		d[bits.TrailingZeros32(k)&31] = uint32(r)
	}
}
