package trainer

import (
	"math"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/convae/convae/nn"
	"github.com/convae/convae/nn/graph"
	"github.com/convae/convae/nn/layer"
	"github.com/convae/convae/trainer/dataset"
)

func TestTrainingErrors(t *testing.T) {
	for want, yaml := range map[string]string{
		`training.schedule is "poly", want constant, step, cosine or plateau`: "schedule: {name: poly}",
		`training.schedule step: every is missing`:                            "schedule: {name: step}",
		`training.reduction is "max", want mean, sample`:                      "reduction: max",
		"training.clip: there are value 1 and norm 2, want one of them":       "clip: {value: 1, norm: 2}",
		"training.kernel_regularizer: l2 is -1, want 0 or more":               "kernel_regularizer: {l2: -1}",
		"training.activity_regularizer: rho is 0, want the mean activation":   "activity_regularizer: {kl: 1}",
		"training.contractive: weight is missing":                             "contractive: {step: 0.1}",
		"training.accumulate is -2, want the number of batches":               "accumulate: -2",
		"training.accumulate is 2 with a full batch":                          "accumulate: 2\n  batch: full",
		`unknown field "norms"`:                                               "clip: {norms: 2}",
	} {
		_, err := DecodeConfig(strings.NewReader(strings.Replace(goodConfig, "epochs: 2", yaml, 1)))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q", yaml, err, want)
		}
	}
}

// A configuration with every option comes back from its file.
func TestTrainingRoundTrip(t *testing.T) {
	c, err := DecodeConfig(strings.NewReader(goodConfig + `  accumulate: 3
  reduction: sample
  schedule: {name: plateau, warmup: 1.5, patience: 2}
  clip: {norm: 1}
  kernel_regularizer: {l1: 0.1}
  activity_regularizer: {l2: 0.2, kl: 3, rho: 0.05}
  contractive: {weight: 0.5, estimate: true}
`))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "config.yaml")
	if err := c.Write(path); err != nil {
		t.Fatal(err)
	}
	back, err := ReadConfig(path)
	if err != nil {
		t.Fatalf("%v\n%s", err, readFile(t, path))
	}
	if !reflect.DeepEqual(back.Training, c.Training) {
		t.Errorf("wrote %+v, read %+v", c.Training, back.Training)
	}
	o, err := back.Training.Options(1000)
	if err != nil {
		t.Fatal(err)
	}
	if o.Batch != 3*128 || o.MicroBatch != 128 || o.Reduction != nn.SampleReduction || o.Clip.Norm != 1 || o.Kernel.L1 != 0.1 || o.Activity.KL != 3 || !o.Contractive.Estimate {
		t.Errorf("options %+v", o)
	}
}

// Accumulated batches make the run that one larger batch makes.
func TestAccumulate(t *testing.T) {
	root := t.TempDir()
	var loss [2]float64
	for i, accumulate := range []int{0, 4} {
		c := smallConfig()
		if c.Training.Batch = 32; accumulate > 0 {
			c.Training.Batch, c.Training.Accumulate = 8, accumulate
		}
		r, err := Train(t.Context(), c, smallOptions(t, filepath.Join(root, string(rune('a'+i)))))
		if err != nil {
			t.Fatal(err)
		}
		last := r.History[len(r.History)-1]
		if loss[i] = last.Loss; last.Step != 3*4 {
			t.Errorf("%d steps in 3 epochs of 110 samples, want 12", last.Step)
		}
	}
	if math.Abs(loss[0]-loss[1]) > 1e-6 {
		t.Errorf("losses %v and, accumulated, %v", loss[0], loss[1])
	}
}

// The rate of each epoch's last step is in the history, and a resumed run goes on with it.
func TestScheduleInRun(t *testing.T) {
	root := t.TempDir()
	c := smallConfig()
	c.Training.Epochs, c.Training.Optimizer.LearningRate = 5, 0.01
	for name, want := range map[string]struct {
		s     nn.Schedule
		rates []float64
	}{
		"step":    {nn.Schedule{Name: "step", Every: 2, Factor: 0.5}, []float64{0.01, 0.01, 0.005, 0.005, 0.0025}},
		"plateau": {nn.Schedule{Name: "plateau", Patience: 1, Factor: 0.5, MinDelta: 10}, []float64{0.01, 0.01, 0.005, 0.0025, 0.00125}},
		"warmup":  {nn.Schedule{Warmup: 2}, []float64{0.005, 0.01, 0.01, 0.01, 0.01}},
	} {
		whole, cut := filepath.Join(root, name), filepath.Join(root, name+"-cut")
		c.Training.Schedule = want.s
		r, err := Train(t.Context(), c, smallOptions(t, whole))
		if err != nil {
			t.Fatal(err)
		}
		for i, e := range r.History {
			if math.Abs(e.LearningRate-want.rates[i]) > 1e-9 {
				t.Errorf("%s: the rate of epoch %d is %v, want %v", name, i+1, e.LearningRate, want.rates[i])
			}
		}
		o := smallOptions(t, cut)
		if _, err := Train(&countdown{Context: t.Context(), left: 11}, c, o); err != nil {
			t.Fatal(err)
		}
		o.Resume = true
		if _, err := Train(t.Context(), c, o); err != nil {
			t.Fatal(err)
		}
		sameRun(t, whole, cut)
	}
	c.Training.Schedule = nn.Schedule{Name: "cosine"}
	r, err := Train(t.Context(), c, smallOptions(t, filepath.Join(root, "cosine")))
	if err != nil {
		t.Fatal(err)
	}
	// The last step begins a quarter of an epoch before the end.
	if got, want := r.History[4].LearningRate, 0.01*(1+math.Cos(math.Pi*4.75/5))/2; math.Abs(got-want) > 1e-9 {
		t.Errorf("cosine: the last rate is %v, want %v", got, want)
	}
	if back, err := ReadConfig(filepath.Join(root, "cosine", ConfigFile)); err != nil || back.Training.Schedule.Epochs != 5 {
		t.Errorf("the run's configuration has the schedule %+v, %v", back.Training.Schedule, err)
	}
}

