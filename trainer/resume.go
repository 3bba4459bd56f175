package trainer

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/convae/convae/nn/safetensors"
	"github.com/convae/convae/trainer/atomicfile"
	"github.com/convae/convae/trainer/dataset"
)

// enter makes or opens the run's folder, locks it, and starts the run or goes on with it.
func (s *session) enter(ctx context.Context) (err error) {
	switch {
	case s.o.New:
		s.o.Dir, err = newFolder(s.o.Dir)
	case !s.o.Resume:
		if err = os.MkdirAll(s.o.Dir, 0o777); err != nil {
			err = fmt.Errorf("run folder: %w", err)
		}
	default:
		if _, err = os.Stat(s.o.Dir); errors.Is(err, fs.ErrNotExist) {
			err = fmt.Errorf("there is no run folder %s: --resume wants one with a checkpoint to resume from", s.o.Dir)
		}
	}
	if err != nil {
		return err
	}
	if s.leave, err = lockRun(s.o.Dir); errors.Is(err, errNoLocks) {
		s.o.Observer.Note(fmt.Sprintf("%s: %v: see to it that no other process trains there", s.o.Dir, err))
	} else if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			s.leave()
		}
	}()
	resume, err := s.resumes()
	if err != nil {
		return err
	}
	if resume {
		return s.resume(ctx)
	}
	return s.start()
}

// keepFolder begins the run's folder again if someone has removed it, so that nothing of what was trained is lost and the run can be resumed.
func (s *session) keepFolder() error {
	if !s.writes() {
		return nil
	}
	config := filepath.Join(s.o.Dir, ConfigFile)
	if _, err := os.Lstat(config); !errors.Is(err, fs.ErrNotExist) {
		return nil // what else is wrong is told by what is written next
	}
	if err := os.MkdirAll(s.o.Dir, 0o777); err != nil {
		return fmt.Errorf("run folder: %w", err)
	}
	if _, err := os.Lstat(filepath.Join(s.o.Dir, lockFile)); errors.Is(err, fs.ErrNotExist) {
		s.leave() // the lock of a file that is gone keeps nobody out
		s.leave = func() {}
		leave, err := lockRun(s.o.Dir)
		if err != nil && !errors.Is(err, errNoLocks) {
			return err
		}
		if err == nil {
			s.leave = leave
		}
	}
	if err := s.c.Write(config); err != nil {
		return err
	}
	s.o.Observer.Note(fmt.Sprintf("%s was removed while the run trains: its configuration is written anew, and so are history and checkpoints; files of earlier epochs are lost", config))
	return writeHistory(s.o.Dir, s.p.History)
}

// resumes reports whether the run goes on from a checkpoint.
func (s *session) resumes() (bool, error) {
	if s.o.Resume || !s.o.Continue {
		return s.o.Resume, nil
	}
	found, err := checkpoints(s.o.Dir)
	return len(found) > 0, err
}

// start writes the first files of a new run.
func (s *session) start() error {
	if err := checkEmpty(s.o.Dir, s.o.Continue); err != nil {
		return err
	}
	if err := s.c.Write(filepath.Join(s.o.Dir, ConfigFile)); err != nil {
		return err
	}
	s.unsaved = true // its first checkpoint is of the weights as they are drawn
	return writeHistory(s.o.Dir, nil)
}

// resume goes on from the newest checkpoint, with what has been changed since.
func (s *session) resume(ctx context.Context) error {
	c, damaged, err := newestCheckpoint(s.o.Dir)
	if err != nil {
		return err
	}
	for _, err := range damaged {
		s.o.Observer.Note("passed over a checkpoint: " + err.Error())
	}
	changed, changes := s.changes(c.Progress)
	if changed.any("training.precision") {
		return fmt.Errorf("the run in %s cannot go on in another precision%s: leave that as it was, or begin a new run with training.init from its %s",
			s.o.Dir, changed.text("training.precision"), ModelFile)
	}
	if err := s.t.SetState(&safetensors.File{Tensors: c.Tensors}); err != nil {
		return fmt.Errorf("the checkpoint in %s does not fit the model%s: %w", s.o.Dir, changed.text("model."), err)
	}
	behind := c.Progress.Epoch - 1
	if c.Progress.Offset > 0 {
		behind++
	}
	if s.c.Training.Epochs < behind {
		return fmt.Errorf("training.epochs is %d, but the run in %s is in epoch %d already: want at least that", s.c.Training.Epochs, s.o.Dir, behind)
	}
	now := s.p
	s.p = c.Progress
	s.p.Configuration, s.p.Data, s.p.Perceptual, s.p.Devices = now.Configuration, now.Data, now.Perceptual, now.Devices
	for _, dir := range []string{s.o.Dir, filepath.Join(s.o.Dir, checkpointDir), filepath.Join(s.o.Dir, samplesDir), filepath.Join(s.o.Dir, latentDir)} {
		if err := atomicfile.RemoveTemp(dir); err != nil {
			return err
		}
	}
	if err := s.adopt(ctx, changed); err != nil {
		return err
	}
	if len(changes) > 0 {
		s.o.Observer.Note("the run goes on with changes: " + strings.Join(changes, "; "))
		s.p.Changes = append(s.p.Changes, changes...)
		s.unsaved = true
	}
	s.loaded = c.Tensors
	return nil
}

