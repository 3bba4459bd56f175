package ptxsim

import (
	"fmt"
	"math"
	"math/bits"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"

	"github.com/convae/convae/cuda/driver"
)

// naive runs the text of a kernel thread by thread, a line at a time, with registers in a map. It shares nothing with the
// simulator, knows only what random programs use, and does not check anything.
type naive struct {
	lines  []string
	labels map[string]int
	global map[uint64]uint32
	shared map[uint64]uint32
}

type naiveThread struct {
	pc   int
	regs map[string]uint64
	done bool
}

func newNaive(body string) *naive {
	n := &naive{labels: map[string]int{}, global: map[uint64]uint32{}}
	for _, l := range strings.Split(body, "\n") {
		l = strings.TrimSuffix(strings.TrimSpace(l), ";")
		if name, ok := strings.CutSuffix(l, ":"); ok {
			n.labels[name] = len(n.lines)
		} else if l != "" && l[0] != '.' {
			n.lines = append(n.lines, l)
		}
	}
	return n
}

// block runs a block of threads, each with its registers set, from barrier to barrier.
func (n *naive) block(threads []*naiveThread) {
	n.shared = map[uint64]uint32{}
	for again := true; again; {
		again = false
		for _, t := range threads {
			for !t.done && !n.step(t) {
			}
			again = again || !t.done
		}
	}
}

// step runs one line and returns true at a barrier.
func (n *naive) step(t *naiveThread) bool {
	if t.pc == len(n.lines) {
		t.done = true
		return false
	}
	line := n.lines[t.pc]
	t.pc++
	if line[0] == '@' {
		guard, rest, _ := strings.Cut(line[1:], " ")
		not := guard[0] == '!'
		if (t.regs[strings.TrimPrefix(guard, "!")] != 0) == not {
			return false
		}
		line = rest
	}
	op, rest, _ := strings.Cut(line, " ")
	var args []string
	for _, a := range strings.Split(rest, ",") {
		args = append(args, strings.Trim(a, " []"))
	}
	get := func(i int) uint64 {
		a := args[i]
		if base, off, ok := strings.Cut(a, "+"); ok {
			v, _ := strconv.ParseUint(off, 10, 64)
			return t.regs[base] + v
		}
		if a[0] == '%' {
			return t.regs[a]
		}
		if strings.HasPrefix(a, "0f") {
			v, _ := strconv.ParseUint(a[2:], 16, 32)
			return v
		}
		v, err := strconv.ParseInt(a, 0, 64)
		if err != nil {
			panic(line)
		}
		return uint64(v)
	}
	u := func(i int) uint32 { return uint32(get(i)) }
	f := func(i int) float32 { return math.Float32frombits(u(i)) }
	set := func(v uint32) { t.regs[args[0]] = uint64(v) }
	setf := func(v float32) { set(math.Float32bits(v)) }
	pred := func(b bool) {
		t.regs[args[0]] = 0
		if b {
			t.regs[args[0]] = 1
		}
	}
	switch op {
	case "bra", "bra.uni":
		t.pc = n.labels[args[0]]
	case "bar.sync":
		return true
	case "ret":
		t.done = true
	case "mov.u32", "mov.b32", "mov.f32":
		set(u(1))
	case "add.u32":
		set(u(1) + u(2))
	case "sub.u32":
		set(u(1) - u(2))
	case "mul.lo.u32":
		set(u(1) * u(2))
	case "mad.lo.u32":
		set(u(1)*u(2) + u(3))
	case "mul.hi.u32":
		set(uint32(uint64(u(1)) * uint64(u(2)) >> 32))
	case "mul.wide.u32":
		t.regs[args[0]] = uint64(u(1)) * uint64(u(2))
	case "add.s64":
		t.regs[args[0]] = get(1) + get(2)
	case "and.b32":
		set(u(1) & u(2))
	case "or.b32":
		set(u(1) | u(2))
	case "xor.b32":
		set(u(1) ^ u(2))
	case "shl.b32":
		set(u(1) << min(u(2), 32))
	case "shr.s32":
		set(uint32(int32(u(1)) >> min(u(2), 31)))
	case "min.s32":
		set(uint32(min(int32(u(1)), int32(u(2)))))
	case "max.u32":
		set(max(u(1), u(2)))
	case "popc.b32":
		set(uint32(bits.OnesCount32(u(1))))
	case "setp.lt.s32":
		pred(int32(u(1)) < int32(u(2)))
	case "setp.ge.u32":
		pred(u(1) >= u(2))
	case "setp.eq.u32":
		pred(u(1) == u(2))
	case "setp.lt.f32":
		pred(f(1) < f(2))
	case "and.pred":
		pred(get(1) != 0 && get(2) != 0)
	case "not.pred":
		pred(get(1) == 0)
	case "selp.u32":
		if get(3) != 0 {
			set(u(1))
		} else {
			set(u(2))
		}
	case "add.f32":
		setf(f(1) + f(2))
	case "mul.f32":
		setf(f(1) * f(2))
	case "max.f32":
		if a, b := f(1), f(2); a > b || b != b || a == b && b == 0 && math.Signbit(float64(b)) {
			setf(a)
		} else {
			setf(b)
		}
	case "fma.rn.f32":
		setf(f32(exact32("fma", "rn", []uint64{get(1), get(2), get(3)})))
	case "cvt.rn.f32.s32":
		setf(float32(int32(u(1))))
	case "cvt.rzi.s32.f32":
		switch v := f(1); {
		case v != v:
			set(0)
		case v >= 1<<31:
			set(1<<31 - 1)
		case v <= -1<<31:
			set(1 << 31)
		default:
			set(uint32(int32(v)))
		}
	case "ld.global.u32":
		set(n.global[get(1)])
	case "st.global.u32":
		n.global[get(0)] = u(1)
	case "ld.shared.u32":
		set(n.shared[get(1)])
	case "st.shared.u32":
		n.shared[get(0)] = u(1)
	default:
		panic("naive: " + line)
	}
	return false
}

