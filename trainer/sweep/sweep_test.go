package sweep

import (
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/convae/convae/cpu"
	"github.com/convae/convae/nn/backend"
)

// small is a sweep's file, but for what is searched.
const small = `
base: circle
set: {data.samples: 60, training.epochs: 4, training.batch: 20, model.decoder.2.dense.activation: linear}
`

func read(t *testing.T, text string) (*File, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "sweep.yaml")
	if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
	return ReadFile(path)
}

func mustRead(t *testing.T, text string) *File {
	t.Helper()
	f, err := read(t, text)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func devices(t *testing.T, n int) (all []backend.Device) {
	for range n {
		d, err := cpu.Open(cpu.Options{Lanes: 1})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { d.Close() })
		all = append(all, d)
	}
	return all
}

// The same file has the same trials, more of a random search begin with fewer, and values lie where the distributions are.
func TestSettings(t *testing.T) {
	text := small + `parameters:
  training.optimizer.learning_rate: {log_uniform: [1e-6, 1e-1]}
  training.noise.std: {uniform: [0.1, 0.5]}
  training.batch: {choice: [10, 20, full]}
  model.encoder.1.dense.units: {int: [3, 5]}
seed: 7
trials: 200
`
	text = strings.Replace(text, ", training.batch: 20", "", 1)
	all, err := mustRead(t, text).Settings()
	if err != nil || len(all) != 200 {
		t.Fatal(len(all), err)
	}
	few, _ := mustRead(t, strings.Replace(text, "200", "20", 1)).Settings()
	if !reflect.DeepEqual(few, all[:20]) {
		t.Error("20 trials are not the first of 200")
	}
	if other, _ := mustRead(t, strings.Replace(text, "seed: 7", "seed: 8", 1)).Settings(); reflect.DeepEqual(other, all) {
		t.Error("another seed draws the same")
	}
	seen := map[string]int{}
	low := 0
	for _, trial := range all {
		for _, s := range trial {
			v, err := strconv.ParseFloat(s.Value, 64)
			switch s.Path {
			case "training.optimizer.learning_rate":
				if err != nil || v < 1e-6 || v > 1e-1 {
					t.Errorf("learning rate %s", s.Value)
				}
				if v < math.Sqrt(1e-6*1e-1) {
					low++
				}
			case "training.noise.std":
				if err != nil || v < 0.1 || v > 0.5 {
					t.Errorf("noise %s", s.Value)
				}
			default:
				seen[s.Path+" "+s.Value]++
			}
		}
	}
	// Each of 200 draws is below the middle with a chance of a half: five standard deviations are 35.
	if low < 65 || low > 135 {
		t.Errorf("%d of 200 learning rates are in the lower half of the logarithms", low)
	}
	for _, want := range []string{`training.batch 10`, `training.batch 20`, `training.batch "full"`, "model.encoder.1.dense.units 3", "model.encoder.1.dense.units 4", "model.encoder.1.dense.units 5"} {
		if seen[want] < 30 { // of 67 expected, with a standard deviation of 6.7
			t.Errorf("%s was drawn %d times", want, seen[want])
		}
	}
	grid, err := mustRead(t, small+`search: grid
parameters:
  training.optimizer.learning_rate: {log_uniform: [1e-4, 1e-2], points: 3}
  training.noise.std: {uniform: [0, 1], points: 3}
  model.encoder.1.dense.units: {int: [3, 4]}
`).Settings()
	var got []string
	for _, s := range grid {
		got = append(got, s[0].Value+" "+s[1].Value+" "+s[2].Value)
	}
	if err != nil || len(got) != 18 || got[0] != "3 0 0.0001" || got[1] != "3 0 0.001" || got[17] != "4 1 0.01" {
		t.Errorf("grid %v, error %v", got, err)
	}
}

const halved = small + `parameters:
  training.optimizer.learning_rate: {choice: [0.0001, 0.003, 0.01, 1e30]}
search: grid
halving: {epochs: 1, factor: 2}
`

