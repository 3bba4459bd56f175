package report

import (
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/convae/convae/nn"
	"github.com/convae/convae/trainer"
	"github.com/convae/convae/trainer/atomicfile"
	"github.com/convae/convae/trainer/use"
)

//go:embed page.html
var pageText string

var pageTemplate = template.Must(template.New("page").Parse(pageText))

// page is what the template shows.
type page struct {
	Name     string
	Facts    string // what was trained on what, in a line
	Summary  nn.Summary
	Headline []measure // of Metrics
	Metrics  []measure
	Before   bool // the metrics have values of the noisy inputs
	Figures  []embedded
	Notes    []string
	Columns  []string // of the history
	History  [][]string
	Config   string
	Footer   string
	Table    Table // of the options
}

// measure is a number that says how good the model is.
type measure struct {
	Name, Value string
	Before      string // of the noisy inputs, as they are
	Meaning     string
	headline    bool
}

// embedded is a figure with its picture.
type embedded struct {
	figure
	Data template.URL
}

// write writes the page.
func (r *report) write() error {
	config, err := r.c.YAML()
	if err != nil {
		return err
	}
	p := page{Name: r.m.Config.Name, Facts: r.facts(), Summary: r.m.Summary(), Metrics: r.metrics(), Before: !r.c.Training.Corrupted().IsZero(),
		Notes: r.notes, Config: string(config), Footer: r.o.Footer, Table: r.o.Table}
	for _, m := range p.Metrics {
		if m.headline {
			p.Headline = append(p.Headline, m)
		}
	}
	p.Columns, p.History = r.table()
	for _, f := range r.figures {
		data, err := os.ReadFile(f.path)
		if err != nil {
			return err
		}
		p.Figures = append(p.Figures, embedded{f, template.URL("data:image/png;base64," + base64.StdEncoding.EncodeToString(data))})
	}
	return atomicfile.Write(r.o.HTML, func(w io.Writer) error { return pageTemplate.Execute(w, p) })
}

// facts says what was trained, on what and for how long.
func (r *report) facts() string {
	facts := []string{fmt.Sprintf("%s to %s and back", shapeText(r.m.Input), shapeText(r.m.Code)),
		r.m.Summary().Params + " parameters",
		fmt.Sprintf("%s: %d training and %d validation samples", r.c.Data.Name, r.train, r.set.Len())}
	if std := r.c.Training.Noise.Std; std > 0 {
		facts = append(facts, fmt.Sprintf("noise %g", std))
	}
	var seconds float64
	for _, e := range r.history {
		seconds += e.Seconds
	}
	if n := len(r.history); n > 0 {
		epochs := fmt.Sprintf("%d epochs", r.history[n-1].Epoch)
		if r.history[n-1].Epoch == 1 {
			epochs = "1 epoch"
		}
		if r.c.Training.Validation == 1 { // else the seconds of most epochs are not in the history
			epochs += " in " + time.Duration(seconds*float64(time.Second)).Round(time.Second/10).String()
		}
		facts = append(facts, epochs)
	}
	return strings.Join(facts, " · ")
}

