package trainer

import (
	"errors"
	"fmt"
	"image"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/convae/convae/nn"
	"github.com/convae/convae/nn/graph"
	"github.com/convae/convae/nn/layer"
	"github.com/convae/convae/trainer/dataset"
)

func writeFile(t *testing.T, text string, path ...string) string {
	t.Helper()
	p := filepath.Join(path...)
	if err := os.WriteFile(p, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
	return p
}

// tableConfig trains on a table of 40 rows, x from 0 to 39 and y = 100 - 2x; the last quarter is for validation.
func tableConfig(t *testing.T) Config {
	t.Helper()
	text := "x,y,kind\n"
	for i := range 40 {
		text += fmt.Sprintf("%d,%d,%d\n", i, 100-2*i, i%3)
	}
	path := writeFile(t, text, t.TempDir(), "table.csv")
	c := Config{
		Model: nn.Config{Name: "table", Input: []int{2},
			Encoder: graph.Specs(&layer.Dense{Units: 3, Activation: "tanh"}, &layer.Dense{Units: 1}),
			Decoder: graph.Specs(&layer.Dense{Units: 2, Activation: "sigmoid"})},
		Data:     Data{Name: "csv", File: path, Label: "kind", Scaling: "minmax", Validation: 0.25},
		Training: Training{Epochs: 20, Batch: 8, Loss: nn.MSE, Optimizer: nn.Optimizer{LearningRate: 0.02}, Noise: Noise{Std: 0.05}, Seed: 3, Validation: 5},
	}
	if err := c.Check(); err != nil {
		t.Fatal(err)
	}
	return c
}

// The scaling is fitted on the training samples alone, saved with the run, and used when the run is loaded.
func TestTableRun(t *testing.T) {
	c := tableConfig(t)
	train, test, err := LoadData(t.Context(), &c.Data, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := dataset.Scaler{Offset: []float64{0, 42}, Scale: []float64{29, 58}}
	if !reflect.DeepEqual(*c.Data.Scaler, want) {
		t.Errorf("the scaler is %+v, want %+v", *c.Data.Scaler, want)
	}
	if train.Len() != 30 || test.Len() != 10 || train.Values[0] != 0 || train.Values[1] != 1 || test.Values[18] != float32(39./29) || test.Labels[9] != 0 {
		t.Errorf("%d and %d samples, values %v and %v", train.Len(), test.Len(), train.Values, test.Values)
	}
	dir := filepath.Join(t.TempDir(), "run")
	r, err := Train(t.Context(), c, Options{Dir: dir, Device: openCPU(t), Train: train, Test: test})
	if err != nil {
		t.Fatal(err)
	}
	if n := len(r.History); n != 4 || r.History[3].Epoch != 20 || r.History[3].Loss >= r.History[0].Loss {
		t.Errorf("history %+v", r.History)
	}
	if o := r.Final.Output; o.PSNR != 0 || o.SSIM != 0 || o.N != 10 || !(o.MaxAbs > 0) || r.History[3].ValMaxError != o.MaxAbs {
		t.Errorf("final %+v, history %+v", r.Final, r.History[3])
	}
	if _, err := os.Stat(filepath.Join(dir, SamplesFile)); !os.IsNotExist(err) {
		t.Errorf("there is a picture of vectors: %v", err)
	}
	_, back, err := LoadModel(dir)
	if err != nil || !reflect.DeepEqual(back, c) {
		t.Errorf("the run's configuration is %+v, want %+v (%v)", back, c, err)
	}
	// Other rows are scaled as the run's were.
	back.Data.File = writeFile(t, "x,y,kind\n58,42,1\n", t.TempDir(), "other.csv")
	back.Data.Validation = 0
	all, same, err := LoadData(t.Context(), &back.Data, nil)
	if err != nil || all != same || all.Values[0] != 2 || all.Values[1] != 0 {
		t.Errorf("other rows are %+v, %v", all, err)
	}
	back.Data.Columns = []string{"x"}
	if _, _, err := LoadData(t.Context(), &back.Data, nil); err == nil || !strings.Contains(err.Error(), "data.scaler has 2 columns, the samples have 1: leave data.scaler out") {
		t.Errorf("a scaler of another table: error %v", err)
	}
}

// Training on a table goes on where it was stopped, to the same model.
func TestTableResume(t *testing.T) {
	config := tableConfig(t) // of one table, whose path is in the model's file
	run := func(epochs ...int) string {
		c := config
		train, test, err := LoadData(t.Context(), &c.Data, nil)
		if err != nil {
			t.Fatal(err)
		}
		dir := filepath.Join(t.TempDir(), "run")
		for i, n := range epochs {
			c.Training.Epochs = n
			if _, err := Train(t.Context(), c, Options{Dir: dir, Resume: i > 0, Device: openCPU(t), Train: train, Test: test}); err != nil {
				t.Fatal(err)
			}
		}
		return dir
	}
	a, b := run(20), run(10, 20)
	if string(readFile(t, a, ModelFile)) != string(readFile(t, b, ModelFile)) {
		t.Error("the models differ")
	}
}

func TestCheckSet(t *testing.T) {
	c := tableConfig(t)
	c.Training.Loss = nn.BCE
	train, test, err := LoadData(t.Context(), &c.Data, nil)
	if err != nil {
		t.Fatal(err)
	}
	o := Options{Dir: filepath.Join(t.TempDir(), "run"), Device: openCPU(t), Train: test, Test: train} // those to validate on lie beyond the scaling
	_, err = Train(t.Context(), c, o)
	if err == nil || !strings.Contains(err.Error(), "value 1 of sample 1 is 1.0344827, and loss bce needs values in [0,1]: use data.scaling minmax or loss mse") {
		t.Errorf("error %v", err)
	}
	o.Train, o.Test = dataset.Circle(10, 0.1, 1), dataset.Digits(10, 1)
	c.Training.Loss = nn.MSE
	if _, err = Train(t.Context(), c, o); err == nil || !strings.Contains(err.Error(), `data set digits has images of 28 x 28 x 1 = 784 values, model "table" takes 2`) {
		t.Errorf("error %v", err)
	}
	c.Model.Input = []int{3}
	if _, err = Train(t.Context(), c, o); err == nil || !strings.Contains(err.Error(), "data set circle has samples of 2 values") {
		t.Errorf("error %v", err)
	}
}

// A full batch is all training samples, however many; the run says `full`.
func TestFullBatch(t *testing.T) {
	c := tableConfig(t)
	c.Training.Batch = FullBatch
	train, test, err := LoadData(t.Context(), &c.Data, nil)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "run")
	r, err := Train(t.Context(), c, Options{Dir: dir, Device: openCPU(t), Train: train, Test: test})
	if err != nil {
		t.Fatal(err)
	}
	if last := r.History[len(r.History)-1]; last.Step != 20 {
		t.Errorf("20 epochs took %d steps, want one each", last.Step)
	}
	if text := string(readFile(t, dir, ConfigFile)); !strings.Contains(text, "batch: full\n") {
		t.Errorf("the configuration is\n%s", text)
	}
}

func TestLoadNPY(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a.npy")
	v := make([]float32, 4*6)
	for i := range v {
		v[i] = float32(i)
	}
	for _, c := range []struct {
		shape   []int
		h, w, c int
	}{{[]int{4, 6}, 1, 1, 6}, {[]int{4, 2, 3}, 2, 3, 1}, {[]int{4, 1, 2, 3}, 1, 2, 3}} {
		if err := WriteNPY(path, v, c.shape); err != nil {
			t.Fatal(err)
		}
		d := Data{Name: "npy", File: path, Scaling: "standard"}
		set, _, err := LoadData(t.Context(), &d, nil)
		if err != nil || set.H != c.h || set.W != c.w || set.C != c.c || set.Len() != 4 || math.Abs(float64(set.Values[0])+1.3416408) > 1e-6 {
			t.Errorf("%v: %+v, %v", c.shape, set, err)
		}
	}
	pixels := writeFile(t, "\x93NUMPY\x01\x00\x3f\x00{'descr': '|u1', 'fortran_order': False, 'shape': (2, 1, 2), }\n\x00\xff\x10\x20", dir, "b.npy")
	d := Data{Name: "npy", File: pixels}
	set, _, err := LoadData(t.Context(), &d, nil)
	if err != nil || string(set.Pixels) != "\x00\xff\x10\x20" || set.Values != nil {
		t.Errorf("pixels: %+v, %v", set, err)
	}
	wantLoadError(t, Data{Name: "npy", File: pixels, Scaling: "minmax"}, "want none: uint8 values are pixels")
	v[7] = float32(math.NaN())
	if err := WriteNPY(path, v, []int{4, 6}); err != nil {
		t.Fatal(err)
	}
	wantLoadError(t, Data{Name: "npy", File: path}, "a.npy: value 2 of sample 2 is NaN, want finite numbers")
	if err := WriteNPY(path, v, []int{24}); err != nil {
		t.Fatal(err)
	}
	wantLoadError(t, Data{Name: "npy", File: path}, "shape is (24,), want (N, n), (N, rows, columns)")
}

func wantLoadError(t *testing.T, d Data, want string) {
	t.Helper()
	if _, _, err := LoadData(t.Context(), &d, nil); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("error %v, want one with %q", err, want)
	}
}

