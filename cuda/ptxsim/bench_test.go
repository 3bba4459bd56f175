package ptxsim

import (
	"fmt"
	"strings"
	"testing"
)

// The benchmarks report lane instructions a second, on one worker.
func benchmark(b *testing.B, skip Checks, src string, grid int, words int) {
	r := newRig(b, Options{Workers: 1, Skip: skip})
	f := r.load(src, "k")
	p := upload(r, make([]float32, words))
	q := upload(r, make([]float32, words))
	for b.Loop() {
		r.ok(r.run(f, grid, 256, p, q))
	}
	var n uint64
	for _, c := range r.counts {
		n += c.LaneTotal()
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds()/1e9, "Glane/s")
}

// tile is the inner loop of a matrix product: two vectors from shared memory for 16 multiply-adds.
func tile() string {
	var s strings.Builder
	s.WriteString(`
.shared .align 16 .b8 s[8192];
mov.u32 %r0, s;
shl.b32 %r1, %t, 5;
add.s32 %r1, %r1, %r0;
mov.f32 %f0, 0f3DCCCCCD;
st.shared.v4.f32 [%r1], {%f0, %f0, %f0, %f0};
st.shared.v4.f32 [%r1+16], {%f0, %f0, %f0, %f0};
bar.sync 0;
and.b32 %r2, %t, 15;
shl.b32 %r2, %r2, 4;
add.s32 %r2, %r2, %r0;
shr.u32 %r3, %t, 4;
shl.b32 %r3, %r3, 4;
add.s32 %r3, %r3, %r0;
mov.u32 %r4, 0;
`)
	for i := range 16 {
		fmt.Fprintf(&s, "mov.f32 %%f%d, 0f00000000;\n", 16+i)
	}
	s.WriteString("L:\n")
	for k := range 8 {
		fmt.Fprintf(&s, "ld.shared.v4.f32 {%%f0, %%f1, %%f2, %%f3}, [%%r2+%d];\nld.shared.v4.f32 {%%f4, %%f5, %%f6, %%f7}, [%%r3+%d];\n", 512*k, 512*k+256)
		for i := range 16 {
			fmt.Fprintf(&s, "fma.rn.f32 %%f%d, %%f%d, %%f%d, %%f%d;\n", 16+i, i/4, 4+i%4, 16+i)
		}
	}
	s.WriteString("add.s32 %r4, %r4, 1;\nsetp.lt.s32 %p1, %r4, 32;\n@%p1 bra L;\nmul.wide.u32 %d0, %g, 4;\nadd.s64 %d0, %a1, %d0;\nst.global.f32 [%d0], %f31;")
	return kernel("sm_75", "u64 u64", s.String())
}

// streaming reads and writes global memory and does little else.
var streaming = kernel("sm_75", "u64 u64", `
mul.wide.u32 %d0, %g, 4;
add.s64 %d1, %a0, %d0;
add.s64 %d2, %a1, %d0;
ld.global.nc.f32 %f0, [%d1];
ld.global.f32 %f1, [%d2];
fma.rn.f32 %f1, %f0, 0f3F000000, %f1;
max.f32 %f1, %f1, 0f00000000;
st.global.f32 [%d2], %f1;
`)

func BenchmarkTile(b *testing.B)   { benchmark(b, Checks{}, tile(), 16, 256*16) }
func BenchmarkStream(b *testing.B) { benchmark(b, Checks{}, streaming, 512, 256*512) }

func BenchmarkTileUnchecked(b *testing.B) {
	benchmark(b, Checks{Init: true, Race: true, GlobalRace: true, Count: true}, tile(), 16, 256*16)
}
