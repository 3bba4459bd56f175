// Command gen writes a lane loop for every arithmetic instruction, and the table that names them, to the given file.
package main

import (
	"fmt"
	"go/format"
	"log"
	"os"
	"strings"
)

// kind says how a lane of a type is kept in the register file: the accessor of the register, how a value is read from
// it and how one is written. Narrow types live in 32-bit registers whose upper bits mean nothing.
type kind struct{ access, read, write string }

var kinds = map[string]kind{
	"u8": {"u32", "uint8(%s)", "uint32(%s)"}, "s8": {"u32", "int8(%s)", "uint32(int32(%s))"},
	"u16": {"u32", "uint16(%s)", "uint32(%s)"}, "s16": {"u32", "int16(%s)", "uint32(int32(%s))"},
	"u32": {"u32", "%s", "%s"}, "s32": {"s32", "%s", "%s"}, "f32": {"f32", "%s", "%s"},
	"u64": {"u64", "%s", "%s"}, "s64": {"s64", "%s", "%s"}, "f64": {"f64", "%s", "%s"},
	"f16": {"u32", "uint16(%s)", "uint32(%s)"}, "bf16": {"u32", "uint16(%s)", "uint32(%s)"},
	"b8": {"u32", "uint8(%s)", "uint32(%s)"}, "b16": {"u32", "uint16(%s)", "uint32(%s)"},
	"b32": {"u32", "%s", "%s"}, "b64": {"u64", "%s", "%s"},
}

var goType = map[string]string{"u8": "uint8", "s8": "int8", "u16": "uint16", "s16": "int16", "u32": "uint32", "s32": "int32",
	"u64": "uint64", "s64": "int64", "f32": "float32", "f64": "float64", "b16": "uint16", "b32": "uint32", "b64": "uint64"}

var bitsOf = map[string]int{"u8": 8, "s8": 8, "u16": 16, "s16": 16, "u32": 32, "s32": 32, "u64": 64, "s64": 64, "b16": 16, "b32": 32, "b64": 64}

var (
	funcs, table strings.Builder
	made         = map[string]string{} // body -> function
	named        = map[string]bool{}
)

func funcName(op string) string {
	s := "op"
	for _, part := range strings.FieldsFunc(op, func(r rune) bool { return r == '.' || r == ':' }) {
		s += strings.ToUpper(part[:1]) + part[1:]
	}
	return s
}

func entry(name, fn, kind, class, dst string, srcs []string) {
	if named[name] {
		log.Fatalf("%s named twice", name)
	}
	named[name] = true
	q := make([]string, len(srcs))
	for i, s := range srcs {
		q[i] = "ty" + strings.ToUpper(s[:1]) + s[1:]
	}
	fmt.Fprintf(&table, "\t%q: {%s, %s, Class%s, ty%s, []ptype{%s}},\n", name, fn, kind, class, strings.ToUpper(dst[:1])+dst[1:], strings.Join(q, ", "))
}

// define writes a function of the given body, unless one with that body exists already.
func define(name, body string) string {
	if fn := made[body]; fn != "" {
		return fn
	}
	fn := funcName(name)
	made[body] = fn
	fmt.Fprintf(&funcs, "//go:norace\nfunc %s(w *warp, in *inst, m uint32) {\n%s}\n\n", fn, body)
	return fn
}

var class = "Integer"

