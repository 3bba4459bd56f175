package main

import (
	"cmp"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/rs/zerolog"
	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/convae/convae/trainer"
	"github.com/convae/convae/trainer/metric"
)

// logVariable is the environment variable that has the default of --log, for containers.
const logVariable = "CONVAE_LOG"

func logFlag(c *cobra.Command, v *string) {
	c.Flags().StringVar(v, "log", cmp.Or(os.Getenv(logVariable), "auto"), "what to print: auto (a progress bar on a terminal, else lines), bar, lines, json; the default is $"+logVariable)
}

// progress tells a person or a log file how training goes on.
type progress struct {
	out io.Writer
	log zerolog.Logger
	bar *progressbar.ProgressBar // nil when there are log lines instead
	// One line a while is enough in a log.
	lastLine time.Time
	useBar   bool
	images   bool // the samples are images: PSNR and SSIM say something
	barOut   io.Writer
}

// logEvery is the time between log lines within an epoch.
const logEvery = 5 * time.Second

func newProgress(mode string, stdout, stderr io.Writer) (*progress, error) {
	r := &progress{out: stdout, barOut: stderr, log: zerolog.Nop()}
	if mode == "auto" {
		mode = "lines"
		if f, ok := stderr.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
			mode = "bar"
		}
	}
	switch mode {
	case "bar":
		r.useBar = true
	case "lines":
		r.log = zerolog.New(zerolog.ConsoleWriter{Out: stderr, NoColor: true, TimeFormat: time.TimeOnly}).With().Timestamp().Logger()
	case "json":
		r.log = zerolog.New(stderr).With().Timestamp().Logger()
	default:
		return nil, fmt.Errorf("--log (or %s) is %q, want auto, bar, lines or json", logVariable, mode)
	}
	return r, nil
}

func (r *progress) device(name, reason string) {
	r.log.Info().Str("device", name).Str("reason", reason).Msg("device")
	if r.useBar {
		fmt.Fprintf(r.barOut, "device: %s", name)
		if reason != "" {
			fmt.Fprintf(r.barOut, " (%s)", reason)
		}
		fmt.Fprintln(r.barOut)
	}
}

// loading reports how the loading of a data set goes on.
func (r *progress) loading(l trainer.Loading) {
	if l.Done == l.Total || time.Since(r.lastLine) > logEvery {
		r.lastLine = time.Now()
		r.log.Info().Str("file", l.File).Int64("done", l.Done).Int64("of", l.Total).Msg("loading")
	}
	if r.useBar {
		showLoading(r.barOut, l)
	}
}

// showLoading overwrites a line of a terminal.
func showLoading(w io.Writer, l trainer.Loading) {
	fmt.Fprintf(w, "\r\033[K%v", l)
	if l.Done == l.Total {
		fmt.Fprintln(w)
	}
}

func (r *progress) Start(s trainer.Start) {
	r.images = s.Images
	r.log.Info().Str("model", s.Model.Config.Name).Int("params", s.Model.Size()).Int("train", s.Train).Int("validation", s.Validation).
		Int("epoch", s.Epoch).Int("bytes", s.Memory.Total()).Msg("start")
	if r.useBar {
		fmt.Fprintf(r.barOut, "model: %s, %d parameters; %d training and %d validation samples; memory %v\n", s.Model.Config.Name, s.Model.Size(), s.Train, s.Validation, s.Memory)
	}
}

func (r *progress) Step(s trainer.Step) {
	if !r.useBar {
		if time.Since(r.lastLine) >= logEvery {
			r.lastLine = time.Now()
			e := r.log.Info().Int("epoch", s.Epoch).Int("step", s.Step).Int("steps", s.Steps)
			if !math.IsNaN(s.Loss) {
				e = e.Float64("loss", round(s.Loss, 6))
			}
			e.Float64("images_per_s", round(s.Rate, 1)).Str("left", s.Left.Round(time.Second).String()).Msg("training")
		}
		return
	}
	if r.bar == nil {
		r.bar = progressbar.NewOptions(s.Steps, progressbar.OptionSetWriter(r.barOut), progressbar.OptionSetWidth(24), progressbar.OptionClearOnFinish(),
			progressbar.OptionSetPredictTime(false), progressbar.OptionSetElapsedTime(false), progressbar.OptionShowCount())
	}
	loss := "..."
	if !math.IsNaN(s.Loss) {
		loss = fmt.Sprintf("%.4f", s.Loss)
	}
	r.bar.Describe(fmt.Sprintf("epoch %d  loss %s  %.0f images/s  ETA %s ", s.Epoch, loss, s.Rate, s.Left.Round(time.Second)))
	_ = r.bar.Set(s.Step) // a terminal that cannot be written to must not end training
}

func (r *progress) stop() {
	if r.bar != nil {
		_ = r.bar.Clear()
		r.bar = nil
	}
}

