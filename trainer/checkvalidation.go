package trainer

import (
	"github.com/convae/convae/nn"
	"github.com/convae/convae/trainer/dataset"
	"github.com/convae/convae/trainer/use"
)

// CheckValidation is use.CheckSet of samples to validate on. Where a scaling was fitted to the training samples, their values
// may lie beyond those of these.
func (c Config) CheckValidation(m *nn.Model, set *dataset.Set) error {
	loss := c.Training.Loss
	if c.Data.scales() {
		loss = nn.MSE
	}
	return use.CheckSet(m, loss, set)
}
