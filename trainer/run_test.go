package trainer

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/convae/convae/cuda"
	"github.com/convae/convae/cuda/driver"
	"github.com/convae/convae/cuda/ptxsim"
)

// Runs that are started at the same moment with one name get a folder each.
func TestNewFolders(t *testing.T) {
	base := filepath.Join(t.TempDir(), "runs", "x")
	const n = 8
	var wg sync.WaitGroup
	dirs := make([]string, n)
	for i := range n {
		wg.Add(1)
		go func() {
			defer wg.Done()
			dir, err := newFolder(base)
			if err != nil {
				t.Error(err)
			}
			dirs[i] = dir
		}()
	}
	wg.Wait()
	seen := map[string]bool{}
	for _, d := range dirs {
		if seen[d] || !strings.HasPrefix(d, base) {
			t.Errorf("folders %q", dirs)
		}
		seen[d] = true
	}
	o := pointsOptions(t, base)
	o.New = true
	if r, err := Train(t.Context(), pointsConfig(), o); err != nil || r.Dir != fmt.Sprintf("%s-%d", base, n+1) || len(readFile(t, r.Dir, ModelFile)) == 0 {
		t.Errorf("folder %s, %v", r.Dir, err)
	}
}

// Of two that train in one folder the second is told who the first is. What a dead one has left is no obstacle.
func TestLock(t *testing.T) {
	o := points(t)
	if text := string(readFile(t, o.Dir, lockFile)); !strings.HasPrefix(text, fmt.Sprintf("process %d on ", os.Getpid())) {
		t.Errorf("the lock says %q", text)
	}
	if err := CheckUnused(o.Dir); err != nil { // the run has ended
		t.Error(err)
	}
	unlock, err := lockRun(o.Dir)
	if err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf("process %d on ", os.Getpid())
	if err := CheckUnused(o.Dir); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("error %v", err)
	}
	fresh := o
	fresh.Resume, fresh.Continue = false, true
	for _, o := range []Options{o, fresh} {
		if _, err := Train(t.Context(), pointsConfig(), o); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "is training there") {
			t.Errorf("error %v, want the process that trains there", err)
		}
	}
	unlock()
	if _, err := Train(t.Context(), pointsConfig(), o); err != nil {
		t.Error(err)
	}
}

// A folder with nothing but what a system or a log leaves there is empty; one with an earlier run says how to go on.
func TestCheckEmpty(t *testing.T) {
	for _, c := range []struct{ file, want string }{
		{".DS_Store", ""}, {".nfs0000000000a1b2c3", ""}, {"Thumbs.db", ""}, {"train.log", ""}, {"log.txt", ""}, {"slurm-17.out", ""}, {lockFile, ""},
		{"thesis.pdf", "is not empty: it has thesis.pdf"},
		{ConfigFile, "before its first checkpoint: start it again with --out DIR --continue"},
		{filepath.Join(checkpointDir, "step-000000004.safetensors"), "is not empty: choose another, or go on with --resume DIR"},
	} {
		dir := filepath.Join(t.TempDir(), "run")
		path := filepath.Join(dir, c.file)
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("x"), 0o666); err != nil {
			t.Fatal(err)
		}
		_, err := Train(t.Context(), pointsConfig(), pointsOptions(t, dir))
		if want := strings.ReplaceAll(c.want, "DIR", dir); (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q", c.file, err, want)
		}
	}
}

// slow makes each replay of a recorded step last a while.
type slow struct{ driver.Driver }

type slowDevice struct{ driver.Device }

type slowStream struct{ driver.Stream }

const slowStep = 4 * time.Millisecond

func (s slow) Open(i int) (driver.Device, error) {
	d, err := s.Driver.Open(i)
	return slowDevice{d}, err
}

func (d slowDevice) NewStream() (driver.Stream, error) {
	s, err := d.Device.NewStream()
	return slowStream{s}, err
}

func (s slowStream) Replay(g driver.Graph) error {
	time.Sleep(slowStep)
	return s.Stream.Replay(g)
}

// rates is an Observer that remembers the highest rate that it heard.
type rates struct {
	silent
	highest float64
}

func (r *rates) Step(s Step) { r.highest = max(r.highest, s.Rate) }

// The time of an epoch is that of its work on a device that only begins when something waits for it, not that of asking
// for it, and not that of the epoch before.
func TestEpochTimes(t *testing.T) {
	dev, err := cuda.Open(&driver.Late{Driver: slow{ptxsim.New(ptxsim.Options{})}}, 0, "late")
	if err != nil {
		t.Fatal(err)
	}
	defer dev.Close()
	for _, every := range []int{1, 3} {
		o := pointsOptions(t, filepath.Join(t.TempDir(), "run"))
		heard := &rates{}
		o.Device, o.Observer = dev, heard
		c := pointsConfig()
		c.Training.Epochs, c.Training.Validation, c.Training.Batch = 6, every, 5
		r, err := Train(t.Context(), c, o)
		if err != nil {
			t.Fatal(err)
		}
		const steps, samples = 10, 50
		least := steps * slowStep.Seconds()
		for _, e := range r.History {
			if e.Seconds < least || e.Rate > samples/least {
				t.Errorf("validation every %d: epoch %d took %v s, %v samples/s; want at least %v s", every, e.Epoch, e.Seconds, e.Rate, least)
			}
		}
		if every == 3 && r.History[1].Seconds > 3*r.History[0].Seconds {
			t.Errorf("epoch 6 took %v s, epoch 3 %v s: the time of others is in it", r.History[1].Seconds, r.History[0].Seconds)
		}
		if heard.highest <= 0 || heard.highest > samples/least {
			t.Errorf("the observer heard of %v samples/s, want at most %v", heard.highest, samples/least)
		}
	}
}