// op writes an elementwise instruction. In expr, $a to $d are the sources.
func op(name, dst string, srcs []string, expr string) {
	lhs, rhs, reads := "d", "w."+kinds[dst].access+"(in.d)", []string{}
	for i, s := range srcs {
		v := string("abce"[i])
		ph := string("abcd"[i])
		if !strings.Contains(expr, "$"+ph) {
			continue
		}
		if s == "pred" {
			lhs += ", " + v
			rhs += ", *w.p(in." + v + ")"
			reads = append(reads, "$"+ph, v+">>(i&31)&1 != 0")
			continue
		}
		lhs += ", " + v
		rhs += ", w." + kinds[s].access + "(in." + v + ")"
		reads = append(reads, "$"+ph, fmt.Sprintf(kinds[s].read, v+"[i]"))
	}
	expr = strings.NewReplacer(reads...).Replace(expr)
	body := fmt.Sprintf("\t%s := %s\n\tfor i := range d {\n", lhs, rhs)
	if c, v, ok := strings.Cut(expr, " ? "); ok {
		yes, no, _ := strings.Cut(v, " : ")
		body += fmt.Sprintf("\t\tv := %s\n\t\tif %s {\n\t\t\tv = %s\n\t\t}\n\t\td[i] = %s\n", no, c, yes, fmt.Sprintf(kinds[dst].write, "v"))
	} else {
		body += "\t\td[i] = " + fmt.Sprintf(kinds[dst].write, expr) + "\n"
	}
	k := "kindALU32"
	if kinds[dst].access[1:] == "64" {
		k = "kindALU64"
	}
	entry(name, define(name, body+"\t}\n"), k, class, dst, srcs)
}

// cond writes an instruction whose result is a predicate.
func cond(name string, srcs []string, expr string) {
	lhs, rhs := "a", "w."+kinds[srcs[0]].access+"(in.a)"
	reads := []string{"$a", fmt.Sprintf(kinds[srcs[0]].read, "a[i]")}
	if len(srcs) > 1 {
		lhs += ", b"
		rhs += ", w." + kinds[srcs[1]].access + "(in.b)"
		reads = append(reads, "$b", fmt.Sprintf(kinds[srcs[1]].read, "b[i]"))
	}
	expr = strings.NewReplacer(reads...).Replace(expr)
	body := fmt.Sprintf("\t%s := %s\n\tvar r uint32\n\tfor i := range a {\n\t\tvar t uint32\n\t\tif %s {\n\t\t\tt = 1\n\t\t}\n\t\tr |= t << (i & 31)\n\t}\n\tw.setp(in, m, r)\n", lhs, rhs, expr)
	entry(name, define(name, body), "kindSelf", class, "pred", srcs)
}

func rep(t string, n int) []string {
	s := make([]string, n)
	for i := range s {
		s[i] = t
	}
	return s
}

