package sass

import (
	"math"
	"math/big"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/convae/convae/cuda/driver"
)

func TestOccupancy(t *testing.T) {
	h100, err := FindMachine("h100")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ threads, registers, shared, want int }{
		{256, 28, 0, 8},       // by warps
		{128, 116, 22528, 4},  // by registers
		{64, 94, 8704, 10},    // by registers, of which a scheduler has five warps
		{128, 168, 38912, 3},  // by registers
		{32, 103, 6784, 16},   // by registers
		{32, 16, 0, 32},       // by blocks
		{32, 32, 60 << 10, 3}, // by shared memory
		{32, 32, 75 << 10, 3}, // which is all taken
		{32, 32, 227 << 10, 1},
		{1024, 255, 0, 0}, // not at all
	} {
		if n := h100.Occupancy(c.threads, c.registers, c.shared); n != c.want {
			t.Errorf("%d threads, %d registers, %d bytes: %d blocks, want %d", c.threads, c.registers, c.shared, n, c.want)
		}
	}
	if _, err := FindMachine("k80"); err == nil || !strings.Contains(err.Error(), `machine is "k80", want h100, h200, a100, rtx4090`) {
		t.Errorf("error %v", err)
	}
}

// What is not on the list is an error that names it.
func TestUnknown(t *testing.T) {
	for text, want := range map[string]string{
		"DADD R0, R2, R4":            "opcode DADD is not known",
		"FFMA.FTZ R0, R1, R2, R3":    "opcode FFMA.FTZ is not known",
		"IADD3 R0, R1":               "has operands that are not known",
		"S2R R0, SR_CLOCK":           "special register SR_CLOCK is not known",
		"LDC R0, c[0x7][0x0]":        "bank is not known",
		"@R1 MOV R0, R2":             "is not a predicate",
		"MOV R0, Q7":                 `number "Q7"`,
		"LDG.E R0, desc[UR4][F2.64]": `number "F2.64"`,
	} {
		if _, err := decode(text, 0, 0); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q", text, err, want)
		}
	}
}

func TestControl(t *testing.T) {
	// stall 5, yield, write board 2, read board 7, wait for boards 0 and 3, reuse of the first operand
	bits := uint64(5 | 1<<4 | 2<<5 | 7<<8 | 9<<11 | 1<<17)
	if c, want := controlOf(bits<<41), (Control{5, true, 2, 7, 9, 1}); c != want {
		t.Errorf("%+v, want %+v", c, want)
	}
}

// one executes an instruction whose operands R1..R7 hold random values, and P0, P1.
func one(t *testing.T, text string, imm uint32, r *rand.Rand) (w *warp, in *warp) {
	t.Helper()
	i, err := decode(text, uint64(imm)<<32, 0)
	if err != nil {
		t.Fatal(err)
	}
	k := &Kernel{Name: "test", Registers: 16, Code: []Inst{i, {}}}
	x := newExecutor(k, &Launch{Grid: driver.Dim3{X: 1, Y: 1, Z: 1}, Block: driver.Dim3{X: 32, Y: 1, Z: 1}}, newMemory(nil))
	fill := func() *warp { return x.block(0).warps[0] }
	w, in = fill(), fill()
	for n := range w.regs {
		for l := range w.regs[n] {
			v := r.Uint32()
			if l%4 == 0 { // floats of like size, whose sums cancel
				v = math.Float32bits(float32(r.NormFloat64()))
			}
			w.regs[n][l] = v
		}
	}
	w.p[0], w.p[1] = r.Uint32(), r.Uint32()
	copy(in.regs, w.regs)
	in.p = w.p
	x.step(w)
	return w, in
}

func exactFMA(a, b, c float32) float32 {
	f := func(v float32) *big.Float { return new(big.Float).SetPrec(700).SetFloat64(float64(v)) }
	p := new(big.Float).SetPrec(700).Mul(f(a), f(b))
	v, _ := p.Add(p, f(c)).Float32()
	return v
}

