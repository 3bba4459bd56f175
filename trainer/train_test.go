package trainer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/convae/convae/cpu"
	"github.com/convae/convae/cuda/ptxsim"
	"github.com/convae/convae/nn"
	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/corrupt"
	"github.com/convae/convae/nn/device"
	"github.com/convae/convae/nn/graph"
	"github.com/convae/convae/nn/layer"
	"github.com/convae/convae/trainer/dataset"
	"github.com/convae/convae/trainer/use"
)

// smallConfig trains a small denoiser with dropout in about a tenth of a second an epoch.
func smallConfig() Config {
	return Config{
		Model: nn.Config{Name: "small", Input: []int{28, 28, 1},
			Encoder: graph.Specs(&layer.Conv2D{Filters: 4, Kernel: layer.Square(3), Activation: "relu"}, &layer.MaxPool2D{Size: 2}, &layer.Dropout{Rate: 0.1}),
			Decoder: graph.Specs(&layer.UpSampling2D{Size: 2}, &layer.Conv2D{Filters: 1, Kernel: layer.Square(3), Activation: "sigmoid"})},
		Data:     Data{Name: "digits"},
		Training: Training{Epochs: 3, Batch: 32, Noise: Noise{Std: 0.5, Fresh: true}, Seed: 5},
	}
}

func openCPU(t testing.TB) backend.Device {
	t.Helper()
	dev, err := cpu.Open(cpu.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dev.Close() })
	return dev
}

func smallData() (train, test *dataset.Set) {
	set := dataset.Digits(150, 1)
	return set.Slice(0, 110), set.Slice(110, 150)
}

func smallOptions(t testing.TB, dir string) Options {
	train, test := smallData()
	return Options{Dir: dir, Device: openCPU(t), Train: train, Test: test}
}

// notes is an Observer that remembers notes.
type notes struct {
	silent
	said []string
}

func (n *notes) Note(s string) { n.said = append(n.said, s) }

func readFile(t testing.TB, path ...string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(path...))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// sameRun compares what two runs left, but for the time they took.
func sameRun(t *testing.T, a, b string) {
	t.Helper()
	x, errX := fileWeights(t, filepath.Join(a, ModelFile))
	y, errY := fileWeights(t, filepath.Join(b, ModelFile))
	if errX != nil || errY != nil || x != y {
		t.Errorf("the models of %s and %s differ", filepath.Base(a), filepath.Base(b))
	}
	strip := func(csv []byte) string {
		var s strings.Builder
		for _, line := range strings.Split(strings.TrimSpace(string(csv)), "\n") {
			fields := strings.Split(line, ",")
			s.WriteString(strings.Join(fields[:len(fields)-3], ",") + "\n")
		}
		return s.String()
	}
	if x, y := strip(readFile(t, a, "history.csv")), strip(readFile(t, b, "history.csv")); x != y {
		t.Errorf("the histories differ:\n%s\n%s", x, y)
	}
	if x, y := readFile(t, a, SamplesFile), readFile(t, b, SamplesFile); !bytes.Equal(x, y) {
		t.Error("the pictures differ")
	}
}

// firsts is an Observer that remembers first steps.
type firsts struct {
	silent
	said []FirstStep
}

func (f *firsts) First(s FirstStep) { f.said = append(f.said, s) }

