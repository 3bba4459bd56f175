package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/convae/convae/trainer"
)

// run executes a command line and returns what it wrote.
func run(t testing.TB, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	return runContext(t.Context(), args...)
}

func runContext(ctx context.Context, args ...string) (stdout, stderr string, err error) {
	root := rootCommand()
	var out, errOut bytes.Buffer
	root.SetOut(&out)
	root.SetErr(&errOut)
	root.SetArgs(args)
	err = root.ExecuteContext(ctx)
	return out.String(), errOut.String(), err
}

func write(t testing.TB, data []byte, path ...string) string {
	t.Helper()
	p := filepath.Join(path...)
	if err := os.MkdirAll(filepath.Dir(p), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(p, data, 0o666); err != nil {
		t.Fatal(err)
	}
	return p
}

// tinyConfig trains in a moment.
const tinyConfig = `
model:
  name: tiny
  input: [28, 28, 1]
  encoder:
    - conv2d: {filters: 2, kernel: 3, activation: relu}
    - maxpool2d: {size: 2}
  decoder:
    - upsampling2d: {size: 2}
    - conv2d: {filters: 1, kernel: 3, activation: sigmoid}
data: {name: digits, limit: 64}
training: {epochs: 1, batch: 16, noise: {std: 0.5}, optimizer: {name: adam, learning_rate: 0.02}}
`

// tinyRun is a trained run.
func tinyRun(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	config := write(t, []byte(tinyConfig), dir, "tiny.yaml")
	out := filepath.Join(dir, "run")
	stdout, stderr, err := run(t, "train", config, "--out", out, "--log", "lines")
	if err != nil {
		t.Fatalf("%v\n%s", err, stderr)
	}
	if !strings.Contains(stdout, "denoised: PSNR") || !strings.Contains(stdout, "run: "+out) {
		t.Fatalf("train printed %q", stdout)
	}
	return out
}

func idxHeader(magic uint32, dims ...uint32) []byte {
	b := binary.BigEndian.AppendUint32(nil, magic)
	for _, d := range dims {
		b = binary.BigEndian.AppendUint32(b, d)
	}
	return b
}

func gzipped(data []byte) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	w.Write(data)
	w.Close()
	return b.Bytes()
}

