package report

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/convae/convae/cpu"
	"github.com/convae/convae/nn"
	"github.com/convae/convae/nn/graph"
	"github.com/convae/convae/nn/layer"
	"github.com/convae/convae/trainer"
	"github.com/convae/convae/trainer/dataset"
	"github.com/convae/convae/trainer/metric"
	"github.com/convae/convae/trainer/picture"
	"github.com/convae/convae/trainer/use"
)

// A model that encodes images of 2 x 2 pixels as the first and the last of them, and decodes these to the same places.
func corners(variational bool) (trainer.Config, func(m *nn.Model)) {
	c := trainer.Config{Model: nn.Config{Name: "corners", Input: []int{2, 2, 1},
		Encoder: graph.Specs(&layer.Flatten{}, &layer.Dense{Units: 2}), Decoder: graph.Specs(&layer.Dense{Units: 4}, &layer.Reshape{Shape: []int{2, 2, 1}})}}
	if variational {
		c.Model.Encoder = graph.Specs(&layer.Flatten{}, &layer.Dense{Units: 4}, &layer.Sampling{})
	}
	c.Training.Loss = nn.MSE
	return c, func(m *nn.Model) {
		for _, p := range m.Params {
			clear(p.Data)
		}
		encoder, decoder := m.Params[0].Data, m.Params[2].Data
		encoder[0], encoder[4+3] = 1, 1   // (code, pixel)
		decoder[0], decoder[3*2+1] = 1, 1 // (pixel, code)
	}
}

// save writes a run's folder; change gives the model its weights.
func save(t *testing.T, dir string, c trainer.Config, change func(*nn.Model), history []trainer.Epoch) {
	t.Helper()
	if err := c.Check(); err != nil {
		t.Fatal(err)
	}
	m, err := nn.New(c.Model, 1)
	if err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(m)
	}
	if history == nil {
		history = []trainer.Epoch{}
	}
	text, err := json.Marshal(history)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{os.WriteFile(filepath.Join(dir, "history.json"), text, 0o666), c.Write(filepath.Join(dir, trainer.ConfigFile)),
		trainer.SaveModel(filepath.Join(dir, trainer.ModelFile), m)} {
		if err != nil {
			t.Fatal(err)
		}
	}
}

// cornerData writes images whose first pixels are 0 to 1 and whose last are 0.5 to 0.7, and returns the file.
func cornerData(t *testing.T, dir string) string {
	t.Helper()
	var values []float32
	for i := range 101 {
		values = append(values, float32(i)/100, 0, 0, 0.5+0.2*float32(i%11)/10)
	}
	path := filepath.Join(dir, "corners.npy")
	if err := trainer.WriteNPY(path, values, []int{101, 2, 2, 1}); err != nil {
		t.Fatal(err)
	}
	return path
}

func options(t *testing.T) Options {
	t.Helper()
	dev, err := cpu.Open(cpu.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dev.Close() })
	return Options{Device: dev, Footer: "convae test"}
}

func names(paths []string) string {
	s := make([]string, len(paths))
	for i, p := range paths {
		s[i] = strings.TrimSuffix(filepath.Base(p), ".png")
	}
	return strings.Join(s, " ")
}