// begin writes what is known once all ranks have the state of rank 0: the first checkpoint, or one that tells what was changed, and then, so that a
// run killed between them remembers that, the new configuration.
func (s *session) begin(ctx context.Context) error {
	if s.unsaved {
		if err := s.checkpoint(ctx); err != nil {
			return err
		}
	}
	if s.loaded == nil || !s.writes() {
		return nil
	}
	s.loaded = nil
	// The checkpoint is written before the history: a run killed between them has an epoch that its history lacks.
	if err := writeHistory(s.o.Dir, s.p.History); err != nil {
		return err
	}
	if err := s.thin(); err != nil {
		return err
	}
	return s.c.Write(filepath.Join(s.o.Dir, ConfigFile))
}

// adopt makes of the progress what the changes leave of it.
func (s *session) adopt(ctx context.Context, changed settings) error {
	if changed.any("data", "training.seed") && s.p.Offset > 0 { // other samples, or another order
		s.p.Offset, s.p.Seconds = 0, 0
		s.t.ResetLoss()
	}
	anew := changed.any("data", "data.name", "data.test_file", "data.validation", "data.only", "data.scaling", "training.loss", "training.loss.", "training.reduction", "training.noise.", "training.seed", "training.divergence.")
	if anew { // losses of before are none to compare with
		s.p.BestAt, s.p.LastGain, s.p.FallAt = 0, 0, 0
	}
	switch anew := s.t.OptimizerSteps() == 0 && s.t.Steps() > 0; {
	case changed.any("training.optimizer.name"):
		s.o.Observer.Note("the optimizer is another: its state starts anew")
	case anew && changed.any("model."):
		s.o.Observer.Note("layers are trained that were not: the optimizer's state starts anew, that of all layers")
	}
	_, err := os.Stat(filepath.Join(s.o.Dir, bestFile))
	missing := errors.Is(err, fs.ErrNotExist) && s.p.BestAt > 0
	if !s.c.Training.KeepBest || !anew && !missing && !changed.any("training.keep_best") {
		return nil
	}
	// The best weights of before are not known: the present ones are the best so far, with their loss if it is.
	s.p.BestAt = 0
	if h := s.p.History; !anew && s.p.Offset == 0 && len(h) > 0 && h[len(h)-1].Epoch == s.p.Epoch-1 {
		s.p.Best, s.p.BestAt = h[len(h)-1].ValLoss, s.p.Epoch-1
	}
	return s.save(ctx, bestFile)
}

// changes returns what is other than when a checkpoint was written: by path, and as lines for the history. Of a checkpoint of
// an older version the configuration is the one in the run's folder.
func (s *session) changes(old progress) (changed settings, lines []string) {
	changed = settings{}
	before := parseSettings(old.Configuration)
	if old.Configuration == "" {
		if c, err := ReadConfig(filepath.Join(s.o.Dir, ConfigFile)); err == nil {
			if text, err := configText(c); err == nil {
				before = parseSettings(text)
			}
		}
	}
	after := parseSettings(s.p.Configuration)
	if len(before) > 0 {
		for _, d := range before.differences(after) {
			changed[d.Path] = orNone(d.A) + " -> " + orNone(d.B)
		}
	}
	if old.Data != "" && old.Data != s.p.Data {
		changed["data"] = "the training samples are others"
	}
	if before, now := max(old.Devices, 1), s.p.Devices; before != now {
		changed["devices"] = fmt.Sprintf("%d -> %d (batches stay as they were)", before, now)
	}
	if old.Perceptual != "" && s.p.Perceptual != "" && old.Perceptual != s.p.Perceptual {
		changed["training.loss.perceptual"] = "the weights of its network are others"
	}
	for _, key := range slices.Sorted(maps.Keys(changed)) {
		lines = append(lines, key+": "+changed[key])
	}
	return changed, lines
}

func orNone(text string) string {
	if text == "" {
		return "none"
	}
	return text
}

// dataDigest tells one training set from another, wherever it lies.
func dataDigest(set *dataset.Set) string {
	h := sha256.New()
	set.Identify(h)
	return hex.EncodeToString(h.Sum(nil)[:16])
}
