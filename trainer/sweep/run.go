package sweep

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/trainer"
	"github.com/convae/convae/trainer/atomicfile"
	"github.com/convae/convae/trainer/dataset"
	"github.com/convae/convae/trainer/report"
)

// Files of a sweep's folder, which has the run of a trial in trial-001 and so on.
const (
	stateFile  = "sweep.json"
	tableFile  = "sweep.csv"
	reportFile = "report.html"
	pictureDir = "pictures"
)

// compared is how many runs are drawn beside the best in the report.
const compared = 7

// Options are the choices of Run.
type Options struct {
	Dir     string           // the sweep's folder: new or empty, or that of the same sweep, which goes on
	Devices []backend.Device // as many trials are trained side by side
	Say     func(string)     // hears what happens; may be nil
	Footer  string           // of the report
}

// Outcome is a trial and what has come of it.
type Outcome struct {
	Trial    int           `json:"trial"` // from 1
	Settings []Setting     `json:"settings"`
	Values   []float64     `json:"values,omitempty"` // of the metric, by rung of halving, or the last alone
	Last     trainer.Epoch `json:"last"`             // that counts: the last, or the best with keep_best
	Epochs   int           `json:"epochs"`           // trained
	Seconds  float64       `json:"seconds"`          // of training
	Error    string        `json:"error,omitempty"`  // it has failed, and is not tried again
}

// Result is a sweep that has ended.
type Result struct {
	Outcomes      []Outcome // the best first, those that failed last
	Columns       []string
	Rows          [][]string // of the table
	Table, Report string     // files
	Best          string     // folder of the best run that is there
	Interrupted   bool       // the context was cancelled; the same call goes on
}

// state is what a sweep's folder tells of it.
type state struct {
	File     *File     `json:"file"`
	Outcomes []Outcome `json:"outcomes"`
}

// sweep is one at work.
type sweep struct {
	f    *File
	o    Options
	mu   sync.Mutex // of what follows
	s    state
	data *shared // the data of all trials, if these are the same
}

// shared are data sets in memory.
type shared struct {
	asked, found trainer.Data // before and after they were loaded
	train, test  *dataset.Set
}

// Run trains the trials of a sweep, or those that are left of one that was interrupted or killed. A trial that fails, because its settings do not go together or
// because it diverges, has an Outcome with its error. It is an error if all fail.
func Run(ctx context.Context, f *File, o Options) (r Result, err error) {
	if o.Say == nil {
		o.Say = func(string) {}
	}
	w := &sweep{f: f, o: o}
	if err := os.MkdirAll(o.Dir, 0o777); err != nil {
		return r, fmt.Errorf("sweep folder: %w", err)
	}
	unlock, err := trainer.Lock(o.Dir)
	if err != nil {
		return r, err
	}
	defer unlock()
	if err := w.open(); err != nil {
		return r, err
	}
	defer w.close()
	alive := make([]int, len(w.s.Outcomes))
	for i := range alive {
		alive[i] = i
	}
	rungs := f.rungs()
	for rung, epochs := range rungs {
		if err := w.train(ctx, alive, rung, epochs); err != nil {
			return r, err
		}
		if ctx.Err() != nil {
			return Result{Interrupted: true}, nil
		}
		alive = slices.DeleteFunc(alive, func(i int) bool { return w.s.Outcomes[i].Error != "" })
		w.rank(alive, rung)
		if rung < len(rungs)-1 {
			all := len(alive)
			alive = alive[:(all+f.Halving.Factor-1)/f.Halving.Factor]
			w.o.Say(fmt.Sprintf("after %s %d of %d trials go on", epochsText(epochs), len(alive), all))
		}
	}
	return w.finish(ctx)
}

