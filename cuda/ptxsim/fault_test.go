package ptxsim

import (
	"strings"
	"testing"

	"github.com/convae/convae/cuda/driver"
)

// shared is a declaration of 256 words of shared memory; %d0 is where the thread's word is in p0, %r1 its offset in shared
// memory, %r2 that of the thread at the other end of the block of 256.
const shared = `.shared .align 16 .b8 s[1024];
mul.wide.u32 %d0, %t, 4;
add.s64 %d0, %a0, %d0;
mov.u32 %r0, s;
shl.b32 %r1, %t, 2;
add.s32 %r1, %r0, %r1;
sub.s32 %r2, 255, %t;
shl.b32 %r2, %r2, 2;
add.s32 %r2, %r0, %r2;
`

func TestBarrier(t *testing.T) {
	const store = "st.shared.u32 [%r1], %t;\n"
	const rest = "ld.shared.u32 %r3, [%r2];\nst.global.u32 [%d0], %r3;"
	for _, c := range []struct {
		name, body, at string
		kind           Kind
	}{
		{"with", shared + store + "bar.sync 0;\n" + rest, "", ""},
		{"without", shared + store + rest, "ld.shared", ""},
		{"write after read", shared + store + "bar.sync 0;\nld.shared.u32 %r3, [%r2];\nst.shared.u32 [%r1], %r3;", "shared", SharedRace},
		{"two writes", shared + "mov.u32 %r5, 7;\nst.shared.u32 [s], %r5;", "st.shared", SharedRace},
		{"warp", shared + store + "xor.b32 %r3, %r1, 4;\nld.shared.u32 %r4, [%r3];", "ld.shared", SharedRace},
		{"synchronised warp", shared + store + "bar.warp.sync -1;\nxor.b32 %r3, %r1, 4;\nld.shared.u32 %r4, [%r3];", "", ""},
		{"barrier is only a vote", shared + store + "vote.sync.ballot.b32 %r9, %p1, -1;\nxor.b32 %r3, %r1, 4;\nld.shared.u32 %r4, [%r3];", "ld.shared", SharedRace},
		{"neighbours in a word", shared + "add.s32 %r4, %r0, %t;\nst.shared.u8 [%r4], %t;\nbar.sync 0;\nld.shared.u8 %r5, [%r4];", "", ""},
		{"same byte", shared + "shr.u32 %r4, %t, 1;\nadd.s32 %r4, %r0, %r4;\nst.shared.u8 [%r4], %t;", "st.shared.u8", SharedRace},
		{"atomics", shared + "setp.eq.u32 %p1, %t, 0;\n@%p1 st.shared.u32 [s], %t;\nbar.sync 0;\natom.shared.add.u32 %r4, [s], 1;", "", ""},
		{"atomic and plain", shared + "setp.eq.u32 %p1, %t, 0;\n@%p1 st.shared.u32 [s], %t;\natom.shared.add.u32 %r4, [s], 1;", "atom.shared", SharedRace},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, Options{})
			err := r.run(r.load(kernel("sm_75", "u64", c.body), "k"), 1, 256, r.alloc(1024))
			switch {
			case c.at == "":
				r.ok(err)
			case c.kind == "": // which thread is first decides
				f := err.(*Fault)
				if f.Kind != SharedRace && f.Kind != Uninitialised || !strings.Contains(f.Text, c.at) {
					t.Fatal(f)
				}
			default:
				wantFault(t, err, c.kind, c.at)
			}
		})
	}
}

