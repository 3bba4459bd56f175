package trainer

import (
	"context"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/convae/convae/nn"
)

func rateOptions(t *testing.T) RateOptions {
	return RateOptions{Options: pointsOptions(t, ""), From: 1e-4, To: 1e4, Steps: 60}
}

// A curve that falls in one place is steepest there, whatever its noise, and nothing is suggested where it only rises.
func TestRateSuggested(t *testing.T) {
	var falls, rises RateCurve
	for k := range 100 {
		x := float64(k)
		falls.Rates = append(falls.Rates, math.Pow(10, -6+x/20))
		noise := 0.02 * math.Sin(7*x)
		// A step of the logistic function in the middle, at a rate of 10^-3.5, and a rise from 10^-2 on.
		falls.Losses = append(falls.Losses, 1-0.5/(1+math.Exp(-(x-50)/4))+noise+math.Exp(x-80))
		rises.Losses = append(rises.Losses, 1+x)
	}
	rises.Rates = falls.Rates
	early := RateCurve{Rates: falls.Rates[:50], Losses: falls.Losses[:50]}
	early.suggest(3)
	falls.suggest(3)
	rises.suggest(3)
	if !early.Falling || early.Risen || falls.Falling || !falls.Risen || rises.Falling {
		t.Errorf("still falling at the end: %v of a part, %v of the whole, %v of a curve that rises", early.Falling, falls.Falling, rises.Falling)
	}
	if at := math.Log10(falls.Steepest); math.Abs(at+3.5) > 0.15 || falls.Lowest <= falls.Steepest || falls.Lowest > 1e-2 {
		t.Errorf("steepest at 10^%.2f, want 10^-3.5; lowest at %v", at, falls.Lowest)
	}
	if rises.Steepest != 0 || rises.Lowest != 0 {
		t.Errorf("of a curve that rises %v is suggested, lowest %v", rises.Steepest, rises.Lowest)
	}
}

// The rate rises exponentially until the loss diverges. The rate that is suggested trains better than one a hundred times lower, the same is found again,
// and the folder stays empty.
func TestFindRate(t *testing.T) {
	t.Chdir(t.TempDir())
	c := pointsConfig()
	c.Training.Optimizer = nn.Optimizer{Name: "sgd"}
	r, err := FindRate(t.Context(), c, rateOptions(t))
	if err != nil {
		t.Fatal(err)
	}
	if !r.Diverged || len(r.Rates) >= 60 || len(r.Losses) != len(r.Rates) || len(r.Smooth) != len(r.Rates) {
		t.Errorf("diverged %v after %d steps", r.Diverged, len(r.Rates))
	}
	for k := 1; k < len(r.Rates); k++ {
		if ratio := r.Rates[k] / r.Rates[k-1]; math.Abs(ratio-math.Pow(1e8, 1./59)) > 1e-9 {
			t.Errorf("rate %d is %v times the one before", k, ratio)
		}
	}
	again, err := FindRate(t.Context(), c, rateOptions(t))
	if err != nil || again.Steepest != r.Steepest {
		t.Errorf("found %v and then %v, error %v", r.Steepest, again.Steepest, err)
	}
	if r.Steepest == 0 || r.Lowest <= r.Steepest {
		t.Fatalf("steepest %v, lowest %v", r.Steepest, r.Lowest)
	}
	if entries, err := os.ReadDir("."); err != nil || len(entries) > 0 {
		t.Errorf("files %v, error %v", entries, err)
	}
	if err := r.WritePicture("rates.png"); err != nil || len(readFile(t, "rates.png")) < 1000 {
		t.Errorf("picture: %v", err)
	}
	var losses [2]float64
	for i, rate := range []float64{r.Steepest, r.Steepest / 100} {
		c.Training.Optimizer.LearningRate = rate
		result, err := Train(t.Context(), c, pointsOptions(t, filepath.Join("runs", string(rune('a'+i)))))
		if err != nil {
			t.Fatal(err)
		}
		losses[i] = result.History[1].ValLoss
	}
	if losses[0] >= losses[1] {
		t.Errorf("validation losses %v at the suggested rate and a hundredth of it", losses)
	}
}

func TestFindRateErrors(t *testing.T) {
	for _, c := range []struct {
		change func(o *RateOptions)
		want   string
	}{
		{func(o *RateOptions) { o.From = 0 }, "learning rates from 0 to 10000: want two"},
		{func(o *RateOptions) { o.To = o.From }, "the lower first"},
		{func(o *RateOptions) { o.Steps = 5 }, "5 steps: want at least 10"},
		{func(o *RateOptions) { o.From, o.To = 1e5, 1e6 }, "begin at a lower one"},
	} {
		o := rateOptions(t)
		c.change(&o)
		cfg := pointsConfig()
		cfg.Training.Optimizer = nn.Optimizer{Name: "sgd"}
		if _, err := FindRate(t.Context(), cfg, o); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("error %v, want %q", err, c.want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := FindRate(ctx, pointsConfig(), rateOptions(t)); err != context.Canceled {
		t.Errorf("cancelled: %v", err)
	}
}
