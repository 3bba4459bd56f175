package ptxsim

import (
	"fmt"
	"slices"
	"strings"
)

func slotSize(t ptype) int {
	switch {
	case t == tyPred:
		return 4
	case t.size() == 8:
		return 256
	}
	return 128
}

func (d *decoder) alloc(n int) int32 {
	o := d.next
	d.next += alignUp(n, 64)
	return int32(o)
}

func (d *decoder) reg(r int) int32 {
	if d.slot[r] == 0 {
		n := slotSize(d.f.regs[r].ty)
		if f := d.free[n]; len(f) > 0 && d.last[r] >= 0 {
			d.slot[r], d.free[n] = f[len(f)-1], f[:len(f)-1]
		} else {
			d.slot[r] = d.alloc(n)
		}
	}
	return d.slot[r]
}

// konst is a slot that holds a value in every lane.
func (d *decoder) konst(v uint64, t ptype) int32 {
	switch slotSize(t) {
	case 4:
		t = tyPred
	case 128:
		t, v = tyB32, uint64(uint32(v))
	default:
		t = tyB64
	}
	k := constKey{v, t}
	if o, ok := d.consts[k]; ok {
		return o
	}
	o := d.alloc(slotSize(t))
	d.consts[k] = o
	d.p.consts = append(d.p.consts, constSlot{o, t, v})
	return o
}

// literal is the bits of a literal taken as a value of type t.
func literal(o operand, t ptype) (uint64, error) {
	n := 8 * t.size()
	switch {
	case t == tyPred:
		if o.imm == 0 {
			return 0, nil
		}
		return uint64(full), nil
	case o.float != 0:
		if o.float != n || !t.float() && !t.bits() {
			return 0, fmt.Errorf("float literal of %d bits for %s", o.float, t)
		}
	case t.float():
		return 0, fmt.Errorf("integer literal for %s", t)
	case n < 64:
		if v := int64(o.imm); o.minus && v < -1<<(n-1) || !o.minus && o.imm>>n != 0 && v>>(n-1) != -1 {
			return 0, fmt.Errorf("literal does not fit %s", t)
		}
	}
	return o.imm, nil
}

// src returns the slot of a source operand of type t.
func (d *decoder) src(o operand, t ptype) (int32, error) {
	if o.not {
		return 0, fmt.Errorf("negated operand")
	}
	switch o.kind {
	case opReg:
		if o.reg >= 0 {
			if rt := d.f.regs[o.reg].ty; !t.accepts(rt) {
				return 0, fmt.Errorf("register %s is %s, want %s", o.name, rt, t)
			}
			return d.reg(o.reg), nil
		}
		if !t.accepts(tyU32) {
			return 0, fmt.Errorf("%s is u32, want %s", o.name, t)
		}
		if s, ok := d.specials[o.name]; ok {
			return s, nil
		}
		s := d.alloc(128)
		d.specials[o.name] = s
		d.p.specials = append(d.p.specials, specialSlot{s, o.name})
		return s, nil
	case opImm:
		v, err := literal(o, t)
		return d.konst(v, t), err
	case opSym:
		s, ok := d.symbols[o.name]
		switch {
		case !ok:
			return 0, fmt.Errorf("unknown name %s", o.name)
		case t.float() || t.size() < 4, t.size() == 4 && s.space != spaceShared && s.space != spaceLocal:
			return 0, fmt.Errorf("address %s for %s", o.name, t)
		}
		return d.konst(s.value+o.imm, t), nil
	}
	return 0, fmt.Errorf("operand is no value of type %s", t)
}

func (d *decoder) dst(o operand, t ptype) (int32, error) {
	switch {
	case o.kind == opSink:
		return d.alloc(256), nil
	case o.kind != opReg || o.reg < 0 || o.not:
		return 0, fmt.Errorf("destination is no register")
	case !t.accepts(d.f.regs[o.reg].ty):
		return 0, fmt.Errorf("register %s is %s, want %s", o.name, d.f.regs[o.reg].ty, t)
	}
	return d.reg(o.reg), nil
}

// srcs decodes sources into the given fields.
func (d *decoder) srcs(args []operand, t []ptype, to ...*int32) error {
	if len(args) != len(t) {
		return fmt.Errorf("%d sources, want %d", len(args), len(t))
	}
	for i, o := range args {
		var err error
		if *to[i], err = d.src(o, t[i]); err != nil {
			return err
		}
	}
	return nil
}

// mods reads the modifiers of an instruction, in order.
type mods []string

func (m *mods) take(any ...string) string {
	if len(*m) > 0 && slices.Contains(any, (*m)[0]) {
		s := (*m)[0]
		*m = (*m)[1:]
		return s
	}
	return ""
}

// typ takes the type, which must be the last modifier and one of those given.
func (m *mods) typ(any ...ptype) (ptype, error) {
	if len(*m) == 1 {
		if t, ok := typeNames[(*m)[0]]; ok && slices.Contains(any, t) {
			*m = nil
			return t, nil
		}
	}
	return 0, m.unknown()
}

func (m *mods) unknown() error {
	if len(*m) == 0 {
		return fmt.Errorf("a modifier is missing")
	}
	return fmt.Errorf("unknown modifier .%s", strings.Join(*m, "."))
}

func (m *mods) end() error {
	if len(*m) > 0 {
		return m.unknown()
	}
	return nil
}

func want(s *stmt, n int) error {
	if len(s.args) != n {
		return fmt.Errorf("%d operands, want %d", len(s.args), n)
	}
	return nil
}

// cmpErr returns err, or the message if there is none.
func cmpErr(err error, format string, args ...any) error {
	if err != nil {
		return err
	}
	return fmt.Errorf(format, args...)
}
