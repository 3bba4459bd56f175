package ptxsim

import (
	"fmt"
	"math"
	"math/bits"
	"math/rand/v2"
	"strings"
	"testing"
)

// perThread runs a body that leaves a word in %r0 for each of n threads of a block; %r1 is a word of in.
func perThread(t *testing.T, target, body string, in []uint32) []uint32 {
	t.Helper()
	r := newRig(t, Options{})
	f := r.load(kernel(target, "u64 u64", "mul.wide.u32 %d0, %g, 4;\nadd.s64 %d1, %a1, %d0;\nadd.s64 %d0, %a0, %d0;\nld.global.u32 %r1, [%d1];\n"+
		body+"\nst.global.u32 [%d0], %r0;"), "k")
	out := r.alloc(4 * len(in))
	r.ok(r.run(f, 1, len(in), out, upload(r, in)))
	return download[uint32](r, out, len(in))
}

func numbers(n int) []uint32 {
	rng := rand.New(rand.NewPCG(7, 8))
	v := make([]uint32, n)
	for i := range v {
		v[i] = rng.Uint32() >> rng.IntN(32)
	}
	return v
}

func TestShuffle(t *testing.T) {
	in := numbers(32)
	for _, width := range []int{32, 16, 8, 4} {
		for _, by := range []int{0, 1, 3, 7, 16, 31} {
			for mode, from := range map[string]func(lane int) int{
				// As CUDA describes them: within groups of width lanes, and the lane itself where that leaves the group.
				"bfly": func(l int) int { return l ^ by },
				"up":   func(l int) int { return l - by },
				"down": func(l int) int { return l + by },
				"idx":  func(l int) int { return l/width*width + by%width },
			} {
				c := (32-width)<<8 | 31
				if mode == "up" {
					c = (32 - width) << 8
				}
				got := perThread(t, "sm_75", fmt.Sprintf("shfl.sync.%s.b32 %%r0|%%p1, %%r1, %d, %d, -1;\n@!%%p1 not.b32 %%r0, %%r0;", mode, by, c), in)
				for l, g := range got {
					j := from(l)
					inside := j >= 0 && j < 32 && j/width == l/width
					if mode == "bfly" { // only the upper end of the group counts
						inside = j <= l/width*width+width-1
					}
					want := ^in[l]
					if inside {
						want = in[j]
					}
					if g != want {
						t.Fatalf("%s by %d in %d: lane %d has %x, want %x", mode, by, width, l, g, want)
					}
				}
			}
		}
	}
}

