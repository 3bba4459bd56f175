package trainer

import (
	"strings"
	"testing"

	"github.com/convae/convae/nn"
)

// A 0 in a configuration is a 0, also in the file that a run writes and after flags have been applied.
func TestZerosAreObeyed(t *testing.T) {
	vae := strings.Replace(goodConfig, "filters: 2, kernel: 3}", "filters: 2, kernel: 3}\n    - sampling: {}", 1)
	for _, c := range []struct {
		what, text, setting string
		value               func(c Config) nn.Optional
	}{
		{"beta", vae + "  divergence: {beta: 0}\n", "training.divergence.beta=0", func(c Config) nn.Optional { return c.Training.Divergence.Beta }},
		{"weight_decay", goodConfig + "  optimizer: {name: adamw, weight_decay: 0}\n", "training.optimizer={name: adamw, weight_decay: 0}", func(c Config) nn.Optional { return c.Training.Optimizer.WeightDecay }},
		{"beta1", goodConfig + "  optimizer: {name: adam, beta1: 0.0}\n", "training.optimizer.beta1=0", func(c Config) nn.Optional { return c.Training.Optimizer.Beta1 }},
		{"rho", goodConfig + "  optimizer: {name: adadelta, rho: 0}\n", "training.optimizer={name: adadelta, rho: 0}", func(c Config) nn.Optional { return c.Training.Optimizer.Rho }},
		{"noise", goodConfig + "data: {name: circle, noise: 0}\n", "data.noise=0", func(c Config) nn.Optional { return c.Data.Noise }},
	} {
		read, err := DecodeConfig(strings.NewReader(c.text))
		if err != nil {
			t.Errorf("%s: %v", c.what, err)
			continue
		}
		set, err := DecodeConfig(strings.NewReader(c.text), Set(c.setting))
		if err == nil {
			err = read.Check()
		}
		if err != nil || c.value(read) != nn.Given(0) || c.value(set) != nn.Given(0) {
			t.Errorf("%s is %v when read and %v when set, %v", c.what, c.value(read), c.value(set), err)
		}
		text, err := read.YAML()
		if err != nil {
			t.Fatal(err)
		}
		back, err := DecodeConfig(strings.NewReader(string(text)))
		if err != nil || c.value(back) != nn.Given(0) {
			t.Errorf("%s: %v comes back from %s, %v", c.what, c.value(back), text, err)
		}
	}
	d := Data{Name: "circle", Samples: 4, Noise: nn.Given(0)}
	set, _, err := d.Load(t.Context(), nil)
	if err != nil || set.Values[0] != 1 || set.Values[1] != 0.5 {
		t.Errorf("a circle without noise begins with %v, %v; want (1, 0.5)", set.Values[:2], err)
	}
}

// A 0 that cannot be is an error, instead of the default.
func TestZerosAreRefused(t *testing.T) {
	for _, c := range []struct{ path, value, want string }{
		{"training.epochs", "0", "1 or more"}, {"training.validation_freq", "0", "1 or more"}, {"training.accumulate", "0", "1 or more"},
		{"training.optimizer.learning_rate", "0", "more than 0"}, {"training.optimizer.learning_rate", "0.0", "more than 0"},
		{"training.optimizer.epsilon", "0e3", "more than 0"},
		{"training.schedule.patience", "0", "1 or more"}, {"training.schedule.factor", "0", "more than 0 and at most 1"},
		{"data.samples", "0", "2 or more"}, {"data.channels", "0", "1 (grey) or 3 (colour)"}, {"data.size", "[0, 0]", "[rows, columns] of 1 or more"},
	} {
		text, depth := "", 0
		for key := range strings.SplitSeq(c.path, ".") {
			if depth > 0 {
				text += "\n" + strings.Repeat("  ", depth)
			}
			text, depth = text+key+": ", depth+1
		}
		var into Config
		if err := decodeYAML([]byte(text+c.value), &into, ""); err == nil || !strings.Contains(err.Error(), c.path+" is ") || !strings.HasSuffix(err.Error(), "want "+c.want) {
			t.Errorf("%s: error %v, want %q", text+c.value, err, c.want)
		}
		if _, err := DecodeConfig(strings.NewReader(goodConfig), Set(c.path+"="+c.value)); err == nil || !strings.Contains(err.Error(), c.path) || !strings.HasSuffix(err.Error(), "want "+c.want) {
			t.Errorf("--set %s=%s: error %v, want %q", c.path, c.value, err, c.want)
		}
	}
	if _, err := DecodeConfig(strings.NewReader(strings.Replace(goodConfig, "filters: 2,", "filters: 2, stride: 0,", 1))); err == nil || !strings.Contains(err.Error(), "model.encoder.1.conv2d.stride is 0, want 1 to 11") {
		t.Errorf("a stride of 0: error %v", err)
	}
}
