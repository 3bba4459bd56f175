package nn

import (
	"sync/atomic"
	"testing"

	"github.com/convae/convae/cuda"
	"github.com/convae/convae/cuda/ptxsim"
	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/op"
)

// What blocks that are not executed would have written is 0, and not what other tensors left in the same memory.
func TestClearWritten(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: the simulator takes some seconds")
	}
	var idle atomic.Bool
	dev, err := cuda.Open(ptxsim.New(ptxsim.Options{Skip: ptxsim.Checks{Init: true, Race: true, GlobalRace: true, Count: true}, Blocks: func(int) bool { return !idle.Load() }}), 0, "sim")
	if err != nil {
		t.Fatal(err)
	}
	defer dev.Close()
	m := mustModel(t, zoo()[0])
	tr, err := NewTrainer(m, dev, TrainerOptions{Batch: 4, Precision: bf16, Loss: MSE, Noise: 0.1, Apart: true})
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	if err := tr.SetData(pixelsFor(m, 4), 4); err != nil {
		t.Fatal(err)
	}
	tr.Step(0, 4, 0)
	if err := tr.Wait(); err != nil {
		t.Fatal(err)
	}
	tr.first().mem.b.Upload(flat(tr.first().lanes.memory[0].workspace, 1), []float32{1})
	idle.Store(true)
	looked := 0
	if err := tr.stepWith(0, 4, 1, false, func(s *op.Call, f *op.Frame, values []op.Info) {
		clearWritten(s.Op, f, values)
		if b := tr.first().lanes.memory[0].workspace; values != nil {
			room := make([]float32, b.Size()/4)
			if err := f.B.Download(room, flat(b, len(room))); err != nil {
				t.Fatal(err)
			}
			for i, y := range room {
				if y != 0 {
					t.Fatalf("the workspace of %s of %s has %v at %d", s.Op.Name(), s.Layer, y, i)
				}
			}
		}
		f.Do(s)
		for _, v := range op.Writes(s.Op) {
			x := f.At(v)
			if values == nil || values[v].Space != op.Arena || x.Role != backend.Activation && x.Role != backend.Flat {
				continue
			}
			host := make([]float32, x.Shape.Len())
			if err := f.B.Download(host, x); err != nil {
				t.Fatal(err)
			}
			looked++
			for i, y := range host {
				if y != 0 {
					t.Fatalf("%s of %s leaves %v at %d of a tensor of shape %v", s.Op.Name(), s.Layer, y, i, x.Shape)
				}
			}
		}
	}); err != nil {
		t.Fatal(err)
	}
	if looked < 10 {
		t.Errorf("%d tensors were looked at", looked)
	}
}