// A concrete run cools down to the end of its epochs, says what it selected, and can be cut in two.
func TestConcreteRun(t *testing.T) {
	root := t.TempDir()
	c := smallConfig()
	c.Model = nn.Config{Name: "small concrete", Input: []int{784}, Encoder: graph.Specs(&layer.Concrete{Select: 6}),
		Decoder: graph.Specs(&layer.Dense{Units: 784, Activation: "sigmoid"})}
	whole, cut := filepath.Join(root, "whole"), filepath.Join(root, "cut")
	r, err := Train(t.Context(), c, smallOptions(t, whole))
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Selected) != 6 || r.History[2].Loss >= r.History[0].Loss {
		t.Errorf("selected %v, history %+v", r.Selected, r.History)
	}
	back, err := ReadConfig(filepath.Join(whole, ConfigFile))
	if err != nil || back.Training.Temperature != (nn.Temperature{Start: 10, End: 0.01, Epochs: 3}) {
		t.Errorf("the temperature came back as %+v, %v", back.Training.Temperature, err)
	}
	o := smallOptions(t, cut)
	if _, err := Train(&countdown{Context: t.Context(), left: 5}, c, o); err != nil {
		t.Fatal(err)
	}
	o.Resume = true
	if _, err := Train(t.Context(), c, o); err != nil {
		t.Fatal(err)
	}
	sameRun(t, whole, cut)
	_, err = DecodeConfig(strings.NewReader(goodConfig + "  temperature: {end: 0.1}\n"))
	if err == nil || !strings.Contains(err.Error(), `training.temperature: the encoder of model "m" does not begin with a concrete layer`) {
		t.Errorf("error %v", err)
	}
}

// A run says in what precision it computes, wherever it is written, and a resume keeps it.
func TestRunSaysPrecision(t *testing.T) {
	for _, precision := range []string{"tf32", "bf16"} {
		t.Run(precision, func(t *testing.T) { runSaysPrecision(t, precision) })
	}
}

func runSaysPrecision(t *testing.T, precision string) {
	cfg := pointsConfig()
	cfg.Training.Precision = precision
	o := pointsOptions(t, filepath.Join(t.TempDir(), "run"))
	if _, err := Train(t.Context(), cfg, o); err != nil {
		t.Fatal(err)
	}
	c, _, err := newestCheckpoint(o.Dir)
	if err != nil || !strings.Contains(c.Progress.Configuration, "precision: "+precision) {
		t.Errorf("the checkpoint has the configuration %s (%v)", c.Progress.Configuration, err)
	}
	m, err := ReadModelConfig(filepath.Join(o.Dir, ModelFile))
	if err != nil || m.Training.Precision != precision {
		t.Errorf("the model's file says %q (%v)", m.Training.Precision, err)
	}
	if cfg, err = ReadConfig(filepath.Join(o.Dir, ConfigFile)); err != nil {
		t.Fatal(err)
	}
	cfg.Training.Epochs++
	o.Resume = true
	r, err := Train(t.Context(), cfg, o)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range r.History {
		if e.Precision != precision {
			t.Errorf("epoch %d is in %q", e.Epoch, e.Precision)
		}
	}
	if csv := string(readFile(t, o.Dir, historyCSV)); strings.Count(csv, ","+precision+",") != 3 {
		t.Errorf("history.csv:\n%s", csv)
	}
	cfg.Training.Precision = "fp16"
	if err := cfg.Check(); err == nil || !strings.Contains(err.Error(), `training.precision is "fp16", want float32, tf32, bf16 or winograd`) {
		t.Errorf("error %v", err)
	}
}

// What is trained in bf16 is as good as what is trained in float32, from the same start, and not the same.
func TestQualityInBF16(t *testing.T) {
	t.Parallel()
	digits := dataset.Digits(320, 1)
	loss := map[string]float64{}
	for _, precision := range []string{"float32", "bf16"} {
		c, err := Preset("denoiser", Set("training.epochs=4"), Set("training.batch=16"), Set("training.precision="+precision))
		if err != nil {
			t.Fatal(err)
		}
		o := Options{Dir: filepath.Join(t.TempDir(), "run"), Device: openCPU(t), Train: digits.Slice(0, 256), Test: digits.Slice(256, 320)}
		r, err := Train(t.Context(), c, o)
		if err != nil {
			t.Fatal(err)
		}
		loss[precision] = r.History[3].ValLoss
		t.Logf("%s: %v, from %v", precision, r.History[3].ValLoss, r.History[0].ValLoss)
		if r.History[0].ValLoss-r.History[3].ValLoss < 0.05 {
			t.Errorf("in %s the loss falls from %v to %v only", precision, r.History[0].ValLoss, r.History[3].ValLoss)
		}
	}
	if d := math.Abs(loss["bf16"] - loss["float32"]); d > 1e-3 || d == 0 {
		t.Errorf("the losses are %v", loss)
	}
}
