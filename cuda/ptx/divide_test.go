package ptx

import (
	"math"
	"math/rand"
	"strings"
	"testing"
)

// n/by is what the multiplication gives, for n round the multiples of by where it could first be wrong.
func TestReciprocal(t *testing.T) {
	r := rand.New(rand.NewSource(1))
	divisors := []uint32{math.MaxUint32, math.MaxUint32 - 1, 1<<31 + 1, 1<<31 - 1, 641, 6700417}
	for by := range uint32(3000) {
		divisors = append(divisors, by, r.Uint32()>>(by%30))
	}
	for _, by := range divisors {
		if by&(by-1) == 0 {
			continue
		}
		m, shift, wide := reciprocal(by)
		for i := range 200 {
			n := []uint32{0, by - 1, by, math.MaxUint32, math.MaxUint32 / by * by, math.MaxUint32/by*by - 1}[i%6]
			if i >= 6 {
				n = r.Uint32()/by*by - uint32(i%2)
			}
			got := uint64(n) * uint64(m) >> 32
			if wide {
				got += uint64(n)
			}
			if got >>= shift; got != uint64(n/by) {
				t.Fatalf("%d/%d is %d by multiplication with %#x, shift %d, wide %v", n, by, got, m, shift, wide)
			}
		}
	}
}

func TestDivideByConstants(t *testing.T) {
	const declared = ".reg .b32 %quotient<3>;\n\t"
	for _, c := range []struct{ name, text, want string }{
		{"power of 2", "div.u32 %r1, %r2, 16; rem.u32 %r3, %r2, 0x10;", declared + "shr.u32 %r1, %r2, 4; and.b32 %r3, %r2, 15;"},
		{"1", "div.u32 %r1, %r2, 1; rem.u32 %r3, %r2, 1;", declared + "shr.u32 %r1, %r2, 0; and.b32 %r3, %r2, 0;"},
		{"quotient", "div.u32 %r1, %r2, 3;", declared + "mul.hi.u32 %quotient0, %r2, 0xAAAAAAAB; shr.u32 %r1, %quotient0, 1;"},
		{"wide quotient", "div.u32 %r1, %r2, 7;", declared + "mul.hi.u32 %quotient0, %r2, 0x24924925; sub.s32 %quotient1, %r2, %quotient0; " +
			"shr.u32 %quotient1, %quotient1, 1; add.s32 %quotient1, %quotient1, %quotient0; shr.u32 %r1, %quotient1, 2;"},
		{"remainder", "rem.u32 %r2, %r2, 3;", declared + "mul.hi.u32 %quotient0, %r2, 0xAAAAAAAB; shr.u32 %quotient2, %quotient0, 1; " +
			"mul.lo.s32 %quotient1, %quotient2, 3; sub.s32 %r2, %r2, %quotient1;"},
		{"of what follows from constants", "mov.u32 %r1, 0xE; add.s32 %r3, %r1, -6; mad.lo.s32 %r4, %r3, 2, %r1; mov.u32 %r2, %tid.x; div.u32 %r5, %r2, %r3; rem.u32 %r6, %r2, %r4;",
			declared + "mov.u32 %r1, 0xE; add.s32 %r3, %r1, -6; mad.lo.s32 %r4, %r3, 2, %r1; mov.u32 %r2, %tid.x; shr.u32 %r5, %r2, 3; mul.hi.u32 %quotient0, %r2, 0x88888889; " +
				"shr.u32 %quotient2, %quotient0, 4; mul.lo.s32 %quotient1, %quotient2, 30; sub.s32 %r6, %r2, %quotient1;"},
		{"by what is not known", "mov.u32 %r1, %ntid.x; div.u32 %r3, %r2, %r1;", ""},
		{"by what is written twice", "mov.u32 %r1, 4; $again: div.u32 %r3, %r2, %r1; add.s32 %r1, %r1, 4; @%p1 bra $again;", ""},
		{"by what is loaded with others", "mov.u32 %r1, 4; ld.global.v2.u32 {%r0, %r1}, [%rd1]; div.u32 %r3, %r2, %r1;", ""},
		{"by what is set under a guard", "@%p1 mov.u32 %r1, 4; div.u32 %r3, %r2, %r1;", ""},
		{"under a guard", "@!%p1 div.u32 %r3, %r2, 4;", ""},
		{"by 0", "div.u32 %r3, %r2, 0;", ""},
		{"of signed numbers", "div.s32 %r3, %r2, 4;", ""},
	} {
		want := c.want
		if want == "" {
			want = c.text
		}
		if got := divideByConstants(c.text); got != want {
			t.Errorf("%s:\n%s\nwant\n%s", c.name, strings.ReplaceAll(got, "; ", ";\n"), strings.ReplaceAll(want, "; ", ";\n"))
		}
	}
}
