package nn

import (
	"sort"

	"github.com/convae/convae/nn/backend"
)

// plan places the program's tensors in one arena so that tensors that are alive at the same time do not overlap: the
// largest first, each at the lowest offset that is free for its whole life. It returns an offset a tensor and the
// bytes of the arena.
func (p *program) plan(b backend.Backend) (offsets []int, bytes int) {
	const never = -1
	type life struct{ id, first, last, size, offset int }
	lives := make([]life, len(p.tensors))
	for id, t := range p.tensors {
		lives[id] = life{id: id, first: never, last: never, size: backend.AlignUp(b.Bytes(t.kind, t.shape))}
	}
	touch := func(id, at int) {
		l := &lives[id]
		if l.first == never {
			l.first = at
		}
		l.last = at
	}
	// What is uploaded lives from before the first step, the output until after the last.
	touch(p.x, 0)
	if p.target >= 0 {
		touch(p.target, 0)
	}
	for i, s := range p.steps {
		for _, id := range s.reads {
			touch(id, i+1)
		}
		for _, id := range s.writes {
			touch(id, i+1)
		}
	}
	touch(p.out, len(p.steps)+1)

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

// bind places the program's tensors in a lane's arena. The offsets may be those of the same program for more samples.
func (p *program) bind(offsets []int, arena backend.Buffer) []backend.Tensor {
	t := make([]backend.Tensor, len(p.tensors))
	for i, s := range p.tensors {
		t[i] = backend.Tensor{Shape: s.shape, Kind: s.kind, Buffer: arena, Offset: offsets[i]}
	}
	return t
}
