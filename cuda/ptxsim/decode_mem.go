package ptxsim

import "fmt"

// space is a state space.
type space uint8

const (
	spaceGeneric space = iota
	spaceGlobal
	spaceShared
	spaceLocal
	spaceConst
	spaceParam
)

var spaceNames = map[string]space{
	"": spaceGeneric, "global": spaceGlobal, "shared": spaceShared, "shared::cta": spaceShared, "local": spaceLocal, "const": spaceConst, "param": spaceParam,
}

func (s space) String() string {
	return [...]string{"generic", "global", "shared", "local", "constant", "parameter"}[s]
}

// access is what an instruction does to memory.
type access uint8

const (
	accessRead access = 1 << iota
	accessWrite
	accessReadOnly // .nc: nobody writes the memory during the launch
	accessStrong   // volatile, relaxed or atomic: no race with its like
	accessAsync    // by the proxy of asynchronous instructions
)

func (d *decoder) takeSpace(m *mods) (space, Class) {
	s := spaceNames[m.take("global", "shared", "shared::cta", "local", "const", "param")]
	switch s {
	case spaceShared:
		return s, ClassShared
	case spaceLocal:
		return s, ClassLocal
	case spaceConst, spaceParam:
		return s, ClassMove
	}
	return s, ClassGlobal
}

// ldst decodes ld and st.
func (d *decoder) ldst(s *stmt, m mods) (*inst, error) {
	load := baseOp(s.op) == "ld"
	in := &inst{access: accessWrite}
	if load {
		in.access = accessRead
	}
	if err := want(s, 2); err != nil {
		return nil, err
	}
	switch m.take("weak", "volatile", "relaxed", "acquire", "release") {
	case "volatile":
		in.access |= accessStrong
	case "relaxed", "acquire", "release":
		in.access |= accessStrong
		if m.take("cta", "gpu", "sys") == "" {
			return nil, m.unknown()
		}
	}
	in.space, in.class = d.takeSpace(&m)
	if load {
		m.take("ca", "cg", "cs", "lu", "cv")
		if in.space == spaceGlobal && m.take("nc") != "" {
			in.access |= accessReadOnly
		}
	} else {
		m.take("wb", "cg", "cs", "wt")
	}
	m.take("L1::no_allocate", "L1::evict_normal", "L1::evict_unchanged", "L1::evict_first", "L1::evict_last")
	m.take("L2::64B", "L2::128B", "L2::256B")
	n := map[string]int{"": 1, "v2": 2, "v4": 4}[m.take("v2", "v4")]
	t, err := m.typ(tyB8, tyU8, tyS8, tyB16, tyU16, tyS16, tyB32, tyU32, tyS32, tyF32, tyB64, tyU64, tyS64, tyF64)
	if err != nil {
		return nil, err
	}
	if t.size()*n > 16 {
		return nil, fmt.Errorf("access of %d bytes", t.size()*n)
	}
	mem, val := s.args[0], s.args[1]
	if load {
		mem, val = val, mem
	} else if in.space == spaceConst || in.space == spaceParam {
		return nil, fmt.Errorf("store to %s memory", in.space)
	}
	elems := []operand{val}
	if val.kind == opVec {
		elems = val.elems
	}
	if len(elems) != n || (val.kind == opVec) != (n > 1) {
		return nil, fmt.Errorf("vector of %d elements, want %d", len(elems), n)
	}
	in.size, in.signed = int32(t.size()), t.signed()
	if err := d.values(in, elems, t, load); err != nil {
		return nil, err
	}
	if in.space == spaceParam {
		return d.ldParam(in, mem, t)
	}
	if err := d.address(in, mem); err != nil {
		return nil, err
	}
	in.fn = memFn(in, load)
	return in, nil
}

// values decodes the registers of a load or store: they may be wider than memory.
func (d *decoder) values(in *inst, elems []operand, t ptype, load bool) error {
	for i, e := range elems {
		wide := t
		if e.kind == opReg && e.reg >= 0 && t != tyF32 && t != tyF64 {
			switch r := d.f.regs[e.reg].ty; {
			case r == tyPred || r.size() < t.size():
				return fmt.Errorf("register %s is %s, memory is %s", e.name, r, t)
			case r.size() > t.size():
				if r.float() {
					return fmt.Errorf("register %s is %s, memory is %s", e.name, r, t)
				}
				wide = map[int]ptype{2: tyB16, 4: tyB32, 8: tyB64}[r.size()]
			}
		}
		long := wide.size() == 8
		if i > 0 && long != in.long {
			return fmt.Errorf("registers of two sizes")
		}
		in.long = long
		var o int32
		var err error
		if load {
			o, err = d.dst(e, wide)
		} else {
			o, err = d.src(e, wide)
		}
		if err != nil {
			return err
		}
		in.x = append(in.x, o)
	}
	in.d, in.b = in.x[0], in.x[0]
	return nil
}

