package trainer

import (
	"github.com/convae/convae/nn"
	"github.com/convae/convae/trainer/dataset"
	"github.com/convae/convae/trainer/picture"
	"github.com/convae/convae/trainer/use"
)

// writeSamples draws what the model makes of a few validation images.
func writeSamples(path string, net *nn.Network, set *dataset.Set, worse use.Corruption, seed uint64) error {
	rows, caption, err := use.SampleRows(net, set, worse, seed)
	if err != nil {
		return err
	}
	return use.WriteSheet(path, rows, picture.SheetOptions{Title: set.Name, Caption: caption})
}

// LossCurves are the losses of a history, to be drawn.
func LossCurves(epochs []Epoch) (training, validation picture.Curve) {
	training.Name, validation.Name = "training", "validation"
	for _, e := range epochs {
		training.X, training.Y = append(training.X, float64(e.Epoch)), append(training.Y, e.Loss)
		validation.X, validation.Y = append(validation.X, float64(e.Epoch)), append(validation.Y, e.ValLoss)
	}
	return training, validation
}

// WriteLossCurves draws losses as a PNG, on a logarithmic axis if they span more than a decade.
func WriteLossCurves(path string, curves ...picture.Curve) error {
	return use.WritePlot(path, picture.Losses{Curves: curves, CurveOptions: picture.CurveOptions{Title: "Loss", LogY: picture.SpanDecade(curves)}})
}