func TestGlobalFaults(t *testing.T) {
	const at = "mul.wide.u32 %d0, %g, 4;\nadd.s64 %d1, %a0, %d0;\nadd.s64 %d2, %a1, %d0;\n"
	const n = 4 * 64
	for _, c := range []struct {
		name, body, at string
		kind           Kind
		addr           uint64 // offset in p1
	}{
		{"good", at + "ld.global.u32 %r1, [%d1];\nst.global.u32 [%d2], %r1;", "", "", 0},
		{"read and write in place", at + "ld.global.u32 %r1, [%d1];\nst.global.u32 [%d1], %r1;", "", "", 0},
		{"behind the end", at + "st.global.u32 [%d2+4], %g;", "st.global", OutOfBounds, n},
		{"before the beginning", at + "st.global.u32 [%d2+-4], %g;", "st.global", OutOfBounds, ^uint64(3)},
		{"far away", at + "shl.b64 %d0, %d0, 30;\nadd.s64 %d2, %a1, %d0;\nst.global.u32 [%d2], %g;", "st.global", OutOfBounds, 1 << 32},
		{"wrong stride", at + "mul.wide.u32 %d0, %g, 5;\nadd.s64 %d2, %a1, %d0;\nst.global.u32 [%d2], %g;", "st.global", Misaligned, 5},
		{"large stride", at + "mul.wide.u32 %d0, %g, 8;\nadd.s64 %d2, %a1, %d0;\nst.global.u32 [%d2], %g;", "st.global", OutOfBounds, 2 * n / 2},
		{"vector", at + "st.global.v4.u32 [%d2], {%g, %g, %g, %g};", "st.global.v4", Misaligned, 4},
		{"never written", at + "ld.global.u32 %r1, [%d2];", "ld.global", Uninitialised, 0},
		{"written in part", at + "st.global.u16 [%d2], %g;\nld.global.u32 %r1, [%d2];", "ld.global.u32", Uninitialised, 0},
		{"one address", at + "st.global.u32 [%a1], %g;", "st.global", GlobalRace, 0},
		{"one address, atomically", at + "atom.global.add.u32 %r1, [%a0], 1;", "", "", 0},
		{"read of what another block wrote", at + "st.global.u32 [%d1], %g;\nld.global.u32 %r1, [%a0];", "ld.global", GlobalRace, 0},
		{"write of what another block read", at + "ld.global.u32 %r1, [%a0+252];\nst.global.u32 [%d1], %r1;", "st.global", GlobalRace, 0},
		{"bytes of one word", at + "cvt.u64.u32 %d3, %g;\nadd.s64 %d3, %a1, %d3;\nst.global.u8 [%d3], %g;", "", "", 0},
		{"one byte", at + "st.global.u8 [%a1], %g;", "st.global.u8", GlobalRace, 0},
		{"nc of written", at + "st.global.u32 [%d2], %g;\nld.global.nc.u32 %r1, [%d2];", "ld.global.nc", ReadOnly, 0},
		{"written behind nc", at + "ld.global.nc.u32 %r1, [%d1];\nst.global.u32 [%d1], %r1;", "st.global", ReadOnly, 0},
		{"number for a pointer", at + "cvt.u64.u32 %d5, %g;\nst.global.u32 [%d5], %g;", "st.global", OutOfBounds, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, Options{Workers: 1})
			f := r.load(kernel("sm_75", "u64 u64", c.body), "k")
			in := upload(r, make([]uint32, 64))
			out := r.alloc(n)
			err := r.run(f, 2, 32, in, out)
			if c.at == "" {
				r.ok(err)
				return
			}
			fault := wantFault(t, err, c.kind, c.at)
			if c.kind == OutOfBounds && c.addr != 0 || c.kind == Misaligned {
				if got := fault.Address - uint64(out); got != c.addr {
					t.Errorf("offset %d, want %d", int64(got), int64(c.addr))
				}
			}
		})
	}
}

