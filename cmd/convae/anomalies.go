package main

import (
	"cmp"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/convae/convae/nn"
	"github.com/convae/convae/trainer"
	"github.com/convae/convae/trainer/atomicfile"
	"github.com/convae/convae/trainer/dataset"
	"github.com/convae/convae/trainer/metric"
	"github.com/convae/convae/trainer/picture"
	"github.com/convae/convae/trainer/use"
)

type anomalyFlags struct {
	device, dataDir, split, label string
	normal                        []string
	labels                        []int // that normal stands for
	quantile                      float64
	out, worst                    string
	count                         int
	asJSON                        bool
}

// anomalyReport is what --json prints and, with the samples, what --out writes as JSON.
type anomalyReport struct {
	Model     string  `json:"model"`
	Data      string  `json:"data"`
	Samples   int     `json:"samples"`
	Quantile  float64 `json:"quantile"`
	Fitted    int     `json:"fitted"` // validation samples that the threshold is fitted to
	Threshold float64 `json:"threshold"`
	Anomalies int     `json:"anomalies"`        // samples that score more
	Labels    string  `json:"labels,omitempty"` // with the names of their classes and how often they occur
	*labelledReport
	Scores []anomalyScore `json:"scores,omitempty"`
}

// labelledReport is known where the labels say what is normal.
type labelledReport struct {
	Normal     int     `json:"normal"` // samples by label
	Anomalous  int     `json:"anomalous"`
	AUC        float64 `json:"roc_auc"`
	Found      float64 `json:"found"`       // share of the anomalous samples above the threshold
	FalseAlarm float64 `json:"false_alarm"` // share of the normal ones
}

type anomalyScore struct {
	Index   int     `json:"index"`
	Score   float64 `json:"score"`
	Anomaly bool    `json:"anomaly"`
	Label   *uint8  `json:"label,omitempty"`
	Class   string  `json:"class,omitempty"` // that the label stands for, if it has a name
}

func anomaliesCommand() *cobra.Command {
	var f anomalyFlags
	c := &cobra.Command{
		Use:   "anomalies [RUN] [DATA]",
		Short: "Score samples by how badly a model reconstructs them, and tell the anomalies",
		Long: `Score each sample of a data set by the mean squared error of its reconstruction. Anomalies are those that score more than
a quantile of the run's own validation data does.

DATA is a ` + dataHelp + `; the run's own by default. RUN may be "" for the newest.

Where the samples have labels, --normal says which of them are normal, by name or number; those that the run was trained
on (data.only) are by default. The scores are then judged by the area under the ROC curve, and of validation data of the same kind the
threshold is fitted to the normal samples alone.

  convae train anomaly --set data.only=[7] --out sevens
  convae anomalies sevens --out scores.csv --worst worst.png`,
		Args: arguments(0, 2),
		RunE: func(c *cobra.Command, args []string) error { return f.run(c, args) },
	}
	fs := c.Flags()
	fs.Float64Var(&f.quantile, "quantile", 0.99, "share of the validation data that is below the threshold")
	above(fs, "quantile", 0, 1)
	fs.StringSliceVar(&f.normal, "normal", nil, "classes of the samples that are normal, as 0 or 0,3 or cat (default: data.only of the run)")
	fs.StringVar(&f.label, "label", "", "column of a .csv with the labels (default: the run's)")
	fs.StringVar(&f.out, "out", "", "write the score of each sample to this .csv or .json")
	fs.StringVar(&f.worst, "worst", "", "draw the samples with the highest scores to this .png")
	fs.IntVar(&f.count, "count", sheetColumns, "samples that --worst draws")
	within(fs, "count", 1, sheetImages)
	fs.StringVar(&f.dataDir, "data-dir", "", dataDirHelp)
	fs.StringVar(&f.split, "split", "test", "part of the data set: train or test")
	fs.StringVar(&f.device, "device", "auto", deviceHelp)
	fs.BoolVar(&f.asJSON, "json", false, "print JSON")
	return c
}

// check reports flags that cannot be.
func (f *anomalyFlags) check(c *cobra.Command) error {
	if f.out != "" {
		if err := checkOutput(f.out, "", ".csv", ".json"); err != nil {
			return fmt.Errorf("--out: %w", err)
		}
	}
	if f.worst != "" {
		if err := checkOutput(f.worst, "", ".png"); err != nil {
			return fmt.Errorf("--worst: %w", err)
		}
	} else if c.Flags().Changed("count") {
		return errors.New("--count is for a picture: name its file with --worst")
	}
	return checkSplit(f.split)
}

