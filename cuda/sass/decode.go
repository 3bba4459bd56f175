package sass

import (
	"fmt"
	"strconv"
	"strings"
)

// Inst is a decoded instruction.
type Inst struct {
	Text    string
	Control Control

	op      *opcode
	guard   operand // predicate under which it runs
	guarded bool
	o       []operand
	imm     uint32 // the immediate as it is encoded, which a float's text rounds
	width   int    // bytes a lane moves
}

// kind says where an operand lies.
type kind uint8

const (
	kindReg kind = iota
	kindUniform
	kindPred
	kindUniformPred
	kindImm
	kindConst
	kindMem
	kindSpecial
	kindTarget
	kindBarrier
	kindDescriptor // of two matrices, in uniform registers
)

const (
	rz  = 255 // the register that is zero
	urz = 63
	pt  = 7 // the predicate that is true
)

// operand is an operand with its modifiers.
type operand struct {
	kind          kind
	neg, abs, inv bool
	r, ur         int
	imm           uint32
	bank          int
	off           int64
	name          string
	wide          bool    // an address of 64 bits
	turned        [2]bool // of descriptors: the factor has its rows along the 16 bytes of a unit
}

// decode reads an instruction's text; lo and hi are its encoding.
func decode(text string, lo, hi uint64) (Inst, error) {
	in := Inst{Text: text, Control: controlOf(hi), imm: uint32(lo >> 32)}
	if i := strings.Index(text, "(*"); i >= 0 {
		text = strings.TrimSpace(text[:i])
	}
	text = strings.ReplaceAll(text, ".reuse", "")
	if strings.HasPrefix(text, "@") {
		g, rest, _ := strings.Cut(text[1:], " ")
		o, err := parseOperand(g, &in)
		if err != nil || o.kind != kindPred && o.kind != kindUniformPred {
			return in, fmt.Errorf("guard %q of %q is not a predicate", g, in.Text)
		}
		in.guard, in.guarded = o, true
		text = strings.TrimSpace(rest)
	}
	name, rest, _ := strings.Cut(text, " ")
	op := opcodes[name]
	if op == nil {
		return in, fmt.Errorf("opcode %s is not known", name)
	}
	in.op, in.width = op, op.width
	rest = strings.TrimSpace(rest)
	if rest == "" {
		return in, in.check()
	}
	list := splitOperands(rest)
	if op.branch { // the target register is followed by a label or an offset that repeats what is known
		list = []string{strings.Fields(rest)[0]}
	}
	for _, s := range list {
		o, err := parseOperand(strings.TrimSpace(s), &in)
		if err != nil {
			return in, fmt.Errorf("%q: %w", in.Text, err)
		}
		in.o = append(in.o, o)
	}
	return in, in.check()
}

// check sees to the number and the kinds of operands.
func (in *Inst) check() error {
	want := in.op.form
	if want == "" {
		if len(in.o) != 0 {
			return fmt.Errorf("%q has operands", in.Text)
		}
		return nil
	}
	for _, f := range strings.Fields(want) {
		if in.matches(f) {
			return nil
		}
	}
	return fmt.Errorf("%q has operands that are not known", in.Text)
}

// letters of a form: d register written, s value read, p predicate, m address, c constant, i immediate, x special register,
// t target, b barrier register, g matrix descriptors, z the zero register.
func (in *Inst) matches(form string) bool {
	if len(form) != len(in.o) {
		return false
	}
	for i, c := range form {
		k := in.o[i].kind
		ok := false
		switch c {
		case 'd':
			ok = k == kindReg || k == kindUniform
		case 's':
			ok = k == kindReg || k == kindUniform || k == kindImm || k == kindConst
		case 'p':
			ok = k == kindPred || k == kindUniformPred
		case 'm':
			ok = k == kindMem
		case 'c':
			ok = k == kindConst
		case 'i':
			ok = k == kindImm
		case 'x':
			ok = k == kindSpecial
		case 't':
			ok = k == kindTarget
		case 'b':
			ok = k == kindBarrier
		case 'g':
			ok = k == kindDescriptor
		case 'z':
			ok = k == kindReg && in.o[i].r == rz
		}
		if !ok {
			return false
		}
	}
	return true
}

// splitOperands cuts at commas outside of brackets.
func splitOperands(s string) []string {
	var list []string
	depth, from := 0, 0
	for i, c := range s {
		switch {
		case c == '[':
			depth++
		case c == ']':
			depth--
		case c == ',' && depth == 0:
			list = append(list, s[from:i])
			from = i + 1
		}
	}
	return append(list, s[from:])
}

// number reads a decimal or hexadecimal integer of 32 bits with a sign.
func number(s string) (int64, error) {
	v, err := strconv.ParseInt(s, 0, 64)
	if err != nil || v < -1<<32 || v >= 1<<32 {
		return 0, fmt.Errorf("number %q", s)
	}
	return v, nil
}