func TestUseAfterFree(t *testing.T) {
	r := newRig(t, Options{})
	f := r.load(kernel("sm_75", "u64", "ld.global.u32 %r0, [%a0];"), "k")
	p := upload(r, make([]uint32, 1))
	r.ok(r.run(f, 1, 1, p))
	r.ok(r.d.Free(p))
	q := r.alloc(4)
	if p == q {
		t.Error("an address is used twice")
	}
	wantFault(t, r.run(f, 1, 1, p), UseAfterFree, "ld.global")
	if err := r.s.Launch(&driver.Launch{Function: f, Args: []uint64{uint64(q)}}); err == nil {
		t.Error("the stream works after a fault")
	}
	if r.d.Free(p) == nil || r.d.Free(q+1) == nil {
		t.Error("Free of what is no allocation")
	}
}

func TestMessage(t *testing.T) {
	r := newRig(t, Options{})
	f := r.load(kernel("sm_75", "u64", "mul.wide.u32 %d0, %g, 4;\nadd.s64 %d0, %a0, %d0;\nst.global.u32 [%d0], %g;"), "k")
	err := r.launch(f, driver.Dim3{X: 2, Y: 3}, driver.Dim3{X: 8, Y: 4}, 0, r.alloc(32))
	fault := wantFault(t, err, OutOfBounds, "st.global.u32 [%d0], %g;")
	want := "ptxsim: out of bounds: k, line 23 `st.global.u32 [%d0], %g;`, block (1,0,0), thread (0,0,0), address 0x7f0000000020: 4 bytes at offset 32 of the allocation of 32 bytes at 0x7f0000000000"
	if fault.Block != (driver.Dim3{X: 1}) || fault.Error() != want {
		t.Errorf("%v\nwant %s", fault, want)
	}
}

func TestDivergence(t *testing.T) {
	for _, c := range []struct {
		name, body, at string
		kind           Kind
	}{
		{"exited warp", "setp.ge.u32 %p1, %t, 32;\n@%p1 bra L;\nbar.sync 0;\nL:", "bar.sync", DivergentBarrier},
		{"exited lanes", "setp.ge.u32 %p1, %t, 50;\n@%p1 ret;\nbar.sync 0;", "bar.sync", DivergentBarrier},
		{"two barriers", "setp.ge.u32 %p1, %t, 32;\n@%p1 bra L;\nbar.sync 0;\nbra.uni M;\nL:\nbar.sync 1;\nM:", "bar.sync 0", DivergentBarrier},
		{"two barriers in a warp", "setp.ge.u32 %p1, %t, 16;\n@%p1 bra L;\nbar.sync 0;\nbra.uni M;\nL:\nbar.sync 0;\nM:", "bar.sync 0", DivergentBarrier},
		{"predicated", "setp.ge.u32 %p1, %t, 16;\n@%p1 bar.sync 0;", "bar.sync 0", DivergentBarrier},
		{"count", "setp.ge.u32 %p1, %t, 32;\n@%p1 bra L;\nbar.sync 1, 64;\nL:", "bar.sync 1", Deadlock},
		{"too many", "bar.sync 1, 96;", "bar.sync 1", DivergentBarrier},
		{"named", "setp.ge.u32 %p1, %t, 32;\n@%p1 bra L;\nbar.sync 1, 32;\nL:\nbar.sync 0;", "", ""},
		{"arrive", "setp.ge.u32 %p1, %t, 32;\n@%p1 bra L;\nbar.sync 1, 64;\nbra.uni M;\nL:\nbar.arrive 1, 64;\nM:", "", ""},
		{"shuffle", "setp.ge.u32 %p1, %t, 16;\n@%p1 bra L;\nshfl.sync.bfly.b32 %r1, %t, 1, 31, -1;\nbra.uni M;\nL:\nshfl.sync.bfly.b32 %r1, %t, 1, 31, -1;\nM:", "shfl.sync", ""},
		{"shuffle of half a warp", "setp.ge.u32 %p1, %t, 16;\n@%p1 bra L;\nshfl.sync.bfly.b32 %r1, %t, 1, 31, 0xffff;\nL:", "", ""},
		{"not a member", "shfl.sync.bfly.b32 %r1, %t, 1, 31, 0xffff;", "shfl.sync", DivergentSync},
		{"endless", "L:\nbra.uni L;", "", Endless},
		{"trap", "trap;", "trap", Trap},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, Options{Limit: 1 << 22})
			// Loops on one block of two warps.
			err := r.run(r.load(kernel("sm_75", "", c.body), "k"), 1, 64)
			switch {
			case c.kind != "":
				wantFault(t, err, c.kind, c.at)
			case c.at == "":
				r.ok(err)
			case err == nil && c.name == "shuffle":
				t.Error("no fault")
			}
		})
	}
}

