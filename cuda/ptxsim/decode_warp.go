package ptxsim

import (
	"fmt"
	"strings"
)

// Modes of shfl.
const (
	shflBfly uint8 = iota
	shflUp
	shflDown
	shflIdx
)

// shfl decodes shfl.sync.mode.b32 d{|p}, a, b, c, members.
func (d *decoder) shfl(s *stmt, m mods) (*inst, error) {
	in := &inst{kind: kindSync, fn: shfl, class: ClassWarp}
	if m.take("sync") == "" {
		return nil, m.unknown()
	}
	switch m.take("bfly", "up", "down", "idx") {
	case "":
		return nil, m.unknown()
	case "up":
		in.mode = shflUp
	case "down":
		in.mode = shflDown
	case "idx":
		in.mode = shflIdx
	}
	if _, err := m.typ(tyB32); err != nil {
		return nil, err
	}
	if err := want(s, 5); err != nil {
		return nil, err
	}
	dst := s.args[0]
	in.x = []int32{0, 0}
	var err error
	if dst.kind == opPair {
		if in.x[1], err = d.dst(dst.elems[1], tyPred); err != nil {
			return nil, err
		}
		dst = dst.elems[0]
	}
	if in.d, err = d.dst(dst, tyB32); err != nil {
		return nil, err
	}
	return in, d.srcs(s.args[1:], []ptype{tyB32, tyB32, tyB32, tyB32}, &in.a, &in.b, &in.x[0], &in.c)
}

// Modes of vote.
const (
	voteBallot uint8 = iota
	voteAny
	voteAll
	voteUni
)

func (d *decoder) vote(s *stmt, m mods) (*inst, error) {
	in := &inst{kind: kindSync, fn: vote, class: ClassWarp}
	if m.take("sync") == "" {
		return nil, m.unknown()
	}
	ty := tyPred
	switch m.take("ballot", "any", "all", "uni") {
	case "":
		return nil, m.unknown()
	case "ballot":
		ty = tyB32
	case "any":
		in.mode = voteAny
	case "all":
		in.mode = voteAll
	case "uni":
		in.mode = voteUni
	}
	if _, err := m.typ(ty); err != nil {
		return nil, err
	}
	if err := want(s, 3); err != nil {
		return nil, err
	}
	p := s.args[1]
	in.inv, p.not = p.not, false
	var err error
	if in.d, err = d.dst(s.args[0], ty); err != nil {
		return nil, err
	}
	return in, d.srcs([]operand{p, s.args[2]}, []ptype{tyPred, tyB32}, &in.a, &in.c)
}

func (d *decoder) activemask(s *stmt, m mods) (*inst, error) {
	in := &inst{fn: activeMask, class: ClassWarp}
	if _, err := m.typ(tyB32); err != nil {
		return nil, err
	}
	if err := want(s, 1); err != nil {
		return nil, err
	}
	var err error
	in.d, err = d.dst(s.args[0], tyB32)
	return in, err
}

// match decodes match.any.sync and match.all.sync d{|p}, a, members.
func (d *decoder) match(s *stmt, m mods) (*inst, error) {
	in := &inst{kind: kindSync, fn: matchAny, class: ClassWarp, x: []int32{0}}
	if m.take("any") == "" {
		in.fn = matchAll
		if m.take("all") == "" {
			return nil, m.unknown()
		}
	}
	if m.take("sync") == "" {
		return nil, m.unknown()
	}
	t, err := m.typ(tyB32, tyB64)
	if err != nil {
		return nil, err
	}
	if err := want(s, 3); err != nil {
		return nil, err
	}
	in.long = t == tyB64
	dst := s.args[0]
	if dst.kind == opPair {
		if in.x[0], err = d.dst(dst.elems[1], tyPred); err != nil {
			return nil, err
		}
		dst = dst.elems[0]
	}
	if in.d, err = d.dst(dst, tyB32); err != nil {
		return nil, err
	}
	return in, d.srcs(s.args[1:], []ptype{t, tyB32}, &in.a, &in.c)
}

// redux decodes redux.sync.op.type d, a, members.
func (d *decoder) redux(s *stmt, m mods) (*inst, error) {
	in := &inst{kind: kindSync, fn: redux, class: ClassWarp}
	forms := map[string]uint8{
		"add.u32": atomAdd, "add.s32": atomAdd, "min.u32": atomMin, "max.u32": atomMax, "min.s32": atomMinS, "max.s32": atomMaxS,
		"and.b32": atomAnd, "or.b32": atomOr, "xor.b32": atomXor,
	}
	if m.take("sync") == "" {
		return nil, m.unknown()
	}
	mode, ok := forms[strings.Join(m, ".")]
	if !ok {
		return nil, m.unknown()
	}
	if err := want(s, 3); err != nil {
		return nil, err
	}
	in.mode = mode
	var err error
	if in.d, err = d.dst(s.args[0], tyB32); err != nil {
		return nil, err
	}
	return in, d.srcs(s.args[1:], []ptype{tyB32, tyB32}, &in.a, &in.c)
}