// metrics are those of the model on the validation samples.
func (r *report) metrics() []measure {
	in, out, images := r.e.Input, r.e.Output, r.set.Images()
	f := func(digits int, v float64) string { return strconv.FormatFloat(v, 'f', digits, 64) }
	g := func(v float64) string { return strconv.FormatFloat(v, 'g', 5, 64) }
	metrics := []measure{
		{Name: "Loss", Value: g(r.c.Training.LossOf(r.e, r.m.Output.Len())), Meaning: lossText(r.c) + ", without regularizers", headline: true},
		{Name: "MSE", Value: g(out.MSE), Before: g(in.MSE), Meaning: "mean squared error", headline: true},
		{Name: "MAE", Value: g(out.MAE), Before: g(in.MAE), Meaning: "mean absolute error", headline: !images},
		{Name: "Max error", Value: g(out.MaxAbs), Before: g(in.MaxAbs), Meaning: "largest absolute error of any value", headline: !images},
	}
	if images {
		metrics = append(metrics,
			measure{Name: "PSNR", Value: f(2, out.PSNR) + " dB", Before: f(2, in.PSNR) + " dB", Meaning: "peak signal-to-noise ratio, mean over the images", headline: true},
			measure{Name: "SSIM", Value: f(4, out.SSIM), Before: f(4, in.SSIM), Meaning: "structural similarity, mean over the images; 1 is equal", headline: true})
	} else {
		metrics = append(metrics, measure{Name: "Max distance", Value: g(out.MaxDistance), Before: g(in.MaxDistance), Meaning: "largest distance of a sample from its reconstruction"})
	}
	if d := r.e.Drawn; d != (use.Evidence{}) {
		metrics = append(metrics,
			measure{Name: "ELBO", Value: f(2, d.ELBO) + " nats", Meaning: "evidence lower bound of a sample, of the two below", headline: true},
			measure{Name: "Reconstruction", Value: f(2, d.BCE) + " nats", Meaning: "binary cross-entropy of a sample and what its drawn code decodes to"},
			measure{Name: "KL divergence", Value: f(2, d.Divergence) + " nats", Meaning: "of a sample's code from the standard normal distribution"})
	}
	code := r.e.Code
	if code.Perplexity > 0 {
		metrics = append(metrics, measure{Name: "Perplexity", Value: g(code.Perplexity), Meaning: "vectors of the codebook that the codes use, those as often used as the others"})
	}
	return append(metrics,
		measure{Name: "Compression", Value: g(code.Compression), Meaning: fmt.Sprintf("values of a sample for each of the %d of its code", code.Units)},
		measure{Name: "Active units", Value: strconv.Itoa(code.Active), Meaning: "values of the code that tell samples apart"})
}

// table is the history, with the columns that say something of the model.
func (r *report) table() (columns []string, rows [][]string) {
	type column struct {
		name  string
		shown bool
		value func(e trainer.Epoch) string
	}
	number := func(of func(e trainer.Epoch) float64, digits int) func(trainer.Epoch) string {
		return func(e trainer.Epoch) string { return strconv.FormatFloat(of(e), 'g', digits, 64) }
	}
	all := []column{
		{"epoch", true, func(e trainer.Epoch) string { return strconv.Itoa(e.Epoch) }},
		{"loss", true, number(func(e trainer.Epoch) float64 { return e.Loss }, 5)},
		{"validation", true, number(func(e trainer.Epoch) float64 { return e.ValLoss }, 5)},
		{"MSE", true, number(func(e trainer.Epoch) float64 { return e.ValMSE }, 4)},
		{"MAE", true, number(func(e trainer.Epoch) float64 { return e.ValMAE }, 4)},
		{"max error", true, number(func(e trainer.Epoch) float64 { return e.ValMaxError }, 4)},
		{"PSNR, dB", r.set.Images(), number(func(e trainer.Epoch) float64 { return e.ValPSNR }, 4)},
		{"SSIM", r.set.Images(), number(func(e trainer.Epoch) float64 { return e.ValSSIM }, 4)},
		{"KL, nats", r.m.Variational(), number(func(e trainer.Epoch) float64 { return e.ValKL }, 4)},
		{"active units", true, func(e trainer.Epoch) string { return strconv.Itoa(e.ValActive) }},
		{"learning rate", true, number(func(e trainer.Epoch) float64 { return e.LearningRate }, 4)},
		{"seconds", true, number(func(e trainer.Epoch) float64 { return e.Seconds }, 3)},
	}
	for _, c := range all {
		if c.shown {
			columns = append(columns, c.name)
		}
	}
	for _, e := range r.history {
		var row []string
		for _, c := range all {
			if c.shown {
				row = append(row, c.value(e))
			}
		}
		rows = append(rows, row)
	}
	return columns, rows
}
