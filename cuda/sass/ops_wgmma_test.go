package sass

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/convae/convae/cuda/driver"
)

// warpgroupKernel is a kernel of a warpgroup that copies 16 KiB to shared memory and multiplies matrices there in all types and layouts
// along k, one product after another, the last ones in a group of their own.
func warpgroupKernel() string {
	var s strings.Builder
	s.WriteString(`.version 8.0
.target sm_90a
.address_size 64
.visible .entry warpgroup(.param .u64 out, .param .u64 in)
{
.reg .pred %p<2>;
.reg .b32 %r<10>;
.reg .b64 %d<10>;
.reg .f32 %f<32>;
.shared .align 1024 .b8 s[16384];
ld.param.u64 %d0, [out];
ld.param.u64 %d1, [in];
mov.u32 %r0, %tid.x;
mul.wide.u32 %d2, %r0, 128;
add.s64 %d1, %d1, %d2;
add.s64 %d0, %d0, %d2;
mov.u32 %r6, s;
mad.lo.u32 %r5, %r0, 128, %r6;
`)
	for i := range 8 {
		fmt.Fprintf(&s, "ld.global.v4.u32 {%%r1, %%r2, %%r3, %%r4}, [%%d1+%d];\nst.shared.v4.u32 [%%r5+%[1]d], {%%r1, %%r2, %%r3, %%r4};\n", 16*i)
	}
	var d []string
	for i := range 32 {
		d = append(d, fmt.Sprintf("%%f%d", i))
		fmt.Fprintf(&s, "mov.f32 %%f%d, 0f3F800000;\n", i)
	}
	s.WriteString("fence.proxy.async.shared::cta;\nbar.sync 0;\nshr.u32 %r7, %r6, 4;\ncvt.u64.u32 %d3, %r7;\nwgmma.fence.sync.aligned;\n")
	descriptor := func(from, leading, stride, swizzle uint64) int64 {
		return int64(from/16 | leading/16<<16 | stride/16<<32 | swizzle<<62)
	}
	product := func(n, k int, ty string, add bool, a, b int64, turned ...int) {
		flags := ""
		if k == 16 {
			flags = ", 0, 0"
		}
		if len(turned) == 2 {
			flags = fmt.Sprintf(", %d, %d", turned[0], turned[1])
		}
		fmt.Fprintf(&s, "add.s64 %%d4, %%d3, %d;\nadd.s64 %%d5, %%d3, %d;\n", a, b)
		p := "1"
		if !add {
			p = "0"
		}
		fmt.Fprintf(&s, "wgmma.mma_async.sync.aligned.m64n%dk%d.f32.%s.%[3]s {%s}, %%d4, %%d5, %s, 1, 1%s;\n", n, k, ty, strings.Join(d[:n/2], ", "), p, flags)
	}
	commit := func(wait int) {
		fmt.Fprintf(&s, "wgmma.commit_group.sync.aligned;\nwgmma.wait_group.sync.aligned %d;\n", wait)
	}
	plain := func(from uint64) int64 { return descriptor(from, 1024, 128, 0) }
	product(64, 16, "bf16", false, plain(0), plain(4096))
	product(64, 16, "f16", true, plain(2048), plain(6144))
	product(64, 8, "tf32", true, descriptor(0, 2304, 160, 0), plain(8192))
	commit(1)
	product(64, 8, "tf32", true, descriptor(0, 0, 1024, 1), descriptor(4096+64, 0, 1024, 1))
	product(64, 16, "bf16", true, descriptor(32, 0, 512, 2), descriptor(8192, 0, 256, 3))
	product(64, 16, "bf16", true, plain(0), plain(4096), 1, 1)
	product(64, 16, "bf16", true, descriptor(16, 544, 1168, 0), plain(8192), 1, 0)
	product(64, 16, "f16", true, descriptor(0, 0, 512, 2), descriptor(8192, 1024, 512, 2), 0, 1)
	product(64, 16, "bf16", true, descriptor(1024, 512, 256, 3), descriptor(8192, 0, 1024, 1), 1, 1)
	commit(0)
	for i := range 8 {
		fmt.Fprintf(&s, "st.global.v4.f32 [%%d0+%d], {%s};\n", 16*i, strings.Join(d[4*i:4*i+4], ", "))
	}
	s.WriteString("ret;\n}\n")
	return s.String()
}

func TestWarpgroupBits(t *testing.T) {
	sameBits(t, warpgroupKernel(), "warpgroup", 128, 128*128, 128*128)
}

// A copy in the background of no bytes is of zeros, and reads nothing: its address may be anywhere.
func TestCopyOfNothingBits(t *testing.T) {
	sameBits(t, `.version 8.0
.target sm_90a
.address_size 64
.visible .entry copies(.param .u64 out, .param .u64 in)
{
.reg .pred %p<2>;
.reg .b32 %r<10>;
.reg .b64 %d<10>;
.shared .align 16 .b8 s[2048];
ld.param.u64 %d0, [out];
ld.param.u64 %d1, [in];
mov.u32 %r0, %tid.x;
and.b32 %r1, %r0, 3;
setp.ne.u32 %p0, %r1, 1;
selp.b32 %r2, 16, 0, %p0;
mul.wide.u32 %d2, %r0, 16;
add.s64 %d3, %d1, %d2;
selp.b64 %d3, %d3, 4096, %p0;
add.s64 %d0, %d0, %d2;
mov.u32 %r3, s;
mad.lo.u32 %r3, %r0, 16, %r3;
cp.async.cg.shared.global [%r3], [%d3], 16, %r2;
cp.async.commit_group;
cp.async.wait_group 0;
ld.shared.v4.u32 {%r4, %r5, %r6, %r7}, [%r3];
add.u32 %r4, %r4, 1;
add.u32 %r5, %r5, 1;
add.u32 %r6, %r6, 1;
add.u32 %r7, %r7, 1;
st.global.v4.u32 [%d0], {%r4, %r5, %r6, %r7};
ret;
}
`, "copies", 128, 2048, 2048)
}

