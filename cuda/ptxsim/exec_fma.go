package ptxsim

import "math"

// fmaLoop is fma.rn.f32, the instruction that kernels mostly consist of.
//
//go:norace
func fmaLoop(w *warp, in *inst, _ uint32) {
	d, a, b, c := w.f32(in.d), w.f32(in.a), w.f32(in.b), w.f32(in.c)
	if haveFMA {
		fmaAVX(d, a, b, c)
		return
	}
	fmaPlain(quads(d), quads(a), quads(b), quads(c))
}

// fmaPlain is fma32 inlined, and four lanes at a time, because the conversions of one lane would otherwise wait for those of
// the lane before.
//
//go:norace
func fmaPlain(d, a, b, c *[8][4]float32) {
	const low = 1<<28 - 1
	for i := range d {
		a, b, c := &a[i], &b[i], &c[i]
		z0, z1, z2, z3 := float64(c[0]), float64(c[1]), float64(c[2]), float64(c[3])
		s0 := float64(a[0])*float64(b[0]) + z0
		s1 := float64(a[1])*float64(b[1]) + z1
		s2 := float64(a[2])*float64(b[2]) + z2
		s3 := float64(a[3])*float64(b[3]) + z3
		r0, r1, r2, r3 := float32(s0), float32(s1), float32(s2), float32(s3)
		if math.Float64bits(s0)&low == 0 || math.Float64bits(s1)&low == 0 || math.Float64bits(s2)&low == 0 || math.Float64bits(s3)&low == 0 {
			if float64(r0) != s0 || float64(r1) != s1 || float64(r2) != s2 || float64(r3) != s3 {
				r0, r1, r2, r3 = fma32(a[0], b[0], c[0]), fma32(a[1], b[1], c[1]), fma32(a[2], b[2], c[2]), fma32(a[3], b[3], c[3])
			}
		}
		d[i] = [4]float32{r0, r1, r2, r3}
	}
}