// writer makes random programs over %r0-%r7, %f0-%f3 and %p0-%p3. %r8 upwards are loop counters and scratch.
type writer struct {
	strings.Builder
	rng    *rand.Rand
	labels int
	loops  int
}

func (w *writer) line(format string, a ...any) { fmt.Fprintf(w, format+"\n", a...) }
func (w *writer) r() string                    { return fmt.Sprintf("%%r%d", w.rng.IntN(8)) }
func (w *writer) f() string                    { return fmt.Sprintf("%%f%d", w.rng.IntN(4)) }
func (w *writer) p() string                    { return fmt.Sprintf("%%p%d", w.rng.IntN(4)) }
func (w *writer) label() string                { w.labels++; return fmt.Sprintf("L%d", w.labels) }

func (w *writer) source() string {
	if w.rng.IntN(4) == 0 {
		return strconv.Itoa(int(int32(w.rng.Uint32())) >> w.rng.IntN(32))
	}
	return w.r()
}

func (w *writer) simple() {
	guard := ""
	if w.rng.IntN(4) == 0 {
		guard = "@" + []string{"", "!"}[w.rng.IntN(2)] + w.p() + " "
	}
	pick := func(s ...string) string { return s[w.rng.IntN(len(s))] }
	switch w.rng.IntN(10) {
	case 0, 1, 2:
		w.line("%s%s %s, %s, %s;", guard, pick("add.u32", "sub.u32", "mul.lo.u32", "mul.hi.u32", "and.b32", "or.b32", "xor.b32", "min.s32", "max.u32"), w.r(), w.r(), w.source())
	case 3:
		w.line("%s%s %s, %s, %d;", guard, pick("shl.b32", "shr.s32"), w.r(), w.r(), w.rng.IntN(33))
	case 4:
		w.line("%smad.lo.u32 %s, %s, %s, %s;", guard, w.r(), w.r(), w.source(), w.r())
	case 5:
		w.line("%s%s %s, %s, %s;", guard, pick("setp.lt.s32", "setp.ge.u32", "setp.eq.u32"), w.p(), w.r(), w.source())
	case 6:
		w.line("%s%s %s, %s, %s;", guard, pick("add.f32", "mul.f32", "max.f32"), w.f(), w.f(), w.f())
	case 7:
		w.line("%sfma.rn.f32 %s, %s, %s, %s;", guard, w.f(), w.f(), w.f(), w.f())
	case 8:
		switch w.rng.IntN(5) {
		case 0:
			w.line("%scvt.rn.f32.s32 %s, %s;", guard, w.f(), w.r())
		case 1:
			w.line("%scvt.rzi.s32.f32 %s, %s;", guard, w.r(), w.f())
		case 2:
			w.line("%ssetp.lt.f32 %s, %s, %s;", guard, w.p(), w.f(), w.f())
		case 3:
			w.line("%sand.pred %s, %s, %s;", guard, w.p(), w.p(), w.p())
		case 4:
			w.line("%snot.pred %s, %s;", guard, w.p(), w.p())
		}
	case 9:
		if w.rng.IntN(2) == 0 {
			w.line("%sselp.u32 %s, %s, %s, %s;", guard, w.r(), w.r(), w.source(), w.p())
		} else {
			w.line("%spopc.b32 %s, %s;", guard, w.r(), w.r())
		}
	}
}

