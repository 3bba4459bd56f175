package op

import (
	"slices"

	"github.com/convae/convae/nn/backend"
)

// Fold is a normalisation, by averages that are known, that has become part of the product before it: each row of the weights W, or each
// column if Columns is set, is to be multiplied by gamma / sqrt(variance + epsilon) of its channel, and what was the Norm's mean is the product's
// bias now, which is to be made of these and Bias, the one that it had, or None.
type Fold struct {
	Norm    *BatchNorm
	W, Bias Value
	Columns bool
}

// product is an op that multiplies by weights and adds a bias.
type product interface {
	Differentiable
	// plain returns what of it a fold changes; out is nil if something comes behind the bias.
	plain() (w Value, bias, out *Value, columns bool)
}

func (o *Conv) plain() (w Value, bias, out *Value, columns bool) {
	if o.Shape.Act != backend.Linear || o.Shape.Pool > 1 {
		return None, nil, nil, false
	}
	return o.W, &o.Bias, &o.Out, false
}

func (o *ConvTranspose) plain() (w Value, bias, out *Value, columns bool) {
	if o.Shape.Act != backend.Linear {
		return None, nil, nil, false
	}
	return o.W, &o.Bias, &o.Out, true
}

func (o *Dense) plain() (w Value, bias, out *Value, columns bool) {
	if o.Shape.Act != backend.Linear {
		return None, nil, nil, false
	}
	return o.W, &o.Bias, &o.Out, false
}

// Fold makes normalisations part of the products before them, where nothing else reads what is between, and it is none of the values to keep. It
// comes before ops are fused.
func (t *Tape) Fold(keep ...Value) (folds []Fold) {
	readers := t.Readers()
	for i := 0; i < len(t.Calls); i++ {
		norm, ok := t.Calls[i].Op.(*BatchNorm)
		if !ok || norm.Moments != None || readers[norm.X] != 1 || slices.Contains(keep, norm.X) {
			continue
		}
		for _, c := range t.Calls[:i] {
			o, ok := c.Op.(product)
			if !ok || o.Result() != norm.X {
				continue
			}
			w, bias, out, columns := o.plain()
			if out == nil {
				continue
			}
			folds = append(folds, Fold{Norm: norm, W: w, Bias: *bias, Columns: columns})
			*bias, *out = norm.Mean, norm.Out
			t.Calls = slices.Delete(t.Calls, i, i+1)
			i--
			break
		}
	}
	return folds
}