func TestLocal(t *testing.T) {
	const local = ".local .align 16 .b8 l[64];\nmov.u64 %d0, l;\nmul.wide.u32 %d1, %t, 4;\nadd.s64 %d1, %d0, %d1;\n"
	for _, c := range []struct {
		name, body, at string
		kind           Kind
	}{
		{"good", local + "st.local.u32 [%d1], %t;\nld.local.u32 %r1, [%d1];", "", ""},
		{"generic", local + "st.local.u32 [%d1], %t;\ncvta.local.u64 %d2, %d1;\nld.u32 %r1, [%d2];\nadd.s32 %r1, %r1, 1;\nst.u32 [%d2], %r1;", "", ""},
		{"outside", local + "st.local.u32 [%d1+4], %t;", "st.local", OutOfBounds},
		{"unwritten", local + "st.local.u32 [l+60], %t;\nld.local.u32 %r1, [%d1];", "ld.local", Uninitialised},
		{"misaligned", local + "st.local.u32 [%d0+2], %t;", "st.local", Misaligned},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, Options{})
			err := r.run(r.load(kernel("sm_75", "", c.body), "k"), 1, 16)
			if c.at == "" {
				r.ok(err)
				return
			}
			wantFault(t, err, c.kind, c.at)
		})
	}
}

func TestSharedFaults(t *testing.T) {
	for _, c := range []struct {
		name, body, at string
		kind           Kind
	}{
		{"outside", shared + "st.shared.u32 [%r1+4], %t;", "st.shared", OutOfBounds},
		{"below", shared + "st.shared.u32 [%r1+-4], %t;", "st.shared", OutOfBounds},
		{"vector", shared + "st.shared.v2.u32 [%r1], {%t, %t};", "st.shared", Misaligned},
		{"unwritten", shared + "setp.lt.u32 %p1, %t, 100;\n@%p1 st.shared.u32 [%r1], %t;\nbar.sync 0;\nld.shared.u32 %r4, [%r1];", "ld.shared", Uninitialised},
		{"read by two", shared + "st.shared.u32 [%r1], %t;\nbar.sync 0;\nxor.b32 %r2, %r1, 4;\nld.shared.u32 %r4, [%r1];\nld.shared.u32 %r4, [%r2];\nst.shared.u32 [%r1], %r4;", "%r4", SharedRace},
		{"generic", shared + "st.shared.u32 [%r1], %t;\ncvt.u64.u32 %d1, %r1;\ncvta.shared.u64 %d1, %d1;\nld.u32 %r4, [%d1];\nst.u32 [%d1+4], %r4;", "st.u32", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, Options{})
			err := r.run(r.load(kernel("sm_75", "u64", c.body), "k"), 1, 256, r.alloc(1024))
			if c.kind == "" {
				c.kind = err.(*Fault).Kind // out of bounds or a race, as lanes come
			}
			wantFault(t, err, c.kind, c.at)
		})
	}
}

const asyncBody = shared + `
mov.u32 %r9, %nctaid.x;
add.s64 %d1, %a1, 0;
mul.wide.u32 %d2, %t, 4;
add.s64 %d1, %a1, %d2;
cp.async.ca.shared.global [%r1], [%d1], 4;
cp.async.commit_group;
WAIT
bar.sync 0;
ld.shared.u32 %r3, [%r2];
st.global.u32 [%d0], %r3;
`

