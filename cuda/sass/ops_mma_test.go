package sass

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/convae/convae/cuda/driver"
	"github.com/convae/convae/cuda/ptxsim"
)

// matrixForms are the products of matrices: the columns of a, and an element's bits.
var matrixForms = map[string]struct {
	k    int
	bits func(float32) uint32
}{
	"HMMA.1688.F32.TF32":  {8, func(f float32) uint32 { return bitsOf(f) | 0x1fff }}, // the bits that do not count are set
	"HMMA.16816.F32.BF16": {16, func(f float32) uint32 { return bitsOf(f) >> 16 }},
	"HMMA.16816.F32": {16, func(f float32) uint32 { // of small integers
		if f == 0 {
			return 0
		}
		u := bitsOf(f)
		return u>>16&0x8000 | (u>>23&0xff-112)<<10 | u>>13&0x3ff
	}},
}

// A product is that of the matrices whose elements lie where the PTX manual says. They are small integers, so sums are exact.
func TestMatrixProduct(t *testing.T) {
	for name, form := range matrixForms {
		r := rand.New(rand.NewPCG(5, 6))
		small := func() float32 { return float32(r.IntN(17) - 8) }
		a, b, c := make([]float32, 16*form.k), make([]float32, form.k*8), make([]float32, 16*8)
		for _, m := range [][]float32{a, b, c} {
			for i := range m {
				m[i] = small()
			}
		}
		w, step := single(t, name+" R12, R0, R4, R8")
		for l := range 32 {
			g, q := l/4, l%4
			for i, at := range [][2]int{{g, 0}, {g + 8, 0}, {g, 1}, {g + 8, 1}} { // row, half of the columns
				w.regs[i][l] = fragment(form.k, form.bits, q, at[1], func(k int) float32 { return a[at[0]*form.k+k] })
			}
			for i := range 2 {
				w.regs[4+i][l] = fragment(form.k, form.bits, q, i, func(k int) float32 { return b[k*8+g] })
			}
			for i := range 4 {
				w.regs[8+i][l] = bitsOf(c[(g+i/2*8)*8+2*q+i%2])
			}
		}
		step()
		for l := range 32 {
			for i := range 4 {
				row, column := l/4+i/2*8, l%4*2+i%2
				want := c[row*8+column]
				for k := range form.k {
					want += a[row*form.k+k] * b[k*8+column]
				}
				if v := float(w.regs[12+i][l]); v != want {
					t.Fatalf("%s: row %d, column %d is %v, want %v", name, row, column, v, want)
				}
			}
		}
	}
}

// fragment is the register of lane q of four with the elements of a half of the k columns: one of 32 bits, or two of 16.
func fragment(k int, bits func(float32) uint32, q, half int, at func(k int) float32) uint32 {
	if k == 8 {
		return bits(at(q + half*4))
	}
	return bits(at(2*q+half*8)) | bits(at(2*q+half*8+1))<<16
}

