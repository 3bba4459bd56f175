package trainer

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/convae/convae/trainer/picture"
	"github.com/convae/convae/trainer/use"
)

// RateOptions are the choices of FindRate.
type RateOptions struct {
	Options          // Device, Train and Test, and an Observer's notes; nothing is written
	From, To float64 // learning rates, of the first step and of the last
	Steps    int
}

// RateCurve is how the loss goes while the learning rate rises.
type RateCurve struct {
	Rates, Losses, Smooth []float64 // by step: the rate, the mean loss of its samples before the weights change, and that smoothed
	Diverged              bool      // the loss rose so far, or was not finite, that steps were left out
	// Steepest is the rate at which the smoothed loss falls fastest by the logarithm of the rate, and Lowest the one where it is lowest; 0 if it never
	// falls.
	Steepest, Lowest float64
	// Falling says that the smoothed loss is lowest at the last rate, and Risen that behind the lowest it rises to what it was at the first, or diverges:
	// before that nothing tells which rates are too high.
	Falling, Risen bool
}

const (
	leastRateSteps = 10
	rateMemory     = 0.9  // of the running mean that tells divergence, of the steps before
	rateDiverged   = 4    // times the least running mean is divergence
	rateWidth      = 0.03 // standard deviation of the smoothing, as a share of the steps, but at least one step
)

// FindRate trains for some steps, while the learning rate rises exponentially from one step to the next, and finds where the loss falls fastest (Smith,
// "Cyclical learning rates for training neural networks", 2017). It ends early once the loss is 4 times as high as it was at its lowest, by a running mean,
// or is not finite. The weights that training begins with are those of the configuration, and what becomes of them is dropped.
func FindRate(ctx context.Context, c Config, o RateOptions) (r RateCurve, err error) {
	if !(o.From > 0 && o.From < o.To && o.To <= 1e6) {
		return r, fmt.Errorf("learning rates from %g to %g: want two of more than 0 and at most 1e6, the lower first", o.From, o.To)
	}
	if o.Steps < leastRateSteps {
		return r, fmt.Errorf("%d steps: want at least %d to find a learning rate", o.Steps, leastRateSteps)
	}
	if o.Ranks != nil {
		return r, errors.New("a learning rate is found by one process: want no others with it")
	}
	if o.Observer == nil {
		o.Observer = silent{}
	}
	s := &session{c: c, o: o.Options, began: time.Now()}
	defer s.close()
	s.c.Training.Epochs = max(c.Training.Epochs, o.Steps) // enough for all steps, however few an epoch has
	options, err := s.plan()
	if err != nil {
		return r, err
	}
	if err := s.prepare(options); err != nil {
		return r, err
	}
	s.shuffle()
	var mean, least float64
	for k := range o.Steps {
		if err := ctx.Err(); err != nil {
			return r, err
		}
		rate := o.From * math.Pow(o.To/o.From, float64(k)/float64(o.Steps-1))
		s.turn()
		loss, err := s.stepAt(rate)
		if err != nil {
			return r, err
		}
		if !finite(loss) {
			r.Diverged = true
			break
		}
		r.Rates, r.Losses = append(r.Rates, rate), append(r.Losses, loss)
		mean = rateMemory*mean + (1-rateMemory)*loss
		now := mean / (1 - math.Pow(rateMemory, float64(k+1)))
		if k == 0 || now < least {
			least = now
		}
		if now > rateDiverged*least {
			r.Diverged = true
			break
		}
	}
	if len(r.Rates) < leastRateSteps {
		return r, fmt.Errorf("the loss was not finite after %d steps, at a learning rate of %.3g: begin at a lower one", len(r.Rates), o.From*math.Pow(o.To/o.From, float64(len(r.Rates))/float64(o.Steps-1)))
	}
	r.suggest(max(1, rateWidth*float64(o.Steps)))
	return r, nil
}

// stepAt trains on the next samples at a learning rate, and returns their loss before that.
func (s *session) stepAt(rate float64) (float64, error) {
	n := min(s.batch, len(s.order)-s.p.Offset)
	s.setRates()
	s.t.SetLearningRate(rate)
	s.t.ResetLoss()
	s.t.Step(s.p.Offset, n, s.draw())
	s.p.Offset += n
	return s.t.Loss()
}

// suggest smooths the losses by a Gaussian window of so many steps, which is no later than they are, and finds the rates.
func (r *RateCurve) suggest(width float64) {
	n := len(r.Losses)
	r.Smooth = make([]float64, n)
	for i := range r.Smooth {
		sum, weights := 0.0, 0.0
		for j, v := range r.Losses {
			d := float64(i-j) / width
			w := math.Exp(-d * d / 2)
			sum, weights = sum+w*v, weights+w
		}
		r.Smooth[i] = sum / weights
	}
	low := 0
	for i, v := range r.Smooth {
		if v < r.Smooth[low] {
			low = i
		}
	}
	at, steepest := 0, 0.0
	for i := 1; i < low; i++ { // rates are evenly spaced by their logarithm
		if slope := (r.Smooth[i+1] - r.Smooth[i-1]) / 2; slope < steepest {
			at, steepest = i, slope
		}
	}
	if at > 0 {
		r.Steepest, r.Lowest, r.Falling = r.Rates[at], r.Rates[low], low == n-1
		r.Risen = r.Diverged || r.Smooth[n-1] >= r.Smooth[0]
	}
}

// WritePicture draws the curve as a PNG, with a line at the suggested rate.
func (r RateCurve) WritePicture(path string) error {
	first, lo := r.Smooth[0], slices.Min(r.Smooth)
	most := first + 2*(first-lo) // what diverges beyond that would leave no room for the rest
	var losses, smooth picture.Curve
	losses.Name, smooth.Name = "loss of a step", "smoothed"
	for i, rate := range r.Rates {
		if max(r.Losses[i], r.Smooth[i]) > most && rate > r.Lowest && r.Lowest > 0 {
			break
		}
		losses.X, losses.Y = append(losses.X, rate), append(losses.Y, r.Losses[i])
		smooth.X, smooth.Y = append(smooth.X, rate), append(smooth.Y, r.Smooth[i])
	}
	curves := []picture.Curve{losses, smooth}
	if r.Steepest > 0 {
		curves = append(curves, picture.Curve{Name: fmt.Sprintf("steepest: %.2g", r.Steepest), X: []float64{r.Steepest, r.Steepest}, Y: []float64{lo, first}})
	}
	return use.WritePlot(path, picture.Losses{Curves: curves, CurveOptions: picture.CurveOptions{Title: "Loss by learning rate", XLabel: "learning rate", LogX: true}})
}
