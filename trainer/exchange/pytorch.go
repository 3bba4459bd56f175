package exchange

import (
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/convae/convae/nn"
	"github.com/convae/convae/nn/torchmodule"
	"github.com/convae/convae/trainer/atomicfile"
)

// ExportPyTorch writes a model as a file of Python with a module that needs torch alone, and its state dict beside it, with the ending .pt.
// It returns the name of that.
func ExportPyTorch(path string, m *nn.Model) (weights string, err error) {
	weights = strings.TrimSuffix(path, filepath.Ext(path)) + ".pt"
	if err := torchmodule.CheckName(strings.TrimSuffix(filepath.Base(path), filepath.Ext(path))); err != nil {
		return weights, fmt.Errorf("%s: %w", path, err)
	}
	names, err := Names(m, Layers)
	if err != nil {
		return weights, err
	}
	text, err := torchmodule.Write(m, names, filepath.Base(weights))
	if err != nil {
		return weights, err
	}
	if err := Export(weights, m, Layers); err != nil {
		return weights, err
	}
	return weights, atomicfile.Write(path, func(w io.Writer) error {
		_, err := io.WriteString(w, text)
		return err
	})
}