// code writes n pieces. Only at depth 0 do all threads run together, so only there are barriers.
func (w *writer) code(n, depth int) {
	for range n {
		switch k := w.rng.IntN(12); {
		case k == 0 && depth < 3: // if, else
			other, end := w.label(), w.label()
			w.line("@%s%s bra %s;", []string{"", "!"}[w.rng.IntN(2)], w.p(), other)
			w.code(1+w.rng.IntN(4), depth+1)
			w.line("bra %s;\n%s:", end, other)
			w.code(w.rng.IntN(4), depth+1)
			w.line("%s:", end)
		case k == 1 && depth < 2 && w.loops < 8: // a loop whose length and break depend on the thread
			c := fmt.Sprintf("%%r%d", 8+w.loops)
			w.loops++
			top, end := w.label(), w.label()
			w.line("and.b32 %s, %s, 3;\nadd.u32 %s, %s, 1;\n%s:", c, w.r(), c, c, top)
			w.code(1+w.rng.IntN(3), depth+1)
			if w.rng.IntN(2) == 0 {
				w.line("@%s bra %s;", w.p(), end)
			}
			w.line("sub.u32 %s, %s, 1;\nsetp.ge.u32 %%p9, %s, 1;\n@%%p9 bra %s;\n%s:", c, c, c, top, end)
		case k == 2 && depth == 0: // exchange through shared memory
			w.line("st.shared.u32 [%%r40], %s;\nbar.sync 0;", w.r())
			w.line("mad.lo.u32 %%r41, %%t, 5, %d;\nand.b32 %%r41, %%r41, 63;\nshl.b32 %%r41, %%r41, 2;", w.rng.IntN(64))
			w.line("ld.shared.u32 %s, [%%r41];\nbar.sync 0;", w.r())
		default:
			w.simple()
		}
	}
}

