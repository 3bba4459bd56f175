package ptxsim

import (
	"fmt"
	"math"
	"math/big"
	"math/bits"
	"math/rand/v2"
	"strings"
	"testing"
)

// evaluate runs one instruction on rows of sources, given and returned as bits.
func evaluate(t *testing.T, op string, dst ptype, srcs []ptype, rows [][]uint64, tail string) []uint64 {
	t.Helper()
	r := newRig(t, Options{})
	reg := func(ty ptype, i int) string { return fmt.Sprintf("%%x%s%d", ty, i) }
	held := func(ty ptype) ptype { // what a register of the type is declared as
		if ty.size() == 1 && ty != tyPred || ty == tyF16 || ty == tyBf16 {
			return tyB16
		}
		return ty
	}
	var b strings.Builder
	b.WriteString(".reg .b64 %at;\nmul.wide.u32 %at, %g, 8;\nadd.s64 %a9, %a0, %at;\n")
	to := upload(r, make([]uint64, len(rows)))
	args := []any{to}
	params := "u64"
	var ops []string
	fmt.Fprintf(&b, ".reg .%s %%xd;\n", held(dst))
	for i, s := range srcs {
		col := make([]uint64, len(rows))
		for k := range rows {
			col[k] = rows[k][i]
		}
		args = append(args, upload(r, col))
		params += " u64"
		fmt.Fprintf(&b, ".reg .%s %s;\nadd.s64 %%d0, %%a%d, %%at;\n", held(s), reg(s, i), i+1)
		if s == tyPred {
			fmt.Fprintf(&b, "ld.global.u32 %%r0, [%%d0];\nsetp.ne.u32 %s, %%r0, 0;\n", reg(s, i))
		} else {
			fmt.Fprintf(&b, "ld.global.b%d %s, [%%d0];\n", 8*s.size(), reg(s, i))
		}
		ops = append(ops, reg(s, i))
	}
	fmt.Fprintf(&b, "%s %%xd, %s%s;\n", op, strings.Join(ops, ", "), tail)
	if dst == tyPred {
		b.WriteString("selp.u32 %r0, 1, 0, %xd;\nst.global.u32 [%a9], %r0;")
	} else {
		fmt.Fprintf(&b, "st.global.b%d [%%a9], %%xd;", 8*dst.size())
	}
	// The last threads of the grid repeat the last row.
	clamp := fmt.Sprintf("min.u32 %%g, %%g, %d;\n", len(rows)-1)
	f := r.load(strings.Replace(kernel("sm_80", params, b.String()), ".reg .b64 %at;", clamp+".reg .b64 %at;", 1), "k")
	if len(rows)%128 != 0 {
		r.d.checks.GlobalRace = false
	}
	r.ok(r.run(f, (len(rows)+127)/128, 128, args...))
	return download[uint64](r, to, len(rows))
}

// differs compares the results of an instruction with a reference; NaN equals NaN.
func differs(t *testing.T, op string, dst ptype, srcs []ptype, rows [][]uint64, tail string, want func(a []uint64) uint64) {
	t.Helper()
	bad := 0
	for i, g := range evaluate(t, op, dst, srcs, rows, tail) {
		w := want(rows[i]) & mask(dst)
		switch {
		case g == w, dst == tyF32 && nan32(g) && nan32(w), dst == tyF64 && nan64(g) && nan64(w):
		default:
			if bad++; bad <= 3 {
				t.Errorf("%s %x%s: %#x, want %#x", op, rows[i], tail, g, w)
			}
		}
	}
}

func mask(t ptype) uint64  { return ^uint64(0) >> (64 - 8*t.size()) }
func nan32(v uint64) bool  { return v&0x7fffffff > 0x7f800000 }
func nan64(v uint64) bool  { return v&^(1<<63) > 0x7ff<<52 }
func f32(v uint64) float32 { return math.Float32frombits(uint32(v)) }
func b32(v float32) uint64 { return uint64(math.Float32bits(v)) }