// address decodes [base+imm] into a and imm, and numbers the instruction.
func (d *decoder) address(in *inst, o operand) error {
	if o.kind != opMem {
		return fmt.Errorf("operand is no address")
	}
	in.id = int32(d.p.memOps)
	d.p.memOps++
	in.imm, in.wide = o.imm, true
	switch {
	case o.reg >= 0:
		t := d.f.regs[o.reg].ty
		narrow := in.space == spaceShared || in.space == spaceLocal
		if t.float() || t == tyPred || t.size() != 8 && (t.size() != 4 || !narrow) {
			return fmt.Errorf("address register %s is %s", o.name, t)
		}
		in.a, in.wide = d.reg(o.reg), t.size() == 8
	case o.name != "":
		s, ok := d.symbols[o.name]
		if !ok {
			return fmt.Errorf("unknown name %s", o.name)
		}
		if s.space != in.space && in.space != spaceGeneric {
			return fmt.Errorf("%s is in %s memory", o.name, s.space)
		}
		v := s.value
		if in.space == spaceGeneric {
			switch s.space {
			case spaceShared:
				v += sharedWindow
			case spaceLocal:
				v += localWindow
			}
		}
		in.a = d.konst(v, tyB64)
	default:
		in.a, in.imm = d.konst(o.imm, tyB64), 0
	}
	if in.size < 4 && (in.space == spaceShared || in.space == spaceGeneric) {
		d.p.narrow = true
	}
	return nil
}

// memFn chooses the function of a load or store.
func memFn(in *inst, load bool) opFn {
	word, n := in.size == 4 && !in.long, len(in.x)
	switch {
	case load && in.space == spaceGlobal && word && n == 1:
		return ldGlobal
	case load && in.space == spaceGlobal && word:
		return ldGlobalVec
	case load && in.space == spaceShared && word:
		return ldShared
	case load:
		return ldAny
	case in.space == spaceGlobal && word && n == 1:
		return stGlobal
	case in.space == spaceGlobal && word:
		return stGlobalVec
	case in.space == spaceShared && word:
		return stShared
	}
	return stAny
}

// ldParam makes a load of a parameter a move from a slot that the launch fills.
func (d *decoder) ldParam(in *inst, mem operand, t ptype) (*inst, error) {
	var at int
	found := false
	for _, v := range d.f.params {
		if v.name == mem.name && mem.imm < uint64(v.size) && mem.imm+uint64(t.size()*len(in.x)) <= uint64(v.size) {
			at, found = int(v.off)+int(mem.imm), true
		}
	}
	if mem.kind != opMem || !found || at%(t.size()*len(in.x)) != 0 {
		return nil, fmt.Errorf("no such parameter")
	}
	slot := func(i int) int32 {
		k := paramKey{at + i*t.size(), t}
		if in.long && t.size() < 8 { // widened to a register of 64 bits
			k.ty = map[bool]ptype{false: tyU64, true: tyS64}[t.signed()]
		}
		if o, ok := d.params[k]; ok {
			return o
		}
		n := 128
		if in.long {
			n = 256
		}
		o := d.alloc(n)
		d.params[k] = o
		d.p.paramRefs = append(d.p.paramRefs, paramSlot{o, k.at, t, in.long})
		return o
	}
	if len(in.x) == 1 {
		name, kind := "mov.b32", kindALU32
		if in.long {
			name, kind = "mov.b64", kindALU64
		}
		return &inst{fn: ops[name].fn, kind: kind, class: ClassMove, d: in.d, a: slot(0)}, nil
	}
	v := &inst{fn: movVec, class: ClassMove, long: in.long, x: in.x}
	for i := range in.x {
		v.x = append(v.x, slot(i))
	}
	return v, nil
}

// Modes of atom and red.
const (
	atomAdd uint8 = iota
	atomAddF
	atomMin
	atomMax
	atomMinS
	atomMaxS
	atomAnd
	atomOr
	atomXor
	atomExch
	atomCas
	atomInc
	atomDec
)

