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
	"github.com/convae/convae/trainer/use"
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
	// columns returns the width of the terminal, and width is the one that the bar was made for.
	columns func() int
	width   int
	// One line a while is enough in a log.
	lastLine time.Time
	useBar   bool
	images   bool // the samples are images: PSNR and SSIM say something
	barOut   io.Writer
}

func jsonLog(w io.Writer) zerolog.Logger { return zerolog.New(w).With().Timestamp().Logger() }

// logEvery is the time between log lines within an epoch.
const logEvery = 5 * time.Second

func newProgress(mode string, stdout, stderr io.Writer) (*progress, error) {
	r := &progress{out: stdout, barOut: stderr, log: zerolog.Nop(), columns: func() int { return columns(stderr) }}
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
		r.log, r.out = jsonLog(stderr), io.Discard // all that is said is in the log
	default:
		return nil, fmt.Errorf("--log (or %s) is %q, want auto, bar, lines or json", logVariable, mode)
	}
	return r, nil
}

func (r *progress) device(name, reason string) {
	line := r.log.Info().Str("device", name)
	if reason != "" {
		line = line.Str("reason", reason)
	}
	line.Msg("device")
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
	if l.Note != "" {
		r.Note(l.Note)
		return
	}
	if l.Done == l.Total || time.Since(r.lastLine) > logEvery {
		r.lastLine = time.Now()
		line := r.log.Info()
		if l.File != "" {
			line = line.Str("file", l.File)
		}
		line.Int64("done", l.Done).Int64("of", l.Total).Msg("loading")
	}
	if r.useBar {
		showLoading(r.barOut, l, r.columns())
	}
}

// showLoading overwrites a line of a terminal of that many columns.
func showLoading(w io.Writer, l trainer.Loading, columns int) {
	text := []rune(l.String())
	fmt.Fprintf(w, "\r\033[K%s", string(text[:min(len(text), columns-1)])) // a longer line would be left behind where it wraps
	if l.Done == l.Total {
		fmt.Fprintln(w)
	}
}

func (r *progress) Start(s trainer.Start) {
	r.images = s.Images
	r.log.Info().Str("model", s.Model.Config.Name).Int("params", s.Model.Size()).Int("train", s.Train).Int("validation", s.Validation).
		Int("epoch", s.Epoch).Stringer("precision", s.Precision).Int("bytes", s.Memory.Device.Total()).Float64("recomputed", s.Memory.Device.RepeatedShare).Int("host_bytes", s.Memory.Host.Total()).Msg("start")
	if r.useBar {
		fmt.Fprintf(r.barOut, "model: %s, %d parameters; %d training and %d validation samples; precision %v; memory %v\n", s.Model.Config.Name, s.Model.Size(), s.Train, s.Validation, s.Precision, s.Memory)
	}
}

func (r *progress) First(f trainer.FirstStep) {
	line := r.log.Info().Float64("after_s", round(f.After.Seconds(), 3))
	text := fmt.Sprintf("first step after %.2f s", f.After.Seconds())
	if f.Kernels > 0 {
		line = line.Int("kernels", f.Kernels).Float64("compiling_s", round(f.Compiling.Seconds(), 3))
		text += fmt.Sprintf(": compiled %d kernels in %.2f s", f.Kernels, f.Compiling.Seconds())
	}
	line.Msg("first step")
	if r.useBar {
		fmt.Fprintln(r.barOut, text)
	}
}