// rows is every combination of n of the values, thinned to about 20000.
func combinations(values []uint64, n int) [][]uint64 {
	total := 1
	for range n {
		total *= len(values)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	var out [][]uint64
	for i := range total {
		if total > 20000 && rng.IntN(total) > 20000 {
			continue
		}
		row := make([]uint64, n)
		for j, k := 0, i; j < n; j, k = j+1, k/len(values) {
			row[j] = values[k%len(values)]
		}
		out = append(out, row)
	}
	return out
}

// floats32 are values where float32 arithmetic goes wrong first.
func floats32() []uint64 {
	v := []uint64{
		0, 0x80000000, 1, 0x80000001, 0x007fffff, 0x807fffff, 0x00800000, 0x00800001, 0x3f800000, 0xbf800000, 0x3f800001, 0x3f7fffff,
		0x33800000, 0xb3800000, 0x33800001, 0x33000000, 0x34000000, 0x4b000000, 0x4b000001, 0x4b7fffff, 0xcb000001, 0x7f7fffff, 0xff7fffff,
		0x7f800000, 0xff800000, 0x7fc00000, 0x40490fdb, 0x3eaaaaab, 0x20000000, 0x1fffffff, 0x5f000000, 0x7f000000, 0x7e800001,
	}
	rng := rand.New(rand.NewPCG(3, 4))
	for range 12 {
		v = append(v, uint64(rng.Uint32()))
	}
	return v
}

func flush32(v uint64) uint64 {
	if v&0x7f800000 == 0 {
		v &= 0x80000000
	}
	return v
}

// exact32 is the float32 that op gives by exact arithmetic: one of add, sub, mul, fma, div, rcp and sqrt, rounded as the mode says.
func exact32(op, mode string, a []uint64) uint64 {
	x := make([]float64, 3)
	special := false
	for i, v := range a {
		x[i] = float64(f32(v))
		special = special || math.IsNaN(x[i]) || math.IsInf(x[i], 0)
	}
	if op == "sub" {
		op, x[1] = "add", -x[1]
	}
	if op == "rcp" {
		op, x[0], x[1] = "div", 1, x[0]
	}
	// What has no exact value, and zeros, float64 gets right.
	switch {
	case op == "fma" && (special || x[0] == 0 || x[1] == 0):
		if special || x[2] != 0 {
			return b32(float32(x[0]*x[1] + x[2]))
		}
		return zeroSum(x[0]*x[1], x[2], mode)
	case op == "add" && special:
		return b32(float32(x[0] + x[1]))
	case op == "mul" && (special || x[0] == 0 || x[1] == 0):
		return b32(float32(x[0] * x[1]))
	case op == "div" && (special || x[0] == 0 || x[1] == 0):
		return b32(float32(x[0] / x[1]))
	case op == "sqrt" && (special || x[0] <= 0):
		return b32(float32(math.Sqrt(x[0])))
	}
	n := func(i int) *big.Float { return new(big.Float).SetPrec(2000).SetFloat64(x[i]) }
	var v *big.Float
	switch op {
	case "add":
		v = n(0)
		v.Add(v, n(1))
		if v.Sign() == 0 {
			return zeroSum(x[0], x[1], mode)
		}
	case "mul":
		v = n(0)
		v.Mul(v, n(1))
	case "fma":
		v = n(0)
		v.Mul(v, n(1)).Add(v, n(2))
		if v.Sign() == 0 {
			return zeroSum(x[0]*x[1], x[2], mode)
		}
	case "div":
		v = n(0)
		v.Quo(v, n(1))
	case "sqrt":
		v = n(0)
		v.Sqrt(v)
	}
	r, _ := v.Float32()
	return b32(direct(r, v, mode))
}

// direct moves the nearest float32 of v as a directed rounding has it.
func direct(r float32, v *big.Float, mode string) float32 {
	over := math.IsInf(float64(r), 0)
	cmp := 0
	if over {
		cmp = int(math.Copysign(1, float64(r)))
	} else {
		cmp = new(big.Float).SetFloat64(float64(r)).Cmp(v)
	}
	down := mode == "rm" || mode == "rz" && v.Sign() > 0
	up := mode == "rp" || mode == "rz" && v.Sign() < 0
	if cmp > 0 && down {
		return math.Nextafter32(r, float32(math.Inf(-1)))
	}
	if cmp < 0 && up {
		if r == 0 && v.Sign() < 0 {
			return float32(math.Copysign(0, -1))
		}
		return math.Nextafter32(r, float32(math.Inf(1)))
	}
	return r
}

// zeroSum is an exact sum of zero.
func zeroSum(a, b float64, mode string) uint64 {
	switch {
	case a == 0 && b == 0 && math.Signbit(a) == math.Signbit(b):
		return b32(float32(a))
	case mode == "rm":
		return 0x80000000
	}
	return 0
}

func TestFloat32(t *testing.T) {
	values := floats32()
	for op, n := range map[string]int{"add": 2, "sub": 2, "mul": 2, "fma": 3, "div": 2, "rcp": 1, "sqrt": 1} {
		rows := combinations(values, n)
		for _, mode := range []string{"rn", "rz", "rm", "rp"} {
			for _, mod := range []string{"", ".ftz", ".sat", ".ftz.sat"} {
				if strings.Contains(mod, "sat") && (op == "div" || op == "rcp" || op == "sqrt") {
					continue
				}
				name := op + "." + mode + mod + ".f32"
				srcs := []ptype{tyF32, tyF32, tyF32}[:n]
				differs(t, name, tyF32, srcs, rows, "", func(a []uint64) uint64 {
					if strings.Contains(mod, "ftz") {
						b := make([]uint64, n)
						for i := range a {
							b[i] = flush32(a[i])
						}
						a = b
					}
					v := exact32(op, mode, a)
					if strings.Contains(mod, "ftz") {
						v = flush32(v)
					}
					if strings.Contains(mod, "sat") {
						if x := f32(v); !(x > 0) {
							v = 0
						} else if x > 1 {
							v = b32(1)
						}
					}
					return v
				})
			}
		}
	}
}

// TestPlainFMA looks at the multiply-add of machines without one.
func TestPlainFMA(t *testing.T) {
	for _, row := range combinations(floats32(), 3) {
		var d, a, b, c [32]float32
		a[5], b[5], c[5] = f32(row[0]), f32(row[1]), f32(row[2])
		fmaPlain(quads(&d), quads(&a), quads(&b), quads(&c))
		if got, want := b32(d[5]), exact32("fma", "rn", row); got != want && !(nan32(got) && nan32(want)) || d[4] != 0 {
			t.Errorf("%x: %x, want %x", row, got, want)
		}
	}
}

func TestFloat64(t *testing.T) {
	var values []uint64
	for _, v := range floats32() {
		values = append(values, math.Float64bits(float64(f32(v))), v<<32|v*2654435761)
	}
	values = append(values, 1, 1<<63|1, 1<<52-1, 1<<52, 0x7fefffffffffffff)
	f := math.Float64frombits
	for op, want := range map[string]func(a, b, c float64) float64{
		"add.f64": func(a, b, c float64) float64 { return a + b }, "sub.rn.f64": func(a, b, c float64) float64 { return a - b },
		"mul.f64": func(a, b, c float64) float64 { return a * b }, "div.rn.f64": func(a, b, c float64) float64 { return a / b },
		"copysign.f64": func(a, b, c float64) float64 { return math.Copysign(b, a) },
	} {
		differs(t, op, tyF64, []ptype{tyF64, tyF64}, combinations(values, 2), "", func(a []uint64) uint64 { return math.Float64bits(want(f(a[0]), f(a[1]), 0)) })
	}
	differs(t, "fma.rn.f64", tyF64, []ptype{tyF64, tyF64, tyF64}, combinations(values, 3), "", func(a []uint64) uint64 {
		return math.Float64bits(math.FMA(f(a[0]), f(a[1]), f(a[2])))
	})
	for op, want := range map[string]func(a float64) float64{
		"sqrt.rn.f64": math.Sqrt, "rcp.rn.f64": func(a float64) float64 { return 1 / a }, "neg.f64": func(a float64) float64 { return -a }, "abs.f64": math.Abs,
		"cvt.rpi.f64.f64": math.Ceil, "cvt.rmi.f64.f64": math.Floor,
	} {
		differs(t, op, tyF64, []ptype{tyF64}, combinations(values, 1), "", func(a []uint64) uint64 { return math.Float64bits(want(f(a[0]))) })
	}
}

func TestApproximations(t *testing.T) {
	rows := combinations(floats32(), 1)
	for op, want := range map[string]func(a float64) float64{
		"rcp": func(a float64) float64 { return 1 / a }, "sqrt": math.Sqrt, "rsqrt": func(a float64) float64 { return 1 / math.Sqrt(a) },
		"sin": math.Sin, "cos": math.Cos, "lg2": math.Log2, "ex2": math.Exp2,
	} {
		for _, ftz := range []string{"", ".ftz"} {
			name := op + ".approx" + ftz + ".f32"
			for i, g := range evaluate(t, name, tyF32, []ptype{tyF32}, rows, "") {
				a := rows[i][0]
				if ftz != "" {
					a = flush32(a)
				}
				w := want(float64(f32(a)))
				if ftz != "" {
					w = float64(f32(flush32(b32(float32(w)))))
				}
				got := float64(f32(g))
				if math.IsNaN(got) != math.IsNaN(w) || !math.IsNaN(w) && float32(got) != float32(w) && !(math.Abs(got-w) <= 2e-7*math.Abs(w)) {
					t.Errorf("%s of %g: %g, want %g", name, f32(a), got, w)
				}
			}
		}
	}
	for i, g := range evaluate(t, "tanh.approx.f32", tyF32, []ptype{tyF32}, rows, "") {
		if w := math.Tanh(float64(f32(rows[i][0]))); !nan32(g) && math.Abs(float64(f32(g))-w) > 1e-7 {
			t.Errorf("tanh.approx.f32 of %x: %x", rows[i], g)
		}
	}
	pairs := combinations(floats32(), 2)
	for _, op := range []string{"div.approx.f32", "div.full.f32"} {
		for i, g := range evaluate(t, op, tyF32, []ptype{tyF32, tyF32}, pairs, "") {
			a, b := f32(pairs[i][0]), f32(pairs[i][1])
			w := a / b
			if op == "div.approx.f32" && abs32(b) > 0x1p126 && !math.IsInf(float64(b), 0) && !math.IsInf(float64(a), 0) && a == a {
				w = 0
			} else if math.IsInf(float64(a), 0) && abs32(b) > 0x1p126 {
				continue
			}
			if got := f32(g); !(got == w || got != got && w != w) {
				t.Errorf("%s of %g and %g: %g, want %g", op, a, b, got, w)
			}
		}
	}
}

func TestMinMaxCompare(t *testing.T) {
	rows := combinations(floats32(), 2)
	two := []ptype{tyF32, tyF32}
	order := func(v uint64) int64 { // -0 below 0
		if v>>31 != 0 {
			return -int64(v&0x7fffffff) - 1
		}
		return int64(v)
	}
	for _, c := range []struct {
		op   string
		sign int64
		nan  bool
	}{{"min.f32", 1, false}, {"max.f32", -1, false}, {"min.NaN.f32", 1, true}, {"max.NaN.f32", -1, true}} {
		differs(t, c.op, tyF32, two, rows, "", func(a []uint64) uint64 {
			switch {
			case nan32(a[0]) && (c.nan || nan32(a[1])):
				return a[0]
			case nan32(a[1]) && c.nan:
				return a[1]
			case nan32(a[0]):
				return a[1]
			case nan32(a[1]):
				return a[0]
			case c.sign*order(a[0]) < c.sign*order(a[1]):
				return a[0]
			}
			return a[1]
		})
	}
	cmp := map[string]func(a, b float32) bool{
		"eq": func(a, b float32) bool { return a == b }, "lt": func(a, b float32) bool { return a < b }, "le": func(a, b float32) bool { return a <= b },
		"gt": func(a, b float32) bool { return a > b }, "ge": func(a, b float32) bool { return a >= b },
	}
	num := func(a, b float32) bool { return a == a && b == b }
	cmp["num"] = num
	cmp["nan"] = func(a, b float32) bool { return !num(a, b) }
	cmp["ne"] = func(a, b float32) bool { return num(a, b) && a != b }
	for _, n := range []string{"eq", "ne", "lt", "le", "gt", "ge"} {
		ordered := cmp[n]
		cmp[n+"u"] = func(a, b float32) bool { return !num(a, b) || ordered(a, b) }
	}
	is := func(b bool) uint64 {
		if b {
			return 1
		}
		return 0
	}
	for n, f := range cmp {
		differs(t, "setp."+n+".f32", tyPred, two, rows, "", func(a []uint64) uint64 { return is(f(f32(a[0]), f32(a[1]))) })
		differs(t, "setp."+n+".ftz.f32", tyPred, two, rows, "", func(a []uint64) uint64 { return is(f(f32(flush32(a[0])), f32(flush32(a[1])))) })
		differs(t, "set."+n+".u32.f32", tyU32, two, rows, "", func(a []uint64) uint64 { return -is(f(f32(a[0]), f32(a[1]))) })
		differs(t, "set."+n+".f32.f32", tyF32, two, rows, "", func(a []uint64) uint64 { return 0x3f800000 * is(f(f32(a[0]), f32(a[1]))) })
	}
	for i, row := range rows {
		rows[i] = append(row, uint64(i)&1)
	}
	three := []ptype{tyF32, tyF32, tyPred}
	differs(t, "setp.lt.and.f32", tyPred, three, rows, "", func(a []uint64) uint64 { return is(f32(a[0]) < f32(a[1])) & a[2] })
	differs(t, "setp.lt.or.f32", tyPred, three, rows, "", func(a []uint64) uint64 { return is(f32(a[0]) < f32(a[1])) | a[2] })
	differs(t, "setp.lt.xor.ftz.f32", tyPred, three, rows, "", func(a []uint64) uint64 { return is(f32(flush32(a[0])) < f32(flush32(a[1]))) ^ a[2] })
	differs(t, "selp.f32", tyF32, three, rows, "", func(a []uint64) uint64 { return a[1-a[2]&1] })
	differs(t, "slct.f32.f32", tyF32, []ptype{tyF32, tyF32, tyF32}, combinations(floats32(), 3), "", func(a []uint64) uint64 {
		if f32(a[2]) >= 0 {
			return a[0]
		}
		return a[1]
	})
	class := map[string]func(v uint64) bool{
		"finite": func(v uint64) bool { return v>>23&255 != 255 }, "infinite": func(v uint64) bool { return v&0x7fffffff == 0x7f800000 },
		"number": func(v uint64) bool { return !nan32(v) }, "notanumber": nan32, "normal": func(v uint64) bool { return v>>23&255 != 255 && v>>23&255 != 0 },
		"subnormal": func(v uint64) bool { return v>>23&255 == 0 && v&0x7fffffff != 0 },
	}
	for n, f := range class {
		differs(t, "testp."+n+".f32", tyPred, []ptype{tyF32}, combinations(floats32(), 1), "", func(a []uint64) uint64 { return is(f(a[0])) })
	}
	differs(t, "copysign.f32", tyF32, two, combinations(floats32(), 2), "", func(a []uint64) uint64 { return a[0]&0x80000000 | a[1]&0x7fffffff })
	differs(t, "neg.f32", tyF32, two[:1], combinations(floats32(), 1), "", func(a []uint64) uint64 { return a[0] ^ 0x80000000 })
	differs(t, "neg.ftz.f32", tyF32, two[:1], combinations(floats32(), 1), "", func(a []uint64) uint64 { return flush32(a[0]) ^ 0x80000000 })
	differs(t, "abs.f32", tyF32, two[:1], combinations(floats32(), 1), "", func(a []uint64) uint64 { return a[0] &^ 0x80000000 })
}

func integers(t ptype) []uint64 {
	n := 8 * t.size()
	v := []uint64{0, 1, 2, 3, 7, 31, 32, 63, 100, ^uint64(0), ^uint64(0) - 1, 1 << (n - 1), 1<<(n-1) - 1, 1<<(n-1) + 1, 0x8040201008040201, 0x123456789abcdef0, 0xff00ff00ff00ff00}
	rng := rand.New(rand.NewPCG(5, uint64(t)))
	for range 10 {
		v = append(v, rng.Uint64()>>rng.IntN(n))
	}
	for i := range v {
		v[i] &= mask(t)
	}
	return v
}

// value is an integer of type t as a number.
func value(v uint64, t ptype) *big.Int {
	if t.signed() {
		return big.NewInt(int64(extend(v, t.size())))
	}
	return new(big.Int).SetUint64(v & mask(t))
}

func low(v *big.Int) uint64 {
	return new(big.Int).And(v, new(big.Int).SetUint64(^uint64(0))).Uint64()
}

func clampTo(v *big.Int, t ptype) *big.Int {
	n := uint(8 * t.size())
	lo, hi := new(big.Int), new(big.Int).Lsh(big.NewInt(1), n)
	if t.signed() {
		lo.Rsh(hi, 1).Neg(lo)
		hi.Rsh(hi, 1)
	}
	hi.Sub(hi, big.NewInt(1))
	if v.Cmp(lo) < 0 {
		return lo
	}
	if v.Cmp(hi) > 0 {
		return hi
	}
	return v
}

var intTypes = []ptype{tyU16, tyS16, tyU32, tyS32, tyU64, tyS64}

func TestIntegers(t *testing.T) {
	type args = []*big.Int
	z := func() *big.Int { return new(big.Int) }
	ops := map[string]struct {
		n int
		f func(a args, n uint) *big.Int
	}{
		"add":    {2, func(a args, n uint) *big.Int { return z().Add(a[0], a[1]) }},
		"sub":    {2, func(a args, n uint) *big.Int { return z().Sub(a[0], a[1]) }},
		"mul.lo": {2, func(a args, n uint) *big.Int { return z().Mul(a[0], a[1]) }},
		"mul.hi": {2, func(a args, n uint) *big.Int { v := z().Mul(a[0], a[1]); return v.Rsh(v, n) }},
		"mad.lo": {3, func(a args, n uint) *big.Int { v := z().Mul(a[0], a[1]); return v.Add(v, a[2]) }},
		"mad.hi": {3, func(a args, n uint) *big.Int { v := z().Mul(a[0], a[1]); return v.Rsh(v, n).Add(v, a[2]) }},
		"sad":    {3, func(a args, n uint) *big.Int { v := z().Sub(a[0], a[1]); return v.Abs(v).Add(v, a[2]) }},
		"min":    {2, func(a args, n uint) *big.Int { return map[bool]*big.Int{true: a[0], false: a[1]}[a[0].Cmp(a[1]) < 0] }},
		"max":    {2, func(a args, n uint) *big.Int { return map[bool]*big.Int{true: a[0], false: a[1]}[a[0].Cmp(a[1]) > 0] }},
		"div":    {2, func(a args, n uint) *big.Int { return z().Quo(a[0], a[1]) }},
		"rem":    {2, func(a args, n uint) *big.Int { return z().Rem(a[0], a[1]) }},
	}
	for _, ty := range intTypes {
		n := uint(8 * ty.size())
		big2 := func(a []uint64) args {
			var v args
			for _, x := range a {
				v = append(v, value(x, ty))
			}
			return v
		}
		values := integers(ty)
		for name, op := range ops {
			rows := combinations(values, op.n)
			if name == "div" || name == "rem" {
				rows = combinations(values[1:], 2)
			}
			differs(t, name+"."+ty.String(), ty, []ptype{ty, ty, ty}[:op.n], rows, "", func(a []uint64) uint64 { return low(op.f(big2(a), n)) })
		}
		if n < 64 {
			wide := map[ptype]ptype{tyU16: tyU32, tyS16: tyS32, tyU32: tyU64, tyS32: tyS64}[ty]
			differs(t, "mul.wide."+ty.String(), wide, []ptype{ty, ty}, combinations(values, 2), "", func(a []uint64) uint64 { v := big2(a); return low(z().Mul(v[0], v[1])) })
			differs(t, "mad.wide."+ty.String(), wide, []ptype{ty, ty, wide}, combinations(values, 3), "", func(a []uint64) uint64 {
				v := big2(a[:2])
				return low(z().Mul(v[0], v[1])) + a[2]
			})
		}
		if ty.signed() {
			differs(t, "neg."+ty.String(), ty, []ptype{ty}, combinations(values, 1), "", func(a []uint64) uint64 { return -a[0] })
			differs(t, "abs."+ty.String(), ty, []ptype{ty}, combinations(values, 1), "", func(a []uint64) uint64 { return low(z().Abs(value(a[0], ty))) })
		}
		for name, f := range map[string]func(c int) bool{
			"eq": func(c int) bool { return c == 0 }, "ne": func(c int) bool { return c != 0 }, "lt": func(c int) bool { return c < 0 },
			"le": func(c int) bool { return c <= 0 }, "gt": func(c int) bool { return c > 0 }, "ge": func(c int) bool { return c >= 0 },
			"lo": func(c int) bool { return c < 0 }, "ls": func(c int) bool { return c <= 0 }, "hi": func(c int) bool { return c > 0 }, "hs": func(c int) bool { return c >= 0 },
		} {
			if ty.signed() && strings.Contains("lo ls hi hs", name) {
				continue
			}
			differs(t, "setp."+name+"."+ty.String(), tyPred, []ptype{ty, ty}, combinations(values, 2), "", func(a []uint64) uint64 {
				if f(value(a[0], ty).Cmp(value(a[1], ty))) {
					return 1
				}
				return 0
			})
		}
		var shifts [][]uint64
		for _, v := range values {
			for _, s := range []uint64{0, 1, 7, 15, 16, 17, 31, 32, 33, 63, 64, 65, 255, 1 << 31} {
				shifts = append(shifts, []uint64{v, s})
			}
		}
		differs(t, "shr."+ty.String(), ty, []ptype{ty, tyU32}, shifts, "", func(a []uint64) uint64 { return low(z().Rsh(value(a[0], ty), uint(a[1]))) })
		bt := map[uint]ptype{16: tyB16, 32: tyB32, 64: tyB64}[n]
		differs(t, "shl."+bt.String(), bt, []ptype{bt, tyU32}, shifts, "", func(a []uint64) uint64 { return low(z().Lsh(value(a[0], bt), uint(min(a[1], 100)))) })
	}
}

func TestBits(t *testing.T) {
	for _, ty := range []ptype{tyB16, tyB32, tyB64} {
		two := combinations(integers(ty), 2)
		differs(t, "and."+ty.String(), ty, []ptype{ty, ty}, two, "", func(a []uint64) uint64 { return a[0] & a[1] })
		differs(t, "or."+ty.String(), ty, []ptype{ty, ty}, two, "", func(a []uint64) uint64 { return a[0] | a[1] })
		differs(t, "xor."+ty.String(), ty, []ptype{ty, ty}, two, "", func(a []uint64) uint64 { return a[0] ^ a[1] })
		one := combinations(integers(ty), 1)
		differs(t, "not."+ty.String(), ty, []ptype{ty}, one, "", func(a []uint64) uint64 { return ^a[0] })
		differs(t, "cnot."+ty.String(), ty, []ptype{ty}, one, "", func(a []uint64) uint64 {
			if a[0] == 0 {
				return 1
			}
			return 0
		})
	}
	for _, n := range []int{32, 64} {
		ty := map[int]ptype{32: tyB32, 64: tyB64}[n]
		u, s := fmt.Sprint("u", n), fmt.Sprint("s", n)
		values := integers(ty)
		one := combinations(values, 1)
		differs(t, "popc."+ty.String(), tyU32, []ptype{ty}, one, "", func(a []uint64) uint64 { return uint64(bits.OnesCount64(a[0])) })
		differs(t, "clz."+ty.String(), tyU32, []ptype{ty}, one, "", func(a []uint64) uint64 { return uint64(bits.LeadingZeros64(a[0]) - 64 + n) })
		differs(t, "brev."+ty.String(), ty, []ptype{ty}, one, "", func(a []uint64) uint64 { return bits.Reverse64(a[0]) >> (64 - n) })
		find := func(v uint64, signed, shift bool) uint64 {
			if signed && v>>(n-1) != 0 {
				v = ^v
			}
			for i := n - 1; i >= 0; i-- {
				if v>>i&1 != 0 {
					if shift {
						return uint64(n - 1 - i)
					}
					return uint64(i)
				}
			}
			return 0xffffffff
		}
		differs(t, "bfind."+u, tyU32, []ptype{ty}, one, "", func(a []uint64) uint64 { return find(a[0], false, false) })
		differs(t, "bfind."+s, tyU32, []ptype{ty}, one, "", func(a []uint64) uint64 { return find(a[0], true, false) })
		differs(t, "bfind.shiftamt."+s, tyU32, []ptype{ty}, one, "", func(a []uint64) uint64 { return find(a[0], true, true) })
		var fields [][]uint64
		for _, v := range values {
			for _, pos := range []uint64{0, 1, 5, 31, 32, 40, 63, 64, 200, 256} {
				for _, l := range []uint64{0, 1, 8, 31, 32, 33, 63, 64, 255} {
					fields = append(fields, []uint64{v, ^v * 77 & mask(ty), pos, l})
				}
			}
		}
		// As the manual describes them, bit by bit.
		differs(t, "bfi."+ty.String(), ty, []ptype{ty, ty, tyU32, tyU32}, fields, "", func(a []uint64) uint64 {
			r, pos, l := a[1], int(a[2]&255), int(a[3]&255)
			for i := 0; i < l && pos+i < n; i++ {
				r = r&^(1<<(pos+i)) | a[0]>>i&1<<(pos+i)
			}
			return r
		})
		var three [][]uint64
		for _, f := range fields {
			three = append(three, []uint64{f[0], f[2], f[3]})
		}
		extract := func(signed bool) func(a []uint64) uint64 {
			return func(a []uint64) uint64 {
				pos, l := int(a[1]&255), int(a[2]&255)
				fill := uint64(0)
				if signed && l > 0 {
					fill = a[0] >> min(pos+l-1, n-1) & 1
				}
				r := uint64(0)
				for i := range n {
					b := fill
					if i < l && pos+i < n {
						b = a[0] >> (pos + i) & 1
					}
					r |= b << i
				}
				return r
			}
		}
		differs(t, "bfe."+u, typeNames[u], []ptype{typeNames[u], tyU32, tyU32}, three, "", extract(false))
		differs(t, "bfe."+s, typeNames[s], []ptype{typeNames[s], tyU32, tyU32}, three, "", extract(true))
	}
	three := combinations(integers(tyB32), 3)
	w := []ptype{tyB32, tyB32, tyB32}
	for _, lut := range []uint64{0, 1, 0x96, 0xc0, 0xfc, 0x3c, 0xca, 0x80, 0x7f, 0xff} {
		differs(t, "lop3.b32", tyB32, w, three, fmt.Sprintf(", %d", lut), func(a []uint64) uint64 {
			r := uint64(0)
			for i := range 32 {
				r |= lut >> (a[0]>>i&1<<2 | a[1]>>i&1<<1 | a[2]>>i&1) & 1 << i
			}
			return r
		})
	}
	differs(t, "prmt.b32", tyB32, w, three, "", func(a []uint64) uint64 {
		r := uint64(0)
		for i := range 4 {
			sel := a[2] >> (4 * i)
			b := (a[1]<<32 | a[0]) >> (8 * (sel & 7)) & 255
			if sel&8 != 0 {
				b = 255 * (b >> 7)
			}
			r |= b << (8 * i)
		}
		return r
	})
	for _, m := range []string{"wrap", "clamp"} {
		amount := func(c uint64) uint64 {
			if m == "wrap" {
				return c & 31
			}
			return min(c, 32)
		}
		differs(t, "shf.l."+m+".b32", tyB32, w, three, "", func(a []uint64) uint64 { return (a[1]<<32 | a[0]) << amount(a[2]) >> 32 })
		differs(t, "shf.r."+m+".b32", tyB32, w, three, "", func(a []uint64) uint64 { return (a[1]<<32 | a[0]) >> amount(a[2]) })
	}
	two := combinations(integers(tyS32), 2)
	s := []ptype{tyS32, tyS32}
	differs(t, "mul24.lo.s32", tyS32, s, two, "", func(a []uint64) uint64 { return uint64(int64(int32(a[0])<<8>>8) * int64(int32(a[1])<<8>>8)) })
	differs(t, "add.sat.s32", tyS32, s, two, "", func(a []uint64) uint64 {
		return low(clampTo(new(big.Int).Add(value(a[0], tyS32), value(a[1], tyS32)), tyS32))
	})
}

func TestCarry(t *testing.T) {
	r := newRig(t, Options{})
	f := r.load(kernel("sm_75", "u64 u64", `
mul.wide.u32 %d0, %g, 16;
add.s64 %d1, %a0, %d0;
add.s64 %d2, %a1, %d0;
ld.global.v4.u32 {%r0, %r1, %r2, %r3}, [%d1];
add.cc.u32 %r4, %r0, %r2;
addc.u32 %r5, %r1, %r3;
sub.cc.u32 %r6, %r0, %r2;
subc.u32 %r7, %r1, %r3;
st.global.v4.u32 [%d2], {%r4, %r5, %r6, %r7};
`), "k")
	g := r.load(kernel("sm_75", "u64 u64", `
mul.wide.u32 %d0, %g, 16;
add.s64 %d1, %a0, %d0;
add.s64 %d2, %a1, %d0;
ld.global.v4.u32 {%r0, %r1, %r2, %r3}, [%d1];
mul.lo.u32 %r4, %r0, %r2;
mul.hi.u32 %r5, %r0, %r2;
mad.lo.cc.u32 %r5, %r1, %r2, %r5;
madc.hi.u32 %r6, %r1, %r2, 0;
mad.lo.cc.u32 %r5, %r0, %r3, %r5;
madc.hi.cc.u32 %r6, %r0, %r3, %r6;
addc.u32 %r7, 0, 0;
mad.lo.cc.u32 %r6, %r1, %r3, %r6;
madc.hi.u32 %r7, %r1, %r3, %r7;
st.global.v4.u32 [%d2], {%r4, %r5, %r6, %r7};
`), "k")
	rows := combinations(integers(tyU64), 2)[:704]
	var in []uint64
	for _, row := range rows {
		in = append(in, row...)
	}
	p, q := upload(r, in), r.alloc(16*len(rows))
	r.ok(r.run(f, len(rows)/32, 32, p, q))
	out := download[uint64](r, q, 2*len(rows))
	for i, row := range rows {
		if out[2*i] != row[0]+row[1] || out[2*i+1] != row[0]-row[1] {
			t.Fatalf("%x: %x", row, out[2*i:][:2])
		}
	}
	r.ok(r.run(g, len(rows)/32, 32, p, q))
	out = download[uint64](r, q, 2*len(rows))
	for i, row := range rows {
		if hi, lo := bits.Mul64(row[0], row[1]); out[2*i] != lo || out[2*i+1] != hi {
			t.Fatalf("product of %x: %x", row, out[2*i:][:2])
		}
	}
}

func TestConversions(t *testing.T) {
	ints := append([]ptype{tyU8, tyS8}, intTypes...)
	for _, from := range ints {
		rows := combinations(integers(from), 1)
		for _, to := range ints {
			name := to.String() + "." + from.String()
			differs(t, "cvt."+name, to, []ptype{from}, rows, "", func(a []uint64) uint64 { return low(value(a[0], from)) })
			if _, ok := ops["cvt.sat."+name]; !ok {
				continue // every value fits
			}
			differs(t, "cvt.sat."+name, to, []ptype{from}, rows, "", func(a []uint64) uint64 { return low(clampTo(value(a[0], from), to)) })
		}
		for _, mode := range []string{"rn", "rz", "rm", "rp"} {
			differs(t, "cvt."+mode+".f32."+from.String(), tyF32, []ptype{from}, rows, "", func(a []uint64) uint64 {
				v := new(big.Float).SetPrec(64).SetInt(value(a[0], from))
				r, _ := v.Float32()
				return b32(direct(r, v, mode))
			})
		}
		differs(t, "cvt.rn.f64."+from.String(), tyF64, []ptype{from}, rows, "", func(a []uint64) uint64 {
			r, _ := new(big.Float).SetPrec(64).SetInt(value(a[0], from)).Float64()
			return math.Float64bits(r)
		})
		differs(t, "cvt.rz.f64."+from.String(), tyF64, []ptype{from}, rows, "", func(a []uint64) uint64 {
			r, _ := new(big.Float).SetMode(big.ToZero).SetPrec(53).SetInt(value(a[0], from)).Float64()
			return math.Float64bits(r)
		})
	}
	values := floats32()
	for _, v := range []float32{0.5, 1.5, 2.5, -0.5, -1.5, 0.49999997, 127.5, 255.5, -128.5, 65535.5, 2147483648, -2147483904, 4294967296, 9.2e18, 1.9e19, -9.3e18, 3e9} {
		values = append(values, b32(v))
	}
	rows := combinations(values, 1)
	round := map[string]func(float64) float64{"rni": math.RoundToEven, "rzi": math.Trunc, "rmi": math.Floor, "rpi": math.Ceil}
	for mode, f := range round {
		for _, to := range ints {
			for _, ftz := range []string{"", ".ftz"} {
				differs(t, "cvt."+mode+ftz+"."+to.String()+".f32", to, []ptype{tyF32}, rows, "", func(a []uint64) uint64 {
					v := a[0]
					if ftz != "" {
						v = flush32(v)
					}
					if nan32(v) {
						return 0
					}
					x := f(float64(f32(v)))
					if math.IsInf(x, 0) {
						x = math.Copysign(1e30, x)
					}
					n, _ := big.NewFloat(x).Int(nil)
					return low(clampTo(n, to))
				})
			}
		}
		differs(t, "cvt."+mode+".f32.f32", tyF32, []ptype{tyF32}, rows, "", func(a []uint64) uint64 { return b32(float32(f(float64(f32(a[0]))))) })
	}
	var doubles [][]uint64
	for _, v := range values {
		d := math.Float64bits(float64(f32(v)))
		doubles = append(doubles, []uint64{d}, []uint64{d + 1}, []uint64{d + 1<<28}, []uint64{d + 3<<28}, []uint64{d - 1<<28}, []uint64{d + 1<<28 - 1})
	}
	for _, mode := range []string{"rn", "rz", "rm", "rp"} {
		differs(t, "cvt."+mode+".f32.f64", tyF32, []ptype{tyF64}, doubles, "", func(a []uint64) uint64 {
			x := math.Float64frombits(a[0])
			if math.IsNaN(x) || math.IsInf(x, 0) || x == 0 {
				return b32(float32(x))
			}
			return b32(direct(float32(x), big.NewFloat(x), mode))
		})
	}
	differs(t, "cvt.f64.f32", tyF64, []ptype{tyF32}, rows, "", func(a []uint64) uint64 { return math.Float64bits(float64(f32(a[0]))) })
	differs(t, "cvt.rzi.s64.f64", tyS64, []ptype{tyF64}, doubles, "", func(a []uint64) uint64 {
		x := math.Float64frombits(a[0])
		if math.IsNaN(x) {
			return 0
		}
		if math.IsInf(x, 0) {
			x = math.Copysign(1e300, x)
		}
		n, _ := big.NewFloat(x).Int(nil)
		return low(clampTo(n, tyS64))
	})
	differs(t, "cvt.sat.f32.f32", tyF32, []ptype{tyF32}, rows, "", func(a []uint64) uint64 {
		x := f32(a[0])
		return b32(map[bool]float32{true: min(x, 1)}[x > 0])
	})
	differs(t, "cvt.rna.tf32.f32", tyB32, []ptype{tyB32}, rows, "", func(a []uint64) uint64 {
		if nan32(a[0]) {
			return 0x7fffffff
		}
		if a[0]&0x7f800000 == 0x7f800000 {
			return a[0]
		}
		return (a[0] + 0x1000) &^ 0x1fff
	})
}

// half is the value of a small float of the given bits of exponent and fraction.
func half(h uint64, e, m int) float64 {
	sign := 1.0
	if h>>(e+m) != 0 {
		sign = -1
	}
	exp, frac := int(h>>m)&(1<<e-1), float64(h&(1<<m-1))
	bias := 1<<(e-1) - 1
	switch exp {
	case 0:
		return sign * math.Ldexp(frac, 1-bias-m)
	case 1<<e - 1:
		if frac == 0 {
			return math.Inf(int(sign))
		}
		return math.NaN()
	}
	return sign * math.Ldexp(1+frac/float64(int(1)<<m), exp-bias)
}

func TestHalf(t *testing.T) {
	var all [][]uint64
	for h := range uint64(1 << 16) {
		all = append(all, []uint64{h})
	}
	differs(t, "cvt.f32.f16", tyF32, []ptype{tyF16}, all, "", func(a []uint64) uint64 { return b32(float32(half(a[0], 5, 10))) })
	for _, c := range []struct {
		op   string
		ty   ptype
		e, m int
	}{{"cvt.rn.f16.f32", tyF16, 5, 10}, {"cvt.rn.bf16.f32", tyBf16, 8, 7}} {
		var rows [][]uint64
		for h := range uint64(1 << 16) {
			if v := half(h, c.e, c.m); h%7 == 0 && v == v && h&0x7fff < (1<<c.e-1)<<c.m {
				next := half(h+1, c.e, c.m)
				mid := float32((v + next) / 2)
				rows = append(rows, []uint64{b32(float32(v))}, []uint64{b32(mid)}, []uint64{b32(math.Nextafter32(mid, 0))}, []uint64{b32(math.Nextafter32(mid, float32(v)*4))})
			}
		}
		for i, g := range evaluate(t, c.op, c.ty, []ptype{tyF32}, rows, "") {
			x := float64(f32(rows[i][0]))
			got := half(g, c.e, c.m)
			if math.IsInf(got, 0) {
				if limit := half((1<<c.e-1)<<c.m-1, c.e, c.m); math.Abs(x) < limit*(1+math.Ldexp(1, -c.m-2)) {
					t.Errorf("%s of %g is infinite", c.op, x)
				}
				continue
			}
			for _, o := range []uint64{g - 1, g + 1} {
				other := half(o, c.e, c.m)
				if d := math.Abs(got-x) - math.Abs(other-x); d > 0 || d == 0 && g&1 != 0 && other != got {
					t.Fatalf("%s of %g: %g, nearer is %g", c.op, x, got, other)
				}
			}
		}
	}
}
