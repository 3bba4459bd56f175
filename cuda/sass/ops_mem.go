package sass

import (
	"encoding/binary"
	"math/bits"
	"strings"
)

func addMemoryOps() {
	type form struct {
		suffix string
		width  int
	}
	widths := []form{{"", 4}, {".64", 8}, {".128", 16}, {".U8", 1}, {".U16", 2}}
	for _, f := range widths {
		var list []*opcode
		list = append(list, add(pipeShared, "dm", execShared, "LDS"+f.suffix)...)
		list = append(list, add(pipeShared, "ms", execShared, "STS"+f.suffix)...)
		list = append(list, add(pipeGlobal, "dm", execGlobal, "LDG.E"+f.suffix, "LDG.E"+f.suffix+".CONSTANT")...)
		list = append(list, add(pipeGlobal, "ms", execGlobal, "STG.E"+f.suffix)...)
		for _, o := range list {
			o.width = f.width
		}
	}
	for _, f := range widths[:2] {
		for _, o := range add(pipeLoad, "dc", execConstant, "LDC"+f.suffix, "ULDC"+f.suffix) {
			o.width = f.width
		}
	}
	addAsyncOps()
	add(pipeLoad, "dx", execSpecial, "S2R", "S2UR")
	add(pipeLoad, "ds pds", execUniform, "R2UR", "R2UR.OR")
	add(pipeShared, "pdsss", execShuffle(func(l, s uint32) uint32 { return l ^ s }), "SHFL.BFLY")
	add(pipeShared, "pdsss", execShuffle(func(_, s uint32) uint32 { return s }), "SHFL.IDX")
}

// execShuffle gives each lane the value of another, by its number and an operand.
func execShuffle(other func(l, s uint32) uint32) func(x *executor, w *warp, in *Inst, ex uint32) {
	return func(x *executor, w *warp, in *Inst, ex uint32) {
		if in.o[0].r != pt || in.o[4].kind != kindImm || in.o[4].imm != 0x1f {
			fail("%q is not known", in.Text)
		}
		a, s := *x.ints(w, &in.o[2], 0), x.ints(w, &in.o[3], 1)
		for l := range x.out {
			from := other(uint32(l), s[l]) & 31
			x.out[l] = a[from]
			if ex>>l&1 != 0 && ex>>from&1 == 0 {
				fail("%q: lane %d reads lane %d, which does not take part", in.Text, l, from)
			}
		}
		w.put(&in.o[1], &x.out, ex, 0)
	}
}

func execConstant(x *executor, w *warp, in *Inst, ex uint32) {
	v := x.raw(w, &in.o[1], 0)
	var hi lanes
	if in.width == 8 {
		hi = *x.high(w, &in.o[1], 1)
	}
	w.put(&in.o[0], v, ex, 0)
	if in.width == 8 {
		w.put(&in.o[0], &hi, ex, 1)
	}
}

func execSpecial(x *executor, w *warp, in *Inst, ex uint32) {
	b := x.l.Block
	for l := range x.out {
		t := 32*w.id + l
		v := 0
		switch in.o[1].name {
		case "SR_TID.X":
			v = t % b.X
		case "SR_TID.Y":
			v = t / b.X % b.Y
		case "SR_TID.Z":
			v = t / b.X / b.Y
		case "SR_CTAID.X":
			v = w.blk.x
		case "SR_CTAID.Y":
			v = w.blk.y
		case "SR_CTAID.Z":
			v = w.blk.z
		case "SR_LANEID":
			v = l
		case "SR_CgaCtaId": // shared memory of the block's own, for there are no clusters
		default:
			fail("%q is not known", in.Text)
		}
		x.out[l] = uint32(v)
	}
	w.put(&in.o[0], &x.out, ex, 0)
}

// sharedBase is where shared memory begins in its window: the first KiB is the system's.
const sharedBase = 0x400