// ldmatrix decodes ldmatrix.sync.aligned.m8n8.xN{.trans}.shared.b16 {d...}, [a].
func (d *decoder) ldmatrix(s *stmt, m mods) (*inst, error) {
	in := &inst{kind: kindSync, fn: ldmatrix, class: ClassShared, space: spaceShared, access: accessRead, size: 16}
	if m.take("sync") == "" || m.take("aligned") == "" || m.take("m8n8") == "" {
		return nil, m.unknown()
	}
	n := map[string]int{"x1": 1, "x2": 2, "x4": 4}[m.take("x1", "x2", "x4")]
	if m.take("trans") != "" {
		in.mode = 1
	}
	if n == 0 || m.take("shared", "shared::cta") == "" {
		return nil, m.unknown()
	}
	if _, err := m.typ(tyB16); err != nil {
		return nil, err
	}
	if err := want(s, 2); err != nil {
		return nil, err
	}
	if s.args[0].kind != opVec || len(s.args[0].elems) != n {
		return nil, fmt.Errorf("destination is no vector of %d", n)
	}
	for _, e := range s.args[0].elems {
		o, err := d.dst(e, tyB32)
		if err != nil {
			return nil, err
		}
		in.x = append(in.x, o)
	}
	in.c = d.konst(uint64(full), tyB32)
	return in, d.address(in, s.args[1])
}

// mmaForms are the shapes of mma.sync.aligned: the registers of d, a, b and c, and the function.
var mmaForms = map[string]struct {
	n  [4]int
	fn opFn
}{
	"m16n8k8.row.col.f32.tf32.tf32.f32":  {[4]int{4, 4, 2, 4}, mmaTF32},
	"m16n8k16.row.col.f32.bf16.bf16.f32": {[4]int{4, 4, 2, 4}, mmaBF16},
	"m16n8k16.row.col.f32.f16.f16.f32":   {[4]int{4, 4, 2, 4}, mmaF16},
}

func (d *decoder) mma(s *stmt, m mods) (*inst, error) {
	if m.take("sync") == "" || m.take("aligned") == "" {
		return nil, m.unknown()
	}
	form, ok := mmaForms[strings.Join(m, ".")]
	if !ok {
		return nil, m.unknown()
	}
	if err := want(s, 4); err != nil {
		return nil, err
	}
	in := &inst{kind: kindSync, fn: form.fn, class: ClassMMA, c: d.konst(uint64(full), tyB32)}
	for i, v := range s.args {
		if v.kind != opVec || len(v.elems) != form.n[i] {
			return nil, fmt.Errorf("operand %d is no vector of %d", i+1, form.n[i])
		}
		t := [...]ptype{tyF32, tyB32, tyB32, tyF32}[i]
		for _, e := range v.elems {
			var o int32
			var err error
			if i == 0 {
				o, err = d.dst(e, t)
			} else {
				o, err = d.src(e, t)
			}
			if err != nil {
				return nil, err
			}
			in.x = append(in.x, o)
		}
	}
	return in, nil
}

// carryForms are the carry instructions on whole registers: what is multiplied or added, and whether it subtracts.
const (
	carryAdd uint8 = iota
	carrySub
	carryMadLo
	carryMadHi
)

// carry decodes add, sub and mad with .cc, and addc, subc and madc; without, they are in the table.
// d = a + b, or lo/hi(a*b) + c, plus the carry that went before.
func (d *decoder) carry(s *stmt, m mods) (*inst, error) {
	op := baseOp(s.op)
	in := &inst{fn: carry, class: ClassInteger, carryIn: op[len(op)-1] == 'c'}
	half := ""
	if op[0] == 'm' {
		half = m.take("lo", "hi")
	}
	in.carryOut = m.take("cc") != ""
	if !in.carryIn && !in.carryOut {
		return d.alu(s.op, s.args)
	}
	switch {
	case op[0] == 's':
		in.mode = carrySub
	case op[0] == 'm' && half == "":
		return nil, m.unknown()
	case half == "lo":
		in.mode = carryMadLo
	case half == "hi":
		in.mode = carryMadHi
	}
	t, err := m.typ(tyU32, tyS32, tyU64, tyS64)
	if err != nil {
		return nil, err
	}
	n := 3
	if op[0] == 'm' {
		n = 4
	}
	if err := want(s, n); err != nil {
		return nil, err
	}
	if in.d, err = d.dst(s.args[0], t); err != nil {
		return nil, err
	}
	in.long = t.size() == 8
	in.signed = t.signed()
	return in, d.srcs(s.args[1:], []ptype{t, t, t}[:n-1], &in.a, &in.b, &in.c)
}