func (f *anomalyFlags) run(c *cobra.Command, args []string) error {
	if err := f.check(c); err != nil {
		return err
	}
	path, err := findModel(firstArg(args))
	if err != nil {
		return err
	}
	m, cfg, err := trainer.LoadModel(path)
	if err != nil {
		return err
	}
	other := cfg
	if len(args) == 2 {
		other.Data = withData(cfg.Data, args[1])
	} else {
		override(c.Flags().Changed("data-dir"), &cfg.Data.Dir, f.dataDir) // the run's data are there now
	}
	override(c.Flags().Changed("data-dir"), &other.Data.Dir, f.dataDir)
	override(c.Flags().Changed("label"), &other.Data.Label, f.label)
	other.Data.Only = nil
	for _, c := range []*trainer.Config{&cfg, &other} {
		if err := c.Check(); err != nil {
			return err
		}
	}
	fit, validation, err := trainer.LoadData(c.Context(), &cfg.Data, loadingOn(c))
	if err != nil {
		return err
	}
	defer fit.Close()
	defer validation.Close()
	other.Data.Classes = cfg.Data.Classes // the same class has the same label in both
	train, test, err := loadSets(c, other.Data)
	if err != nil {
		return err
	}
	defer train.Close()
	if test != nil {
		defer test.Close()
	}
	set, err := pickSplit(train, test, f.split, c.Flags().Changed("split"))
	if err != nil {
		return err
	}
	if f.worst != "" && !set.Images() {
		return fmt.Errorf("--worst draws images, %s has %s", set.Name, setText(set))
	}
	same := other.Data.Name == cfg.Data.Name && other.Data.Label == cfg.Data.Label && (set.Classes == nil) == (fit.Classes == nil)
	if same && f.normal == nil {
		if f.normal, err = trainedOn(cfg.Data, fit); err != nil {
			return err
		}
	}
	normal, err := f.normals(set)
	if err != nil {
		return err
	}
	net, _, closeNet, err := openNetwork(m, f.device)
	if err != nil {
		return err
	}
	defer closeNet()
	r, err := f.score(c.Context(), net, validation, set, normal, same)
	if err != nil {
		return err
	}
	r.Model, r.Data = path, other.Data.Name
	if f.out != "" {
		if err := r.writeTo(f.out); err != nil {
			return err
		}
	}
	if f.worst != "" {
		if err := f.drawWorst(net, set, r); err != nil {
			return err
		}
	}
	return f.print(c.OutOrStdout(), r)
}

// score scores the samples of a set and, to fit the threshold, those that the run was validated on: the normal ones alone
// where they are known and the labels of both are the same ones.
func (f *anomalyFlags) score(ctx context.Context, net *nn.Network, validation, set *dataset.Set, normal []bool, same bool) (anomalyReport, error) {
	usual, err := use.SampleErrors(ctx, net, validation)
	if err != nil {
		return anomalyReport{}, err
	}
	if normal != nil && validation.Labels != nil && same {
		if usual = f.normalOnly(usual, validation.Labels); len(usual) == 0 {
			return anomalyReport{}, fmt.Errorf("--normal %s: none of the run's %d validation samples is normal, so there is nothing to fit the threshold to", strings.Join(f.normal, ","), validation.Len())
		}
	}
	scores, err := use.SampleErrors(ctx, net, set)
	if err != nil {
		return anomalyReport{}, err
	}
	return f.report(usual, scores, set, normal), nil
}

// trainedOn returns the names of the classes that a run was trained on, nil for all of them.
func trainedOn(d trainer.Data, fit *dataset.Set) (names []string, err error) {
	for _, c := range d.Only {
		names = append(names, string(c))
	}
	labels, err := fit.FindLabels(names)
	for i, l := range labels {
		names[i] = fit.Class(uint8(l))
	}
	return names, err
}

// normals tells which samples are normal by their labels; nil if no flag says which labels are.
func (f *anomalyFlags) normals(set *dataset.Set) ([]bool, error) {
	if len(f.normal) == 0 {
		return nil, nil
	}
	if set.Labels == nil {
		return nil, fmt.Errorf("--normal: data set %s has no labels: want one that has (--label names the column of a .csv)", set.Name)
	}
	var err error
	if f.labels, err = set.FindLabels(f.normal); err != nil {
		return nil, fmt.Errorf("--normal: %w", err)
	}
	normal, n := make([]bool, set.Len()), 0
	for i, l := range set.Labels {
		if normal[i] = slices.Contains(f.labels, int(l)); normal[i] {
			n++
		}
	}
	if n == 0 || n == len(normal) {
		return nil, fmt.Errorf("--normal %s: %d of %d samples of %s are normal, want some but not all; labels: %s", strings.Join(f.normal, ","), n, len(normal), set.Name, labelText(set))
	}
	return normal, nil
}

// normalOnly returns the values of the samples whose labels are normal.
func (f *anomalyFlags) normalOnly(values []float64, labels []uint8) (kept []float64) {
	for i, l := range labels {
		if slices.Contains(f.labels, int(l)) {
			kept = append(kept, values[i])
		}
	}
	return kept
}

