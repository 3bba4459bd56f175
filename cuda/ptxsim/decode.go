package ptxsim

import (
	"fmt"
	"slices"
	"strings"
)

// opFn executes an instruction for the lanes of m. Those of kindALU32 and kindALU64 may compute all lanes: their caller
// restores the others.
type opFn func(w *warp, in *inst, m uint32)

type instKind uint8

const (
	kindSelf  instKind = iota // minds its mask itself
	kindALU32                 // writes one register of 32 bits a lane
	kindALU64                 // writes one register of 64 bits a lane
	kindExit
	kindBar  // barrier of the block
	kindSync // needs the lanes of a member mask (operand c) together
	kindBra
	kindLabel // where groups may meet
)

// opDef describes an arithmetic instruction.
type opDef struct {
	fn    opFn
	kind  instKind
	class Class
	dst   ptype
	src   []ptype
}

// inst is a decoded instruction. a, b, c, d, e are byte offsets into the register file of a warp.
type inst struct {
	fn            opFn
	kind          instKind
	class         Class
	not           bool // the guard is negated
	wide          bool // address (memory) in 64 bits
	long          bool // values (memory) in registers of 64 bits
	signed        bool
	space         space
	access        access
	mode          uint8 // variant of the instruction
	pred          int32 // offset of the guard's mask, 0 if there is none
	d, a, b, c, e int32
	target        int32 // of a branch
	id            int32 // number among memory instructions
	line          int32
	size          int32 // bytes of an element in memory
	imm           uint64
	x             []int32 // operands of a vector
	sub           *inst
}

// program is a decoded kernel.
type program struct {
	entry     *entry
	module    *module
	code      []inst
	fileBytes int // of a warp's register file
	consts    []constSlot
	specials  []specialSlot
	paramRefs []paramSlot
	memOps    int
	shared    int // static bytes
	dynamic   uint64
	local     int
	registers int
	narrow    bool // touches less than 4 bytes of shared memory
	maxShared int  // dynamic bytes allowed
	pool      []*block
}

type constSlot struct {
	off  int32
	ty   ptype
	bits uint64
}

type specialSlot struct {
	off  int32
	name string
}

type paramSlot struct {
	off  int32
	at   int // in the parameters
	ty   ptype
	long bool // widened to 64 bits
}

type paramKey struct {
	at int
	ty ptype
}

type constKey struct {
	bits uint64
	ty   ptype
}

type symbol struct {
	space space
	value uint64
}

type decoder struct {
	m        *module
	f        *entry
	p        *program
	st       *stmt
	slot     []int32 // register -> offset, 0 if not yet placed
	next     int
	consts   map[constKey]int32
	specials map[string]int32
	params   map[paramKey]int32
	symbols  map[string]symbol
	recycle
}

// recycle is what is known of registers that live within one basic block. PTX names hundreds of registers; placing the
// short-lived ones into the same slots keeps the register file in the L1 cache. It is sound lane by lane: in a block every
// lane passes the definition before the uses.
type recycle struct {
	last   []int // statement that mentions the register last, -1 if it lives longer than a block
	byLast map[int][]int
	free   map[int][]int32 // slots by size
}

// noResult are the instructions whose first operand is no destination.
var noResult = map[string]bool{"st": true, "red": true, "bra": true, "bar": true, "barrier": true, "cp": true, "nanosleep": true}

func baseOp(op string) string {
	s, _, _ := strings.Cut(op, ".")
	return s
}

