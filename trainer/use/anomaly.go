package use

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/convae/convae/nn"
	"github.com/convae/convae/trainer/dataset"
	"github.com/convae/convae/trainer/metric"
)

// SampleErrors returns the mean squared error with which the model reconstructs each sample: a sample unlike those that
// it was trained on has a large one. When ctx ends, it returns ctx's error soon.
func SampleErrors(ctx context.Context, net *nn.Network, set *dataset.Set) ([]float64, error) {
	if err := CheckSet(net.Model(), nn.MSE, set); err != nil {
		return nil, err
	}
	if set.Len() == 0 {
		return nil, fmt.Errorf("data set %s is empty: want samples to score", set.Name)
	}
	size, chunk := set.Size(), min(Chunk(2*set.Size()), set.Len())
	x, y := make([]float32, chunk*size), make([]float32, chunk*size)
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
			sum := 0.0
			for j := i * size; j < (i+1)*size; j++ {
				d := float64(y[j]) - float64(x[j])
				sum += d * d
			}
			if sum-sum != 0 {
				return nil, fmt.Errorf("model %q makes values of sample %d that are not finite: train it anew, with a lower learning rate", net.Model().Config.Name, lo+i)
			}
			scores[lo+i] = sum / float64(size)
		}
	}
	return scores, nil
}

// AnomalyOptions say which samples are anomalies, and which of them should be, as far as that is known.
type AnomalyOptions struct {
	Quantile float64 // of the usual samples' scores, more than 0 and at most 1: what scores more is an anomaly
	Usual    []bool  // which of the usual samples are normal, so that the others do not count; nil for all of them
	Normal   []bool  // which samples are normal, so that the scores are judged by that; nil where it is not known
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
	Score   float64 `json:"score"` // mean squared error
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
}

// FindAnomalies scores samples by the mean squared error of their reconstruction. Those are anomalies that score more than
// a quantile of usual samples does, such as those that the model was validated on. When ctx ends, it returns ctx's error
// soon.
func FindAnomalies(ctx context.Context, net *nn.Network, usual, set *dataset.Set, o AnomalyOptions) (Anomalies, error) {
	if err := o.check(usual, set); err != nil {
		return Anomalies{}, err
	}
	fit, err := SampleErrors(ctx, net, usual)
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
	scores, err := SampleErrors(ctx, net, set)
	if err != nil {
		return Anomalies{}, err
	}
	a := Anomalies{Fitted: len(fit), Threshold: metric.Quantile(fit, o.Quantile)}
	for i, v := range scores {
		s := Score{Index: i, Score: v, Anomaly: v > a.Threshold}
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
	return a, nil
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
	}
	return nil
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
