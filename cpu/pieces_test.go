package cpu

import (
	"math"
	"reflect"
	"slices"
	"sync"
	"testing"

	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/backend/backendtest"
)

// together has several lanes do pieces of ops at the same time.
type together struct {
	*lane
	others []*lane
	own    []backend.Buffer // workspaces of the others
	seen   map[string]bool
}

// SetWorkspace gives each lane one of its own.
func (t *together) SetWorkspace(b backend.Buffer) {
	t.lane.SetWorkspace(b)
	if b == nil {
		return
	}
	for i, l := range t.others {
		if t.own[i] == nil || t.own[i].Size() < b.Size() {
			var err error
			if t.own[i], err = l.Alloc(b.Size()); err != nil {
				panic(err)
			}
		}
		l.SetWorkspace(t.own[i])
	}
}

// each has every lane do its piece of an op, and the first lane no more than that.
func (t *together) each(op string, do func(l *lane)) {
	t.seen[op] = true
	lanes := append([]*lane{t.lane}, t.others...)
	var w sync.WaitGroup
	for i, l := range lanes {
		w.Go(func() {
			l.Piece(i, len(lanes))
			do(l)
			l.Piece(0, 1)
		})
	}
	w.Wait()
}

func (t *together) ConvPack(s backend.ConvShape, dst, w backend.Tensor) {
	t.each("ConvPack", func(l *lane) { l.ConvPack(s, dst, w) })
}

func (t *together) ConvTransposePack(s backend.ConvTransposeShape, dst, w backend.Tensor) {
	t.each("ConvTransposePack", func(l *lane) { l.ConvTransposePack(s, dst, w) })
}

func (t *together) DensePack(s backend.DenseShape, dst, w backend.Tensor) {
	t.each("DensePack", func(l *lane) { l.DensePack(s, dst, w) })
}

func (t *together) Conv(s backend.ConvShape, out, argmax, x backend.Tensor, p backend.Params) {
	t.each("Conv", func(l *lane) { l.Conv(s, out, argmax, x, p) })
}

func (t *together) ConvTranspose(s backend.ConvTransposeShape, out, x backend.Tensor, p backend.Params) {
	t.each("ConvTranspose", func(l *lane) { l.ConvTranspose(s, out, x, p) })
}

func (t *together) Dense(s backend.DenseShape, out, x backend.Tensor, p backend.Params) {
	t.each("Dense", func(l *lane) { l.Dense(s, out, x, p) })
}

func (t *together) MaxPool(s backend.PoolShape, out, argmax, x backend.Tensor) {
	t.each("MaxPool", func(l *lane) { l.MaxPool(s, out, argmax, x) })
}

func (t *together) AveragePool(s backend.PoolShape, out, x backend.Tensor) {
	t.each("AveragePool", func(l *lane) { l.AveragePool(s, out, x) })
}

func (t *together) Upsample(s backend.UpsampleShape, out, x backend.Tensor) {
	t.each("Upsample", func(l *lane) { l.Upsample(s, out, x) })
}

func (t *together) Bilinear(s backend.UpsampleShape, out, x backend.Tensor) {
	t.each("Bilinear", func(l *lane) { l.Bilinear(s, out, x) })
}

func (t *together) Activate(f backend.Function, out, x backend.Tensor) {
	t.each("Activate", func(l *lane) { l.Activate(f, out, x) })
}

func (t *together) Plus(out, a, b backend.Tensor) {
	t.each("Plus", func(l *lane) { l.Plus(out, a, b) })
}

func (t *together) CopyChannels(dst backend.Tensor, to int, src backend.Tensor, from, count int) {
	t.each("CopyChannels", func(l *lane) { l.CopyChannels(dst, to, src, from, count) })
}

// Lanes that do an op together make what one makes, bit for bit, at the same time: where pieces overlap the race detector says so.
func TestPieces(t *testing.T) {
	var cases []backendtest.Case
	for _, c := range backendtest.Cases() {
		cut := false
		for _, op := range c.Ops {
			cut = cut || cuttable[op] > 0
		}
		if cut && !c.Bench && c.MACs < 2<<20 {
			cases = append(cases, c)
		}
	}
	many := []int{3, 64}
	if testing.Short() { // with the race detector
		many = many[:1]
		few := cases[:0]
		for i := 0; i < len(cases); i += 4 {
			few = append(few, cases[i])
		}
		cases = few
	}
	levels(t, func(t *testing.T) {
		for _, n := range many {
			d, err := Open(Options{Lanes: n})
			if err != nil {
				t.Fatal(err)
			}
			all := &together{lane: d.lanes[0].(*lane), seen: map[string]bool{}}
			for _, l := range d.lanes[1:] {
				all.others = append(all.others, l.(*lane))
				all.own = append(all.own, nil)
			}
			for _, c := range cases {
				want, err := backendtest.Memory(all.lane, c)
				if err != nil {
					t.Fatal(err)
				}
				got, err := backendtest.Memory(all, c)
				if err != nil {
					t.Fatal(err)
				}
				same := func(a, b float32) bool { return math.Float32bits(a) == math.Float32bits(b) }
				if !slices.EqualFunc(got, want, same) {
					t.Errorf("%s: %d lanes make other bits than one", c.Name, n)
				}
			}
			for i := range reflect.TypeFor[backend.Backend]().NumMethod() {
				op := reflect.TypeFor[backend.Backend]().Method(i).Name
				if cut := all.Pieces(op, math.MaxInt) > 1; cut != all.seen[op] && !testing.Short() {
					t.Errorf("%s: cut into pieces %v, tested %v", op, cut, all.seen[op])
				}
			}
		}
	})
}

// Each lane has a piece of an op that is worth it, of the same size but for a unit.
func TestPieceSizes(t *testing.T) {
	l := open(t, false).(*lane)
	for _, n := range []int{0, 1, 7, 28, 1000} {
		for parts := 1; parts <= 64; parts++ {
			at := 0
			for i := range parts {
				l.Piece(i, parts)
				lo, hi := l.piece(n)
				if lo != at || hi-lo < n/parts || hi-lo > (n+parts-1)/parts {
					t.Fatalf("piece %d of %d of %d: %d to %d, want a share that begins at %d", i, parts, n, lo, hi, at)
				}
				at = hi
			}
			if at != n {
				t.Fatalf("%d pieces of %d end at %d", parts, n, at)
			}
		}
	}
}
