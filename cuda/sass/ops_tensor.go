package sass

import (
	"fmt"

	"github.com/convae/convae/cuda/driver"
	"github.com/convae/convae/cuda/ptxsim"
)

// mapBytes is the size of a CUtensorMap.
const mapBytes = 128

func addTensorOps() {
	for dims := 1; dims <= 5; dims++ {
		for _, o := range add(pipeCopy, "mm", execTensorCopy(dims), fmt.Sprintf("UTMALDG.%dD", dims)) {
			o.pipe = pipeCopy
		}
	}
	for _, o := range add(pipeCopy, "m", func(x *executor, w *warp, in *Inst, _ uint32) { x.prefetched = w.wideUniform(&in.o[0]) }, "UTMACCTL.PF") {
		o.pipe = pipeCopy
	}
}

// execTensorCopy copies a box of a tensor: to an address of shared memory that is followed by that of an mbarrier and the coordinates, by a map.
func execTensorCopy(dims int) func(x *executor, w *warp, in *Inst, ex uint32) {
	return func(x *executor, w *warp, in *Inst, ex uint32) {
		at := w.wideUniform(&in.o[1])
		t, err := x.tensor(at)
		if err != nil {
			fail("%q: the tensor map at %#x: %w", in.Text, at, err)
		}
		if len(t.Box) != dims {
			fail("%q: the tensor has %d dimensions", in.Text, len(t.Box))
		}
		to := in.o[0].ur
		b := &bulk{in: in, to: w.ur[to], barrier: w.ur[to+1], mapped: at}
		if b.to%128 != 0 {
			fail("%q: a box at %#x of shared memory, want an address that 128 divides", in.Text, b.to)
		}
		start := make([]int, dims)
		for i := range start {
			start[i] = int(int32(w.ur[to+2+i]))
		}
		b.box(t, start)
		x.start(w, b)
	}
}

// box makes a copy that of the box of a tensor whose first element has these coordinates. Elements outside of the tensor are zeros.
func (b *bulk) box(t *driver.Tiled, start []int) {
	size := t.Type.Bytes()
	row, rows := t.Box[0]*size, 1
	for _, n := range t.Box[1:] {
		rows *= n
	}
	b.bytes = rows * row
	from, to := max(start[0], 0), min(start[0]+t.Box[0], t.Sizes[0]) // what of a row lies in the tensor
	for r := range rows {
		first, inside := int64(t.Base), from < to
		rest := r
		for d := 1; d < len(t.Box); d++ {
			i := start[d] + rest%t.Box[d]
			rest /= t.Box[d]
			inside = inside && i >= 0 && i < t.Sizes[d]
			first += int64(i) * int64(t.Strides[d-1])
		}
		if !inside {
			b.zeros(r*row, row)
			continue
		}
		before, n := (from-start[0])*size, (to-from)*size
		b.zeros(r*row, before)
		b.cut(r*row+before, uint64(first+int64(from*size)), n)
		b.zeros(r*row+before+n, row-before-n)
	}
}

// zeros adds zeros, a piece for each line of shared memory that they would fill.
func (b *bulk) zeros(at, n int) {
	for n > 0 {
		k := min(n, lineBytes)
		b.pieces = append(b.pieces, piece{at: at, n: k, zero: true})
		at, n = at+k, n-k
	}
}

// tensor reads a map from the parameters or from global memory.
func (x *executor) tensor(addr uint64) (t *driver.Tiled, err error) {
	if addr%64 != 0 {
		return nil, fmt.Errorf("want an address that 64 divides")
	}
	var data []byte
	if off := addr - constantWindow; off < uint64(len(x.c0)) {
		if off+mapBytes > uint64(len(x.c0)) {
			return nil, fmt.Errorf("the parameters end")
		}
		data = x.c0[off:][:mapBytes]
	} else if data, err = x.mem.at(addr, mapBytes, false); err != nil {
		return nil, err
	}
	key := [mapBytes]byte(data)
	if x.tensors[key] == nil {
		if t, err = ptxsim.DecodeMap(data); err != nil {
			return nil, err
		}
		if x.tensors == nil {
			x.tensors = map[[mapBytes]byte]*driver.Tiled{}
		}
		x.tensors[key] = t
	}
	return x.tensors[key], nil
}
