package use

import (
	"context"

	"github.com/convae/convae/nn"
	"github.com/convae/convae/trainer/dataset"
	"github.com/convae/convae/trainer/metric"
	"github.com/convae/convae/trainer/pca"
)

// PCAComparison has what a model and principal components make of the same samples.
type PCAComparison struct {
	Autoencoder, PCA metric.Values
	Explained        float64 // share of the training samples' variance that the components hold
}

// ComparePCA compares a model on the samples of test, without noise, with k principal components of the samples of train.
// When ctx ends, it returns ctx's error soon.
func ComparePCA(ctx context.Context, net *nn.Network, train, test *dataset.Set, k int) (PCAComparison, error) {
	e, err := Evaluate(ctx, net, test, nn.Loss{}, Corruption{}, 0, false) // no noise: the seed makes no difference to the output
	if err != nil {
		return PCAComparison{}, err
	}
	p, err := pca.Fit(ctx, train, k)
	if err != nil {
		return PCAComparison{}, err
	}
	v, err := p.Evaluate(ctx, test)
	return PCAComparison{Autoencoder: e.Output, PCA: v, Explained: p.Explained()}, err
}
