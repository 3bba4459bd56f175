package trainer

import (
	"bytes"
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/convae/convae/nn"
	"github.com/convae/convae/trainer/tensorboard"
	"github.com/convae/convae/trainer/tensorboard/eventtest"
)

// boarded are the files and the curves of a run.
func boarded(t *testing.T, dir string) (files []string, curves map[string]map[int64]eventtest.Value) {
	t.Helper()
	files, err := tensorboard.Files(filepath.Join(dir, boardDir))
	if err != nil {
		t.Fatal(err)
	}
	return files, eventtest.Curves(t, filepath.Join(dir, boardDir))
}

// A run with event files is the run without, and what they say is what the history says.
func TestTensorBoard(t *testing.T) {
	root := t.TempDir()
	plain, told := filepath.Join(root, "plain"), filepath.Join(root, "told")
	c := smallConfig()
	c.Training.Clip.Norm, c.Training.EMADecay, c.Training.Loss = 0.5, 0.9, nn.Loss{BCE: 1, L1: 0.5, SSIM: 0.25}
	if _, err := Train(t.Context(), c, smallOptions(t, plain)); err != nil {
		t.Fatal(err)
	}
	o := smallOptions(t, told)
	o.TensorBoard = true
	r, err := Train(t.Context(), c, o)
	if err != nil {
		t.Fatal(err)
	}
	sameRun(t, plain, told)
	if files, _ := boarded(t, plain); files != nil {
		t.Errorf("without being asked a run wrote %v", files)
	}
	files, curves := boarded(t, told)
	if len(files) != 1 {
		t.Fatalf("event files %v", files)
	}
	for _, e := range r.History {
		step := int64(e.Step)
		scalar := func(tag string) float64 {
			v, ok := curves[tag][step]
			if !ok || !v.IsScalar {
				t.Errorf("step %d has no %s", step, tag)
			}
			return float64(v.Scalar)
		}
		for tag, want := range map[string]float64{"loss/training": e.Loss, "loss/validation": e.ValLoss, "validation/bce": e.ValBCE, "validation/mse": e.ValMSE, "validation/mae": e.ValMAE,
			"validation/max_error": e.ValMaxError, "validation/psnr": e.ValPSNR, "validation/ssim": e.ValSSIM, "validation/active_units": float64(e.ValActive), "learning_rate": e.LearningRate,
			"epoch": float64(e.Epoch), "speed/images_per_second": e.Rate, "loss_part/bce": e.ValBCE, "loss_part/l1": 0.5 * e.ValMAE, "loss_part/ssim": 0.25 * (1 - e.ValSSIM)} {
			if got := scalar(tag); math.Abs(got-want) > 1e-6*math.Abs(want) { // float32s
				t.Errorf("step %d: %s is %v, want %v", step, tag, got, want)
			}
		}
		if norm := scalar("gradient_norm"); !(norm > 0) || math.IsInf(norm, 0) {
			t.Errorf("step %d: the norm is %v", step, norm)
		}
		if device, host := scalar("memory/device_bytes"), scalar("memory/host_bytes"); device < 1e4 || host < 1e4 {
			t.Errorf("step %d: memory %v and %v", step, device, host)
		}
		parts := scalar("loss_part/bce") + scalar("loss_part/l1") + scalar("loss_part/ssim")
		if math.Abs(parts-e.ValLoss) > 1e-6*e.ValLoss {
			t.Errorf("step %d: parts of the loss are %v together, the loss %v", step, parts, e.ValLoss)
		}
		for tag, n := range map[string]float64{"conv2d/weight": 36, "conv2d/weight/gradient": 36, "conv2d_1/bias": 1, "conv2d_1/bias/gradient": 1} {
			if h := curves[tag][step].Histogram; h == nil || h.Num != n {
				t.Errorf("step %d: histogram of %s: %+v, want %v values", step, tag, h, n)
			}
		}
	}
	last := curves["samples"][int64(r.History[len(r.History)-1].Step)].PNG
	if len(curves["samples"]) != len(r.History) || !bytes.Equal(last, readFile(t, SamplesPath(told, len(r.History)))) {
		t.Errorf("%d pictures of %d epochs, or the last is not the file of its epoch", len(curves["samples"]), len(r.History))
	}
	if v := curves["configuration/text_summary"][0]; !strings.Contains(v.Text, "```yaml") || !strings.Contains(v.Text, "ema_decay: 0.9") {
		t.Errorf("the configuration is %q", v.Text)
	}
	if v := curves["model/text_summary"][0]; !strings.Contains(v.Text, "Trainable params") {
		t.Errorf("the model is %q", v.Text)
	}
	if !slices.ContainsFunc(eventtest.ReadFile(t, files[0]), func(e eventtest.Event) bool { return len(e.Graph) > 4 }) {
		t.Error("there is no graph")
	}
}

