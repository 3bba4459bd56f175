package trainer

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/convae/convae/nn"
	"github.com/convae/convae/nn/graph"
	"github.com/convae/convae/nn/layer"
	"github.com/convae/convae/nn/safetensors"
	"github.com/convae/convae/trainer/dataset"
)

// pointsConfig trains on points of the plane, in milliseconds.
func pointsConfig() Config {
	return Config{
		Model: nn.Config{Name: "points", Input: []int{2}, Encoder: graph.Specs(&layer.Dense{Units: 3, Activation: "tanh"}), Decoder: graph.Specs(&layer.Dense{Units: 2})},
		Data:  Data{Name: "circle", Samples: 60},
		Training: Training{Epochs: 2, Batch: 10, Loss: nn.MSE, Seed: 3, Noise: Noise{Std: 0.1},
			Optimizer: nn.Optimizer{Name: "adam", LearningRate: 0.01}},
	}
}

func pointsOptions(t testing.TB, dir string) Options {
	set := dataset.Circle(60, 0.1, 1)
	return Options{Dir: dir, Device: openCPU(t), Train: set.Slice(0, 50), Test: set.Slice(50, 60)}
}

// points trains and returns the options to go on with.
func points(t testing.TB) Options {
	t.Helper()
	o := pointsOptions(t, filepath.Join(t.TempDir(), "run"))
	if _, err := Train(t.Context(), pointsConfig(), o); err != nil {
		t.Fatal(err)
	}
	o.Resume = true
	return o
}

// A resume takes whatever the weights allow, and writes in configuration and history what was changed.
func TestResumeWithChanges(t *testing.T) {
	for _, c := range []struct {
		change  func(c *Config, o *Options)
		history string
		note    string
	}{
		{func(c *Config, _ *Options) { c.Training.Optimizer.LearningRate = 0.5 }, "training.optimizer.learning_rate: 0.01 -> 0.5", ""},
		{func(c *Config, _ *Options) { c.Training.Schedule = nn.Schedule{Name: "step", Every: 1, Factor: 0.5} }, "training.schedule.name: none -> step", ""},
		{func(c *Config, _ *Options) { c.Training.Batch = 25 }, "training.batch: 10 -> 25", ""},
		{func(c *Config, _ *Options) { c.Training.Noise.Std = 0 }, "training.noise.std: 0.1 -> none", ""},
		{func(c *Config, _ *Options) { c.Training.Kernel.L2 = 0.01 }, "training.kernel_regularizer.l2: none -> 0.01", ""},
		{func(c *Config, _ *Options) { c.Training.Seed = 9 }, "training.seed: 3 -> 9", ""},
		{func(c *Config, _ *Options) { c.Training.Optimizer = nn.Optimizer{Name: "sgd", Momentum: 0.9} }, "training.optimizer.name: adam -> sgd", "its state starts anew"},
		{func(c *Config, _ *Options) { c.Training.Reduction = "sample" }, "training.reduction: none -> sample", ""},
		{func(c *Config, o *Options) { c.Model.Encoder = graph.Specs(&layer.Dense{Units: 3, Activation: "relu"}) }, "model.encoder.1.dense.activation: tanh -> relu", ""},
		{func(c *Config, _ *Options) { f := 0.25; c.Model.Encoder[0].LearningRateFactor = &f }, "model.encoder.1.learning_rate_factor: none -> 0.25", ""},
		{func(c *Config, _ *Options) { c.Training.Loss = nn.Loss{MSE: 0.5, L1: 0.25} }, "training.loss.l1: none -> 0.25", ""},
		{func(_ *Config, o *Options) { o.Train = dataset.Circle(44, 0.1, 2) }, "data: the training samples are others", ""},
	} {
		t.Run(c.history, func(t *testing.T) {
			o := points(t)
			watch := &notes{}
			o.Observer = watch
			cfg := pointsConfig()
			cfg.Training.Epochs = 4
			c.change(&cfg, &o)
			r, err := Train(t.Context(), cfg, o)
			if err != nil {
				t.Fatal(err)
			}
			if len(r.History) != 4 || !strings.Contains(r.History[2].Changes, c.history) || !strings.Contains(r.History[2].Changes, "training.epochs: 2 -> 4") || r.History[1].Changes+r.History[3].Changes != "" {
				t.Errorf("history %+v", r.History)
			}
			said := strings.Join(watch.said, "\n")
			if !strings.Contains(said, c.history) || !strings.Contains(said, c.note) {
				t.Errorf("notes: %s", said)
			}
			if csv := string(readFile(t, o.Dir, historyCSV)); strings.Count(csv, c.history) != 1 {
				t.Errorf("history.csv:\n%s", csv)
			}
			back, err := ReadConfig(filepath.Join(o.Dir, ConfigFile))
			if err := cfg.Check(); err != nil {
				t.Fatal(err)
			}
			if err != nil || fmt.Sprintf("%+v", back.Training) != fmt.Sprintf("%+v", cfg.Training) {
				t.Errorf("the configuration is %+v, want %+v; %v", back.Training, cfg.Training, err)
			}
			// Nothing is left to be said of it at the next resume.
			watch.said = nil
			if r, err = Train(t.Context(), cfg, o); err != nil || len(watch.said) != 0 || len(r.History) != 4 {
				t.Errorf("a resume without changes: %v, notes %q", err, watch.said)
			}
		})
	}
}

