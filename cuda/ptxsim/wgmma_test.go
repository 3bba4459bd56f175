package ptxsim

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/convae/convae/cuda/driver"
)

// place is where an element of a matrix lies in the memory of a test, written down apart from the simulator's layout: row i of a or column
// i of b, and k along the other side, in elements of so many bytes.
type place func(i, k, size int) int

// swizzled permutes units of 16 bytes within blocks of 256, 512 or 1024 bytes, as rows of 32, 64 or 128 bytes need.
func swizzled(off, width int) int { return off ^ off/128%(width/16)*16 }

// alongK has rows of 16 bytes in cores of 128, the cores of the second half of k leading bytes further on, those of the next eight rows
// stride bytes.
func alongK(leading, stride int) place {
	return func(i, k, size int) int { return i/8*stride + i%8*16 + k*size/16*leading + k*size%16 }
}

// alongKSwizzled has rows of width bytes, of which a product takes 32 from one on.
func alongKSwizzled(width, from, stride int) place {
	return func(i, k, size int) int { return swizzled(i/8*stride+i%8*width+from+k*size, width) }
}

// acrossK has eight elements along the rows in 16 bytes.
func acrossK(leading, stride int) place {
	return func(i, k, size int) int { return i/8*stride + k/8*leading + k%8*16 + i%8*size }
}

func acrossKSwizzled(width, leading, stride int) place {
	return func(i, k, size int) int {
		n := width / size
		return swizzled(i/n*leading+k/8*stride+k%8*width+i%n*size, width)
	}
}

// descriptor is all of one but the address.
func descriptor(leading, stride int, swizzle uint64) uint64 {
	return uint64(leading/16)<<16 | uint64(stride/16)<<32 | swizzle<<62
}

// wgmmaKernel copies in to shared memory, multiplies and stores d. %d20 and %d21 are the addresses of a and b in a descriptor's form.
func wgmmaKernel(bytes, n, bOff int, body string) string {
	d := make([]string, n/2)
	var zero, put strings.Builder
	for i := range d {
		d[i] = fmt.Sprintf("%%x%d", i)
		fmt.Fprintf(&zero, "mov.f32 %s, 0f3F000000;\n", d[i])
		fmt.Fprintf(&put, "st.global.f32 [%%d3+%d], %s;\n", 4*i, d[i])
	}
	src := kernel("sm_90a", "u64 u64", fmt.Sprintf(`.shared .align 1024 .b8 buffer[%d];
.reg .f32 %%x<%d>;
mov.u32 %%r0, buffer;
mov.u32 %%r1, %%t;
FILL:
mul.wide.u32 %%d0, %%r1, 4;
add.s64 %%d0, %%a1, %%d0;
ld.global.u32 %%r2, [%%d0];
shl.b32 %%r3, %%r1, 2;
add.s32 %%r3, %%r0, %%r3;
st.shared.u32 [%%r3], %%r2;
add.s32 %%r1, %%r1, 128;
setp.lt.u32 %%p0, %%r1, %d;
@%%p0 bra FILL;
fence.proxy.async;
bar.sync 0;
shr.u32 %%r4, %%r0, 4;
cvt.u64.u32 %%d20, %%r4;
add.s64 %%d21, %%d20, %d;
`, bytes, n/2, bytes/4, bOff/16)+zero.String()+strings.ReplaceAll(body, "D", "{"+strings.Join(d, ",")+"}")+fmt.Sprintf(`
mul.wide.u32 %%d2, %%t, %d;
add.s64 %%d3, %%a0, %%d2;
`, 2*n)+put.String())
	return strings.Replace(src, ".version 7.8", ".version 8.0", 1)
}

// An element's bytes, and the value that a product takes of them.
var wgmmaTypes = map[string]struct {
	size int
	put  func(x float32) (bits uint32, value float64)
}{
	"tf32": {4, func(x float32) (uint32, float64) {
		b := math.Float32bits(x)
		return b, float64(math.Float32frombits(b &^ 0x1fff))
	}},
	"bf16": {2, func(x float32) (uint32, float64) {
		b := math.Float32bits(x) &^ 0xffff
		return b >> 16, float64(math.Float32frombits(b))
	}},
	"f16": {2, func(x float32) (uint32, float64) { // of numbers from 1 to 2
		b := math.Float32bits(1+float32(math.Abs(float64(x)))/8) &^ 0x1fff
		return 15<<10 | b>>13&0x3ff, float64(math.Float32frombits(b))
	}},
}