func integers() {
	for _, t := range []string{"u16", "s16", "u32", "s32", "u64", "s64"} {
		g, n := goType[t], bitsOf[t]
		op("add."+t, t, rep(t, 2), "$a + $b")
		op("sub."+t, t, rep(t, 2), "$a - $b")
		op("mul.lo."+t, t, rep(t, 2), "$a * $b")
		op("mad.lo."+t, t, rep(t, 3), "$a*$b + $c")
		op("min."+t, t, rep(t, 2), "min($a, $b)")
		op("max."+t, t, rep(t, 2), "max($a, $b)")
		op("div."+t, t, rep(t, 2), "quotient($a, $b)")
		op("rem."+t, t, rep(t, 2), "remainder($a, $b)")
		op("sad."+t, t, rep(t, 3), "$c + max($a, $b) - min($a, $b)")
		op("shr."+t, t, []string{t, "u32"}, "$a >> $b")
		wide := fmt.Sprintf("%c%d", t[0], 2*n)
		if n < 64 {
			gw := goType[wide]
			op("mul.wide."+t, wide, rep(t, 2), fmt.Sprintf("%s($a) * %s($b)", gw, gw))
			op("mad.wide."+t, wide, []string{t, t, wide}, fmt.Sprintf("%s($a)*%s($b) + $c", gw, gw))
			op("mul.hi."+t, t, rep(t, 2), fmt.Sprintf("%s(%s($a) * %s($b) >> %d)", g, gw, gw, n))
			op("mad.hi."+t, t, rep(t, 3), fmt.Sprintf("%s(%s($a)*%s($b)>>%d) + $c", g, gw, gw, n))
		} else {
			op("mul.hi."+t, t, rep(t, 2), "mulHi"+strings.ToUpper(t)+"($a, $b)")
			op("mad.hi."+t, t, rep(t, 3), "mulHi"+strings.ToUpper(t)+"($a, $b) + $c")
		}
		if t[0] == 's' {
			op("neg."+t, t, rep(t, 1), "-$a")
			op("abs."+t, t, rep(t, 1), "max($a, -$a)")
		}
		compare(t)
		for _, s := range []string{"s32", "f32"} {
			op("slct."+t+"."+s, t, []string{t, t, s}, "$c >= 0 ? $a : $b")
		}
		class = "Move"
		op("mov."+t, t, rep(t, 1), "$a")
		op("selp."+t, t, []string{t, t, "pred"}, "$c ? $a : $b")
		class = "Integer"
		if n == 16 {
			continue
		}
		op("bfe."+t, t, []string{t, "u32", "u32"}, fmt.Sprintf("bfe%c%d($a, $b, $c)", t[0]-32, n))
		op("bfind."+t, "u32", rep(t, 1), fmt.Sprintf("bfind%c($a)", t[0]-32))
		op("bfind.shiftamt."+t, "u32", rep(t, 1), fmt.Sprintf("shiftAmount(bfind%c($a), %d)", t[0]-32, n))
	}
	for _, t := range []string{"u32", "s32"} {
		g := goType[t]
		low := "int64($%s<<8>>8)"
		if t == "u32" {
			low = "uint64($%s&0xffffff)"
		}
		a, b := fmt.Sprintf(low, "a"), fmt.Sprintf(low, "b")
		op("mul24.lo."+t, t, rep(t, 2), fmt.Sprintf("%s(%s * %s)", g, a, b))
		op("mul24.hi."+t, t, rep(t, 2), fmt.Sprintf("%s(%s * %s >> 16)", g, a, b))
		op("mad24.lo."+t, t, rep(t, 3), fmt.Sprintf("%s(%s*%s) + $c", g, a, b))
		op("mad24.hi."+t, t, rep(t, 3), fmt.Sprintf("%s(%s*%s>>16) + $c", g, a, b))
	}
	op("add.sat.s32", "s32", rep("s32", 2), "clampS32(int64($a) + int64($b))")
	op("sub.sat.s32", "s32", rep("s32", 2), "clampS32(int64($a) - int64($b))")
	for _, t := range []string{"b16", "b32", "b64"} {
		n := t[1:]
		op("and."+t, t, rep(t, 2), "$a & $b")
		op("or."+t, t, rep(t, 2), "$a | $b")
		op("xor."+t, t, rep(t, 2), "$a ^ $b")
		op("not."+t, t, rep(t, 1), "^$a")
		op("cnot."+t, t, rep(t, 1), "$a == 0 ? 1 : "+goType[t]+"(0)")
		op("shl."+t, t, []string{t, "u32"}, "$a << $b")
		op("shr."+t, t, []string{t, "u32"}, "$a >> $b")
		for _, s := range []string{"s32", "f32"} {
			op("slct."+t+"."+s, t, []string{t, t, s}, "$c >= 0 ? $a : $b")
		}
		compare(t)
		class = "Move"
		op("mov."+t, t, rep(t, 1), "$a")
		op("selp."+t, t, []string{t, t, "pred"}, "$c ? $a : $b")
		class = "Integer"
		if t == "b16" {
			continue
		}
		op("popc."+t, "u32", rep(t, 1), "uint32(bits.OnesCount"+n+"($a))")
		op("clz."+t, "u32", rep(t, 1), "uint32(bits.LeadingZeros"+n+"($a))")
		op("brev."+t, t, rep(t, 1), "bits.Reverse"+n+"($a)")
		op("bfi."+t, t, []string{t, t, "u32", "u32"}, "bfi"+n+"($a, $b, $c, $d)")
	}
	for _, m := range [][2]string{{"wrap", "$c&31"}, {"clamp", "min($c, 32)"}} {
		op("shf.l."+m[0]+".b32", "b32", rep("b32", 3), "uint32((uint64($b)<<32 | uint64($a)) << ("+m[1]+") >> 32)")
		op("shf.r."+m[0]+".b32", "b32", rep("b32", 3), "uint32((uint64($b)<<32 | uint64($a)) >> ("+m[1]+"))")
	}
	op("prmt.b32", "b32", rep("b32", 3), "prmt($a, $b, $c)")
	op("lop3.b32", "b32", rep("b32", 3), "lop3($a, $b, $c, in.imm)")
	for _, l := range [][2]string{{"150", "$a ^ $b ^ $c"}, {"192", "$a & $b"}, {"252", "$a | $b"}, {"60", "$a ^ $b"}} {
		op("lop3.b32:"+l[0], "b32", rep("b32", 3), l[1])
	}
}

