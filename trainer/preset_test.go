package trainer

import (
	"bytes"
	"encoding/json"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/convae/convae/cpu"
	"github.com/convae/convae/cuda/ptxsim"
	"github.com/convae/convae/nn"
	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/device"
	"github.com/convae/convae/nn/diffusers"
	"github.com/convae/convae/nn/graph"
	"github.com/convae/convae/nn/layer"
	"github.com/convae/convae/nn/op"
)

func TestPresetLines(t *testing.T) {
	if Presets()[0] != DefaultPreset {
		t.Errorf("the first preset is %s, want the default", Presets()[0])
	}
	for _, name := range Presets() {
		line, err := PresetLine(name)
		if err != nil || len(line) < 20 || len(line) > 160 || !strings.HasSuffix(line, ".") {
			t.Errorf("%s: line %q, %v", name, line, err)
		}
		if c, err := Preset(name); err != nil || c.Model.Name != name {
			t.Errorf("%s: model %q, %v", name, c.Model.Name, err)
		}
	}
	if _, err := Preset("dens32"); err == nil || !strings.Contains(err.Error(), `there is no preset "dens32", perhaps dense32: the presets are denoiser, anomaly, circle`) {
		t.Errorf("error %v", err)
	}
}

// momentPreset returns a preset that trains for a moment: some on smaller pictures, which they take too.
func momentPreset(t *testing.T, name string, changes ...Change) Config {
	t.Helper()
	switch name {
	case "kl-small", "resnet-ae", "unet-denoiser", "super-resolution", "inpainting":
		changes = append(changes, Set("model.input=[8, 8, 3]"))
	case "kl-f8":
		t.Skip("a step of 83 million parameters is none of a moment; kl-small has the same layers")
	}
	c, err := Preset(name, changes...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Every preset trains on the simulated GPU, and its loss falls.
func TestPresetsOnSim(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: the simulator takes a while")
	}
	for _, name := range Presets() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := momentPreset(t, name, Set("training.epochs=2"), Set("training.validation_freq=1"))
			c.Data.Limit = 8
			if c.Training.Batch != FullBatch {
				c.Training.Batch = 4
			}
			train, test, err := LoadData(t.Context(), &c.Data, nil)
			if err != nil {
				t.Fatal(err)
			}
			dev, err := device.OpenSim(ptxsim.Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer dev.Close()
			r, err := Train(t.Context(), c, Options{Dir: filepath.Join(t.TempDir(), "run"), Device: dev, Train: train, Test: test.Slice(0, min(4, test.Len()))})
			if err != nil {
				t.Fatal(err)
			}
			if first, last := r.History[0].Loss, r.History[1].Loss; !(last < first) {
				t.Errorf("the loss goes from %v to %v", first, last)
			}
		})
	}
}

// Every op of a step of every preset is checked against the CPU's plain loops.
func TestPresetsChecked(t *testing.T) {
	open := func(o cpu.Options) backend.Device {
		dev, err := cpu.Open(o)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { dev.Close() })
		return dev
	}
	dev, plain := open(cpu.Options{}), open(cpu.Options{Lanes: 1, Plain: true})
	for _, name := range Presets() {
		t.Run(name, func(t *testing.T) {
			const n = 2
			c := momentPreset(t, name)
			c.Data.Limit, c.Training.Batch, c.Training.Accumulate = n, n, 1
			train, _, err := LoadData(t.Context(), &c.Data, nil)
			if err != nil {
				t.Fatal(err)
			}
			o, err := c.Training.Options(n)
			if err != nil {
				t.Fatal(err)
			}
			tr, err := nn.NewTrainer(mustNew(t, c.Model), dev, o)
			if err != nil {
				t.Fatal(err)
			}
			defer tr.Close()
			if train.Pixels != nil {
				err = tr.SetData(train.Pixels, n)
			} else {
				err = tr.SetValues(train.Values, n)
			}
			if err != nil {
				t.Fatal(err)
			}
			err = tr.Check(0, n, 1, op.Checker{Reference: plain.Lanes()[0], Bound: backend.Bound{Abs: 2e-5, Rel: 2e-5}, Report: func(m op.Mismatch) { t.Errorf("%+v", m) }})
			if err != nil {
				t.Error(err)
			}
		})
	}
}