// open reads the state of a sweep that goes on, or begins one.
func (w *sweep) open() error {
	path := filepath.Join(w.o.Dir, stateFile)
	text, err := os.ReadFile(path)
	settings, errSettings := w.f.Settings()
	switch {
	case errSettings != nil:
		return errSettings
	case errors.Is(err, fs.ErrNotExist):
		if err := w.checkEmpty(); err != nil {
			return err
		}
	case err != nil:
		return fmt.Errorf("sweep folder: %w", err)
	default:
		if err := json.Unmarshal(text, &w.s); err != nil || w.s.File == nil {
			return fmt.Errorf("sweep folder: %s is not as a sweep writes it (%v): choose another folder", path, err)
		}
		if err := w.sameFile(); err != nil {
			return err
		}
	}
	for i := len(w.s.Outcomes); i < len(settings); i++ {
		w.s.Outcomes = append(w.s.Outcomes, Outcome{Trial: i + 1, Settings: settings[i]})
	}
	w.s.File = w.f
	return w.save()
}

func (w *sweep) checkEmpty() error {
	entries, err := os.ReadDir(w.o.Dir)
	if err != nil {
		return fmt.Errorf("sweep folder: %w", err)
	}
	for _, e := range entries {
		if name := e.Name(); !strings.HasPrefix(name, ".") && !atomicfile.IsTemp(name) {
			return fmt.Errorf("sweep folder %s is not empty: it has %s and no %s to go on from: choose another", w.o.Dir, name, stateFile)
		}
	}
	return nil
}

// sameFile reports a sweep other than the one that the folder has. More trials may be asked of a random search that trains all to the end.
func (w *sweep) sameFile() error {
	before, now := *w.s.File, *w.f
	if now.Halving == nil && now.Trials > before.Trials {
		before.Trials = now.Trials
	}
	a, errA := json.Marshal(before)
	b, errB := json.Marshal(now)
	if err := errors.Join(errA, errB); err != nil {
		return err
	}
	if string(a) != string(b) {
		return fmt.Errorf("sweep folder %s has another sweep: choose another folder (only the trials of a random search without halving may become more)", w.o.Dir)
	}
	return nil
}

// save writes the state and the table.
func (w *sweep) save() error {
	return atomicfile.Write(filepath.Join(w.o.Dir, stateFile), func(out io.Writer) error {
		e := json.NewEncoder(out)
		e.SetIndent("", "  ")
		return e.Encode(w.s)
	})
}

func (w *sweep) close() {
	if w.data != nil {
		_ = errors.Join(w.data.train.Close(), w.data.test.Close()) // they are in memory
	}
}

// train brings trials to a rung, on all devices at the same time. Errors are those of the sweep itself.
func (w *sweep) train(ctx context.Context, trials []int, rung, epochs int) error {
	todo := make(chan int, len(trials))
	for _, i := range trials {
		if o := &w.s.Outcomes[i]; o.Error == "" && len(o.Values) <= rung {
			todo <- i
		}
	}
	close(todo)
	var all sync.WaitGroup
	errs := make([]error, len(w.o.Devices))
	for k, dev := range w.o.Devices {
		all.Go(func() {
			for i := range todo {
				if ctx.Err() != nil || errs[k] != nil {
					return
				}
				errs[k] = w.trial(ctx, dev, i, epochs)
			}
		})
	}
	all.Wait()
	return errors.Join(errs...)
}