// The semantics of arithmetic, against Go's own.
func TestArithmetic(t *testing.T) {
	f, b := math.Float32frombits, math.Float32bits
	type inputs struct{ a, b, c, d uint32 }
	for text, want := range map[string]func(i inputs, p0 uint32) uint32{
		"FADD R0, R1, -R2":                 func(i inputs, _ uint32) uint32 { return b(f(i.a) - f(i.b)) },
		"FMUL R0, |R1|, R2":                func(i inputs, _ uint32) uint32 { return b(float32(math.Abs(float64(f(i.a)))) * f(i.b)) },
		"FSEL R0, R1, R2, P0":              func(i inputs, p uint32) uint32 { return map[uint32]uint32{1: i.a, 0: i.b}[p] },
		"IADD3 R0, R1, -R2, R3":            func(i inputs, _ uint32) uint32 { return i.a - i.b + i.c },
		"IADD3.X R0, R1, ~R2, R3, P0, !PT": func(i inputs, p uint32) uint32 { return i.a + ^i.b + i.c + p },
		"IMAD R0, R1, R2, R3":              func(i inputs, _ uint32) uint32 { return i.a*i.b + i.c },
		"IMAD.X R0, R1, R2, R3, P0":        func(i inputs, p uint32) uint32 { return i.a*i.b + i.c + p },
		"IMAD.HI.U32 R0, R1, R2, RZ":       func(i inputs, _ uint32) uint32 { return uint32(uint64(i.a) * uint64(i.b) >> 32) },
		"IMAD.WIDE R0, R1, R2, RZ":         func(i inputs, _ uint32) uint32 { return uint32(int64(int32(i.a)) * int64(int32(i.b))) },
		"LEA R0, R1, R2, 0x3":              func(i inputs, _ uint32) uint32 { return i.a<<3 + i.b },
		"LEA.HI R0, R1, R2, R3, 0x5": func(i inputs, _ uint32) uint32 {
			return uint32((uint64(i.c)<<32|uint64(i.a))<<5>>32) + i.b
		},
		"LEA.HI.X.SX32 R0, R1, R2, 0x4, P0":    func(i inputs, p uint32) uint32 { return uint32(int64(int32(i.a))<<4>>32) + i.b + p },
		"LOP3.LUT R0, R1, R2, R3, 0x96, !PT":   func(i inputs, _ uint32) uint32 { return i.a ^ i.b ^ i.c },
		"LOP3.LUT R0, R1, 0xff, R3, 0xf8, !PT": func(i inputs, _ uint32) uint32 { return i.a | 0xff&i.c },
		"PRMT R0, R1, 0x5410, R3":              func(i inputs, _ uint32) uint32 { return i.a&0xffff | i.c<<16 },
		"SHF.R.U32.HI R0, RZ, 0x7, R1":         func(i inputs, _ uint32) uint32 { return i.a >> 7 },
		"SHF.R.S32.HI R0, RZ, 0x1f, R1":        func(i inputs, _ uint32) uint32 { return uint32(int32(i.a) >> 31) },
		"SHF.L.U32 R0, R1, 0x4, RZ":            func(i inputs, _ uint32) uint32 { return i.a << 4 },
		"SHF.L.U64.HI R0, R1, 0x2, R2":         func(i inputs, _ uint32) uint32 { return i.b<<2 | i.a>>30 },
		"SHF.R.U64 R0, R1, 0x3, R2":            func(i inputs, _ uint32) uint32 { return i.a>>3 | i.b<<29 },
		"VIMNMX R0, R1, R2, PT":                func(i inputs, _ uint32) uint32 { return uint32(min(int32(i.a), int32(i.b))) },
		"VIADDMNMX.U32 R0, R1, R2, R3, !PT":    func(i inputs, _ uint32) uint32 { return max(i.a+i.b, i.c) },
		"I2FP.F32.S32 R0, R1":                  func(i inputs, _ uint32) uint32 { return b(float32(int32(i.a))) },
		"F2FP.BF16.F32.PACK_AB R0, R1, -R2": func(i inputs, _ uint32) uint32 {
			half := func(v uint32) uint32 { // truncated, and what is lost decides
				if v&0x7fffffff > 0x7f800000 {
					return 0x7fff
				}
				up := v>>16 + 1
				if lost := v & 0xffff; lost < 0x8000 || lost == 0x8000 && up&1 != 0 {
					up--
				}
				return up
			}
			return half(i.a)<<16 | half(i.b^1<<31)
		},
		"IABS R0, R1":              func(i inputs, _ uint32) uint32 { return uint32(max(int32(i.a), -int32(i.a))) },
		"SEL R0, R1, R2, !P0":      func(i inputs, p uint32) uint32 { return map[uint32]uint32{0: i.a, 1: i.b}[p] },
		"FRND R0, R1":              func(i inputs, _ uint32) uint32 { return b(float32(math.RoundToEven(float64(f(i.a))))) },
		"MUFU.RCP R0, R1":          func(i inputs, _ uint32) uint32 { return b(1 / f(i.a)) },
		"VIADD R0, R1, 0xffffffff": func(i inputs, _ uint32) uint32 { return i.a - 1 },
	} {
		r := rand.New(rand.NewPCG(1, 2))
		for range 20 {
			w, in := one(t, text, 0, r)
			for l := range 32 {
				g := w.regs[0][l]
				v := want(inputs{in.regs[1][l], in.regs[2][l], in.regs[3][l], in.regs[4][l]}, in.p[0]>>l&1)
				if g != v && !(f(g) != f(g) && f(v) != f(v)) {
					t.Fatalf("%s: %#x of %#x, %#x, %#x, want %#x", text, g, in.regs[1][l], in.regs[2][l], in.regs[3][l], v)
				}
			}
		}
	}
}