// load returns a picture, and its value at a pixel.
func load(t *testing.T, path string, channels int) picture.Image {
	t.Helper()
	m, err := picture.Load(path, channels)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// Each image of the manifold shows the code that it is made of.
func TestManifold(t *testing.T) {
	dir := t.TempDir()
	for _, variational := range []bool{false, true} {
		run := filepath.Join(dir, fmt.Sprint("run", variational))
		c, weights := corners(variational)
		c.Data = trainer.Data{Name: "npy", File: cornerData(t, dir)}
		save(t, run, c, weights, nil)
		r, err := Make(t.Context(), run, options(t))
		if err != nil || names(r.Pictures) != "rows latent manifold filters" && names(r.Pictures) != "rows latent manifold" {
			t.Fatalf("pictures %s, error %v", names(r.Pictures), err)
		}
		m := load(t, filepath.Join(run, "pictures", "manifold.png"), 1)
		const margin, pixel = 24, 23
		if m.W != margin*2+40*pixel {
			t.Fatalf("%d pixels wide", m.W)
		}
		x, y := steps(0.01, 0.99, 20), steps(0.5, 0.7, 20)
		if variational {
			x = use.PriorAxis(20)
			y = x
		}
		for row := range 20 {
			for col := range 20 {
				at := func(i, j int) float64 {
					return float64(m.Pix[(margin+(2*row+i)*pixel+pixel/2)*m.W+margin+(2*col+j)*pixel+pixel/2])
				}
				shade := func(v float64) float64 { return min(max(v, 0), 1) }
				if math.Abs(at(0, 0)-shade(x[col])) > 0.003 || math.Abs(at(1, 1)-shade(y[19-row])) > 0.003 || at(0, 1) != 0 || at(1, 0) != 0 {
					t.Fatalf("variational %t: the image in row %d, column %d is %v %v %v %v, its code %v, %v", variational, row, col, at(0, 0), at(0, 1), at(1, 0), at(1, 1), x[col], y[19-row])
				}
			}
		}
	}
}

// The rows show an image, its code from dark to bright, and its reconstruction.
func TestRows(t *testing.T) {
	dir := t.TempDir()
	c, weights := corners(false)
	c.Data = trainer.Data{Name: "npy", File: cornerData(t, dir)}
	save(t, dir, c, weights, nil)
	r, err := Make(t.Context(), dir, options(t))
	if err != nil {
		t.Fatal(err)
	}
	m := load(t, r.Pictures[0], 3)
	// The images lie at the right of the labels, 84 pixels wide; the codes, of 2 x 1 numbers, in the row below.
	left := m.W - 24 - 10*84 - 9*7
	colour := func(x, y int) [3]float32 { return [3]float32(m.Pix[(y*m.W+x)*3:][:3]) }
	for i := range 10 {
		x := left + i*91
		original, reconstruction := colour(x+10, 24+10), colour(x+10, 24+2*91+10)
		// Ten of the 101 samples, evenly from all; the second pixel of each is 0.5 to 0.7.
		if want := float32(i) / 10; math.Abs(float64(original[0]-want)) > 0.003 || original != reconstruction {
			t.Errorf("sample %d: first pixel %v, reconstructed %v, want %v", i, original, reconstruction, want)
		}
		first, second := colour(x+20, 24+91+42), colour(x+62, 24+91+42)
		if dark, bright := first[0]+first[1]+first[2], second[0]+second[1]+second[2]; i < 5 && dark > bright || i > 7 && dark < bright {
			t.Errorf("sample %d: the code's colours are %v and %v, want the smaller number darker", i, first, second)
		}
	}
}

func TestColumns(t *testing.T) {
	for n, want := range map[int]int{1: 1, 2: 2, 3: 2, 7: 3, 10: 5, 16: 4, 20: 5, 32: 8, 49: 7, 128: 16} {
		if got := columns(n); got != want {
			t.Errorf("%d numbers in rows of %d, want %d", n, got, want)
		}
	}
}

// Longer codes are seen along their principal components.
func TestProject(t *testing.T) {
	c := &codes{n: 4, size: 3}
	for _, side := range [][2]float32{{3, 0}, {-3, 0}, {0, 1}, {0, -1}} { // variance 4.5 along the third number, 0.5 along the first
		c.values = append(c.values, 5+side[1], 7, 9+side[0])
	}
	if err := c.project(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(c.axes) != 2 || c.axes[0].label != "principal component 1 (90.0 % of the variance)" || c.axes[1].label != "principal component 2 (10.0 % of the variance)" {
		t.Fatalf("axes %+v", c.axes)
	}
	for i, want := range [][2]float64{{3, 0}, {3, 0}, {0, 1}, {0, 1}} { // but for the sign
		if x, y := math.Abs(c.axes[0].values[i]), math.Abs(c.axes[1].values[i]); math.Abs(x-want[0]) > 1e-5 || math.Abs(y-want[1]) > 1e-5 {
			t.Errorf("code %d is at %v, %v, want %v", i, x, y, want)
		}
	}
	c = &codes{n: 2, size: 2, values: []float32{1, 2, 3, 4}}
	if err := c.project(t.Context()); err != nil || !slices.Equal(c.axes[1].values, []float64{2, 4}) || c.axes[1].label != "code, number 2" {
		t.Errorf("axes %+v, error %v", c.axes, err)
	}
	c = &codes{n: 2, size: 3, values: make([]float32, 6)}
	if err := c.project(t.Context()); err != nil || c.axes[0].label != "principal component 1 (0.0 % of the variance)" {
		t.Errorf("axes of codes that are all the same %+v, error %v", c.axes, err)
	}
}

// Points have the colours of their labels; of many labels the colour map tells the number.
func TestLabels(t *testing.T) {
	r := &report{codes: &codes{n: 4}, set: &dataset.Set{H: 1, W: 1, C: 1, Values: make([]float32, 8), Labels: []uint8{5, 0, 2, 0, 5, 0, 5, 0}}}
	x := []float64{10, 11, 12, 13}
	s, _ := r.series(x, x)
	if len(s) != 2 || s[0].Name != "2" || !slices.Equal(s[0].X, []float64{11}) || s[1].Name != "5" || !slices.Equal(s[1].Y, []float64{10, 12, 13}) {
		t.Errorf("series %+v", s)
	}
	r.codes.n, r.set = 20, &dataset.Set{H: 1, W: 1, C: 1, Values: make([]float32, 20)}
	for i := range 20 {
		r.set.Labels = append(r.set.Labels, uint8(i))
	}
	x = make([]float64, 20)
	if s, label := r.series(x, x); len(s) != 1 || label != "label" || s[0].Values[19] != 19 {
		t.Errorf("series %+v by %q", s, label)
	}
	if g := r.groups(x); len(g) != 1 || len(g[0].Values) != 20 {
		t.Errorf("groups %+v", g)
	}
}

// A table of two columns and a code of so many numbers are drawn in six panels.
func TestAnalysis(t *testing.T) {
	for size, lines := range map[int]int{1: 1, 2: 2 * gridLines, 3: 1} {
		dir := t.TempDir()
		c := trainer.Config{Model: nn.Config{Name: "points", Input: []int{2}, Encoder: graph.Specs(&layer.Dense{Units: size}), Decoder: graph.Specs(&layer.Dense{Units: 2})},
			Data: trainer.Data{Name: "circle"}}
		c.Training.Loss = nn.MSE
		save(t, dir, c, nil, []trainer.Epoch{{Epoch: 1, Loss: 0.5, ValLoss: 0.4}})
		r, err := Make(t.Context(), dir, options(t))
		if err != nil || names(r.Pictures) != "analysis latent loss" {
			t.Fatalf("%d numbers: pictures %s, error %v", size, names(r.Pictures), err)
		}
		if m := load(t, r.Pictures[0], 1); m.W != 3*480 || m.H != 2*440 {
			t.Errorf("%d numbers: %d x %d pixels", size, m.W, m.H)
		}

		a := &report{o: Options{Samples: 50}, c: c, set: dataset.Circle(100, 0.1, 0)}
		if a.m, err = nn.New(c.Model, 1); err != nil {
			t.Fatal(err)
		}
		if a.net, err = nn.NewNetwork(a.m, options(t).Device, nn.NetworkOptions{}); err != nil {
			t.Fatal(err)
		}
		defer a.net.Close()
		if err := a.readCodes(t.Context()); err != nil || a.codes.n != 50 {
			t.Fatalf("%d codes, error %v", a.codes.n, err)
		}
		s, err := a.decoderCurve()
		if n := lines * (curvePoints + 1); err != nil || len(s.X) != n || len(s.Y) != n || s.X[curvePoints] == s.X[curvePoints] {
			t.Fatalf("%d numbers: curve of %d points, error %v", size, len(s.X), err)
		}
		// A curve of one number ends where the outermost samples are reconstructed.
		if size == 1 {
			u := make([]float32, 2*a.codes.n)
			if err := a.net.Decode(u, a.codes.values, a.codes.n); err != nil {
				t.Fatal(err)
			}
			x := column(u, 2, 0)
			if ends := []float64{s.X[0], s.X[curvePoints-1]}; math.Abs(slices.Min(ends)-slices.Min(x)) > 1e-6 || math.Abs(slices.Max(ends)-slices.Max(x)) > 1e-6 {
				t.Errorf("the curve ends at %v, the reconstructions at %v and %v", ends, slices.Min(x), slices.Max(x))
			}
		}
	}
}

// attributes returns the values of an attribute, having checked that the page is well-formed.
func attributes(t *testing.T, html []byte, name string) (values []string) {
	t.Helper()
	d := xml.NewDecoder(bytes.NewReader(html))
	d.Strict, d.AutoClose, d.Entity = false, []string{"meta", "img"}, xml.HTMLEntity
	var open []string
	for {
		token, err := d.Token()
		if err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		switch e := token.(type) {
		case xml.StartElement:
			open = append(open, e.Name.Local)
			for _, a := range e.Attr {
				if a.Name.Local == name {
					values = append(values, a.Value)
				}
			}
		case xml.EndElement:
			if last := open[len(open)-1]; last != e.Name.Local {
				t.Fatalf("</%s> ends <%s>", e.Name.Local, last)
			}
			open = open[:len(open)-1]
		}
	}
	return values
}

// The page has everything in it, and what is written by users stays text.
func TestPage(t *testing.T) {
	dir := t.TempDir()
	c, weights := corners(true)
	c.Model.Name = `<b>"bold"</b>`
	c.Training.Noise.Std = 0.25
	c.Data = trainer.Data{Name: "npy", File: cornerData(t, dir)}
	run := filepath.Join(dir, "run")
	save(t, run, c, weights, []trainer.Epoch{{Epoch: 1, Loss: 7.5625, ValLoss: 6.125, ValKL: 0.0625, LearningRate: 0.001, Seconds: 61}})
	o := options(t)
	o.Footer = "convae <i>test</i>"
	o.HTML, o.Pictures = filepath.Join(dir, "page.html"), filepath.Join(dir, "new", "pictures")
	res, err := Make(t.Context(), filepath.Join(run, trainer.ModelFile), o)
	if err != nil || res.HTML != o.HTML {
		t.Fatalf("%+v, error %v", res, err)
	}
	html, err := os.ReadFile(o.HTML)
	if err != nil {
		t.Fatal(err)
	}
	text := string(html)
	for _, no := range []string{"http:", "https:", "file:/", "<b>", "<i>", "<script", "<link", "@import", "url(", dir + "/new"} {
		if strings.Contains(text, no) {
			t.Errorf("the page has %q", no)
		}
	}
	images := attributes(t, html, "src")
	if len(images) != len(res.Pictures) || len(attributes(t, html, "alt")) != len(images) || len(attributes(t, html, "href")) != 0 {
		t.Errorf("%d images with %d texts for %d pictures", len(images), len(attributes(t, html, "alt")), len(res.Pictures))
	}
	for i, src := range images {
		data, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(src, "data:image/png;base64,"))
		if err != nil {
			t.Fatal(err)
		}
		if want, err := os.ReadFile(res.Pictures[i]); err != nil || !bytes.Equal(data, want) {
			t.Errorf("image %d is not %s; %v", i, res.Pictures[i], err)
		}
	}
	m, config, err := trainer.LoadModel(run)
	if err != nil {
		t.Fatal(err)
	}
	net, err := nn.NewNetwork(m, o.Device, nn.NetworkOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer net.Close()
	set, _, err := config.Data.Load(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	e, err := use.Evaluate(t.Context(), net, set, nn.Loss{}, use.Corruption{Std: 0.25}, 0, true)
	if err != nil {
		t.Fatal(err)
	}
	yaml, err := config.YAML()
	if err != nil {
		t.Fatal(err)
	}
	wants := []string{"&lt;b&gt;", "convae &lt;i&gt;test", "7.5625", "6.125", "0.0625", "1 epoch in 1m1s", "noise 0.25",
		fmt.Sprintf("%.5g", config.Training.LossOf(e, 4)), fmt.Sprintf("%.2f nats", e.Drawn.ELBO), fmt.Sprintf("%.2f nats", e.Drawn.BCE), fmt.Sprintf("%.2f nats", e.Drawn.Divergence),
		"sampling (Sampling)", "(None, 2, 2, 1)", m.Summary().Params, "prefers-color-scheme: dark", strings.Split(string(yaml), "\n")[2]}
	for _, v := range []metric.Values{e.Output, e.Input} {
		wants = append(wants, fmt.Sprintf("%.5g", v.MSE), fmt.Sprintf("%.5g", v.MAE), fmt.Sprintf("%.5g", v.MaxAbs), fmt.Sprintf("%.2f dB", v.PSNR), fmt.Sprintf("%.4f", v.SSIM))
	}
	for _, want := range wants {
		if !strings.Contains(text, want) {
			t.Errorf("the page has no %q", want)
		}
	}
	if !regexp.MustCompile(`<details open>\s*<summary>Configuration`).MatchString(text) || !regexp.MustCompile(`<details>\s*<summary>History`).MatchString(text) {
		t.Error("no open configuration, or no closed history")
	}
	// The same run gives the same page.
	if _, err := Make(t.Context(), run, o); err != nil {
		t.Fatal(err)
	}
	if again, err := os.ReadFile(o.HTML); err != nil || !bytes.Equal(again, html) {
		t.Errorf("a second report differs; %v", err)
	}
}

// Other runs are drawn beside the run, and told where their losses are others.
func TestCompare(t *testing.T) {
	dir := t.TempDir()
	c, weights := corners(false)
	c.Data = trainer.Data{Name: "npy", File: cornerData(t, dir)}
	history := []trainer.Epoch{{Epoch: 1, Loss: 0.5, ValLoss: 0.25}, {Epoch: 2, Loss: 0.5, ValLoss: 0.25}}
	run, other, fresh := filepath.Join(dir, "run"), filepath.Join(dir, "other"), filepath.Join(dir, "fresh")
	save(t, run, c, weights, history)
	save(t, fresh, c, weights, nil)
	c.Training.Loss = nn.BCE
	save(t, other, c, weights, history)
	o := options(t)
	loss := func() []byte {
		if _, err := Make(t.Context(), run, o); err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(filepath.Join(run, "pictures", trainer.LossFile))
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	alone := loss()
	o.Compare = []string{other}
	if bytes.Equal(alone, loss()) {
		t.Error("the other run is not in the picture")
	}
	html, err := os.ReadFile(filepath.Join(run, htmlFile))
	if err != nil || !strings.Contains(string(html), "other has another loss (bce, this run mse)") {
		t.Errorf("the page does not say that the losses differ; %v", err)
	}
	// Of two runs of one name the second is told by its path.
	twin := filepath.Join(dir, "more", "other")
	save(t, twin, c, weights, history)
	o.Compare = []string{other, twin}
	loss()
	if html, err = os.ReadFile(filepath.Join(run, htmlFile)); err != nil || !strings.Contains(string(html), " "+twin+" has another loss") {
		t.Errorf("the page does not tell two runs of one name apart; %v", err)
	}
	for compare, want := range map[string]string{
		fresh:                         "its history has no epoch yet",
		filepath.Join(dir, "nowhere"): "no such file",
	} {
		o.Compare = []string{compare}
		if _, err := Make(t.Context(), run, o); err == nil || !strings.Contains(err.Error(), "compare with "+compare) || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
	if err := os.Remove(filepath.Join(other, "history.json")); err != nil {
		t.Fatal(err)
	}
	o.Compare = []string{other}
	if _, err := Make(t.Context(), run, o); err == nil || !strings.Contains(err.Error(), filepath.Join(other, "history.json")) {
		t.Errorf("error %v of a run without history", err)
	}
}

// What cannot be drawn is told, and the rest is drawn.
func TestNotes(t *testing.T) {
	dir := t.TempDir()
	c := trainer.Config{Model: nn.Config{Name: "wide", Input: []int{2}, Encoder: graph.Specs(&layer.Dense{Units: 4097}), Decoder: graph.Specs(&layer.Dense{Units: 2})},
		Data: trainer.Data{Name: "circle"}}
	c.Training.Loss = nn.MSE
	save(t, dir, c, nil, nil)
	r, err := Make(t.Context(), dir, options(t))
	if err != nil || len(r.Pictures) != 0 {
		t.Fatalf("%+v, error %v", r, err)
	}
	html, err := os.ReadFile(r.HTML)
	for _, want := range []string{"they have 4097 numbers each", "training ended before its first validation"} {
		if err != nil || !strings.Contains(string(html), want) {
			t.Errorf("the page has no %q; %v", want, err)
		}
	}
	if strings.Contains(string(html), "<summary>History") {
		t.Error("an empty history")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Make(ctx, dir, options(t)); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v of a report that was ended", err)
	}
}

func TestErrors(t *testing.T) {
	dir := t.TempDir()
	c, weights := corners(false)
	c.Data = trainer.Data{Name: "npy", File: cornerData(t, dir)}
	save(t, dir, c, weights, nil)
	o := options(t)
	fails := func(run, want string) {
		t.Helper()
		if _, err := Make(t.Context(), run, o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
	fails(filepath.Join(dir, "nowhere"), "nowhere")
	if err := trainer.WriteNPY(c.Data.File, make([]float32, 18), []int{2, 3, 3}); err != nil {
		t.Fatal(err)
	}
	fails(dir, `data set npy has images of 3 x 3 x 1 = 9 values, model "corners" takes 4`)
	if err := os.Remove(c.Data.File); err != nil {
		t.Fatal(err)
	}
	fails(dir, c.Data.File)
	cornerData(t, dir)
	o.Pictures = c.Data.File
	fails(dir, "folder of pictures: ")
	o.Pictures, o.HTML = "", filepath.Join(dir, "nowhere", "page.html")
	fails(dir, filepath.Join(dir, "nowhere"))
}