// Successive halving goes on with the best. A trial that diverges is a row with its error.
func TestHalving(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "sweep")
	r, err := Run(t.Context(), mustRead(t, halved), Options{Dir: dir, Devices: devices(t, 2)})
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Outcomes) != 4 || r.Outcomes[3].Trial != 4 || !strings.Contains(r.Outcomes[3].Error, "diverged") {
		t.Errorf("the last outcome is %+v", r.Outcomes[3])
	}
	// Three are sound: two go on to 2 epochs, and one to 4.
	for i, epochs := range []int{4, 2, 1} {
		if o := r.Outcomes[i]; o.Epochs != epochs || o.Error != "" || o.Last.Epoch != epochs {
			t.Errorf("outcome %d is %+v, want %d epochs", i+1, o, epochs)
		}
	}
	a, b, c := r.Outcomes[0], r.Outcomes[1], r.Outcomes[2]
	if b.Values[0] > c.Values[0] || a.Values[1] > b.Values[1] || len(a.Values) != 3 {
		t.Errorf("the best do not go on: %v, %v, %v", a.Values, b.Values, c.Values)
	}
	table, err := os.ReadFile(r.Table)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(table)), "\n")
	if len(lines) != 5 || !strings.HasPrefix(lines[0], "trial,training.optimizer.learning_rate,epochs,val_loss,") || !strings.HasPrefix(lines[4], "4,1e30,,") || !strings.Contains(lines[4], "diverged") {
		t.Errorf("table:\n%s", table)
	}
	page, err := os.ReadFile(r.Report)
	if err != nil || !strings.Contains(string(page), "Trials, by val_loss") || !strings.Contains(string(page), "training.optimizer.learning_rate") {
		t.Errorf("the report lacks the table (%v)", err)
	}
}

// A sweep that ends after any trial goes on where it was, with what one has that is not interrupted, and does nothing twice.
func TestGoesOn(t *testing.T) {
	root := t.TempDir()
	f := mustRead(t, halved)
	whole, err := Run(t.Context(), f, Options{Dir: filepath.Join(root, "whole"), Devices: devices(t, 1)})
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(root, "cut")
	said := map[string]int{}
	rounds := 0
	for {
		ctx, cancel := context.WithCancel(t.Context())
		heard := 0
		r, err := Run(ctx, f, Options{Dir: dir, Devices: devices(t, 1), Say: func(text string) {
			said[text]++
			if heard++; heard == 2 && rounds < 6 {
				cancel()
			}
		}})
		cancel()
		if err != nil {
			t.Fatal(err)
		}
		if rounds++; r.Interrupted {
			continue
		}
		for i := range r.Outcomes {
			got, want := r.Outcomes[i], whole.Outcomes[i]
			got.Seconds, want.Seconds = 0, 0
			for _, o := range []*Outcome{&got, &want} {
				o.Last.Seconds, o.Last.Rate = 0, 0
				o.Error = strings.ReplaceAll(strings.ReplaceAll(o.Error, dir, ""), filepath.Join(root, "whole"), "")
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("outcome %d is\n%+v, want\n%+v", i+1, got, want)
			}
		}
		break
	}
	if rounds < 3 {
		t.Errorf("it was interrupted %d times", rounds-1)
	}
	for text, times := range said {
		if strings.HasPrefix(text, "trial ") && times != 1 {
			t.Errorf("%d times: %s", times, text)
		}
	}
	again, err := Run(t.Context(), f, Options{Dir: dir, Devices: devices(t, 1), Say: func(text string) {
		if strings.HasPrefix(text, "trial ") {
			t.Errorf("of a sweep that has ended: %s", text)
		}
	}})
	if err != nil || len(again.Rows) != 4 {
		t.Errorf("again: %v, error %v", again.Rows, err)
	}
	other := mustRead(t, strings.Replace(halved, "0.003", "0.004", 1))
	if _, err := Run(t.Context(), other, Options{Dir: dir, Devices: devices(t, 1)}); err == nil || !strings.Contains(err.Error(), "has another sweep") {
		t.Errorf("another sweep in the folder: %v", err)
	}
	if _, err := Run(t.Context(), f, Options{Dir: root, Devices: devices(t, 1)}); err == nil || !strings.Contains(err.Error(), "is not empty: it has cut") {
		t.Errorf("a folder of something else: %v", err)
	}
}

