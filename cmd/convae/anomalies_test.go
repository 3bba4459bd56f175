package main

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/convae/convae/nn"
	"github.com/convae/convae/nn/graph"
	"github.com/convae/convae/nn/layer"
	"github.com/convae/convae/trainer"
	"github.com/convae/convae/trainer/picture"
)

// lineRun is a run whose model makes (a, a) of (a, b): the error is half of the squared difference.
func lineRun(t *testing.T, dir string, data trainer.Data) {
	t.Helper()
	c := trainer.Config{Data: data, Model: nn.Config{Name: "line", Input: []int{2}, Encoder: graph.Specs(&layer.Dense{Units: 1, NoBias: true}), Decoder: graph.Specs(&layer.Dense{Units: 2, NoBias: true})}}
	c.Training.Loss = nn.MSE
	saveRun(t, dir, c)
	m, err := nn.New(c.Model, 1)
	if err != nil {
		t.Fatal(err)
	}
	copy(m.Params[0].Data, []float32{1, 0})
	copy(m.Params[1].Data, []float32{1, 1})
	if err := trainer.SaveModel(filepath.Join(dir, trainer.ModelFile), m); err != nil {
		t.Fatal(err)
	}
}

func TestAnomalies(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, []byte("a,b,class\n1,1.1,0\n1,1.2,0\n1,1.3,0\n1,6,1\n"), "train.csv")
	write(t, []byte("a,b,class\n1,1.1,0\n2,2.4,0\n1,0.8,1\n1,1.5,1\n1,0.4,1\n"), "test.csv")
	lineRun(t, "run", trainer.Data{Name: "csv", File: "train.csv", Label: "class"})

	// The threshold is the largest normal error, 0.3^2/2.
	out := mustRun(t, anomaliesCommand(), "run", "test.csv", "--normal", "0", "--quantile", "1", "--out", "s.csv", "--device", "cpu")
	for _, want := range []string{"run on 5 samples of csv\n", "threshold: MSE 0.045, quantile 1 of the errors of 3 validation samples\n", "anomalies: 3 of 5 samples (60.00 %)\n",
		"labels: 2 normal, 3 anomalous; ROC AUC 0.8333; above the threshold are 66.67 % of the anomalous, 50.00 % of the normal\n", "highest: sample 4 (0.18) sample 3 (0.125) sample 1 (0.08"} {
		if !strings.Contains(out, want) {
			t.Errorf("printed %q, want %q in it", out, want)
		}
	}
	table, err := os.ReadFile("s.csv")
	lines := strings.Split(string(table), "\n")
	if err != nil || len(lines) != 7 || lines[0] != "index,score,anomaly,label" || !strings.HasPrefix(lines[2], "1,0.08") || !strings.HasSuffix(lines[2], ",true,0") || !strings.HasSuffix(lines[3], ",false,1") {
		t.Errorf("s.csv is %q, %v", table, err)
	}

	// Without --normal all validation samples count, and the run's own data are scored.
	var r anomalyReport
	if err := json.Unmarshal([]byte(mustRun(t, anomaliesCommand(), "run", "--quantile", "1", "--json", "--out", "s.json")), &r); err != nil {
		t.Fatal(err)
	}
	if math.Abs(r.Threshold-12.5) > 1e-5 || r.Fitted != 4 || r.Samples != 4 || r.Anomalies != 0 || r.Scores != nil || r.labelledReport != nil {
		t.Errorf("printed %+v", r)
	}
	text, err := os.ReadFile("s.json")
	if err == nil {
		err = json.Unmarshal(text, &r)
	}
	if err != nil || len(r.Scores) != 4 || math.Abs(r.Scores[3].Score-12.5) > 1e-5 || *r.Scores[3].Label != 1 {
		t.Errorf("s.json is %+v, %v", r, err)
	}
}

