package report

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/trainer"
	"github.com/convae/convae/trainer/picture"
	"github.com/convae/convae/trainer/use"
)

const (
	manifoldSide  = 20        // images along each axis
	manifoldBytes = 256 << 20 // that the images take at the most
	filterCount   = 100
	filterRow     = 10
	mostClasses   = 12 // that colours tell apart
)

// rows draws inputs, codes and reconstructions of images.
func (r *report) rows(context.Context) error {
	if !r.set.Images() {
		return nil
	}
	tr := r.c.Training
	rows, caption, err := use.SampleRows(r.net, r.set, tr.Corrupted(), tr.Seed)
	if err != nil {
		return err
	}
	inputs := rows[len(rows)-2].Images
	size := r.m.Code.Len()
	codes := make([]float32, len(inputs)*size)
	for i, img := range inputs {
		if err := r.net.Encode(codes[i*size:][:size], img.Pix, 1); err != nil {
			return err
		}
	}
	rows = slices.Insert(rows, len(rows)-1, picture.Row{Label: "code\n" + shapeText(r.m.Code), Images: codeImages(codes, r.m.Code)})
	f := figure{Title: "Samples", Paper: true, Alt: "Rows of inputs, their codes and their reconstructions",
		Caption: "Validation images from top to bottom: what the model is given, its code (dark violet is the smallest number shown, yellow the largest), and what it makes of that."}
	if !tr.Corrupted().IsZero() {
		f.Caption = "Validation images from top to bottom: clean, as the model is given them, their code (dark violet is the smallest number shown, yellow the largest), and what the model makes of that."
	}
	return r.add("rows.png", f, func(path string) error {
		return use.WriteSheet(path, rows, picture.SheetOptions{Caption: caption})
	})
}

// codeImages draws codes in common colours: the numbers of a vector as a nearly square grid, the channels of an image side
// by side.
func codeImages(codes []float32, s backend.Shape) []picture.Image {
	images := make([]picture.Image, len(codes)/s.Len())
	for i := range images {
		code := codes[i*s.Len():][:s.Len()]
		planes := make([]picture.Image, s.C)
		for c := range planes {
			planes[c] = picture.Image{H: s.H, W: s.W, C: 1}
			for k := c; k < len(code); k += s.C {
				planes[c].Pix = append(planes[c].Pix, code[k])
			}
		}
		if s.H*s.W == 1 {
			images[i] = picture.Mosaic(planes, columns(s.C), 0)
		} else {
			images[i] = picture.Mosaic(planes, squareColumns(s.C), 1)
		}
	}
	return picture.Heat(images)
}

// columns returns the width of a grid of n places that is nearly square and, if it need not be much wider, full.
func columns(n int) int {
	least := squareColumns(n)
	for c := least; 2*c*c <= 5*n; c++ {
		if n%c == 0 {
			return c
		}
	}
	return least
}

// squareColumns returns the width of the smallest square of n places.
func squareColumns(n int) int {
	return int(math.Ceil(math.Sqrt(float64(n))))
}

func shapeText(s backend.Shape) string {
	switch {
	case s.Len() == 1:
		return "1 number"
	case s.H*s.W == 1:
		return fmt.Sprintf("%d numbers", s.C)
	}
	return fmt.Sprintf("%d × %d × %d", s.H, s.W, s.C)
}

// latent draws the codes as points by label, or a histogram of those of one number.
func (r *report) latent(context.Context) error {
	if r.codes == nil {
		return nil
	}
	a, title, colour := r.codes.axes, "Codes", ""
	if r.set.Labels != nil {
		title, colour = "Codes by label", " Colours are labels, which the model was not told."
	}
	if len(a) == 1 {
		f := figure{Title: "Codes", Alt: "Histogram of the codes", Caption: fmt.Sprintf("How often the codes of %d validation samples have each value.%s", r.codes.n, colour)}
		return r.add("latent.png", f, func(path string) error {
			return use.WritePlot(path, picture.Histogram{Title: title, XLabel: a[0].label, YLabel: "samples", Groups: r.groups(a[0].values)})
		})
	}
	s := picture.Scatter{Title: title, XLabel: a[0].label, YLabel: a[1].label, Equal: true}
	s.Series, s.ValueLabel = r.series(a[0].values, a[1].values)
	f := figure{Title: "Codes", Alt: "Scatter plot of the codes",
		Caption: fmt.Sprintf("The codes of %d validation samples; samples that are near each other look alike to the model.%s", r.codes.n, colour)}
	if r.codes.pca != nil {
		f.Caption = fmt.Sprintf("The codes of %d validation samples, %d numbers each, seen along the two directions in which they vary most.%s", r.codes.n, r.codes.size, colour)
	}
	return r.add("latent.png", f, func(path string) error { return use.WritePlot(path, s) })
}

// labels returns the labels of the samples whose codes are drawn, and those that occur, in order; none if there are none.
func (r *report) labels() (of, all []uint8) {
	if r.set.Labels == nil {
		return nil, nil
	}
	of = make([]uint8, r.codes.n)
	for i := range of {
		of[i] = r.set.Labels[r.sample(i, r.codes.n)]
	}
	all = slices.Clone(of)
	slices.Sort(all)
	return of, slices.Compact(all)
}

