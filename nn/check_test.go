package nn

import (
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/convae/convae/cpu"
	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/corrupt"
	"github.com/convae/convae/nn/graph"
	"github.com/convae/convae/nn/layer"
	"github.com/convae/convae/nn/op"
)

// openPlain opens the CPU's plain loops, which sum in another order than its vectors.
func openPlain(t testing.TB) backend.Backend {
	t.Helper()
	dev, err := cpu.Open(cpu.Options{Lanes: 1, Plain: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dev.Close() })
	return dev.Lanes()[0]
}

// oneLane is a device of one lane that may be another's.
type oneLane struct {
	backend.Device
	lane backend.Backend
}

func (d oneLane) Lanes() []backend.Backend { return []backend.Backend{d.lane} }

// checkBound is allowed to sums of hundreds of terms in another order.
var checkBound = backend.Bound{Abs: 2e-5, Rel: 2e-5}

const checkSamples = 5

// toCheck returns a trainer of a model with a data set.
func toCheck(t testing.TB, c Config, dev backend.Device, o TrainerOptions) *Trainer {
	t.Helper()
	m := mustModel(t, c)
	tr, err := NewTrainer(m, dev, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(tr.Close)
	if err := tr.SetData(pixelsFor(m, checkSamples), checkSamples); err != nil {
		t.Fatal(err)
	}
	tr.SetOrder([]int32{3, 1, 4, 0, 2})
	return tr
}

// everyProgram calls f for the training programs of the zoo and of all penalties, fused and not, by several optimisers.
func everyProgram(t *testing.T, f func(t *testing.T, c Config, o TrainerOptions)) {
	optimizers := []Optimizer{{Name: "adam"}, {Name: "sgd", Momentum: 0.9}, {Name: "adadelta"}, {Name: "rmsprop", Momentum: 0.9}, {Name: "lion"}, {Name: "nadam"}, {Name: "lamb"}}
	clips := []Clip{{}, {Norm: 0.5}, {Value: 0.1}}
	n := 0
	run := func(name string, c Config, o TrainerOptions) {
		o.Batch, o.Noise, o.Seed, o.Optimizer, o.Clip = checkSamples, 0.3, 4, optimizers[n%len(optimizers)], clips[n/len(optimizers)%len(clips)]
		n++
		t.Run(name+"/"+c.Name, func(t *testing.T) { f(t, c, o) })
	}
	for _, c := range zoo() {
		run("fused", c, TrainerOptions{Loss: BCE, MicroBatch: 2})
		run("unfused", c, TrainerOptions{Loss: MSE, Unfused: true})
	}
	run("fused", zoo()[0], TrainerOptions{Loss: everyLoss})
	file := filepath.Join("..", "testdata", "golden", "perceptual", "perceptual.safetensors")
	run("perceived", zoo()[0], TrainerOptions{Loss: Loss{Perceptual: Perceptual{Weight: 1, File: file, Layers: LPIPSFeatures &^ (1 << 12), LPIPS: true}}})
	run("corrupted", zoo()[0], TrainerOptions{Loss: MSE, MicroBatch: 2, Corruption: []corrupt.Corruption{{Kind: corrupt.SaltAndPepper, Amount: 0.1}, {Kind: corrupt.Speckle, Amount: 0.1},
		{Kind: corrupt.Masking, Amount: 0.3, Size: 2, Value: 0.5}, {Kind: corrupt.Blur, Amount: 0.5}, {Kind: corrupt.Downscale, Size: 2}, {Kind: corrupt.JPEG, Quality: [2]int{20, 60}}}})
	run("fused", quantized(), TrainerOptions{Loss: MSE, MicroBatch: 2})
	all := penalised()
	for _, name := range slices.Sorted(maps.Keys(all)) {
		o := all[name]
		for _, c := range penalisedModels(o) {
			o.Loss = MSE
			run(name, c, o)
		}
	}
}

// A device that is right has nothing reported, and trains as it does unchecked, bit for bit.
func TestCheckReportsNothingFalse(t *testing.T) {
	everyProgram(t, func(t *testing.T, c Config, o TrainerOptions) {
		dev := openLanes(t, 1)
		tr, plain := toCheck(t, c, dev, o), toCheck(t, c, dev, o)
		check := op.Checker{Reference: openPlain(t), Bound: checkBound, Report: func(m op.Mismatch) { t.Errorf("%+v", m) }}
		for step := range 2 {
			if err := tr.Check(step, checkSamples-step, 1, check); err != nil {
				t.Fatal(err)
			}
			plain.Step(step, checkSamples-step, 1)
		}
		want := pulled(t, plain)
		for i, got := range pulled(t, tr) {
			if !slices.Equal(got, want[i]) {
				t.Errorf("parameter %d is not what Step makes of it", i)
			}
		}
	})
}

// The simulated GPU lays tensors out in another way than the CPU, which checks it, and packs no weights.
func TestCheckSimAgainstCPU(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: the simulator takes a while")
	}
	t.Parallel()
	reference := openTest(t).Lanes()[0]
	for _, c := range []Config{zoo()[0], zoo()[2], convVAE()} {
		tr := toCheck(t, c, openSim(t), TrainerOptions{Batch: 2, Loss: MSE, Noise: 0.3, Seed: 4})
		if err := tr.Check(1, 2, 1, op.Checker{Reference: reference, Bound: checkBound, Report: func(m op.Mismatch) { t.Errorf("%s: %+v", c.Name, m) }}); err != nil {
			t.Error(err)
		}
	}
}

