package ptxsim

import "fmt"

// mbarrier decodes mbarrier.init, inval, arrive, arrive.expect_tx, expect_tx, test_wait and try_wait, of shared memory of the own block.
func (d *decoder) mbarrier(s *stmt, m mods) (*inst, error) {
	d.p.bulk = true
	in := &inst{class: ClassControl, space: spaceShared, access: accessWrite, size: 8}
	what := m.take("init", "inval", "arrive", "expect_tx", "test_wait", "try_wait")
	args := s.args
	var err error
	switch what {
	case "init":
		in.fn = mbarrierInit
	case "inval":
		in.fn = mbarrierInval
	case "arrive":
		in.fn, in.mode = mbarrierArrive, mbarrierArrives
		if m.take("expect_tx") != "" {
			in.mode |= mbarrierExpects
		}
		m.take("release")
		m.take("cta")
	case "expect_tx":
		in.fn, in.mode = mbarrierArrive, mbarrierExpects
		m.take("relaxed")
		m.take("cta")
	case "test_wait", "try_wait":
		in.fn = mbarrierWait
		if m.take("parity") != "" {
			in.mode = mbarrierParity
		}
		m.take("acquire")
		m.take("cta")
	default:
		return nil, m.unknown()
	}
	if m.take("shared", "shared::cta") == "" {
		return nil, m.unknown()
	}
	if _, err := m.typ(tyB64); err != nil {
		return nil, err
	}
	// A destination comes first, the mbarrier next.
	switch what {
	case "arrive":
		if len(args) < 2 {
			return nil, fmt.Errorf("%d operands", len(args))
		}
		if args[0].kind != opSink {
			if in.d, err = d.dst(args[0], tyB64); err != nil {
				return nil, err
			}
		}
		args = args[1:]
	case "test_wait", "try_wait":
		if len(args) < 3 {
			return nil, fmt.Errorf("%d operands", len(args))
		}
		if in.d, err = d.dst(args[0], tyPred); err != nil {
			return nil, err
		}
		args = args[1:]
	}
	if len(args) == 0 {
		return nil, fmt.Errorf("no operands")
	}
	if err := d.address(in, args[0]); err != nil {
		return nil, err
	}
	args = args[1:]
	switch {
	case what == "inval":
		return in, d.srcs(args, nil)
	case what == "arrive" && in.mode&mbarrierExpects == 0:
		if len(args) == 0 {
			return in, nil
		}
		return in, d.srcs(args, []ptype{tyU32}, &in.c)
	case what == "try_wait" && len(args) == 2: // a hint for how long
		args = args[:1]
	}
	ty := tyU32
	if in.fn != nil && (what == "test_wait" || what == "try_wait") && in.mode&mbarrierParity == 0 {
		ty = tyB64
	}
	return in, d.srcs(args, []ptype{ty}, &in.b)
}

// cpBulk decodes what follows cp.async.bulk: of bytes .shared::cluster.global.mbarrier::complete_tx::bytes [to], [from], bytes, [mbarrier], of a box
// .tensor.dim.shared::cluster.global{.tile}.mbarrier::complete_tx::bytes [to], [map, {coordinates}], [mbarrier].
func (d *decoder) cpBulk(s *stmt, m mods) (*inst, error) {
	d.p.bulk = true
	in := &inst{fn: cpBulk, class: ClassGlobal, access: accessRead, space: spaceGlobal, size: 16}
	dims, args := 0, 4
	if m.take("tensor") != "" {
		dims = map[string]int{"1d": 1, "2d": 2, "3d": 3, "4d": 4, "5d": 5}[m.take("1d", "2d", "3d", "4d", "5d")]
		if dims == 0 {
			return nil, m.unknown()
		}
		in.fn, args = cpTensor, 3
	}
	if m.take("shared::cluster") == "" || m.take("global") == "" {
		return nil, m.unknown()
	}
	if dims > 0 {
		m.take("tile")
	}
	if m.take("mbarrier::complete_tx::bytes") == "" {
		return nil, m.unknown()
	}
	if err := m.end(); err != nil {
		return nil, err
	}
	if err := want(s, args); err != nil {
		return nil, err
	}
	// The destination and the mbarrier are decoded as instructions of their own, so that all addresses have their number.
	in.sub = &inst{space: spaceShared, access: accessWrite | accessAsync, size: 16, sub: &inst{space: spaceShared, access: accessWrite, size: 8, line: int32(s.line)}}
	if err := d.address(in.sub, s.args[0]); err != nil {
		return nil, err
	}
	if err := d.address(in.sub.sub, s.args[args-1]); err != nil {
		return nil, err
	}
	from := s.args[1]
	if len(from.elems) != dims {
		return nil, fmt.Errorf("%d coordinates, want %d", len(from.elems), dims)
	}
	if dims == 0 {
		if err := d.address(in, from); err != nil {
			return nil, err
		}
		return in, d.srcs(s.args[2:3], []ptype{tyU32}, &in.b)
	}
	for _, e := range from.elems {
		o, err := d.src(e, tyS32)
		if err != nil {
			return nil, err
		}
		in.x = append(in.x, o)
	}
	at := &inst{space: spaceGeneric, size: 64}
	if err := d.address(at, from); err != nil {
		return nil, err
	}
	in.a, in.wide, in.imm, in.id = at.a, at.wide, at.imm, at.id
	return in, nil
}