// compare writes setp of an integer or bit type.
func compare(t string) {
	ops := [][2]string{{"eq", "=="}, {"ne", "!="}}
	if t[0] != 'b' {
		ops = append(ops, [][2]string{{"lt", "<"}, {"le", "<="}, {"gt", ">"}, {"ge", ">="}}...)
	}
	if t[0] == 'u' {
		ops = append(ops, [][2]string{{"lo", "<"}, {"ls", "<="}, {"hi", ">"}, {"hs", ">="}}...)
	}
	for _, c := range ops {
		cond("setp."+c[0]+"."+t, rep(t, 2), "$a "+c[1]+" $b")
	}
}

// modes are the directed roundings and the constants that name them.
var modes = [][2]string{{"rz", "towardZero"}, {"rm", "towardNegative"}, {"rp", "towardPositive"}}

// flush writes an instruction on float32 with and without .ftz; suffix is the name after the modifier.
func flush(prefix, suffix, dst string, srcs []string, expr string) {
	op(prefix+suffix, dst, srcs, expr)
	in := expr
	if srcs[0] == "f32" {
		in = strings.NewReplacer("$a", "ftz($a)", "$b", "ftz($b)", "$c", "ftz($c)").Replace(expr)
	}
	if dst == "f32" {
		in = "ftz(" + in + ")"
	}
	op(prefix+".ftz"+suffix, dst, srcs, in)
}

// saturated is flush with and without .sat.
func saturated(prefix, dst string, srcs []string, expr string) {
	flush(prefix, ".f32", dst, srcs, expr)
	flush(prefix, ".sat.f32", dst, srcs, "sat("+expr+")")
}

