package ptxsim

import (
	"fmt"
	"strconv"
	"strings"
)

// wgmma decodes the instructions of a warpgroup: fence, commit_group, wait_group and mma_async.
func (d *decoder) wgmma(s *stmt, m mods) (*inst, error) {
	d.p.groups = true
	in := &inst{kind: kindSync, class: ClassControl, c: d.konst(uint64(full), tyB32)}
	what := m.take("fence", "commit_group", "wait_group", "mma_async")
	if what == "" || m.take("sync") == "" || m.take("aligned") == "" {
		return nil, m.unknown()
	}
	switch what {
	case "fence":
		in.fn = wgmmaFence
	case "commit_group":
		in.fn = wgmmaCommit
	case "wait_group":
		in.fn = wgmmaWait
		if len(s.args) != 1 || s.args[0].kind != opImm || s.args[0].imm > 7 {
			return nil, fmt.Errorf("number of groups is no literal from 0 to 7")
		}
		in.imm = s.args[0].imm
		return in, m.end()
	default:
		in.fn, in.class = wgmmaIssue, ClassMMA
		return in, d.wgmmaProduct(in, s, m)
	}
	return in, cmpEnd(want(s, 0), m)
}

// wgmmaElements are the types of the elements by the end of an instruction's name, and K.
var wgmmaElements = map[string]struct {
	k       string
	element int32
}{
	"f32.tf32.tf32": {"k8", elementTF32}, "f32.bf16.bf16": {"k16", elementBF16}, "f32.f16.f16": {"k16", elementF16},
}

// wgmmaProduct decodes wgmma.mma_async.sync.aligned.m64nNkK.f32.type.type d, a, b, add, scale of a, scale of b, and of 16-bit elements
// whether a, if it is in shared memory, and b are transposed.
func (d *decoder) wgmmaProduct(in *inst, s *stmt, m mods) error {
	shape := ""
	if len(m) > 0 {
		shape = m[0]
		m = m[1:]
	}
	e, ok := wgmmaElements[strings.Join(m, ".")]
	if !ok {
		return m.unknown()
	}
	number, okN := strings.CutPrefix(shape, "m64n")
	number, okK := strings.CutSuffix(number, e.k)
	n, err := strconv.Atoi(number)
	if !okN || !okK || err != nil || n < 8 || n > 256 || n%8 != 0 {
		return fmt.Errorf("unknown shape %s", shape)
	}
	in.size = e.element
	if len(s.args) < 6 {
		return fmt.Errorf("%d operands", len(s.args))
	}
	if v := s.args[0]; v.kind != opVec || len(v.elems) != n/2 {
		return fmt.Errorf("operand 1 is no vector of %d", n/2)
	}
	for _, r := range s.args[0].elems {
		o, err := d.dst(r, tyF32)
		if err != nil {
			return err
		}
		in.x = append(in.x, o)
	}
	in.sub = &inst{space: spaceShared, access: accessRead | accessAsync, size: 16}
	if v := s.args[1]; v.kind == opVec {
		in.mode |= wgmmaRegs
		if len(v.elems) != 4 {
			return fmt.Errorf("operand 2 is no vector of 4")
		}
		for _, r := range v.elems {
			o, err := d.src(r, tyB32)
			if err != nil {
				return err
			}
			in.sub.x = append(in.sub.x, o)
		}
	} else if in.a, err = d.src(v, tyB64); err != nil {
		return err
	}
	if in.b, err = d.src(s.args[2], tyB64); err != nil {
		return err
	}
	switch p := s.args[3]; {
	case p.kind == opImm && p.imm != 0:
		in.mode |= wgmmaAdd
	case p.kind != opImm:
		in.inv, p.not = p.not, false
		if in.e, err = d.src(p, tyPred); err != nil {
			return err
		}
	}
	flags := []struct {
		bit      uint8
		off, set int64
	}{{wgmmaNegA, 1, -1}, {wgmmaNegB, 1, -1}}
	if e.element != elementTF32 {
		if in.mode&wgmmaRegs == 0 {
			flags = append(flags, struct {
				bit      uint8
				off, set int64
			}{wgmmaTransA, 0, 1})
		}
		flags = append(flags, struct {
			bit      uint8
			off, set int64
		}{wgmmaTransB, 0, 1})
	}
	if len(s.args) != 4+len(flags) {
		return fmt.Errorf("%d operands, want %d", len(s.args), 4+len(flags))
	}
	for i, f := range flags {
		o := s.args[4+i]
		switch v := int64(o.imm); {
		case o.kind != opImm || v != f.off && v != f.set:
			return fmt.Errorf("operand %d is neither %d nor %d", 5+i, f.off, f.set)
		case v == f.set:
			in.mode |= f.bit
		}
	}
	return nil
}