// offset is a device of which a tensor that is downloaded again is off by one, as if the op in between had gone wrong.
type offset struct {
	backend.Backend
	seen map[backend.Tensor]bool
}

func (b offset) Download(dst []float32, src backend.Tensor) error {
	if b.seen[src] {
		defer add1(dst)
	}
	b.seen[src] = true
	return b.Backend.Download(dst, src)
}

func (b offset) DownloadBytes(dst []byte, src backend.Tensor) error {
	if b.seen[src] {
		defer add1(dst)
	}
	b.seen[src] = true
	return b.Backend.DownloadBytes(dst, src)
}

func add1[T byte | float32](v []T) {
	for i := range v {
		v[i]++
	}
}

// All that any op of a step writes is compared, but for packed weights, which ops that read them are compared by, and partial sums, which
// are compared by what they add up to.
func TestCheckComparesEveryOutput(t *testing.T) {
	seen := map[string]bool{}
	everyProgram(t, func(t *testing.T, c Config, o TrainerOptions) { everyOutput(t, openLanes(t, 1), c, o, seen) })
	everyOutput(t, openSim(t), zoo()[0], TrainerOptions{Batch: checkSamples}, seen) // which leaves partial sums
	// GatherValues takes samples from a data set of values, which TestCheckOfOtherData has; no program draws numbers by Normal.
	for name := range methods[backend.Backend]() {
		if _, ok := methods[backend.Memory]()[name]; !ok && !seen[name] && !strings.HasSuffix(name, "Needs") && name != "GatherValues" && name != "Normal" {
			t.Errorf("no program has %s", name)
		}
	}
}

