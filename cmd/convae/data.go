package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"

	"github.com/convae/convae/nn/layer"
	"github.com/convae/convae/nn/rng"
	"github.com/convae/convae/trainer"
	"github.com/convae/convae/trainer/atomicfile"
	"github.com/convae/convae/trainer/dataset"
	"github.com/convae/convae/trainer/picture"
	"github.com/convae/convae/trainer/use"
)

const (
	maxSheet     = 1000    // images that --count may ask for
	maxSide      = 1 << 14 // pixels along a side that --size may ask for
	maxLabelRows = 20      // with more labels, rows no longer stand for them
	maxColumns   = 20      // columns of a table that are described

	dataDirHelp = "folder with the data set's idx files (default: the user's cache, downloaded once), or with the pictures of images"
	skipHelp    = "leave out, with a note, the pictures of a folder that cannot be read"
)

// placeFlags are those of all commands that read a data set: where it is now, and what of it may be left out.
type placeFlags struct {
	dataDir string
	skip    bool
}

func (f *placeFlags) addPlace(fs *pflag.FlagSet) {
	fs.StringVar(&f.dataDir, "data-dir", "", dataDirHelp)
	fs.BoolVar(&f.skip, "skip-unreadable", false, skipHelp)
}

// place lets the flags that are set override a data set.
func (f *placeFlags) place(set func(flag string) bool, d *trainer.Data) {
	override(set("data-dir"), &d.Dir, f.dataDir)
	override(set("skip-unreadable"), &d.SkipUnreadable, f.skip)
}

var dataHelp = "data set: " + strings.Join(trainer.DataNames(), ", ") + ", or FILE.csv, FILE.npy, or a folder, FILE.tar or LIST.txt of pictures"

// withData returns the data set that a flag or an argument names, all of its labels. What else it leaves open is as in
// old, if that is of the same kind.
func withData(old trainer.Data, name string) trainer.Data {
	d := trainer.Data{Name: name, Limit: old.Limit, Validation: old.Validation}
	for _, table := range []string{"csv", "npy"} {
		if hasEnding(name, "."+table) {
			d.Name, d.File = table, name
		}
	}
	if hasPictures(name) && !slices.Contains(trainer.DataNames(), name) {
		d.Name, d.Dir = "images", name
	}
	if d.Name == "csv" || d.Name == "images" {
		d.Classes = old.Classes
	}
	if d.Name != old.Name {
		return d
	}
	old.Only = nil
	if d.File != "" {
		old.File, old.TestFile, old.OptionalLabel = d.File, "", true
	}
	if d.Dir != "" {
		old.Dir = d.Dir
	}
	return old
}

// hasPictures reports whether there is a folder at path, or a file that holds or lists pictures.
func hasPictures(path string) bool {
	info, err := os.Stat(path)
	return err == nil && (info.IsDir() || hasEnding(path, ".tar", ".txt"))
}

type dataFlags struct {
	placeFlags
	out, split, export string
	label              string
	count              int
	size               []int
	noise              float64
	seed               uint64
}

func dataCommand() *cobra.Command {
	var f dataFlags
	c := &cobra.Command{
		Use:   "data [NAME | FILE.csv | FILE.npy | FOLDER | FILE.tar | LIST.txt]",
		Short: "Describe, show or export a data set",
		Long:  "Describe, show or export a " + dataHelp + "; digits is the default.",
		Args:  arguments(0, 1),
		RunE: func(c *cobra.Command, args []string) error {
			name := firstArg(args)
			if name == "" {
				name = trainer.DataNames()[0]
			}
			return f.run(c, name)
		},
	}
	flags := c.Flags()
	f.addPlace(flags)
	flags.IntSliceVar(&f.size, "size", nil, "rows, columns and perhaps channels of the pictures of a folder, as 28,28 or 28,28,3 (default: those of the first)")
	within(flags, "size", 1, maxSide)
	flags.StringVar(&f.label, "label", "", "column of a .csv with the classes")
	flags.StringVar(&f.out, "out", "", "write a contact sheet to this .png")
	flags.IntVar(&f.count, "count", sheetImages, "images on the contact sheet")
	within(flags, "count", 1, maxSheet)
	flags.StringVar(&f.split, "split", "train", "part that the contact sheet shows: train or test")
	flags.Float64Var(&f.noise, "noise", 0, "standard deviation of noise on the contact sheet")
	within(flags, "noise", 0, maxStd)
	flags.StringVar(&f.export, "export", "", "write the data set to this new folder, as idx files if they are grey images with labels, else as PNG files, or to this .npy its training samples as float32")
	flags.Uint64Var(&f.seed, "seed", 0, "seed of the data set and of the noise")
	return c
}

