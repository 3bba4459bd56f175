package exchange

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"github.com/convae/convae/nn"
	"github.com/convae/convae/nn/onnx"
	"github.com/convae/convae/nn/onnx/onnxpb"
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

// ImportONNX makes a model of an ONNX graph. A graph of ExportONNX comes back as it was, with its configuration; of another that
// onnx.Import takes the model is made anew, with the training of a preset.
func ImportONNX(path string, o onnx.ImportOptions) (*nn.Model, trainer.Config, error) {
	file, err := onnx.ReadFile(path)
	if err != nil {
		return nil, trainer.Config{}, err
	}
	if text, ok := onnx.Metadata(file, configKey); ok && o.Code == "" {
		m, c, err := ownONNX(file, text)
		if err == nil || !errors.Is(err, onnx.ErrNotOwn) {
			return m, c, inFile(path, err)
		}
	}
	if o.Name == "" {
		o.Name = strings.TrimSuffix(filepath.Base(path), filepath.Ext(path))
	}
	m, err := onnx.Import(file, o)
	if err != nil {
		return nil, trainer.Config{}, inFile(path, err)
	}
	preset := "convt" // digits
	if in := m.Config.Input; len(in) == 3 && !slices.Equal(in, []int{28, 28, 1}) {
		preset = "resnet-ae" // pictures of any size
	}
	c, err := trainer.Preset(preset, func(c *trainer.Config) error {
		c.Model = m.Config
		return nil
	})
	return m, c, inFile(path, err)
}

// ownONNX makes the model of a configuration with the weights of a graph that was exported of it.
func ownONNX(file *onnxpb.ModelProto, text string) (*nn.Model, trainer.Config, error) {
	for _, v := range slices.Concat(file.Graph.Input, file.Graph.Output) {
		if v.GetName() == "code" {
			return nil, trainer.Config{}, errors.New("it has a part of a model alone, the encoder or the decoder: want the whole")
		}
	}
	c, err := trainer.DecodeConfig(strings.NewReader(text))
	if err != nil {
		return nil, c, fmt.Errorf("its configuration: %w", err)
	}
	m, err := nn.New(c.Model, c.Training.Seed)
	if err != nil {
		return nil, c, err
	}
	return m, c, onnx.Take(m, file)
}

func inFile(path string, err error) error {
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}