// atomForms are the operations and types of atom.
var atomForms = map[string]uint8{
	"add.u32": atomAdd, "add.s32": atomAdd, "add.u64": atomAdd, "add.f32": atomAddF, "add.f64": atomAddF,
	"min.u32": atomMin, "min.u64": atomMin, "min.s32": atomMinS, "min.s64": atomMinS,
	"max.u32": atomMax, "max.u64": atomMax, "max.s32": atomMaxS, "max.s64": atomMaxS,
	"and.b32": atomAnd, "and.b64": atomAnd, "or.b32": atomOr, "or.b64": atomOr, "xor.b32": atomXor, "xor.b64": atomXor,
	"exch.b32": atomExch, "exch.b64": atomExch, "cas.b32": atomCas, "cas.b64": atomCas, "inc.u32": atomInc, "dec.u32": atomDec,
}

// atom decodes atom{.sem}{.scope}{.space}.op.type d, [a], b{, c} and red, which has no d.
func (d *decoder) atom(s *stmt, m mods) (*inst, error) {
	in := &inst{fn: atomicOp, access: accessRead | accessWrite | accessStrong}
	m.take("relaxed", "acquire", "release", "acq_rel")
	m.take("cta", "gpu", "sys")
	in.space, in.class = d.takeSpace(&m)
	if in.space != spaceGeneric && in.space != spaceGlobal && in.space != spaceShared {
		return nil, fmt.Errorf("atomic on %s memory", in.space)
	}
	if len(m) != 2 {
		return nil, m.unknown()
	}
	mode, ok := atomForms[m[0]+"."+m[1]]
	if !ok {
		return nil, m.unknown()
	}
	t := typeNames[m[1]]
	in.mode, in.size, in.long = mode, int32(t.size()), t.size() == 8
	args, n := s.args, 2
	red := baseOp(s.op) == "red"
	if mode == atomCas {
		n = 3
	}
	if !red {
		n++
	}
	if err := want(s, n); err != nil {
		return nil, err
	}
	var err error
	if !red {
		if in.d, err = d.dst(args[0], t); err != nil {
			return nil, err
		}
		args = args[1:]
	} else if mode == atomExch || mode == atomCas {
		return nil, fmt.Errorf("red has no such operation")
	}
	if err := d.address(in, args[0]); err != nil {
		return nil, err
	}
	if in.b, err = d.src(args[1], t); err == nil && mode == atomCas {
		in.c, err = d.src(args[2], t)
	}
	return in, err
}

// cpAsync decodes cp.async and what commits and waits for it.
func (d *decoder) cpAsync(s *stmt, m mods) (*inst, error) {
	if m.take("async") == "" {
		return nil, m.unknown()
	}
	if m.take("bulk") != "" {
		return d.cpBulk(s, m)
	}
	in := &inst{class: ClassGlobal, access: accessRead}
	switch m.take("commit_group", "wait_group", "wait_all") {
	case "commit_group":
		in.fn, in.class = commitGroup, ClassControl
		return in, cmpEnd(want(s, 0), m)
	case "wait_all":
		in.fn, in.class = waitAll, ClassControl
		return in, cmpEnd(want(s, 0), m)
	case "wait_group":
		in.fn, in.class = waitGroup, ClassControl
		if err := want(s, 1); err != nil {
			return nil, err
		}
		if o := s.args[0]; o.kind != opImm || o.float != 0 || o.imm > 1<<20 {
			return nil, fmt.Errorf("number of groups is no literal")
		}
		in.imm = s.args[0].imm
		return in, m.end()
	}
	cache := m.take("ca", "cg")
	if cache == "" || m.take("shared", "shared::cta") == "" || m.take("global") == "" {
		return nil, m.unknown()
	}
	m.take("L2::64B", "L2::128B", "L2::256B")
	if err := m.end(); err != nil {
		return nil, err
	}
	if len(s.args) != 3 && len(s.args) != 4 {
		return nil, fmt.Errorf("%d operands", len(s.args))
	}
	n := s.args[2]
	if n.kind != opImm || n.imm != 16 && (cache == "cg" || n.imm != 4 && n.imm != 8) {
		return nil, fmt.Errorf("size of the copy")
	}
	in.fn, in.size = cpAsync, int32(n.imm)
	// The destination is decoded as an instruction of its own, so that both addresses have their number.
	to := &inst{space: spaceShared, access: accessWrite, size: in.size}
	if err := d.address(to, s.args[0]); err != nil {
		return nil, err
	}
	in.sub, in.space = to, spaceGlobal
	if err := d.address(in, s.args[1]); err != nil {
		return nil, err
	}
	if len(s.args) == 4 {
		o, err := d.src(s.args[3], tyU32)
		in.e = o
		return in, err
	}
	return in, nil
}

func cmpEnd(err error, m mods) error {
	if err != nil {
		return err
	}
	return m.end()
}