func (d *decoder) lifetimes(targets map[string]bool) {
	n := len(d.f.regs)
	d.last = make([]int, n)
	d.byLast, d.free = map[int][]int{}, map[int][]int32{}
	in := make([]int, n) // block of the register; -1 none yet, -2 several
	for i := range in {
		d.last[i], in[i] = -1, -1
	}
	block := 0
	touch := func(r, at int, def bool) {
		switch {
		case r < 0:
			return
		case in[r] == -1 && def:
			in[r] = block
		case in[r] != block:
			in[r] = -2
		}
		d.last[r] = at
	}
	for at := range d.f.body {
		s := &d.f.body[at]
		if s.label != "" {
			if targets[s.label] {
				block++
			}
			continue
		}
		op := baseOp(s.op)
		touch(s.guard, at, false)
		for k := len(s.args) - 1; k >= 0; k-- { // sources first
			o := &s.args[k]
			def := k == 0 && s.guard < 0 && !noResult[op]
			touch(o.reg, at, def && o.kind == opReg)
			for _, e := range o.elems {
				touch(e.reg, at, def)
			}
		}
		if op == "bra" || op == "ret" || op == "exit" {
			block++
		}
	}
	for r := range d.last {
		if in[r] < 0 || d.f.regs[r].ty == tyPred {
			d.last[r] = -1
		} else {
			d.byLast[d.last[r]] = append(d.byLast[d.last[r]], r)
		}
	}
}

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

// decode turns a parsed kernel into a program. global are the addresses of the module's variables.
func decode(m *module, f *entry, global map[string]symbol) (*program, error) {
	p := &program{entry: f, module: m}
	d := &decoder{m: m, f: f, p: p, slot: make([]int32, len(f.regs)), next: 64, consts: map[constKey]int32{},
		specials: map[string]int32{}, params: map[paramKey]int32{}, symbols: map[string]symbol{}}
	for n, s := range global {
		d.symbols[n] = s
	}
	if err := d.layout(); err != nil {
		return nil, err
	}
	targets := map[string]bool{}
	for _, s := range f.body {
		if baseOp(s.op) == "bra" && len(s.args) == 1 {
			targets[s.args[0].name] = true
		}
	}
	d.lifetimes(targets)
	at := map[string]int32{}
	branches := map[int]string{}
	for i := range f.body {
		s := &f.body[i]
		if s.label != "" {
			if _, twice := at[s.label]; twice {
				return nil, m.errorf(s.line, "label is defined twice")
			}
			at[s.label] = int32(len(p.code))
			if targets[s.label] {
				p.code = append(p.code, inst{kind: kindLabel, line: int32(s.line)})
			}
			continue
		}
		d.st = s
		in, err := d.inst(s)
		if err != nil {
			return nil, m.errorf(s.line, "%v", err)
		}
		in.line = int32(s.line)
		if s.guard >= 0 {
			in.pred, in.not = d.reg(s.guard), s.not
		}
		if in.kind == kindBra {
			branches[len(p.code)] = s.args[0].name
		}
		p.code = append(p.code, *in)
		for _, r := range d.byLast[i] {
			if d.slot[r] != 0 {
				n := slotSize(f.regs[r].ty)
				d.free[n] = append(d.free[n], d.slot[r])
			}
		}
	}
	for i, name := range branches {
		t, ok := at[name]
		if !ok {
			return nil, m.errorf(int(p.code[i].line), "unknown label %s", name)
		}
		p.code[i].target = t
	}
	last := 0
	if n := len(f.body); n > 0 {
		last = f.body[n-1].line
	}
	p.code = append(p.code, inst{kind: kindExit, class: ClassControl, line: int32(last)})
	p.fileBytes = d.next + 256
	for _, r := range f.regs {
		p.registers += slotSize(r.ty) / 128
	}
	return p, nil
}

const (
	maxStaticShared = 48 << 10
	maxLocal        = 512 << 10
)