// Settings that do not go together are a row, and if all trials fail the sweep does. More trials go on from fewer.
func TestFailures(t *testing.T) {
	text := small + `parameters:
  model.encoder.1.dense.units: {choice: [3]}
  training.loss: {choice: [mse, bce]}
search: grid
metric: val_mse
`
	r, err := Run(t.Context(), mustRead(t, text), Options{Dir: filepath.Join(t.TempDir(), "sweep"), Devices: devices(t, 1)})
	if err != nil {
		t.Fatal(err)
	}
	if r.Outcomes[0].Trial != 1 || r.Outcomes[0].Error != "" || !strings.Contains(r.Outcomes[1].Error, "bce") {
		t.Errorf("outcomes %+v", r.Outcomes)
	}
	text = strings.Replace(text, "[mse, bce]", "[bce]", 1)
	if _, err := Run(t.Context(), mustRead(t, text), Options{Dir: filepath.Join(t.TempDir(), "sweep"), Devices: devices(t, 1)}); err == nil || !strings.Contains(err.Error(), "all 1 trials have failed") {
		t.Errorf("error %v", err)
	}
	random := small + "parameters:\n  training.optimizer.learning_rate: {log_uniform: [1e-3, 1e-2]}\ntrials: 1\n"
	dir := filepath.Join(t.TempDir(), "sweep")
	for n := 1; n <= 2; n++ {
		var said []string
		r, err := Run(t.Context(), mustRead(t, strings.Replace(random, "trials: 1", fmt.Sprint("trials: ", n), 1)), Options{Dir: dir, Devices: devices(t, 1), Say: func(s string) { said = append(said, s) }})
		if err != nil || len(r.Rows) != n || len(said) != 1 {
			t.Errorf("%d trials: rows %v, said %q, error %v", n, r.Rows, said, err)
		}
	}
}

// Trials whose folders are deleted after a sweep has ended stay in the table, and are left out of the report.
func TestDeletedTrials(t *testing.T) {
	f := mustRead(t, small+"parameters:\n  training.optimizer.learning_rate: {choice: [0.01, 0.1, 0.2]}\nsearch: grid\n")
	dir := filepath.Join(t.TempDir(), "sweep")
	var said []string
	again := func() (Result, error) {
		said = nil
		return Run(t.Context(), f, Options{Dir: dir, Devices: devices(t, 1), Say: func(s string) { said = append(said, s) }})
	}
	r, err := again()
	if err != nil {
		t.Fatal(err)
	}
	run := func(i int) string { return filepath.Join(dir, fmt.Sprintf("trial-%03d", r.Outcomes[i].Trial)) }
	if r.Best != run(0) {
		t.Errorf("the best is %s, want %s", r.Best, run(0))
	}
	for deleted, best := range []string{run(1), run(2), ""} { // the best, then the second
		if err := os.RemoveAll(run(deleted)); err != nil {
			t.Fatal(err)
		}
		now, err := again()
		if len(now.Rows) != 3 || now.Best != best || len(said) != deleted+1 || !strings.Contains(said[0], "is left out of the report") {
			t.Errorf("without %d runs: %d rows, the best is %q, want %q; said %q", deleted+1, len(now.Rows), now.Best, best, said)
		}
		if best != "" && err != nil || best == "" && (err == nil || !strings.Contains(err.Error(), "have been deleted")) {
			t.Errorf("without %d runs: error %v", deleted+1, err)
		}
	}
}

// A base may be a file beside the sweep's, and trials whose pictures have other sizes have data of their own.
func TestInputs(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"base.yaml": "model:\n  name: m\n  input: [8, 8, 3]\n  encoder:\n    - conv2d: {filters: 2, kernel: 3}\n  decoder:\n    - conv2d: {filters: 3, kernel: 3, activation: sigmoid}\n" +
			"data: {name: scenes, samples: 8}\ntraining: {epochs: 1, batch: 4, seed: 1}\n",
		"sweep.yaml": "base: base.yaml\nparameters:\n  model.input: {choice: [[8, 8, 3], [16, 12, 3]]}\nsearch: grid\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	f, err := ReadFile(filepath.Join(dir, "sweep.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	r, err := Run(t.Context(), f, Options{Dir: filepath.Join(dir, "out"), Devices: devices(t, 1)})
	if err != nil || r.Outcomes[0].Error+r.Outcomes[1].Error != "" {
		t.Errorf("outcomes %+v, error %v", r.Outcomes, err)
	}
}