// memoryOperands returns the address and the register of a load or store.
func memoryOperands(in *Inst) (m, d *operand, store bool) {
	if in.o[0].kind == kindMem {
		return &in.o[0], &in.o[1], true
	}
	return &in.o[1], &in.o[0], false
}

func execShared(x *executor, w *warp, in *Inst, ex uint32) {
	m, d, store := memoryOperands(in)
	x.access = access{mask: ex, width: in.width, store: store, shared: true}
	for q := ex; q != 0; q &= q - 1 {
		l := bits.TrailingZeros32(q)
		w.move(d, l, x.sharedAt(w, in, m, l), store)
	}
}

// sharedAt returns the bytes of shared memory that a lane wants.
func (x *executor) sharedAt(w *warp, in *Inst, m *operand, l int) []byte {
	addr := w.sharedAddress(m, l)
	if x.access.shared {
		x.access.addr[l] = uint64(addr)
	}
	at := int64(addr) - sharedBase
	if at < 0 || at+int64(in.width) > int64(len(w.blk.shared)) || addr%uint32(in.width) != 0 {
		fail("%q: lane %d of warp %d: %d bytes at %#x of %d bytes of shared memory", in.Text, l, w.id, in.width, at, len(w.blk.shared))
	}
	return w.blk.shared[at:][:in.width]
}

func execGlobal(x *executor, w *warp, in *Inst, ex uint32) {
	m, d, store := memoryOperands(in)
	x.access = access{mask: ex, width: in.width, store: store}
	for q := ex; q != 0; q &= q - 1 {
		l := bits.TrailingZeros32(q)
		w.move(d, l, x.globalAt(w, in, m, l, store), store)
	}
}

// globalAt returns the bytes of global memory that a lane wants.
func (x *executor) globalAt(w *warp, in *Inst, m *operand, l int, store bool) []byte {
	if !m.wide || m.ur != urz || m.r == rz {
		fail("%q: this form of address is not known", in.Text)
	}
	addr := uint64(w.regs[m.r+1][l])<<32 + uint64(w.regs[m.r][l]) + uint64(m.off)
	x.access.addr[l] = addr
	data, err := x.mem.at(addr, in.width, store)
	if err != nil {
		fail("%q: block %d,%d,%d, thread %d: %w", in.Text, w.blk.x, w.blk.y, w.blk.z, 32*w.id+l, err)
	}
	return data
}

// execUniform takes the value of the first lane to a register of the warp. A predicate says which lanes have another value or, joined, had one.
func execUniform(x *executor, w *warp, in *Inst, ex uint32) {
	o := in.o[len(in.o)-2:]
	v := x.ints(w, &o[1], 0)
	first := v[bits.TrailingZeros32(ex)]
	var differ uint32
	for l := range x.out {
		x.out[l] = first
		if v[l] != first {
			differ |= 1 << l
		}
	}
	w.put(&o[0], &x.out, ex, 0)
	if len(in.o) == 3 {
		if strings.HasSuffix(in.op.name, ".OR") {
			differ |= w.pred(&in.o[0])
		}
		w.setPred(&in.o[0], differ, ex)
	}
}

// move copies between a lane's registers and memory.
func (w *warp) move(d *operand, l int, data []byte, store bool) {
	if len(data) < 4 { // of a register as many bytes as there are, or the register without the others
		var word [4]byte
		if !store {
			copy(word[:], data)
			if d.r != rz {
				w.regs[d.r][l] = binary.LittleEndian.Uint32(word[:])
			}
			return
		}
		if d.r != rz {
			binary.LittleEndian.PutUint32(word[:], w.regs[d.r][l])
		}
		copy(data, word[:])
		return
	}
	for i := 0; 4*i < len(data); i++ {
		switch {
		case store && d.r == rz:
			binary.LittleEndian.PutUint32(data[4*i:], 0)
		case store:
			binary.LittleEndian.PutUint32(data[4*i:], w.regs[d.r+i][l])
		case d.r != rz:
			w.regs[d.r+i][l] = binary.LittleEndian.Uint32(data[4*i:])
		}
	}
}
