package ptxsim

import (
	"fmt"
	"slices"
	"strings"
)

// alu decodes an instruction of the table.
func (d *decoder) alu(name string, args []operand) (*inst, error) {
	def, ok := ops[name]
	if !ok {
		return nil, fmt.Errorf("unknown instruction %s", name)
	}
	if len(args) == 0 {
		return nil, fmt.Errorf("operands are missing")
	}
	in := &inst{fn: def.fn, kind: def.kind, class: def.class}
	var err error
	if err := d.srcs(args[1:], def.src, &in.a, &in.b, &in.c, &in.e); err != nil {
		return nil, err
	}
	if def.dst == tyPred {
		in.c = 0
	}
	in.d, err = d.dst(args[0], def.dst)
	return in, err
}

func (d *decoder) cvta(s *stmt, m mods) (*inst, error) {
	to := m.take("to")
	var window uint64
	switch m.take("global", "const", "shared", "local", "param") {
	case "":
		return nil, m.unknown()
	case "param":
		window = paramWindow
	case "shared":
		window = sharedWindow
	case "local":
		window = localWindow
	}
	if _, err := m.typ(tyU64); err != nil {
		return nil, err
	}
	if err := want(s, 2); err != nil {
		return nil, err
	}
	if to != "" {
		window = -window
	}
	in, err := d.alu("mov.b64", s.args)
	if err == nil && window != 0 {
		in.fn, in.b = ops["add.u64"].fn, d.konst(window, tyU64)
	}
	return in, err
}

func (d *decoder) isspacep(s *stmt, m mods) (*inst, error) {
	in := &inst{fn: isSpace, class: ClassInteger}
	switch m.take("global", "shared", "local") {
	case "":
		return nil, m.unknown()
	case "global":
		in.space = spaceGlobal
	case "shared":
		in.space = spaceShared
	case "local":
		in.space = spaceLocal
	}
	if err := want(s, 2); err != nil {
		return nil, err
	}
	var err error
	if in.a, err = d.src(s.args[1], tyU64); err != nil {
		return nil, err
	}
	if in.d, err = d.dst(s.args[0], tyPred); err != nil {
		return nil, err
	}
	return in, m.end()
}

func (d *decoder) mov(s *stmt, m mods) (*inst, error) {
	if err := want(s, 2); err != nil {
		return nil, err
	}
	a, b := s.args[0], s.args[1]
	if s.op == "mov.pred" {
		return d.logic(s, m)
	}
	if a.kind != opVec && b.kind != opVec {
		return d.alu(s.op, s.args)
	}
	t, err := m.typ(tyB32, tyB64)
	if err != nil {
		return nil, err
	}
	in := &inst{class: ClassMove, long: t == tyB64, fn: pack}
	vec := b
	if a.kind == opVec {
		vec, in.fn = a, unpack
		in.a, err = d.src(b, t)
	} else {
		in.d, err = d.dst(a, t)
	}
	n := len(vec.elems)
	if err != nil || n != 2 && (n != 4 || t != tyB64) {
		return nil, cmpErr(err, "vector of %d", n)
	}
	part := map[int]ptype{2: tyB16, 4: tyB32}[t.size()/n]
	in.size = int32(part.size())
	for _, e := range vec.elems {
		var o int32
		if a.kind == opVec {
			o, err = d.dst(e, part)
		} else {
			o, err = d.src(e, part)
		}
		if err != nil {
			return nil, err
		}
		in.x = append(in.x, o)
	}
	return in, nil
}

// Modes of predicate logic.
const (
	logicAnd uint8 = iota + 1
	logicOr
	logicXor
	logicNot
	logicMov
)

var logicModes = map[string]uint8{"and": logicAnd, "or": logicOr, "xor": logicXor, "not": logicNot, "mov": logicMov}

// logic decodes and, or, xor, not and mov on predicates; on bits they are in the table.
func (d *decoder) logic(s *stmt, m mods) (*inst, error) {
	if len(m) != 1 || m[0] != "pred" {
		return d.alu(s.op, s.args)
	}
	in := &inst{fn: predLogic, class: ClassInteger, mode: logicModes[baseOp(s.op)]}
	t := []ptype{tyPred, tyPred}
	if in.mode >= logicNot {
		t = t[:1]
	}
	if err := want(s, len(t)+1); err != nil {
		return nil, err
	}
	if err := d.srcs(s.args[1:], t, &in.a, &in.b); err != nil {
		return nil, err
	}
	var err error
	in.d, err = d.dst(s.args[0], tyPred)
	return in, err
}

func (d *decoder) lop3(s *stmt, m mods) (*inst, error) {
	if s.op != "lop3.b32" {
		return nil, fmt.Errorf("unknown instruction %s", s.op)
	}
	if err := want(s, 5); err != nil {
		return nil, err
	}
	lut := s.args[4]
	if lut.kind != opImm || lut.float != 0 || lut.imm > 255 {
		return nil, fmt.Errorf("table is no literal of 8 bits")
	}
	in, err := d.alu(s.op, s.args[:4])
	if err == nil {
		in.imm = lut.imm
		if def, ok := ops[fmt.Sprintf("lop3.b32:%d", lut.imm)]; ok {
			in.fn = def.fn
		}
	}
	return in, err
}

// setp decodes setp.CmpOp{.BoolOp}{.ftz}.type p{|q}, a, b{, {!}c}.
func (d *decoder) setp(s *stmt, m mods) (*inst, error) {
	if len(m) < 2 {
		return nil, m.unknown()
	}
	mode := uint8(0)
	if v := logicModes[m[1]]; v >= logicAnd && v <= logicXor {
		mode = v
		m = slices.Delete(slices.Clone(m), 1, 2)
	}
	name := "setp." + strings.Join(m, ".")
	n := 3
	if mode != 0 {
		n = 4
	}
	if err := want(s, n); err != nil {
		return nil, err
	}
	args := slices.Clone(s.args[:3])
	var q *operand
	if args[0].kind == opPair {
		q = &args[0].elems[1]
		args[0] = args[0].elems[0]
	}
	in, err := d.alu(name, args)
	if err != nil {
		return nil, err
	}
	in.mode = mode
	if q != nil {
		if in.e, err = d.dst(*q, tyPred); err != nil {
			return nil, err
		}
	}
	if mode != 0 {
		c := s.args[3]
		in.inv, c.not = c.not, false
		in.c, err = d.src(c, tyPred)
	}
	return in, err
}

// set decodes set.CmpOp{.BoolOp}{.ftz}.dtype.stype d, a, b{, {!}c} as a setp into a slot of its own.
func (d *decoder) set(s *stmt, m mods) (*inst, error) {
	if len(m) < 3 {
		return nil, m.unknown()
	}
	to := typeNames[m[len(m)-2]]
	if to != tyU32 && to != tyS32 && to != tyF32 || len(s.args) == 0 {
		return nil, fmt.Errorf("form of set")
	}
	in := &inst{fn: setFromPred, class: ClassInteger, d: 0, imm: uint64(full)}
	if to == tyF32 {
		in.imm = 0x3f800000
	}
	var err error
	if in.d, err = d.dst(s.args[0], to); err != nil {
		return nil, err
	}
	p := d.alloc(4)
	inner := *s
	inner.args = slices.Clone(s.args)
	inner.args[0] = operand{kind: opSink}
	in.sub, err = d.setp(&inner, slices.Delete(slices.Clone(m), len(m)-2, len(m)-1))
	if err == nil {
		in.sub.d, in.a = p, p
	}
	return in, err
}