// Each mistake gives one clear line, and nothing is written.
func TestTrainErrors(t *testing.T) {
	dir := t.TempDir()
	data := func(name string, images []byte) string {
		d := filepath.Join(dir, name)
		write(t, images, d, "train-images-idx3-ubyte")
		write(t, append(idxHeader(0x801, 1), 5), d, "train-labels-idx1-ubyte")
		write(t, append(idxHeader(0x803, 1, 28, 28), make([]byte, 784)...), d, "t10k-images-idx3-ubyte")
		write(t, append(idxHeader(0x801, 1), 5), d, "t10k-labels-idx1-ubyte")
		return d
	}
	image := append(idxHeader(0x803, 1, 28, 28), make([]byte, 784)...)
	packed := gzipped(image)
	packed[len(packed)-6] ^= 1
	config := func(old, new string) string {
		return write(t, []byte(strings.Replace(tinyConfig, old, new, 1)), dir, strings.Map(safeRune, new)+".yaml")
	}
	occupied := filepath.Join(dir, "occupied")
	write(t, []byte("mine"), occupied, "file")
	notDir := write(t, []byte("x"), dir, "plain")
	mnist := func(d string) []string { return []string{"--data", "mnist", "--data-dir", d} }
	for _, c := range []struct {
		name string
		args []string
		want []string
	}{
		{"unknown flag", []string{"--epoch", "3"}, []string{"unknown flag: --epoch, perhaps --epochs (see 'convae train --help')"}},
		{"unknown letter", []string{"-e"}, []string{"unknown shorthand flag: 'e' in -e", "convae train --help"}},
		{"bad number", []string{"--epochs", "ten"}, []string{`--epochs is "ten", want a whole number (see`}},
		{"fraction", []string{"--epochs", "1.5"}, []string{`--epochs is "1.5", want a whole number`}},
		{"large number", []string{"--epochs", "99999999999999999999"}, []string{"want a whole number that is not so large"}},
		{"bad rate", []string{"--noise", "much"}, []string{`--noise is "much", want a number (see`}},
		{"bad seed", []string{"--seed", "-1"}, []string{`--seed is "-1", want a whole number of 0 or more`}},
		{"bad switch", []string{"--keep-best=maybe"}, []string{`--keep-best is "maybe", want true or false`}},
		{"no value", []string{"--out", "x", "--noise"}, []string{"--noise needs a value: standard deviation of the noise"}},
		{"two presets", []string{"vae", "dense32"}, []string{`convae train takes at most 1 argument, [PRESET | CONFIG.yaml]; found 2: ["vae" "dense32"]`}},
		{"no epochs", []string{"--epochs", "0"}, []string{"--epochs is 0"}},
		{"no timeout", []string{"--timeout", "-3s"}, []string{"--timeout is -3s, want more than 0, as 10m"}},
		{"launcher", []string{"--launcher", "slurm"}, []string{`launcher is "slurm", want auto, none, mpi or env`}},
		{"all_reduce", []string{"--set", "training.all_reduce=any"}, []string{`training.all_reduce is "any", want ordered or fast`}},
		{"slots", []string{"--set", "training.slots=-1"}, []string{"training.slots is -1, want 1 to 1048576"}},
		{"no rate", []string{"--learning-rate", "-1"}, []string{"--learning-rate is -1"}},
		{"negative noise", []string{"--noise", "-1"}, []string{"--noise is -1, want 0 to 100"}},
		{"unknown preset", []string{"denoizer"}, []string{`no preset "denoizer"`, "denoiser"}},
		{"missing config", []string{filepath.Join(dir, "none.yaml")}, []string{"none.yaml", "no such file"}},
		{"preset as a file", []string{"denoiser.yaml"}, []string{"there is no file denoiser.yaml: the preset is called denoiser"}},
		{"unknown field", []string{config("filters: 2", "filter: 2")}, []string{"filter--2.yaml", "line 6, column 16", `unknown field "filter" in model.encoder.1.conv2d`}},
		{"impossible size", []string{config("input: [28, 28, 1]", "input: [28, 28, 99999999999]")}, []string{"input shape", "at most"}},
		{"shapes", []string{config("upsampling2d: {size: 2}", "upsampling2d: {size: 3}")}, []string{"output (42, 42, 1) differs from its input (28, 28, 1)"}},
		{"other images", []string{config("input: [28, 28, 1]", "input: [32, 32, 1]")}, []string{"28 x 28 x 1 = 784", "takes 1024"}},
		{"unknown data", []string{"--data", "cifar"}, []string{"cifar", "digits, mnist, fashion-mnist"}},
		{"unknown device", []string{"--device", "tpu"}, []string{`device is "tpu", want auto, cuda, cuda:1, cuda:0,cuda:1, all, cpu, sim or sim:2`}},
		{"unknown devices", []string{"--devices", "tpu"}, []string{`device is "tpu", want auto, cuda, cuda:1, cuda:0,cuda:1, all, cpu, sim or sim:2`}},
		{"unknown log", []string{"--log", "xml"}, []string{`--log (or CONVAE_LOG) is "xml"`}},
		{"no data", mnist(filepath.Join(dir, "nowhere")), []string{"nowhere", "train-images-idx3-ubyte"}},
		{"truncated idx", mnist(data("truncated", image[:400])), []string{"train-images-idx3-ubyte", "cut off", "800", "400"}},
		{"trailing idx", mnist(data("trailing", append(bytes.Clone(image), 1))), []string{"train-images-idx3-ubyte"}},
		{"labels for images", mnist(data("labels", append(idxHeader(0x801, 1), 5))), []string{"train-images-idx3-ubyte", "label"}},
		{"oversized idx", mnist(data("oversized", idxHeader(0x803, 1<<31, 1<<31, 1<<31))), []string{"train-images-idx3-ubyte"}},
		{"corrupt gzip", mnist(data("gzip", packed)), []string{"train-images-idx3-ubyte", "gzip"}},
		{"truncated gzip", mnist(data("gzip2", gzipped(image)[:20])), []string{"train-images-idx3-ubyte"}},
		{"labels and images", mnist(data("two", append(idxHeader(0x803, 2, 28, 28), make([]byte, 2*784)...))), []string{"label"}},
		{"occupied folder", []string{"--out", occupied}, []string{"occupied is not empty: it has file"}},
		{"resume of nothing", []string{"--resume", ""}, []string{`--resume is "", want a value that is not empty`}},
		{"unwritable folder", []string{"--out", filepath.Join(notDir, "run")}, []string{"run folder", "plain"}},
		{"resume nothing", []string{"--resume", filepath.Join(dir, "nowhere")}, []string{"nowhere", "config.yaml"}},
		{"resume and out", []string{"--resume", occupied, "--out", "x"}, []string{"leave out --out"}},
		{"continue without a folder", []string{"--continue"}, []string{"--continue needs", "--out RUN"}},
		{"continue in a foreign folder", []string{"--continue", "--out", occupied}, []string{"occupied is not empty"}},
		{"resume and preset", []string{"--resume", occupied, "denoiser"}, []string{`leave out "denoiser"`}},
		{"huge batch", []string{"--batch", "99999999"}, []string{"training.batch is", "1.048576e+06"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			args := append([]string{"train"}, c.args...)
			if !slices.ContainsFunc(args, func(a string) bool { return a == "--out" || a == "--resume" || a == "--continue" }) {
				args = append(args, "--out", filepath.Join(t.TempDir(), "run"))
			}
			_, _, err := run(t, args...)
			if err == nil {
				t.Fatal("no error")
			}
			line := oneLine(err)
			for _, want := range c.want {
				if !strings.Contains(line, want) {
					t.Errorf("error %q lacks %q", line, want)
				}
			}
		})
	}
	if data, err := os.ReadFile(filepath.Join(occupied, "file")); err != nil || string(data) != "mine" {
		t.Errorf("the occupied folder's file is %q, %v", data, err)
	}
}