// layout places the shared and local variables.
func (d *decoder) layout() error {
	used := map[string]bool{}
	for _, s := range d.f.body {
		for _, o := range s.args {
			used[o.name] = true
		}
	}
	shared := slices.Clone(d.f.shared)
	for _, v := range d.m.shared {
		if used[v.name] && !v.unsized {
			shared = append(shared, v)
		}
	}
	for _, v := range shared {
		d.p.shared = alignUp(d.p.shared, v.align)
		d.symbols[v.name] = symbol{spaceShared, uint64(d.p.shared)}
		d.p.shared += v.size
	}
	d.p.dynamic = uint64(alignUp(d.p.shared, 16))
	for _, v := range d.m.shared {
		if v.unsized {
			d.p.dynamic = uint64(alignUp(int(d.p.dynamic), v.align))
		}
	}
	for _, v := range d.m.shared {
		if v.unsized {
			d.symbols[v.name] = symbol{spaceShared, d.p.dynamic}
		}
	}
	for _, v := range d.f.local {
		d.p.local = alignUp(d.p.local, v.align)
		d.symbols[v.name] = symbol{spaceLocal, uint64(d.p.local)}
		d.p.local += v.size
	}
	d.p.local = alignUp(d.p.local, 16)
	if d.p.shared > maxStaticShared || d.p.local > maxLocal {
		return fmt.Errorf("ptxsim: %s has %d bytes of shared and %d of local memory, at most %d and %d", d.f.name, d.p.shared, d.p.local, maxStaticShared, maxLocal)
	}
	return nil
}

// minTarget are the architectures that an instruction needs, by the longest matching beginning of its name.
var minTarget = []struct {
	prefix string
	target int
}{
	{"cp.async", 80}, {"ldmatrix", 75}, {"mma", 80}, {"redux", 80}, {"tanh.approx", 75}, {"cvt.rn.f16x2.f32", 80},
	{"cvt.rn.bf16", 80}, {"cvt.rna.tf32", 80}, {"cvt.f32.bf16", 90}, {"min.NaN", 80}, {"min.ftz.NaN", 80}, {"max.NaN", 80}, {"max.ftz.NaN", 80},
}

// inst decodes one statement.
func (d *decoder) inst(s *stmt) (*inst, error) {
	for _, t := range minTarget {
		if strings.HasPrefix(s.op, t.prefix) && d.m.target < t.target {
			return nil, fmt.Errorf("%s needs sm_%d, the target is sm_%d", s.op, t.target, d.m.target)
		}
	}
	parts := strings.Split(s.op, ".")
	m := mods(parts[1:])
	if f, ok := decoders[parts[0]]; ok {
		return f(d, s, m)
	}
	return d.alu(s.op, s.args)
}

// decoders are the instructions that are not only a name in ops.
var decoders map[string]func(d *decoder, s *stmt, m mods) (*inst, error)

func init() { // refers to itself through set
	decoders = map[string]func(d *decoder, s *stmt, m mods) (*inst, error){
		"ret": (*decoder).exit, "exit": (*decoder).exit, "bra": (*decoder).bra, "trap": (*decoder).trap,
		"bar": (*decoder).bar, "barrier": (*decoder).bar, "membar": (*decoder).fence, "fence": (*decoder).fence,
		"nanosleep": (*decoder).nop,
		"ld":        (*decoder).ldst, "st": (*decoder).ldst, "atom": (*decoder).atom, "red": (*decoder).atom,
		"cvta": (*decoder).cvta, "isspacep": (*decoder).isspacep, "mov": (*decoder).mov, "setp": (*decoder).setp, "set": (*decoder).set,
		"and": (*decoder).logic, "or": (*decoder).logic, "xor": (*decoder).logic, "not": (*decoder).logic, "lop3": (*decoder).lop3,
		"add": (*decoder).carry, "addc": (*decoder).carry, "sub": (*decoder).carry, "subc": (*decoder).carry, "mad": (*decoder).carry, "madc": (*decoder).carry,
		"shfl": (*decoder).shfl, "vote": (*decoder).vote, "activemask": (*decoder).activemask, "match": (*decoder).match, "redux": (*decoder).redux,
		"cp": (*decoder).cpAsync, "ldmatrix": (*decoder).ldmatrix, "mma": (*decoder).mma,
	}
}

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

func want(s *stmt, n int) error {
	if len(s.args) != n {
		return fmt.Errorf("%d operands, want %d", len(s.args), n)
	}
	return nil
}

func (d *decoder) exit(s *stmt, m mods) (*inst, error) {
	m.take("uni")
	if err := want(s, 0); err != nil {
		return nil, err
	}
	return &inst{kind: kindExit, class: ClassControl}, m.end()
}