func (f *dataFlags) run(c *cobra.Command, name string) error {
	if err := f.check(c); err != nil {
		return err
	}
	d := withData(trainer.Data{}, name)
	f.place(c.Flags().Changed, &d)
	override(f.label != "", &d.Label, f.label)
	if slices.Contains([]string{"digits", "scenes", "circle", "ring", "spiral"}, d.Name) {
		d.Seed = f.seed
	}
	if f.size != nil {
		d.Size, d.Channels = layer.Size{H: f.size[0], W: f.size[1]}, append(f.size, 0)[2]
	}
	if d.Name == "scenes" && f.size == nil {
		d.Size, d.Channels = layer.Size{H: sceneSide, W: sceneSide}, 3
	}
	if d.Name == "images" && f.size == nil {
		if err := firstSize(&d); err != nil {
			return err
		}
	}
	loaded, err := loadSets(c, d)
	if err != nil {
		return err
	}
	defer loaded.close()
	train, test := loaded.train, loaded.test
	w := c.OutOrStdout()
	if train.H*train.W == 1 {
		fmt.Fprintf(w, "%s: vectors of %d values\n", name, train.C)
	} else {
		note := ""
		if d.Name == "images" && f.size == nil {
			note = " (as the first; --size sets others)"
		}
		fmt.Fprintf(w, "%s: %d x %d pixels, channels: %d%s\n", name, train.W, train.H, train.C, note)
	}
	for _, s := range []struct {
		split string
		set   *dataset.Set
	}{{"train", train}, {"test", test}} {
		if s.set == nil {
			continue
		}
		if s.set.Streamed() {
			fmt.Fprintf(w, "%-5s  images: %d\n", s.split, s.set.Len())
		} else if s.set.HasPixels() {
			fmt.Fprintf(w, "%-5s  images: %d, mean intensity: %.4f\n", s.split, s.set.Len(), meanIntensity(s.set))
		} else {
			describeValues(w, s.split, s.set)
		}
		if s.set.Labels != nil {
			fmt.Fprintf(w, "       labels: %s\n", labelText(s.set))
		}
	}
	if f.export != "" {
		if err := f.exportTo(train, test); err != nil {
			return err
		}
		fmt.Fprintf(w, "exported to %s\n", f.export)
	}
	if f.out == "" {
		return nil
	}
	set, err := loaded.pick(f.split, c.Flags().Changed("split"))
	if err != nil {
		return err
	}
	if !set.Images() {
		return fmt.Errorf("--out draws images, %s has %s", name, setText(set))
	}
	if err := f.writeSheet(set); err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "look at: %s\n", f.out)
	return err
}

// sceneSide is the side of drawn scenes whose size is not given.
const sceneSide = 96

// mostSide bounds the side of pictures whose size is not given.
const mostSide = 256

// firstSize gives pictures the size of the first.
func firstSize(d *trainer.Data) (err error) {
	if d.Dir == "" {
		return nil // loading says so
	}
	d.Size.H, d.Size.W, d.Channels, err = dataset.ImageSize(d.Dir, mostSide)
	return err
}

// check reports flags that cannot be, before anything is downloaded.
func (f *dataFlags) check(c *cobra.Command) error {
	if f.out == "" {
		for _, name := range []string{"count", "split", "noise"} {
			if c.Flags().Changed(name) {
				return fmt.Errorf("--%s is for a contact sheet: name its file with --out", name)
			}
		}
	} else if err := checkOutput(f.out, "", ".png"); err != nil {
		return fmt.Errorf("--out: %w", err)
	}
	if err := checkSplit(f.split); err != nil {
		return err
	}
	if f.size != nil && len(f.size) != 2 && len(f.size) != 3 {
		return fmt.Errorf("--size has %d numbers, want rows, columns and perhaps channels, as 28,28 or 28,28,3", len(f.size))
	}
	return nil
}

// writeSheet draws rows of images, one for each label if there are few.
func (f *dataFlags) writeSheet(set *dataset.Set) error {
	var rows []picture.Row
	shown := 0
	show := func(row *picture.Row, i int) error {
		clean, noisy := make([]float32, set.Size()), make([]float32, set.Size())
		if err := use.Corrupt(clean, noisy, set, i, i+1, use.Corruption{Std: f.noise}, rng.Source{Seed: f.seed, Stream: rng.StreamEvaluate}); err != nil {
			return err
		}
		row.Images = append(row.Images, picture.Image{H: set.H, W: set.W, C: set.C, Pix: noisy})
		shown++
		return nil
	}
	if labels := countLabels(set.Labels); len(labels) > 0 && len(labels) <= maxLabelRows {
		for _, l := range labels {
			row := picture.Row{Label: set.Class(l.label)}
			left := min(max(f.count/len(labels), 1), f.count-shown)
			for i := 0; i < set.Len() && len(row.Images) < left; i++ {
				if set.Labels[i] == l.label {
					if err := show(&row, i); err != nil {
						return err
					}
				}
			}
			if len(row.Images) > 0 {
				rows = append(rows, row)
			}
		}
	} else {
		for k, i := range use.Spread(set, f.count) {
			if k%sheetColumns == 0 {
				rows = append(rows, picture.Row{})
			}
			if err := show(&rows[len(rows)-1], i); err != nil {
				return err
			}
		}
	}
	caption := fmt.Sprintf("%d of %d images (%s)", shown, set.Len(), f.split)
	if f.noise > 0 {
		caption += fmt.Sprintf(", noise %g", f.noise)
	}
	return use.WriteSheet(f.out, rows, picture.SheetOptions{Title: set.Name, Caption: caption})
}