func TestVote(t *testing.T) {
	in := numbers(64)
	for i, v := range in {
		in[i] = v & 3
	}
	ballot := func(from, to int, f func(v uint32) bool) (m uint32) {
		for i := from; i < to; i++ {
			if f(in[i]) {
				m |= 1 << (i & 31)
			}
		}
		return m
	}
	check := func(name string, got []uint32, want func(i int) uint32) {
		t.Helper()
		for i, g := range got {
			if w := want(i); g != w {
				t.Errorf("%s: thread %d has %x, want %x", name, i, g, w)
				return
			}
		}
	}
	const p = "setp.lt.u32 %p1, %r1, 2;\n"
	less := func(v uint32) bool { return v < 2 }
	warp := func(i int) uint32 { return ballot(i&^31, i&^31+32, less) }
	is := func(b bool) uint32 { return map[bool]uint32{true: 1}[b] }
	check("ballot", perThread(t, "sm_75", p+"vote.sync.ballot.b32 %r0, %p1, -1;", in), warp)
	check("not", perThread(t, "sm_75", p+"vote.sync.ballot.b32 %r0, !%p1, -1;", in), func(i int) uint32 { return ^warp(i) })
	check("any", perThread(t, "sm_75", p+"vote.sync.any.pred %p2, %p1, -1;\nselp.u32 %r0, 1, 0, %p2;", in), func(i int) uint32 { return is(warp(i) != 0) })
	check("all", perThread(t, "sm_75", p+"vote.sync.all.pred %p2, %p1, -1;\nselp.u32 %r0, 1, 0, %p2;", in), func(i int) uint32 { return is(warp(i) == full) })
	check("uni", perThread(t, "sm_75", "setp.lt.u32 %p1, %t, 32;\nvote.sync.uni.pred %p2, %p1, -1;\nselp.u32 %r0, 1, 0, %p2;", in), func(i int) uint32 { return 1 })
	check("active", perThread(t, "sm_75", p+"mov.u32 %r0, 0;\n@%p1 bra L;\nactivemask.b32 %r0;\nL:", in), func(i int) uint32 {
		if less(in[i]) {
			return 0
		}
		return ^warp(i)
	})
	check("match", perThread(t, "sm_75", "match.any.sync.b32 %r0, %r1, -1;", in), func(i int) uint32 {
		return ballot(i&^31, i&^31+32, func(v uint32) bool { return v == in[i] })
	})
	check("match all", perThread(t, "sm_75", "shr.u32 %r2, %t, 5;\nmatch.all.sync.b32 %r0|%p1, %r2, -1;", in), func(int) uint32 { return full })
	sum := func(i int) (s uint32) {
		for _, v := range in[i&^31:][:32] {
			s += v
		}
		return s
	}
	check("redux", perThread(t, "sm_80", "redux.sync.add.u32 %r0, %r1, -1;", in), sum)
	check("popc", perThread(t, "sm_75", p+"barrier.red.popc.aligned.u32 %r0, 0, %p1;", in), func(int) uint32 {
		return uint32(bits.OnesCount32(warp(0)) + bits.OnesCount32(warp(32)))
	})
	check("or", perThread(t, "sm_75", "setp.eq.u32 %p1, %t, 40;\nbar.red.or.pred %p2, 0, %p1;\nselp.u32 %r0, 1, 0, %p2;", in), func(int) uint32 { return 1 })
	check("and", perThread(t, "sm_75", "setp.eq.u32 %p1, %t, 40;\nbar.red.and.pred %p2, 0, !%p1;\nselp.u32 %r0, 1, 0, %p2;", in), func(int) uint32 { return 0 })
	// Both halves of a warp run the instruction at once, each for itself.
	check("halves", perThread(t, "sm_75", p+"and.b32 %r2, %t, 16;\nshl.b32 %r3, 65535, %r2;\nvote.sync.ballot.b32 %r0, %p1, %r3;", in), func(i int) uint32 {
		return ballot(i&^15, i&^15+16, less)
	})
}

