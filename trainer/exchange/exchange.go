// Package exchange reads and writes the models and weights of other libraries: state dicts of PyTorch, in safetensors or as torch.save writes
// them, the autoencoders that the diffusers library saves, weights of Keras in safetensors, and ONNX graphs. Layouts are PyTorch's in all
// but the last two; what differs are the names of tensors.
package exchange

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/convae/convae/nn"
	"github.com/convae/convae/nn/diffusers"
	"github.com/convae/convae/nn/regularfile"
	"github.com/convae/convae/nn/safetensors"
	"github.com/convae/convae/nn/torchfile"
	"github.com/convae/convae/trainer/atomicfile"
)

// Naming says what tensors are called.
type Naming string

const (
	Modules   Naming = "modules"   // by their place in PyTorch's equivalent nn.Sequential, as in a run's own files: encoder.3.weight
	Layers    Naming = "layers"    // by the names of layers: conv2d_1.weight, and skip.0.weight if a layer has several modules
	Diffusers Naming = "diffusers" // as diffusers names those of an AutoencoderKL: encoder.conv_in.weight
	Keras     Naming = "keras"     // by the names of layers and of Keras's variables, in its layouts: conv2d_1/kernel; only in what is imported
)

// Namings lists the namings that Export writes.
func Namings() []Naming { return []Naming{Modules, Layers, Diffusers} }

// Names returns what the tensors of a model's parameters are called, in their order. Only an AutoencoderKL has diffusers' names.
func Names(m *nn.Model, n Naming) ([]string, error) {
	switch n {
	case Modules:
		names := make([]string, len(m.Params))
		for i := range m.Params {
			names[i] = m.Params[i].Name
		}
		return names, nil
	case Layers:
		return layerNames(m), nil
	case Diffusers:
		kl, err := autoencoderKL(m)
		if err != nil {
			return nil, err
		}
		return kl.Layers(true).Tensors, nil
	}
	return nil, fmt.Errorf("names are %q, want one of %q", n, Namings())
}

func autoencoderKL(m *nn.Model) (diffusers.AutoencoderKL, error) {
	kl, err := diffusers.Of(m.Input, m.Config.Encoder, m.Config.Decoder)
	if err != nil {
		err = fmt.Errorf("model %q does not have the layers of an AutoencoderKL: %w", m.Config.Name, err)
	}
	return kl, err
}

// layerNames makes encoder.3.to_q.weight the name of the layer and to_q.weight. The modules of a layer that has several are numbered.
func layerNames(m *nn.Model) []string {
	split := func(i int) (module, tensor string) {
		parts := strings.SplitN(m.Params[i].Name, ".", 3) // the part of the model, the place in it, and what the module calls it
		return parts[0] + "." + parts[1], parts[2]
	}
	modules := map[string][]string{}
	for i := range m.Params {
		layer := m.Params[i].Layer
		if module, _ := split(i); len(modules[layer]) == 0 || modules[layer][len(modules[layer])-1] != module {
			modules[layer] = append(modules[layer], module)
		}
	}
	names := make([]string, len(m.Params))
	for i := range m.Params {
		layer := m.Params[i].Layer
		module, tensor := split(i)
		if names[i] = layer + "." + tensor; len(modules[layer]) > 1 {
			for k, name := range modules[layer] {
				if name == module {
					names[i] = fmt.Sprintf("%s.%d.%s", layer, k, tensor)
				}
			}
		}
	}
	return names
}

// Import takes a model's weights from a file, of safetensors or of torch.save, whichever naming its tensors have, and returns that. Elements of half precision, of bfloat16 and of
// float64 become float32, and num_batches_tracked, which PyTorch counts for its own use, is left out. A tensor that is missing, that is too
// much, or that has another shape is an error, which names it; the model is then as before.
func Import(path string, m *nn.Model) (Naming, error) {
	f, err := read(path)
	if err != nil {
		return "", err
	}
	if isKeras(f) {
		misfits, err := importKeras(f, m)
		if err == nil && len(misfits) > 0 {
			err = fmt.Errorf("does not fit model %q: %s", m.Config.Name, misfits)
		}
		if err != nil {
			err = fmt.Errorf("%s: %w", path, err)
		}
		return Keras, err
	}
	var best Naming
	var names []string
	most := 0
	for _, n := range Namings() {
		list, err := Names(m, n)
		if err != nil {
			continue // of another model
		}
		found := 0
		for _, name := range list {
			if _, ok := f.Tensor(name); ok {
				found++
			}
		}
		if found > most {
			best, names, most = n, list, found
		}
	}
	if most == 0 {
		own, other := m.TensorsNamed(layerNames(m)), "no tensors"
		if len(f.Tensors) > 0 {
			other = f.Tensors[0].Name
		}
		return "", fmt.Errorf("%s has none of the tensors of model %q: it has %s, want %s, or %s", path, m.Config.Name, other, own[0].Name, m.Params[0].Name)
	}
	misfits, err := m.SetTensorsNamed(f, names)
	if err != nil {
		return best, fmt.Errorf("%s: %w", path, err)
	}
	if len(misfits) > 0 {
		return best, fmt.Errorf("%s does not fit model %q by the names of its %s: %s", path, m.Config.Name, best, misfits)
	}
	return best, nil
}

