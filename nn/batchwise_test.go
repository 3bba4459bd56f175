package nn

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/backend/backendtest"
	"github.com/convae/convae/nn/graph"
	"github.com/convae/convae/nn/layer"
	"github.com/convae/convae/nn/op"
)

// centre subtracts from each element its mean over the batch, in training: the least that something done once for the batch can do.
type centre struct{}

func (*centre) Kind() string { return "Centre" }
func (*centre) Build(b *graph.Builder, in ...op.Value) (op.Value, error) {
	b.Module()
	if !b.Training() {
		return in[0], nil
	}
	out := b.New(b.Shape(in[0]))
	rows, mean := b.NewRows(b.Shape(in[0]).Image()), b.NewBatch(b.Shape(in[0]).Image())
	b.Emit(&addUp{rows, in[0]})
	b.EmitOnce(&negatedMean{mean, rows})
	b.Emit(&shift{out, in[0], mean})
	return out, nil
}

// addUp leaves the sum of a micro-batch's samples.
type addUp struct{ Row, X op.Value }

func (o *addUp) Name() string { return "AddUp" }
func (o *addUp) Args(visit func(v *op.Value, u op.Use)) {
	visit(&o.Row, op.Write)
	visit(&o.X, op.Read)
}
func (o *addUp) Run(f *op.Frame) {
	f.B.Zero(f.At(o.Row))
	f.B.ColumnSum(f.At(o.Row), f.At(o.X))
}

// negatedMean makes the mean of all samples of the batch.
type negatedMean struct{ Mean, Rows op.Value }

func (o *negatedMean) Name() string { return "NegatedMean" }
func (o *negatedMean) Args(visit func(v *op.Value, u op.Use)) {
	visit(&o.Mean, op.Write)
	visit(&o.Rows, op.Read)
}
func (o *negatedMean) Run(f *op.Frame) {
	all, mean := f.At(o.Rows), f.At(o.Mean)
	f.B.Zero(mean)
	for i := range all.Shape.N {
		f.B.Axpy(mean, -1/float32(f.Count), rows(all, i, i+1))
	}
}

type shift struct{ Out, X, Row op.Value }

func (o *shift) Name() string { return "Shift" }
func (o *shift) Args(visit func(v *op.Value, u op.Use)) {
	visit(&o.Out, op.Write)
	visit(&o.X, op.Read)
	visit(&o.Row, op.Read)
}
func (o *shift) Run(f *op.Frame) {
	f.B.Copy(f.At(o.Out), f.At(o.X))
	f.B.AddRow(f.At(o.Out), f.At(o.Row))
}
func (o *shift) Result() op.Value { return o.Out }
func (o *shift) Back(g *op.Grads) {
	grad := g.Of(o)
	if !g.Wants(o.X) {
		return
	}
	gradX, size := g.Like(o.X), g.Shape(o.X).Image()
	rows, mean := g.NewRows(size), g.NewBatch(size)
	g.Emit(&addUp{rows, grad})
	g.EmitOnce(&negatedMean{mean, rows})
	g.Emit(&shift{gradX, grad, mean})
	g.Add(o.X, gradX)
}

// centred is a model with things that are done once for the batch, in the encoder, beside a connection past them, and in the decoder.
func centred() Config {
	conv := func(filters int, act string) graph.Layer {
		return &layer.Conv2D{Filters: filters, Kernel: layer.Square(3), Activation: act}
	}
	return Config{Name: "centred", Input: []int{6, 8, 1},
		Encoder: []graph.Spec{{Layer: conv(3, "tanh"), Name: "wide"}, {Layer: &centre{}}, {Layer: &layer.MaxPool2D{Size: 2}}, {Layer: &layer.Dropout{Rate: 0.2}}, {Layer: conv(2, "")}},
		Decoder: []graph.Spec{{Layer: &layer.UpSampling2D{Size: 2}, Name: "up"}, {Layer: &layer.Concatenate{}, Inputs: []string{"wide", "up"}}, {Layer: &centre{}}, {Layer: conv(1, "sigmoid")}}}
}

