package main

import (
	"cmp"
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
	"github.com/convae/convae/trainer/picture"
	"github.com/convae/convae/trainer/use"
)

type anomalyFlags struct {
	modelFlags
	placeFlags
	split, label string
	normal       []string
	quantile     float64
	out, worst   string
	score        string
	smooth       float64
	masks, maps  string
	count        int
	asJSON       bool
}

// anomalyReport is what --json prints and, with the samples, what --out writes as JSON.
type anomalyReport struct {
	Model           string      `json:"model"`
	Data            string      `json:"data"`
	Samples         int         `json:"samples"`
	Quantile        float64     `json:"quantile"`
	Fitted          int         `json:"fitted"` // validation samples that the threshold is fitted to
	Threshold       float64     `json:"threshold"`
	Anomalies       int         `json:"anomalies"`        // samples that score more
	Labels          string      `json:"labels,omitempty"` // with the names of their classes and how often they occur
	*labelledReport             // known where the labels say what is normal
	Scores          []use.Score `json:"scores,omitempty"`
}

type labelledReport = use.Detection

func anomaliesCommand() *cobra.Command {
	var f anomalyFlags
	c := &cobra.Command{
		Use:   "anomalies [RUN] [DATA]",
		Short: "Score samples by how badly a model reconstructs them, and tell the anomalies",
		Long: `Score each sample of a data set by the mean squared error of its reconstruction. Anomalies are those that score more than
a quantile of the run's own validation data does.

DATA is a ` + dataHelp + `; the run's own by default. RUN may be "" for the newest.

The errors of an image's pixels tell where it is anomalous: --maps writes them. Where defects are small, --score max with --smooth finds
more of them than the mean of a sample does. --masks names a folder with masks of the anomalous pixels, called as the pictures are, perhaps
with _mask behind their names as in the MVTec data set: the errors of all pixels are judged by them.

Where the samples have labels, --normal says which of them are normal, by name or number; those that the run was trained
on (data.only) are by default. The scores are then judged by the area under the ROC curve, and of validation data of the same kind the
threshold is fitted to the normal samples alone.

  convae train anomaly --set data.only=[7] --out sevens
  convae anomalies sevens --out scores.csv --worst worst.png
  convae anomalies hazelnuts hazelnut/test --normal good --score max --smooth 4 --masks hazelnut/ground_truth`,
		Args: arguments(0, 2),
		RunE: func(c *cobra.Command, args []string) error { return f.run(c, args) },
	}
	fs := c.Flags()
	fs.Float64Var(&f.quantile, "quantile", 0.99, "share of the validation data that is below the threshold")
	above(fs, "quantile", 0, 1)
	fs.StringArrayVar(&f.normal, "normal", nil, "classes of the samples that are normal, as 0 or 0,3 or cat (default: data.only of the run); a name with a comma in it alone, or in quotes as CSV has it; may be repeated")
	fs.StringVar(&f.label, "label", "", "column of a .csv with the labels (default: the run's)")
	fs.StringVar(&f.score, "score", "mean", "what of the squared errors of a sample's pixels is its score: mean or max")
	fs.Float64Var(&f.smooth, "smooth", 0, "standard deviation in pixels of a Gaussian that smooths the errors of an image first")
	within(fs, "smooth", 0, use.MaxSmooth)
	fs.StringVar(&f.masks, "masks", "", "folder of masks in which anomalous pixels are white, for pictures of a folder")
	fs.StringVar(&f.maps, "maps", "", "write the squared errors of all samples' pixels to this .npy, of samples, rows and columns")
	fs.StringVar(&f.out, "out", "", "write the score of each sample to this .csv or .json")
	fs.StringVar(&f.worst, "worst", "", "draw the samples with the highest scores to this .png")
	fs.IntVar(&f.count, "count", sheetColumns, "samples that --worst draws")
	within(fs, "count", 1, sheetImages)
	f.addPlace(fs)
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
	if f.maps != "" {
		if err := checkOutput(f.maps, "", ".npy"); err != nil {
			return fmt.Errorf("--maps: %w", err)
		}
	}
	if f.score != "mean" && f.score != "max" {
		return fmt.Errorf("--score is %q, want mean or max", f.score)
	}
	if f.masks != "" && f.skip {
		return errors.New("--masks go by the files of the pictures, each of which has to be read: leave out --skip-unreadable")
	}
	return checkSplit(f.split)
}

