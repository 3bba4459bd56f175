package nn

import (
	"fmt"
	"slices"
	"sort"
	"strings"
	"testing"

	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/backend/backendtest"
	"github.com/convae/convae/nn/graph"
	"github.com/convae/convae/nn/layer"
	"github.com/convae/convae/nn/program"
)

// recomputing returns a trainer that recomputes what is chosen, whatever memory there is.
func recomputing(t *testing.T, c Config, dev backend.Device, o TrainerOptions, choose func(p *program.Program) program.Recompute) *Trainer {
	t.Helper()
	tr, err := planTrainer(mustModel(t, c), dev, o)
	if err != nil {
		t.Fatal(err)
	}
	one, err := compileTraining(tr.m, dev.Lanes()[0], tr.o, source{gather: true, apart: true}, 1)
	if err != nil {
		t.Fatal(err)
	}
	r := choose(one)
	if tr.plan, err = tr.planFor(cut{batch: tr.o.Batch, limit: tr.plan.micro, lanes: tr.plan.lanes, again: r}); err != nil {
		t.Fatal(err)
	}
	if err := tr.open(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(tr.Close)
	return tr
}

// weightsAfter returns the parameters after a few steps.
func weightsAfter(t *testing.T, tr *Trainer, n int) (w [][]float32) {
	t.Helper()
	if err := tr.SetData(pixelsFor(tr.m, n), n); err != nil {
		t.Fatal(err)
	}
	trainEpochs(tr, n, 2)
	if err := tr.Pull(); err != nil {
		t.Fatal(err)
	}
	for _, p := range tr.m.Params {
		w = append(w, slices.Clone(p.Data))
	}
	return w
}

func nothing(*program.Program) program.Recompute { return nil }

func inSegments(n int) func(p *program.Program) program.Recompute {
	return func(p *program.Program) program.Recompute { return p.Segments(n) }
}

// What is made again is what was made before, bit for bit: of every kind of layer, fused and not, with penalties on codes, noise, and
// what is done once for the batch.
func TestRecomputeChangesNoBit(t *testing.T) {
	check := func(t *testing.T, c Config, dev backend.Device, o TrainerOptions) (repeated bool) {
		want := weightsAfter(t, recomputing(t, c, dev, o, nothing), o.Batch+2)
		for name, choose := range map[string]func(*program.Program) program.Recompute{"cheap": (*program.Program).Cheap, "2": inSegments(2), "3": inSegments(3), "7": inSegments(7)} {
			tr := recomputing(t, c, dev, o, choose)
			repeated = repeated || tr.plan.need.RepeatedShare > 0
			for i, got := range weightsAfter(t, tr, o.Batch+2) {
				if !slices.Equal(got, want[i]) {
					t.Errorf("%s: parameter %d is another", name, i)
				}
			}
		}
		return repeated
	}
	repeated := 0
	programs := 0
	everyProgram(t, func(t *testing.T, c Config, o TrainerOptions) {
		if programs++; testing.Short() && programs%5 > 0 {
			t.Skip("-short: a fifth of the programs")
		}
		if check(t, c, openLanes(t, 1), o) {
			repeated++
		}
	})
	if repeated < programs/10 {
		t.Errorf("%d of %d programs repeat products, want more", repeated, programs)
	}
	t.Run("batchwise", func(t *testing.T) {
		check(t, centred(), openLanes(t, 2), TrainerOptions{Batch: 6, Slots: 2, MicroBatch: 2, Loss: MSE, Noise: 0.3, Seed: 4})
	})
	t.Run("sim", func(t *testing.T) {
		for _, p := range []string{"float32", "bf16"} {
			precision, err := backend.ParsePrecision(p)
			if err != nil {
				t.Fatal(err)
			}
			check(t, batchNormalised(), openSim(t), TrainerOptions{Batch: 3, Loss: MSE, Precision: precision})
		}
	})
}

// tall is a chain of layers whose activations are all as large.
func tall(layers int) Config {
	var encoder []graph.Layer
	for range layers {
		encoder = append(encoder, &layer.Conv2D{Filters: 4, Kernel: layer.Square(3), Activation: "relu"})
	}
	return Config{Name: "tall", Input: []int{48, 48, 1}, Encoder: graph.Specs(encoder...),
		Decoder: graph.Specs(&layer.Conv2D{Filters: 1, Kernel: layer.Square(1), Activation: "sigmoid"})}
}

// In n segments of L layers, of which one at a time is whole, memory for activations is that of about n + L/n layers.
func TestRecomputeMemory(t *testing.T) {
	const layers = 36
	plan := func(choose func(*program.Program) program.Recompute) (bytes int, repeated float64) {
		tr := recomputing(t, tall(layers), openLanes(t, 1), TrainerOptions{Batch: 1}, choose)
		p, err := compileTraining(tr.m, tr.dev.Lanes()[0], tr.o, tr.source(kind{}), 1)
		if err != nil {
			t.Fatal(err)
		}
		_, bytes = p.Plan(tr.dev.Lanes()[0])
		return bytes, p.RepeatedShare()
	}
	all, _ := plan(nothing)
	some, share := plan(inSegments(6))
	const gradients = 2
	if most := all * (6 + 6 + gradients + 1) / layers; some > most {
		t.Errorf("an arena of %d bytes, want at most %d; %d without recomputing", some, most, all)
	}
	// A step is a forward pass and two of gradients, but for the first layer, which has no gradient of its input; five sixths of the forward
	// pass is done again, but for what leads from one segment to the next.
	if share < 0.2 || share > 0.3 {
		t.Errorf("%v of the multiply-adds are done again", share)
	}
}

// What does not fit does by recomputing, and no more than that is recomputed.
func TestRecomputeFits(t *testing.T) {
	c, o := tall(36), TrainerOptions{Batch: 1, Samples: 4}
	need := func(how Recompute, limit int) (Memory, error) {
		o.Recompute = how
		dev := backendtest.Meter(openLanes(t, 1), limit)
		dev.Whole = true
		return TrainingMemory(mustModel(t, c), dev, o)
	}
	if m, err := need(RecomputeAuto, 1<<30); err != nil || m.Recompute || m.RepeatedShare != 0 {
		t.Fatalf("in ample memory %+v, %v", m, err)
	}
	least := func(how Recompute) int {
		const page = 4 << 10
		return page * sort.Search(1<<12, func(pages int) bool {
			_, err := need(how, page*pages)
			return err == nil
		})
	}
	auto, never := least(RecomputeAuto), least(RecomputeNever)
	if always := least(RecomputeAlways); auto != always || auto > never*2/3 {
		t.Errorf("at least %d bytes are wanted by auto, %d by always, %d by never", auto, always, never)
	}
	for i := range 5 {
		limit := auto + i*(never-auto)/5
		m, err := need(RecomputeAuto, limit)
		if err != nil || !m.Recompute || m.Total() > limit || !strings.Contains(m.String(), fmt.Sprintf("made again (%.0f %% more multiply-adds)", 100*m.RepeatedShare)) {
			t.Errorf("in %d bytes %v, %v", limit, m, err)
		}
	}
	if m, err := need(RecomputeAuto, never); err != nil || m.Recompute {
		t.Errorf("where all can be kept %v, %v", m, err)
	}
	if _, err := ParseRecompute("often"); err == nil || !strings.Contains(err.Error(), `"often", want auto, never or always`) {
		t.Error(err)
	}
}