func TestNoSuchCommand(t *testing.T) {
	for _, c := range []struct {
		want string
		args []string
	}{
		{`there is no command "trian", perhaps train (see 'convae --help')`, []string{"trian"}},
		{`there is no command "zzzzzzzz" (see`, []string{"zzzzzzzz"}},
		{`convae version takes no argument; found ["now"]`, []string{"version", "now"}},
		{"convae denoise takes at least 2 arguments, IN OUT.png | denoise IN... FOLDER; found none", []string{"denoise"}},
		{`there is no command "nope" (see 'convae --help')`, []string{"help", "nope"}},
		{`there is no command "nope" (see 'convae train --help')`, []string{"help", "train", "nope"}},
		{`there is no completion for "tcsh", perhaps bash; want one of bash, zsh, fish, powershell`, []string{"completion", "tcsh"}},
		{"convae completion takes 1 argument, bash|zsh|fish|powershell; found none", []string{"completion"}},
	} {
		if _, _, err := run(t, c.args...); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: error %v, want one with %q", c.args, err, c.want)
		}
	}
	out, _, err := run(t, "help", "version")
	if want, _, _ := run(t, "version", "--help"); err != nil || out != want || out == "" {
		t.Errorf("convae help version: error %v, printed %q, want %q", err, out, want)
	}
	for _, shell := range shells {
		described, _, err := run(t, "completion", shell.name)
		bare, _, errBare := run(t, "completion", shell.name, "--no-descriptions")
		if err != nil || errBare != nil || !strings.Contains(described, "__complete ") || !strings.Contains(bare, "__completeNoDesc ") {
			t.Errorf("completion %s: errors %v, %v, %d and %d bytes", shell.name, err, errBare, len(described), len(bare))
		}
	}
}