func TestAtomics(t *testing.T) {
	in := numbers(32)
	type op struct {
		name string
		init uint32
		f    func(old, v uint32) uint32
	}
	s := func(v uint32) int32 { return int32(v) }
	for _, c := range []op{
		{"add.u32", 5, func(o, v uint32) uint32 { return o + v }}, {"min.u32", 1 << 31, func(o, v uint32) uint32 { return min(o, v) }},
		{"max.u32", 7, func(o, v uint32) uint32 { return max(o, v) }}, {"min.s32", 9, func(o, v uint32) uint32 { return uint32(min(s(o), s(v))) }},
		{"max.s32", full, func(o, v uint32) uint32 { return uint32(max(s(o), s(v))) }}, {"and.b32", full, func(o, v uint32) uint32 { return o & v }},
		{"or.b32", 0, func(o, v uint32) uint32 { return o | v }}, {"xor.b32", 1, func(o, v uint32) uint32 { return o ^ v }},
		{"inc.u32", 0, func(o, v uint32) uint32 {
			if o >= v {
				return 0
			}
			return o + 1
		}},
		{"dec.u32", 0, func(o, v uint32) uint32 {
			if o == 0 || o > v {
				return v
			}
			return o - 1
		}},
		{"exch.b32", 3, func(o, v uint32) uint32 { return v }},
	} {
		for _, where := range []string{"shared", "global", ""} {
			r := newRig(t, Options{})
			addr, space := "[%a0]", "."+where
			setup := ""
			switch where {
			case "shared":
				setup = ".shared .u32 s;\nld.global.u32 %r5, [%a0];\nsetp.eq.u32 %p1, %t, 0;\n@%p1 st.shared.u32 [s], %r5;\nbar.sync 0;\n"
				addr = "[s]"
			case "":
				space = ""
			}
			// One thread at a time, by lanes, so that the order is known.
			body := setup + "mul.wide.u32 %d0, %t, 4;\nadd.s64 %d1, %a1, %d0;\nld.global.u32 %r1, [%d1];\natom" + space + "." + c.name + " %r0, " + addr + ", %r1;\n" +
				"add.s64 %d1, %a2, %d0;\nst.global.u32 [%d1], %r0;\n"
			if where == "shared" {
				body += "bar.sync 0;\nld.shared.u32 %r5, [s];\n@%p1 st.global.u32 [%a0], %r5;"
			}
			cell, out := upload(r, []uint32{c.init}), r.alloc(128)
			r.ok(r.run(r.load(kernel("sm_75", "u64 u64 u64", body), "k"), 1, 32, cell, upload(r, in), out))
			old := c.init
			for i, g := range download[uint32](r, out, 32) {
				if g != old {
					t.Fatalf("atom.%s.%s: thread %d has %x, want %x", where, c.name, i, g, old)
				}
				old = c.f(old, in[i])
			}
			if g := download[uint32](r, cell, 1)[0]; g != old {
				t.Errorf("atom.%s.%s: %x, want %x", where, c.name, g, old)
			}
		}
	}
	// Many blocks on several workers lose no update.
	r := newRig(t, Options{Workers: 4})
	cells := upload(r, make([]uint64, 4))
	f := r.load(kernel("sm_75", "u64", `
red.global.add.u32 [%a0], 1;
mov.u64 %d1, 3;
atom.global.add.u64 %d2, [%a0+8], %d1;
mov.f32 %f0, 0f3F800000;
red.global.add.f32 [%a0+16], %f0;
L:
ld.relaxed.gpu.global.u32 %r1, [%a0+24];
add.u32 %r2, %r1, 2;
atom.global.cas.b32 %r3, [%a0+24], %r1, %r2;
setp.ne.u32 %p1, %r3, %r1;
@%p1 bra L;
`), "k")
	r.ok(r.run(f, 100, 96, cells))
	v := download[uint64](r, cells, 4)
	if v[0] != 9600 || v[1] != 3*9600 || math.Float32frombits(uint32(v[2])) != 9600 || v[3] != 2*9600 {
		t.Errorf("%v", v)
	}
	if n := r.counts[0].FloatAtomics; n != 9600 {
		t.Errorf("%d float atomics", n)
	}
}

