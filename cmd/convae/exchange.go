package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/convae/convae/nn"
	"github.com/convae/convae/nn/diffusers"
	"github.com/convae/convae/nn/onnx"
	"github.com/convae/convae/trainer"
	"github.com/convae/convae/trainer/exchange"
)

func importCommand() *cobra.Command {
	var f importFlags
	c := &cobra.Command{
		Use:   "import FOLDER|WEIGHTS|GRAPH.onnx OUT.safetensors",
		Short: "Make a model of PyTorch's, Keras's or diffusers' weights, or of an ONNX graph",
		Long: `Make a model of weights that come from elsewhere, which all commands take, and train with --init:

  a folder that diffusers has saved an AutoencoderKL to (config.json and diffusion_pytorch_model.safetensors)
  a state dict of PyTorch, as .safetensors, or as .pt or .pth of torch.save (no code in it is run), whose model --config says. Its
  tensors have the names of layers (conv2d_1.weight, or NAME.weight of a layer with a name), of the places in an nn.Sequential
  (encoder.3.weight), or diffusers'
  an .onnx that export has written, or one of convolutions, pools, upsampling, dense layers, batch normalisations, activations, sums,
  products and concatenations, as PyTorch's exporter writes them; what else there is in it is named
  a .safetensors of Keras's weights (conv2d_1/kernel), whose model --config says; .h5 and .keras are not read, but the error says how
  to make one of them

Half precision, bfloat16 and float64 become float32. Every tensor has to fit: what is missing, too much or of another shape is
named.`,
		Args: arguments(2, 2),
		RunE: func(c *cobra.Command, args []string) error { return runImport(c, args[0], args[1], f) },
	}
	c.Flags().StringVar(&f.config, "config", "", "the model: a PRESET, a CONFIG.yaml or a run (default: that of the folder's config.json, or of the graph)")
	c.Flags().IntVar(&f.size, "size", 0, "rows and columns of the pictures that a folder's model is for, or a graph that leaves them free (0: the sample_size of the folder's config.json)")
	c.Flags().StringVar(&f.code, "code", "", "the tensor of an .onnx that is the code, where the encoder ends (default: the smallest that all goes through)")
	within(c.Flags(), "size", 0, 1<<14)
	return c
}

// importFlags are those of import.
type importFlags struct {
	config, code string
	size         int
}

func runImport(c *cobra.Command, in, out string, f importFlags) error {
	if err := checkOutput(out, in, ".safetensors"); err != nil {
		return err
	}
	m, cfg, weights, err := importModel(in, f)
	if err != nil {
		return err
	}
	if err := trainer.SaveModelAs(out, m, cfg); err != nil {
		return err
	}
	_, err = fmt.Fprintf(c.OutOrStdout(), "%s: model %s, %d tensors with %d numbers, of %s\n", out, m.Config.Name, len(m.Params), m.Size()+m.StateSize(), weights)
	return err
}

// importModel reads a model and where its weights are.
func importModel(in string, f importFlags) (m *nn.Model, cfg trainer.Config, weights string, err error) {
	info, err := os.Stat(in)
	if err != nil {
		return nil, cfg, "", fmt.Errorf("import: %w", err)
	}
	graph := !info.IsDir() && hasEnding(in, ".onnx")
	switch {
	case graph && f.config != "":
		return nil, cfg, "", errors.New("--config is for weights alone: a graph says what its model is")
	case f.code != "" && !graph:
		return nil, cfg, "", errors.New("--code is for an .onnx")
	case graph:
		m, cfg, err = exchange.ImportONNX(in, onnx.ImportOptions{Code: f.code, Size: f.size})
		return m, cfg, in, err
	}
	if weights = in; info.IsDir() {
		weights = filepath.Join(in, diffusers.WeightsFile)
	}
	switch {
	case f.config != "" && f.size != 0:
		return nil, cfg, "", errors.New("--size is for the model of a folder's config.json: leave it out with --config")
	case f.config != "":
		cfg, err = readConfig(f.config)
	case info.IsDir():
		// The preset's training suits any of its kind.
		cfg, err = trainer.Preset("kl-f8", func(c *trainer.Config) (err error) {
			c.Model, err = exchange.ReadFolder(in, f.size)
			return err
		})
	default:
		err = fmt.Errorf("%s has weights alone: want the configuration of its model too, with --config", in)
	}
	if err != nil {
		return nil, cfg, "", err
	}
	if m, err = nn.New(cfg.Model, cfg.Training.Seed); err != nil {
		return nil, cfg, "", err
	}
	_, err = exchange.Import(weights, m)
	return m, cfg, weights, err
}

// exportFlags are those of export that hold for one kind of output each.
type exportFlags struct {
	names, part, layout string
	scale               float64
}