// report judges the scores by the usual ones and, where normal is known, the scores by that.
func (f *anomalyFlags) report(usual, scores []float64, set *dataset.Set, normal []bool) anomalyReport {
	r := anomalyReport{Labels: labelText(set), Samples: len(scores), Quantile: f.quantile, Fitted: len(usual), Threshold: metric.Quantile(usual, f.quantile)}
	for i, s := range scores {
		a := anomalyScore{Index: i, Score: s, Anomaly: s > r.Threshold}
		if set.Labels != nil {
			if a.Label = &set.Labels[i]; set.Classes != nil {
				a.Class = set.Class(set.Labels[i])
			}
		}
		if a.Anomaly {
			r.Anomalies++
		}
		r.Scores = append(r.Scores, a)
	}
	if normal == nil {
		return r
	}
	l, anomalous := &labelledReport{}, make([]bool, len(normal))
	for i, n := range normal {
		anomalous[i] = !n
		above := 0.0
		if r.Scores[i].Anomaly {
			above = 1
		}
		if n {
			l.Normal++
			l.FalseAlarm += above
		} else {
			l.Anomalous++
			l.Found += above
		}
	}
	l.AUC = metric.AUC(scores, anomalous)
	l.Found /= float64(l.Anomalous)
	l.FalseAlarm /= float64(l.Normal)
	r.labelledReport = l
	return r
}

// writeTo writes the scores as CSV, or all of the report as JSON.
func (r anomalyReport) writeTo(path string) error {
	return atomicfile.Write(path, func(w io.Writer) error {
		if hasEnding(path, ".json") {
			return writeJSON(w, r)
		}
		out := csv.NewWriter(w)
		header := []string{"index", "score", "anomaly"}
		if r.Scores[0].Label != nil {
			header = append(header, "label")
		}
		rows := [][]string{header}
		for _, s := range r.Scores {
			row := []string{strconv.Itoa(s.Index), strconv.FormatFloat(s.Score, 'g', -1, 64), strconv.FormatBool(s.Anomaly)}
			if s.Label != nil {
				row = append(row, cmp.Or(s.Class, strconv.Itoa(int(*s.Label))))
			}
			rows = append(rows, row)
		}
		return out.WriteAll(rows)
	})
}

// ranking returns the scores, the highest first.
func (r anomalyReport) ranking() []anomalyScore {
	return slices.SortedStableFunc(slices.Values(r.Scores), func(a, b anomalyScore) int { return cmp.Compare(b.Score, a.Score) })
}

// drawWorst draws the inputs with the highest scores, what the model makes of them, and the differences.
func (f *anomalyFlags) drawWorst(net *nn.Network, set *dataset.Set, r anomalyReport) error {
	worst := r.ranking()
	worst = worst[:min(f.count, len(worst))]
	var rows []picture.Row
	for part := range slices.Chunk(worst, sheetColumns) {
		group := []picture.Row{{Label: "input"}, {Label: "output"}, {Label: "difference"}}
		for _, s := range part {
			x, y, d := make([]float32, set.Size()), make([]float32, set.Size()), make([]float32, set.Size())
			set.Read(x, s.Index)
			if err := net.Predict(y, x, 1); err != nil {
				return err
			}
			for i := range d {
				d[i] = max(x[i]-y[i], y[i]-x[i])
			}
			for k, pix := range [][]float32{x, y, d} {
				group[k].Images = append(group[k].Images, picture.Image{H: set.H, W: set.W, C: set.C, Pix: pix})
			}
		}
		rows = append(rows, group...)
	}
	caption := fmt.Sprintf("the %d highest of %d scores, %.5f to %.5f; the threshold is %.5f", len(worst), r.Samples, worst[0].Score, worst[len(worst)-1].Score, r.Threshold)
	return use.WriteSheet(f.worst, rows, picture.SheetOptions{Title: set.Name, Caption: caption})
}

func (f *anomalyFlags) print(w io.Writer, r anomalyReport) error {
	if f.asJSON {
		r.Scores = nil
		return writeJSON(w, r)
	}
	fmt.Fprintf(w, "%s on %d samples of %s\n", r.Model, r.Samples, r.Data)
	fmt.Fprintf(w, "threshold: MSE %.6g, quantile %g of the errors of %d validation samples\n", r.Threshold, r.Quantile, r.Fitted)
	fmt.Fprintf(w, "anomalies: %d of %d samples (%.2f %%)\n", r.Anomalies, r.Samples, 100*float64(r.Anomalies)/float64(r.Samples))
	if r.Labels != "" {
		fmt.Fprintf(w, "labels of the samples: %s\n", r.Labels)
	}
	if l := r.labelledReport; l != nil {
		fmt.Fprintf(w, "labels: %d normal, %d anomalous; ROC AUC %.4f; above the threshold are %.2f %% of the anomalous, %.2f %% of the normal\n", l.Normal, l.Anomalous, l.AUC, 100*l.Found, 100*l.FalseAlarm)
	}
	_, err := fmt.Fprint(w, "highest:")
	worst := r.ranking()
	for _, s := range worst[:min(5, len(worst))] {
		_, err = fmt.Fprintf(w, " sample %d (%.6g)", s.Index, s.Score)
	}
	fmt.Fprintln(w)
	if f.worst != "" {
		_, err = fmt.Fprintf(w, "look at: %s\n", f.worst)
	}
	return err
}
