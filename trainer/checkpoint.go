package trainer

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"

	"github.com/convae/convae/nn/safetensors"
	"github.com/convae/convae/trainer/atomicfile"
)

// checkpoint is all that a run is between two steps.
type checkpoint struct {
	Progress progress
	Tensors  []safetensors.Tensor // nn.Trainer's State
}

// progress is the part of a checkpoint that the trainer itself keeps.
type progress struct {
	Epoch    int     `json:"epoch"`  // the epoch at hand, from 1
	Offset   int     `json:"offset"` // its samples already trained on
	Seconds  float64 `json:"seconds"`
	Loss     float64 `json:"loss,omitempty"` // mean over the samples of the epoch at hand
	History  []Epoch `json:"history"`
	Best     float64 `json:"best"` // lowest validation loss, meaningful if BestAt is not 0
	BestAt   int     `json:"best_at"`
	LastGain int     `json:"last_gain"`           // epoch of the last fall by more than early stopping's MinDelta
	GainLoss float64 `json:"gain_loss"`           // validation loss at LastGain
	Falls    int     `json:"falls,omitempty"`     // of the learning rate, on plateaus
	FallAt   int     `json:"fall_at,omitempty"`   // epoch of the last fall, of the rate or of the loss
	FallLoss float64 `json:"fall_loss,omitempty"` // lowest validation loss for the schedule
	// What the run was made with when this was written: configuration, digests of the training samples and of the
	// perceptual loss's network. Files of older versions do not have them.
	Configuration string   `json:"configuration,omitempty"`
	Data          string   `json:"data,omitempty"`
	Perceptual    string   `json:"perceptual,omitempty"`
	Devices       int      `json:"devices,omitempty"` // that trained together, of all processes
	Changes       []string `json:"changes,omitempty"` // of the configuration and the devices, not yet in the history
}

const (
	checkpointFormat = "convae-checkpoint-1"
	checkpointsKept  = 2
	checkpointDir    = "checkpoints"
)

// writeCheckpoint writes a checkpoint for the given step and removes all but the last two and that of the best epoch, or of
// the start: should training go wrong, the last two may be no good.
func writeCheckpoint(run string, step int, c checkpoint) error {
	dir := filepath.Join(run, checkpointDir)
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	p, err := json.Marshal(c.Progress)
	if err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	f := safetensors.File{Tensors: c.Tensors, Metadata: map[string]string{
		"format": checkpointFormat, "progress": string(p), "sha256": digest(string(p), c.Tensors)}}
	path := checkpointPath(run, step)
	if err := atomicfile.Write(path, func(w io.Writer) error { return f.Write(w) }); err != nil {
		return err
	}
	paths, err := checkpoints(run)
	if err != nil {
		return err
	}
	best := checkpointPath(run, c.Progress.bestStep())
	old := slices.DeleteFunc(paths[min(checkpointsKept, len(paths)):], func(p string) bool { return p == best })
	return removeCheckpoints(old)
}

func checkpointPath(run string, step int) string {
	return filepath.Join(run, checkpointDir, fmt.Sprintf("step-%09d.safetensors", step))
}

func removeCheckpoints(paths []string) error {
	for _, path := range paths {
		if err := os.Remove(path); err != nil {
			return fmt.Errorf("checkpoint: %w", err)
		}
	}
	return nil
}

// best returns the best epoch so far.
func (p *progress) best() (Epoch, bool) {
	i := slices.IndexFunc(p.History, func(e Epoch) bool { return e.Epoch == p.BestAt })
	if i < 0 {
		return Epoch{}, false
	}
	return p.History[i], true
}

// bestStep returns the step of the best epoch's checkpoint, 0 if there was no validation yet.
func (p *progress) bestStep() int {
	e, _ := p.best()
	return e.Step
}

// sound reports that the losses of a checkpoint are not far above those of the best epoch: numbers grow for some steps
// before they are no longer finite, and weights from there are of no use at any learning rate.
func (c checkpoint) sound() bool {
	best, ok := c.Progress.best()
	if !ok {
		return c.Progress.Offset == 0
	}
	twice := func(loss float64) float64 { return loss + math.Abs(loss) }
	if last := c.Progress.History[len(c.Progress.History)-1]; last.ValLoss > twice(best.ValLoss) {
		return false
	}
	return c.Progress.Offset == 0 || c.Progress.Loss <= twice(best.Loss)
}

// digest guards against damage that the file's structure does not show.
func digest(progress string, tensors []safetensors.Tensor) string {
	h := sha256.New()
	fmt.Fprintf(h, "%d %s", len(progress), progress)
	for _, t := range tensors {
		fmt.Fprintf(h, "%d %s %s %v %d", len(t.Name), t.Name, t.DType, t.Shape, len(t.Data))
		h.Write(t.Data)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// checkpoints lists a run's checkpoints, the newest first.
func checkpoints(run string) ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(run, checkpointDir))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("checkpoint: %w", err)
	}
	var paths []string
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), "step-") && strings.HasSuffix(e.Name(), ".safetensors") {
			paths = append(paths, filepath.Join(run, checkpointDir, e.Name()))
		}
	}
	sort.Sort(sort.Reverse(sort.StringSlice(paths)))
	return paths, nil
}

// newestCheckpoint returns the newest whole checkpoint, and the errors of newer ones that are not.
func newestCheckpoint(run string) (c checkpoint, damaged []error, err error) {
	paths, err := checkpoints(run)
	if err != nil {
		return c, nil, err
	}
	for _, path := range paths {
		if c, err = readCheckpoint(path); err == nil {
			return c, damaged, nil
		}
		damaged = append(damaged, err)
	}
	if len(damaged) > 0 {
		return c, damaged, fmt.Errorf("%s has no whole checkpoint: %w", run, damaged[0])
	}
	advice := ""
	if config := filepath.Join(run, ConfigFile); fileExists(config) {
		advice = fmt.Sprintf("; it ended before its first: start it again with `convae train %s --out %s --continue`", config, run)
	}
	return c, nil, fmt.Errorf("%s has no checkpoint to resume from (want %s)%s", run, filepath.Join(run, checkpointDir, "step-*.safetensors"), advice)
}

func readCheckpoint(path string) (c checkpoint, err error) {
	f, err := safetensors.ReadFile(path)
	if err != nil {
		return c, err
	}
	if got := f.Metadata["format"]; got != checkpointFormat {
		return c, fmt.Errorf("%s: format is %q, want %q", path, got, checkpointFormat)
	}
	p := f.Metadata["progress"]
	if f.Metadata["sha256"] != digest(p, f.Tensors) {
		return c, fmt.Errorf("%s: damaged: its contents do not have the SHA-256 that it states", path)
	}
	if err := json.Unmarshal([]byte(p), &c.Progress); err != nil {
		return c, fmt.Errorf("%s: progress: %w", path, err)
	}
	if text, found := notFinite(f.Tensors); found {
		return c, fmt.Errorf("%s: %s: training had diverged", path, text)
	}
	c.Tensors = f.Tensors
	return c, nil
}

func fileExists(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}