// sets are the parts of a data set.
type sets struct {
	train, test *dataset.Set // test is nil if there is none
	notes       io.Writer
}

// loadSets loads a data set as it is.
func loadSets(c *cobra.Command, d trainer.Data) (s sets, err error) {
	s.notes = c.ErrOrStderr()
	s.train, s.test, err = d.Load(c.Context(), loadingOn(c))
	return s, err
}

// loadRun loads the samples that a run is trained and validated on.
func loadRun(c *cobra.Command, d *trainer.Data) (s sets, err error) {
	s.notes = c.ErrOrStderr()
	s.train, s.test, err = trainer.LoadData(c.Context(), d, loadingOn(c))
	return s, err
}

// close gives back what the sets hold, and says which pictures of a streamed one were replaced by others. Of no sets it does nothing.
func (s sets) close() {
	for _, set := range []*dataset.Set{s.train, s.test} {
		if set == nil {
			continue
		}
		if note := set.Unreadable(); note != "" {
			fmt.Fprintln(s.notes, "note:", note)
		}
		set.Close()
	}
}

// loadingOn prints what a person should know of a data set, and shows on a terminal how its loading goes on.
func loadingOn(c *cobra.Command) func(trainer.Loading) {
	w := c.ErrOrStderr()
	f, ok := w.(*os.File)
	terminal := ok && term.IsTerminal(int(f.Fd()))
	return func(l trainer.Loading) {
		switch {
		case l.Note != "":
			fmt.Fprintln(w, "note:", l.Note)
		case terminal:
			showLoading(f, l, columns(f))
		}
	}
}

// setText describes the samples of a data set.
func setText(set *dataset.Set) string {
	if set.H*set.W == 1 {
		return fmt.Sprintf("samples of %d values", set.C)
	}
	return fmt.Sprintf("images of %d x %d pixels, channels: %d", set.W, set.H, set.C)
}

// checkSplit reports a part of a data set that there is not.
func checkSplit(split string) error {
	if split != "train" && split != "test" {
		return fmt.Errorf("--split is %q, want train or test", split)
	}
	return nil
}

// pick returns the part that --split names. A data set without a test set is taken whole where the flag was not given.
func (s sets) pick(split string, given bool) (*dataset.Set, error) {
	switch {
	case split == "train" || s.test == nil && !given:
		return s.train, nil
	case s.test == nil:
		return nil, fmt.Errorf("--split is test, want train: data set %s has no test set", s.train.Name)
	}
	return s.test, nil
}

// describeValues prints the range of each column.
func describeValues(w io.Writer, split string, set *dataset.Set) {
	fmt.Fprintf(w, "%-5s  samples: %d\n", split, set.Len())
	for j := range min(set.Size(), maxColumns) {
		lo, hi, sum := math.Inf(1), math.Inf(-1), 0.0
		for i := j; i < len(set.Values); i += set.Size() {
			v := float64(set.Values[i])
			lo, hi, sum = min(lo, v), max(hi, v), sum+v
		}
		fmt.Fprintf(w, "       column %d: %.6g to %.6g, mean %.6g\n", j+1, lo, hi, sum/float64(set.Len()))
	}
}

// exportTo writes a data set as idx files or .npy.
func (f *dataFlags) exportTo(train, test *dataset.Set) error {
	if hasEnding(f.export, ".npy") {
		if !missing(f.export) {
			return fmt.Errorf("--export: %s is there already: want another name", f.export)
		}
		values, shape := make([]float32, train.Len()*train.Size()), []int{train.Len(), train.H, train.W, train.C}
		if err := train.Read(values, 0, train.Len()); err != nil {
			return err
		}
		if train.H*train.W == 1 {
			shape = []int{train.Len(), train.C}
		}
		return trainer.WriteNPY(f.export, values, shape)
	}
	switch {
	case !train.Streamed() && train.HasPixels() && train.C == 1 && test != nil && train.Labels != nil:
		return exportIDX(f.export, train, test)
	case train.HasPixels() && train.Images():
		return exportPictures(f.export, train, test)
	}
	return fmt.Errorf("--export is %s, want a name that ends in .npy: the samples are no images", f.export)
}