// everyOutput notes the ops of a step, all of whose outputs are spoiled, and have to be reported.
func everyOutput(t *testing.T, dev backend.Device, c Config, o TrainerOptions, seen map[string]bool) {
	lane := offset{dev.Lanes()[0], map[backend.Tensor]bool{}}
	tr := toCheck(t, c, oneLane{dev, lane}, o)
	var found []op.Mismatch
	check := op.Checker{Reference: openPlain(t), Bound: checkBound, Report: func(m op.Mismatch) { found = append(found, m) }, Upload: tr.uploadKnown}
	ops := 0
	tr.apart = true
	err := tr.stepWith(0, checkSamples, 1, false, func(s *op.Call, f *op.Frame, _ []op.Info) {
		want := 0
		for _, v := range op.Writes(s.Op) {
			if f.At(v).Role != backend.Packed {
				want++
			}
		}
		if p, ok := s.Op.(op.Partial); ok {
			if _, _, partials := p.Sums(); *partials != op.None {
				want--
			}
		}
		found = nil
		clear(lane.seen)
		if err := check.Run(s, f); err != nil {
			t.Fatal(err)
		}
		outputs := map[string]bool{}
		for _, m := range found {
			if m.Err != nil || m.Op != s.Op.Name() || m.Layer != s.Layer {
				t.Errorf("%s: %+v", s.Op.Name(), m)
			}
			outputs[m.Output] = true
		}
		if len(outputs) != want || len(found) != want {
			t.Errorf("%s of %s writes %d tensors, reported %+v", s.Op.Name(), s.Layer, want, found)
		}
		seen[s.Op.Name()] = true
		ops++
	})
	if err != nil || ops < 10 {
		t.Errorf("%d ops, error %v", ops, err)
	}
}

// methods returns the methods of an interface.
func methods[T any]() map[string]bool {
	names := map[string]bool{}
	for i := range reflect.TypeFor[T]().NumMethod() {
		names[reflect.TypeFor[T]().Method(i).Name] = true
	}
	return names
}

// wrong is a backend with a fault in the op of that name.
type wrong struct {
	backend.Backend
	op string
}

func (w wrong) spoil(op string, t backend.Tensor, at int) {
	if w.op != op {
		return
	}
	v := make([]float32, t.Shape.Len())
	if err := w.Download(v, t); err != nil {
		panic("no download")
	}
	v[at]++
	w.Upload(t, v)
}

func (w wrong) Conv(s backend.ConvShape, out, argmax, x backend.Tensor, p backend.Params) {
	w.Backend.Conv(s, out, argmax, x, p)
	w.spoil("Conv", out, 7)
	if w.op == "argmax" && !argmax.IsZero() {
		b := make([]byte, argmax.Shape.Len())
		b[3] = 200
		w.UploadBytes(argmax, b)
	}
}

func (w wrong) DenseBackWeights(s backend.DenseShape, grad backend.Params, gradOut, x backend.Tensor) {
	w.Backend.DenseBackWeights(s, grad, gradOut, x)
	w.spoil("DenseBackWeights", grad.Bias, 2)
}

func (w wrong) Adam(o backend.Adam, u backend.Update) {
	w.Backend.Adam(o, u)
	w.spoil("Adam", u.State[1], 4)
}

func (w wrong) ConvTransposePack(s backend.ConvTransposeShape, dst, p backend.Tensor) {
	if w.op == "ConvTransposePack" {
		return // stale packed weights
	}
	w.Backend.ConvTransposePack(s, dst, p)
}

// Planted faults are found, where they are: in a micro-batch, in the update, in packed weights.
func TestCheckFindsFaults(t *testing.T) {
	c := Config{Name: "faulty", Input: []int{8, 8, 1},
		Encoder: graph.Specs(&layer.Conv2D{Filters: 4, Kernel: layer.Square(3), Activation: "relu"}, &layer.MaxPool2D{Size: 2}, &layer.Flatten{}, &layer.Dense{Units: 6}),
		Decoder: graph.Specs(&layer.Dense{Units: 64, Activation: "tanh"}, &layer.Reshape{Shape: []int{4, 4, 4}}, &layer.Conv2DTranspose{Filters: 1, Kernel: layer.Square(3), Stride: 2, Activation: "sigmoid"})}
	for _, f := range []struct {
		fault, op, output string
		at                int
	}{
		{"", "", "", 0},
		{"Conv", "Conv", "Out", 7},
		{"argmax", "Conv", "Argmax", 3},
		{"DenseBackWeights", "DenseBackWeights", "GradBias", 2},
		{"Adam", "Adam", "v", 4},
		{"ConvTransposePack", "ConvTranspose", "Out", -1},
	} {
		dev := openLanes(t, 1)
		tr := toCheck(t, c, oneLane{dev, wrong{dev.Lanes()[0], f.fault}}, TrainerOptions{Batch: checkSamples, Loss: MSE})
		var found []op.Mismatch
		check := op.Checker{Reference: openPlain(t), Bound: checkBound, Report: func(m op.Mismatch) { found = append(found, m) }}
		if err := tr.Check(0, checkSamples, 0, check); err != nil {
			t.Fatal(err)
		}
		ok := false
		for _, m := range found {
			if m.Err != nil || m.Worst <= 1 || m.Layer == "" {
				t.Errorf("%+v", m)
			}
			ok = ok || m.Op == f.op && m.Output == f.output && (m.At == f.at || f.at < 0)
		}
		if f.fault == "" && len(found) > 0 || f.fault != "" && !ok {
			t.Errorf("fault %q: reported %+v", f.fault, found)
		}
	}
}

