package use

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/convae/convae/nn"
	"github.com/convae/convae/trainer/dataset"
	"github.com/convae/convae/trainer/metric"
)

// Scoring says how the errors of a sample's pixels make its score. The zero Scoring is the mean squared error.
type Scoring struct {
	// Smooth is the standard deviation, in pixels, of a Gaussian by which the errors of an image's pixels are averaged first; 0 for none.
	Smooth float64
	// Max has the largest error of a pixel for the score, instead of the mean: a defect is small.
	Max bool
}

// MaxSmooth is the largest standard deviation that a Scoring takes.
const MaxSmooth = 1000

// Check reports a field that cannot be.
func (s Scoring) Check() error {
	if !(s.Smooth >= 0 && s.Smooth <= MaxSmooth) {
		return fmt.Errorf("the errors of pixels are smoothed by %v pixels, want 0 to %d", s.Smooth, MaxSmooth)
	}
	return nil
}

// score returns that of a sample with these errors.
func (s Scoring) score(errors []float64) float64 {
	if s.Max {
		return slices.Max(errors)
	}
	sum := 0.0
	for _, v := range errors {
		sum += v
	}
	return sum / float64(len(errors))
}

// SampleErrors returns the mean squared error with which the model reconstructs each sample: a sample unlike those that
// it was trained on has a large one. When ctx ends, it returns ctx's error soon.
func SampleErrors(ctx context.Context, net *nn.Network, set *dataset.Set) ([]float64, error) {
	return sampleScores(ctx, net, set, Scoring{}, nil)
}

// sampleScores returns the score of each sample. each, if it is not nil, is given the errors of each sample's pixels, in the order of the samples.
func sampleScores(ctx context.Context, net *nn.Network, set *dataset.Set, o Scoring, each func(i int, errors []float64) error) ([]float64, error) {
	if err := CheckSet(net.Model(), nn.MSE, set); err != nil {
		return nil, err
	}
	if set.Len() == 0 {
		return nil, fmt.Errorf("data set %s is empty: want samples to score", set.Name)
	}
	size, chunk := set.Size(), min(Chunk(2*set.Size()), set.Len())
	x, y := make([]float32, chunk*size), make([]float32, chunk*size)
	errors, smooth := make([]float64, set.H*set.W), newSmoother(o.Smooth, set.H, set.W)
	scores := make([]float64, set.Len())
	for lo := 0; lo < set.Len(); lo += chunk {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		n := min(chunk, set.Len()-lo)
		if err := set.Read(x[:n*size], lo, lo+n); err != nil {
			return nil, err
		}
		if err := net.Predict(y[:n*size], x[:n*size], n); err != nil {
			return nil, err
		}
		for i := range n {
			if !squaredErrors(errors, x[i*size:][:size], y[i*size:][:size]) {
				return nil, fmt.Errorf("model %q makes values of sample %d that are not finite: train it anew, with a lower learning rate", net.Model().Config.Name, lo+i)
			}
			smooth.smooth(errors)
			scores[lo+i] = o.score(errors)
			if each == nil {
				continue
			}
			if err := each(lo+i, errors); err != nil {
				return nil, err
			}
		}
	}
	return scores, nil
}

// squaredErrors makes the mean of each pixel's channels, and reports whether all are finite.
func squaredErrors(errors []float64, x, y []float32) bool {
	channels := len(x) / len(errors)
	all := 0.0
	for p := range errors {
		sum := 0.0
		for j := p * channels; j < (p+1)*channels; j++ {
			d := float64(y[j]) - float64(x[j])
			sum += d * d
		}
		errors[p] = sum / float64(channels)
		all += sum
	}
	return all-all == 0
}

// AnomalyOptions say which samples are anomalies, and which of them should be, as far as that is known.
type AnomalyOptions struct {
	Quantile float64 // of the usual samples' scores, more than 0 and at most 1: what scores more is an anomaly
	Usual    []bool  // which of the usual samples are normal, so that the others do not count; nil for all of them
	Normal   []bool  // which samples are normal, so that the scores are judged by that; nil where it is not known
	Scoring
	// Masks has an image of one channel for each sample, where pixels of 0.5 and more are anomalous, so that the errors of pixels are judged
	// too; nil where there are none. See [dataset.Set.Masks].
	Masks *dataset.Set
	// Each, if it is not nil, is given the squared errors of each sample's pixels, smoothed, in the order of the samples.
	Each func(i int, errors []float64) error
}

// Anomalies are the scores of samples and what follows from them.
type Anomalies struct {
	Fitted    int       // usual samples that the threshold is fitted to
	Threshold float64   // the quantile of their scores
	Found     int       // samples that score more
	Scores    []Score   // of the samples, in their order
	Detection Detection // zero without AnomalyOptions.Normal
}

// Score is how badly a model reconstructs a sample.
type Score struct {
	Index   int     `json:"index"`
	File    string  `json:"file,omitempty"` // that the sample was read from, by its path from the folder on
	Score   float64 `json:"score"`          // mean squared error, or as Scoring has it
	Anomaly bool    `json:"anomaly"`
	Label   *uint8  `json:"label,omitempty"` // nil if the samples have none
	Class   string  `json:"class,omitempty"` // that the label stands for, if it has a name
}