func (r *progress) Step(s trainer.Step) {
	if !r.useBar {
		if time.Since(r.lastLine) >= logEvery || s.Paused {
			r.lastLine = time.Now()
			e := r.log.Info().Int("epoch", s.Epoch).Int("step", s.Step).Int("steps", s.Steps)
			if !math.IsNaN(s.Loss) {
				e = e.Float64("loss", round(s.Loss, 6))
			}
			if s.Rate > 0 {
				e = e.Float64("images_per_s", round(s.Rate, 1)).Str("left", s.Left.Round(time.Second).String())
			}
			if s.Streamed {
				e = e.Float64("waits_for_data", round(s.Waiting, 3))
			}
			if s.Paused {
				e = e.Bool("paused", true)
			}
			e.Msg("training")
		}
		return
	}
	width := r.columns()
	bar, room := barLayout(width, s.Steps)
	if r.bar == nil || r.width != width {
		r.stop()
		r.width = width
		r.bar = progressbar.NewOptions(s.Steps, progressbar.OptionSetWriter(r.barOut), progressbar.OptionSetWidth(bar), progressbar.OptionClearOnFinish(),
			progressbar.OptionUseANSICodes(true), progressbar.OptionSetPredictTime(false), progressbar.OptionSetElapsedTime(false),
			func(p *progressbar.ProgressBar) {
				if width >= wideColumns {
					progressbar.OptionShowCount()(p)
				}
			})
	}
	loss := "..."
	if !math.IsNaN(s.Loss) {
		loss = fmt.Sprintf("%.4f", s.Loss)
	}
	parts := []string{fmt.Sprintf("epoch %d", s.Epoch), "loss " + loss}
	if s.Rate > 0 {
		parts = append(parts, fmt.Sprintf("%.0f images/s", s.Rate), fmt.Sprintf("ETA %s", s.Left.Round(time.Second)))
	}
	if s.Paused {
		parts = []string{parts[0], "paused"}
	}
	if s.Streamed && s.Waiting >= 0.005 {
		parts = append(parts, fmt.Sprintf("%.0f %% waiting for data", 100*s.Waiting))
	}
	r.bar.Describe(fitting(room, "", "  ", parts...))
	_ = r.bar.Set(s.Step) // a terminal that cannot be written to must not end training
}

// wideColumns is the width from which on a terminal has room for the count of steps beside the bar.
const wideColumns = 76

// barLayout returns the width of the bar on a terminal, and the room that is left for words before it. The whole line is
// shorter than the terminal is wide: one that wraps could not be overwritten.
func barLayout(columns, steps int) (bar, room int) {
	rest := len(" 100% ||  ")
	if columns >= wideColumns {
		rest += len(fmt.Sprintf("(%d/%d) ", steps, steps))
	}
	bar = min(max(columns-rest-52, 4), 24)
	if room = columns - 1 - rest - bar; room < 0 {
		bar = max(bar+room, 0)
		room = 0
	}
	return bar, room
}

// fitting joins as many of the parts to the head as the room has place for, from the first one on.
func fitting(room int, head, between string, parts ...string) string {
	for i, p := range parts {
		if head != "" || i > 0 {
			p = between + p
		}
		if len(head)+len(p) > room {
			break
		}
		head += p
	}
	return head
}

// columns returns the width of a terminal, and that of the usual one for what is none.
func columns(w io.Writer) int {
	if f, ok := w.(*os.File); ok {
		if n, _, err := term.GetSize(int(f.Fd())); err == nil && n > 0 {
			return n
		}
	}
	return 80
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
	quality := []string{fmt.Sprintf("PSNR %.2f dB", e.ValPSNR), fmt.Sprintf("SSIM %.3f", e.ValSSIM), fmt.Sprintf("%.0f images/s", e.Rate)}
	if r.images {
		line = line.Float64("val_psnr", round(e.ValPSNR, 3)).Float64("val_ssim", round(e.ValSSIM, 4))
	} else {
		line = line.Float64("val_mae", round(e.ValMAE, 6)).Float64("val_max_error", round(e.ValMaxError, 6))
		quality = []string{fmt.Sprintf("MAE %.4f", e.ValMAE), fmt.Sprintf("max error %.4f", e.ValMaxError)}
	}
	if e.ValKL > 0 {
		line = line.Float64("val_kl", round(e.ValKL, 3))
		quality = append([]string{fmt.Sprintf("KL %.2f nats", e.ValKL)}, quality...)
	}
	line.Float64("images_per_s", round(e.Rate, 1)).Float64("seconds", round(e.Seconds, 2)).Msg("epoch")
	if r.useBar {
		fmt.Fprintln(r.barOut, fitting(r.columns(), fmt.Sprintf("epoch %2d: loss %.4f, val %.4f", e.Epoch, e.Loss, e.ValLoss), ", ", quality...))
	}
}

// Drawn says nothing: the last pictures are told of at the end.
func (r *progress) Drawn(trainer.Drawn) {}

func (r *progress) Note(text string) {
	text = printable(text)
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
	text = printable(text)
	r.log.Info().Msg(text)
	if r.useBar {
		fmt.Fprintln(r.barOut, text)
	}
}

// page says where the run is shown. A log that programs read does not get the token.
func (r *progress) page(p *page) {
	secret := r.out != io.Discard
	r.log.Info().Str("url", p.url(secret)).Msg("live page")
	if r.useBar {
		fmt.Fprintln(r.barOut, "live page:", p.url(secret))
	}
}

