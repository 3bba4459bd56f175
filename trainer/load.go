package trainer

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/convae/convae/trainer/dataset"
)

// streamedValidation is how many of the training samples of a set that is streamed are validated on, if there are no others.
const streamedValidation = 1000

// LoadData loads a configuration's data and cuts it into training and validation samples. What of d is found out, the
// scaler that is fitted and the columns of a table, is set. progress may be nil. Sets of pictures should be closed.
func LoadData(ctx context.Context, d *Data, progress func(Loading)) (train, validation *dataset.Set, err error) {
	train, test, err := d.load(ctx, progress, d.Validation)
	if err != nil {
		return nil, nil, err
	}
	if validation = test; test == nil {
		if validation = train; train.Streamed() && d.Validation == 0 && d.ValidationLimit == 0 && train.Len() > streamedValidation {
			validation = train.Pick(dataset.Evenly(train.Len(), streamedValidation))
			if progress != nil {
				progress(Loading{Note: fmt.Sprintf("there are no pictures to validate on, so %d of those for training are taken, evenly from all (data.validation, a share, holds some out)", streamedValidation)})
			}
		}
	}
	if whole := train; d.Validation > 0 {
		if test != nil {
			err = test.Close()
		}
		if err == nil {
			train, validation, err = whole.Split(d.Validation)
		}
		if err != nil {
			return nil, nil, errors.Join(err, whole.Close())
		}
	}
	if d.Limit > 0 && d.Limit < train.Len() {
		train = train.Slice(0, d.Limit)
	}
	if d.ValidationLimit > 0 && d.ValidationLimit < validation.Len() {
		few := validation.Pick(dataset.Evenly(validation.Len(), d.ValidationLimit))
		if validation == test && !test.Streamed() { // else the few are read from what it holds, or it is a part of the training samples' set
			err = test.Close()
		}
		validation = few
	}
	return train, validation, err
}

// Loading tells how far the loading of a data set has got.
type Loading struct {
	File        string // that is downloaded; "" while pictures are read
	Done, Total int64  // bytes of the file, or pictures
	Note        string // something that a person should know of the data, such as what is left out; then the rest is 0
}

func (l Loading) String() string {
	if l.Note != "" {
		return l.Note
	}
	if l.File == "" {
		return fmt.Sprintf("read %d of %d pictures", l.Done, l.Total)
	}
	return fmt.Sprintf("download %s: %.1f of %.1f MB", l.File, float64(l.Done)/1e6, float64(max(l.Total, l.Done))/1e6)
}

// Load returns all samples for training, not cut into parts, and those for testing, nil if there are none. progress may
// be nil.
func (d *Data) Load(ctx context.Context, progress func(Loading)) (train, test *dataset.Set, err error) {
	return d.load(ctx, progress, 0)
}

// load puts pictures that will be held out for validation last.
func (d *Data) load(ctx context.Context, progress func(Loading), heldOut float64) (train, test *dataset.Set, err error) {
	if progress == nil {
		progress = func(Loading) {}
	}
	if err := d.check(nil); err != nil {
		return nil, nil, err
	}
	switch d.Name {
	case "ring":
		return dataset.Ring(d.Samples, d.Noise.Value(), uint32(d.Seed)), nil, nil
	case "circle":
		return dataset.Circle(d.Samples, d.Noise.Value(), uint32(d.Seed)), nil, nil
	case "spiral":
		return dataset.Spiral(d.Samples, d.Noise.Value(), uint32(d.Seed)), nil, nil
	case "scenes":
		all, err := dataset.Scenes(d.Samples+d.Samples/5, d.Size.H, d.Size.W, d.Channels, d.Seed)
		if err != nil {
			return nil, nil, err
		}
		return all.Slice(0, d.Samples), all.Slice(d.Samples, all.Len()), nil
	case "images":
		return d.loadImages(ctx, progress, dataset.ImageOptions{H: d.Size.H, W: d.Size.W, C: d.Channels, HeldOut: heldOut, SkipUnreadable: d.SkipUnreadable,
			Resize: d.Resize, Filter: d.Filter, Stream: d.Stream, Cache: d.Cache, Augment: d.Augment,
			Progress: func(done, total int) { progress(Loading{Done: int64(done), Total: int64(total)}) }})
	case "csv":
		train, test, err = d.loadTables(d.readCSV)
		return train, test, movedFile(err)
	case "npy":
		train, test, err = d.loadTables(d.readNPY)
		return train, test, movedFile(err)
	}
	train, test, err = dataset.Load(ctx, d.Name, d.Dir, d.Seed, func(file string, done, total int64) { progress(Loading{File: file, Done: done, Total: total}) })
	if err != nil && d.Dir != "" {
		err = fmt.Errorf("%w (--data-dir names the folder)", err)
	}
	if err != nil || d.Only == nil {
		return train, test, err
	}
	labels, err := train.FindLabels(classTexts(d.Only))
	if err == nil {
		train, err = train.Only(labels)
	}
	if err == nil {
		test, err = test.Only(labels)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("data.only: %w", err)
	}
	return train, test, nil
}