// groups are values by label.
func (r *report) groups(values []float64) []picture.Group {
	of, all := r.labels()
	if len(all) < 2 || len(all) > mostClasses {
		return []picture.Group{{Values: values}}
	}
	groups := make([]picture.Group, len(all))
	for i, label := range all {
		groups[i].Name = r.set.Class(label)
		for k, v := range values {
			if of[k] == label {
				groups[i].Values = append(groups[i].Values, v)
			}
		}
	}
	return groups
}

// series are points by label or, of more labels than colours tell apart, coloured by the number of the label.
func (r *report) series(x, y []float64) (series []picture.Series, valueLabel string) {
	of, all := r.labels()
	if len(all) < 2 {
		return []picture.Series{{X: x, Y: y}}, ""
	}
	if len(all) > mostClasses {
		s := picture.Series{X: x, Y: y}
		for _, label := range of {
			s.Values = append(s.Values, float64(label))
		}
		return []picture.Series{s}, "label"
	}
	xs, ys := r.groups(x), r.groups(y)
	for i := range xs {
		series = append(series, picture.Series{Name: xs[i].Name, X: xs[i].Values, Y: ys[i].Values})
	}
	return series, ""
}

// manifold draws the images that the decoder makes of a grid of codes.
func (r *report) manifold(context.Context) error {
	if r.codes == nil || r.codes.size != 2 || !r.set.Images() {
		return nil
	}
	fit := math.Sqrt(float64(manifoldBytes) / float64(4*r.m.Output.Len()))
	x, y := r.grid(min(max(int(fit), 2), manifoldSide))
	codes := use.ManifoldCodes(x, y)
	samples := make([]float32, len(codes)/2*r.m.Output.Len())
	if err := r.net.Decode(samples, codes, len(codes)/2); err != nil {
		return err
	}
	caption := fmt.Sprintf("What the decoder makes of %d × %d codes, at even steps over the span of the validation samples' codes (1st to 99th percentile): the first number rises to the right, the second upwards.", len(x), len(y))
	if r.m.Variational() {
		caption = fmt.Sprintf("What the decoder makes of %d × %d codes, at quantiles of the standard normal distribution, so that each image stands for as many codes: the first number rises to the right, the second upwards.", len(x), len(y))
	}
	f := figure{Title: "Latent manifold", Paper: true, Alt: "Grid of decoded images", Caption: caption}
	return r.add("manifold.png", f, func(path string) error {
		return use.WriteManifold(path, use.Images(samples, backend.Shape{N: 1, H: r.set.H, W: r.set.W, C: r.set.C}), len(x))
	})
}

// filters draws the features of models that have such.
func (r *report) filters(context.Context) error {
	images, err := use.Features(r.m)
	if err != nil || !r.set.Images() {
		return nil // the error says why a model has no filters to look at
	}
	shown := images[:min(filterCount, len(images))]
	f := figure{Title: "Filters of the first layer", Paper: true, Alt: "Weights of the first layer as images",
		Caption: fmt.Sprintf("%d of %d, each scaled by its largest weight: mid-grey is 0, white positive, black negative.", len(shown), len(images))}
	if r.m.Concrete() {
		f = figure{Title: "Selected inputs", Paper: true, Alt: "Image with the selected inputs in white", Caption: "The inputs that the model selects, in white."}
	}
	return r.add("filters.png", f, func(path string) error {
		return use.WriteSheet(path, picture.Grid(shown, filterRow), picture.SheetOptions{})
	})
}

// losses draws the losses of the run and, if there are others to compare with, their validation losses.
func (r *report) losses(context.Context) error {
	if len(r.history) == 0 {
		r.notes = append(r.notes, "There are no loss curves: training ended before its first validation.")
		if len(r.others) == 0 {
			return nil
		}
	}
	training, validation := trainer.LossCurves(r.history)
	var curves []picture.Curve
	if len(r.history) > 0 {
		curves = append(curves, training, validation)
	}
	caption := "The loss after each epoch; where validation rises while training falls, the model learns its samples by heart."
	if len(r.others) > 0 {
		caption = "The loss of this run, and on their validation samples those of other runs, after each epoch."
	}
	for _, other := range r.others {
		_, v := trainer.LossCurves(other.history)
		v.Name = other.name
		if a, b := lossText(other.c), lossText(r.c); a != b {
			v.Name += " (" + a + ")"
			caption += fmt.Sprintf(" %s has another loss (%s, this run %s), so their heights cannot be compared.", other.name, a, b)
		}
		curves = append(curves, v)
	}
	return r.add(trainer.LossFile, figure{Title: "Loss", Alt: "Loss by epoch", Caption: caption}, func(path string) error {
		return trainer.WriteLossCurves(path, curves...)
	})
}

// lossText names what a run's loss measures.
func lossText(c trainer.Config) string {
	if reduction := c.Training.Reduction; reduction != "" && reduction != "mean" {
		return c.Training.Loss.String() + " by " + reduction
	}
	return c.Training.Loss.String()
}