// A run that was trained on some labels alone scores all samples, and takes those labels for the normal ones.
func TestAnomaliesOfOnly(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, []byte("a,b,class\n1,1.1,4\n1,6,1\n1,1.3,4\n"), "train.csv")
	lineRun(t, "run", trainer.Data{Name: "csv", File: "train.csv", Label: "class", Only: []trainer.Class{"4"}})
	out := mustRun(t, anomaliesCommand(), "run", "--quantile", "1")
	for _, want := range []string{"run on 3 samples of csv\n", "of the errors of 2 validation samples\n", "anomalies: 1 of 3 samples", "labels: 2 normal, 1 anomalous; ROC AUC 1.0000"} {
		if !strings.Contains(out, want) {
			t.Errorf("printed %q, want %q in it", out, want)
		}
	}
	wantError(t, "--normal 1: none of the run's 2 validation samples is normal", anomaliesCommand(), "run", "--normal", "1")
	if out := mustRun(t, encodeCommand(), "--model", "run", "--data", "train.csv", "codes.csv"); !strings.Contains(out, "codes (3, 1)") {
		t.Errorf("encode leaves samples out: %q", out)
	}
}

// The picture has the sample with the highest score, and --count 1 no other.
func TestWorst(t *testing.T) {
	t.Chdir(t.TempDir())
	c := trainer.Config{Data: trainer.Data{Name: "npy", File: "x.npy"}, Model: nn.Config{Name: "dim", Input: []int{2, 2, 1},
		Encoder: graph.Specs(&layer.Conv2D{Filters: 1, Kernel: layer.Square(1)}), Decoder: graph.Specs(&layer.Conv2D{Filters: 1, Kernel: layer.Square(1)})}}
	saveRun(t, "runs/dim", c)
	m, _, err := trainer.LoadModel("runs/dim")
	if err != nil {
		t.Fatal(err)
	}
	for i, v := range []float32{1, 0, 0.4, 0} { // weights and biases: 0.4 of the input comes out
		m.Params[i].Data[0] = v
	}
	if err := trainer.SaveModel("runs/dim/"+trainer.ModelFile, m); err != nil {
		t.Fatal(err)
	}
	mustWriteNPY(t, "x.npy", []float32{0.2, 0.2, 0.2, 0.2, 1, 1, 1, 1, 0.2, 0.2, 0.2, 0.2}, 3, 2, 2, 1)
	out := mustRun(t, anomaliesCommand(), "--worst", "w.png", "--count", "1")
	if !strings.Contains(out, "highest: sample 1 (0.36)") || !strings.Contains(out, "look at: w.png") {
		t.Errorf("printed %q", out)
	}
	img, err := picture.Load("w.png", 1)
	if err != nil {
		t.Fatal(err)
	}
	n := map[int]int{}
	for _, v := range img.Pix {
		n[int(math.Round(255*float64(v)))]++
	}
	if n[255] < 80*80 || n[102] < 80*80 || n[153] < 80*80 || n[51] > 1000 {
		t.Errorf("pixels of the input %d, the output %d, the difference %d; of another input %d", n[255], n[102], n[153], n[51])
	}
}