// Damaged models and configurations of a run.
func TestModelErrors(t *testing.T) {
	good := tinyRun(t)
	copyRun := func(t *testing.T, edit func(dir string)) string {
		dir := t.TempDir()
		for _, f := range []string{trainer.ConfigFile, trainer.ModelFile} {
			data, err := os.ReadFile(filepath.Join(good, f))
			if err != nil {
				t.Fatal(err)
			}
			write(t, data, dir, f)
		}
		edit(dir)
		return dir
	}
	weights, err := os.ReadFile(filepath.Join(good, trainer.ModelFile))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		edit func(dir string)
		want []string
	}{
		{"truncated", func(d string) { write(t, weights[:len(weights)-10], d, trainer.ModelFile) }, []string{trainer.ModelFile}},
		{"huge header", func(d string) {
			write(t, append([]byte{255, 255, 255, 255, 255, 255, 255, 0}, weights[8:]...), d, trainer.ModelFile)
		}, []string{trainer.ModelFile, "header size"}},
		{"other dtype", func(d string) {
			write(t, bytes.Replace(weights, []byte(`"F32"`), []byte(`"I32"`), 1), d, trainer.ModelFile)
		}, []string{trainer.ModelFile, "damaged"}},
		{"other model", func(d string) {
			write(t, []byte(strings.Replace(tinyConfig, "filters: 2", "filters: 3", 1)), d, trainer.ConfigFile)
		}, []string{"encoder.0.weight", "[2 1 3 3]", "[3 1 3 3]"}},
		{"no weights", func(d string) { os.Remove(filepath.Join(d, trainer.ModelFile)) }, []string{trainer.ModelFile}},
		{"no config", func(d string) { os.Remove(filepath.Join(d, trainer.ConfigFile)) }, []string{trainer.ConfigFile}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, _, err := run(t, "eval", copyRun(t, c.edit))
			if err == nil {
				t.Fatal("no error")
			}
			for _, want := range c.want {
				if !strings.Contains(oneLine(err), want) {
					t.Errorf("error %q lacks %q", oneLine(err), want)
				}
			}
		})
	}
	if _, _, err := run(t, "eval", filepath.Join(good, "none")); err == nil || !strings.Contains(err.Error(), "none: want the folder of a run, or its model.safetensors") {
		t.Errorf("no such run: %v", err)
	}
	if _, _, err := run(t, "eval", t.TempDir()); err == nil || !strings.Contains(err.Error(), "is no run: it has no config.yaml") {
		t.Errorf("a folder that is no run: %v", err)
	}
}

func TestEvalAndSummary(t *testing.T) {
	dir := tinyRun(t)
	out, _, err := run(t, "eval", dir)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out, "on 2000 images of digits, noise 0.5") || !strings.Contains(out, "PSNR") {
		t.Errorf("eval printed %q", out)
	}
	if !strings.Contains(out, "code: 392 values, compression 2; active units: ") {
		t.Errorf("eval printed %q of the code", out)
	}
	if _, _, err := run(t, "eval", dir, "--data", "circle"); err == nil || !strings.Contains(err.Error(), `data set circle has samples of 2 values, model "tiny" takes 784`) {
		t.Errorf("eval on points: error %v", err)
	}
	if out, _, err = run(t, "eval", dir, "--json", "--noise", "0"); err != nil || !strings.Contains(out, `"noise": 0`) || !strings.Contains(out, `"active_units": `) {
		t.Errorf("eval --json printed %q, %v", out, err)
	}
	for _, what := range []string{dir, "denoiser"} {
		if out, _, err = run(t, "summary", what); err != nil || !strings.Contains(out, "Trainable params") || !strings.Contains(out, "Training on cpu (") || !strings.Contains(out, "), batch ") {
			t.Errorf("summary %s printed %q, %v", what, out, err)
		}
	}
	if out, _, err = run(t, "version"); err != nil || !strings.HasPrefix(out, "convae ") {
		t.Errorf("version printed %q, %v", out, err)
	}
}

