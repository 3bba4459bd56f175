package ptxsim

import "fmt"

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
		if m.take("proxy") != "" {
			return fenceOfProxy(s, m)
		}
		if m.take("mbarrier_init") != "" {
			if m.take("release") == "" || m.take("cluster") == "" {
				return nil, m.unknown()
			}
			return &inst{fn: fenceInit, class: ClassControl}, cmpEnd(want(s, 0), m)
		}
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

// fenceOfProxy decodes fence.proxy.async, of shared memory if it says so.
func fenceOfProxy(s *stmt, m mods) (*inst, error) {
	if m.take("async") == "" {
		return nil, m.unknown()
	}
	m.take("shared::cta")
	return &inst{fn: fenceProxy, class: ClassControl}, cmpEnd(want(s, 0), m)
}

// dependency decodes griddepcontrol. A launch runs when the one before it has ended: there is nothing to wait for, and nothing to let
// begin. That a launch which may begin before waits first is checked when it is launched.
func (d *decoder) dependency(s *stmt, m mods) (*inst, error) {
	if m.take("wait", "launch_dependents") == "" {
		return nil, m.unknown()
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
			p.not, in.inv = false, true
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
