package trainer

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/convae/convae/nn"
	"github.com/convae/convae/nn/graph"
	"github.com/convae/convae/nn/layer"
	"github.com/convae/convae/trainer/atomicfile"
	"github.com/convae/convae/trainer/dataset"
	"github.com/convae/convae/trainer/picture"
	"github.com/convae/convae/trainer/use"
)

// writeGrey writes a picture of one pixel of that level.
func writeGrey(t *testing.T, level uint8, path ...string) {
	t.Helper()
	name := filepath.Join(path...)
	img := picture.Image{H: 1, W: 1, C: 1, Pix: []float32{float32(level) / 255}}
	err := os.MkdirAll(filepath.Dir(name), 0o777)
	if err == nil {
		err = atomicfile.Write(name, func(w io.Writer) error { return picture.EncodePNG(w, img) })
	}
	if err != nil {
		t.Fatal(err)
	}
}

// Folders for training and validation are told by their names and are no classes.
func TestImageFolders(t *testing.T) {
	for _, c := range []struct {
		folders    []string
		train, val string
		note       string
	}{
		{[]string{"train", "val"}, "train", "val", ""},
		{[]string{"train", "valid"}, "train", "valid", ""},
		{[]string{"train", "validation"}, "train", "validation", ""},
		{[]string{"Train", "Test"}, "Train", "Test", ""},
		{[]string{"training", "testing"}, "training", "testing", ""},
		{[]string{"train", "test", "val", "extra"}, "train", "val", "has train to train and val to validate on; left out: extra, test"},
		{[]string{"train", "plane"}, "", "", ""},
		{[]string{"val", "test"}, "", "", ""},
	} {
		dir := t.TempDir()
		for i, f := range c.folders {
			writeGrey(t, uint8(10*i), dir, f, "cat", "0.png")
			writeGrey(t, uint8(10*i+1), dir, f, "dog", "0.png")
		}
		var notes []string
		d := Data{Name: "images", Dir: dir, Size: layer.Size{H: 1, W: 1}}
		train, validation, err := LoadData(t.Context(), &d, func(l Loading) {
			if l.Note != "" {
				notes = append(notes, l.String())
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		if c.train == "" { // they are classes, and there is nothing to validate on
			if train.Len() != 4 || !slices.Equal(train.Labels, []uint8{0, 0, 1, 1}) || validation != train {
				t.Errorf("%v: %d pictures with labels %v", c.folders, train.Len(), train.Labels)
			}
			continue
		}
		first, last := uint8(10*slices.Index(c.folders, c.train)), uint8(10*slices.Index(c.folders, c.val))
		if !slices.Equal(train.Pixels, []uint8{first, first + 1}) || !slices.Equal(validation.Pixels, []uint8{last, last + 1}) || !slices.Equal(train.Labels, []uint8{0, 1}) {
			t.Errorf("%v: trains on %v with labels %v, validates on %v", c.folders, train.Pixels, train.Labels, validation.Pixels)
		}
		if found := strings.Join(notes, "\n"); !strings.HasSuffix(found, c.note) || (c.note == "") != (found == "") {
			t.Errorf("%v: notes %q, want %q", c.folders, found, c.note)
		}
	}
}

// A run finds its data from any working directory, and the error for those that have gone says how to name them.
func TestDataPathsAreAbsolute(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	for i := range 4 {
		writeGrey(t, uint8(i), "pictures", string(rune('a'+i))+".png")
	}
	writeFile(t, "x\n0.1\n0.2\n0.3\n", "t.csv")
	for _, d := range []Data{{Name: "images", Dir: "pictures", Size: layer.Size{H: 1, W: 1}}, {Name: "csv", File: "t.csv", TestFile: "t.csv"}} {
		t.Chdir(dir)
		c := Config{Data: d, Model: nn.Config{Name: "m", Input: []int{1}, Encoder: graph.Specs(&layer.Dense{Units: 1}), Decoder: graph.Specs(&layer.Dense{Units: 1})}}
		c.Training.Epochs, c.Training.Loss = 1, nn.MSE
		train, validation, err := LoadData(t.Context(), &c.Data, nil)
		if err != nil {
			t.Fatal(err)
		}
		run := filepath.Join(dir, "run-"+d.Name)
		if _, err := Train(t.Context(), c, Options{Dir: run, Device: openCPU(t), Train: train, Test: validation}); err != nil {
			t.Fatal(err)
		}
		t.Chdir(t.TempDir())
		stored, err := ReadConfig(filepath.Join(run, ConfigFile))
		if err != nil {
			t.Fatal(err)
		}
		if _, again, err := LoadData(t.Context(), &stored.Data, nil); err != nil || again.Len() != validation.Len() {
			t.Errorf("%s: from another folder: error %v", d.Name, err)
		}
	}
	for flag, d := range map[string]Data{
		"--data-dir ":       {Name: "images", Dir: "gone", Size: layer.Size{H: 1, W: 1}},
		"(--data-dir names": {Name: "mnist", Dir: "gone"},
		"with --data":       {Name: "csv", File: "gone.csv"},
		"now with --data":   {Name: "npy", File: "gone.npy"},
	} {
		if _, _, err := LoadData(t.Context(), &d, nil); err == nil || !strings.Contains(err.Error(), "gone") || !strings.Contains(err.Error()+" ", flag) {
			t.Errorf("%s: error %v, want one with %q", d.Name, err, flag)
		}
	}
}

// Samples to show come from all labels and from the whole set, not from where it begins.
func TestSpread(t *testing.T) {
	sorted := func(perLabel ...int) (labels []uint8) {
		for l, n := range perLabel {
			labels = append(labels, bytes.Repeat([]byte{uint8(l)}, n)...)
		}
		return labels
	}
	digits := dataset.Digits(40, 1)
	firsts := make([]int, 10)
	for l := range firsts {
		firsts[l] = bytes.IndexByte(digits.Labels, uint8(l))
	}
	for _, c := range []struct {
		name   string
		size   int
		labels []uint8
		want   []int
	}{
		{"no labels", 100, nil, []int{0, 10, 20, 30, 40, 50, 60, 70, 80, 90}},
		{"few", 3, nil, []int{0, 1, 2}},
		{"two classes, sorted", 40, sorted(20, 20), []int{0, 4, 8, 12, 16, 20, 24, 28, 32, 36}},
		{"three classes", 30, sorted(12, 9, 9), []int{0, 3, 6, 9, 12, 15, 18, 21, 24, 27}},
		{"one small class", 21, sorted(20, 1), []int{0, 2, 4, 6, 8, 11, 13, 15, 17, 20}},
		{"more classes than places", 40, sorted(slices.Repeat([]int{2}, 20)...), []int{0, 4, 8, 12, 16, 20, 24, 28, 32, 36}},
		{"ten digits, the first of each", 40, digits.Labels, firsts},
	} {
		set := &dataset.Set{H: 1, W: 1, C: 1, Pixels: make([]uint8, c.size), Labels: c.labels}
		if got := use.Spread(set, 10); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

// A limit of the samples to validate on takes them evenly from all, so that no class is left out.
func TestValidationLimit(t *testing.T) {
	d := Data{Name: "digits", Limit: 7, ValidationLimit: 50}
	train, validation, err := LoadData(t.Context(), &d, nil)
	if err != nil {
		t.Fatal(err)
	}
	all := Data{Name: "digits"}
	_, whole, err := LoadData(t.Context(), &all, nil)
	if err != nil {
		t.Fatal(err)
	}
	if train.Len() != 7 || validation.Len() != 50 || !bytes.Equal(validation.Image(1), whole.Image(whole.Len()/50)) || validation.Labels[1] != whole.Labels[whole.Len()/50] {
		t.Errorf("%d samples to train on and %d to validate on, want 7 and 50, evenly from all", train.Len(), validation.Len())
	}
}

// Of pictures that are kept when they are first read, a few to validate on can be read as well.
func TestValidationLimitOfKept(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	dir := t.TempDir()
	for i := range 3 {
		writeGrey(t, uint8(10*i), dir, "train", fmt.Sprint(i, ".png"))
		writeGrey(t, uint8(10*i+5), dir, "val", fmt.Sprint(i, ".png"))
	}
	d := Data{Name: "images", Dir: dir, Size: layer.Size{H: 1, W: 1}, Channels: 1, Stream: true, Cache: true, ValidationLimit: 1}
	train, validation, err := LoadData(t.Context(), &d, nil)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time out of what is kept
		for i, c := range []struct {
			set  *dataset.Set
			want byte
		}{{train, 0}, {validation, 5}} {
			got := []byte{255}
			if err := c.set.ReadAugmented(got, 0, 1, 1); err != nil || got[0] != c.want {
				t.Errorf("set %d: a level of %d, %v, want %d", i, got[0], err, c.want)
			}
		}
	}
	if err := errors.Join(train.Close(), validation.Close()); err != nil {
		t.Error(err)
	}
}