// read reads a file of weights, with what they are called today, as float32, all finite.
func read(path string) (*safetensors.File, error) {
	f, err := readTensors(path)
	if err != nil {
		return nil, err
	}
	f.Tensors = stripWrappers(f.Tensors)
	kept := f.Tensors[:0]
	for _, t := range f.Tensors {
		if strings.HasSuffix(t.Name, ".num_batches_tracked") && t.DType == safetensors.I64 && len(t.Data) == 8 {
			continue
		}
		name := t.Name
		t.Name = diffusers.TensorName(t.Name)
		if t, err = t.ToFloat32(); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		if i, v, found := t.NotFinite(); found {
			return nil, fmt.Errorf("%s: tensor %q: value %d is %v, want finite weights", path, name, i+1, v)
		}
		kept = append(kept, t)
	}
	f.Tensors = kept
	return f, nil
}

// readTensors reads a file of tensors, whose kind shows in its first bytes.
func readTensors(path string) (*safetensors.File, error) {
	file, err := regularfile.Open(path)
	if err != nil {
		return nil, err
	}
	head := make([]byte, 16)
	n, err := io.ReadFull(file, head)
	if err := errors.Join(ignore(err, io.ErrUnexpectedEOF, io.EOF), file.Close()); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	switch head = head[:n]; {
	case bytes.HasPrefix(head, []byte("\x89HDF\r\n\x1a\n")) || strings.EqualFold(filepath.Ext(path), ".keras"):
		return nil, fmt.Errorf("%s is a file of Keras in HDF5, which convae does not read: in Python, %s writes one that it does", path, strings.ReplaceAll(kerasSnippet, "FILE", filepath.Base(path)))
	case torchfile.IsLegacy(head):
		return nil, fmt.Errorf("%s is in the form that torch.save had before PyTorch 1.6: in Python, torch.save(torch.load(FILE), FILE) writes it in the present one", path)
	case torchfile.Is(head):
		return torchfile.ReadFile(path)
	}
	return safetensors.ReadFile(path)
}

// ignore returns err unless it is one of a few.
func ignore(err error, these ...error) error {
	for _, e := range these {
		if errors.Is(err, e) {
			return nil
		}
	}
	return err
}

// stripWrappers takes off what DataParallel and torch.compile put in front of all names.
func stripWrappers(tensors []safetensors.Tensor) []safetensors.Tensor {
	for _, prefix := range []string{"_orig_mod.", "module.", "_orig_mod."} {
		if slices.ContainsFunc(tensors, func(t safetensors.Tensor) bool { return !strings.HasPrefix(t.Name, prefix) }) {
			continue
		}
		for i := range tensors {
			tensors[i].Name = strings.TrimPrefix(tensors[i].Name, prefix)
		}
	}
	return tensors
}

// ReadFolder returns the configuration of the model in a folder that diffusers has saved, for pictures of so many rows and columns, 0 for
// those of its own sample_size.
func ReadFolder(dir string, size int) (nn.Config, error) {
	text, err := os.ReadFile(filepath.Join(dir, diffusers.ConfigFile))
	if err != nil {
		return nn.Config{}, fmt.Errorf("import: %w", err)
	}
	kl, err := diffusers.Parse(text)
	if err != nil {
		return nn.Config{}, fmt.Errorf("%s: %w", dir, err)
	}
	if size == 0 {
		size = kl.SampleSize
	}
	if unit := 1 << (len(kl.BlockOutChannels) - 1); size%unit != 0 {
		return nn.Config{}, fmt.Errorf("%s: pictures of %d rows and columns cannot be halved %d times: want a multiple of %d", dir, size, len(kl.BlockOutChannels)-1, unit)
	}
	l := kl.Layers(true)
	return nn.Config{Name: "autoencoder-kl", Input: []int{size, size, kl.InChannels}, Encoder: l.Encoder, Decoder: l.Decoder}, nil
}

// Export writes a model's weights to a file: as torch.save does, if its name ends in .pt or .pth, else in safetensors.
func Export(path string, m *nn.Model, n Naming) error {
	names, err := Names(m, n)
	if err != nil {
		return err
	}
	f := safetensors.File{Tensors: m.TensorsNamed(names), Metadata: map[string]string{"format": "pt"}}
	return atomicfile.Write(path, func(w io.Writer) error {
		if ending := strings.ToLower(filepath.Ext(path)); ending == ".pt" || ending == ".pth" {
			return torchfile.Write(w, &f)
		}
		return f.Write(w)
	})
}

// ExportFolder writes an AutoencoderKL to a new folder, as diffusers reads it. Pipelines multiply codes by scale.
func ExportFolder(dir string, m *nn.Model, scale float64) error {
	kl, err := autoencoderKL(m)
	if err != nil {
		return err
	}
	kl.ScalingFactor = scale
	config, err := kl.JSON()
	if err != nil {
		return err
	}
	if entries, err := os.ReadDir(dir); err == nil && len(entries) > 0 {
		return fmt.Errorf("%s is not empty: want a new folder", dir)
	} else if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("export: %w", err)
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return fmt.Errorf("export: %w", err)
	}
	if err := Export(filepath.Join(dir, diffusers.WeightsFile), m, Diffusers); err != nil {
		return err
	}
	return atomicfile.Write(filepath.Join(dir, diffusers.ConfigFile), func(w io.Writer) error {
		_, err := w.Write(config)
		return err
	})
}