// A file or folder for testing is the test set, scaled as the training set is.
func TestTestParts(t *testing.T) {
	dir := t.TempDir()
	a, b := writeFile(t, "x\n0\n10\n", dir, "a.csv"), writeFile(t, "x\n5\n20\n30\n", dir, "b.csv")
	d := Data{Name: "csv", File: a, TestFile: b, Scaling: "minmax"}
	train, test, err := LoadData(t.Context(), &d, nil)
	if err != nil || train.Len() != 2 || !reflect.DeepEqual(test.Values, []float32{.5, 2, 3}) {
		t.Errorf("%+v, %+v, %v", train, test, err)
	}
	wide := writeFile(t, "y,x\n1,5\n", dir, "wide.csv")
	d = Data{Name: "csv", File: a, TestFile: wide}
	if _, test, err = LoadData(t.Context(), &d, nil); err != nil || !reflect.DeepEqual(test.Values, []float32{5}) {
		t.Errorf("the same column of a wider table: %+v, %v", test, err)
	}
	wantLoadError(t, Data{Name: "csv", File: wide, TestFile: a}, `a.csv: columns: there is no column "y"`)
	narrow := filepath.Join(dir, "narrow.npy")
	if err := errors.Join(WriteNPY(narrow, []float32{1, 2}, []int{2, 1}), WriteNPY(filepath.Join(dir, "wide.npy"), []float32{1, 2}, []int{1, 2})); err != nil {
		t.Fatal(err)
	}
	wantLoadError(t, Data{Name: "npy", File: narrow, TestFile: filepath.Join(dir, "wide.npy")}, "wide.npy has samples of 2 values, want 1 as in")
	for i, name := range []string{"train/1.png", "train/2.png", "test/1.png"} {
		path := filepath.Join(dir, "pictures", name)
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			t.Fatal(err)
		}
		m := image.NewGray(image.Rect(0, 0, 2, 2))
		m.Pix[0] = uint8(i)
		f, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := png.Encode(f, m); err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
	d = Data{Name: "images", Dir: filepath.Join(dir, "pictures"), Size: layer.Square(2), Channels: 1}
	train, test, err = LoadData(t.Context(), &d, nil)
	if err != nil || train.Len() != 2 || test.Len() != 1 || train.Pixels[4] != 1 || test.Pixels[0] != 2 {
		t.Errorf("%+v, %+v, %v", train, test, err)
	}
}