// Detection compares anomalies with the samples that are anomalous.
type Detection struct {
	Normal     int     `json:"normal"`
	Anomalous  int     `json:"anomalous"`
	AUC        float64 `json:"roc_auc"`
	Found      float64 `json:"found"`       // share of the anomalous samples above the threshold
	FalseAlarm float64 `json:"false_alarm"` // share of the normal ones
	// PixelAUC is that of the pixels of all samples; nil without masks.
	PixelAUC *float64 `json:"pixel_roc_auc,omitempty"`
}

// FindAnomalies scores samples by the squared errors of their reconstruction. Those are anomalies that score more than
// a quantile of usual samples does, such as those that the model was validated on. When ctx ends, it returns ctx's error
// soon.
func FindAnomalies(ctx context.Context, net *nn.Network, usual, set *dataset.Set, o AnomalyOptions) (Anomalies, error) {
	if err := o.check(usual, set); err != nil {
		return Anomalies{}, err
	}
	fit, err := sampleScores(ctx, net, usual, o.Scoring, nil)
	if err != nil {
		return Anomalies{}, err
	}
	if o.Usual != nil {
		kept := fit[:0]
		for i, v := range fit {
			if o.Usual[i] {
				kept = append(kept, v)
			}
		}
		fit = kept
	}
	var pixels metric.ROC
	scores, err := sampleScores(ctx, net, set, o.Scoring, o.watch(&pixels))
	if err != nil {
		return Anomalies{}, err
	}
	a := Anomalies{Fitted: len(fit), Threshold: metric.Quantile(fit, o.Quantile)}
	files := set.Files()
	for i, v := range scores {
		s := Score{Index: i, Score: v, Anomaly: v > a.Threshold}
		if files != nil {
			s.File = files[i]
		}
		if set.Labels != nil {
			if s.Label = &set.Labels[i]; set.Classes != nil {
				s.Class = set.Class(set.Labels[i])
			}
		}
		if s.Anomaly {
			a.Found++
		}
		a.Scores = append(a.Scores, s)
	}
	if o.Normal != nil {
		a.Detection = detect(a.Scores, o.Normal)
	}
	if o.Masks != nil {
		auc := pixels.AUC()
		if math.IsNaN(auc) {
			return Anomalies{}, errors.New("to judge the errors of pixels takes masks in which some pixels are white and some are black")
		}
		a.Detection.PixelAUC = &auc
	}
	return a, nil
}

// watch returns what is done with the errors of each sample's pixels.
func (o AnomalyOptions) watch(pixels *metric.ROC) func(i int, errors []float64) error {
	var mask []float32
	return func(i int, errors []float64) error {
		if o.Masks != nil {
			mask = slices.Grow(mask[:0], len(errors))[:len(errors)]
			if err := o.Masks.Read(mask, i, i+1); err != nil {
				return err
			}
			for p, v := range errors {
				pixels.Add(float32(v), mask[p] >= 0.5)
			}
		}
		if o.Each != nil {
			return o.Each(i, errors)
		}
		return nil
	}
}

// check reports options that do not suit the samples.
func (o AnomalyOptions) check(usual, set *dataset.Set) error {
	switch {
	case !(o.Quantile > 0 && o.Quantile <= 1):
		return fmt.Errorf("the quantile of the usual scores is %v, want more than 0 and at most 1", o.Quantile)
	case o.Usual != nil && len(o.Usual) != usual.Len():
		return fmt.Errorf("of %d usual samples %d are said to be normal or not, want all", usual.Len(), len(o.Usual))
	case o.Usual != nil && !slices.Contains(o.Usual, true):
		return errors.New("none of the usual samples is normal, so there is nothing to fit the threshold to")
	case o.Normal != nil && len(o.Normal) != set.Len():
		return fmt.Errorf("of %d samples %d are said to be normal or not, want all", set.Len(), len(o.Normal))
	case o.Normal != nil && (!slices.Contains(o.Normal, true) || !slices.Contains(o.Normal, false)):
		return errors.New("to judge the scores takes samples that are normal and samples that are not")
	case o.Masks != nil && (o.Masks.Len() != set.Len() || o.Masks.H != set.H || o.Masks.W != set.W || o.Masks.C != 1):
		return fmt.Errorf("there are %d masks of %dx%d pixels with %d channels, want %d of %dx%d with one", o.Masks.Len(), o.Masks.H, o.Masks.W, o.Masks.C, set.Len(), set.H, set.W)
	}
	return o.Scoring.Check()
}

// detect compares scores with which samples are normal.
func detect(scores []Score, normal []bool) (d Detection) {
	values, anomalous := make([]float64, len(scores)), make([]bool, len(scores))
	for i, s := range scores {
		values[i], anomalous[i] = s.Score, !normal[i]
		above := 0.0
		if s.Anomaly {
			above = 1
		}
		if normal[i] {
			d.Normal++
			d.FalseAlarm += above
		} else {
			d.Anomalous++
			d.Found += above
		}
	}
	d.AUC = metric.AUC(values, anomalous)
	d.Found /= float64(d.Anomalous)
	d.FalseAlarm /= float64(d.Normal)
	return d
}

// Ranking returns the scores, the highest first.
func (a Anomalies) Ranking() []Score {
	return slices.SortedStableFunc(slices.Values(a.Scores), func(a, b Score) int { return cmp.Compare(b.Score, a.Score) })
}

// WithLabels tells which samples have one of some labels, and how many they are.
func WithLabels(labels []uint8, some []int) (has []bool, n int) {
	has = make([]bool, len(labels))
	for i, l := range labels {
		if has[i] = slices.Contains(some, int(l)); has[i] {
			n++
		}
	}
	return has, n
}
