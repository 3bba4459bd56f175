package trainer

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime/metrics"
	"strings"
	"time"

	"github.com/convae/convae/nn"
	"github.com/convae/convae/trainer/tensorboard"
	"github.com/convae/convae/trainer/use"
)

// boardDir is the folder of a run with its event files for TensorBoard.
const boardDir = "tensorboard"

// boardEvery is how often an epoch that is under way has a point of its curves.
const boardEvery = time.Second

// board is what a run tells TensorBoard.
type board struct {
	w      *tensorboard.Writer
	wrote  time.Time           // of an epoch under way
	values []tensorboard.Value // of the epoch that is being validated
	err    error               // of what was written where nothing can be returned
}

// openBoard begins an event file, if the run is to have any, or has some of before. Of what these say after the state that the run goes on from
// nothing is left.
func (s *session) openBoard() error {
	if s.o.NoTensorBoard {
		return nil
	}
	dir := filepath.Join(s.o.Dir, boardDir)
	before, err := tensorboard.Files(dir)
	if err != nil || !s.o.TensorBoard && len(before) == 0 {
		return err
	}
	first := s.t.Steps() + 1
	if h := s.p.History; s.t.Steps() == 0 || len(h) == 0 || h[len(h)-1].Step < s.t.Steps() {
		first-- // the values of this step are still to come
	}
	s.board = new(board)
	if s.board.w, err = tensorboard.Create(dir, first); err != nil {
		s.board = nil
		return err
	}
	if len(before) == 0 || s.t.Steps() == 0 {
		if err := s.board.w.AddGraph(tensorboard.GraphOf(s.m, s.c.Training.corruptionText(), s.c.Training.Loss.String())); err != nil {
			return err
		}
	}
	config, err := s.c.YAML()
	if err != nil {
		return err
	}
	var summary strings.Builder
	if err := s.m.WriteSummary(&summary); err != nil {
		return err
	}
	return s.board.w.Add(first, tensorboard.Text("configuration", fenced("yaml", string(config))), tensorboard.Text("model", fenced("", summary.String())))
}

// fenced is a block of code in Markdown.
func fenced(language, text string) string {
	return "```" + language + "\n" + strings.TrimRight(text, "\n") + "\n```\n"
}

// corruptionText names the ways in which inputs are made worse.
func (t Training) corruptionText() string {
	var names []string
	if t.Noise.Std > 0 {
		names = append(names, fmt.Sprintf("gaussian of %g", t.Noise.Std))
	}
	for _, c := range t.Corrupted().Then {
		names = append(names, c.Kind.String())
	}
	return strings.Join(names, ", then ")
}

// step writes a moment of an epoch.
func (b *board) step(steps int, rate float64, s Step) {
	if b == nil || b.err != nil || time.Since(b.wrote) < boardEvery {
		return
	}
	b.wrote = time.Now()
	values := []tensorboard.Value{tensorboard.Scalar("now/learning_rate", rate)}
	if !math.IsNaN(s.Loss) {
		values = append(values, tensorboard.Scalar("now/loss_of_epoch", s.Loss))
	}
	if s.Rate > 0 {
		values = append(values, tensorboard.Scalar("now/images_per_second", s.Rate))
	}
	if s.Streamed {
		values = append(values, tensorboard.Scalar("now/waits_for_data", s.Waiting))
	}
	b.err = b.w.Add(steps, values...)
}

// inspect keeps what the parameters and their gradients are after the last step, before anything else uses their memory.
func (b *board) inspect(t *nn.Trainer) error {
	if b == nil {
		return nil
	}
	b.values = b.values[:0]
	norm, err := t.Inspect(func(p *nn.Param, values, gradient []float32) {
		name := p.Name // such as encoder.0.weight
		if parts := strings.SplitN(name, ".", 3); len(parts) == 3 {
			name = parts[2]
		}
		b.values = append(b.values, tensorboard.Histogram(p.Layer+"/"+name, values))
		if gradient != nil {
			b.values = append(b.values, tensorboard.Histogram(p.Layer+"/"+name+"/gradient", gradient))
		}
	})
	if err == nil && !math.IsNaN(norm) {
		b.values = append(b.values, tensorboard.Scalar("gradient_norm", norm))
	}
	return err
}

// epoch writes a validated epoch.
func (b *board) epoch(e Epoch, v use.Evaluation, s *session) error {
	if b == nil || b.err != nil {
		return b.failure()
	}
	add := func(tag string, v float64) { b.values = append(b.values, tensorboard.Scalar(tag, v)) }
	add("loss/training", e.Loss)
	add("loss/validation", e.ValLoss)
	for _, p := range s.c.Training.PartsOf(v, s.m.Output.Len()) {
		add("loss_part/"+p.Name, p.Value)
	}
	if e.ValBCE != 0 { // 0: there are values outside [0,1]
		add("validation/bce", e.ValBCE)
	}
	add("validation/mse", e.ValMSE)
	add("validation/mae", e.ValMAE)
	add("validation/max_error", e.ValMaxError)
	if s.o.Test.Images() {
		add("validation/psnr", e.ValPSNR)
		add("validation/ssim", e.ValSSIM)
	}
	if s.m.Variational() {
		add("validation/kl", e.ValKL)
	}
	if s.m.Quantized() {
		add("validation/perplexity", e.ValPerplexity)
	}
	add("validation/active_units", float64(e.ValActive))
	add("learning_rate", e.LearningRate)
	add("epoch", float64(e.Epoch))
	add("speed/images_per_second", e.Rate)
	add("memory/device_bytes", float64(s.t.Memory().Total()))
	add("memory/host_bytes", hostBytes())
	return b.w.Add(e.Step, b.values...)
}

// hostBytes is the memory that the runtime has of the system.
func hostBytes() float64 {
	sample := []metrics.Sample{{Name: "/memory/classes/total:bytes"}}
	metrics.Read(sample)
	return float64(sample[0].Value.Uint64())
}

// samples writes a picture of an epoch.
func (b *board) samples(step int, path string) error {
	if b == nil || path == "" {
		return nil
	}
	png, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("tensorboard: %w", err)
	}
	v, err := tensorboard.Picture("samples", png)
	if err != nil {
		return err
	}
	return b.w.Add(step, v)
}

// failure returns the error of what was written during an epoch.
func (b *board) failure() error {
	if b == nil {
		return nil
	}
	return b.err
}

// close ends the file.
func (b *board) close() error {
	if b == nil {
		return nil
	}
	return b.w.Close()
}