// A run tells once what its first step took, also when it goes on, and which kernels a GPU compiled for it.
func TestFirstStep(t *testing.T) {
	gpu, err := device.OpenSim(ptxsim.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer gpu.Close()
	for _, dev := range []backend.Device{openCPU(t), gpu} {
		var f firsts
		c := smallConfig()
		c.Training.Epochs = 2
		o := smallOptions(t, filepath.Join(t.TempDir(), "run"))
		o.Device, o.Observer, o.Train, o.Test = dev, &f, o.Train.Slice(0, 10), o.Test.Slice(0, 2)
		if _, err := Train(t.Context(), c, o); err != nil {
			t.Fatal(err)
		}
		c.Training.Epochs, o.Resume = 3, true
		if _, err := Train(t.Context(), c, o); err != nil {
			t.Fatal(err)
		}
		if len(f.said) != 2 {
			t.Fatalf("%s: %d runs told of their first step, want 2", dev.Name(), len(f.said))
		}
		for i, s := range f.said {
			if compiles := dev == gpu && i == 0; s.After <= 0 || s.After < s.Compiling || (s.Kernels > 0) != compiles || (s.Compiling > 0) != compiles {
				t.Errorf("%s, run %d: %+v", dev.Name(), i, s)
			}
		}
	}
}

func TestTrainWritesRun(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	c := smallConfig()
	c.Training.KeepBest, c.Training.Epochs, c.Training.Optimizer.LearningRate = true, 10, 0.01
	r, err := Train(t.Context(), c, smallOptions(t, dir))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range []string{ConfigFile, "history.csv", "history.json", ModelFile, bestFile, SamplesFile, LossFile} {
		if len(readFile(t, dir, f)) == 0 {
			t.Errorf("%s is empty", f)
		}
	}
	if len(r.History) != 10 || r.History[9].Loss >= r.History[0].Loss || r.Final.Output.PSNR <= r.Final.Input.PSNR {
		t.Errorf("history %+v, final %+v", r.History, r.Final)
	}
	paths, err := checkpoints(dir)
	if err != nil || len(paths) < checkpointsKept || len(paths) > checkpointsKept+1 {
		t.Errorf("checkpoints %v, %v; want the last %d, and that of the best epoch", paths, err, checkpointsKept)
	}
	m, back, err := LoadModel(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Check(); err != nil {
		t.Fatal(err)
	}
	if fmt.Sprintf("%+v", back.Training) != fmt.Sprintf("%+v", c.Training) {
		t.Errorf("the configuration came back as %+v, was %+v", back.Training, c.Training)
	}
	net, err := nn.NewNetwork(m, openCPU(t), nn.NetworkOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer net.Close()
	_, test := smallData()
	e, err := use.Evaluate(t.Context(), net, test, nn.Loss{}, c.Training.Corrupted(), c.Training.Seed, true)
	if err != nil {
		t.Fatal(err)
	}
	if e != r.Final {
		t.Errorf("the loaded model scores %+v, the run said %+v", e, r.Final)
	}
	if _, err := Train(t.Context(), c, smallOptions(t, dir)); err == nil || !strings.Contains(err.Error(), "is not empty") {
		t.Errorf("a second run in the same folder: error %v", err)
	}
}

// A run that is interrupted after any number of steps and resumed ends as the one that was not.
func TestResumeEqualsUninterrupted(t *testing.T) {
	root := t.TempDir()
	whole := filepath.Join(root, "whole")
	c := smallConfig()
	if _, err := Train(t.Context(), c, smallOptions(t, whole)); err != nil {
		t.Fatal(err)
	}
	for _, steps := range []int{1, 4, 6} { // in the first epoch, at its end, in the second; 4 steps are an epoch
		t.Run(fmt.Sprint(steps), func(t *testing.T) {
			dir := filepath.Join(root, fmt.Sprintf("cut%d", steps))
			o := smallOptions(t, dir)
			r, err := Train(&countdown{Context: t.Context(), left: steps}, c, o)
			if err != nil {
				t.Fatal(err)
			}
			if !r.Interrupted {
				t.Fatal("the run was not interrupted")
			}
			o.Resume = true
			if r, err = Train(t.Context(), c, o); err != nil || r.Interrupted {
				t.Fatalf("resumed: %v, interrupted %v", err, r.Interrupted)
			}
			sameRun(t, whole, dir)
		})
	}
}

// countdown is a context that is cancelled after its Err was asked so many times: the loop asks once a step.
type countdown struct {
	context.Context
	left int
}

func (c *countdown) Err() error {
	if c.left--; c.left < 0 {
		return context.Canceled
	}
	return nil
}

func TestResumePassesOverDamagedCheckpoint(t *testing.T) {
	root := t.TempDir()
	whole, dir := filepath.Join(root, "whole"), filepath.Join(root, "cut")
	c := smallConfig()
	if _, err := Train(t.Context(), c, smallOptions(t, whole)); err != nil {
		t.Fatal(err)
	}
	c2 := c
	c2.Training.Epochs = 2
	o := smallOptions(t, dir)
	if _, err := Train(t.Context(), c2, o); err != nil {
		t.Fatal(err)
	}
	paths, err := checkpoints(dir)
	if err != nil {
		t.Fatal(err)
	}
	data := readFile(t, paths[0])
	data[len(data)-100] ^= 1 // a flipped bit in the weights
	if err := os.WriteFile(paths[0], data, 0o666); err != nil {
		t.Fatal(err)
	}
	temp := filepath.Join(dir, checkpointDir, ".step-000000099.safetensors.tmp-0123456789abcdef")
	if err := os.WriteFile(temp, data[:50], 0o666); err != nil { // as a killed process leaves it
		t.Fatal(err)
	}
	watch := &notes{}
	o.Resume, o.Observer = true, watch
	if _, err := Train(t.Context(), c, o); err != nil {
		t.Fatal(err)
	}
	if len(watch.said) != 2 || !strings.Contains(watch.said[0], "damaged") || !strings.Contains(watch.said[1], "training.epochs: 2 -> 3") {
		t.Errorf("notes %q", watch.said)
	}
	if _, err := os.Stat(temp); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the killed process's file is still there: %v", err)
	}
	sameRun(t, whole, dir)

	for _, p := range paths {
		os.Truncate(p, 1000)
	}
	all, _ := checkpoints(dir)
	for _, p := range all {
		os.Truncate(p, 1000)
	}
	if _, err := Train(t.Context(), c, o); err == nil || !strings.Contains(err.Error(), "no whole checkpoint") {
		t.Errorf("with truncated checkpoints only: error %v", err)
	}
}

// TestKillChild is the process that TestResumeAfterKill kills.
func TestKillChild(t *testing.T) {
	dir := os.Getenv("CONVAE_TEST_KILL_DIR")
	if dir == "" {
		t.Skip("this is the process that TestResumeAfterKill starts and kills")
	}
	c := smallConfig()
	c.Training.Epochs, c.Training.Checkpoint = 40, 1
	o := smallOptions(t, dir)
	_, statErr := os.Stat(filepath.Join(dir, checkpointDir))
	o.Resume = statErr == nil
	if _, err := Train(t.Context(), c, o); err != nil {
		t.Fatal(err)
	}
}

// A run that is killed again and again, while it writes a checkpoint at every step, ends as one that is not.
func TestResumeAfterKill(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: starts and kills processes for several seconds")
	}
	root := t.TempDir()
	whole, dir := filepath.Join(root, "whole"), filepath.Join(root, "killed")
	c := smallConfig()
	c.Training.Epochs, c.Training.Checkpoint = 40, 1 // as in the child: the model has its configuration in it
	if _, err := Train(t.Context(), c, smallOptions(t, whole)); err != nil {
		t.Fatal(err)
	}
	newest := func() string {
		paths, err := checkpoints(dir)
		if err != nil {
			t.Fatal(err)
		}
		return strings.Join(paths, " ")
	}
	const kills = 8
	for kill := range kills + 1 {
		cmd := exec.Command(os.Args[0], "-test.run", "^TestKillChild$")
		cmd.Env = append(os.Environ(), "CONVAE_TEST_KILL_DIR="+dir)
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &out
		before := newest()
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if kill == kills { // it may end
			if err := cmd.Wait(); err != nil {
				t.Fatalf("%v\n%s", err, out.String())
			}
			break
		}
		// Somewhere in the steps and checkpoints behind the first new one.
		for deadline := time.Now().Add(time.Minute); newest() == before && time.Now().Before(deadline); {
			time.Sleep(time.Millisecond)
		}
		time.Sleep(time.Duration(kill) * 1300 * time.Microsecond)
		cmd.Process.Kill()
		var exit *exec.ExitError
		if err := cmd.Wait(); !errors.As(err, &exit) || exit.ExitCode() != -1 {
			t.Fatalf("the child ended by itself: %v\n%s", err, out.String())
		}
	}
	sameRun(t, whole, dir)
}

// A run killed between its last checkpoint and the history's last line has that line after --resume.
func TestResumeWritesHistory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	c := smallConfig()
	c.Training.Epochs = 2
	o := smallOptions(t, dir)
	r, err := Train(t.Context(), c, o)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "history.csv")
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := writeHistory(dir, r.History[:1]); err != nil {
		t.Fatal(err)
	}
	o.Resume = true
	if _, err := Train(t.Context(), c, o); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, want) {
		t.Errorf("after --resume history.csv has\n%s\nwant\n%s (%v)", got, want, err)
	}
}