// TestMMA compares products with plain ones. Fragments are loaded by the layouts of the PTX manual.
func TestMMA(t *testing.T) {
	for _, c := range []struct {
		form string
		k    int
		conv func(float32) uint32 // a value as it stands in a register
	}{
		{"m16n8k8.row.col.f32.tf32.tf32.f32", 8, func(f float32) uint32 { return math.Float32bits(f) }},
		{"m16n8k16.row.col.f32.bf16.bf16.f32", 16, func(f float32) uint32 { return uint32(toBfloat(f)) }},
		{"m16n8k16.row.col.f32.f16.f16.f32", 16, func(f float32) uint32 { return uint32(toHalf(f)) }},
	} {
		rng := rand.New(rand.NewPCG(9, 10))
		small := func() float32 { return float32(rng.IntN(33)-16) / 4 } // exact in all types
		a, b, cm := make([]float32, 16*c.k), make([]float32, c.k*8), make([]float32, 16*8)
		for _, m := range [][]float32{a, b, cm} {
			for i := range m {
				m[i] = small()
			}
		}
		frag := make([]uint32, 32*10)
		for l := range 32 {
			g, q := l/4, l%4
			f := frag[10*l:]
			if c.k == 8 {
				f[0], f[1] = c.conv(a[g*8+q]), c.conv(a[(g+8)*8+q])
				f[2], f[3] = c.conv(a[g*8+q+4]), c.conv(a[(g+8)*8+q+4])
				f[4], f[5] = c.conv(b[q*8+g]), c.conv(b[(q+4)*8+g])
			} else {
				two := func(m []float32, i, j int) uint32 { return c.conv(m[i]) | c.conv(m[j])<<16 }
				f[0], f[1] = two(a, g*16+2*q, g*16+2*q+1), two(a, (g+8)*16+2*q, (g+8)*16+2*q+1)
				f[2], f[3] = two(a, g*16+2*q+8, g*16+2*q+9), two(a, (g+8)*16+2*q+8, (g+8)*16+2*q+9)
				f[4], f[5] = two(b, 2*q*8+g, (2*q+1)*8+g), two(b, (2*q+8)*8+g, (2*q+9)*8+g)
			}
			for i := range 4 {
				f[6+i] = math.Float32bits(cm[(g+8*(i/2))*8+2*q+i%2])
			}
		}
		r := newRig(t, Options{})
		var body strings.Builder
		body.WriteString("mul.wide.u32 %d0, %t, 40;\nadd.s64 %d0, %a1, %d0;\n")
		for i := range 10 {
			fmt.Fprintf(&body, "ld.global.b32 %%r%d, [%%d0+%d];\n", i, 4*i)
		}
		for i := range 4 {
			fmt.Fprintf(&body, "mov.b32 %%f%d, %%r%d;\n", i, 6+i)
		}
		fmt.Fprintf(&body, "mma.sync.aligned.%s {%%f4,%%f5,%%f6,%%f7}, {%%r0,%%r1,%%r2,%%r3}, {%%r4,%%r5}, {%%f0,%%f1,%%f2,%%f3};\n", c.form)
		body.WriteString("mul.wide.u32 %d0, %t, 16;\nadd.s64 %d0, %a0, %d0;\nst.global.v4.f32 [%d0], {%f4,%f5,%f6,%f7};")
		out := r.alloc(512)
		r.ok(r.run(r.load(kernel("sm_80", "u64 u64", body.String()), "k"), 1, 32, out, upload(r, frag)))
		got := download[float32](r, out, 128)
		for i := range 16 {
			for j := range 8 {
				want := cm[i*8+j]
				for k := range c.k {
					want += a[i*c.k+k] * b[k*8+j]
				}
				lane, reg := i%8*4+j/2, i/8*2+j%2
				if g := got[4*lane+reg]; g != want {
					t.Fatalf("%s: d[%d][%d] = %g, want %g", c.form, i, j, g, want)
				}
			}
		}
		if r.counts[0].Warps[ClassMMA] != 1 {
			t.Error("mma is not counted")
		}
	}
}

func TestLdmatrix(t *testing.T) {
	in := make([]uint32, 128) // four matrices of 8 x 8 values that tell their place
	for i := range in {
		in[i] = uint32(2*i) | uint32(2*i+1)<<16
	}
	for _, trans := range []string{"", ".trans"} {
		r := newRig(t, Options{})
		f := r.load(kernel("sm_80", "u64 u64", `
.shared .align 16 .b8 s[512];
mul.wide.u32 %d0, %t, 16;
add.s64 %d1, %a1, %d0;
ld.global.v4.u32 {%r1, %r2, %r3, %r4}, [%d1];
shl.b32 %r5, %t, 4;
mov.u32 %r6, s;
add.s32 %r5, %r5, %r6;
st.shared.v4.u32 [%r5], {%r1, %r2, %r3, %r4};
bar.sync 0;
ldmatrix.sync.aligned.m8n8.x4`+trans+`.shared.b16 {%r1, %r2, %r3, %r4}, [%r5];
add.s64 %d0, %a0, %d0;
st.global.v4.u32 [%d0], {%r1, %r2, %r3, %r4};
`), "k")
		out := r.alloc(512)
		r.ok(r.run(f, 1, 32, out, upload(r, in)))
		for i, g := range download[uint32](r, out, 128) {
			lane, m := i/4, i%4
			row, col := lane/4, 2*(lane%4)
			lo, hi := 64*m+8*row+col, 64*m+8*row+col+1
			if trans != "" {
				lo, hi = 64*m+8*col+row, 64*m+8*(col+1)+row
			}
			if want := uint32(lo) | uint32(hi)<<16; g != want {
				t.Fatalf("ldmatrix%s: lane %d, matrix %d: %x, want %x", trans, lane, m, g, want)
			}
		}
	}
}