// movedFile adds to the error of a file that is not there how to say where it is.
func movedFile(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: name the file that has the samples now with --data", err)
	}
	return err
}

// Folders in one of pictures that hold its parts. Those to validate on are in the order in which one is chosen.
var (
	trainFolders    = []string{"train", "training"}
	validateFolders = []string{"val", "valid", "validation", "test", "testing"}
)

// loadImages reads a folder, or those for training and for validation in it.
func (d *Data) loadImages(ctx context.Context, progress func(Loading), o dataset.ImageOptions) (train, test *dataset.Set, err error) {
	trainDir, testDir, note, err := imageFolders(d.Dir)
	if err != nil {
		return nil, nil, err
	}
	o.Classes, o.Only = d.Classes, classTexts(d.Only)
	read := func(dir string) (*dataset.Set, error) {
		set, err := dataset.ReadImages(ctx, dir, o)
		if err == nil {
			if set.Classes != nil {
				d.Classes, o.Classes = set.Classes, set.Classes
			}
			for _, note := range set.Notes {
				progress(Loading{Note: note})
			}
		}
		return set, err
	}
	if note != "" {
		progress(Loading{Note: note})
	}
	if train, err = read(trainDir); err != nil || testDir == "" {
		return train, nil, err
	}
	if test, err = read(testDir); err != nil {
		return nil, nil, errors.Join(err, train.Close())
	}
	if err := sameClasses(train, test); err != nil {
		return nil, nil, errors.Join(fmt.Errorf("%s: %w", testDir, err), train.Close(), test.Close())
	}
	return train, test, nil
}

// imageFolders returns the folders of pictures in dir to train and to validate on: dir itself and "" if it has no such
// two. note says what else in dir is left out.
func imageFolders(dir string) (train, validate, note string, err error) {
	if info, err := os.Stat(dir); err == nil && info.Mode().IsRegular() {
		return dir, "", "", nil
	}
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return "", "", "", fmt.Errorf("images: there is no folder %s: name the one that has the pictures now with --data-dir", dir)
	}
	if err != nil {
		return "", "", "", fmt.Errorf("images: %w", err)
	}
	var folders []string
	for _, e := range entries {
		if info, err := os.Stat(filepath.Join(dir, e.Name())); err == nil && info.IsDir() && !strings.HasPrefix(e.Name(), ".") {
			folders = append(folders, e.Name())
		}
	}
	first := func(names []string) string {
		for _, name := range names {
			if i := slices.IndexFunc(folders, func(f string) bool { return strings.EqualFold(f, name) }); i >= 0 {
				return folders[i]
			}
		}
		return ""
	}
	if train, validate = first(trainFolders), first(validateFolders); train == "" || validate == "" {
		return dir, "", "", nil
	}
	if left := slices.DeleteFunc(folders, func(f string) bool { return f == train || f == validate }); len(left) > 0 {
		note = fmt.Sprintf("%s has %s to train and %s to validate on; left out: %s", dir, train, validate, strings.Join(left, ", "))
	}
	return filepath.Join(dir, train), filepath.Join(dir, validate), note, nil
}

// sameClasses gives the training samples the classes of those for testing, which go on where their own end.
func sameClasses(train, test *dataset.Set) error {
	if train.Labels == nil || test.Labels == nil {
		return nil
	}
	if train.Classes == nil && test.Classes != nil {
		return fmt.Errorf("has class %q, want numbers of 0 to 255 as for training", test.Class(test.Labels[0]))
	}
	train.Classes = test.Classes
	return nil
}