// A layer that was not trained is from then on, with an optimiser that starts anew, and the other way round with the one that there was.
func TestResumeTrainsAnotherLayer(t *testing.T) {
	no := false
	frozen := pointsConfig()
	frozen.Model.Encoder[0].Trainable = &no
	o := pointsOptions(t, filepath.Join(t.TempDir(), "run"))
	if _, err := Train(t.Context(), frozen, o); err != nil {
		t.Fatal(err)
	}
	o.Resume = true
	weights := func() string {
		f, err := safetensors.ReadFile(filepath.Join(o.Dir, ModelFile))
		if err != nil {
			t.Fatal(err)
		}
		w, ok := f.Tensor("encoder.0.weight")
		if !ok {
			t.Fatal("no weights of the encoder")
		}
		return fmt.Sprint(w.Data)
	}
	before := weights()
	watch := &notes{}
	o.Observer = watch
	for i, cfg := range []Config{pointsConfig(), frozen} {
		cfg.Training.Epochs = 3 + i
		if _, err := Train(t.Context(), cfg, o); err != nil {
			t.Fatal(err)
		}
		after := weights()
		if trained := after != before; trained != (i == 0) {
			t.Errorf("resume %d: the encoder has changed: %v", i, trained)
		}
		if told := strings.Contains(strings.Join(watch.said, "\n"), "layers are trained that were not: the optimizer's state starts anew"); told != (i == 0) {
			t.Errorf("resume %d: notes %q", i, watch.said)
		}
		before, watch.said = after, nil
	}
}

// A run goes on with other factors of the learning rate, by which its parameters lie in another order, from the same state of the optimiser: in a
// step the layer with a factor of almost nothing stays, and the other one goes where it would without.
func TestResumeWithFactors(t *testing.T) {
	var weights [2]map[string][]byte
	for i, factor := range []float64{1, 1e-30} {
		o, c := points(t), pointsConfig()
		before := readWeights(t, o.Dir)
		c.Training.Epochs, c.Training.Batch = 3, 50
		c.Model.Encoder[0].LearningRateFactor = &factor
		if _, err := Train(t.Context(), c, o); err != nil {
			t.Fatal(err)
		}
		weights[i] = readWeights(t, o.Dir)
		for name, v := range before {
			if same, stays := bytes.Equal(v, weights[i][name]), factor < 1 && strings.HasPrefix(name, "encoder."); same != stays {
				t.Errorf("with a factor of %v %s is as it was: %v", factor, name, same)
			}
		}
	}
	for name, v := range weights[0] {
		if same, decoder := bytes.Equal(v, weights[1][name]), strings.HasPrefix(name, "decoder."); same != decoder {
			t.Errorf("%s is the same with and without a factor of the encoder: %v", name, same)
		}
	}
}

