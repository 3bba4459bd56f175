package nn

import (
	"fmt"

	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/program"
)

const (
	mostSamples  = 256       // the most samples that a lane takes through a network at a time
	forwardBytes = 256 << 20 // so many bytes of activations are enough work for any device
)

// partPlan says how many samples a part of the model takes at a time, and where its tensors lie then.
type partPlan struct {
	micro            int   // samples at the most
	samples          int   // the fields below hold for so many samples and fewer; 0 if they are not worked out yet
	offsets          []int // of the tensors
	arena, workspace int   // bytes that each lane needs
}

// planPart decides how many of at most limit samples a part, whose program for one sample is given, takes at a time: as many
// as the device's policy says, as its kernels can index, and as make an arena of at most room bytes; at least 1.
func planPart(one *program.Program, b backend.Backend, policy backend.Policy, limit, room int) partPlan {
	_, sample := one.Plan(b)
	_, packed := one.PackedBytes()
	micro := microBatch(policy, min(limit, one.MostSamples()), sample, packed)
	return partPlan{micro: min(micro, max(room/max(sample, 1), 1))}
}

// place plans the tensors of a part's program.
func (p *partPlan) place(prog *program.Program, b backend.Backend) {
	p.samples, p.workspace = prog.Samples, prog.Workspace
	p.offsets, p.arena = prog.Plan(b)
}

// laneArenas are the arenas and the workspaces of a device's lanes. A trainer and a network that never run at the same time
// can share them.
type laneArenas struct {
	mem              arena
	memory           []laneMemory // of the first lanes
	arenas           int          // of them; lanes behind those have a workspace alone
	arena, workspace int          // bytes of each
}

// laneMemory is what a lane has to itself.
type laneMemory struct {
	arena     backend.Buffer
	at        int // in the arena
	workspace backend.Buffer
}

// alloc gives the first lanes memory in place of what they had: as many as there are to be arenas one of these, and all a workspace. If whole
// is not 0 their arenas lie in one of so many bytes.
func (l *laneArenas) alloc(lanes, arenas, arena, workspace, whole int) error {
	l.free()
	shared, err := l.mem.alloc(whole, "activations")
	if err != nil {
		return err
	}
	for i := range lanes {
		m := laneMemory{arena: shared, at: i * arena}
		if whole == 0 && i < arenas {
			m.arena, err = l.mem.alloc(arena, "activations")
			m.at = 0
		}
		if err == nil {
			m.workspace, err = l.mem.alloc(workspace, "workspace")
		}
		if err != nil {
			l.free()
			return err
		}
		l.memory = append(l.memory, m)
	}
	l.arenas, l.arena, l.workspace = arenas, arena, workspace
	return nil
}

func (l *laneArenas) free() {
	l.mem.free()
	l.memory, l.arenas, l.arena, l.workspace = nil, 0, 0, 0
}

// fit makes sure that count samples can run through a part: a network that is not a trainer's takes the memory that its largest
// call needs, and where the device has no room for that it takes fewer lanes, and then fewer samples at a time.
func (n *Network) fit(p *part, count int) error {
	if n.planned {
		return nil
	}
	for micro := min(p.micro, count); ; micro = (micro + 1) / 2 {
		plan := p.partPlan
		if micro > plan.samples {
			prog, err := n.compile(p.which, micro)
			if err != nil {
				return err
			}
			plan.place(prog, n.w.lanes[0])
		}
		grown, err := n.grow(n.cutSamples(count, micro), plan.arena, plan.workspace)
		if err != nil && micro > 1 {
			continue
		}
		if err != nil {
			return fmt.Errorf("nn: running %q on %s: %w", n.m.Config.Name, n.dev.Name(), err)
		}
		if plan.samples > p.samples || grown {
			n.unbind()
		}
		p.partPlan = plan
		if micro < min(p.micro, count) {
			p.micro = micro
		}
		return nil
	}
}

// grow gives lanes for a cut at least that much memory each, or fewer of them where there is no room for more.
func (n *Network) grow(c tasks, arena, workspace int) (grown bool, err error) {
	l := n.lanes
	arenas, lanes := max(min(c.count, len(n.w.lanes)), l.arenas), len(l.memory)
	if c.together {
		arenas, lanes = max(l.arenas, 1), len(n.w.lanes)
	}
	lanes = max(lanes, arenas)
	arena, workspace = max(arena, l.arena), max(workspace, l.workspace)
	if lanes == len(l.memory) && arenas == l.arenas && arena == l.arena && workspace == l.workspace {
		return false, nil
	}
	free, err := n.dev.Free()
	if err != nil {
		return false, err
	}
	free += l.mem.bytes
	each := max(arena+workspace, 1)
	if arenas*arena+lanes*workspace > free {
		arenas = min(arenas, free/each)
		lanes = arenas
	}
	if arenas < 1 {
		return false, fmt.Errorf("a sample needs %s, where %s are free", BytesText(each), BytesText(free))
	}
	if lanes <= len(l.memory) && arenas <= l.arenas && arena == l.arena && workspace == l.workspace {
		return false, nil // there is no room for another
	}
	n.unbind()
	return true, l.alloc(lanes, arenas, arena, workspace, 0)
}

// unbind forgets the programs that are bound to the lanes' memory.
func (n *Network) unbind() {
	for _, p := range n.parts {
		if p != nil {
			clear(p.programs)
		}
	}
}

func ceilDiv(a, b int) int { return (a + b - 1) / b }