// trial trains one, and books what comes of it.
func (w *sweep) trial(ctx context.Context, dev backend.Device, i, epochs int) error {
	w.mu.Lock()
	o := w.s.Outcomes[i]
	w.mu.Unlock()
	r, keepBest, err := w.fit(ctx, dev, &o, epochs)
	switch {
	case ctx.Err() != nil && (r.Interrupted || err != nil):
		return nil // it goes on from its checkpoint
	case err == nil && len(r.History) == 0:
		err = errors.New("training ended before its first validation")
	}
	name := fmt.Sprintf("trial %d of %d (%s)", o.Trial, len(w.s.Outcomes), settingsText(o.Settings))
	if err != nil {
		o.Error = strings.Join(strings.Fields(err.Error()), " ")
		w.o.Say(name + " has failed: " + o.Error)
	} else {
		o.book(r, keepBest, w.f)
		w.o.Say(fmt.Sprintf("%s: %s %.6g after %s", name, w.f.Metric, o.Values[len(o.Values)-1], epochsText(o.Epochs)))
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.s.Outcomes[i] = o
	return w.save()
}

// book takes what counts of a history.
func (o *Outcome) book(r trainer.Result, keepBest bool, f *File) {
	h := r.History
	o.Last, o.Epochs, o.Seconds = h[len(h)-1], h[len(h)-1].Epoch, 0
	for _, e := range h {
		o.Seconds += e.Seconds
		if keepBest && e.Epoch == r.BestAt {
			o.Last = e
		}
	}
	o.Values = append(o.Values, f.value(o.Last))
}

// value is the metric of an epoch.
func (f *File) value(e trainer.Epoch) float64 {
	for _, m := range metrics {
		if m.name == f.Metric {
			return m.of(e)
		}
	}
	return 0 // there is no other, as the file is checked
}

// higher reports whether more of the metric is better.
func (f *File) higher() bool {
	for _, m := range metrics {
		if m.name == f.Metric {
			return m.higher
		}
	}
	return false
}

// fit trains a trial up to so many epochs, or to its end. Its run goes on if it has begun.
func (w *sweep) fit(ctx context.Context, dev backend.Device, o *Outcome, epochs int) (r trainer.Result, keepBest bool, err error) {
	c, err := w.f.configs(o.Settings)
	if err != nil {
		return r, false, err
	}
	if epochs > 0 {
		t := &c.Training
		if t.Schedule.Name == "cosine" && t.Schedule.Epochs == 0 { // it is that of a whole training
			t.Schedule.Epochs = float64(t.Epochs)
		}
		if t.Temperature.Epochs == 0 && t.Temperature.Start > 0 {
			t.Temperature.Epochs = float64(t.Epochs)
		}
		t.Epochs = epochs
	}
	if err := c.CheckTraining(); err != nil {
		return r, false, err
	}
	train, test, done, err := w.load(ctx, &c.Data)
	if err != nil {
		return r, false, err
	}
	defer done()
	r, err = trainer.Train(ctx, c, trainer.Options{Dir: w.run(o.Trial), Continue: true, Device: dev, Train: train, Test: test})
	return r, c.Training.KeepBest, err
}

// run is the folder of a trial.
func (w *sweep) run(trial int) string {
	return filepath.Join(w.o.Dir, fmt.Sprintf("trial-%03d", trial))
}

// load loads the data of a trial, or gives it those of all.
func (w *sweep) load(ctx context.Context, d *trainer.Data) (train, test *dataset.Set, done func(), err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.data != nil && reflect.DeepEqual(*d, w.data.asked) {
		*d = w.data.found
		return w.data.train, w.data.test, func() {}, nil
	}
	asked := *d
	if train, test, err = trainer.LoadData(ctx, d, nil); err != nil {
		return nil, nil, nil, err
	}
	vary := train.Streamed() || test.Streamed()
	for path := range w.f.Parameters {
		vary = vary || strings.HasPrefix(path, "data.") || strings.HasPrefix(path, "model.input") // whose size pictures have
	}
	if vary {
		return train, test, func() { _ = errors.Join(train.Close(), test.Close()) }, nil // they were read
	}
	w.data = &shared{asked, *d, train, test}
	return train, test, func() {}, nil
}

// rank puts the trials that have come to a rung in order, the best first.
func (w *sweep) rank(trials []int, rung int) {
	slices.SortStableFunc(trials, func(a, b int) int {
		x, y := w.s.Outcomes[a].Values[rung], w.s.Outcomes[b].Values[rung]
		if w.f.higher() {
			x, y = y, x
		}
		switch {
		case x < y:
			return -1
		case x > y:
			return 1
		}
		return 0
	})
}

// finish writes the table and the report.
func (w *sweep) finish(ctx context.Context) (r Result, err error) {
	r.Outcomes = w.ordered()
	r.Table, r.Report = filepath.Join(w.o.Dir, tableFile), filepath.Join(w.o.Dir, reportFile)
	r.Columns, r.Rows = w.table(r.Outcomes)
	err = atomicfile.Write(r.Table, func(out io.Writer) error {
		c := csv.NewWriter(out)
		return errors.Join(c.Write(r.Columns), c.WriteAll(r.Rows))
	})
	if err != nil {
		return r, err
	}
	best := r.Outcomes[0]
	if best.Error != "" {
		return r, fmt.Errorf("all %d trials have failed, trial %d because %s", len(r.Outcomes), best.Trial, best.Error)
	}
	o := report.Options{Device: w.o.Devices[0], HTML: r.Report, Pictures: filepath.Join(w.o.Dir, pictureDir), Footer: w.o.Footer,
		Table: report.Table{Title: fmt.Sprintf("Trials, by %s", w.f.Metric), Columns: r.Columns, Rows: r.Rows}}
	for _, trial := range r.Outcomes {
		run := w.run(trial.Trial)
		switch _, err := os.Stat(filepath.Join(run, trainer.ModelFile)); {
		case trial.Error != "" || r.Best != "" && len(o.Compare) == compared:
		case errors.Is(err, fs.ErrNotExist):
			w.o.Say(fmt.Sprintf("trial %d is left out of the report: its model, in %s, has been deleted", trial.Trial, run))
		case r.Best == "":
			r.Best = run
		default:
			o.Compare = append(o.Compare, run)
		}
	}
	if r.Best == "" {
		return r, fmt.Errorf("there is no report: the folders of all trials in %s have been deleted", w.o.Dir)
	}
	if _, err = report.Make(ctx, r.Best, o); ctx.Err() != nil {
		return Result{Interrupted: true}, nil
	}
	return r, err
}

// ordered are the outcomes: of those that have come furthest the best first, and at last those that failed.
func (w *sweep) ordered() []Outcome {
	var trials, failed []int
	furthest := 0
	for i, o := range w.s.Outcomes {
		furthest = max(furthest, len(o.Values))
		if o.Error != "" {
			failed = append(failed, i)
		}
	}
	for rung := furthest - 1; rung >= 0; rung-- {
		var here []int
		for i, o := range w.s.Outcomes {
			if o.Error == "" && len(o.Values) == rung+1 {
				here = append(here, i)
			}
		}
		w.rank(here, rung)
		trials = append(trials, here...)
	}
	var list []Outcome
	for _, i := range slices.Concat(trials, failed) {
		list = append(list, w.s.Outcomes[i])
	}
	return list
}

// table is a row for each trial.
func (w *sweep) table(outcomes []Outcome) (columns []string, rows [][]string) {
	columns = []string{"trial"}
	for _, s := range outcomes[0].Settings {
		columns = append(columns, s.Path)
	}
	columns = append(columns, "epochs", w.f.Metric)
	others := slices.Clone(metrics)
	for i := len(others) - 1; i >= 0; i-- {
		m := others[i]
		means := slices.ContainsFunc(outcomes, func(o Outcome) bool { return m.of(o.Last) != 0 }) // as PSNR does of images alone
		if m.name == w.f.Metric || !means {
			others = slices.Delete(others, i, i+1)
		}
	}
	for _, m := range others {
		columns = append(columns, m.name)
	}
	columns = append(columns, "seconds", "error")
	g := func(v float64) string { return strconv.FormatFloat(v, 'g', 6, 64) }
	for _, o := range outcomes {
		row := []string{strconv.Itoa(o.Trial)}
		for _, s := range o.Settings {
			row = append(row, plain(s.Value))
		}
		if len(o.Values) == 0 {
			row = append(row, slices.Repeat([]string{""}, len(others)+3)...)
		} else {
			row = append(row, strconv.Itoa(o.Epochs), g(w.f.value(o.Last)))
			for _, m := range others {
				row = append(row, g(m.of(o.Last)))
			}
			row = append(row, strconv.FormatFloat(o.Seconds, 'f', 1, 64))
		}
		rows = append(rows, append(row, o.Error))
	}
	return columns, rows
}

// plain is a value as a person writes it.
func plain(value string) string {
	if text, err := strconv.Unquote(value); err == nil {
		return text
	}
	return value
}

func epochsText(n int) string {
	if n == 1 {
		return "1 epoch"
	}
	return fmt.Sprintf("%d epochs", n)
}

func settingsText(settings []Setting) string {
	var parts []string
	for _, s := range settings {
		parts = append(parts, s.Path+"="+plain(s.Value))
	}
	return strings.Join(parts, " ")
}
