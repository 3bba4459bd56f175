package trainer

import (
	"context"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/convae/convae/nn"
	"github.com/convae/convae/nn/collective/collectivetest"
	"github.com/convae/convae/trainer/dataset"
)

// onRanks trains on so many ranks, each a goroutine, and returns what each ends with. change is called before, with the rank.
func onRanks(t *testing.T, n int, ctx func(rank int) context.Context, dir string, change func(rank int, c *Config, o *Options)) ([]Result, []error) {
	t.Helper()
	results, errs := make([]Result, n), make([]error, n)
	var all sync.WaitGroup
	for rank, comm := range collectivetest.Ranks(n) {
		c, o := smallConfig(), smallOptions(t, dir)
		o.Ranks = comm
		change(rank, &c, &o)
		all.Go(func() {
			if results[rank], errs[rank] = Train(ctx(rank), c, o); errs[rank] != nil {
				comm.Abort(errs[rank])
			}
		})
	}
	all.Wait()
	return results, errs
}

// A run of several ranks is that of one. Interrupted on any of them it ends on all, and goes on with another number of ranks, which it says and the
// history tells.
func TestRanks(t *testing.T) {
	root := t.TempDir()
	whole := filepath.Join(root, "whole")
	if _, err := Train(t.Context(), smallConfig(), smallOptions(t, whole)); err != nil {
		t.Fatal(err)
	}
	plain := func(int, *Config, *Options) {}
	together := filepath.Join(root, "together")
	background := func(int) context.Context { return t.Context() }
	if _, errs := onRanks(t, 3, background, together, plain); errs[0] != nil || errs[1] != nil || errs[2] != nil {
		t.Fatal(errs)
	}
	sameRun(t, whole, together)
	cut := filepath.Join(root, "cut")
	results, errs := onRanks(t, 2, func(rank int) context.Context {
		if rank == 1 {
			return &countdown{Context: t.Context(), left: 5}
		}
		return t.Context()
	}, cut, plain)
	for rank := range results {
		if errs[rank] != nil || !results[rank].Interrupted {
			t.Errorf("rank %d: interrupted %v, error %v", rank, results[rank].Interrupted, errs[rank])
		}
	}
	heard := new(notes)
	if _, errs := onRanks(t, 3, background, cut, func(rank int, _ *Config, o *Options) {
		o.Resume = true
		if rank == 0 {
			o.Observer = heard
		}
	}); errs[0] != nil {
		t.Fatal(errs)
	}
	sameRun(t, whole, cut)
	const said = "devices: 2 -> 3 (batches stay as they were)"
	if text := strings.Join(heard.said, "\n"); !strings.Contains(text, said) {
		t.Errorf("notes are %q, want %q", text, said)
	}
	if text := string(readFile(t, cut, "history.csv")); !strings.Contains(text, said) {
		t.Errorf("the history lacks %q:\n%s", said, text)
	}
}

// Ranks share validation, and end with the best epoch's weights, or their average, as one process does.
func TestRanksKeepBest(t *testing.T) {
	root := t.TempDir()
	change := func(_ int, c *Config, o *Options) {
		c.Training.KeepBest, c.Training.EMADecay, c.Training.Optimizer.LearningRate = true, 0.5, 0.05
		c.Training.Schedule = nn.Schedule{Name: "plateau", Patience: 1}
		o.Train, o.Test = o.Train.Slice(0, 40), dataset.Digits(1100, 2) // three chunks
	}
	c, o := smallConfig(), smallOptions(t, filepath.Join(root, "one"))
	change(0, &c, &o)
	if _, err := Train(t.Context(), c, o); err != nil {
		t.Fatal(err)
	}
	if _, errs := onRanks(t, 2, func(int) context.Context { return t.Context() }, filepath.Join(root, "two"), change); errs[0] != nil || errs[1] != nil {
		t.Fatal(errs)
	}
	sameRun(t, filepath.Join(root, "one"), filepath.Join(root, "two"))
}

// Ranks that are not alike do not begin, and each knows why.
func TestRanksUnlike(t *testing.T) {
	for _, c := range []struct {
		change func(c *Config, o *Options)
		want   string
	}{
		{func(c *Config, o *Options) { o.Train = o.Train.Slice(1, o.Train.Len()) }, "rank 1 has read other training samples than rank 0"},
		{func(c *Config, o *Options) { c.Training.Seed = 6 }, "rank 1 has another configuration than rank 0 (training.seed: 6, rank 0 has 5)"},
		{func(c *Config, o *Options) { c.Training.Epochs = -1 }, "rank 1: training.epochs is -1"},
	} {
		dir := filepath.Join(t.TempDir(), "run")
		_, errs := onRanks(t, 2, func(int) context.Context { return t.Context() }, dir, func(rank int, cfg *Config, o *Options) {
			if rank == 1 {
				c.change(cfg, o)
			}
		})
		for rank, err := range errs {
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("rank %d: error %v, want %q", rank, err, c.want)
			}
		}
		if fileExists(filepath.Join(dir, ConfigFile)) {
			t.Errorf("%s: a run was begun", c.want)
		}
	}
}
