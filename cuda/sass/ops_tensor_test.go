package sass

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"github.com/convae/convae/cuda/driver"
	"github.com/convae/convae/cuda/ptxsim"
)

// tensors are of each number of dimensions, with boxes that lie in them in part.
var tensors = []driver.Tiled{
	{Type: driver.ElementFloat32, Sizes: []int{250}, Box: []int{128}},
	{Type: driver.ElementFloat32, Sizes: []int{61, 9}, Strides: []int{256}, Box: []int{32, 4}},
	{Type: driver.ElementBFloat16, Sizes: []int{24, 9, 7}, Strides: []int{64, 576}, Box: []int{8, 8, 5}},
	{Type: driver.ElementBFloat16, Sizes: []int{16, 10, 7, 3}, Strides: []int{32, 320, 2240}, Box: []int{8, 10, 10, 1}},
	{Type: driver.ElementFloat32, Sizes: []int{12, 3, 4, 5, 2}, Strides: []int{48, 144, 576, 2880}, Box: []int{4, 4, 4, 4, 3}},
}

// boxBytes is the size of a box.
func boxBytes(t *driver.Tiled) int {
	n := t.Type.Bytes()
	for _, b := range t.Box {
		n *= b
	}
	return n
}

// elementAt is the number of an element of a tensor's memory, counted in elements, at a place of a box, or -1.
func elementAt(t *driver.Tiled, start []int, place int) int {
	at := 0
	for d := range t.Box {
		i := start[d] + place%t.Box[d]
		place /= t.Box[d]
		if i < 0 || i >= t.Sizes[d] {
			return -1
		}
		stride := t.Type.Bytes()
		if d > 0 {
			stride = t.Strides[d-1]
		}
		at += i * stride
	}
	return at / t.Type.Bytes()
}

// A box that is copied in pieces has every byte once, from where it lies, and pieces lie in a line.
func TestBox(t *testing.T) {
	for _, tensor := range tensors {
		tensor.Base = ringIn
		for shift := -5; shift < 12; shift++ {
			start := make([]int, len(tensor.Box))
			for d := range start {
				start[d] = shift - d
			}
			var b bulk
			b.box(&tensor, start)
			if b.bytes != boxBytes(&tensor) {
				t.Fatalf("%+v: %d bytes", tensor, b.bytes)
			}
			at, size := 0, tensor.Type.Bytes()
			for _, p := range b.pieces {
				if p.at != at || p.n < 1 || !p.zero && p.from/lineBytes != (p.from+uint64(p.n)-1)/lineBytes {
					t.Fatalf("%+v from %d: the piece %+v, %d bytes are there", tensor, shift, p, at)
				}
				for i := 0; i < p.n; i += size {
					e := elementAt(&tensor, start, (at+i)/size)
					if (e < 0) != p.zero || e >= 0 && p.from+uint64(i) != ringIn+uint64(e*size) {
						t.Fatalf("%+v from %d: byte %d is of the piece %+v, want element %d", tensor, shift, at+i, p, e)
					}
				}
				at += p.n
			}
			if at != b.bytes {
				t.Fatalf("%+v from %d: pieces of %d bytes", tensor, shift, at)
			}
		}
	}
}

// tensorRing is a ring whose copies are boxes: in step s from s-2-d in dimension d on.
func tensorRing(tensor *driver.Tiled) ring {
	copies := fmt.Sprintf(".reg .b32 %%c<%d>;\n", len(tensor.Box))
	var list []string
	for d := range tensor.Box {
		copies += fmt.Sprintf("sub.u32 %%c%d, %%r9, %d;\n", d, 2+d)
		list = append(list, fmt.Sprintf("%%c%d", d))
	}
	copies += fmt.Sprintf("cp.async.bulk.tensor.%dd.shared::cluster.global.mbarrier::complete_tx::bytes [%%r7], [%%d3, {%s}], [%%r5];", len(list), strings.Join(list, ", "))
	stage := (boxBytes(tensor) + 127) &^ 127
	return ring{stages: 3, bytes: stage, expect: boxBytes(tensor), parity: 1, release: true, copy: copies}
}

// The machine code of copies of boxes brings what the PTX brings, and a plain computation, with and without a clock.
func TestTensorBits(t *testing.T) {
	tools(t)
	m, err := FindMachine("h100")
	if err != nil {
		t.Fatal(err)
	}
	for _, tensor := range tensors {
		r := tensorRing(&tensor)
		c, err := NewCompiler()
		if err != nil {
			t.Fatal(err)
		}
		watch := &Watch{Active: true, Compiler: c}
		d, err := ptxsim.New(ptxsim.Options{Major: 9, BeforeLaunch: watch.Before, OnLaunch: watch.After}).Open(0)
		if err != nil {
			t.Fatal(err)
		}
		ok := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatalf("%d dimensions: %v", len(tensor.Box), err)
			}
		}
		module, err := d.Load(r.ptx())
		ok(err)
		f, err := module.Function("ring")
		ok(err)
		const steps = 11
		in := numbers(1 << 14)
		from, err := d.Alloc(len(in))
		ok(err)
		out, err := d.Alloc(512)
		ok(err)
		tensor.Base = from
		made, err := d.EncodeTiled(&tensor)
		ok(err)
		s, err := d.NewStream()
		ok(err)
		ok(s.ToDevice(from, in))
		for _, machine := range []*Machine{nil, &m} {
			watch.Machine = machine
			ok(s.Launch(&driver.Launch{Function: f, Grid: driver.Dim3{X: 1}, Block: driver.Dim3{X: 160}, Args: []uint64{uint64(out), uint64(from), steps, ringAdd}, Maps: []driver.TensorMap{made}}))
			ok(s.Synchronize())
			ok(watch.Err())
		}
		if n := watch.Launches(); n != 2 {
			t.Errorf("%d launches were compared, want 2", n)
		}
		got := make([]byte, 512)
		ok(s.ToHost(got, out))
		ok(s.Synchronize())
		for thread := range 128 {
			want := uint32(0)
			for step := range steps {
				start := make([]int, len(tensor.Box))
				for i := range start {
					start[i] = step - 2 - i
				}
				var word uint32
				for i, size := 0, tensor.Type.Bytes(); i < 4; i += size {
					if e := elementAt(&tensor, start, (4*thread+i)/size); e >= 0 {
						var v [4]byte
						copy(v[i:], in[e*size:][:size])
						word |= binary.LittleEndian.Uint32(v[:])
					}
				}
				want = want*5 + word
			}
			if v := binary.LittleEndian.Uint32(got[4*thread:]); v != want+ringAdd {
				t.Fatalf("%d dimensions: thread %d has %#x, want %#x", len(tensor.Box), thread, v, want+ringAdd)
			}
		}
		ok(d.Close())
	}
}