// index reads the number of a register after its prefix; z stands for the one that is constant.
func index(s, prefix, z string, constant int) (int, bool) {
	rest, ok := strings.CutPrefix(s, prefix)
	if !ok {
		return 0, false
	}
	if rest == z {
		return constant, true
	}
	n, err := strconv.Atoi(rest)
	return n, err == nil && n >= 0 && n < constant
}

func parseOperand(s string, in *Inst) (operand, error) {
	var o operand
	o.name = s
	if len(s) > 1 && s[0] == '-' && strings.ContainsRune("RU|c", rune(s[1])) {
		o.neg, s = true, s[1:]
	}
	if strings.HasPrefix(s, "|") && strings.HasSuffix(s, "|") && len(s) > 2 {
		o.abs, s = true, s[1:len(s)-1]
	}
	if strings.HasPrefix(s, "!") || strings.HasPrefix(s, "~") {
		o.inv, s = true, s[1:]
	}
	var ok bool
	if o.r, ok = index(s, "R", "Z", rz); ok {
		return o, nil
	}
	if o.ur, ok = index(s, "UR", "Z", urz); ok {
		o.kind = kindUniform
		return o, nil
	}
	if o.r, ok = index(s, "P", "T", pt); ok {
		o.kind = kindPred
		return o, nil
	}
	if o.r, ok = index(s, "UP", "T", pt); ok {
		o.kind = kindUniformPred
		return o, nil
	}
	if o.r, ok = index(s, "B", "-", 16); ok {
		o.kind = kindBarrier
		return o, nil
	}
	switch {
	case strings.HasPrefix(s, "c["):
		return constant(o, s)
	case strings.HasPrefix(s, "[") || strings.HasPrefix(s, "desc["):
		return address(o, s)
	case strings.HasPrefix(s, "gdesc["):
		o.kind = kindDescriptor
		s, o.turned[1] = strings.CutSuffix(s, ".tnspB")
		s, o.turned[0] = strings.CutSuffix(s, ".tnspA")
		if o.ur, ok = index(strings.TrimSuffix(s[len("gdesc["):], "]"), "UR", "Z", urz); !ok || o.ur == urz {
			return o, fmt.Errorf("operand %q", s)
		}
		return o, nil
	case s == "PR" || s == "gsb0" || strings.HasPrefix(s, "SB") || strings.HasPrefix(s, "SR"):
		o.kind = kindSpecial
		if !specials[s] {
			return o, fmt.Errorf("special register %s is not known", s)
		}
		return o, nil
	case strings.HasPrefix(s, "@"):
		n, err := strconv.Atoi(s[1:])
		o.kind, o.imm = kindTarget, uint32(n)
		return o, err
	}
	return immediate(o, s, in)
}

func immediate(o operand, s string, in *Inst) (operand, error) {
	o.kind = kindImm
	if in.op != nil && in.op.float {
		if _, err := strconv.ParseFloat(strings.TrimPrefix(strings.TrimPrefix(strings.TrimPrefix(s, "-"), "+"), "Q"), 64); err != nil && s != "+INF" && s != "-INF" && s != "+QNAN" && s != "-QNAN" {
			return o, fmt.Errorf("operand %q", s)
		}
		o.imm, o.inv, o.neg = in.imm, false, false
		return o, nil
	}
	v, err := number(s)
	o.imm = uint32(v)
	return o, err
}

// constant reads c[0x0][0x210] or c[0x2][R4+0x8].
func constant(o operand, s string) (operand, error) {
	bank, rest, ok := strings.Cut(strings.TrimSuffix(strings.TrimPrefix(s, "c["), "]"), "][")
	b, err := number(bank)
	if !ok || err != nil || b != 0 && b != 2 {
		return o, fmt.Errorf("constant %q: bank is not known", s)
	}
	o.kind, o.bank = kindConst, int(b)
	return o, o.terms(rest)
}

// address reads [R2+UR4+0x8] or desc[UR4][R2.64+0x8].
func address(o operand, s string) (operand, error) {
	o.kind = kindMem
	if strings.HasPrefix(s, "desc[") {
		_, s, _ = strings.Cut(s, "][")
		s = "[" + s
	}
	return o, o.terms(strings.TrimSuffix(strings.TrimPrefix(s, "["), "]"))
}

// terms reads a sum of registers and numbers.
func (o *operand) terms(s string) error {
	o.r, o.ur = rz, urz
	for _, t := range strings.Split(s, "+") {
		reg, wide := strings.CutSuffix(t, ".64")
		if r, ok := index(reg, "R", "Z", rz); ok {
			o.r, o.wide = r, wide
			continue
		}
		if ur, ok := index(t, "UR", "Z", urz); ok {
			o.ur = ur
			continue
		}
		v, err := number(t)
		if err != nil {
			return err
		}
		o.off += v
	}
	return nil
}