// Samples may also be given as values, streamed, or be a data set of values.
func TestCheckOfOtherData(t *testing.T) {
	c := zoo()[0]
	check := op.Checker{Reference: openPlain(t), Bound: checkBound, Report: func(m op.Mismatch) { t.Errorf("%+v", m) }}
	o := TrainerOptions{Batch: 2, Loss: MSE, Noise: 0.2}
	tr := toCheck(t, c, openLanes(t, 1), o)
	x := make([]float32, 2*64)
	for i := range x {
		x[i] = float32(i%7) / 7
	}
	if err := tr.CheckOn(x, x, 2, check); err != nil {
		t.Error(err)
	}
	if err := tr.CheckOn(x, x[1:], 2, check); err == nil || !strings.Contains(err.Error(), "nn: CheckOn wants 1 to 2 samples of 64 values") {
		t.Errorf("error %v", err)
	}
	if err := tr.SetValues(x, 2); err != nil {
		t.Fatal(err)
	}
	if err := tr.Check(0, 2, 0, check); err != nil {
		t.Error(err)
	}
	streamed, _ := trainStreamed(t, openLanes(t, 1))
	if streamed.stream == nil {
		t.Fatal("the data set is not streamed")
	}
	if err := streamed.Check(0, 2, 0, check); err != nil {
		t.Error(err)
	}
}

// poor is a reference that has no memory for more than n bytes at a time.
type poor struct {
	backend.Backend
	n int
}

func (b poor) Alloc(n int) (backend.Buffer, error) {
	if n > b.n {
		return nil, fmt.Errorf("no room for %d bytes", n)
	}
	return b.Backend.Alloc(n)
}

// lost is a device from which nothing comes back.
type lost struct{ backend.Backend }

var errLost = errors.New("the device is lost")

func (lost) Download([]float32, backend.Tensor) error { return errLost }

// What the reference has no memory for is reported as not compared; that the device fails is an error.
func TestCheckFailures(t *testing.T) {
	o := TrainerOptions{Batch: 2, Loss: BCE}
	var failed, found int
	check := op.Checker{Reference: poor{openPlain(t), 1000}, Bound: checkBound, Report: func(m op.Mismatch) {
		if found++; m.Err != nil && m.Op != "" && strings.HasPrefix(m.Err.Error(), "no room for") {
			failed++
		}
	}}
	dev := openLanes(t, 1)
	if err := toCheck(t, zoo()[0], dev, o).Check(0, 2, 0, check); err != nil || failed == 0 || failed != found {
		t.Errorf("%d reports, %d that there is no room; error %v", found, failed, err)
	}
	check.Reference = openPlain(t)
	if err := toCheck(t, zoo()[0], oneLane{dev, lost{dev.Lanes()[0]}}, o).Check(0, 2, 0, check); !errors.Is(err, errLost) {
		t.Errorf("error %v", err)
	}
}