func TestWarpgroupProduct(t *testing.T) {
	for _, c := range []struct {
		name, ty     string
		n            int
		a, b         place // a nil: in registers
		aDesc, bDesc uint64
		flags        string
		sign         float64
		once         bool // d is overwritten
	}{
		{"plain", "tf32", 8, alongK(1040, 128), alongK(256, 128), descriptor(1040, 128, 0), descriptor(256, 128, 0), "1, 1, 1", 1, false},
		{"rows of an image", "tf32", 64, alongK(2304, 160), alongK(1024, 128), descriptor(2304, 160, 0), descriptor(1024, 128, 0), "1, 1, 1", 1, false},
		{"32 bytes", "tf32", 16, alongKSwizzled(32, 0, 256), alongKSwizzled(32, 0, 256), descriptor(0, 256, 3), descriptor(0, 256, 3), "1, 1, 1", 1, false},
		{"64 bytes, the second half", "tf32", 24, alongKSwizzled(64, 32, 512), alongKSwizzled(64, 0, 512), descriptor(0, 512, 2) + 2, descriptor(0, 512, 2), "1, 1, 1", 1, false},
		{"128 bytes, the third quarter", "tf32", 40, alongKSwizzled(128, 64, 1024), alongKSwizzled(128, 96, 1024), descriptor(0, 1024, 1) + 4, descriptor(0, 1024, 1) + 6, "1, -1, 1", -1, false},
		{"a in registers", "tf32", 32, nil, alongK(512, 128), 0, descriptor(512, 128, 0), "1, 1, -1", -1, false},
		{"plain", "bf16", 64, alongK(1024, 128), alongK(1024, 128), descriptor(1024, 128, 0), descriptor(1024, 128, 0), "0, 1, 1, 0, 0", 1, true},
		{"128 bytes", "bf16", 256, alongKSwizzled(128, 32, 1024), alongKSwizzled(128, 0, 1024), descriptor(0, 1024, 1) + 2, descriptor(0, 1024, 1), "1, -1, -1, 0, 0", 1, false},
		{"both transposed", "bf16", 32, acrossK(1280, 128), acrossK(640, 128), descriptor(1280, 128, 0), descriptor(640, 128, 0), "1, 1, 1, 1, 1", 1, false},
		{"a transposed, 128 bytes", "bf16", 16, acrossKSwizzled(128, 0, 1024), alongK(256, 128), descriptor(0, 1024, 1), descriptor(256, 128, 0), "1, 1, 1, 1, 0", 1, false},
		{"b transposed, 64 bytes", "bf16", 96, alongK(1024, 128), acrossKSwizzled(64, 1024, 512), descriptor(1024, 128, 0), descriptor(1024, 512, 2), "1, 1, 1, 0, 1", 1, false},
		{"a in registers, b transposed, 32 bytes", "bf16", 48, nil, acrossKSwizzled(32, 512, 256), 0, descriptor(512, 256, 3), "1, 1, 1, 1", 1, false},
		{"plain", "f16", 128, alongK(1024, 128), alongK(2048, 128), descriptor(1024, 128, 0), descriptor(2048, 128, 0), "1, 1, 1, 0, 0", 1, false},
	} {
		t.Run(c.ty+" "+c.name, func(t *testing.T) {
			ty := wgmmaTypes[c.ty]
			depth, bOff, size := 32/ty.size, 12<<10, 28<<10
			if c.n == 256 {
				size = 44 << 10
			}
			r := rand.New(rand.NewPCG(1, uint64(c.n)))
			memory := make([]byte, size)
			fill := func(n int, at place, off int) [][]float64 {
				m := make([][]float64, n)
				for i := range m {
					for k := range depth {
						bits, value := ty.put(float32(r.NormFloat64()))
						m[i] = append(m[i], value)
						for b := range ty.size {
							memory[off+at(i, k, ty.size)+b] = byte(bits >> (8 * b))
						}
					}
				}
				return m
			}
			at, load, first := c.a, "", "%d22"
			if at == nil { // lanes take theirs from rows of 32 bytes
				at, first = func(i, k, size int) int { return 32*i + k*size }, "{%r10, %r11, %r12, %r13}"
				load = "and.b32 %r5, %t, 3;\nshr.u32 %r6, %t, 5;\nshl.b32 %r6, %r6, 9;\nand.b32 %r7, %t, 28;\nshl.b32 %r7, %r7, 3;\nadd.s32 %r6, %r6, %r7;\n" +
					"shl.b32 %r5, %r5, 2;\nadd.s32 %r6, %r6, %r5;\nadd.s32 %r6, %r6, %r0;\n" +
					"ld.shared.u32 %r10, [%r6];\nld.shared.u32 %r11, [%r6+256];\nld.shared.u32 %r12, [%r6+16];\nld.shared.u32 %r13, [%r6+272];\n"
			}
			a, b := fill(64, at, 0), fill(c.n, c.b, bOff)
			body := load + fmt.Sprintf("add.s64 %%d22, %%d20, %d;\nadd.s64 %%d23, %%d21, %d;\n", int64(c.aDesc), int64(c.bDesc)) +
				"setp.eq.u32 %p1, %r0, %r0;\nwgmma.fence.sync.aligned;\n"
			flags := c.flags
			if !c.once {
				flags = "%p1" + flags[1:]
			}
			product := fmt.Sprintf("wgmma.mma_async.sync.aligned.m64n%dk%d.f32.%s.%s D, %s, %%d23, %s;\n", c.n, depth, c.ty, c.ty, first, flags)
			body += product + product + "wgmma.commit_group.sync.aligned;\nwgmma.wait_group.sync.aligned 0;\n"
			g := newRig(t, Options{Major: 9})
			f := g.load(wgmmaKernel(size, c.n, bOff, body), "k")
			out := g.alloc(4 * 64 * c.n)
			g.ok(g.run(f, 1, 128, out, upload(g, memory)))
			got := download[float32](g, out, 64*c.n)
			for i, v := range got {
				thread, e := i/(c.n/2), i%(c.n/2)
				row, column := thread/32*16+thread%32/4+e/2%2*8, e/4*8+thread%4*2+e%2
				s, terms := 0.5, 0.5
				if c.once {
					s, terms = 0, 0
				}
				for k := range depth {
					p := c.sign * a[row][k] * b[column][k]
					if !c.once {
						p *= 2 // it is added twice
					}
					s, terms = s+p, terms+math.Abs(p)
				}
				if math.Abs(float64(v)-s) > terms/(1<<22) {
					t.Fatalf("d[%d][%d] is %g, want %g", row, column, v, s)
				}
			}
		})
	}
}