// A batch whose mean a layer takes trains the same whatever lanes and devices there are, with batches that are not full too, and a device that
// records.
func TestBatchwiseIsOfTheWholeBatch(t *testing.T) {
	o := TrainerOptions{Batch: 20, Slots: 4, MicroBatch: 3, Noise: 0.3, Seed: 4, Loss: MSE, Clip: Clip{Norm: 1}}
	var want [][]float32
	recorded := openLanes(t, 1)
	group := func(n int) backend.Device {
		var all []backend.Device
		for range n {
			all = append(all, openLanes(t, 1))
		}
		g, err := backend.NewGroup("group", all...)
		if err != nil {
			t.Fatal(err)
		}
		return g
	}
	for _, c := range []struct {
		name string
		dev  backend.Device
	}{{"one lane", openLanes(t, 1)}, {"two lanes", openTest(t)}, {"five lanes", openLanes(t, 5)},
		{"recorded", recorder{recorded, &recorderLane{Backend: recorded.Lanes()[0]}}}, {"two devices", group(2)}, {"three devices", group(3)}} {
		got := train(t, mustModel(t, centred()), c.dev, o, 47, 2) // batches of 20, 20 and 7
		if want == nil {
			want = got
		}
		for i := range got {
			if !slices.Equal(got[i], want[i]) {
				t.Errorf("%s: parameter %d differs from one lane's", c.name, i)
			}
		}
	}
	// Cut otherwise, the sums are added in another order.
	for _, micro := range []int{1, 5, 20} {
		for _, slots := range []int{1, 4, 20} {
			o.MicroBatch, o.Slots = micro, slots
			got := train(t, mustModel(t, centred()), openTest(t), o, 47, 2)
			for i := range got {
				within(t, fmt.Sprintf("%d at a time, %d slots, parameter %d", micro, slots, i), got[i], want[i], backend.Bound{Abs: 2e-4})
			}
		}
	}
}

// The mean is that of the batch, not of a micro-batch: what comes out of the layer sums to 0 over the batch.
func TestBatchwiseMeanIsZero(t *testing.T) {
	m := mustModel(t, centred())
	tr := toCheck(t, centred(), openTest(t), TrainerOptions{Batch: checkSamples, MicroBatch: 2, Slots: 2, Loss: MSE})
	sums := map[op.Value][]float64{}
	err := tr.stepWith(0, checkSamples, 0, false, func(s *op.Call, f *op.Frame, _ []op.Info) {
		s.Op.Run(f)
		o, ok := s.Op.(*shift)
		if !ok {
			return
		}
		out := f.At(o.Out)
		v := make([]float32, out.Shape.Len())
		if err := f.B.Download(v, out); err != nil {
			t.Fatal(err)
		}
		size := out.Shape.Image()
		if sums[o.Out] == nil {
			sums[o.Out] = make([]float64, size)
		}
		for i, x := range v {
			sums[o.Out][i%size] += float64(x)
		}
	})
	if err != nil || len(sums) != 4 { // two layers, forward and back
		t.Fatalf("%d tensors, error %v", len(sums), err)
	}
	for v, sum := range sums {
		for i, s := range sum {
			if s > 1e-5 || s < -1e-5 {
				t.Fatalf("element %d of tensor %d of model %q sums to %v", i, v, m.Config.Name, s)
			}
		}
	}
}

// The plan of such a batch, which keeps all its activations, is what is allocated; a step allocates nothing; too large a batch is said to be.
func TestBatchwiseMemory(t *testing.T) {
	for _, c := range []struct {
		members, slots int
		whole          bool
		share          int // of the memory that is too little
	}{{1, 0, false, 3}, {1, 5, false, 3}, {1, 0, true, 3}, {2, 5, false, 0}} {
		var all []backend.Device
		var meters []*backendtest.Metered
		for range c.members {
			dev := backendtest.Meter(openTest(t), 1<<30)
			dev.Whole = c.whole
			meters, all = append(meters, dev), append(all, dev)
		}
		dev, err := backend.NewGroup("group", all...)
		if err != nil {
			t.Fatal(err)
		}
		o := TrainerOptions{Batch: 40, Slots: c.slots, Samples: 80, Loss: MSE}
		m := mustModel(t, centred())
		tr, err := NewTrainer(m, dev, o)
		if err != nil {
			t.Fatal(err)
		}
		if err := tr.SetData(pixelsFor(m, 80), 80); err != nil {
			t.Fatal(err)
		}
		tr.Step(0, 40, 0)
		if c.members == 1 {
			if n := testing.AllocsPerRun(3, func() { tr.Step(0, 40, 0) }); n != 0 {
				t.Errorf("%+v: a step makes %v allocations", c, n)
			}
		}
		net := tr.Network()
		x := make([]float32, 50*m.Input.Len())
		if err := net.Predict(x, slices.Clone(x), 50); err != nil {
			t.Error(err)
		}
		net.Close()
		if got := tr.Memory(); meters[0].Peak() != got.Total() || !got.WholeBatch || !strings.Contains(got.String(), "activations of the whole batch ") {
			t.Errorf("%+v: %d bytes are allocated, planned were %d: %v", c, meters[0].Peak(), got.Total(), got)
		}
		tr.Close()
		if meters[0].Used() != 0 {
			t.Errorf("%+v: a closed trainer holds %d bytes", c, meters[0].Used())
		}
		if c.members > 1 {
			continue
		}
		little := backendtest.Meter(openTest(t), meters[0].Peak()/c.share)
		little.Whole = c.whole
		o.Recompute = RecomputeNever
		if _, err := NewTrainer(m, little, o); err == nil || !strings.Contains(err.Error(), "a batch of ") || strings.Contains(err.Error(), "not even") {
			t.Errorf("%+v: in 1/%d of the memory: error %v", c, c.share, err)
		}
	}
}

