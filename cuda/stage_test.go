package cuda

import (
	"slices"
	"testing"

	"github.com/convae/convae/nn/backend"
)

// A staged copy waits only for what was called before the last one, unless it goes to the same tensor or the memory is
// new; ops wait for it; pinned memory is used again when the copy from it is done.
func TestStageOrder(t *testing.T) {
	d, f := openFake(t, 7, 5)
	l := d.lane
	s := backend.Vec(100)
	a, b := tensor(t, l, backend.Staged, s), tensor(t, l, backend.Staged, s)
	fills := 0
	stage := func(x backend.Tensor) []string {
		f.Calls = nil
		l.Stage(x, func(p []byte) {
			if len(p) != s.Len() {
				t.Errorf("fill is given %d bytes, want %d", len(p), s.Len())
			}
			fills++
		})
		var names []string
		for _, c := range f.Calls {
			names = append(names, c.Name)
		}
		return names
	}
	copied := []string{"Wait", "ToDevice", "Record", "Wait", "Record"}
	grow := []string{"NewEvent", "AllocHost"}
	for i, c := range []struct {
		name string
		dst  backend.Tensor
		want []string
	}{
		{"the first, to new memory", a, slices.Concat(grow, []string{"Record"}, copied)},
		{"to the other", b, slices.Concat(grow, copied)},
		{"to the first again", a, slices.Concat([]string{"Event.Synchronize"}, copied)},
		{"to the same", a, slices.Concat([]string{"Event.Synchronize", "Record"}, copied)},
	} {
		if got := stage(c.dst); !slices.Equal(got, c.want) || fills != i+1 {
			t.Errorf("%s: calls %v and %d fills, want %v and %d", c.name, got, fills, c.want, i+1)
		}
	}
	tensor(t, l, backend.Flat, s) // new memory is being cleared
	if got := stage(b); !slices.Contains(got, "Record") || slices.Index(got, "Record") > slices.Index(got, "Wait") {
		t.Errorf("after an Alloc: calls %v, want a Record before the first Wait", got)
	}
}
