package trainer

import (
	"context"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/convae/convae/trainer/dataset"
	"github.com/convae/convae/trainer/picture"
)

// scenes writes n pictures of different sizes and patterns.
func scenes(t testing.TB, dir string, n int) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	for i := range n {
		m := image.NewRGBA(image.Rect(0, 0, 30+i%17, 28+i%13))
		for y := range m.Bounds().Dy() {
			for x := range m.Bounds().Dx() {
				m.Set(x, y, color.RGBA{byte(x * (i + 3)), byte(y * (i + 5)), byte((x + y) * i), 255})
			}
		}
		f, err := os.Create(filepath.Join(dir, fmt.Sprintf("%03d.png", i)))
		if err != nil {
			t.Fatal(err)
		}
		if err := png.Encode(f, m); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// sceneConfig trains the small model on a folder of pictures that are read in each epoch.
func sceneConfig(dir string) Config {
	c := smallConfig()
	c.Data = Data{Name: "images", Dir: dir, Validation: 0.2, Stream: true, Resize: picture.Native}
	c.Training.Batch = 8
	return c
}

// trainOn loads a configuration's data and trains.
func trainOn(t testing.TB, ctx context.Context, c Config, o Options) (Result, error) {
	t.Helper()
	if err := c.Check(); err != nil {
		t.Fatal(err)
	}
	var err error
	if o.Train, o.Test, err = LoadData(ctx, &c.Data, nil); err != nil {
		return Result{}, err
	}
	o.Device = openCPU(t)
	return Train(ctx, c, o)
}

// A run on pictures that are read in each epoch is that on pictures in memory; an augmentation makes it another; and stopped at any
// step it goes on with the same bits.
func TestStreamedRun(t *testing.T) {
	root := t.TempDir()
	scenes(t, filepath.Join(root, "pictures"), 60)
	run := func(name string, ctx context.Context, change func(*Config), resume bool) string {
		t.Helper()
		dir := filepath.Join(root, name)
		c := sceneConfig(filepath.Join(root, "pictures"))
		change(&c)
		r, err := trainOn(t, ctx, c, Options{Dir: dir, Resume: resume})
		if err != nil {
			t.Fatal(err)
		}
		if resume != !r.Interrupted && ctx != t.Context() {
			t.Fatalf("%s: interrupted %v", name, r.Interrupted)
		}
		return dir
	}
	streamed := run("streamed", t.Context(), func(*Config) {}, false)
	held := run("held", t.Context(), func(c *Config) { c.Data.Stream = false }, false)
	sameRun(t, held, streamed)
	augmented := func(c *Config) {
		c.Data.Augment = dataset.Augment{Crop: "random", Flip: "horizontal", Rotate: true, Brightness: 0.2}
	}
	whole := run("whole", t.Context(), augmented, false)
	if x, _ := fileWeights(t, filepath.Join(whole, ModelFile)); x == must(fileWeights(t, filepath.Join(held, ModelFile))) {
		t.Error("an augmentation changes nothing")
	}
	for _, steps := range []int{1, 4, 9} { // of 6 an epoch
		name := fmt.Sprintf("cut%d", steps)
		run(name, &countdown{Context: t.Context(), left: steps}, augmented, false)
		sameRun(t, whole, run(name, t.Context(), augmented, true))
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// What becomes unreadable while a run reads it ends the run with its name, and what is saved is sound.
func TestStreamedRunFails(t *testing.T) {
	dir := t.TempDir()
	scenes(t, filepath.Join(dir, "pictures"), 60)
	c := sceneConfig(filepath.Join(dir, "pictures"))
	if err := c.Check(); err != nil {
		t.Fatal(err)
	}
	o := Options{Dir: filepath.Join(dir, "run"), Device: openCPU(t)}
	var err error
	if o.Train, o.Test, err = LoadData(t.Context(), &c.Data, nil); err != nil {
		t.Fatal(err)
	}
	bad := filepath.Join(dir, "pictures", "031.png")
	whole := readFile(t, bad)
	if err := os.WriteFile(bad, whole[:len(whole)/2], 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err = Train(t.Context(), c, o); err == nil || !strings.Contains(err.Error(), "031.png: corrupt or truncated PNG") {
		t.Fatalf("error %v", err)
	}
	if err := os.WriteFile(bad, whole, 0o666); err != nil {
		t.Fatal(err)
	}
	o.Resume = true
	if _, err = Train(t.Context(), c, o); err != nil {
		t.Errorf("resume: %v", err)
	}
	// A set without pictures to validate on is validated on some of those for training.
	c.Data.Validation = 0
	train, validation, err := LoadData(t.Context(), &c.Data, nil)
	if err != nil || train.Len() != 60 || validation.Len() != 60 {
		t.Errorf("%d and %d pictures, error %v", train.Len(), validation.Len(), err)
	}
}

// A loader gives what is asked for, in whatever order, also from the middle of an epoch that is not the next.
func TestLoader(t *testing.T) {
	dir := t.TempDir()
	scenes(t, dir, 23)
	set, err := dataset.ReadImages(t.Context(), dir, dataset.ImageOptions{H: 16, W: 16, C: 3, Stream: true, Augment: dataset.Augment{Crop: "random"}})
	if err != nil {
		t.Fatal(err)
	}
	const seed, batch = 7, 4
	l := newLoader(set, seed, batch, 5, func(n int) (int, int) { return 0, n })
	defer l.close()
	order := make([]int32, set.Len())
	got, want := make([]byte, batch*set.Size()), make([]byte, batch*set.Size())
	for _, at := range [][2]int{{1, 0}, {1, 4}, {1, 8}, {1, 12}, {1, 16}, {1, 20}, {2, 0}, {2, 4}, {5, 20}, {1, 4}, {4, 8}, {4, 8}, {4, 12}, {3, 0}} {
		epoch, offset := at[0], at[1]
		shuffled(order, seed, epoch)
		samples := order[offset:min(offset+batch, len(order))]
		l.begin(epoch)
		if err := l.Read(got, offset, samples); err != nil {
			t.Fatal(err)
		}
		for i, s := range samples {
			if err := set.ReadAugmented(want[i*set.Size():][:set.Size()], int(s), seed, uint32(epoch)); err != nil {
				t.Fatal(err)
			}
		}
		if n := len(samples) * set.Size(); !slices.Equal(got[:n], want[:n]) {
			t.Errorf("epoch %d from %d: other pixels", epoch, offset)
		}
	}
	if l.failed() || l.waitedSince() <= 0 || l.waitedSince() != 0 {
		t.Error("want no failure, and a time of waiting that is told once")
	}
}

// A loader of a process that has a share of each step reads that alone, ahead of the steps, and has nothing to do where the share is empty.
func TestLoaderOfShare(t *testing.T) {
	dir := t.TempDir()
	scenes(t, dir, 11)
	set, err := dataset.ReadImages(t.Context(), dir, dataset.ImageOptions{H: 16, W: 16, C: 1, Stream: true})
	if err != nil {
		t.Fatal(err)
	}
	const seed, batch = 7, 4
	order, want := make([]int32, set.Len()), make([]byte, set.Size())
	for _, c := range []struct{ first, end int }{{0, 1}, {1, 3}, {3, 4}} {
		share := func(n int) (lo, hi int) { return min(c.first, n), min(c.end, n) }
		l := newLoader(set, seed, batch, 2, share)
		for _, at := range [][2]int{{1, 8}, {2, 0}, {2, 4}, {2, 8}, {1, 0}, {1, 4}, {1, 8}} { // the last step of an epoch has 3 samples
			epoch, first := at[0], at[1]
			shuffled(order, seed, epoch)
			lo, hi := share(min(batch, set.Len()-first))
			if lo == hi {
				continue
			}
			l.begin(epoch)
			got := make([]byte, (hi-lo)*set.Size())
			if err := l.Read(got, first+lo, order[first+lo:first+hi]); err != nil {
				t.Fatal(err)
			}
			for i, s := range order[first+lo : first+hi] {
				if err := set.ReadAugmented(want, int(s), seed, uint32(epoch)); err != nil {
					t.Fatal(err)
				}
				if !slices.Equal(got[i*set.Size():][:set.Size()], want) {
					t.Errorf("share %d to %d, epoch %d: other pixels than of sample %d", c.first, c.end, epoch, s)
				}
			}
		}
		l.mu.Lock()
		if runs := l.run; runs > 3 { // at the beginning, once back, and where a share ends before the last step
			t.Errorf("share %d to %d: reading began anew %d times", c.first, c.end, runs)
		}
		l.mu.Unlock()
		l.close()
	}
}

// Fields that say how pictures are read are checked, and written as they are read.
func TestPictureFields(t *testing.T) {
	const text = "model: {name: a, input: [8, 8, 1], encoder: [{flatten: {}}, {dense: {units: 2}}], decoder: [{dense: {units: 64}}, {reshape: {shape: [8, 8, 1]}}]}\ntraining: {loss: mse}\n"
	read := func(fields string) (Config, error) {
		return DecodeConfig(strings.NewReader(text + "data: {name: images, dir: x, " + fields + "}\n"))
	}
	c, err := read("resize: 12, filter: area, augment: {crop: random, flip: both, rotate: true, hue: 0.1}")
	if err != nil {
		t.Fatal(err)
	}
	if c.Data.Resize != 12 || c.Data.Filter != picture.Area || !c.Data.Stream || c.Data.Augment != (dataset.Augment{Crop: "random", Flip: "both", Rotate: true, Hue: 0.1}) {
		t.Errorf("read %+v", c.Data)
	}
	data, err := c.YAML()
	if err != nil {
		t.Fatal(err)
	}
	again, err := DecodeConfig(strings.NewReader(string(data)))
	if err != nil || again.Data.Resize != 12 || again.Data.Augment != c.Data.Augment || again.Data.Filter != picture.Area {
		t.Errorf("written as\n%s\nread as %+v, error %v", data, again.Data, err)
	}
	if c, err = read("augment: {rotate: true}, cache: true"); err != nil || !c.Data.Cache || !c.Data.Stream {
		t.Errorf("a cache beside an augmentation: %+v, error %v", c.Data, err)
	}
	if c, err = read("resize: none"); err != nil || c.Data.Resize != picture.Native || c.Data.Stream {
		t.Errorf("resize none: %v, %v", c.Data.Resize, err)
	}
	for fields, want := range map[string]string{
		"resize: 4":               "data.resize is 4, fewer pixels than data.size has (8 x 8): want 8 or more, cover, or none",
		"resize: all":             "want cover, none, or the pixels of the shorter side",
		"filter: nearest":         "want cubic, area or lanczos",
		"augment: {flip: left}":   `data.augment.flip is "left", want horizontal, vertical or both`,
		"augment: {crop: corner}": `data.augment.crop is "corner", want middle or random`,
		"augment: {hue: 1}":       "data.augment.hue is 1, want 0 to 0.5",
	} {
		if _, err := read(fields); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q", fields, err, want)
		}
	}
}