func (f *anomalyFlags) run(c *cobra.Command, args []string) error {
	if err := f.check(c); err != nil {
		return err
	}
	f.model = firstArg(args)
	m, cfg, path, err := f.load()
	if err != nil {
		return err
	}
	other, err := f.configs(c, &cfg, args)
	if err != nil {
		return err
	}
	run, err := loadRun(c, &cfg.Data)
	if err != nil {
		return err
	}
	defer run.close()
	other.Data.Classes = cfg.Data.Classes // the same class has the same label in both
	loaded, err := loadSets(c, other.Data)
	if err != nil {
		return err
	}
	defer loaded.close()
	set, err := loaded.pick(f.split, c.Flags().Changed("split"))
	if err != nil {
		return err
	}
	if f.worst != "" && !set.Images() {
		return fmt.Errorf("--worst draws images, %s has %s", set.Name, setText(set))
	}
	if (f.smooth > 0 || f.maps != "") && !set.Images() {
		return fmt.Errorf("--smooth and --maps are for images, %s has %s", set.Name, setText(set))
	}
	same := other.Data.Name == cfg.Data.Name && other.Data.Label == cfg.Data.Label && (set.Classes == nil) == (run.train.Classes == nil)
	if same && f.normal == nil {
		if f.normal, err = trainedOn(cfg.Data, run.train); err != nil {
			return err
		}
	}
	if c.Flags().Changed("normal") {
		if f.normal, err = listed(f.normal, set.Classes); err != nil {
			return fmt.Errorf("--normal: %w", err)
		}
	}
	o, labels, err := f.options(set)
	if err != nil {
		return err
	}
	net, _, closeNet, err := openNetwork(m, f.device)
	if err != nil {
		return err
	}
	defer closeNet()
	if same {
		if o.Usual, err = f.usual(run.test, labels); err != nil {
			return err
		}
	}
	if f.masks != "" {
		if o.Normal == nil {
			return errors.New("--masks: which pictures have no mask? want the names of the classes that are normal with --normal")
		}
		if o.Masks, err = set.Masks(f.masks, func(i int) bool { return o.Normal[i] }); err != nil {
			return fmt.Errorf("--masks: %w", err)
		}
	}
	a, err := f.find(c, net, run.test, set, o)
	if err != nil {
		return err
	}
	r := anomalyReport{Model: path, Data: other.Data.Name, Samples: len(a.Scores), Quantile: o.Quantile, Fitted: a.Fitted, Threshold: a.Threshold, Anomalies: a.Found, Labels: labelText(set), Scores: a.Scores}
	if o.Normal != nil {
		r.labelledReport = &a.Detection
	}
	if f.out != "" {
		if err := r.writeTo(f.out); err != nil {
			return err
		}
	}
	highest := a.Ranking()
	if f.worst != "" {
		if err := f.drawWorst(net, set, r, highest); err != nil {
			return err
		}
	}
	return f.print(c.OutOrStdout(), r, highest)
}

// find finds the anomalies and, if they are wanted, writes the errors of all pixels.
func (f *anomalyFlags) find(c *cobra.Command, net *nn.Network, usual, set *dataset.Set, o use.AnomalyOptions) (a use.Anomalies, err error) {
	if f.maps == "" {
		return use.FindAnomalies(c.Context(), net, usual, set, o)
	}
	err = trainer.WriteNPYParts(f.maps, []int{set.Len(), set.H, set.W}, func(write func(part []float32) error) error {
		part := make([]float32, set.H*set.W)
		o.Each = func(i int, errors []float64) error {
			for p, v := range errors {
				part[p] = float32(v)
			}
			return write(part)
		}
		var err error
		a, err = use.FindAnomalies(c.Context(), net, usual, set, o)
		return err
	})
	return a, err
}