// A shifted value that is subtracted carries unless it is more than what it is subtracted from, so also if it is 0.
func TestCarryOfDifference(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for text, a := range map[string]int{"LEA R0, P1, -R1, R2, 0x3": 1, "LEA R0, P1, -RZ, R2, 0x3": -1} {
		w, in := one(t, text, 0, r)
		for l := range 32 {
			var v uint32
			if a >= 0 {
				v = in.regs[a][l] << 3
			}
			if g, want := w.p[1]>>l&1 != 0, in.regs[2][l] >= v; g != want || w.regs[0][l] != in.regs[2][l]-v {
				t.Errorf("%s: %#x of %#x and %#x with carry %v, want %v", text, w.regs[0][l], v, in.regs[2][l], g, want)
			}
		}
	}
}

// A multiply-add rounds once.
func TestFMA(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 200000 {
		pick := func() float32 { // few bits and exponents, so that ties come up
			return float32(math.Ldexp(float64(r.IntN(1<<(1+r.IntN(24)))-1<<12), r.IntN(60)-40))
		}
		a, b, c := pick(), pick(), pick()
		if g, w := fma32(a, b, c), exactFMA(a, b, c); g != w {
			t.Fatalf("%g*%g+%g is %g, want %g", a, b, c, g, w)
		}
	}
}

// A launch whose machine code does something else than its PTX is noticed: a wrong value, and a store that is missing.
func TestPlantedFault(t *testing.T) {
	for text, want := range map[string]string{
		"MOV R4, 0x8": "word 0 is 08 00 00 00, by the PTX 07 00 00 00",
		"EXIT":        "byte 0 is written by the PTX alone",
	} {
		k := &Kernel{Name: "planted", Registers: 8}
		for _, line := range []string{"MOV R2, 0x1000", "MOV R3, RZ", text, "STG.E desc[UR4][R2.64], R4", "EXIT"} {
			in, err := decode(line, 0, 0)
			if err != nil {
				t.Fatal(err)
			}
			k.Code = append(k.Code, in)
		}
		data := make([]byte, 256)
		one := driver.Dim3{X: 1, Y: 1, Z: 1}
		r, err := k.Execute(&Launch{Grid: one, Block: one, Memory: []Region{{0x1000, data}}})
		if err != nil {
			t.Fatal(err)
		}
		data[0] = 7 // what the PTX stores
		if err := r.Compare(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q", text, err, want)
		}
	}
}

// What ptxas says of a kernel is kept.
func TestResources(t *testing.T) {
	log := `ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function 'a' for 'sm_90'
ptxas info    : Function properties for a
    24 bytes stack frame, 20 bytes spill stores, 4 bytes spill loads
ptxas info    : Used 128 registers, 1024 bytes smem
ptxas info    : Compiling entry function 'b' for 'sm_90'
ptxas info    : Function properties for b
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 32 registers
`
	ks := map[string]*Kernel{"a": {}, "b": {}}
	if err := resources(log, ks); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]Kernel{"a": {Registers: 128, Shared: 1024, Spills: 24}, "b": {Registers: 32}} {
		if k := ks[name]; k.Registers != want.Registers || k.Shared != want.Shared || k.Spills != want.Spills {
			t.Errorf("%s takes %+v, want %+v", name, *k, want)
		}
	}
	ks["c"] = &Kernel{}
	if err := resources(log, ks); err == nil {
		t.Error("a kernel of which ptxas says nothing is no error")
	}
}