// A job that is started again goes on, also one that ended before its first checkpoint or after its end.
func TestContinue(t *testing.T) {
	root := t.TempDir()
	c := smallConfig()
	c.Training.Epochs = 2
	whole, dir := filepath.Join(root, "whole"), filepath.Join(root, "run")
	if _, err := Train(t.Context(), c, smallOptions(t, whole)); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	for _, f := range []string{historyCSV, historyJSON, ConfigFile} {
		if err := os.WriteFile(filepath.Join(dir, f), []byte("half of it"), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	o := smallOptions(t, dir)
	o.Continue = true
	for _, epochs := range []int{1, 2, 2} {
		c.Training.Epochs = epochs
		r, err := Train(t.Context(), c, o)
		if err != nil {
			t.Fatal(err)
		}
		if len(r.History) != epochs {
			t.Errorf("%d epochs of history, want %d", len(r.History), epochs)
		}
	}
	sameRun(t, whole, dir)
}

func TestEarlyStopping(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	c := smallConfig()
	c.Training.Epochs = 50
	c.Training.EarlyStopping = &EarlyStopping{Patience: 2, MinDelta: 10} // no epoch is that much better
	r, err := Train(t.Context(), c, smallOptions(t, dir))
	if err != nil {
		t.Fatal(err)
	}
	if r.StoppedAt != 3 || len(r.History) != 3 {
		t.Errorf("stopped at %d with %d epochs, want 3", r.StoppedAt, len(r.History))
	}
}

// With keep_best the model is that of the best epoch: one high learning rate makes later epochs worse.
func TestKeepBest(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	c := smallConfig()
	c.Training.KeepBest, c.Training.Epochs = true, 6
	c.Training.Optimizer = nn.Optimizer{Name: "adam", LearningRate: 0.15}
	r, err := Train(t.Context(), c, smallOptions(t, dir))
	if err != nil {
		t.Fatal(err)
	}
	best := r.History[r.BestAt-1]
	for _, e := range r.History {
		if e.ValLoss < best.ValLoss {
			t.Errorf("epoch %d is better than the best, %d", e.Epoch, best.Epoch)
		}
	}
	if r.Final.Output.BCE != best.ValBCE {
		t.Errorf("the saved model has BCE %v, the best epoch %v", r.Final.Output.BCE, best.ValBCE)
	}
	if r.BestAt == len(r.History) {
		t.Logf("the last epoch was the best: this run cannot tell the best from the last")
	}
}

func TestWrongImages(t *testing.T) {
	c := smallConfig()
	c.Model.Input = []int{14, 14, 1}
	_, err := Train(t.Context(), c, smallOptions(t, t.TempDir()))
	if err == nil || !strings.Contains(err.Error(), "28 x 28 x 1 = 784 values, model \"small\" takes 196") {
		t.Errorf("error %v", err)
	}
}

// The noise of use.Corrupt is that of the GatherPixels op, and what is done then that of the Corrupt op, so that evaluation on the host sees what a
// device would.
func TestCorruptIsGather(t *testing.T) {
	const std, n = 0.5, 3
	set := dataset.Digits(n, 2)
	size := 784
	clean, noisy := make([]float32, n*size), make([]float32, n*size)
	src := testSource
	worse := make([]float32, n*size)
	then := []corrupt.Corruption{{Kind: corrupt.Masking, Amount: 0.5, Size: 5}, {Kind: corrupt.Blur, Amount: 1}}
	if err := errors.Join(use.Corrupt(clean, noisy, set, 0, n, use.Corruption{Std: std}, src), use.Corrupt(clean, worse, set, 0, n, use.Corruption{Std: std, Then: then}, src)); err != nil {
		t.Fatal(err)
	}
	b := openCPU(t).Lanes()[0]
	place := func(role backend.Role, s backend.Shape) backend.Tensor {
		buf, err := b.Alloc(b.Bytes(role, role.DType(), s))
		if err != nil {
			t.Fatal(err)
		}
		t := backend.NewTensor(role, s)
		t.Buffer = buf
		return t
	}
	images := backend.Shape{N: n, H: 28, W: 28, C: 1}
	c, z := place(backend.Activation, images), place(backend.Activation, images)
	pixels, order, stepParams := place(backend.Pixels, images), place(backend.Index, backend.Vec(n)), place(backend.PerStep, backend.Vec(1))
	b.UploadBytes(pixels, set.Pixels)
	b.UploadIndex(order, []int32{0, 1, 2})
	b.SetStepParams(stepParams, backend.StepParams{Step: 9})
	b.GatherPixels(std, src, c, z, pixels, order, stepParams, 0)
	masked, blurred := place(backend.Activation, images), place(backend.Activation, images)
	b.Corrupt(then[0], corrupt.Source(src, 0), masked, z, order, stepParams, 0)
	b.Corrupt(then[1], corrupt.Source(src, 1), blurred, masked, order, stepParams, 0)
	for _, x := range []struct {
		name string
		host []float32
		dev  backend.Tensor
	}{{"clean", clean, c}, {"noisy", noisy, z}, {"worse", worse, blurred}} {
		got := make([]float32, n*size)
		if err := b.Download(got, x.dev); err != nil {
			t.Fatal(err)
		}
		for i := range got {
			if got[i] != x.host[i] {
				t.Fatalf("%s[%d]: %v on the host, %v on the device", x.name, i, x.host[i], got[i])
			}
		}
	}
}

// slowValidation is an Observer for whom what follows on an epoch takes a while, and who keeps the time left by epoch.
type slowValidation struct {
	silent
	left map[int]time.Duration
}

const validationTakes = 50 * time.Millisecond

func (o *slowValidation) Step(s Step) { o.left[s.Epoch] = s.Left }
func (o *slowValidation) Epoch(Epoch) { time.Sleep(validationTakes) }

// The time left has that of the validations to come in it, as soon as there has been one.
func TestLeft(t *testing.T) {
	c, seen := pointsConfig(), &slowValidation{left: map[int]time.Duration{}}
	c.Training.Epochs, c.Training.Validation = 7, 2
	o := pointsOptions(t, filepath.Join(t.TempDir(), "run"))
	o.Observer = seen
	if _, err := Train(t.Context(), c, o); err != nil {
		t.Fatal(err)
	}
	for epoch, validations := range map[int]time.Duration{3: 3, 5: 2, 6: 2, 7: 1} { // after epochs 4, 6 and 7
		if got, least := seen.left[epoch], validations*validationTakes; got < least {
			t.Errorf("in epoch %d %v are left, want at least %v", epoch, got, least)
		}
	}
}