// A folder as the MVTec data set has it: the errors of pixels are judged by masks.
func TestAnomalyMasks(t *testing.T) {
	t.Chdir(t.TempDir())
	const side = 12
	write := func(path string, of func(x, y int) float32) {
		img := picture.Image{H: side, W: side, C: 1, Pix: make([]float32, side*side)}
		for i := range img.Pix {
			img.Pix[i] = of(i%side, i/side)
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			t.Fatal(err)
		}
		mustWrite(t, path, img)
	}
	grey := func(v float32) func(x, y int) float32 { return func(x, y int) float32 { return v } }
	spot := func(x0, y0 int, v, around float32) func(x, y int) float32 {
		return func(x, y int) float32 {
			if x >= x0 && x < x0+3 && y >= y0 && y < y0+3 {
				return v
			}
			return around
		}
	}
	for i := range 4 {
		write(fmt.Sprintf("nut/train/good/%d.png", i), grey(0.6))
	}
	write("nut/test/good/000.png", grey(0.6))
	write("nut/test/good/001.png", grey(0.2)) // on the whole the error is larger than that of a spot
	write("nut/test/hole/000.png", spot(2, 3, 0, 0.6))
	write("nut/test/hole/001.png", spot(7, 7, 0, 0.6))
	write("nut/ground_truth/hole/000_mask.png", spot(2, 3, 1, 0))
	write("nut/ground_truth/hole/001.png", spot(7, 7, 1, 0))
	// A model that always makes 0.6.
	c := trainer.Config{Data: trainer.Data{Name: "images", Dir: "nut/train"}, Model: nn.Config{Name: "nut", Input: []int{side, side, 1},
		Encoder: graph.Specs(&layer.Conv2D{Filters: 1, Kernel: layer.Square(1)}), Decoder: graph.Specs(&layer.Conv2D{Filters: 1, Kernel: layer.Square(1)})}}
	c.Training.Loss = nn.MSE
	saveRun(t, "run", c)
	m, _, err := trainer.LoadModel("run")
	if err != nil {
		t.Fatal(err)
	}
	for i, v := range []float32{0, 0, 0, 0.6} {
		m.Params[i].Data[0] = v
	}
	if err := trainer.SaveModel("run/"+trainer.ModelFile, m); err != nil {
		t.Fatal(err)
	}
	var r anomalyReport
	read := func(args ...string) {
		t.Helper()
		r = anomalyReport{labelledReport: new(labelledReport)}
		args = append([]string{"run", "nut/test", "--normal", "good", "--masks", "nut/ground_truth", "--json", "--device", "cpu"}, args...)
		if err := json.Unmarshal([]byte(mustRun(t, anomaliesCommand(), args...)), &r); err != nil {
			t.Fatal(err)
		}
	}
	// Two of the four negative areas: all pixels of one good picture are 0.16 off, those of spots 0.36, all others hardly.
	if read(); r.Samples != 4 || r.AUC != 0.5 || r.PixelAUC == nil || *r.PixelAUC != 1 {
		t.Errorf("by the mean: %+v", r.labelledReport)
	}
	if read("--score", "max"); r.AUC != 1 || *r.PixelAUC != 1 {
		t.Errorf("by the largest: %+v", r.labelledReport)
	}
	if read("--score", "max", "--smooth", "2"); *r.PixelAUC >= 1 || *r.PixelAUC < 0.5 {
		t.Errorf("smoothed, pixels %v", *r.PixelAUC)
	}
	out := mustRun(t, anomaliesCommand(), "run", "nut/test", "--normal", "good", "--masks", "nut/ground_truth", "--score", "max", "--maps", "maps.npy", "--out", "scores.csv", "--device", "cpu")
	scores, err := os.ReadFile("scores.csv")
	if lines := strings.Split(string(scores), "\n"); err != nil || lines[0] != "index,score,anomaly,label,file" || !strings.HasSuffix(lines[3], ",true,hole,hole/000.png") {
		t.Errorf("scores %q, error %v, want them with their classes and files", scores, err)
	}
	for _, want := range []string{"highest: hole/", "threshold: largest squared error ", "pixels: ROC AUC 1.0000\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("printed %q, want %q in it", out, want)
		}
	}
	maps, err := trainer.ReadNPY("maps.npy")
	if err != nil || !slices.Equal(maps.Shape, []int{4, side, side}) || math.Abs(float64(maps.Data[2*side*side+3*side+2])-0.36) > 1e-6 || maps.Data[2*side*side] > 1e-4 {
		t.Errorf("maps %v, %v", maps.Shape, err)
	}
	os.Remove("nut/ground_truth/hole/001.png")
	wantError(t, "has no mask of nut/test/hole/001.png: want a picture nut/ground_truth/hole/001_mask, or without that ending", anomaliesCommand(), "run", "nut/test", "--normal", "good", "--masks", "nut/ground_truth")
	wantError(t, "--masks: dataset masks: ", anomaliesCommand(), "run", "nut/test", "--normal", "good", "--masks", "nowhere")
	wantError(t, "--masks: which pictures have no mask?", anomaliesCommand(), "run", "nut/test", "--masks", "nut/ground_truth")
	wantError(t, "--masks are for pictures of a folder, digits has none", anomaliesCommand(), "run", "digits", "--masks", "nut/ground_truth")
	wantError(t, `--score is "median", want mean or max`, anomaliesCommand(), "run", "--score", "median")
	wantError(t, "--maps: ", anomaliesCommand(), "run", "--maps", "maps.png")
	wantError(t, "--smooth is -1", anomaliesCommand(), "run", "--smooth", "-1")
}