func exportCommand() *cobra.Command {
	var f modelFlags
	var e exportFlags
	c := &cobra.Command{
		Use:   "export OUT.safetensors|OUT.pt|OUT.py|OUT.onnx|FOLDER",
		Short: "Write a model for PyTorch, ONNX or diffusers",
		Long: `Write a model for other programs, by what the output is called:

  OUT.safetensors  the weights, in PyTorch's layouts
  OUT.pt, OUT.pth  the same as torch.save writes them
  OUT.py           a PyTorch module in Python, with the exact padding, and its weights beside it as OUT.pt
  OUT.onnx         the model with its weights as an ONNX graph of operator set 13, or its --part, for any number of samples
  FOLDER           a model with the layers of diffusers' AutoencoderKL, as those of the presets kl-f8 and kl-small, which
                   AutoencoderKL.from_pretrained reads`,
		Args: arguments(1, 1),
		RunE: func(c *cobra.Command, args []string) error {
			kind, err := exportKind(c, args[0])
			if err != nil {
				return err
			}
			m, cfg, path, err := f.load()
			if err != nil {
				return err
			}
			return runExport(c, m, cfg, path, args[0], kind, e)
		},
	}
	f.addModel(c)
	c.Flags().StringVar(&e.names, "names", string(exchange.Layers), "names of a file's tensors: "+strings.Join(texts(exchange.Namings()), ", ")+" (of layers, as conv2d_1.weight; of places in an nn.Sequential, as encoder.3.weight)")
	c.Flags().StringVar(&e.part, "part", string(onnx.Whole), "what of the model an .onnx has: "+strings.Join(texts(onnx.Parts()), ", "))
	c.Flags().StringVar(&e.layout, "layout", string(onnx.NCHW), "order of an .onnx's images: nchw (samples, channels, rows, columns, as PyTorch) or nhwc (channels last, as convae and Keras)")
	c.Flags().Float64Var(&e.scale, "scaling-factor", 0.18215, "what pipelines multiply codes by, in a folder's config.json: 1 divided by the codes' standard deviation")
	above(c.Flags(), "scaling-factor", 0, 1e6)
	among(c.Flags(), "names", exchange.Namings())
	among(c.Flags(), "part", onnx.Parts())
	among(c.Flags(), "layout", onnx.Layouts())
	return c
}

// exportKind says what export writes to something of that name, and wants the flags to be for it.
func exportKind(c *cobra.Command, out string) (kind string, err error) {
	info, err := os.Stat(out)
	if err == nil && info.IsDir() || filepath.Ext(out) == "" || strings.HasSuffix(out, string(filepath.Separator)) {
		kind = "a folder"
	}
	for _, k := range exportKinds {
		if hasEnding(out, k.endings...) {
			kind = k.what
		}
	}
	switch {
	case out == standard:
		return "", errors.New("export writes files, and nothing to the standard output: want a name that ends in " + exportEndings())
	case hasEnding(out, ".h5", ".hdf5", ".keras"):
		return "", fmt.Errorf("output is %s, and HDF5 and .keras are not written: want a name that ends in %s", out, exportEndings())
	case kind == "":
		return "", fmt.Errorf("output is %s, want a name that ends in %s, or that of a folder for diffusers, which has no ending or a %c behind it", out, exportEndings(), filepath.Separator)
	}
	for _, flag := range []struct{ name, of string }{{"names", "weights"}, {"part", "a graph"}, {"layout", "a graph"}, {"scaling-factor", "a folder"}} {
		if c.Flags().Changed(flag.name) && kind != flag.of {
			return "", fmt.Errorf("--%s is for %s, and by its name %s is %s", flag.name, flag.of, out, kind)
		}
	}
	return kind, nil
}

func runExport(c *cobra.Command, m *nn.Model, cfg trainer.Config, path, out, kind string, e exportFlags) error {
	if kind != "a folder" {
		if err := checkOutput(out, path, filepath.Ext(out)); err != nil {
			return err
		}
	}
	var err error
	switch kind {
	case "weights":
		err = exchange.Export(out, m, exchange.Naming(e.names))
	case "a module":
		weights := ""
		if weights, err = exchange.ExportPyTorch(out, m); err == nil {
			out += " and " + weights
		}
	case "a graph":
		err = exchange.ExportONNX(out, m, cfg, onnx.Options{Part: onnx.Part(e.part), Layout: onnx.Layout(e.layout), Version: versionText()})
	default:
		err = exchange.ExportFolder(out, m, e.scale)
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(c.OutOrStdout(), "%s: model %s, %d tensors, of %s\n", out, m.Config.Name, len(m.Params), path)
	return err
}

// exportKinds say what export writes to a file of a name.
var exportKinds = []struct {
	what    string
	endings []string
}{{"weights", []string{".safetensors", ".pt", ".pth"}}, {"a module", []string{".py"}}, {"a graph", []string{".onnx"}}}

// exportEndings lists the endings.
func exportEndings() string {
	var list []string
	for _, k := range exportKinds {
		list = append(list, k.endings...)
	}
	return strings.Join(list[:len(list)-1], ", ") + " or " + list[len(list)-1]
}