// configs gives the run's configuration the flags, and returns that of the samples to score.
func (f *anomalyFlags) configs(c *cobra.Command, run *trainer.Config, args []string) (other trainer.Config, err error) {
	other = *run
	if len(args) == 2 {
		other.Data = withData(run.Data, args[1])
	} else {
		f.place(c.Flags().Changed, &run.Data) // the run's data are there now
	}
	f.place(c.Flags().Changed, &other.Data)
	if run.Data.Name == "images" && f.skip {
		run.Data.SkipUnreadable = true
	}
	override(c.Flags().Changed("label"), &other.Data.Label, f.label)
	other.Data.Only = nil
	if f.masks != "" {
		if other.Data.Name != "images" {
			return other, fmt.Errorf("--masks are for pictures of a folder, %s has none", other.Data.Name)
		}
		other.Data.Stream, other.Data.Cache = true, false // masks go by the names of the files
	}
	if err := run.Check(); err != nil {
		return other, err
	}
	return other, other.Check()
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

// listed returns the classes that texts name: each text is the name of a class, or names with commas between them, in quotes where they have commas themselves.
func listed(texts, classes []string) (names []string, err error) {
	for _, text := range texts {
		if slices.Contains(classes, text) {
			names = append(names, text)
			continue
		}
		r := csv.NewReader(strings.NewReader(text))
		r.LazyQuotes = true
		some, err := r.Read()
		if err != nil {
			return nil, fmt.Errorf("%q is no list of classes: %w", text, err)
		}
		names = append(names, some...)
	}
	return names, nil
}

// options say which samples of a set are normal, with the labels that are. Without --normal they do not.
func (f *anomalyFlags) options(set *dataset.Set) (o use.AnomalyOptions, labels []int, err error) {
	o.Quantile, o.Scoring = f.quantile, use.Scoring{Smooth: f.smooth, Max: f.score == "max"}
	if len(f.normal) == 0 {
		return o, nil, nil
	}
	if set.Labels == nil {
		return o, nil, fmt.Errorf("--normal: data set %s has no labels: want one that has (--label names the column of a .csv)", set.Name)
	}
	if labels, err = set.FindLabels(f.normal); err != nil {
		return o, nil, fmt.Errorf("--normal: %w", err)
	}
	n := 0
	if o.Normal, n = use.WithLabels(set.Labels, labels); n == 0 || n == set.Len() {
		return o, nil, fmt.Errorf("--normal %s: %d of %d samples of %s are normal, want some but not all; labels: %s", strings.Join(f.normal, ","), n, set.Len(), set.Name, labelText(set))
	}
	return o, labels, nil
}

// usual tells which of the samples that the run was validated on are normal; nil if that is not known.
func (f *anomalyFlags) usual(validation *dataset.Set, labels []int) ([]bool, error) {
	if labels == nil || validation.Labels == nil {
		return nil, nil
	}
	normal, n := use.WithLabels(validation.Labels, labels)
	if n == 0 {
		return nil, fmt.Errorf("--normal %s: none of the run's %d validation samples is normal, so there is nothing to fit the threshold to", strings.Join(f.normal, ","), validation.Len())
	}
	return normal, nil
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
		if r.Scores[0].File != "" {
			header = append(header, "file")
		}
		rows := [][]string{header}
		for _, s := range r.Scores {
			row := []string{strconv.Itoa(s.Index), strconv.FormatFloat(s.Score, 'g', -1, 64), strconv.FormatBool(s.Anomaly)}
			if s.Label != nil {
				row = append(row, cmp.Or(s.Class, strconv.Itoa(int(*s.Label))))
			}
			if s.File != "" {
				row = append(row, s.File)
			}
			rows = append(rows, row)
		}
		return out.WriteAll(rows)
	})
}

// drawWorst draws the samples with the highest scores.
func (f *anomalyFlags) drawWorst(net *nn.Network, set *dataset.Set, r anomalyReport, highest []use.Score) error {
	worst := highest[:min(f.count, len(highest))]
	rows, err := use.WorstRows(net, set, worst, sheetColumns)
	if err != nil {
		return err
	}
	caption := fmt.Sprintf("the %d highest of %d scores, %.5f to %.5f; the threshold is %.5f", len(worst), r.Samples, worst[0].Score, worst[len(worst)-1].Score, r.Threshold)
	return use.WriteSheet(f.worst, rows, picture.SheetOptions{Title: set.Name, Caption: caption})
}

func (f *anomalyFlags) print(w io.Writer, r anomalyReport, highest []use.Score) error {
	if f.asJSON {
		r.Scores = nil
		return writeJSON(w, r)
	}
	fmt.Fprintf(w, "%s on %d samples of %s\n", r.Model, r.Samples, r.Data)
	of := "MSE"
	if f.score == "max" {
		of = "largest squared error"
	}
	fmt.Fprintf(w, "threshold: "+of+" %.6g, quantile %g of the errors of %d validation samples\n", r.Threshold, r.Quantile, r.Fitted)
	fmt.Fprintf(w, "anomalies: %d of %d samples (%.2f %%)\n", r.Anomalies, r.Samples, 100*float64(r.Anomalies)/float64(r.Samples))
	if r.Labels != "" {
		fmt.Fprintf(w, "labels of the samples: %s\n", r.Labels)
	}
	if l := r.labelledReport; l != nil {
		fmt.Fprintf(w, "labels: %d normal, %d anomalous; ROC AUC %.4f; above the threshold are %.2f %% of the anomalous, %.2f %% of the normal\n", l.Normal, l.Anomalous, l.AUC, 100*l.Found, 100*l.FalseAlarm)
	}
	if l := r.labelledReport; l != nil && l.PixelAUC != nil {
		fmt.Fprintf(w, "pixels: ROC AUC %.4f\n", *l.PixelAUC)
	}
	_, err := fmt.Fprint(w, "highest:")
	for _, s := range highest[:min(5, len(highest))] {
		_, err = fmt.Fprintf(w, " %s (%.6g)", cmp.Or(s.File, fmt.Sprintf("sample %d", s.Index)), s.Score)
	}
	fmt.Fprintln(w)
	if f.worst != "" {
		_, err = fmt.Fprintf(w, "look at: %s\n", f.worst)
	}
	return err
}