func floats() {
	f1, f2, f3 := rep("f32", 1), rep("f32", 2), rep("f32", 3)
	class = "Float"
	for _, o := range [][2]string{{"add", "+"}, {"sub", "-"}, {"mul", "*"}} {
		e := "$a " + o[1] + " $b"
		saturated(o[0], "f32", f2, e)
		saturated(o[0]+".rn", "f32", f2, e)
		op(o[0]+".f64", "f64", rep("f64", 2), e)
		op(o[0]+".rn.f64", "f64", rep("f64", 2), e)
		for _, m := range modes {
			saturated(o[0]+"."+m[0], "f32", f2, fmt.Sprintf("%sRound($a, $b, %s)", o[0], m[1]))
		}
	}
	for _, o := range []string{"min", "max"} {
		flush(o, ".f32", "f32", f2, o+"Num($a, $b)")
		flush(o, ".NaN.f32", "f32", f2, o+"NaN($a, $b)")
		op(o+".f64", "f64", rep("f64", 2), o+"Num($a, $b)")
	}
	flush("neg", ".f32", "f32", f1, "-$a")
	flush("abs", ".f32", "f32", f1, "abs32($a)")
	op("neg.f64", "f64", rep("f64", 1), "-$a")
	op("abs.f64", "f64", rep("f64", 1), "math.Abs($a)")
	op("copysign.f32", "f32", f2, "float32(math.Copysign(float64($b), float64($a)))")
	op("copysign.f64", "f64", rep("f64", 2), "math.Copysign($b, $a)")
	flush("div.rn", ".f32", "f32", f2, "$a / $b")
	flush("div.full", ".f32", "f32", f2, "$a / $b")
	flush("rcp.rn", ".f32", "f32", f1, "1 / $a")
	flush("sqrt.rn", ".f32", "f32", f1, "float32(math.Sqrt(float64($a)))")
	for _, m := range modes {
		flush("div."+m[0], ".f32", "f32", f2, "divRound($a, $b, "+m[1]+")")
		flush("rcp."+m[0], ".f32", "f32", f1, "divRound(1, $a, "+m[1]+")")
		flush("sqrt."+m[0], ".f32", "f32", f1, "sqrtRound($a, "+m[1]+")")
	}
	op("div.rn.f64", "f64", rep("f64", 2), "$a / $b")
	op("rcp.rn.f64", "f64", rep("f64", 1), "1 / $a")
	op("sqrt.rn.f64", "f64", rep("f64", 1), "math.Sqrt($a)")

	class = "FMA"
	for _, o := range []string{"fma", "mad"} {
		entry(o+".rn.f32", "fmaLoop", "kindALU32", class, "f32", f3)
		flush(o+".rn", ".sat.f32", "f32", f3, "sat(fma32($a, $b, $c))")
		op(o+".rn.ftz.f32", "f32", f3, "ftz(fma32(ftz($a), ftz($b), ftz($c)))")
		for _, m := range modes {
			saturated(o+"."+m[0], "f32", f3, "fmaRound($a, $b, $c, "+m[1]+")")
		}
		op(o+".rn.f64", "f64", rep("f64", 3), "math.FMA($a, $b, $c)")
	}

	class = "Special"
	flush("div.approx", ".f32", "f32", f2, "divApprox($a, $b)")
	for _, o := range [][2]string{
		{"rcp", "1 / $a"}, {"sqrt", "float32(math.Sqrt(float64($a)))"}, {"rsqrt", "float32(1 / math.Sqrt(float64($a)))"},
		{"sin", "float32(math.Sin(float64($a)))"}, {"cos", "float32(math.Cos(float64($a)))"},
		{"lg2", "float32(math.Log2(float64($a)))"}, {"ex2", "float32(math.Exp2(float64($a)))"},
	} {
		flush(o[0]+".approx", ".f32", "f32", f1, o[1])
	}
	op("tanh.approx.f32", "f32", f1, "float32(math.Tanh(float64($a)))")
	op("rcp.approx.ftz.f64", "f64", rep("f64", 1), "rcpApprox64($a)")
	op("rsqrt.approx.f64", "f64", rep("f64", 1), "1 / math.Sqrt($a)")
	op("rsqrt.approx.ftz.f64", "f64", rep("f64", 1), "rcpApprox64(math.Sqrt($a))")

	class = "Move"
	op("mov.f32", "f32", f1, "$a")
	op("mov.f64", "f64", rep("f64", 1), "$a")
	op("selp.f32", "f32", []string{"f32", "f32", "pred"}, "$c ? $a : $b")
	op("selp.f64", "f64", []string{"f64", "f64", "pred"}, "$c ? $a : $b")
	class = "Float"
	for _, t := range []string{"f32", "f64"} {
		op("slct."+t+".s32", t, []string{t, t, "s32"}, "$c >= 0 ? $a : $b")
		op("slct."+t+".f32", t, []string{t, t, "f32"}, "$c >= 0 ? $a : $b")
		for _, c := range [][2]string{
			{"eq", "$a == $b"}, {"ne", "$a < $b || $a > $b"}, {"lt", "$a < $b"}, {"le", "$a <= $b"}, {"gt", "$a > $b"}, {"ge", "$a >= $b"},
			{"equ", "!($a < $b || $a > $b)"}, {"neu", "$a != $b"}, {"ltu", "!($a >= $b)"}, {"leu", "!($a > $b)"},
			{"gtu", "!($a <= $b)"}, {"geu", "!($a < $b)"}, {"num", "$a == $a && $b == $b"}, {"nan", "$a != $a || $b != $b"},
		} {
			cond("setp."+c[0]+"."+t, rep(t, 2), c[1])
			if t == "f32" {
				cond("setp."+c[0]+".ftz.f32", f2, strings.NewReplacer("$a", "ftz($a)", "$b", "ftz($b)").Replace(c[1]))
			}
		}
		for _, c := range []string{"finite", "infinite", "number", "notanumber", "normal", "subnormal"} {
			cond("testp."+c+"."+t, rep(t, 1), "testp"+t[1:]+"($a, "+c+")")
		}
	}
}

