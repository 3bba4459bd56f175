package trainer

import (
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"

	"github.com/convae/convae/nn"
	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/layer"
	"github.com/convae/convae/trainer/dataset"
	"github.com/convae/convae/trainer/picture"
	"github.com/convae/convae/trainer/use"
)

// Data names a data set. A field that the data set has no use for is an error.
type Data struct {
	Name string `yaml:"name"` // one of DataNames
	// Dir is the folder with the idx files of mnist and fashion-mnist (empty: downloaded), or with the pictures of images,
	// which may be in two folders in it: train, and val, valid, validation or test. Of images it may also be a tar archive, or a
	// text file that lists them; see dataset.ReadImages. Training stores it as an absolute path.
	Dir      string `yaml:"dir,omitempty"`
	File     string `yaml:"file,omitempty"`      // of csv and npy
	TestFile string `yaml:"test_file,omitempty"` // of csv and npy: samples for testing, if there are any
	Seed     uint64 `yaml:"seed,omitempty"`      // of digits, scenes, circle, ring and spiral

	Samples int         `yaml:"samples,omitempty" zero:"2 or more"` // of circle, ring and spiral: 500; of scenes: 2000, and a fifth as many for testing
	Noise   nn.Optional `yaml:"noise,omitempty"`                    // standard deviation, of circle and ring (0.1) and of spiral (0.3)

	// Columns of csv are by name or number from 1; empty: all but the label, and training writes which these are to the
	// run, so that other tables may have them in another order, among others.
	Columns []string `yaml:"columns,omitempty,flow"`
	Label   string   `yaml:"label,omitempty"` // column of csv with the classes
	// OptionalLabel says that a table without the label's column is taken as well.
	OptionalLabel bool `yaml:"-"`

	NoHeader bool `yaml:"no_header,omitempty"` // the first row of csv is not one of names

	// Scaling of csv and npy is fitted on the training samples: minmax (to [0,1]), standard (mean 0, deviation 1), or
	// none (the default). Scaler is what was fitted: training writes it to the run, and one that is given is used.
	Scaling string          `yaml:"scaling,omitempty"`
	Scaler  *dataset.Scaler `yaml:"scaler,omitempty"`

	Size     layer.Size `yaml:"size,omitempty" zero:"[rows, columns] of 1 or more"` // of images, to which they are resized, and of scenes: the model's input by default, or the square that a vector is
	Channels int        `yaml:"channels,omitempty" zero:"1 (grey) or 3 (colour)"`   // of images and scenes: 1 (grey) or 3; the model's input by default

	// Resize and Filter say how images are brought to their size: until they cover it (the default), not at all (none), or until
	// their shorter side has so many pixels; then the middle is cut out, or what Augment says.
	Resize picture.Resize `yaml:"resize,omitempty" zero:"cover, none or the pixels of the shorter side"`
	Filter picture.Filter `yaml:"filter,omitempty"`
	// Stream has images read from their files in each epoch, ahead of the steps that need them, instead of once before the first; sets
	// of more than 1 GiB of pixels are, unless Cache is set, which decodes all of them to a file in the cache folder. With both, each is decoded and
	// resized when it is first read, and kept in such a file.
	Stream bool `yaml:"stream,omitempty"`
	Cache  bool `yaml:"cache,omitempty"`
	// Augment changes the images of the training samples anew in each epoch; it implies Stream.
	Augment dataset.Augment `yaml:"augment,omitempty"`

	// SkipUnreadable leaves out, of images, the files that cannot be read, with a note; otherwise the first is an error. It
	// is no part of what must stay the same in a run, for the pictures themselves are.
	SkipUnreadable bool `yaml:"skip_unreadable,omitempty" json:"-"`

	// Only, of data with labels, are the classes of the samples to take, all others are left out; empty: all.
	Only []Class `yaml:"only,omitempty,flow"`
	// Classes of csv and images are the names of the labels 0, 1 and so on: training writes them to the run, so that the
	// classes of other tables and folders are told by name. Classes that are numbers need none.
	Classes []string `yaml:"classes,omitempty,flow" json:",omitempty"`

	Limit int `yaml:"limit,omitempty"` // train on the first samples only; 0 is all
	// ValidationLimit is the number of samples to validate on, evenly from all; 0 is all.
	ValidationLimit int `yaml:"validation_limit,omitempty"`
	// Validation is the share of the training samples to validate on: the last ones or, of pictures, some evenly from all.
	// 0 takes the test set, or, for a data set that has none, the training samples.
	Validation float64 `yaml:"validation,omitempty"`
}