func (d *decoder) bra(s *stmt, m mods) (*inst, error) {
	m.take("uni")
	if err := want(s, 1); err != nil {
		return nil, err
	}
	return &inst{kind: kindBra, class: ClassControl}, m.end()
}

func (d *decoder) trap(s *stmt, m mods) (*inst, error) {
	if err := want(s, 0); err != nil {
		return nil, err
	}
	return &inst{fn: trap, class: ClassControl}, m.end()
}

func (d *decoder) nop(s *stmt, m mods) (*inst, error) {
	in := &inst{fn: nop, class: ClassControl}
	if _, err := m.typ(tyU32); err != nil {
		return nil, err
	}
	return in, d.srcs(s.args, []ptype{tyU32}, &in.a)
}

func (d *decoder) fence(s *stmt, m mods) (*inst, error) {
	if baseOp(s.op) == "membar" {
		if m.take("cta", "gl", "sys") == "" {
			return nil, m.unknown()
		}
	} else {
		m.take("sc", "acq_rel")
		if m.take("cta", "gpu", "sys") == "" {
			return nil, m.unknown()
		}
	}
	if err := want(s, 0); err != nil {
		return nil, err
	}
	return &inst{fn: nop, class: ClassControl}, m.end()
}

// Modes of kindBar.
const (
	barSync uint8 = iota
	barArrive
	barPopc
	barAnd
	barOr
)

// bar decodes bar and barrier: operand a is the barrier, b the number of threads or 0.
func (d *decoder) bar(s *stmt, m mods) (*inst, error) {
	if m.take("warp") != "" {
		in := &inst{kind: kindSync, fn: syncWarp, class: ClassControl}
		if m.take("sync") == "" {
			return nil, m.unknown()
		}
		if err := d.srcs(s.args, []ptype{tyB32}, &in.c); err != nil {
			return nil, err
		}
		return in, m.end()
	}
	m.take("cta")
	in := &inst{kind: kindBar, class: ClassControl}
	args := s.args
	var err error
	switch m.take("sync", "arrive", "red") {
	case "sync":
	case "arrive":
		in.mode = barArrive
	case "red":
		in.mode = map[string]uint8{"popc": barPopc, "and": barAnd, "or": barOr}[m.take("popc", "and", "or")]
		if in.mode == 0 || len(args) < 3 {
			return nil, fmt.Errorf("form of a reducing barrier")
		}
		ty := tyPred
		if in.mode == barPopc {
			ty = tyU32
		}
		if in.d, err = d.dst(args[0], ty); err != nil {
			return nil, err
		}
		p := args[len(args)-1]
		if p.not {
			p.not, in.signed = false, true
		}
		if in.e, err = d.src(p, tyPred); err != nil {
			return nil, err
		}
		args = args[1 : len(args)-1]
	default:
		return nil, m.unknown()
	}
	m.take("aligned")
	if in.mode >= barPopc {
		ty := tyPred
		if in.mode == barPopc {
			ty = tyU32
		}
		if _, err := m.typ(ty); err != nil {
			return nil, err
		}
	}
	if err := m.end(); err != nil {
		return nil, err
	}
	switch len(args) {
	case 1:
		if in.mode == barArrive {
			return nil, fmt.Errorf("arrive without a number of threads")
		}
		in.a, err = d.src(args[0], tyU32)
		return in, err
	case 2:
		return in, d.srcs(args, []ptype{tyU32, tyU32}, &in.a, &in.b)
	}
	return nil, fmt.Errorf("%d operands", len(s.args))
}

func (d *decoder) cvta(s *stmt, m mods) (*inst, error) {
	to := m.take("to")
	var window uint64
	switch m.take("global", "const", "shared", "local") {
	case "":
		return nil, m.unknown()
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

// cmpErr returns err, or the message if there is none.
func cmpErr(err error, format string, args ...any) error {
	if err != nil {
		return err
	}
	return fmt.Errorf(format, args...)
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
		in.signed, c.not = c.not, false
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
