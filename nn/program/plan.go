package program

import (
	"slices"
	"sort"

	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/op"
)

// Plan places the program's tensors in one arena so that tensors that are alive at the same time do not overlap: the
// largest first, each at the lowest offset that is free for its whole life. Calls beside each other are at the same time. It returns
// an offset for each Value and the bytes of the arena.
func (p *Program) Plan(b backend.Backend) (offsets []int, bytes int) {
	const never = -1
	type life struct{ id, first, last, size, offset int }
	lives := make([]life, len(p.Values))
	for id, v := range p.Values {
		lives[id] = life{id: id, first: never, last: never}
		if v.Space == op.Arena && op.Value(id) != op.None {
			lives[id].size = backend.AlignUp(b.Bytes(v.Role, v.Type, v.Shape))
		}
	}
	touch := func(v op.Value, at int) {
		l := &lives[v]
		if v == op.None || p.Values[v].Space != op.Arena {
			return
		}
		if l.first == never {
			l.first = at
		}
		l.last = at
	}
	// What is uploaded lives from before the first step, the output until after the last.
	touch(p.Input, 0)
	touch(p.Target, 0)
	at := 0
	for i, s := range p.Calls {
		if i == 0 || !p.Calls[i-1].Beside {
			at = i + 1
		}
		s.Op.Args(func(v *op.Value, _ op.Use) { touch(*v, at) })
	}
	touch(p.Output, len(p.Calls)+1)

	order := make([]*life, 0, len(lives))
	for i := range lives {
		if lives[i].first != never {
			order = append(order, &lives[i])
		}
	}
	sort.SliceStable(order, func(i, j int) bool { return order[i].size > order[j].size })
	offsets = make([]int, len(lives))
	var placed []*life // by offset
	for _, l := range order {
		at := 0
		for _, q := range placed {
			if q.last < l.first || l.last < q.first {
				continue
			}
			if at+l.size <= q.offset {
				break
			}
			at = max(at, q.offset+q.size)
		}
		l.offset, offsets[l.id] = at, at
		bytes = max(bytes, at+l.size)
		placed = append(placed, l)
		sort.SliceStable(placed, func(i, j int) bool { return placed[i].offset < placed[j].offset })
	}
	return offsets, bytes
}

// MostTouched returns the most bytes of the arena that one call touches.
func (p *Program) MostTouched(b backend.Backend) (most int) {
	for _, c := range p.Calls {
		bytes := 0
		touched := append(op.Reads(c.Op), op.Writes(c.Op)...)
		slices.Sort(touched)
		for _, v := range slices.Compact(touched) {
			if i := p.Values[v]; i.Space == op.Arena {
				bytes += backend.AlignUp(b.Bytes(i.Role, i.Type, i.Shape))
			}
		}
		most = max(most, bytes)
	}
	return most
}
