package nn

import (
	"slices"
	"testing"

	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/graph"
	"github.com/convae/convae/nn/layer"
	"github.com/convae/convae/nn/op"
)

// perElement is what an element that an op reads or writes counts for, where multiply-adds do not say how long it takes: about as long as so many
// of them.
const perElement = 16

// counted returns the work of every task of every phase of a training step, without doing it.
func counted(t *testing.T, tr *Trainer, n int) (phases [][]int) {
	t.Helper()
	if !tr.begin(0, n, 0, false) {
		t.Fatal(tr.err)
	}
	for _, p := range tr.first().phases {
		tasks := make([]int, p.tasks())
		for i := range tasks {
			p.run(0, i, func(s *op.Call, f *op.Frame, _ []op.Info) {
				if o, ok := s.Op.(op.Sized); ok {
					tasks[i] += o.MACs()
				}
				s.Op.Args(func(v *op.Value, _ op.Use) {
					switch x := f.At(*v); {
					case x.IsZero() || x.Role == backend.Pixels || x.Role == backend.Index: // of these an op reads a few samples
					case x.Role == backend.Packed:
						tasks[i] += perElement * x.Shape.Len() / floatBytes
					default:
						tasks[i] += perElement * x.Shape.Len()
					}
				})
			})
		}
		if l, ok := p.(*listPhase); ok && l.pieces != nil { // what is observed is all of an op, with its first piece
			for i, p := range l.pieces {
				if tasks[i] /= p.n; p.i > 0 {
					tasks[i] = tasks[i-1]
				}
			}
		}
		phases = append(phases, tasks)
	}
	tr.end()
	return phases
}

// longest returns the work of the lane that works longest, if lanes take tasks as workers have it.
func longest(tasks []int, lanes int) int {
	next, end, done := make([]int, lanes), make([]int, lanes), make([]int, lanes)
	for i := range lanes {
		next[i], end[i] = i*len(tasks)/lanes, (i+1)*len(tasks)/lanes
	}
	for range tasks {
		lane := 0 // that has worked least
		for i := range done {
			if done[i] < done[lane] {
				lane = i
			}
		}
		of := lane
		for next[of] == end[of] {
			of = (of + 1) % lanes
		}
		done[lane] += tasks[next[of]]
		next[of]++
	}
	return slices.Max(done)
}

func total(tasks []int) (sum int) {
	for _, n := range tasks {
		sum += n
	}
	return sum
}

// No phase of a step keeps lanes waiting, on up to 64 of them, by the work of each. With chunks as large as each other the lane with most of
// them has the share ceil(chunks/lanes)/chunks of the batch, and no lane can have less if that is all; what the other phases add to the longest lane is to be at most a
// twentieth.
func TestNothingSerialises(t *testing.T) {
	wide := func(filters int) graph.Layer {
		return &layer.Conv2D{Filters: filters, Kernel: layer.Square(3), Activation: "relu"}
	}
	large := Config{Name: "large", Input: []int{16, 16, 3}, // with the weights of scripts/bench_large.yaml divided by four
		Encoder: graph.Specs(wide(32), &layer.MaxPool2D{Size: 2}, wide(64), &layer.MaxPool2D{Size: 2}, wide(128)),
		Decoder: graph.Specs(wide(64), &layer.UpSampling2D{Size: 2}, wide(32), &layer.UpSampling2D{Size: 2}, &layer.Conv2D{Filters: 3, Kernel: layer.Square(3)})}
	normal := Config{Name: "normal", Input: []int{16, 16, 3},
		Encoder: graph.Specs(wide(32), &layer.BatchNormalization{}, &layer.MaxPool2D{Size: 2}, wide(32)),
		Decoder: graph.Specs(wide(32), &layer.BatchNormalization{}, &layer.UpSampling2D{Size: 2}, &layer.Conv2D{Filters: 3, Kernel: layer.Square(3)})}
	for _, c := range []struct {
		name   string
		model  Config
		o      TrainerOptions
		chunks int
	}{
		{"denoiser", Denoiser(), TrainerOptions{Batch: 128}, 16},
		{"denoiser, its norm clipped", Denoiser(), TrainerOptions{Batch: 128, Clip: Clip{Norm: 1}, Slots: 64}, 64},
		{"denoiser, large batch", Denoiser(), TrainerOptions{Batch: 1024, Noise: 0.5}, 64},
		{"large", large, TrainerOptions{Batch: 64, Loss: MSE, Slots: 64}, 64},
		{"large, large batch", large, TrainerOptions{Batch: 512, Loss: MSE}, 32},
		{"batch normalised", normal, TrainerOptions{Batch: 1024, Loss: MSE}, 64},
	} {
		m := mustModel(t, c.model)
		tr, err := NewTrainer(m, openLanes(t, 64), c.o)
		if err != nil {
			t.Fatal(err)
		}
		if err := tr.SetData(make([]byte, c.o.Batch*m.Input.Len()), c.o.Batch); err != nil {
			t.Fatal(err)
		}
		phases := counted(t, tr, c.o.Batch)
		tr.Close()
		work := 0
		for _, tasks := range phases {
			work += total(tasks)
		}
		for lanes := 1; lanes <= 64; lanes++ {
			sum, worst, most := 0, 0, 0
			for i, tasks := range phases {
				n := longest(tasks, lanes)
				sum += n
				if more := n - total(tasks)/lanes; len(tasks) != c.chunks && more > most {
					worst, most = i, more
				}
			}
			ideal := float64(work) * float64((c.chunks+lanes-1)/lanes) / float64(c.chunks)
			if got := float64(sum) / ideal; got > 1.05 {
				t.Errorf("%s: of %d lanes that which works longest has %.3f times the work that even chunks would give it; of phases %d has %d tasks, the longest lane %.4f of all work",
					c.name, lanes, got, worst, len(phases[worst]), float64(longest(phases[worst], lanes))/float64(work))
				break
			}
		}
		t.Logf("%s: %d phases, the work of the last ones in thousandths of all: %v", c.name, len(phases), thousandths(phases, work))
	}
}

func thousandths(phases [][]int, work int) (list []float64) {
	for _, tasks := range phases[max(len(phases)-4, 0):] {
		list = append(list, float64(total(tasks)*100000/work)/100)
	}
	return list
}