func TestAnomalyErrors(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, []byte("a,b,class\n1,1.1,0\n1,1.2,1\n"), "train.csv")
	write(t, []byte("a,b,class\n1,1.1,3\n1,1.2,4\n"), "other.csv")
	write(t, []byte("a,b\n1,1.1\n1,1.2\n"), "plain.csv")
	lineRun(t, "run", trainer.Data{Name: "csv", File: "train.csv", Label: "class"})
	lineRun(t, "bare", trainer.Data{Name: "csv", File: "plain.csv"})
	for _, c := range []struct {
		want string
		args []string
	}{
		{"--quantile is 0, want more than 0 and at most 1", []string{"run", "--quantile", "0"}},
		{"--quantile is NaN", []string{"run", "--quantile", "NaN"}},
		{"--normal: there is no class \"256\", want a number of 0 to 255", []string{"run", "--normal", "256"}},
		{"--normal 7: 0 of 2 samples of csv are normal, want some but not all; labels: 0: 1, 1: 1", []string{"run", "--normal", "7"}},
		{"--normal 0,1: 2 of 2 samples of csv are normal, want some but not all", []string{"run", "--normal", "0,1"}},
		{"--normal 3: none of the run's 2 validation samples is normal", []string{"run", "other.csv", "--normal", "3"}},
		{"--normal: data set csv has no labels: want one that has (--label names the column of a .csv)", []string{"bare", "--normal", "0"}},
		{"data.label is not for circle", []string{"bare", "circle", "--label", "class"}},
		{"data set digits has images of 28 x 28 x 1 = 784 values, model \"line\" takes 2", []string{"run", "digits"}},
		{`no data set "nothing"`, []string{"run", "nothing"}},
		{"--out: output file is s.txt, want a name that ends in .csv or .json", []string{"run", "--out", "s.txt"}},
		{"--worst: output file is s.csv, want a name that ends in .png", []string{"run", "--worst", "s.csv"}},
		{"--worst draws images, csv has samples of 2 values", []string{"run", "--worst", "w.png"}},
		{"--count is for a picture: name its file with --worst", []string{"run", "--count", "3"}},
		{"--count is 101, want 1 to 100", []string{"run", "--worst", "w.png", "--count", "101"}},
		{"--split is test, want train: data set csv has no test set", []string{"run", "--split", "test"}},
		{`--split is "all"`, []string{"run", "--split", "all"}},
		{"there is no model in runs/", nil},
		{"nowhere", []string{"nowhere"}},
		{"--device tpu", []string{"run", "--device", "tpu"}},
	} {
		wantError(t, c.want, anomaliesCommand(), c.args...)
	}
	// The name of a class is taken as an error shows it, or as CSV has it.
	write(t, []byte("a,b,class\n1,1.1,\"sch,lecht \"\"x\"\"\"\n1,1.2,gut\n"), "named.csv")
	wantError(t, `want some of gut, sch,lecht "x"`, anomaliesCommand(), "bare", "named.csv", "--label", "class", "--normal", "x")
	for _, normal := range []string{`sch,lecht "x"`, `"sch,lecht ""x"""`} {
		if out := mustRun(t, anomaliesCommand(), "bare", "named.csv", "--label", "class", "--normal", normal); !strings.Contains(out, "1 normal, 1 anomalous") {
			t.Errorf("--normal %s: printed %q", normal, out)
		}
	}
	wantError(t, "2 of 2 samples of csv are normal", anomaliesCommand(), "bare", "named.csv", "--label", "class", "--normal", `sch,lecht "x"`, "--normal", "gut")
	// The column of another file's labels.
	out := mustRun(t, anomaliesCommand(), "bare", "other.csv", "--label", "class", "--normal", "3")
	if !strings.Contains(out, "errors of 2 validation samples") || !strings.Contains(out, "1 normal, 1 anomalous; ROC AUC 1.0000") {
		t.Errorf("printed %q", out)
	}
}