// A cancelled run saves, says so, and can be gone on with.
func TestInterruptAndResume(t *testing.T) {
	dir := t.TempDir()
	config := write(t, []byte(strings.Replace(tinyConfig, "epochs: 1", "epochs: 100000", 1)), dir, "long.yaml")
	out := filepath.Join(dir, "run")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	history := filepath.Join(out, "history.csv")
	go func() { // cancels when an epoch is in the history
		for ctx.Err() == nil {
			if h, _ := os.ReadFile(history); bytes.Count(h, []byte("\n")) > 1 {
				cancel()
			}
			time.Sleep(time.Millisecond)
		}
	}()
	stdout, _, err := runContext(ctx, "train", config, "--out", out, "--log", "lines")
	if err != errInterrupted || !strings.Contains(stdout, "interrupted and saved: go on with `convae train --resume "+out) {
		t.Fatalf("interrupted: %v\n%s", err, stdout)
	}
	done, err := trainer.ReadHistory(out)
	if err != nil {
		t.Fatal(err)
	}
	more := []string{"train", "--resume", out, "--epochs", strconv.Itoa(len(done) + 1)}
	if stdout, _, err = run(t, more...); err != nil || !strings.Contains(stdout, "run: "+out) {
		t.Fatalf("resumed: %v\n%s", err, stdout)
	}
	if strings.Contains(stdout, "interrupted") {
		t.Errorf("the resumed run printed %q", stdout)
	}
}

func TestVersionFlag(t *testing.T) {
	flag, _, err := run(t, "--version")
	command, _, err2 := run(t, "version")
	if err != nil || err2 != nil || flag != command || !strings.HasPrefix(flag, "convae ") {
		t.Errorf("--version prints %q (%v), version %q (%v)", flag, err, command, err2)
	}
}

// What train refuses is said before any data are read, and summary, bench and profile refuse it too.
func TestUntrainableModels(t *testing.T) {
	dir := t.TempDir()
	for i, c := range []struct{ old, new, want string }{
		{"upsampling2d: {size: 2}", "upsampling2d: {size: 3}", "output (42, 42, 1) differs from its input (28, 28, 1)"},
		{"activation: sigmoid", "activation: relu", "loss bce needs a model whose last activation is sigmoid"},
		{"noise: {std: 0.5}", "activity_regularizer: {kl: 1, rho: 0.1}", "kl wants activations between 0 and 1"},
		{tinyConfig[strings.Index(tinyConfig, "    - conv2d"):strings.Index(tinyConfig, "data:")], "    - flatten: {}\n  decoder:\n    - reshape: {shape: [28, 28, 1]}\n", `model "tiny"`},
	} {
		config := write(t, []byte(strings.Replace(tinyConfig, c.old, c.new, 1)), dir, strconv.Itoa(i)+".yaml")
		nowhere := filepath.Join(dir, "nowhere") // reading it would be another error
		for _, args := range [][]string{{"train", config, "--data", "mnist", "--data-dir", nowhere}, {"summary", config}, {"bench", config}, {"profile", config}} {
			stdout, _, err := run(t, args...)
			if err == nil || !strings.Contains(err.Error(), c.want) || stdout != "" {
				t.Errorf("%v: error %v after %q, want one with %q", args, err, stdout, c.want)
			}
		}
	}
}

// In a container the log is JSON without a flag.
func TestLogVariable(t *testing.T) {
	dir := t.TempDir()
	config := write(t, []byte(tinyConfig), dir, "tiny.yaml")
	t.Setenv(logVariable, "json")
	stdout, stderr, err := run(t, "train", config, "--out", filepath.Join(dir, "run"))
	if err != nil || stdout != "" {
		t.Fatalf("%v, and beside the log %q", err, stdout)
	}
	for line := range strings.Lines(stderr) {
		if !json.Valid([]byte(line)) {
			t.Fatalf("not JSON: %s", line)
		}
	}
	if !strings.Contains(stderr, `"message":"epoch"`) {
		t.Errorf("no epoch in the log:\n%s", stderr)
	}
	t.Setenv(logVariable, "loud")
	if _, _, err := run(t, "train", config, "--out", filepath.Join(dir, "run2")); err == nil || !strings.Contains(err.Error(), `CONVAE_LOG) is "loud"`) {
		t.Errorf("error %v", err)
	}
}