// result says where the run is and what came of it.
func (r *progress) result(dir string, cfg trainer.Config, res trainer.Result, took time.Duration) {
	r.stop()
	r.logResult(dir, cfg, res, took)
	if res.Interrupted {
		fmt.Fprintf(r.out, "interrupted and saved: go on with `convae train --resume %s`\n", dir)
		return
	}
	in, out, w := res.Final.Input, res.Final.Output, r.out
	if res.StoppedAt > 0 {
		fmt.Fprintf(w, "stopped early after epoch %d; the best was epoch %d\n", res.StoppedAt, res.BestAt)
	}
	if !r.images {
		fmt.Fprintf(w, "reconstructed: MSE %.6f, MAE %.6f, max error %.6f, largest distance %.6f (%d samples)\n", out.MSE, out.MAE, out.MaxAbs, out.MaxDistance, out.N)
	} else if worse := cfg.Training.Corrupted(); !worse.IsZero() {
		done := "denoised"
		if len(worse.Then) > 0 {
			done = "restored"
		}
		fmt.Fprintf(w, done+": PSNR %.2f -> %.2f dB, SSIM %.3f -> %.3f (means over %d images)\n", in.PSNR, out.PSNR, in.SSIM, out.SSIM, out.N)
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

// logResult is the log's last line, with all that result says and only what means something for the run: BCE for models
// that are trained on it, the noisy samples' quality where there is noise.
func (r *progress) logResult(dir string, cfg trainer.Config, res trainer.Result, took time.Duration) {
	line := r.log.Info().Str("run", dir).Float64("seconds", round(took.Seconds(), 1))
	if res.Interrupted {
		line.Bool("interrupted", true).Msg("done")
		return
	}
	in, out, code, drawn := res.Final.Input, res.Final.Output, res.Final.Code, res.Final.Drawn
	if res.StoppedAt > 0 {
		line = line.Int("stopped_early_at", res.StoppedAt).Int("best_at", res.BestAt)
	}
	if cfg.Training.Loss.BCE > 0 && out.BCE != 0 { // 0: there are values outside [0,1]
		line = line.Float64("val_bce", round(out.BCE, 6))
	}
	line = line.Float64("val_mse", round(out.MSE, 6)).Float64("val_mae", round(out.MAE, 6)).Float64("val_max_error", round(out.MaxAbs, 6))
	if r.images {
		if !cfg.Training.Corrupted().IsZero() {
			line = line.Float64("psnr_before", round(in.PSNR, 3)).Float64("ssim_before", round(in.SSIM, 4))
		}
		line = line.Float64("psnr_after", round(out.PSNR, 3)).Float64("ssim_after", round(out.SSIM, 4))
	}
	if drawn != (use.Evidence{}) {
		line = line.Float64("elbo", round(drawn.ELBO, 3)).Float64("kl", round(drawn.Divergence, 3))
	}
	line = line.Int("code_values", code.Units).Int("active_units", code.Active)
	if res.Selected != nil {
		line = line.Ints("selected", res.Selected)
	}
	line.Msg("done")
}

// writeSelected prints the inputs that a concrete model selects, each once and in order.
func writeSelected(w io.Writer, selected []int) {
	if selected != nil {
		inputs := slices.Compact(slices.Sorted(slices.Values(selected)))
		fmt.Fprintf(w, "selected %d inputs, %d of them different: %v\n", len(selected), len(inputs), inputs)
	}
}

// writeEvidence prints what a variational model makes of the samples.
func writeEvidence(w io.Writer, e use.Evidence) {
	if e != (use.Evidence{}) {
		fmt.Fprintf(w, "variational: ELBO %.2f nats a sample, of reconstruction %.2f and KL %.2f; squared error %.3f a sample\n", e.ELBO, e.BCE, e.Divergence, e.MSE)
	}
}

// writeCode prints what the codes are like.
func writeCode(w io.Writer, v metric.CodeValues) {
	fmt.Fprintf(w, "code: %d values, compression %.4g; active units: %d; mean value: %.4g", v.Units, v.Compression, v.Active, v.Mean)
	if v.Perplexity > 0 {
		fmt.Fprintf(w, "; perplexity of the codebook: %.4g", v.Perplexity)
	}
	fmt.Fprintln(w)
}

func round(v float64, digits int) float64 {
	p := math.Pow(10, float64(digits))
	return math.Round(v*p) / p
}
