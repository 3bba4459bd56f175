// Package report draws what a trained run has learnt, and puts the pictures, the metrics and the configuration on one HTML
// page that needs nothing besides itself.
package report

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/convae/convae/nn"
	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/trainer"
	"github.com/convae/convae/trainer/dataset"
	"github.com/convae/convae/trainer/use"
)

// Options are the choices of [Make].
type Options struct {
	Device   backend.Device
	HTML     string   // file of the report; "": report.html in the run's folder
	Pictures string   // folder of the pictures, which is made; "": pictures in the run's folder
	Compare  []string // folders of other runs, whose validation losses are drawn beside the run's
	DataDir  string   // folder that the run's data are in now; "": where its configuration says
	// SkipUnreadable leaves out the pictures of the run's data that cannot be read now, as [trainer.Data] has it.
	SkipUnreadable bool
	Loading        func(trainer.Loading) // is told what the data are, and what of them is left out; may be nil

	Samples int    // most validation samples whose codes are drawn; below 1: 5000
	Footer  string // says what made the report
	Table   Table  // before all else, if it has rows
}

// Table is text by rows.
type Table struct {
	Title   string
	Columns []string
	Rows    [][]string
}

// Result says where a report is.
type Result struct {
	HTML     string
	Pictures []string
}

// The places of a report in a run's folder, and the samples whose codes it draws.
const (
	htmlFile       = "report.html"
	pictureDir     = "pictures"
	defaultSamples = 5000
)

// report is one that is being made.
type report struct {
	o       Options
	dir     string // of the run
	m       *nn.Model
	c       trainer.Config
	history []trainer.Epoch
	others  []otherRun
	train   int // samples
	set     *dataset.Set
	net     *nn.Network
	e       use.Evaluation
	codes   *codes // nil if they are too large to draw
	figures []figure
	notes   []string // what is missing, and why
}

// otherRun is one to compare with.
type otherRun struct {
	name    string
	c       trainer.Config
	history []trainer.Epoch
}

// figure is a picture of the report.
type figure struct {
	Title, Caption, Alt string
	Paper               bool // a sheet of images, which is not white
	path                string
}

// Make writes the report of a run, which is its folder or the model.safetensors in it, and its pictures. It runs the model
// on the samples that the run was validated on, with the noise that it was trained with.
//
// It is an error, which names the file, if the model, its data or the history of a run cannot be read. A cancelled
// context ends it before the next picture.
func Make(ctx context.Context, run string, o Options) (Result, error) {
	r := &report{o: o}
	if err := r.read(run); err != nil {
		return Result{}, err
	}
	data := r.c.Data
	if o.DataDir != "" {
		data.Dir = o.DataDir
	}
	if o.SkipUnreadable {
		data.SkipUnreadable = true
	}
	train, validation, err := trainer.LoadData(ctx, &data, o.Loading)
	if err != nil {
		return Result{}, err
	}
	defer train.Close()
	defer validation.Close()
	r.train, r.set = train.Len(), validation
	if err := r.c.CheckValidation(r.m, validation); err != nil {
		return Result{}, err
	}
	if r.net, err = nn.NewNetwork(r.m, o.Device, nn.NetworkOptions{}); err != nil {
		return Result{}, err
	}
	defer r.net.Close()
	return r.make(ctx)
}

// read reads what the run and those to compare with have in their folders.
func (r *report) read(run string) (err error) {
	if r.m, r.c, err = trainer.LoadModel(run); err != nil {
		return err
	}
	r.dir = runDir(run)
	if r.o.HTML == "" {
		r.o.HTML = filepath.Join(r.dir, htmlFile)
	}
	if r.o.Pictures == "" {
		r.o.Pictures = filepath.Join(r.dir, pictureDir)
	}
	if r.o.Samples < 1 {
		r.o.Samples = defaultSamples
	}
	if r.history, err = trainer.ReadHistory(r.dir); err != nil {
		return err
	}
	for _, path := range r.o.Compare {
		other := otherRun{name: filepath.Base(filepath.Clean(path))}
		dir := runDir(path)
		if other.c, err = trainer.ReadConfig(filepath.Join(dir, trainer.ConfigFile)); err != nil {
			return fmt.Errorf("compare with %s: %w", path, err)
		}
		if other.history, err = trainer.ReadHistory(dir); err != nil {
			return fmt.Errorf("compare with %s: %w", path, err)
		}
		if len(other.history) == 0 {
			return fmt.Errorf("compare with %s: its history has no epoch yet, want a run that was validated once", path)
		}
		if slices.ContainsFunc(r.others, func(o otherRun) bool { return o.name == other.name }) {
			other.name = path
		}
		r.others = append(r.others, other)
	}
	return nil
}

// runDir returns the folder of a run that is named by it or by a file in it.
func runDir(run string) string {
	if info, err := os.Stat(run); err == nil && !info.IsDir() {
		return filepath.Dir(run)
	}
	return run
}

// make measures the model, draws the pictures and writes the page.
func (r *report) make(ctx context.Context) (Result, error) {
	var err error
	tr := r.c.Training
	if r.e, err = use.Evaluate(ctx, r.net, r.set, tr.Loss, tr.Corrupted(), tr.Seed, true); err != nil {
		return Result{}, err
	}
	if err := os.MkdirAll(r.o.Pictures, 0o777); err != nil {
		return Result{}, fmt.Errorf("folder of pictures: %w", err)
	}
	for _, draw := range []func(context.Context) error{r.readCodes, r.analysis, r.rows, r.latent, r.manifold, r.filters, r.losses} {
		if err := ctx.Err(); err != nil {
			return Result{}, err
		}
		if err := draw(ctx); err != nil {
			return Result{}, err
		}
	}
	if err := r.write(); err != nil {
		return Result{}, err
	}
	res := Result{HTML: r.o.HTML}
	for _, f := range r.figures {
		res.Pictures = append(res.Pictures, f.path)
	}
	return res, nil
}

// add adds a figure of that file name, drawn by draw.
func (r *report) add(name string, f figure, draw func(path string) error) error {
	f.path = filepath.Join(r.o.Pictures, name)
	if err := draw(f.path); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	r.figures = append(r.figures, f)
	return nil
}