// loadTables reads the file for training and then, in the same scaling, that for testing.
func (d *Data) loadTables(read func(path string) (*dataset.Set, error)) (train, test *dataset.Set, err error) {
	if train, err = read(d.File); err != nil || d.TestFile == "" {
		return train, nil, err
	}
	if test, err = read(d.TestFile); err != nil {
		return nil, nil, err
	}
	if test.Size() != train.Size() {
		return nil, nil, fmt.Errorf("%s has samples of %d values, want %d as in %s", d.TestFile, test.Size(), train.Size(), d.File)
	}
	if err := sameClasses(train, test); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", d.TestFile, err)
	}
	return train, test, nil
}

func (d *Data) readCSV(path string) (*dataset.Set, error) {
	t, err := dataset.ReadCSV(path, dataset.CSVOptions{Columns: d.Columns, Label: d.Label, OptionalLabel: d.OptionalLabel, NoHeader: d.NoHeader, Classes: d.Classes})
	if err != nil {
		return nil, fmt.Errorf("csv: %w", err)
	}
	if names := slices.Sorted(slices.Values(t.Columns)); len(slices.Compact(names)) == len(t.Columns) {
		d.Columns = t.Columns // names that occur twice do not tell which is which
	}
	if t.Classes != nil {
		d.Classes = t.Classes
	}
	if d.Only != nil {
		labels, err := (&dataset.Set{Classes: t.Classes}).FindLabels(classTexts(d.Only))
		if err == nil {
			t, err = t.Only(labels)
		}
		if err != nil {
			return nil, fmt.Errorf("csv: %s: data.only: %w", path, err)
		}
	}
	values, err := scaled(d, t.Values, len(t.Columns))
	if err != nil {
		return nil, fmt.Errorf("csv: %s: %w", path, err)
	}
	return &dataset.Set{Name: "csv", H: 1, W: 1, C: len(t.Columns), Values: values, Labels: t.Labels, Classes: t.Classes}, nil
}

// readNPY reads samples (N, n), (N, rows, columns) or (N, rows, columns, channels). uint8 values are pixels.
func (d *Data) readNPY(path string) (*dataset.Set, error) {
	a, err := ReadNPY(path)
	if err != nil {
		return nil, err
	}
	s := &dataset.Set{Name: "npy", H: 1, W: 1, C: 1}
	switch shape := a.Shape; len(shape) {
	case 2:
		s.C = shape[1]
	case 3:
		s.H, s.W = shape[1], shape[2]
	case 4:
		s.H, s.W, s.C = shape[1], shape[2], shape[3]
	default:
		return nil, fmt.Errorf("npy: %s: shape is %s, want (N, n), (N, rows, columns) or (N, rows, columns, channels)", path, dataset.ShapeText(shape))
	}
	if a.DType == "uint8" {
		if d.scales() {
			return nil, fmt.Errorf("npy: %s: data.scaling is %s, want none: uint8 values are pixels, which are scaled to [0,1]", path, d.Scaling)
		}
		s.Pixels = make([]uint8, len(a.Data))
		for i, v := range a.Data {
			s.Pixels[i] = uint8(v)
		}
		return s, nil
	}
	if i := slices.IndexFunc(a.Data, func(v float32) bool { return v-v != 0 }); i >= 0 {
		return nil, fmt.Errorf("npy: %s: value %d of sample %d is %v, want finite numbers", path, i%s.Size()+1, i/s.Size()+1, a.Data[i])
	}
	if s.Values, err = scaled(d, a.Data, s.Size()); err != nil {
		return nil, fmt.Errorf("npy: %s: %w", path, err)
	}
	return s, nil
}

// scaled returns values of size columns in the configuration's scaling, which is fitted to the training samples if there
// is no scaler yet.
func scaled[T float32 | float64](d *Data, values []T, size int) ([]float32, error) {
	if !d.scales() {
		return dataset.ApplyScaler(dataset.Scaler{}, values), nil
	}
	if d.Scaler == nil {
		rows := len(values) / size
		if d.Validation > 0 {
			rows = max(dataset.SplitAt(rows, d.Validation), 1)
		}
		if d.Limit > 0 {
			rows = min(rows, d.Limit)
		}
		s, err := dataset.FitScaler(d.Scaling, values[:rows*size], size)
		if err != nil {
			return nil, err
		}
		d.Scaler = &s
	}
	if n := len(d.Scaler.Offset); n != size {
		return nil, fmt.Errorf("data.scaler has %d columns, the samples have %d: leave data.scaler out to fit it again", n, size)
	}
	return dataset.ApplyScaler(*d.Scaler, values), nil
}