// dataFields are the fields of each data set besides limit, validation_limit and validation.
var dataFields = map[string][]string{
	"circle": {"seed", "samples", "noise"},
	"ring":   {"seed", "samples", "noise"},
	"spiral": {"seed", "samples", "noise"},
	"csv":    {"file", "test_file", "columns", "label", "no_header", "scaling", "scaler", "only", "classes"},
	"npy":    {"file", "test_file", "scaling", "scaler"},
	"images": {"dir", "size", "channels", "resize", "filter", "stream", "cache", "augment", "skip_unreadable", "only", "classes"},
	"digits": {"seed", "only"},
	"scenes": {"seed", "samples", "size", "channels"},
}

// Downloaded reports whether the data set comes from the internet, unless an earlier download is in the cache folder.
func (d *Data) Downloaded() bool {
	return d.Dir == "" && d.Name != "digits" && slices.Contains(dataset.Names(), d.Name)
}

// makeAbsolute makes the paths absolute, so that they lead to the data from any working directory.
func (d *Data) makeAbsolute() error {
	for _, path := range []*string{&d.Dir, &d.File, &d.TestFile} {
		if *path == "" {
			continue
		}
		absolute, err := filepath.Abs(*path)
		if err != nil {
			return fmt.Errorf("data: %w", err)
		}
		*path = absolute
	}
	return nil
}

// DataNames returns the names of the data sets.
func DataNames() []string {
	return append(dataset.Names(), "scenes", "circle", "ring", "spiral", "csv", "npy", "images")
}

// Complete fills in what is left open as suits a model, and reports the first field that cannot be.
func (d *Data) Complete(m nn.Config) error { return d.check(m.Input) }

// check fills in the zero values and reports the first field that cannot be. input is that of the model.
func (d *Data) check(input []int) error {
	if d.Name == "" {
		d.Name = "digits"
	}
	if !slices.Contains(DataNames(), d.Name) {
		return fmt.Errorf("data.name: no data set %q%s; --data also takes a .csv or .npy file, or a folder, .tar archive or .txt list of pictures that is there", d.Name, Advice(d.Name, DataNames(), ", want one of"))
	}
	fields, ok := dataFields[d.Name]
	if !ok {
		fields = []string{"dir", "only"}
	}
	for _, f := range []struct {
		name string
		set  bool
	}{
		{"dir", d.Dir != ""}, {"file", d.File != ""}, {"test_file", d.TestFile != ""}, {"seed", d.Seed != 0}, {"samples", d.Samples != 0}, {"noise", !d.Noise.IsZero()},
		{"columns", d.Columns != nil}, {"label", d.Label != ""}, {"no_header", d.NoHeader}, {"scaling", d.Scaling != ""},
		{"scaler", d.Scaler != nil}, {"size", d.Size != layer.Size{}}, {"channels", d.Channels != 0}, {"only", d.Only != nil}, {"classes", d.Classes != nil},
		{"resize", d.Resize != picture.Cover}, {"filter", d.Filter != picture.Cubic}, {"stream", d.Stream}, {"cache", d.Cache}, {"augment", d.Augment != dataset.Augment{}}, {"skip_unreadable", d.SkipUnreadable},
	} {
		if f.set && !slices.Contains(fields, f.name) {
			return fmt.Errorf("data.%s is not for %s, which has %s, limit, validation_limit and validation", f.name, d.Name, strings.Join(fields, ", "))
		}
	}
	if !slices.Contains(fields, "classes") {
		if _, err := (&dataset.Set{}).FindLabels(classTexts(d.Only)); err != nil {
			return fmt.Errorf("data.only: %w", err)
		}
	}
	for i, name := range d.Classes {
		if slices.Contains(d.Classes[:i], name) {
			return fmt.Errorf("data.classes has %q twice, want a name for each label", name)
		}
	}
	if len(d.Classes) > math.MaxUint8+1 {
		return fmt.Errorf("data.classes has %d names, want at most %d", len(d.Classes), math.MaxUint8+1)
	}
	switch d.Name {
	case "circle", "ring", "spiral":
		return d.checkPoints()
	case "csv", "npy":
		return d.checkTable()
	case "images":
		return d.checkImages(input)
	case "scenes":
		return d.checkScenes(input)
	}
	return nil
}

func (d *Data) checkScenes(input []int) error {
	if d.Samples == 0 {
		d.Samples = 2000
	}
	if d.Samples < 5 || d.Samples > 1e7 {
		return fmt.Errorf("data.samples is %d, want 5 to 10000000", d.Samples)
	}
	return d.checkSize(input)
}

