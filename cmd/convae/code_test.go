package main

import (
	"bytes"
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/convae/convae/nn"
	"github.com/convae/convae/nn/graph"
	"github.com/convae/convae/nn/layer"
	"github.com/convae/convae/trainer"
	"github.com/convae/convae/trainer/dataset"
	"github.com/convae/convae/trainer/picture"
)

func mustWriteNPY(t *testing.T, path string, data []float32, shape ...int) {
	t.Helper()
	if err := trainer.WriteNPY(path, data, shape); err != nil {
		t.Fatal(err)
	}
}

func mustReadNPY(t *testing.T, path string) trainer.Array {
	t.Helper()
	a, err := trainer.ReadNPY(path)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// A model that changes nothing has the images for codes, and back, whatever the shape they come in.
func TestEncodeDecode(t *testing.T) {
	t.Chdir(t.TempDir())
	makeRun(t, "grey", 6, 4, 1)
	makeRun(t, "colour", 6, 4, 3)
	makeRun(t, "flat", 24)
	for _, c := range []struct {
		model string
		shape []int
		want  []int
	}{
		{"grey", []int{600, 6, 4, 1}, []int{600, 6, 4, 1}}, // more than a chunk
		{"grey", []int{5, 6, 4}, []int{5, 6, 4, 1}},
		{"grey", []int{5, 24}, []int{5, 6, 4, 1}},
		{"grey", []int{6, 4}, []int{1, 6, 4, 1}},
		{"grey", []int{6, 4, 1}, []int{1, 6, 4, 1}},
		{"colour", []int{2, 6, 4, 3}, []int{2, 6, 4, 3}},
		{"colour", []int{6, 4, 3}, []int{1, 6, 4, 3}},
		{"flat", []int{7, 24}, []int{7, 24}},
		{"flat", []int{24}, []int{1, 24}},
	} {
		n := 1
		for _, d := range c.shape {
			n *= d
		}
		x := ramp(n, 1, 1).Pix
		mustWriteNPY(t, "x.npy", x, c.shape...)
		mustRun(t, encodeCommand(), "x.npy", "code.npy", "--model", c.model)
		mustRun(t, decodeCommand(), "code.npy", "y.npy", "--model", c.model)
		for _, path := range []string{"code.npy", "y.npy"} {
			if a := mustReadNPY(t, path); !slices.Equal(a.Shape, c.want) || !slices.Equal(a.Data, x) || a.DType != "float32" {
				t.Errorf("%s, %v: %s has shape %v, want %v, or has other values", c.model, c.shape, path, a.Shape, c.want)
			}
		}
	}
}

func TestEncodeBytesAndPictures(t *testing.T) {
	t.Chdir(t.TempDir())
	makeRun(t, "runs/grey", 1, 3, 1)
	header := "{'descr': '|u1', 'fortran_order': False, 'shape': (1, 3), }\n"
	file := append([]byte("\x93NUMPY\x01\x00"), byte(len(header)), 0)
	file = append(append(file, header...), 0, 51, 255)
	if err := os.WriteFile("x.npy", file, 0o666); err != nil {
		t.Fatal(err)
	}
	mustWrite(t, "x.png", picture.Image{H: 1, W: 3, C: 1, Pix: []float32{0, 0.2, 1}})
	for _, in := range []string{"x.npy", "x.png"} {
		mustRun(t, encodeCommand(), in, "code.npy")
		if a := mustReadNPY(t, "code.npy"); !slices.Equal(a.Data, []float32{0, 0.2, 1}) || !slices.Equal(a.Shape, []int{1, 1, 3, 1}) {
			t.Errorf("%s: codes %v of shape %v", in, a.Data, a.Shape)
		}
	}
}

// A picture of another size is resized as those of a folder are, and a folder gives the codes of its pictures.
func TestEncodeAnySizeAndFolders(t *testing.T) {
	t.Chdir(t.TempDir())
	makeRun(t, "runs/grey", 4, 6, 1)
	if err := os.MkdirAll("pictures", 0o777); err != nil {
		t.Fatal(err)
	}
	mustWrite(t, "pictures/a.png", ramp(9, 12, 3))
	mustWrite(t, "pictures/b.png", ramp(4, 6, 1))
	mustRun(t, encodeCommand(), "pictures", "all.npy")
	all := mustReadNPY(t, "all.npy")
	if !slices.Equal(all.Shape, []int{2, 4, 6, 1}) {
		t.Fatalf("codes of the folder have shape %v", all.Shape)
	}
	for i, path := range []string{"pictures/a.png", "pictures/b.png"} {
		mustRun(t, encodeCommand(), path, "one.npy")
		for j, v := range mustReadNPY(t, "one.npy").Data {
			if math.Abs(float64(v-all.Data[24*i+j])) > 0.5/255+1e-6 { // a folder's pixels have 8 bits
				t.Fatalf("value %d of %s is %v, that of the folder is %v", j, path, v, all.Data[24*i+j])
			}
		}
	}
}

// Codes of pictures name their files, in the order of the arguments, and go through a pipe as CSV.
func TestEncodePicturesAndPipe(t *testing.T) {
	t.Chdir(t.TempDir())
	makeRun(t, "runs/grey", 1, 2, 1)
	if err := os.MkdirAll("all/dark", 0o777); err != nil {
		t.Fatal(err)
	}
	mustWrite(t, "all/b.png", picture.Image{H: 1, W: 2, C: 1, Pix: []float32{0, 0.2}})
	mustWrite(t, "all/dark/a.png", picture.Image{H: 1, W: 2, C: 1, Pix: []float32{1, 0.4}})
	const both = "code1,code2,file\n0,0.2,all/b.png\n1,0.4,all/dark/a.png\n"
	mustRun(t, encodeCommand(), "all/b.png", "all/dark/a.png", "code.csv")
	if got, err := os.ReadFile("code.csv"); err != nil || string(got) != both {
		t.Errorf("codes %q, error %v, want %q", got, err, both)
	}
	mustRun(t, encodeCommand(), "all", "folder.csv")
	if got, err := os.ReadFile("folder.csv"); err != nil || string(got) != strings.ReplaceAll(both, "all/", "") {
		t.Errorf("codes of the folder %q, error %v", got, err)
	}

	pipe := func(stdin string, args ...string) (stdout, stderr string, code int) {
		var out, told bytes.Buffer
		root := rootCommand()
		root.SetIn(strings.NewReader(stdin))
		root.SetArgs(args)
		code = runRoot(t.Context(), root, &out, &told)
		return out.String(), told.String(), code
	}
	png, err := os.ReadFile("all/b.png")
	if err != nil {
		t.Fatal(err)
	}
	codes, told, status := pipe(string(png), "encode", "-", "-")
	if status != 0 || codes != "code1,code2,file\n0,0.2,-\n" || !strings.Contains(told, "- -> -: codes (1, 1, 2, 1)") {
		t.Errorf("status %d, codes %q, said %q", status, codes, told)
	}
	values, told, status := pipe(codes, "decode", "-", "-")
	if status != 0 || values != "value1,value2\n0,0.2\n" {
		t.Errorf("status %d, values %q, said %q", status, values, told)
	}
	for _, c := range []struct{ stdin, args, want string }{
		{"", "encode - -", "standard input: nothing came"},
		{"code1\n0\n", "decode - -", "codes: standard input: "},
		{"", "encode all/b.png - x.csv", "of several arguments before the last each is the file of a picture; - is none"},
		{"", "encode all/b.png all x.csv", "; all is none"},
		{"", "encode all/b.png none.png x.csv", "none.png"},
		{"", "encode all/b.png all/b.png", "output file is all/b.png, want a name that ends in .npy or .csv"},
	} {
		if out, told, status := pipe(c.stdin, strings.Fields(c.args)...); status != 1 || out != "" || !strings.Contains(told, c.want) {
			t.Errorf("%s: status %d, printed %q, said %q, want %q", c.args, status, out, told, c.want)
		}
	}
}

func TestEncodeDataSet(t *testing.T) {
	t.Chdir(t.TempDir())
	makeRun(t, "runs/a", 28, 28, 1)
	mustRun(t, encodeCommand(), "--data", "digits", "--seed", "4", "--limit", "20", "code.npy")
	_, test := dataset.DigitsSplit(4)
	a := mustReadNPY(t, "code.npy")
	if !slices.Equal(a.Shape, []int{20, 28, 28, 1}) {
		t.Fatalf("shape %v", a.Shape)
	}
	for i, v := range a.Data {
		if want := float32(test.Pixels[i]) / 255; v != want {
			t.Fatalf("value %d is %v, want %v as in the test images", i, v, want)
		}
	}
	mustRun(t, decodeCommand(), "code.npy", "sheet.png")
	if img, err := picture.Load("sheet.png", 1); err != nil || img.W < 10*28 || img.H < 2*28 {
		t.Errorf("the sheet has %d x %d pixels, error %v", img.W, img.H, err)
	}
}

// Codes and labels go to a table; decoding reads the codes alone, and has the same bits as with .npy.
func TestCodesInTables(t *testing.T) {
	t.Chdir(t.TempDir())
	makeRun(t, "runs/a", 28, 28, 1)
	for _, out := range []string{"code.npy", "code.csv"} {
		mustRun(t, encodeCommand(), "--data", "digits", "--limit", "5", out)
		mustRun(t, decodeCommand(), out, out+".npy")
	}
	table, err := dataset.ReadCSV("code.csv", dataset.CSVOptions{Label: "label"})
	if err != nil {
		t.Fatal(err)
	}
	_, test := dataset.DigitsSplit(0)
	if len(table.Columns) != 784 || table.Columns[783] != "code784" || !slices.Equal(table.Labels, test.Labels[:5]) {
		t.Errorf("columns %d, labels %v, want 784 and %v", len(table.Columns), table.Labels, test.Labels[:5])
	}
	if a, b := mustReadNPY(t, "code.npy.npy"), mustReadNPY(t, "code.csv.npy"); !slices.Equal(a.Data, b.Data) {
		t.Error("codes from .npy and from .csv decode to other values")
	}
	mustRun(t, decodeCommand(), "code.npy", "y.csv")
	if table, err = dataset.ReadCSV("y.csv", dataset.CSVOptions{}); err != nil || table.Columns[0] != "value1" || len(table.Values) != 5*784 {
		t.Errorf("decoded to .csv: columns %v ..., %d values, %v", table.Columns[0], len(table.Values), err)
	}
}

// A model of a scaled table takes and gives the table's own units, whatever file they are in.
func TestCodesOfScaledTables(t *testing.T) {
	t.Chdir(t.TempDir())
	c := trainer.Config{Data: trainer.Data{Name: "csv", File: "old.csv", Columns: []string{"height", "weight"}, Scaling: "minmax",
		Scaler: &dataset.Scaler{Offset: []float64{150, 50}, Scale: []float64{40, 20}}}}
	c.Model = nn.Config{Name: "same", Input: []int{2}, Encoder: graph.Specs(&layer.Activation{Function: "linear"}), Decoder: graph.Specs(&layer.Activation{Function: "linear"})}
	saveRun(t, "runs/table", c)
	write(t, []byte("weight,name,height\n50,x,170\n90,y,150\n"), "new.csv")
	mustWriteNPY(t, "new.npy", []float32{170, 50, 150, 90}, 2, 2)
	for _, in := range []string{"new.csv", "new.npy"} {
		mustRun(t, encodeCommand(), in, "code.npy")
		if a := mustReadNPY(t, "code.npy"); !slices.Equal(a.Data, []float32{0.5, 0, 0, 2}) {
			t.Errorf("%s: codes %v", in, a.Data)
		}
	}
	mustRun(t, decodeCommand(), "code.npy", "back.npy")
	mustRun(t, decodeCommand(), "code.npy", "back.csv")
	if a := mustReadNPY(t, "back.npy"); !slices.Equal(a.Data, []float32{170, 50, 150, 90}) {
		t.Errorf("decoded: %v", a.Data)
	}
	if text, err := os.ReadFile("back.csv"); err != nil || string(text) != "height,weight\n170,50\n150,90\n" {
		t.Errorf("decoded: %q, %v", text, err)
	}
	mustWriteNPY(t, "nan.npy", []float32{170, float32(math.NaN())}, 1, 2)
	wantError(t, "nan.npy: value 1 is NaN, want finite numbers", encodeCommand(), "nan.npy", "c.npy")
}

func TestCodeErrors(t *testing.T) {
	t.Chdir(t.TempDir())
	makeRun(t, "runs/a", 6, 4, 1)
	makeRun(t, "two", 6, 4, 2)
	mustWriteNPY(t, "x.npy", make([]float32, 25), 5, 5)
	mustWriteNPY(t, "big.npy", ramp(6*4*12, 1, 1).Pix, 12, 6, 4)
	big := slices.Repeat([]float32{1.5}, 24)
	mustWriteNPY(t, "range.npy", big, 6, 4)
	mustWriteNPY(t, "two.npy", make([]float32, 48), 1, 6, 4, 2)
	mustWrite(t, "x.png", ramp(5, 7, 1))
	wantError(t, `x.npy: shape (5, 5) does not suit model "same": want N samples of (6, 4, 1)`, encodeCommand(), "x.npy", "c.npy")
	wantError(t, `x.npy: shape (5, 5) does not suit`, decodeCommand(), "x.npy", "c.npy")
	wantError(t, "range.npy: value 0 is 1.5, want values in [0,1]", encodeCommand(), "range.npy", "c.npy")
	wantError(t, "is the input", encodeCommand(), "big.npy", "./big.npy")
	wantError(t, "is the input", decodeCommand(), "big.npy", "./big.npy")
	wantError(t, "ends in .npy or .csv", encodeCommand(), "big.npy", "c.txt")
	wantError(t, "ends in .npy or .csv or .png", decodeCommand(), "big.npy", "c.txt")
	wantError(t, "ends in .npy or .csv", decodeCommand(), "x.png", "c.npy")
	write(t, []byte("code1,code2\n1,2\n"), "few.csv")
	wantError(t, `few.csv: columns: there is no column "code3", want a number of 1 to 2 or one of code1, code2 (want codes of model "same" as encode writes them: code1 to code24)`, decodeCommand(), "few.csv", "c.npy")
	wantError(t, "no image: want IN.npy", encodeCommand(), "x.png", "c.npy", "--model", "two")
	wantError(t, "no image: want OUT.npy", decodeCommand(), "two.npy", "c.png", "--model", "two")
	wantError(t, "found 1", encodeCommand(), "c.npy")
	wantError(t, "found 2", encodeCommand(), "--data", "digits", "x.npy", "c.npy")
	wantError(t, `no data set "nothing"`, encodeCommand(), "--data", "nothing", "c.npy")
	wantError(t, `--split is "all"`, encodeCommand(), "--data", "digits", "--split", "all", "c.npy")
	wantError(t, "--limit is -1", encodeCommand(), "--data", "digits", "--limit", "-1", "c.npy")
	wantError(t, "images of 28 x 28 pixels", encodeCommand(), "--data", "digits", "c.npy")
	wantError(t, "none.npy", encodeCommand(), "none.npy", "c.npy")
	if _, err := os.Stat("c.npy"); err == nil {
		t.Error("an output was written in spite of an error")
	}
}

// Codes that are images of one pixel have the dimensions that Keras gives them, and come back.
func TestCodesOfOnePixel(t *testing.T) {
	t.Chdir(t.TempDir())
	saveRun(t, "run", trainer.Config{Data: trainer.Data{Name: "npy", File: "x.npy"}, Model: nn.Config{Name: "pixel", Input: []int{2, 2, 1},
		Encoder: graph.Specs(&layer.Conv2D{Filters: 3, Kernel: layer.Square(2), Padding: "valid"}),
		Decoder: graph.Specs(&layer.UpSampling2D{Size: 2}, &layer.Conv2D{Filters: 1, Kernel: layer.Square(1)})}})
	mustWriteNPY(t, "x.npy", make([]float32, 5*4), 5, 2, 2, 1)
	if out := mustRun(t, encodeCommand(), "--model", "run", "x.npy", "codes.npy"); !strings.Contains(out, "codes (5, 1, 1, 3)") {
		t.Errorf("printed %q", out)
	}
	if a := mustReadNPY(t, "codes.npy"); !slices.Equal(a.Shape, []int{5, 1, 1, 3}) {
		t.Errorf("codes of shape %v", a.Shape)
	}
	mustWriteNPY(t, "flat.npy", make([]float32, 5*3), 5, 3)
	for _, codes := range []string{"codes.npy", "flat.npy"} {
		if out := mustRun(t, decodeCommand(), "--model", "run", codes, "y.npy"); !strings.Contains(out, "samples (5, 2, 2, 1)") {
			t.Errorf("%s: printed %q", codes, out)
		}
	}
}