// labelCount is how often a label occurs.
type labelCount struct {
	label uint8
	n     int
}

// countLabels counts the labels that occur, in their order.
func countLabels(labels []uint8) []labelCount {
	var n [256]int
	for _, l := range labels {
		n[l]++
	}
	var counts []labelCount
	for l, n := range n {
		if n > 0 {
			counts = append(counts, labelCount{uint8(l), n})
		}
	}
	return counts
}

// maxClassesShown are listed by name.
const maxClassesShown = 40

// labelText lists the labels of a data set with the names of their classes, if they have such, and how often they occur.
func labelText(set *dataset.Set) string {
	var s []string
	for _, l := range countLabels(set.Labels) {
		name := set.Class(l.label)
		if set.Classes != nil {
			name = fmt.Sprintf("%d = %.60s", l.label, name)
		}
		s = append(s, fmt.Sprintf("%s: %d", name, l.n))
	}
	if n := len(s) - maxClassesShown; n > 0 {
		s = append(s[:maxClassesShown], fmt.Sprintf("and %d more", n))
	}
	return strings.Join(s, ", ")
}

// meanIntensity is the mean of all values, scaled to [0,1].
func meanIntensity(set *dataset.Set) float64 {
	sum := 0
	for _, v := range set.Pixels {
		sum += int(v)
	}
	return float64(sum) / 255 / float64(len(set.Pixels))
}

// exportPictures writes the samples as PNG files in the folders train and test of a new folder, in folders for their classes if they
// have such. After an error there is no folder.
func exportPictures(dir string, train, test *dataset.Set) (err error) {
	if !missing(dir) {
		return fmt.Errorf("--export: %s is there already: want another name", dir)
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("--export: %w", err)
		}
	}()
	temp := filepath.Join(filepath.Dir(dir), fmt.Sprintf(".%s.tmp-%d", filepath.Base(dir), os.Getpid()))
	defer os.RemoveAll(temp)
	for part, set := range map[string]*dataset.Set{"train": train, "test": test} {
		if set == nil {
			continue
		}
		if err := writePictures(filepath.Join(temp, part), set); err != nil {
			return err
		}
	}
	return os.Rename(temp, dir)
}

// writePictures writes the samples as PNG files in a folder, or in one for each class in it.
func writePictures(dir string, set *dataset.Set) error {
	img := picture.Image{H: set.H, W: set.W, C: set.C, Pix: make([]float32, set.Size())}
	var buf bytes.Buffer
	for i := range set.Len() {
		to := dir
		if set.Labels != nil {
			to = filepath.Join(dir, set.Class(set.Labels[i]))
		}
		if err := os.MkdirAll(to, 0o777); err != nil {
			return err
		}
		if err := set.Read(img.Pix, i, i+1); err != nil {
			return err
		}
		buf.Reset()
		if err := picture.EncodePNG(&buf, img); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(to, fmt.Sprintf("%07d.png", i)), buf.Bytes(), 0o666); err != nil {
			return err
		}
	}
	return nil
}

// exportIDX writes a data set to the files that dataset.LoadIDXDir reads. It overwrites none, and after an error there
// is none.
func exportIDX(dir string, train, test *dataset.Set) (err error) {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return fmt.Errorf("--export: %w", err)
	}
	files := []struct {
		name  string
		write func(w io.Writer) error
	}{
		{"train-images-idx3-ubyte", func(w io.Writer) error { return dataset.WriteIDXImages(w, train) }},
		{"train-labels-idx1-ubyte", func(w io.Writer) error { return dataset.WriteIDXLabels(w, train.Labels) }},
		{"t10k-images-idx3-ubyte", func(w io.Writer) error { return dataset.WriteIDXImages(w, test) }},
		{"t10k-labels-idx1-ubyte", func(w io.Writer) error { return dataset.WriteIDXLabels(w, test.Labels) }},
	}
	for _, f := range files {
		if path := filepath.Join(dir, f.name); !missing(path) {
			return fmt.Errorf("--export: %s is there already: want a folder without it", path)
		}
	}
	var written []string
	defer func() {
		if err != nil {
			for _, path := range written {
				os.Remove(path)
			}
		}
	}()
	for _, f := range files {
		path := filepath.Join(dir, f.name)
		if err := atomicfile.Write(path, f.write); err != nil {
			return fmt.Errorf("--export: %w", err)
		}
		written = append(written, path)
	}
	return nil
}

func missing(path string) bool {
	_, err := os.Lstat(path)
	return errors.Is(err, fs.ErrNotExist)
}