// Products of a warpgroup take the tensor cores for as long as the machine says or, where these are small, shared memory; the warps go on
// until they wait.
func TestWarpgroupTime(t *testing.T) {
	const n = 100
	for _, c := range []struct {
		text   string
		cycles float64 // of a product
	}{
		{"HGMMA.64x128x16.F32.BF16 R8, gdesc[UR4], R8", 64},
		{"HGMMA.64x256x8.F32.TF32 R8, gdesc[UR4], R8", 128},
		{"HGMMA.64x8x16.F32.BF16 R8, gdesc[UR4], R8", 18}, // 2304 bytes, 128 a cycle
	} {
		m, err := FindMachine("h100")
		if err != nil {
			t.Fatal(err)
		}
		m.SMs, m.L2Latency = 1, 0
		k := &Kernel{Name: "products", Registers: 160, Shared: 16384}
		texts := append(make([]string, 0, n+3), strings.Split(strings.Repeat(c.text+";", n-1)+c.text+", gsb0", ";")...)
		for _, text := range append(texts, "NOP", "WARPGROUP.DEPBAR.LE gsb0, 0x0", "EXIT") {
			in, err := decode(text, 0, 0)
			if err != nil {
				t.Fatal(err)
			}
			in.Control = Control{Stall: 1, Write: 7, Read: 7}
			k.Code = append(k.Code, in)
		}
		// Uniform registers that are 0 describe matrices in the first KiB of the window, which is not the block's.
		prologue := []string{"UMOV UR4, 0x80", "UMOV UR5, 0x8", "UMOV UR6, 0x80", "UMOV UR7, 0x8"}
		for i := len(prologue) - 1; i >= 0; i-- {
			in, err := decode(prologue[i], 0, 0)
			if err != nil {
				t.Fatal(err)
			}
			in.Control = Control{Stall: 2, Write: 7, Read: 7}
			k.Code = append([]Inst{in}, k.Code...)
		}
		count, _, err := k.Time(&m, &Launch{Grid: driver.Dim3{X: 1, Y: 1, Z: 1}, Block: driver.Dim3{X: 128, Y: 1, Z: 1}})
		if err != nil {
			t.Fatal(err)
		}
		if v, least := float64(count.Cycles), n*c.cycles; v < least || v > least+2*warpgroupLatency+40 {
			t.Errorf("%s: %d products take %v cycles, want %v", c.text, n, v, least)
		}
		if want := int64(4 * n * k.Code[4].op.tiles); count.MMAs != want {
			t.Errorf("%s: %d products of 16 x 8, want %d", c.text, count.MMAs, want)
		}
	}
}

// Loads from shared memory go beside products in what these leave of it; those that come faster make later products late.
func TestWarpgroupBesideLoads(t *testing.T) {
	const n, loads = 40, 100 // products before and after the loads of each of four warps
	for _, c := range []struct {
		stall       int // cycles from a load to the next
		least, most float64
	}{
		{15, 0, 0},    // four passes in 15 cycles, of which products leave one in four: all but one in 16 fit, and wait for no longer than a product
		{1, 200, 320}, // 400 passes one after the other, of which 100 fit, and 64 more are forgiven
	} {
		m, err := FindMachine("h100")
		if err != nil {
			t.Fatal(err)
		}
		m.SMs, m.L2Latency = 1, 0
		k := &Kernel{Name: "products", Registers: 160, Shared: 16384}
		add := func(stall int, texts ...string) {
			for _, text := range texts {
				in, err := decode(text, 0, 0)
				if err != nil {
					t.Fatal(err)
				}
				in.Control = Control{Stall: stall, Write: 7, Read: 7}
				k.Code = append(k.Code, in)
			}
		}
		const product = "HGMMA.64x128x16.F32.BF16 R8, gdesc[UR4], R8" // of 64 cycles, 48 of which shared memory is taken
		add(5, "MOV R3, RZ", "UMOV UR4, 0x80", "UMOV UR5, 0x8", "UMOV UR6, 0x80", "UMOV UR7, 0x8")
		add(1, slices.Repeat([]string{product}, n)...)
		add(c.stall, slices.Repeat([]string{"LDS R2, [R3+0x400]"}, loads)...)
		add(1, slices.Repeat([]string{product}, n-1)...)
		add(1, product+", gsb0", "NOP", "WARPGROUP.DEPBAR.LE gsb0, 0x0", "EXIT")
		count, _, err := k.Time(&m, &Launch{Grid: driver.Dim3{X: 1, Y: 1, Z: 1}, Block: driver.Dim3{X: 128, Y: 1, Z: 1}})
		if err != nil {
			t.Fatal(err)
		}
		if late := float64(count.Cycles) - 2*n*64; late < c.least || late > c.most+2*warpgroupLatency+40 {
			t.Errorf("loads %d cycles apart make products %v cycles late, want %v to %v", c.stall, late, c.least, c.most+2*warpgroupLatency+40)
		}
	}
}