// What is no tensor map, or one of other dimensions, is told.
func TestTensorFaults(t *testing.T) {
	r := tensorRing(&tensors[1])
	l := r.launch(2, numbers(1<<14))
	_, errs, _ := r.both(t, l)
	for _, err := range errs {
		if err == nil || !strings.Contains(err.Error(), "the tensor map at 0x100000000000240: no tensor map of this driver") {
			t.Errorf("error %v", err)
		}
	}
	d, err := ptxsim.New(ptxsim.Options{Major: 9}).Open(0)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	tensor := tensors[2]
	tensor.Base = ringIn
	made, err := d.EncodeTiled(&tensor)
	if err != nil {
		t.Fatal(err)
	}
	for i, v := range made {
		binary.LittleEndian.PutUint64(l.Params[64+8*i:], v)
	}
	_, errs, _ = r.both(t, l)
	for _, err := range errs {
		if err == nil || !strings.Contains(err.Error(), "the tensor has 3 dimensions") {
			t.Errorf("error %v", err)
		}
	}
}

// Each row of a box is a request, of a sector at least; the tensor map is fetched once, unless it was asked for before.
func TestTensorTime(t *testing.T) {
	rows := func(box []int, strides []int) *bulk {
		tensor := driver.Tiled{Type: driver.ElementBFloat16, Base: ringIn, Sizes: []int{256, 256}, Strides: strides, Box: box}
		b := &bulk{mapped: 1}
		b.box(&tensor, []int{0, 0})
		return b
	}
	for _, c := range []struct {
		box     []int
		sectors int64
		cycles  int64
	}{
		{[]int{64, 64}, 256, 256}, // 8 KB in lines
		{[]int{8, 200}, 200, 200}, // rows of 16 bytes: half a sector each
		{[]int{24, 100}, 200, 200},
	} {
		m, err := FindMachine("h100")
		if err != nil {
			t.Fatal(err)
		}
		s := &sm{m: &m}
		b := rows(c.box, []int{512})
		b.blk = &block{shared: make([]byte, 1<<16), copies: 1}
		b.to, b.barrier = sharedBase+1024, sharedBase
		binary.LittleEndian.PutUint64(b.blk.shared, uint64(newMbarrier(1, 1, 0, false)))
		x := &executor{mem: newMemory([]Region{{ringIn, make([]byte, 1<<18)}})}
		b.blk.share = &share{x: x}
		s.begin(b)
		for s.events.next() < 1<<40 {
			s.now = s.events.next()
			s.happen()
		}
		least := 2*m.L2Latency + copySetup + c.cycles + copyLand
		if s.sectors != c.sectors || s.now < least-2 || s.now > least+2 {
			t.Errorf("a box of %v: %d sectors, %d cycles, want %d and %d", c.box, s.sectors, s.now, c.sectors, least)
		}
		if want := int64(b.bytes+lineBytes-1) / lineBytes; s.passes != want {
			t.Errorf("a box of %v takes %d passes of shared memory, want %d", c.box, s.passes, want)
		}
		// A second one has the map, as one would have that was asked for in time.
		begun := s.now
		b.made, b.filled = 0, 0
		b.blk.copies = 1
		s.begin(b)
		for s.events.next() < 1<<40 {
			s.now = s.events.next()
			s.happen()
		}
		if took := s.now - begun; took < least-m.L2Latency-2 || took > least-m.L2Latency+2 {
			t.Errorf("a box of %v of a tensor that is known takes %d cycles, want %d", c.box, took, least-m.L2Latency)
		}
	}
}

// A tensor map that a kernel asks for is at hand from when it comes from L2.
func TestTensorPrefetch(t *testing.T) {
	w, step := single(t, "UTMACCTL.PF [UR4]")
	w.ur[4], w.ur[5] = 0x240, constantWindow>>32
	x := &executor{}
	in, err := decode("UTMACCTL.PF [UR4]", 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	in.op.exec(x, w, &in, 1)
	if x.prefetched != constantWindow+0x240 {
		t.Errorf("the map at %#x is asked for", x.prefetched)
	}
	step()
	var c copier
	if at := c.fetch(mapAt{x, x.prefetched}, 300); at != 300 {
		t.Errorf("it is there at %d", at)
	}
	if at := c.fetch(mapAt{x, x.prefetched}, 700); at != 300 {
		t.Errorf("for a later copy it is there at %d", at)
	}
	if at := c.fetch(mapAt{nil, x.prefetched}, 700); at != 700 {
		t.Errorf("that of another launch is there at %d", at)
	}
}