func TestRandom(t *testing.T) {
	const threads, blocks = 64, 2
	count := 300
	if testing.Short() {
		count = 30
	}
	seed := uint64(20240607)
	for i := range count {
		w := &writer{rng: rand.New(rand.NewPCG(seed, uint64(i)))}
		w.line(".shared .align 4 .b8 s[256];\nshl.b32 %%r40, %%t, 2;")
		w.line("mul.wide.u32 %%d0, %%g, 64;\nadd.s64 %%d0, %%a0, %%d0;")
		for k := range 8 {
			w.line("ld.global.u32 %%r%d, [%%d0+%d];", k, 4*k)
		}
		for k := range 4 {
			w.line("cvt.rn.f32.s32 %%f%d, %%r%d;\nsetp.lt.s32 %%p%d, %%r%d, 0;", k, k, k, k+4)
		}
		for k := 8; k < 16; k++ {
			w.line("mov.u32 %%r%d, 0;", k)
		}
		w.code(20+w.rng.IntN(40), 0)
		for k := range 8 {
			w.line("st.global.u32 [%%d0+%d], %%r%d;", 4*k, k)
		}
		for k := range 4 {
			w.line("mov.b32 %%r50, %%f%d;\nst.global.u32 [%%d0+%d], %%r50;", k, 32+4*k)
			w.line("selp.u32 %%r50, 1, 0, %%p%d;\nst.global.u32 [%%d0+%d], %%r50;", k, 48+4*k)
		}
		in := make([]uint32, 16*threads*blocks)
		for k := range in {
			in[k] = w.rng.Uint32() >> w.rng.IntN(32)
		}
		o := Options{}
		r := newRig(t, o)
		p := upload(r, in)
		if err := r.run(r.load(kernel("sm_75", "u64", w.String()), "k"), blocks, threads, p); err != nil {
			t.Fatalf("program %d: %v\n%s", i, err, w.String())
		}
		got := download[uint32](r, p, len(in))

		n := newNaive(w.String())
		for k, v := range in {
			n.global[uint64(p)+uint64(4*k)] = v
		}
		for b := range blocks {
			var ts []*naiveThread
			for k := range threads {
				ts = append(ts, &naiveThread{regs: map[string]uint64{"%t": uint64(k), "%g": uint64(b*threads + k), "%a0": uint64(p)}})
			}
			n.block(ts)
		}
		for k, g := range got {
			v := n.global[uint64(p)+uint64(4*k)]
			if g != v && !(k%16 >= 8 && k%16 < 12 && nan32(uint64(g)) && nan32(uint64(v))) {
				t.Fatalf("program %d, thread %d, value %d: %#x, want %#x\n%s", i, k/16, k%16, g, v, w.String())
			}
		}
	}
}

// TestBlockShapes compares a kernel that writes its own coordinates on grids and blocks of odd shapes.
func TestBlockShapes(t *testing.T) {
	src := kernel("sm_75", "u64", `
mov.u32 %r0, %tid.y;
mov.u32 %r1, %tid.z;
mov.u32 %r2, %ntid.x;
mov.u32 %r3, %ntid.y;
mov.u32 %r4, %ctaid.x;
mov.u32 %r5, %ctaid.y;
mov.u32 %r6, %ctaid.z;
mov.u32 %r7, %nctaid.x;
mov.u32 %r8, %nctaid.y;
mov.u32 %r9, %ntid.z;
mad.lo.u32 %r10, %r6, %r8, %r5;
mad.lo.u32 %r10, %r10, %r7, %r4;
mad.lo.u32 %r10, %r10, %r9, %r1;
mad.lo.u32 %r10, %r10, %r3, %r0;
mad.lo.u32 %r10, %r10, %r2, %t;
mul.wide.u32 %d0, %r10, 4;
add.s64 %d0, %a0, %d0;
mov.u32 %r11, %laneid;
mov.u32 %r12, %warpid;
mad.lo.u32 %r13, %r12, 32, %r11;
st.global.u32 [%d0], %r13;
`)
	for _, c := range []struct{ grid, block driver.Dim3 }{
		{driver.Dim3{X: 1}, driver.Dim3{X: 1}}, {driver.Dim3{X: 3, Y: 2, Z: 5}, driver.Dim3{X: 7, Y: 3, Z: 2}}, {driver.Dim3{Y: 4}, driver.Dim3{X: 33}},
		{driver.Dim3{X: 2}, driver.Dim3{X: 16, Y: 16, Z: 4}},
	} {
		r := newRig(t, Options{Workers: 3})
		size := func(d driver.Dim3) int { return max(d.X, 1) * max(d.Y, 1) * max(d.Z, 1) }
		n := size(c.grid) * size(c.block)
		p := r.alloc(4 * n)
		f := r.load(src, "k")
		for range 2 { // contexts are used again
			r.ok(r.launch(f, c.grid, c.block, 0, p))
		}
		for i, v := range download[uint32](r, p, n) {
			if int(v) != i%size(c.block) {
				t.Fatalf("%v: thread %d is %d", c, i, v)
			}
		}
	}
}
