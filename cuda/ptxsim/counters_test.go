package ptxsim

import (
	"testing"

	"github.com/convae/convae/cuda/driver"
)

func TestCounters(t *testing.T) {
	r := newRig(t, Options{Workers: 2})
	// Four blocks of 48 threads: the second warp of each has 16 lanes. Threads below 8 take the branch.
	f := r.load(kernel("sm_75", "u64 u64", `
.shared .align 16 .b8 s[4096];
mul.wide.u32 %d0, %g, 4;
add.s64 %d1, %a0, %d0;
add.s64 %d2, %a1, %d0;
ld.global.f32 %f0, [%d1];
fma.rn.f32 %f0, %f0, %f0, %f0;
ex2.approx.f32 %f1, %f0;
setp.ge.u32 %p1, %t, 8;
@%p1 bra L;
add.f32 %f0, %f0, %f1;
L:
mov.u32 %r0, s;
shl.b32 %r1, %t, 3;
add.s32 %r1, %r0, %r1;
st.shared.f32 [%r1], %f0;
bar.sync 0;
st.global.f32 [%d2], %f0;
`), "k")
	in := upload(r, make([]float32, 192))
	r.ok(r.run(f, 4, 48, in, r.alloc(768)))
	c := r.counts[0]
	want := map[Class][2]uint64{ // of warps and of lanes, in a block
		ClassMove:    {2*6 + 2*1, 48*6 + 48*1 - 48}, // set below
		ClassFMA:     {2, 48},
		ClassSpecial: {2, 48},
		ClassFloat:   {1, 8},
		ClassGlobal:  {4, 96},
		ClassShared:  {2, 48},
		ClassControl: {2 + 2 + 2, 3 * 48}, // bra, bar, ret
		ClassInteger: {2 * (1 + 3 + 1 + 2), 48 * 7},
	}
	want[ClassMove] = [2]uint64{2 * (2 + 3 + 1), 48 * 6} // two parameters, three special registers, s
	for class, w := range want {
		if c.Warps[class] != 4*w[0] || c.Lanes[class] != 4*w[1] {
			t.Errorf("%v: %d instructions of warps and %d of lanes, want %d and %d", class, c.Warps[class], c.Lanes[class], 4*w[0], 4*w[1])
		}
	}
	// A block reads 48 words at 192 bytes: 128 bytes in 4 sectors and 64 in 2.
	if w := (Traffic{Requests: 8, Bytes: 768, Sectors: 24}); c.Loads != w || c.Stores != w {
		t.Errorf("loads %+v and stores %+v, want %+v", c.Loads, c.Stores, w)
	}
	// Every other word: two lanes meet in every even bank, for 16 lanes none.
	if c.SharedRequests != 8 || c.BankConflicts != 4 {
		t.Errorf("%d shared requests, %d bank conflicts", c.SharedRequests, c.BankConflicts)
	}
	if c.Kernel != "k" || c.Grid != (driver.Dim3{X: 4, Y: 1, Z: 1}) || c.Block.X != 48 || c.Shared != 4096 || c.Barriers != 4 || c.Registers == 0 {
		t.Errorf("%+v", c)
	}
	if c.LaneTotal() == 0 || c.WarpTotal() == 0 || c.String() == "" {
		t.Error("no totals")
	}
}

func TestSectors(t *testing.T) {
	for _, c := range []struct {
		name, addr, access string
		sectors, bytes     uint64
	}{
		{"one word", "mov.u32 %r0, 0;", "ld.global.u32 %r9, [%d0];", 1, 128},
		{"row", "shl.b32 %r0, %t, 2;", "ld.global.u32 %r9, [%d0];", 4, 128},
		{"row, shifted", "shl.b32 %r0, %t, 2;", "ld.global.u32 %r9, [%d0+4];", 5, 128},
		{"backwards", "sub.u32 %r0, 31, %t;\nshl.b32 %r0, %r0, 2;", "ld.global.u32 %r9, [%d0];", 4, 128},
		{"stride", "shl.b32 %r0, %t, 5;", "ld.global.u32 %r9, [%d0];", 32, 128},
		{"mixed", "and.b32 %r0, %t, 3;\nshl.b32 %r0, %r0, 5;", "ld.global.u32 %r9, [%d0];", 4, 128},
		{"vectors", "shl.b32 %r0, %t, 4;", "ld.global.v4.u32 {%r9, %r10, %r11, %r12}, [%d0];", 16, 512},
		{"bytes", "mov.u32 %r0, %t;", "ld.global.u8 %r9, [%d0];", 1, 32},
	} {
		r := newRig(t, Options{})
		f := r.load(kernel("sm_75", "u64", c.addr+"\ncvt.u64.u32 %d0, %r0;\nadd.s64 %d0, %a0, %d0;\n"+c.access), "k")
		r.ok(r.run(f, 1, 32, upload(r, make([]uint32, 1024))))
		if got := r.counts[0].Loads; got != (Traffic{1, c.bytes, c.sectors}) {
			t.Errorf("%s: %+v", c.name, got)
		}
	}
}

func TestBankConflicts(t *testing.T) {
	for _, c := range []struct {
		name, addr, access string
		want               uint64
	}{
		{"row", "shl.b32 %r0, %t, 2;", "st.shared.u32 [%r0], %t;", 0},
		{"column of 32", "shl.b32 %r0, %t, 7;", "st.shared.u32 [%r0], %t;", 31},
		{"column of 33", "mul.lo.u32 %r0, %t, 132;", "st.shared.u32 [%r0], %t;", 0},
		{"vectors in a row", "shl.b32 %r0, %t, 4;", "st.shared.v4.u32 [%r0], {%t, %t, %t, %t};", 0},
		{"vectors, every other", "shl.b32 %r0, %t, 5;", "st.shared.v4.u32 [%r0], {%t, %t, %t, %t};", 4},
		{"pairs", "shl.b32 %r0, %t, 3;", "st.shared.v2.u32 [%r0], {%t, %t};", 0},
	} {
		r := newRig(t, Options{})
		r.ok(r.run(r.load(kernel("sm_75", "", ".shared .align 16 .b8 s[8192];\n"+c.addr+"\n"+c.access), "k"), 1, 32))
		if got := r.counts[0].BankConflicts; got != c.want {
			t.Errorf("%s: %d conflicts, want %d", c.name, got, c.want)
		}
	}
}