// readWeights returns the weights of a run by their names.
func readWeights(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	f, err := safetensors.ReadFile(filepath.Join(dir, ModelFile))
	if err != nil {
		t.Fatal(err)
	}
	weights := map[string][]byte{}
	for _, tensor := range f.Tensors {
		weights[tensor.Name] = tensor.Data
	}
	return weights
}

// What cannot be is refused with the reason, and the run stays as it was.
func TestResumeRefuses(t *testing.T) {
	o := points(t)
	before := readFile(t, o.Dir, ConfigFile)
	for _, c := range []struct {
		change func(c *Config, o *Options)
		want   string
	}{
		{func(c *Config, _ *Options) { c.Training.Epochs = 1 }, "training.epochs is 1, but the run in " + o.Dir + " is in epoch 2 already"},
		{func(c *Config, _ *Options) { c.Model.Encoder = graph.Specs(&layer.Dense{Units: 4, Activation: "tanh"}) }, "does not fit the model (model.encoder.1.dense.units: 3 -> 4)"},
		{func(c *Config, _ *Options) { c.Training.Loss = nn.BCE }, "loss bce needs"},
		{func(c *Config, _ *Options) { c.Training.Precision = "tf32" }, "the run in " + o.Dir + " cannot go on in another precision (training.precision: float32 -> tf32)"},
		{func(_ *Config, o *Options) { o.Dir += "x" }, "there is no run folder"},
		{func(_ *Config, o *Options) { o.Dir = t.TempDir() }, "no checkpoint to resume from"},
		{func(c *Config, o *Options) { o.Dir = filepath.Dir(write(t, t.TempDir(), ConfigFile)) }, "ended before its first: start it again with `convae train "},
	} {
		cfg, o := pointsConfig(), o
		c.change(&cfg, &o)
		if _, err := Train(t.Context(), cfg, o); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("error %v, want %q", err, c.want)
		}
	}
	if !bytes.Equal(readFile(t, o.Dir, ConfigFile), before) {
		t.Error("the configuration was changed")
	}
}