// The presets of latent diffusion have the layers of diffusers' AutoencoderKL, and kl-f8 the size of Stable Diffusion's.
func TestKLPresetsAreDiffusers(t *testing.T) {
	for name, levels := range map[string][]int{"kl-small": {16, 32, 32}, "kl-f8": {128, 256, 512, 512}} {
		c, err := Preset(name)
		if err != nil {
			t.Fatal(err)
		}
		input, err := layer.ParseShape(c.Model.Input)
		if err != nil {
			t.Fatal(err)
		}
		kl, err := diffusers.Of(input, c.Model.Encoder, c.Model.Decoder)
		if err != nil || !slices.Equal(kl.BlockOutChannels, levels) {
			t.Errorf("%s: %+v, %v", name, kl, err)
		}
	}
}

// The preset circle is the tutorial's: 0.1 times standard normal weights, gradients summed, and points that are not scaled,
// whose negative values no sigmoid reaches: that alone is an MSE of 0.244 to 0.279.
func TestCircleIsTheTutorials(t *testing.T) {
	c, err := Preset("circle", Set("training.epochs=500"))
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range slices.Concat(c.Model.Encoder, c.Model.Decoder) {
		if d := l.Layer.(*layer.Dense); d.Initializer != (graph.Initializer{Name: "normal", Std: 0.1}) || d.Activation != "sigmoid" {
			t.Errorf("layer %+v", d)
		}
	}
	train, test, err := LoadData(t.Context(), &c.Data, nil)
	if err != nil {
		t.Fatal(err)
	}
	floor := 0.0
	for _, v := range train.Values {
		miss := float64(v - min(max(v, 0), 1))
		floor += miss * miss / float64(len(train.Values))
	}
	if floor < 0.2435 || floor > 0.2795 { // as the two round
		t.Errorf("what no sigmoid reaches is an MSE of %v, want 0.244 to 0.279", floor)
	}
	o := smallOptions(t, filepath.Join(t.TempDir(), "run"))
	o.Train, o.Test = train, test
	r, err := Train(t.Context(), c, o)
	if err != nil || r.Final.Output.MSE < floor || r.Final.Output.MSE > 0.53 {
		t.Errorf("MSE %v, %v, want %v to 0.53", r.Final.Output.MSE, err, floor)
	}
}

// The loss of the presets of points, which are validated at some epochs only, is drawn from a hundred points.
func TestPointPresetsHaveCurves(t *testing.T) {
	for _, name := range []string{"circle", "circle-scaled", "spiral"} {
		c, err := Preset(name)
		if err != nil || c.Training.Epochs/c.Training.Validation < 100 {
			t.Errorf("%s: %v, a loss every %d of %d epochs", name, err, c.Training.Validation, c.Training.Epochs)
		}
	}
}

// What a file says of an initializer is what is written again, and to a checkpoint's fingerprint a name is text as before
// there were others.
func TestInitializerInFiles(t *testing.T) {
	for text, want := range map[string]graph.Initializer{"he_normal": {Name: "he_normal"}, "{normal: {std: 0.5}}": {Name: "normal", Std: 0.5}} {
		c, err := Preset("dense32", Set("model.encoder.1.dense.initializer="+text))
		if err != nil || c.Model.Encoder[0].Layer.(*layer.Dense).Initializer != want {
			t.Fatalf("%s: %+v, %v", text, c.Model.Encoder[0].Layer, err)
		}
		data, err := c.YAML()
		if err != nil {
			t.Fatal(err)
		}
		again, err := DecodeConfig(bytes.NewReader(data))
		if err != nil || !reflect.DeepEqual(again, c) {
			t.Errorf("%s: read back as %+v, %v from\n%s", text, again, err, data)
		}
	}
	for _, e := range []struct{ text, want string }{
		{"lecun", `initializer is "lecun", want glorot_uniform`},
		{"{normal: {std: -1}}", "initializer normal: std is -1"},
		{"{normal: {sigma: 1}}", "want glorot_uniform"},
		{"{uniform: {std: 1}}", "want glorot_uniform"},
		{"[1]", "want glorot_uniform"},
	} {
		if _, err := Preset("dense32", Set("model.encoder.1.dense.initializer="+e.text)); err == nil || !strings.Contains(err.Error(), e.want) {
			t.Errorf("%s: error %v, want one with %q", e.text, err, e.want)
		}
	}
	text, err := json.Marshal(struct{ A, B graph.Initializer }{graph.Initializer{Name: "he_normal"}, graph.Initializer{Std: 0.5}})
	if err != nil || string(text) != `{"A":"he_normal","B":{"normal":{"std":0.5}}}` {
		t.Errorf("%s, %v", text, err)
	}
}