func TestAsyncCopy(t *testing.T) {
	in := make([]uint32, 256)
	for i := range in {
		in[i] = uint32(i * i)
	}
	run := func(t *testing.T, wait string) (*rig, driver.Ptr, error) {
		r := newRig(t, Options{})
		f := r.load(kernel("sm_80", "u64 u64", strings.Replace(asyncBody, "WAIT", wait, 1)), "k")
		out := r.alloc(1024)
		return r, out, r.run(f, 1, 256, out, upload(r, in))
	}
	for _, wait := range []string{"cp.async.wait_all;", "cp.async.wait_group 0;"} {
		r, out, err := run(t, wait)
		r.ok(err)
		for i, v := range download[uint32](r, out, 256) {
			if v != in[255-i] {
				t.Fatalf("%s: element %d is %d", wait, i, v)
			}
		}
	}
	for _, wait := range []string{"", "cp.async.wait_group 1;"} {
		_, _, err := run(t, wait)
		f := wantFault(t, err, Uninitialised, "ld.shared")
		if !strings.Contains(f.Detail, "cp.async") {
			t.Error(f)
		}
	}
}

func TestAsyncSize(t *testing.T) {
	r := newRig(t, Options{})
	f := r.load(kernel("sm_80", "u64 u64", shared+`
shl.b32 %r5, %t, 4;
add.s32 %r5, %r5, %r0;
mul.lo.s32 %r6, %t, 4;
mul.wide.u32 %d2, %t, 16;
add.s64 %d1, %a1, %d2;
cp.async.cg.shared.global [%r5], [%d1], 16, %r6;
cp.async.wait_all;
ld.shared.v4.u32 {%r10, %r11, %r12, %r13}, [%r5];
add.s64 %d3, %a0, %d2;
st.global.v4.u32 [%d3], {%r10, %r11, %r12, %r13};
`), "k")
	in := make([]uint32, 20)
	for i := range in {
		in[i] = uint32(i + 1)
	}
	out := r.alloc(80)
	r.ok(r.run(f, 1, 5, out, upload(r, in)))
	for i, v := range download[uint32](r, out, 20) {
		want := in[i]
		if i%4 >= i/4 {
			want = 0
		}
		if v != want {
			t.Errorf("element %d is %d, want %d", i, v, want)
		}
	}
}

func TestConstants(t *testing.T) {
	src := header("sm_75") + `
.const .align 4 .f32 c[3] = {0f3F800000, 2.5, -3.0};
.global .align 2 .b8 b[6] = {1, 2, 255, 4};
.global .align 8 .u64 l = 77;
.visible .entry k(.param .u64 p)
{
.reg .b64 %d<4>;
.reg .f32 %f<4>;
.reg .b16 %h<4>;
ld.param.u64 %d0, [p];
ld.const.f32 %f0, [c+8];
st.global.f32 [%d0], %f0;
ld.global.s8 %h0, [b+2];
st.global.u16 [%d0+4], %h0;
ld.global.u16 %h0, [b];
st.global.u16 [%d0+6], %h0;
ld.global.u64 %d1, [l];
st.global.u64 [%d0+8], %d1;
STORE
ret;
}
`
	r := newRig(t, Options{})
	out := r.alloc(16)
	r.ok(r.run(r.load(strings.Replace(src, "STORE", "", 1), "k"), 1, 1, out))
	if v := download[uint32](r, out, 4); v[0] != 0xc0400000 || v[1] != 0x0201ffff || v[2] != 77 || v[3] != 0 {
		t.Errorf("%x", v)
	}
	bad := strings.Replace(src, "STORE", "mov.u64 %d2, c;\nst.u32 [%d2], 0;", 1)
	wantFault(t, r.run(r.load(bad, "k"), 1, 1, out), ReadOnly, "st.u32")
}