// What a kernel may not do with a product under way is a fault.
func TestWarpgroupFaults(t *testing.T) {
	const (
		issue  = "wgmma.mma_async.sync.aligned.m64n8k16.f32.bf16.bf16 D, %d22, %d23, 1, 1, 1, 0, 0;\n"
		desc   = "add.s64 %d22, %d20, 34363932672;\nadd.s64 %d23, %d21, 34363932672;\n" // leading 1024 bytes, stride 128
		fence  = "wgmma.fence.sync.aligned;\n"
		commit = "wgmma.commit_group.sync.aligned;\n"
		wait   = "wgmma.wait_group.sync.aligned 0;\n"
	)
	if want := descriptor(1024, 128, 0); want != 34363932672 {
		t.Fatalf("the descriptor is %d", want)
	}
	good := desc + fence + issue + commit + wait
	run := func(t *testing.T, threads int, body string, edit ...string) error {
		r := newRig(t, Options{Major: 9})
		src := strings.NewReplacer(edit...).Replace(wgmmaKernel(4096, 8, 2048, body))
		f := r.load(src, "k")
		return r.launch(f, driver.Dim3{X: 1}, driver.Dim3{X: threads}, 0, r.alloc(4*64*8), upload(r, make([]byte, 4096)))
	}
	if err := run(t, 128, good); err != nil {
		t.Fatal(err)
	}
	change := "st.shared.u32 [buffer+1024], 7;\n"
	for _, c := range []struct {
		name, body string
		edit       []string
		threads    int
		kind       Kind
		detail     string
	}{
		{"no fence of the proxy", good, []string{"fence.proxy.async;\n", ""}, 128, Unfenced, "no fence.proxy.async"},
		{"fence before the copies", good, []string{"fence.proxy.async;\n", "", "FILL:", "fence.proxy.async;\nFILL:"}, 128, Unfenced, "no fence.proxy.async"},
		{"no barrier", good, []string{"bar.sync 0;\n", ""}, 128, SharedRace, "with no barrier"},
		{"no wgmma.fence", desc + issue + commit + wait, nil, 128, Unfenced, "no wgmma.fence"},
		{"no wgmma.fence after a wait", good + issue + commit + wait, nil, 128, Unfenced, "no wgmma.fence"},
		{"change before the wait", desc + fence + issue + commit + "setp.eq.u32 %p1, %t, 0;\n@%p1 " + change + "fence.proxy.async;\n" + wait, nil, 128, SharedRace, "have changed before they were waited for"},
		{"change that is not fenced", desc + fence + issue + commit + "setp.eq.u32 %p1, %t, 0;\n@%p1 " + change + wait, nil, 128, Unfenced, "no fence.proxy.async"},
		{"change behind a wait for another", desc + fence + issue + commit + issue + commit + "wgmma.wait_group.sync.aligned 1;\nbar.sync 0;\nsetp.eq.u32 %p1, %t, 40;\n@%p1 " + change + "bar.sync 0;\n" + wait, nil, 128, Unfenced, "no fence.proxy.async"},
		{"one warp less", desc + fence + "setp.ge.u32 %p1, %t, 96;\n@%p1 bra E;\n" + issue + "E:\n" + commit + wait, nil, 128, DivergentSync, "another warp of the warpgroup"},
		{"one warp leaves", desc + "setp.ge.u32 %p1, %t, 96;\n@%p1 bra E;\n" + fence + issue + commit + wait + "E:\n", nil, 128, DivergentSync, "has left"},
		{"another matrix in one warp", desc + "setp.ge.u32 %p1, %t, 96;\n@%p1 add.s64 %d23, %d23, 1;\n" + fence + issue + commit + wait, nil, 128, DivergentSync, "in another warp"},
		{"another matrix in one lane", desc + "setp.eq.u32 %p1, %t, 5;\n@%p1 add.s64 %d23, %d23, 1;\n" + fence + issue + commit + wait, nil, 128, DivergentSync, "in lane 0"},
		{"half a warpgroup", good, []string{"%r1, 128;", "%r1, 64;"}, 64, DivergentSync, "is in no warpgroup"},
		{"out of bounds", desc + "add.s64 %d23, %d23, 128;\n" + fence + issue + commit + wait, nil, 128, OutOfBounds, ""},
		{"another d in the same registers", desc + fence + issue + "wgmma.mma_async.sync.aligned.m64n8k16.f32.bf16.bf16 {%x1, %x0, %x2, %x3}, %d22, %d23, 1, 1, 1, 0, 0;\n" + commit + wait, nil, 128, Unfenced, "another d"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := wantFault(t, run(t, c.threads, c.body, c.edit...), c.kind, "")
			if !strings.Contains(f.Detail, c.detail) {
				t.Error(f)
			}
		})
	}
}

// Without a wait, and with one for an earlier group alone, the registers have nothing of use.
func TestWarpgroupNeedsWait(t *testing.T) {
	const product = "wgmma.mma_async.sync.aligned.m64n8k16.f32.bf16.bf16 D, %d22, %d23, 1, 1, 1, 0, 0;\nwgmma.commit_group.sync.aligned;\n"
	for wait, lands := range map[string]bool{"": false, "wgmma.wait_group.sync.aligned 1;": false, "wgmma.wait_group.sync.aligned 0;": true} {
		r := newRig(t, Options{Major: 9})
		f := r.load(wgmmaKernel(4096, 8, 2048, "add.s64 %d22, %d20, 34363932672;\nadd.s64 %d23, %d21, 34363932672;\nwgmma.fence.sync.aligned;\n"+product+product+wait), "k")
		out := r.alloc(4 * 64 * 8)
		r.ok(r.run(f, 1, 128, out, upload(r, make([]byte, 4096))))
		for i, v := range download[float32](r, out, 64*8) {
			if landed := v == 0.5; landed != lands {
				t.Fatalf("%q: element %d is %g", wait, i, v)
			}
		}
	}
}