func TestSettings(t *testing.T) {
	var changes []Change
	for _, s := range []string{"training.epochs=5", "training.batch=full", "model.encoder.1.conv2d.filters=7", "model.encoder.3.conv2d.kernel=[1, 5]",
		"training.optimizer={name: sgd, learning_rate: 0.5}", "data.name=circle", "data.samples=9", "training.early_stopping.patience=4", "model.name=a=b", "training.noise.std=0",
		"model.encoder.1.trainable=false", "model.encoder.3.learning_rate_factor=0.5", "model.decoder.1.trainable=false", "model.decoder.1.trainable=null"} {
		changes = append(changes, Set(s))
	}
	c, err := Preset("denoiser", changes...)
	if err != nil {
		t.Fatal(err)
	}
	tr := c.Training
	if tr.Epochs != 5 || tr.Batch != FullBatch || c.Model.Encoder[0].Layer.(*layer.Conv2D).Filters != 7 || c.Model.Encoder[2].Layer.(*layer.Conv2D).Kernel != (layer.Size{H: 1, W: 5}) ||
		tr.Optimizer.Name != "sgd" || tr.Optimizer.LearningRate != 0.5 || !tr.Optimizer.Beta1.IsZero() || c.Data.Samples != 9 || tr.EarlyStopping.Patience != 4 ||
		c.Model.Name != "a=b" || tr.Noise.Std != 0 {
		t.Errorf("%+v", c)
	}
	if trained := c.Model.Encoder[0].Trainable; trained == nil || *trained {
		t.Error("the first layer is trained")
	}
	if factor := c.Model.Encoder[2].LearningRateFactor; factor == nil || *factor != 0.5 {
		t.Errorf("the third layer has a factor of %v", factor)
	}
	if c.Model.Decoder[0].Trainable != nil {
		t.Error("null has not set a field back")
	}
	for _, e := range []struct{ setting, want string }{
		{"training.epochs", "want PATH=VALUE, as training.epochs=5"},
		{"=5", "want PATH=VALUE"},
		{"training.epochs=", "there is no value after the ="},
		{"training.epoch=5", `setting "training.epoch=5": training has no "epoch", perhaps epochs; it has epochs, batch, loss`},
		{"trainig.epochs=5", `the configuration has no "trainig", perhaps training; it has model, data, training`},
		{"training.zzzzzz=5", `training has no "zzzzzz"; it has epochs`},
		{"training.epochs.x=5", `training.epochs is a value, which has no "x"`},
		{"training.epochs=many", `training.epochs is "many", want a whole number`},
		{"training.epochs=-1", "training.epochs is -1, want 1 to"},
		{"training.batch=some", `training.batch is "some", want a number of samples, or full`},
		{"training.optimizer={name: sgd, lr: 1}", `unknown field "lr" in training.optimizer; want one of name, learning_rate`},
		{"model.encoder.9.conv2d.filters=1", `model.encoder has no item "9", want a number of 1 to 4`},
		{"model.encoder.0.conv2d.filters=1", `want a number of 1 to 4`},
		{"model.encoder.1.learning_rate_factor=-1", "learning_rate_factor is -1, want 0 or more"},
		{"model.encoder.1.trainable=no", `model.encoder.1.trainable is "no", want true or false`},
		{"model.encoder.2.conv2d.filters=1", "model.encoder.2 is maxpool2d and has no conv2d: another layer is set as a whole, as {conv2d: {...}}"},
		{"model.encoder.1.conv2d.filter=1", `model.encoder.1.conv2d has no "filter", perhaps filters`},
	} {
		_, err := Preset("denoiser", Set(e.setting))
		if err == nil || !strings.Contains(err.Error(), e.want) {
			t.Errorf("%s: error %v, want one with %q", e.setting, err, e.want)
		}
	}
}

func TestBatchText(t *testing.T) {
	for text, want := range map[string]Batch{"full": FullBatch, "0": FullBatch, "7": 7} {
		var b Batch
		if err := b.Set(text); err != nil || b != want {
			t.Errorf("%s: %v, %v", text, b, err)
		}
	}
	for _, text := range []string{"", "-1", "1.5", "Full"} {
		if err := new(Batch).Set(text); err == nil {
			t.Errorf("%q: no error", text)
		}
	}
}

func TestSlowAdadeltaIsNoted(t *testing.T) {
	c := smallConfig()
	c.Training.Epochs = 1
	c.Training.Optimizer = nn.Optimizer{Name: "adadelta", LearningRate: 0.001}
	n := &notes{}
	o := smallOptions(t, filepath.Join(t.TempDir(), "run"))
	o.Observer = n
	if _, err := Train(t.Context(), c, o); err != nil {
		t.Fatal(err)
	}
	if len(n.said) != 1 || !strings.Contains(n.said[0], "adadelta with a learning rate of 0.001 hardly moves") {
		t.Errorf("notes %q", n.said)
	}
}
