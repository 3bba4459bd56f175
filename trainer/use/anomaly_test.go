package use_test

import (
	"context"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/convae/convae/trainer/dataset"
	"github.com/convae/convae/trainer/use"
)

// The threshold is fitted to the usual samples that are normal, and both shares are of their own kind of samples.
func TestFindAnomalies(t *testing.T) {
	set := func(labels []uint8, values ...float32) *dataset.Set {
		return &dataset.Set{H: 1, W: 1, C: 2, Values: values, Labels: labels}
	}
	ctx, net := context.Background(), lineNetwork()
	usual := set(nil, 0, 0, 0, 2, 0, 6)                                 // scores 0, 2, 18
	points := set([]uint8{0, 0, 1, 1, 1}, 1, 1, 0, 4, 0, 1, 0, 8, 0, 6) // scores 0, 8, 0.5, 32, 18
	o := use.AnomalyOptions{Quantile: 1, Usual: []bool{true, true, false}, Normal: []bool{true, true, false, false, false}}
	a, err := use.FindAnomalies(ctx, net, usual, points, o)
	if err != nil {
		t.Fatal(err)
	}
	d := a.Detection
	if a.Fitted != 2 || a.Threshold != 2 || a.Found != 3 || d.Normal != 2 || d.Anomalous != 3 || d.FalseAlarm != 0.5 || d.Found != 2.0/3 || math.Abs(d.AUC-5.0/6) > 1e-12 {
		t.Errorf("found %+v", a)
	}
	if r := a.Ranking(); r[0].Index != 3 || r[1].Index != 4 || r[4].Index != 0 || a.Scores[0].Index != 0 {
		t.Errorf("ranking is %+v", r)
	}
	if a, err = use.FindAnomalies(ctx, net, usual, points, use.AnomalyOptions{Quantile: 0.5}); err != nil || a.Threshold != 2 || a.Fitted != 3 || a.Detection != (use.Detection{}) {
		t.Errorf("of unknown normal samples: %+v, %v", a, err)
	}
	for want, o := range map[string]use.AnomalyOptions{
		"is 0, want more than 0":              {},
		"is NaN, want more than 0":            {Quantile: math.NaN()},
		"of 3 usual samples 1 are said":       {Quantile: 1, Usual: []bool{true}},
		"none of the usual samples":           {Quantile: 1, Usual: make([]bool, 3)},
		"of 5 samples 2 are said":             {Quantile: 1, Normal: []bool{true, false}},
		"samples that are normal and samples": {Quantile: 1, Normal: make([]bool, 5)},
	} {
		if _, err := use.FindAnomalies(ctx, net, usual, points, o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error is %v, want %q in it", err, want)
		}
	}
}

// Work that goes over many samples ends with its context.
func TestEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	set, net := &dataset.Set{H: 1, W: 1, C: 2, Values: []float32{1, 1, 2, 3}}, lineNetwork()
	none := func([]float32, int, int) error { t.Error("samples are read"); return nil }
	_, anomalies := use.FindAnomalies(ctx, net, set, set, use.AnomalyOptions{Quantile: 1})
	_, compared := use.ComparePCA(ctx, net, set, set, 1)
	_, encoded := use.Encode(ctx, net, 2, none)
	_, decoded := use.Decode(ctx, net, 2, none)
	for _, err := range []error{anomalies, compared, encoded, decoded} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("error is %v, want context.Canceled", err)
		}
	}
}

// More codes than are held at a time come out in their order.
func TestDecodeMany(t *testing.T) {
	const n = use.ChunkSamples + 3
	y, err := use.Decode(context.Background(), lineNetwork(), n, func(dst []float32, lo, hi int) error {
		if hi-lo > use.ChunkSamples {
			t.Errorf("asks for %d codes at a time", hi-lo)
		}
		for i := range dst {
			dst[i] = float32(lo + i)
		}
		return nil
	})
	if err != nil || len(y) != 2*n {
		t.Fatal(len(y), err)
	}
	for i, v := range y {
		if v != float32(i/2) {
			t.Fatalf("value %d is %v, want %d", i, v, i/2)
		}
	}
}