func (r *progress) Epoch(e trainer.Epoch) {
	r.stop()
	line := r.log.Info().Int("epoch", e.Epoch).Float64("loss", round(e.Loss, 6)).Float64("val_loss", round(e.ValLoss, 6)).Float64("val_mse", round(e.ValMSE, 6))
	quality := fmt.Sprintf("PSNR %.2f dB, SSIM %.3f, %.0f images/s", e.ValPSNR, e.ValSSIM, e.Rate)
	if r.images {
		line = line.Float64("val_psnr", round(e.ValPSNR, 3)).Float64("val_ssim", round(e.ValSSIM, 4))
	} else {
		line = line.Float64("val_mae", round(e.ValMAE, 6)).Float64("val_max_error", round(e.ValMaxError, 6))
		quality = fmt.Sprintf("MAE %.4f, max error %.4f", e.ValMAE, e.ValMaxError)
	}
	if e.ValKL > 0 {
		line = line.Float64("val_kl", round(e.ValKL, 3))
		quality = fmt.Sprintf("KL %.2f nats, %s", e.ValKL, quality)
	}
	line.Float64("images_per_s", round(e.Rate, 1)).Float64("seconds", round(e.Seconds, 2)).Msg("epoch")
	if r.useBar {
		fmt.Fprintf(r.barOut, "epoch %2d: loss %.4f, validation %.4f, %s\n", e.Epoch, e.Loss, e.ValLoss, quality)
	}
}

func (r *progress) Note(text string) {
	r.log.Warn().Msg(text)
	if r.useBar {
		r.stop()
		fmt.Fprintln(r.barOut, "note:", text)
	}
}

// interrupted says at once what a signal brings about, while the step at hand may still take long. It may be called beside
// the others.
func (r *progress) interrupted() {
	const text = "interrupted: finishing the step at hand, then saving; a second signal ends at once and saves nothing"
	r.log.Warn().Msg(text)
	if r.useBar {
		fmt.Fprintf(r.barOut, "\n%s\n", text)
	}
}

// say reports something of interest.
func (r *progress) say(text string) {
	r.log.Info().Msg(text)
	if r.useBar {
		fmt.Fprintln(r.barOut, text)
	}
}

// result says where the run is and what came of it.
func (r *progress) result(dir string, cfg trainer.Config, res trainer.Result, took time.Duration) {
	r.stop()
	if res.Interrupted {
		r.log.Info().Str("run", dir).Bool("interrupted", true).Float64("seconds", round(took.Seconds(), 1)).Msg("done")
		fmt.Fprintf(r.out, "interrupted and saved: go on with `convae train --resume %s`\n", dir)
		return
	}
	in, out := res.Final.Input, res.Final.Output
	line := r.log.Info().Str("run", dir).Float64("val_bce", round(out.BCE, 6))
	if r.images {
		line = line.Float64("psnr_before", round(in.PSNR, 3)).Float64("psnr_after", round(out.PSNR, 3)).
			Float64("ssim_before", round(in.SSIM, 4)).Float64("ssim_after", round(out.SSIM, 4))
	} else {
		line = line.Float64("val_mse", round(out.MSE, 6)).Float64("val_mae", round(out.MAE, 6)).Float64("val_max_error", round(out.MaxAbs, 6))
	}
	line.Float64("seconds", round(took.Seconds(), 1)).Msg("done")
	w := r.out
	if res.StoppedAt > 0 {
		fmt.Fprintf(w, "stopped early after epoch %d; the best was epoch %d\n", res.StoppedAt, res.BestAt)
	}
	if !r.images {
		fmt.Fprintf(w, "reconstructed: MSE %.6f, MAE %.6f, max error %.6f, largest distance %.6f (%d samples)\n", out.MSE, out.MAE, out.MaxAbs, out.MaxDistance, out.N)
	} else if cfg.Training.Noise.Std > 0 {
		fmt.Fprintf(w, "denoised: PSNR %.2f -> %.2f dB, SSIM %.3f -> %.3f (means over %d images)\n", in.PSNR, out.PSNR, in.SSIM, out.SSIM, out.N)
	} else {
		fmt.Fprintf(w, "reconstructed: PSNR %.2f dB, SSIM %.3f (means over %d images)\n", out.PSNR, out.SSIM, out.N)
	}
	writeEvidence(w, res.Final.Drawn)
	writeCode(w, res.Final.Code)
	writeSelected(w, res.Selected)
	fmt.Fprintf(w, "run: %s\n", dir)
	look := filepath.Join(dir, trainer.LossFile)
	if r.images {
		look = filepath.Join(dir, trainer.SamplesFile) + ", " + look
	}
	fmt.Fprintf(w, "look at: %s\n", look)
}

// writeSelected prints the inputs that a concrete model selects, each once and in order.
func writeSelected(w io.Writer, selected []int) {
	if selected != nil {
		inputs := slices.Compact(slices.Sorted(slices.Values(selected)))
		fmt.Fprintf(w, "selected %d inputs, %d of them different: %v\n", len(selected), len(inputs), inputs)
	}
}

// writeEvidence prints what a variational model makes of the samples.
func writeEvidence(w io.Writer, e trainer.Evidence) {
	if e != (trainer.Evidence{}) {
		fmt.Fprintf(w, "variational: ELBO %.2f nats a sample, of reconstruction %.2f and KL %.2f; squared error %.3f a sample\n", e.ELBO, e.BCE, e.Divergence, e.MSE)
	}
}

// writeCode prints what the codes are like.
func writeCode(w io.Writer, v metric.CodeValues) {
	fmt.Fprintf(w, "code: %d values, compression %.4g; active units: %d; mean value: %.4g\n", v.Units, v.Compression, v.Active, v.Mean)
}

func round(v float64, digits int) float64 {
	p := math.Pow(10, float64(digits))
	return math.Round(v*p) / p
}