// A run that goes on from before its last steps, as one does that was killed, writes them again, and each curve has a value once a step: those of a run that
// was not interrupted. So it is for one that is interrupted in an epoch, and in a validation.
func TestTensorBoardResume(t *testing.T) {
	root := t.TempDir()
	const betweenEpochs = "5" // steps and one more: the run goes on with the validation, when there is no gradient any more
	train := func(dir string, ctx context.Context, resume bool) {
		t.Helper()
		o := smallOptions(t, dir)
		o.TensorBoard, o.Resume = !resume, resume // it goes on with the files that there are
		if _, err := Train(ctx, smallConfig(), o); err != nil {
			t.Fatal(err)
		}
	}
	whole := filepath.Join(root, "whole")
	train(whole, t.Context(), false)
	_, want := boarded(t, whole)

	killed := filepath.Join(root, "killed")
	train(killed, t.Context(), false)
	paths, err := checkpoints(killed)
	if err != nil || len(paths) < 2 {
		t.Fatal(paths, err)
	}
	if err := os.Remove(paths[0]); err != nil {
		t.Fatal(err)
	}
	files, _ := boarded(t, killed)
	f, err := os.OpenFile(files[0], os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.Write([]byte{9, 0, 0}) // of a record that was being written
	if err = errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	train(killed, t.Context(), true)
	dirs := []string{killed}
	for _, left := range []int{3, 6, 5} {
		cut := filepath.Join(root, "cut", string(rune('0'+left)))
		train(cut, &countdown{Context: t.Context(), left: left}, false)
		train(cut, t.Context(), true)
		dirs = append(dirs, cut)
	}
	for _, dir := range dirs {
		files, got := boarded(t, dir)
		if len(files) != 2 {
			t.Errorf("%s: event files %v, want 2", dir, files)
		}
		for tag, curve := range want {
			if strings.HasPrefix(tag, "now/") || strings.HasSuffix(tag, "text_summary") {
				continue
			}
			if gone := filepath.Base(dir) == betweenEpochs && strings.Contains(tag, "gradient"); gone {
				if len(got[tag]) != len(curve)-1 {
					t.Errorf("%s: %s has %d values, want %d", dir, tag, len(got[tag]), len(curve)-1)
				}
				continue
			}
			if len(got[tag]) != len(curve) {
				t.Errorf("%s: %s has %d values, want %d", dir, tag, len(got[tag]), len(curve))
			}
			for step, v := range curve {
				if !strings.HasPrefix(tag, "speed/") && !strings.HasPrefix(tag, "memory/") && got[tag][step].Scalar != v.Scalar {
					t.Errorf("%s: %s of step %d is %v, want %v", dir, tag, step, got[tag][step].Scalar, v.Scalar)
				}
			}
		}
	}
}

// Of several ranks the first alone writes.
func TestTensorBoardRanks(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	_, errs := onRanks(t, 2, func(int) context.Context { return t.Context() }, dir, func(_ int, c *Config, o *Options) {
		c.Training.Epochs, o.TensorBoard = 1, true
	})
	if errs[0] != nil || errs[1] != nil {
		t.Fatal(errs)
	}
	if files, curves := boarded(t, dir); len(files) != 1 || len(curves["gradient_norm"]) != 1 {
		t.Errorf("event files %v, norms %v", files, curves["gradient_norm"])
	}
}

// A run that has event files goes on without more of them if that is asked for.
func TestNoTensorBoard(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	o := smallOptions(t, dir)
	o.TensorBoard = true
	if _, err := Train(&countdown{Context: t.Context(), left: 3}, smallConfig(), o); err != nil {
		t.Fatal(err)
	}
	o.TensorBoard, o.NoTensorBoard, o.Resume = false, true, true
	if _, err := Train(t.Context(), smallConfig(), o); err != nil {
		t.Fatal(err)
	}
	if files, err := tensorboard.Files(filepath.Join(dir, boardDir)); err != nil || len(files) != 1 {
		t.Errorf("event files %v, want that of before alone (error %v)", files, err)
	}
}