func (d *Data) checkPoints() error {
	if d.Samples == 0 {
		d.Samples = 500
	}
	d.Noise = d.Noise.Or(map[string]float64{"circle": 0.1, "ring": 0.1, "spiral": 0.3}[d.Name])
	if d.Samples < 2 || d.Samples > 1e7 {
		return fmt.Errorf("data.samples is %d, want 2 to 10000000", d.Samples)
	}
	if v := d.Noise.Value(); !(v >= 0 && v <= 100) {
		return fmt.Errorf("data.noise is %v, want 0 to 100", d.Noise)
	}
	if d.Seed > math.MaxUint32 {
		return fmt.Errorf("data.seed is %d, want at most %d: %s is drawn as NumPy draws", d.Seed, uint32(math.MaxUint32), d.Name)
	}
	return nil
}

func (d *Data) checkTable() error {
	if d.Only != nil && d.Label == "" {
		return errors.New("data.only goes by labels: want data.label, the column that has them")
	}
	if d.File == "" {
		return fmt.Errorf("data.file is missing: want the .%[1]s file to read (data: {name: %[1]s, file: PATH}, or --data PATH.%[1]s)", d.Name)
	}
	if d.Columns != nil && len(d.Columns) == 0 {
		return errors.New("data.columns is empty: leave it out to take all columns")
	}
	if !slices.Contains([]string{"", "none", "minmax", "standard"}, d.Scaling) {
		return fmt.Errorf("data.scaling is %q, want minmax, standard or none", d.Scaling)
	}
	s := d.Scaler
	if s == nil {
		return nil
	}
	if !d.scales() {
		return errors.New("data.scaler is there without data.scaling: want scaling minmax or standard, or no scaler")
	}
	bad := func(v float64) bool { return v-v != 0 }
	if len(s.Offset) == 0 || len(s.Offset) != len(s.Scale) || slices.ContainsFunc(s.Offset, bad) || slices.ContainsFunc(s.Scale, bad) || slices.Contains(s.Scale, 0) {
		return errors.New("data.scaler wants as many finite offsets as scales, and no scale of 0; leave it out to fit it again")
	}
	return nil
}

func (d *Data) scales() bool { return d.Scaling == "minmax" || d.Scaling == "standard" }

// Pixels reports whether the data are images, with values in [0,1].
func (d *Data) Pixels() bool {
	return d.Name == "images" || d.Name == "scenes" || slices.Contains(dataset.Names(), d.Name)
}

// Scaled returns samples in the scaling that was fitted, if there is one.
func (d *Data) Scaled(values []float32) []float32 {
	if d.Scaler == nil {
		return values
	}
	return dataset.ApplyScaler(*d.Scaler, values)
}

// Unscaled returns values of scaled samples in the units of the data.
func (d *Data) Unscaled(values []float32) []float32 {
	if d.Scaler == nil {
		return values
	}
	return d.Scaler.Undo(values)
}

// maxSide bounds the size to which pictures are brought.
const maxSide = 1 << 14

// checkSize fills in the size that pictures are brought to.
func (d *Data) checkSize(input []int) error {
	if len(input) == 3 {
		if d.Size == (layer.Size{}) {
			d.Size = layer.Size{H: input[0], W: input[1]}
		}
		if d.Channels == 0 {
			d.Channels = input[2]
		}
	}
	if len(input) == 1 && d.Size == (layer.Size{}) {
		if s, ok := use.ImageShape(backend.Shape{N: 1, H: 1, W: 1, C: input[0]}); ok {
			d.Size = layer.Size{H: s.H, W: s.W}
		}
	}
	if d.Size == (layer.Size{}) {
		return errors.New("data.size is missing: want [rows, columns], to which the pictures are resized (the vector that the model takes does not say)")
	}
	if d.Size.H < 1 || d.Size.W < 1 || d.Size.H > maxSide || d.Size.W > maxSide {
		return fmt.Errorf("data.size is %d x %d, want at least 1 x 1 and at most %d x %d", d.Size.H, d.Size.W, maxSide, maxSide)
	}
	if d.Channels == 0 {
		d.Channels = 1
	}
	if d.Channels != 1 && d.Channels != 3 {
		return fmt.Errorf("data.channels is %d, want 1 (grey) or 3 (colour)", d.Channels)
	}
	return nil
}

func (d *Data) checkImages(input []int) error {
	if d.Dir == "" {
		return errors.New("data.dir is missing: want the folder with the pictures (data: {name: images, dir: PATH}, or --data-dir PATH)")
	}
	if err := d.checkSize(input); err != nil {
		return err
	}
	if least := min(d.Size.H, d.Size.W); d.Resize > 0 && int(d.Resize) < least {
		return fmt.Errorf("data.resize is %v, fewer pixels than data.size has (%d x %d): want %d or more, cover, or none", d.Resize, d.Size.H, d.Size.W, least)
	}
	if err := d.Augment.Check(); err != nil {
		return fmt.Errorf("data.augment.%w", err)
	}
	if d.Augment != (dataset.Augment{}) {
		d.Stream = true
	}
	return nil
}