// Every field has an error that names it and says what was expected, or perhaps meant.
func TestErrors(t *testing.T) {
	const good = small + "parameters: {training.noise.std: {uniform: [0, 1]}}\ntrials: 2\n"
	if _, err := read(t, good); err != nil {
		t.Fatal(err)
	}
	params := func(text string) string { return small + "trials: 2\nparameters: " + text + "\n" }
	grid := func(text string) string { return small + "search: grid\nparameters: " + text + "\n" }
	for _, c := range [][2]string{
		{"bas: circle\n", `unknown field "bas", perhaps base`},
		{"parameters: {}\n", "base is missing: want a preset (denoiser"},
		{strings.Replace(good, "circle", "cirle", 1), "perhaps circle"},
		{strings.Replace(good, "circle", "gone.yaml", 1), "gone.yaml"},
		{strings.Replace(good, "data.samples", "data.sample", 1), "perhaps samples"},
		{small + "trials: 2\n", "parameters is missing"},
		{params("{training.nois.std: {uniform: [0, 1]}}"), `parameters.training.nois.std: setting "training.nois.std=0": training has no "nois", perhaps noise`},
		{params("{training.noise.std: {unifrm: [0, 1]}}"), `unknown field "unifrm" in parameters.training.noise.std, perhaps uniform`},
		{params("{training.noise.std: [0, 1]}"), "want fields: choice, uniform, log_uniform, int, points"},
		{params("{training.noise.std: {}}"), "has 0 distributions, want one of choice"},
		{params("{training.noise.std: {uniform: [0, 1], choice: [1]}}"), "has 2 distributions"},
		{params("{training.noise.std: {uniform: [0]}}"), "uniform has 1 numbers, want two"},
		{params("{training.noise.std: {uniform: [1, 0]}}"), "uniform is [1, 0], want the least first"},
		{params("{training.noise.std: {uniform: [a, 0]}}"), `is "a", want a number`},
		{params("{training.noise.std: {log_uniform: [0, 1]}}"), "log_uniform begins with 0, want more than 0"},
		{params("{training.noise.std: {choice: []}}"), "choice is empty"},
		{params("{training.noise.std: {choice: [much]}}"), `parameters.training.noise.std: setting "training.noise.std=\"much\""`},
		{params("{training.slots: {int: [1, 2.5]}}"), "want a whole number"},
		{params("{training.slots: {uniform: [1.5, 2.5]}}"), "want a whole number"},
		{params("{training.batch: {int: [1, 2]}}"), "set.training.batch is set for all trials, and a parameter too"},
		{params("{training.noise.std: {uniform: [0, 1], points: 3}}"), "points is 3 with search random"},
		{grid("{training.noise.std: {uniform: [0, 1]}}"), "points is missing"},
		{grid("{training.noise.std: {choice: [0, 1], points: 2}}"), "points is 2 with choice"},
		{grid("{training.slots: {int: [1, 100000000]}}"), "parameters.training.slots: int has 100000000 numbers, want at most 10000, or points"},
		{grid("{training.seed: {int: [1, 200]}, training.slots: {int: [1, 100]}}"), "parameters: the grid has more than 10000 trials"},
		{params("{training.optimizer: {choice: [{name: adam}]}, training.optimizer.learning_rate: {uniform: [0.1, 0.2]}}"), "parameters.training.optimizer.learning_rate is a part of parameters.training.optimizer: want one of them"},
		{params("{data: {choice: [{name: circle}]}}"), "set.data.samples is a part of parameters.data, which sets it in each trial"},
		{grid("{training.noise.std: {choice: [0, 1]}}\ntrials: 3"), "trials is 3 with search grid"},
		{grid("{training.noise.std: {choice: [0, 1]}}\nseed: 3"), "seed is 3 with search grid"},
		{strings.Replace(good, "trials: 2", "trials: 0", 1), "trials is 0, want 1 to 10000"},
		{good + "search: gird\n", `search is "gird", perhaps grid`},
		{good + "metric: val_los\n", `metric is "val_los", perhaps val_loss`},
		{good + "seed: -1\n", "want a whole number of 0 or more"},
		{good + "halving: {epochs: 5}\n", "halving.epochs is 5, want 1 to 4"},
		{good + "halving: {epochs: 1, factor: 1}\n", "halving.factor is 1, want 2 to 1000"},
		{good + "halving: {epoch: 1}\n", `unknown field "epoch" in halving, perhaps epochs`},
		{strings.Replace(params("{training.epochs: {int: [3, 5]}}"), "training.epochs: 4, ", "", 1) + "halving: {epochs: 1}\n", "halving sets the epochs of trials"},
	} {
		if _, err := read(t, c[0]); err == nil || !strings.Contains(err.Error(), c[1]) || !strings.HasPrefix(err.Error(), "sweep ") || strings.Contains(err.Error(), "\n") {
			t.Errorf("error %v, want %q", err, c[1])
		}
	}
	if _, err := ReadFile(t.TempDir()); err == nil || !strings.Contains(err.Error(), "is a folder, want the file (YAML or JSON) that says what to try") {
		t.Errorf("of a folder: error %v", err)
	}
	if mustRead(t, good).Metric != "val_loss" {
		t.Error("the metric is not the validation loss by default")
	}
}