// Pictures take the size of the model unless the configuration has another.
func TestLoadImages(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"a.png", "b.png"} {
		f, err := os.Create(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := png.Encode(f, image.NewRGBA(image.Rect(0, 0, 9, 5))); err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
	c := smallConfig()
	c.Data = Data{Name: "images", Dir: dir}
	if err := c.Check(); err != nil {
		t.Fatal(err)
	}
	set, test, err := LoadData(t.Context(), &c.Data, nil)
	if err != nil || set != test || set.Len() != 2 || set.H != 28 || set.W != 28 || set.C != 1 {
		t.Errorf("%+v, %v", set, err)
	}
}

// Only the samples of some labels are trained on and validated on, and a scaling is fitted to those.
func TestLoadOnly(t *testing.T) {
	d := Data{Name: "digits", Only: []Class{"3", "5"}}
	train, test, err := LoadData(t.Context(), &d, nil)
	if err != nil {
		t.Fatal(err)
	}
	all, _ := dataset.DigitsSplit(0)
	for _, set := range []*dataset.Set{train, test} {
		for i, l := range set.Labels {
			if l != 3 && l != 5 {
				t.Fatalf("sample %d has label %d", i, l)
			}
		}
	}
	if train.Len() != 2*all.Len()/10 || test.Len() != 400 {
		t.Errorf("%d and %d samples", train.Len(), test.Len())
	}
	first := slices.IndexFunc(all.Labels, func(l uint8) bool { return l == 3 || l == 5 })
	if !slices.Equal(train.Image(0), all.Image(first)) {
		t.Error("the first sample is not the first with such a label")
	}
	file := filepath.Join(t.TempDir(), "t.csv")
	if err := os.WriteFile(file, []byte("v,kind\n100,b\n1,a\n3,a\n900,c\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	d = Data{Name: "csv", File: file, Label: "kind", Scaling: "minmax", Only: []Class{"0"}}
	if train, _, err = LoadData(t.Context(), &d, nil); err != nil || !slices.Equal(train.Values, []float32{0, 1}) || d.Scaler.Scale[0] != 2 {
		t.Errorf("%+v, %+v, %v", train, d.Scaler, err)
	}
	d.Only = []Class{"3", "4"}
	if _, _, err = LoadData(t.Context(), &d, nil); err == nil || !strings.Contains(err.Error(), "t.csv: data.only: there is no class \"3\", want some of a, b, c") {
		t.Errorf("labels that there are not: error %v", err)
	}
	d = Data{Name: "digits", Only: []Class{"10"}}
	if _, _, err = LoadData(t.Context(), &d, nil); err == nil || !strings.Contains(err.Error(), "data.only: dataset digits: no sample has one of the labels [10], want some of 0, 1, 2, 3") {
		t.Errorf("a digit that there is not: error %v", err)
	}
}

func TestDataErrors(t *testing.T) {
	for _, c := range []struct{ data, want string }{
		{"{name: minst}", `no data set "minst", perhaps mnist, want one of digits, mnist`},
		{"{name: mnist, seed: 1}", "data.seed is not for mnist, which has dir, only, limit, validation_limit and validation"},
		{"{name: csv, file: a.csv, dir: x}", "data.dir is not for csv, which has file, test_file, columns, label, no_header, scaling, scaler, only, classes, limit, validation_limit and validation"},
		{"{name: npy, file: a, only: [1]}", "data.only is not for npy"},
		{"{name: csv, file: a, only: [1]}", "data.only goes by labels: want data.label"},
		{"{name: mnist, only: [1, 256]}", "data.only: there is no class \"256\", want a number of 0 to 255"},
		{"{name: csv}", "data.file is missing: want the .csv file to read (data: {name: csv, file: PATH}, or --data PATH.csv)"},
		{"{name: csv, file: a, columns: []}", "data.columns is empty: leave it out to take all columns"},
		{"{name: csv, file: a, scaling: zscore}", `data.scaling is "zscore", want minmax, standard or none`},
		{"{name: csv, file: a, scaler: {offset: [0], scale: [1]}}", "data.scaler is there without data.scaling"},
		{"{name: csv, file: a, scaling: minmax, scaler: {offset: [0], scale: [0]}}", "no scale of 0"},
		{"{name: csv, file: a, scaling: minmax, scaler: {offset: [0, 1], scale: [1]}}", "as many finite offsets as scales"},
		{"{name: spiral, samples: 1}", "data.samples is 1, want 2 to"},
		{"{name: spiral, noise: -1}", "data.noise is -1, want 0 to 100"},
		{"{name: circle, seed: 4294967296}", "data.seed is 4294967296, want at most 4294967295"},
		{"{name: images}", "data.dir is missing: want the folder with the pictures"},
		{"{name: images, dir: x, channels: 2}", "data.channels is 2, want 1 (grey) or 3 (colour)"},
		{"{name: images, dir: x, size: [0, 3]}", "data.size is 0 x 3, want at least 1 x 1"},
		{"{name: digits, limit: -1}", "data.limit is -1"},
	} {
		_, err := DecodeConfig(strings.NewReader(goodConfig + "\ndata: " + c.data + "\n"))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one with %q", c.data, err, c.want)
		}
	}
	square := Data{Name: "images", Dir: "x"}
	if err := square.check([]int{64}); err != nil || square.Size != layer.Square(8) || square.Channels != 1 {
		t.Errorf("pictures for a vector of 64 values: %+v, %v", square, err)
	}
	vector := strings.Replace(goodConfig, "[8, 8, 1]", "[65]", 1) + "\ndata: {name: images, dir: x}\n"
	if _, err := DecodeConfig(strings.NewReader(vector)); err == nil || !strings.Contains(err.Error(), "data.size is missing: want [rows, columns]") {
		t.Errorf("pictures for a vector: error %v", err)
	}
}

// What a run of a wide table finds out fits into its configuration, and picks the same columns of another table.
func TestWideTable(t *testing.T) {
	const columns = 5000
	dir := t.TempDir()
	table := func(name string, first int) string {
		var head, rows strings.Builder
		for i := range columns {
			fmt.Fprintf(&head, "%smeasurement%d", strings.Repeat(",", min(i, 1)), (first+i)%columns)
			fmt.Fprintf(&rows, "%s%v", strings.Repeat(",", min(i, 1)), math.Sqrt(float64((first+i)%columns)))
		}
		path := filepath.Join(dir, name)
		text := head.String() + ",kind\n" + rows.String() + ",a\n" + strings.ReplaceAll(rows.String(), "1", "2") + ",b\n"
		if name != "train.csv" {
			text = strings.NewReplacer(",kind", "", ",a", "", ",b", "").Replace(text)
		}
		if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		return path
	}
	c := smallConfig()
	c.Model = nn.Config{Name: "wide", Input: []int{columns}, Encoder: graph.Specs(&layer.Dense{Units: 1}), Decoder: graph.Specs(&layer.Dense{Units: columns})}
	c.Data = Data{Name: "csv", File: table("train.csv", 0), Label: "kind", Scaling: "standard"}
	c.Training.Loss = nn.MSE
	train, _, err := LoadData(t.Context(), &c.Data, nil)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "config.yaml")
	if err := c.Write(path); err != nil {
		t.Fatal(err)
	}
	back, err := ReadConfig(path)
	if err != nil {
		t.Fatal(err)
	}
	back.Data.File, back.Data.OptionalLabel = table("turned.csv", 77), true
	turned, _, err := back.Data.Load(t.Context(), nil)
	if err != nil || !slices.Equal(turned.Values, train.Values) || turned.Labels != nil || train.Labels == nil {
		t.Fatalf("other values or labels from the same columns in another order, %v", err)
	}
	twice := Data{Name: "csv", File: filepath.Join(dir, "twice.csv")}
	if err := os.WriteFile(twice.File, []byte("a,a\n1,2\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if set, _, err := twice.Load(t.Context(), nil); err != nil || !slices.Equal(set.Values, []float32{1, 2}) {
			t.Errorf("columns of one name: %+v, %v", set, err)
		}
	}
	back.Data.OptionalLabel = false
	if _, _, err := back.Data.Load(t.Context(), nil); err == nil || !strings.Contains(err.Error(), `label: there is no column "kind"`) {
		t.Errorf("without the label: error %v", err)
	}
}