func conversions() {
	class = "Move"
	ints := []string{"u8", "s8", "u16", "s16", "u32", "s32", "u64", "s64"}
	whole := [][2]string{{"rni", "math.RoundToEven"}, {"rzi", "math.Trunc"}, {"rmi", "math.Floor"}, {"rpi", "math.Ceil"}}
	for _, d := range ints {
		for _, s := range ints {
			op("cvt."+d+"."+s, d, rep(s, 1), goType[d]+"($a)")
			if n, m := bitsOf[d], bitsOf[s]; d[0] == s[0] && n >= m || d[0] == 's' && n > m {
				continue // nothing to saturate: not an instruction
			}
			op("cvt.sat."+d+"."+s, d, rep(s, 1), "saturate["+goType[d]+"]($a)")
		}
		for _, m := range whole {
			for _, sat := range []string{"", ".sat"} {
				op("cvt."+m[0]+sat+"."+d+".f64", d, rep("f64", 1), fmt.Sprintf("toInt[%s](%s($a))", goType[d], m[1]))
				op("cvt."+m[0]+sat+"."+d+".f32", d, rep("f32", 1), fmt.Sprintf("toInt[%s](%s(float64($a)))", goType[d], m[1]))
				op("cvt."+m[0]+".ftz"+sat+"."+d+".f32", d, rep("f32", 1), fmt.Sprintf("toInt[%s](%s(float64(ftz($a))))", goType[d], m[1]))
			}
		}
	}
	for _, s := range ints {
		for _, d := range []string{"f32", "f64"} {
			op("cvt.rn."+d+"."+s, d, rep(s, 1), goType[d]+"($a)")
			for _, m := range modes {
				op("cvt."+m[0]+"."+d+"."+s, d, rep(s, 1), fmt.Sprintf("intToFloat[%s]($a, %s)", goType[d], m[1]))
			}
		}
	}
	f := rep("f32", 1)
	flush("cvt", ".f32.f32", "f32", f, "$a")
	flush("cvt", ".sat.f32.f32", "f32", f, "sat($a)")
	flush("cvt", ".f64.f32", "f64", f, "float64($a)")
	flush("cvt.rn", ".f32.f64", "f32", rep("f64", 1), "float32($a)")
	flush("cvt.rn", ".sat.f32.f64", "f32", rep("f64", 1), "sat(float32($a))")
	for _, m := range modes {
		flush("cvt."+m[0], ".f32.f64", "f32", rep("f64", 1), "round32($a, "+m[1]+")")
	}
	for _, m := range whole {
		flush("cvt."+m[0], ".f32.f32", "f32", f, "float32("+m[1]+"(float64($a)))")
		flush("cvt."+m[0], ".sat.f32.f32", "f32", f, "sat(float32("+m[1]+"(float64($a))))")
		op("cvt."+m[0]+".f64.f64", "f64", rep("f64", 1), m[1]+"($a)")
	}
	op("cvt.f32.f16", "f32", rep("f16", 1), "fromHalf($a)")
	op("cvt.ftz.f32.f16", "f32", rep("f16", 1), "fromHalf($a)")
	op("cvt.f32.bf16", "f32", rep("bf16", 1), "math.Float32frombits(uint32($a) << 16)")
	op("cvt.rn.f16.f32", "f16", f, "toHalf($a)")
	op("cvt.rn.bf16.f32", "bf16", f, "toBfloat($a)")
	op("cvt.rn.f16x2.f32", "b32", rep("f32", 2), "uint32(toHalf($a))<<16 | uint32(toHalf($b))")
	op("cvt.rn.bf16x2.f32", "b32", rep("f32", 2), "uint32(toBfloat($a))<<16 | uint32(toBfloat($b))")
	op("cvt.rna.tf32.f32", "b32", rep("b32", 1), "toTF32($a)")
}

func main() {
	integers()
	floats()
	conversions()
	src := "// Code generated by gen; DO NOT EDIT.\n\npackage ptxsim\n\nimport (\n\t\"math\"\n\t\"math/bits\"\n)\n\n" + funcs.String() +
		"// ops is every arithmetic instruction, by its full name.\nvar ops = map[string]opDef{\n" + table.String() + "}\n"
	out, err := format.Source([]byte(src))
	if err != nil {
		log.Fatal(err)
	}
	if err := os.WriteFile(os.Args[1], out, 0o644); err != nil {
		log.Fatal(err)
	}
}