// A checkpoint of an older version has a hash in the place of its configuration: that is then the one in the folder.
func TestResumeOldCheckpoint(t *testing.T) {
	o := points(t)
	paths, err := checkpoints(o.Dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		f, err := safetensors.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var p map[string]any
		if err := json.Unmarshal([]byte(f.Metadata["progress"]), &p); err != nil {
			t.Fatal(err)
		}
		delete(p, "configuration")
		delete(p, "data")
		p["config"] = "1b9f0a37c0ffee00aabbccddeeff0011"
		text, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		counters, _ := f.Tensor("counters")
		counters.Shape, counters.Data = []int{2}, counters.Data[:16]
		f.Metadata["progress"], f.Metadata["sha256"] = string(text), digest(string(text), f.Tensors)
		var b bytes.Buffer
		if err := f.Write(&b); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, b.Bytes(), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	cfg := pointsConfig()
	cfg.Training.Epochs, cfg.Training.Batch = 3, 5
	r, err := Train(t.Context(), cfg, o)
	if err != nil || len(r.History) != 3 || r.History[2].Changes != "training.batch: 10 -> 5; training.epochs: 2 -> 3" {
		t.Errorf("%+v, %v", r.History, err)
	}
}

// A run that keeps the best from now on has a best at every moment: the present weights, if no epoch is better.
func TestKeepBestFromResume(t *testing.T) {
	o := points(t)
	last, err := fileWeights(t, filepath.Join(o.Dir, ModelFile))
	if err != nil {
		t.Fatal(err)
	}
	cfg := pointsConfig()
	cfg.Training.Epochs, cfg.Training.KeepBest = 4, true
	cfg.Training.Optimizer.LearningRate = 5 // from here on it becomes worse
	r, err := Train(t.Context(), cfg, o)
	if err != nil {
		t.Fatal(err)
	}
	if r.BestAt != 2 {
		t.Fatalf("the best epoch is %d of %+v: this test wants 2", r.BestAt, r.History)
	}
	for _, f := range []string{ModelFile, bestFile} {
		if got, err := fileWeights(t, filepath.Join(o.Dir, f)); err != nil || got != last {
			t.Errorf("%s has not the weights of epoch 2; %v", f, err)
		}
	}
	// Also if the file is lost.
	if err := os.Remove(filepath.Join(o.Dir, bestFile)); err != nil {
		t.Fatal(err)
	}
	if _, err := Train(t.Context(), cfg, o); err != nil {
		t.Error(err)
	}
}

// write makes a file that is empty.
func write(t testing.TB, path ...string) string {
	t.Helper()
	p := filepath.Join(path...)
	if err := os.WriteFile(p, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	return p
}

// fileWeights returns the data of a file's tensors.
func fileWeights(t testing.TB, path string) (string, error) {
	t.Helper()
	f, err := safetensors.ReadFile(path)
	if err != nil {
		return "", err
	}
	s := ""
	for _, tensor := range f.Tensors {
		s += tensor.Name + string(tensor.Data)
	}
	return s, nil
}

// With ema_decay it is the averages that are evaluated and saved, also by a run that goes on, with the same bits.
func TestEMARun(t *testing.T) {
	c := pointsConfig()
	c.Training.EMADecay, c.Training.Epochs = 0.9, 4
	run := func(c Config, o Options) Result {
		t.Helper()
		r, err := Train(t.Context(), c, o)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	whole, parts, plain := pointsOptions(t, filepath.Join(t.TempDir(), "run")), pointsOptions(t, filepath.Join(t.TempDir(), "run")), pointsOptions(t, filepath.Join(t.TempDir(), "run"))
	r := run(c, whole)
	if last, final := r.History[3].ValLoss, c.Training.LossOf(r.Final, 2); last != final {
		t.Errorf("the last validation has a loss of %v, the saved model %v", last, final)
	}
	half := c
	half.Training.Epochs = 2
	run(half, parts)
	parts.Resume = true
	run(c, parts)
	if !bytes.Equal(readFile(t, whole.Dir, ModelFile), readFile(t, parts.Dir, ModelFile)) {
		t.Error("a run in two parts saves another model")
	}
	c.Training.EMADecay = 0
	if p := run(c, plain); p.History[3].Loss != r.History[3].Loss || p.History[3].ValLoss == r.History[3].ValLoss {
		t.Errorf("without averages: %+v, with them %+v", p.History[3], r.History[3])
	}
}

// remover removes a run's folder after an epoch.
type remover struct {
	notes
	dir string
	err error
}

func (r *remover) Epoch(e Epoch) {
	if e.Epoch == 2 {
		r.err = os.RemoveAll(r.dir)
	}
}

// A run whose folder is removed while it trains begins the folder again, says so, and can be resumed.
func TestFolderRemoved(t *testing.T) {
	for _, epochs := range []int{2, 4} {
		o := points(t)
		o.Dir, o.Resume = filepath.Join(t.TempDir(), "run"), false
		watch := &remover{dir: o.Dir}
		o.Observer = watch
		cfg := pointsConfig()
		cfg.Training.Epochs = epochs
		if _, err := Train(t.Context(), cfg, o); err != nil || watch.err != nil {
			t.Fatal(err, watch.err)
		}
		if said := strings.Join(watch.said, "\n"); strings.Count(said, "was removed while the run trains") != 1 {
			t.Errorf("notes: %s", said)
		}
		back, err := ReadConfig(filepath.Join(o.Dir, ConfigFile))
		if err != nil || back.Training.Epochs != epochs {
			t.Errorf("the configuration is %+v, %v", back, err)
		}
		if history, err := ReadHistory(o.Dir); err != nil || len(history) != epochs {
			t.Errorf("a history of %d epochs, %v", len(history), err)
		}
		o.Resume, o.Observer = true, nil
		cfg.Training.Epochs++
		if r, err := Train(t.Context(), cfg, o); err != nil || len(r.History) != epochs+1 {
			t.Errorf("resumed: %d epochs, %v", len(r.History), err)
		}
	}
}