// single makes a warp whose registers are to be set, and a function that executes one instruction.
func single(t *testing.T, text string) (w *warp, step func()) {
	t.Helper()
	in, err := decode(text, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	k := &Kernel{Name: "test", Registers: 16, Shared: 1024, Code: []Inst{in, {}}}
	x := newExecutor(k, &Launch{Grid: driver.Dim3{X: 1, Y: 1, Z: 1}, Block: driver.Dim3{X: 32, Y: 1, Z: 1}}, newMemory(nil))
	w = x.block(0).warps[0]
	return w, func() { x.step(w) }
}

func TestHalf(t *testing.T) {
	for bits, want := range map[uint16]float64{0x3c00: 1, 0xc100: -2.5, 0x7bff: 65504, 1: 0x1p-24, 0x83ff: -1023 * 0x1p-24, 0x7c00: math.Inf(1)} {
		if v := half(bits); v != want {
			t.Errorf("%#x is %v, want %v", bits, v, want)
		}
	}
	if v := half(0x8000); v != 0 || !math.Signbit(v) {
		t.Errorf("0x8000 is %v, want -0", v)
	}
	if v := half(0x7e01); v == v {
		t.Errorf("0x7e01 is %v, want NaN", v)
	}
}

// A load of matrices takes a pass of shared memory for each, and as many more as rows share banks.
func TestLoadOfMatrices(t *testing.T) {
	for text, want := range map[string]struct{ pitch, passes int }{
		"LDSM.16.M88 R1, [R0]":        {16, 1},
		"LDSM.16.M88.4 R1, [R0+0x10]": {16, 4},
		"LDSM.16.MT88.2 R1, [R0]":     {32, 4}, // every other row in the same banks
		"LDSM.16.M88.2 R0, [R0]":      {16, 2}, // to where the addresses were
	} {
		in, err := decode(text, 0, 0)
		if err != nil {
			t.Fatal(err)
		}
		k := &Kernel{Name: "test", Registers: 16, Shared: 2048, Code: []Inst{in, {}}}
		x := newExecutor(k, &Launch{Grid: driver.Dim3{X: 1, Y: 1, Z: 1}, Block: driver.Dim3{X: 32, Y: 1, Z: 1}}, newMemory(nil))
		w := x.block(0).warps[0]
		for i := range 1024 {
			binary.LittleEndian.PutUint16(w.blk.shared[2*i:], uint16(i))
		}
		for l := range 32 {
			w.regs[0][l] = uint32(sharedBase + l*want.pitch)
		}
		x.step(w)
		if n := wavefronts(&x.access); n != want.passes {
			t.Errorf("%s takes %d passes, want %d", text, n, want.passes)
		}
		matrices, transposed := matricesOf(text)
		for l := range 32 {
			for i := range matrices {
				at := func(row, column int) uint32 {
					if transposed {
						row, column = column, row
					}
					return uint32(((8*i+row)*want.pitch+int(in.o[1].off))/2 + column)
				}
				v := at(l/4, l%4*2) | at(l/4, l%4*2+1)<<16
				if g := w.regs[in.o[0].r+i][l]; g != v {
					t.Fatalf("%s: lane %d has %#x of matrix %d, want %#x", text, l, g, i, v)
				}
			}
		}
	}
}

// matricesOf reads from an instruction how many matrices it loads, and whether it transposes them.
func matricesOf(text string) (matrices int, transposed bool) {
	name, _, _ := strings.Cut(text, " ")
	matrices = 1
	if _, n, ok := strings.Cut(name, "88."); ok {
		matrices = int(n[0] - '0')
	}
	return matrices, strings.Contains(name, "MT")
}

// matrixKernel is a kernel of a warp whose lanes each store a line to shared memory, load matrices from there in all ways and multiply
// them in all types.
func matrixKernel() string {
	var s strings.Builder
	s.WriteString(`.version 7.0
.target sm_80
.address_size 64
.visible .entry matrices(.param .u64 out, .param .u64 in)
{
.reg .b32 %r<40>;
.reg .b64 %d<4>;
.reg .f32 %f<4>;
.shared .align 16 .b8 s[512];
ld.param.u64 %d0, [out];
ld.param.u64 %d1, [in];
mov.u32 %r0, %tid.x;
mul.wide.u32 %d2, %r0, 16;
add.s64 %d1, %d1, %d2;
add.s64 %d0, %d0, %d2;
ld.global.v4.u32 {%r1, %r2, %r3, %r4}, [%d1];
shl.b32 %r5, %r0, 4;
mov.u32 %r6, s;
add.s32 %r5, %r5, %r6;
st.shared.v4.u32 [%r5], {%r1, %r2, %r3, %r4};
bar.sync 0;
ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%r10, %r11, %r12, %r13}, [%r5];
ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%r14, %r15, %r16, %r17}, [%r5];
ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%r18, %r19}, [%r5];
ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%r20, %r21}, [%r5];
ldmatrix.sync.aligned.m8n8.x1.shared.b16 {%r22}, [%r5];
ldmatrix.sync.aligned.m8n8.x1.trans.shared.b16 {%r23}, [%r5];
mov.f32 %f0, 0f00000000;
mov.f32 %f1, 0f3f800000;
mov.f32 %f2, 0f3f800000;
mov.f32 %f3, 0fbf800000;
`)
	for _, form := range []string{"m16n8k8.row.col.f32.tf32.tf32.f32", "m16n8k16.row.col.f32.bf16.bf16.f32", "m16n8k16.row.col.f32.f16.f16.f32"} {
		for _, factors := range []string{"{%r10, %r11, %r12, %r13}, {%r18, %r19}", "{%r14, %r15, %r16, %r17}, {%r20, %r21}", "{%r10, %r15, %r12, %r17}, {%r22, %r23}"} {
			fmt.Fprintf(&s, "mma.sync.aligned.%s {%%f0, %%f1, %%f2, %%f3}, %s, {%%f0, %%f1, %%f2, %%f3};\n", form, factors)
		}
	}
	s.WriteString("st.global.v4.f32 [%d0], {%f0, %f1, %f2, %f3};\nret;\n}\n")
	return s.String()
}

// The machine code of products of matrices gives the bits that the PTX gives.
func TestMatrixBits(t *testing.T) { sameBits(t, matrixKernel(), "matrices", 32, 512, 512) }

// sameBits launches a kernel of one block, with the addresses of its results and of 16-bit floats for arguments, on the PTX simulator,
// and the machine code beside it, several times. The results are numbers that say something.
func sameBits(t *testing.T, ptx, entry string, threads, results, inputs int) {
	t.Helper()
	c, err := NewCompiler()
	if errors.Is(err, ErrNoTools) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	watch := &Watch{Active: true, Compiler: c}
	d, err := ptxsim.New(ptxsim.Options{Major: 9, BeforeLaunch: watch.Before, OnLaunch: watch.After}).Open(0)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	ok := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	m, err := d.Load(ptx)
	ok(err)
	f, err := m.Function(entry)
	ok(err)
	out, err := d.Alloc(results)
	ok(err)
	in, err := d.Alloc(inputs)
	ok(err)
	s, err := d.NewStream()
	ok(err)
	r := rand.New(rand.NewPCG(7, 8))
	data := make([]byte, inputs)
	const times = 20
	for range times {
		for i := range inputs / 2 { // floats of 16 bits of like size, with all bits of their fractions; two are one of 32 too
			binary.LittleEndian.PutUint16(data[2*i:], uint16(r.IntN(2)<<15|0x3a00+r.IntN(0x800)))
		}
		ok(s.ToDevice(in, data))
		ok(s.Launch(&driver.Launch{Function: f, Grid: driver.Dim3{X: 1}, Block: driver.Dim3{X: threads}, Args: []uint64{uint64(out), uint64(in)}}))
		ok(s.Synchronize())
		ok(watch.Err())
	}
	if n := watch.Launches(); n != times {
		t.Errorf("%d launches were compared, want %d", n, times)
	}
	result := make([]byte, results)
	ok(s.ToHost(result, out))
	ok(s.Synchronize())
	for i := range results / 4 {
		if v := float64(float(binary.LittleEndian.Uint32(result[4*i:]))); v == 0 || v != v || math.IsInf(v, 0) {
			t.Fatalf("result %d is %v, which says nothing", i, v)
		}
	}
}

// A tensor core takes as long for a product as the machine says, and a product that waits for another as long as ptxas says.
func TestMatrixTime(t *testing.T) {
	const n = 200
	kernel := func(text string, stall int) *Kernel {
		k := &Kernel{Name: "products", Registers: 32}
		for i := range n + 1 {
			if i == n {
				text = "EXIT"
			}
			in, err := decode(text, 0, 0)
			if err != nil {
				t.Fatal(err)
			}
			in.Control = Control{Stall: stall, Write: 7, Read: 7}
			k.Code = append(k.Code, in)
		}
		return k
	}
	for _, m := range Machines {
		m.SMs, m.L2Latency = 1, 0
		time := func(k *Kernel, warps int) *Count {
			t.Helper()
			c, _, err := k.Time(&m, &Launch{Grid: driver.Dim3{X: 1, Y: 1, Z: 1}, Block: driver.Dim3{X: 32 * warps, Y: 1, Z: 1}})
			if err != nil {
				t.Fatal(err)
			}
			return c
		}
		const warps = 16 // four for each tensor core
		c := time(kernel("HMMA.16816.F32.BF16 R8, R0, R4, R8", 2), warps)
		least := float64(warps/schedulers*n*m.Tensor) / 100
		if v := float64(c.Cycles); v < least-float64(m.Tensor)/100 || v > least+10 { // nobody waits for the last one
			t.Errorf("%s: %d products for each tensor core take %v cycles, want %v", m.Name, warps/schedulers*n, v, least)
		}
		if share := m.TensorShare(c); share < 0.99 || share > 1.002 {
			t.Errorf("%s: the tensor cores are taken for %v of the time, want 1", m.Name, share)
		}
		if want := int64(warps * n); c.MMAs != want || c.Products != 64*want || c.FMAs != 0 || m.ArithmeticCycles(c) != want*m.TensorPeak/400 {
			t.Errorf("%s: %d products of matrices, %d multiply-adds a lane, %d of floats, at least %d cycles", m.Name, c.MMAs, c.Products, c.FMAs, m.ArithmeticCycles(c))
		}
		if chain := time(kernel("HMMA.1688.F32.TF32 R8, R0, R4, R8", 40), 1); chain.Cycles < 40*n || chain.Cycles > 40*n+10 || chain.Products != 32*n {
			t.Errorf("%s: %d products that wait 40 cycles each take %d, with %d multiply-adds a lane", m.Name, n, chain.Cycles, chain.Products)
		}
	}
}

// An instruction of a whole warp fails when lanes are missing.
func TestMatrixNeedsAllLanes(t *testing.T) {
	for _, text := range []string{"HMMA.16816.F32 R12, R0, R4, R8", "LDSM.16.M88 R1, [R0]"} {
		w, step := single(t, "@P0 "+text)
		w.p[0] = 0xffff
		err := func() (err error) {
			defer caught("test", &err)
			step()
			return nil
		}()
		if err == nil || !strings.Contains(err.Error(), "lanes 0xffff of warp 0, want all") {
			t.Errorf("%s: error %v", text, err)
		}
	}
}
