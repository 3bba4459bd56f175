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
	inv           bool // a predicate among the sources is negated
	wide          bool // the address is in 64 bits
	long          bool // values are in registers of 64 bits
	signed        bool
	carryIn       bool // reads the carry flag
	carryOut      bool // writes it
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

// program is a decoded kernel. Devices share it.
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
	waits     bool // for the launch before it, first of all
	groups    bool // has instructions of warpgroups
	bulk      bool // has mbarriers or bulk copies
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

// decode turns a parsed kernel into a program. global are the addresses of the module's variables.
func decode(m *module, f *entry, global map[string]symbol) (*program, error) {
	p := &program{entry: f, module: m}
	d := &decoder{m: m, f: f, p: p, slot: make([]int32, len(f.regs)), next: 64, consts: map[constKey]int32{},
		specials: map[string]int32{}, params: map[paramKey]int32{}, symbols: map[string]symbol{}}
	for n, s := range global {
		d.symbols[n] = s
	}
	for _, v := range f.params {
		d.symbols[v.name] = symbol{spaceParam, v.off}
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
		if in.sub != nil {
			in.sub.line = in.line
		}
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
	p.waits = len(f.body) > 0 && f.body[0].op == "griddepcontrol.wait" && f.body[0].guard < 0
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
	{"griddepcontrol", 90}, {"wgmma", 90}, {"fence.proxy", 90}, {"fence.mbarrier_init", 90}, {"cp.async.bulk", 90},
	{"mbarrier", 80}, {"mbarrier.try_wait", 90}, {"mbarrier.expect_tx", 90}, {"mbarrier.arrive.expect_tx", 90},
}

// inst decodes one statement.
func (d *decoder) inst(s *stmt) (*inst, error) {
	for _, t := range minTarget {
		if strings.HasPrefix(s.op, t.prefix) && d.m.target < t.target {
			return nil, fmt.Errorf("%s needs sm_%d, the target is sm_%d", s.op, t.target, d.m.target)
		}
		if t.prefix == "wgmma" && strings.HasPrefix(s.op, t.prefix) && !d.m.accelerated {
			return nil, fmt.Errorf("%s needs sm_90a, the target is sm_%d", s.op, d.m.target)
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
		"nanosleep": (*decoder).nop, "griddepcontrol": (*decoder).dependency,
		"ld": (*decoder).ldst, "st": (*decoder).ldst, "atom": (*decoder).atom, "red": (*decoder).atom,
		"cvta": (*decoder).cvta, "isspacep": (*decoder).isspacep, "mov": (*decoder).mov, "setp": (*decoder).setp, "set": (*decoder).set,
		"and": (*decoder).logic, "or": (*decoder).logic, "xor": (*decoder).logic, "not": (*decoder).logic, "lop3": (*decoder).lop3,
		"add": (*decoder).carry, "addc": (*decoder).carry, "sub": (*decoder).carry, "subc": (*decoder).carry, "mad": (*decoder).carry, "madc": (*decoder).carry,
		"shfl": (*decoder).shfl, "vote": (*decoder).vote, "activemask": (*decoder).activemask, "match": (*decoder).match, "redux": (*decoder).redux,
		"cp": (*decoder).cpAsync, "ldmatrix": (*decoder).ldmatrix, "mma": (*decoder).mma, "wgmma": (*decoder).wgmma,
		"mbarrier": (*decoder).mbarrier,
	}
}