// Chunks are even where that makes them no smaller than by half, and a micro-batch is as large as keeps what one op touches in the cache.
func TestBatchwiseCuts(t *testing.T) {
	for _, c := range []struct{ batch, chunk, want int }{{16, 3, 2}, {16, 2, 2}, {20, 4, 4}, {17, 3, 3}, {10, 4, 4}, {100, 7, 5}, {1, 1, 1}} {
		if got := evenChunk(c.batch, c.chunk); got != c.want {
			t.Errorf("evenChunk(%d, %d) = %d, want %d", c.batch, c.chunk, got, c.want)
		}
	}
	// The activations that are kept of one sample are more than the cache's 512 KiB; what an op touches is less.
	norm := func() []graph.Spec {
		return graph.Specs(&layer.Conv2D{Filters: 16, Kernel: layer.Square(3)}, &layer.BatchNormalization{Activation: "relu"})
	}
	model := Config{Name: "deep", Input: []int{32, 32, 3}, Decoder: graph.Specs(&layer.Conv2D{Filters: 3, Kernel: layer.Square(3)})}
	for range 4 {
		model.Encoder = append(model.Encoder, norm()...)
	}
	tr, err := planTrainer(mustModel(t, model), openTest(t), TrainerOptions{Batch: 16, Slots: 4, Loss: MSE})
	if err != nil {
		t.Fatal(err)
	}
	if p := tr.plan; p.need.PerSample < 512<<10 || p.chunk != 4 || p.micro != 2 {
		t.Errorf("%d bytes a sample are cut into chunks of %d, %d at a time, want 4 and 2", p.need.PerSample, p.chunk, p.micro)
	}
}

// Penalties for which the encoder runs twice say that it cannot.
func TestBatchwiseEncoderRunsOnce(t *testing.T) {
	c := centred()
	c.Encoder = append(c.Encoder, graph.Specs(&layer.Activation{Function: "sigmoid"})...)
	for _, o := range []TrainerOptions{{Activity: ActivityRegularizer{KL: 1, Rho: 0.1}}, {Contractive: Contractive{Weight: 1}}} {
		o.Batch, o.Loss = 4, MSE
		if _, err := NewTrainer(mustModel(t, c), openTest(t), o); err == nil || !strings.Contains(err.Error(), "which layer centre, whose output depends on the whole batch") {
			t.Errorf("error %v", err)
		}
		o.Activity.KL, o.Activity.Rho, o.Contractive, o.Activity.L1 = 0, 0, Contractive{}, 0.1
		tr, err := NewTrainer(mustModel(t, c), openTest(t), o)
		if err != nil {
			t.Fatal(err)
		}
		tr.Close()
	}
}

// What is done once is profiled, traced and checked.
func TestBatchwiseIsProfiled(t *testing.T) {
	o := TrainerOptions{Batch: checkSamples, MicroBatch: 2, Slots: 2, Loss: MSE}
	tr := toCheck(t, centred(), openLanes(t, 1), o)
	rows, err := tr.Profile(0, checkSamples, 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	calls := map[string]int{}
	for _, r := range rows {
		calls[r.Op] += r.Calls
	}
	// Chunks of 3 and 2 samples, in micro-batches of 2, 1 and 2; two layers.
	if calls["AddUp"] != 12 || calls["NegatedMean"] != 4 || calls["Shift"] != 12 || calls["Zero"] != 2 {
		t.Errorf("calls %v", calls)
	}
	if f, found, err := tr.Trace(0, checkSamples, 0); err != nil || found {
		t.Errorf("found %v, %v", f, err)
	}
	check := op.Checker{Reference: openPlain(t), Bound: checkBound, Report: func(m op.Mismatch) { t.Errorf("%+v", m) }}
	if err := tr.Check(0, checkSamples, 0, check); err != nil {
		t.Error(err)
	}
	// A fault in the first forward stretch of a micro-batch that is not the first is no gradient.
	m := tr.m
	for i := range m.Params[0].Data {
		m.Params[0].Data[i] = 1e38
	}
	tr.Push()
	if f, found, err := tr.Trace(0, checkSamples, 0); err != nil || found && strings.HasPrefix(f.What, "gradient") {
		t.Errorf("found %v, %v", f, err)
	}
}
