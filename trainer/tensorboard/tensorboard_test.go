package tensorboard

import (
	"bytes"
	"image"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/convae/convae/nn"
	"github.com/convae/convae/trainer/tensorboard/eventtest"
)

// A reader of its own finds what was written, and the first record is, but for its time and checksum, the one that TensorFlow writes.
func TestEvents(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "board")
	began := float64(time.Now().Unix())
	w, err := Create(dir, 7)
	if err != nil {
		t.Fatal(err)
	}
	var picture bytes.Buffer
	if err := png.Encode(&picture, image.NewGray(image.Rect(0, 0, 3, 2))); err != nil {
		t.Fatal(err)
	}
	p, err := Picture("samples", picture.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Add(7, Scalar("loss/training", 0.25), p, Text("configuration", "a *text*"), Scalar("nan", math.NaN())); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(w.Path())
	if err != nil {
		t.Fatal(err)
	}
	head := []byte("\x18\x00\x00\x00\x00\x00\x00\x00\xa3\x7fK\"\x09")
	if !bytes.HasPrefix(data, head) || string(data[21:36]) != "\x1a\x0dbrain.Event:2" {
		t.Errorf("the file begins with %q", data[:40])
	}
	events := eventtest.ReadFile(t, w.Path())
	if len(events) != 3 {
		t.Fatalf("%d events, want 3", len(events))
	}
	if e := events[0]; e.Version != "brain.Event:2" || e.Wall < began || e.Wall > began+3600 {
		t.Errorf("the first event is %+v", e)
	}
	if e := events[1]; !e.Start || e.Step != 7 {
		t.Errorf("the second event is %+v", e)
	}
	v := events[2].Values
	if events[2].Step != 7 || len(v) != 4 {
		t.Fatalf("the third event is %+v", events[2])
	}
	if v[0].Tag != "loss/training" || !v[0].IsScalar || v[0].Scalar != 0.25 {
		t.Errorf("the number is %+v", v[0])
	}
	if v[1].Tag != "samples" || !bytes.Equal(v[1].PNG, picture.Bytes()) {
		t.Errorf("the picture is %+v", v[1])
	}
	if v[2].Tag != "configuration/text_summary" || v[2].Plugin != "text" || v[2].Text != "a *text*" {
		t.Errorf("the text is %+v", v[2])
	}
	if !math.IsNaN(float64(v[3].Scalar)) {
		t.Errorf("NaN is %v", v[3].Scalar)
	}
	if _, err := Picture("samples", []byte("no picture")); err == nil {
		t.Error("what is no PNG is taken")
	}
}

// A file comes behind those of before by its name, also within a second, and drops later steps.
func TestGoesOn(t *testing.T) {
	dir := t.TempDir()
	for i, first := range []int{0, 3, 2} {
		w, err := Create(dir, first)
		if err != nil {
			t.Fatal(err)
		}
		for step := first; step < 5; step++ {
			if err := w.Add(step, Scalar("x", float64(10*i+step))); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	files, err := Files(dir)
	if err != nil || len(files) != 3 || !slices.IsSorted(files) {
		t.Errorf("files %v, error %v", files, err)
	}
	var got []float32
	for step := range int64(5) {
		got = append(got, eventtest.Curves(t, dir)["x"][step].Scalar)
	}
	if want := []float32{0, 1, 22, 23, 24}; !slices.Equal(got, want) {
		t.Errorf("the curve is %v, want %v", got, want)
	}
	if _, err := Create(filepath.Join(files[0], "below"), 0); err == nil || !strings.Contains(err.Error(), files[0]) {
		t.Errorf("a folder in a file: %v", err)
	}
}

func TestHistogram(t *testing.T) {
	of := func(values ...float32) *eventtest.Histogram {
		dir := t.TempDir()
		w, err := Create(dir, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer w.Close()
		if err := w.Add(0, Histogram("h", values)); err != nil {
			t.Fatal(err)
		}
		return eventtest.Curves(t, dir)["h"][0].Histogram
	}
	inf := float32(math.Inf(1))
	h := of(-1, 2, 0.5, inf, 2, float32(math.NaN()))
	if h.Min != -1 || h.Max != 2 || h.Num != 4 || h.Sum != 3.5 || h.SumSquares != 9.25 {
		t.Errorf("histogram %+v", h)
	}
	if len(h.Limits) != 30 || len(h.Counts) != 30 || !slices.IsSorted(h.Limits) || h.Limits[29] < 2 {
		t.Errorf("limits %v", h.Limits)
	}
	// 0.5 is the middle, where the 16th range begins; ranges are a tenth wide.
	if h.Counts[0] != 1 || h.Counts[15] != 1 || h.Counts[29] != 2 || math.Abs(h.Limits[14]-0.5) > 1e-15 {
		t.Errorf("counts %v, limits %v", h.Counts, h.Limits)
	}
	if h := of(3, 3); h.Min != 3 || h.Max != 3 || len(h.Counts) != 1 || h.Counts[0] != 2 {
		t.Errorf("of equal values: %+v", h)
	}
	if h := of(inf); h.Num != 0 || len(h.Counts) != 0 {
		t.Errorf("of no finite value: %+v", h)
	}
}

// The graph has a node for each layer, which takes what the layers before it made.
func TestGraph(t *testing.T) {
	m, err := nn.New(nn.Denoiser(), 1)
	if err != nil {
		t.Fatal(err)
	}
	w, err := Create(t.TempDir(), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if err := w.AddGraph(GraphOf(m, "gaussian of 0.5", "bce")); err != nil {
		t.Fatal(err)
	}
	events := eventtest.ReadFile(t, w.Path())
	nodes := events[len(events)-1].Graph
	var text []string
	for _, n := range nodes {
		text = append(text, n.Name+" "+n.Op+" <- "+strings.Join(n.Inputs, " "))
	}
	want := []string{
		"input Placeholder <- ",
		"corruption Corruption <- input",
		"encoder/conv2d Conv2D <- corruption",
		"encoder/max_pooling2d MaxPooling2D <- encoder/conv2d",
		"encoder/conv2d_1 Conv2D <- encoder/max_pooling2d",
		"encoder/max_pooling2d_1 MaxPooling2D <- encoder/conv2d_1",
		"decoder/conv2d_2 Conv2D <- encoder/max_pooling2d_1",
		"decoder/up_sampling2d UpSampling2D <- decoder/conv2d_2",
		"decoder/conv2d_3 Conv2D <- decoder/up_sampling2d",
		"decoder/up_sampling2d_1 UpSampling2D <- decoder/conv2d_3",
		"decoder/conv2d_4 Conv2D <- decoder/up_sampling2d_1",
		"loss Loss <- decoder/conv2d_4 input",
	}
	if !slices.Equal(text, want) {
		t.Errorf("nodes\n%s\nwant\n%s", strings.Join(text, "\n"), strings.Join(want, "\n"))
	}
	if a := nodes[2].Attrs; !bytes.Contains(a["configuration"], []byte("filters: 32")) || a["_output_shapes"] == nil || a["parameters"] == nil {
		t.Errorf("attributes of the first layer: %q", a)
	}
}

func BenchmarkHistogram(b *testing.B) {
	values := make([]float32, 1<<20)
	for i := range values {
		values[i] = float32(i%1000) / 1000
	}
	b.SetBytes(4 << 20)
	for b.Loop() {
		Histogram("h", values)
	}
}
