package exchange

import (
	"io"

	"github.com/convae/convae/nn"
	"github.com/convae/convae/nn/onnx"
	"github.com/convae/convae/trainer"
	"github.com/convae/convae/trainer/atomicfile"
)

// configKey is that of the configuration in the metadata of an ONNX file, as JSON.
const configKey = "convae.config"

// ExportONNX writes a model, or a part of it, as an ONNX graph. The file carries the configuration too.
func ExportONNX(path string, m *nn.Model, c trainer.Config, o onnx.Options) error {
	c.Model = m.Config
	config, err := c.JSON()
	if err != nil {
		return err
	}
	o.Metadata = map[string]string{configKey: string(config)}
	graph, err := onnx.Export(m, o)
	if err != nil {
		return err
	}
	data, err := onnx.Marshal(graph)
	if err != nil {
		return err
	}
	return atomicfile.Write(path, func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	})
}
