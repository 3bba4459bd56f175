package exchange

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/convae/convae/nn"
	"github.com/convae/convae/nn/graph"
	"github.com/convae/convae/nn/layer"
	"github.com/convae/convae/nn/safetensors"
)

func kerasModel(t *testing.T, seed uint64) *nn.Model {
	t.Helper()
	m, err := nn.New(nn.Config{Name: "keras", Input: []int{4, 4, 2}, Encoder: graph.Specs(
		&layer.Conv2D{Filters: 3, Kernel: layer.Size{H: 2, W: 3}}, &layer.BatchNormalization{}, &layer.DepthwiseConv2D{Kernel: layer.Square(3), DepthMultiplier: 2},
		&layer.SeparableConv2D{Filters: 4, Kernel: layer.Square(3)}, &layer.Conv2D{Filters: 2, Kernel: layer.Square(1)}, &layer.Flatten{}, &layer.Dense{Units: 5}),
		Decoder: graph.Specs(&layer.Dense{Units: 32}, &layer.Reshape{Shape: []int{4, 4, 2}}, &layer.Conv2DTranspose{Filters: 2, Kernel: layer.Size{H: 3, W: 2}})}, seed)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// kerasTensors are a model's weights as Keras has them: element [r, s, c, f] of a kernel is ours [f, r, s, c].
func kerasTensors(m *nn.Model, rename *strings.Replacer) (list []safetensors.Tensor) {
	names := []string{"conv2d/kernel", "conv2d/bias", "batch_normalization/gamma", "batch_normalization/beta", "batch_normalization/moving_mean",
		"batch_normalization/moving_variance", "depthwise_conv2d/kernel", "depthwise_conv2d/bias", "separable_conv2d/depthwise_kernel", "separable_conv2d/pointwise_kernel",
		"separable_conv2d/bias", "conv2d_1/kernel", "conv2d_1/bias", "dense/kernel", "dense/bias", "dense_1/kernel", "dense_1/bias", "conv2d_transpose/kernel", "conv2d_transpose/bias"}
	shapes := map[string][]int{"conv2d/kernel": {2, 3, 2, 3}, "depthwise_conv2d/kernel": {3, 3, 3, 2}, "separable_conv2d/depthwise_kernel": {3, 3, 6, 1}, "separable_conv2d/pointwise_kernel": {1, 1, 6, 4},
		"conv2d_1/kernel": {1, 1, 4, 2}, "dense/kernel": {32, 5}, "dense_1/kernel": {5, 32}, "conv2d_transpose/kernel": {3, 2, 2, 2}}
	for i, p := range m.Params {
		shape, data := shapes[names[i]], p.Data
		if shape == nil {
			shape = []int{len(data)}
		} else {
			s := p.Shape
			data = make([]float32, len(p.Data))
			for f := range s.N {
				for k := range s.H * s.W * s.C {
					data[k*s.N+f] = p.Data[f*s.H*s.W*s.C+k]
				}
			}
		}
		list = append(list, safetensors.FromFloat32s(rename.Replace(names[i]), shape, data))
	}
	return list
}

// Weights of Keras are taken by the names of layers, also where Keras has counted on, or has put the model's name in front.
func TestImportKeras(t *testing.T) {
	want := kerasModel(t, 1)
	disturb(want)
	for what, rename := range map[string]*strings.Replacer{
		"Keras 3": strings.NewReplacer(),
		"Keras 2": strings.NewReplacer("depthwise_conv2d/kernel", "m/depthwise_conv2d/depthwise_kernel:0", "conv2d/kernel", "m/conv2d/kernel:0"),
		"later":   strings.NewReplacer("conv2d_1/", "conv2d_10/", "conv2d/", "conv2d_9/", "dense_1/", "dense_5/", "dense/", "dense_4/"),
	} {
		got := kerasModel(t, 2)
		if n, err := Import(save(t, kerasTensors(want, rename)), got); err != nil || n != Keras {
			t.Errorf("%s: %s, %v", what, n, err)
			continue
		}
		sameWeights(t, got, want)
	}
	tensors := kerasTensors(want, strings.NewReplacer())
	tensors[0].Shape = []int{3, 2, 2, 3}
	missing := append(slices.Clone(tensors[1:]), safetensors.FromFloat32s("dense_2/bias", []int{1}, []float32{0}))
	for want, list := range map[string][]safetensors.Tensor{
		"conv2d/kernel has shape [3 2 2 3], the model's has [2 3 2 3]": tensors,
		"conv2d/kernel is not in the file":                             missing,
		"dense_2/bias is not in the model":                             missing,
	} {
		got, before := kerasModel(t, 2), kerasModel(t, 2)
		if _, err := Import(save(t, list), got); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
		sameWeights(t, got, before)
	}
}

// Of files that are not read the error says how to make one that is.
func TestOtherFiles(t *testing.T) {
	for name, file := range map[string]struct{ text, want string }{
		"m.h5":    {"\x89HDF\r\n\x1a\n and more", `m = keras.saving.load_model("m.h5"); safetensors.numpy.save_file({`},
		"m.keras": {"PK\x03\x04 and more", `m.keras is a file of Keras in HDF5`},
		"m.pt":    {"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.\x80", "before PyTorch 1.6"},
		"n.pt":    {"PK\x03\x04 and more", "n.pt: it is no archive of torch.save"},
		"empty":   {"", "empty"},
	} {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, []byte(file.text), 0o666); err != nil {
			t.Fatal(err)
		}
		if _, err := Import(path, kerasModel(t, 1)); err == nil || !strings.Contains(err.Error(), file.want) {
			t.Errorf("error %v, want %q", err, file.want)
		}
	}
}

// A file of torch.save is imported like one of safetensors, also with what DataParallel puts in front of names.
func TestTorchFile(t *testing.T) {
	want := mixed(t, 1)
	path := filepath.Join(t.TempDir(), "state.pt")
	if err := Export(path, want, Layers); err != nil {
		t.Fatal(err)
	}
	got := mixed(t, 2)
	if n, err := Import(path, got); err != nil || n != Layers {
		t.Errorf("imported by %q, %v", n, err)
	}
	sameWeights(t, got, want)
	names, _ := Names(want, Modules)
	tensors := want.TensorsNamed(names)
	for i := range tensors {
		tensors[i].Name = "module." + tensors[i].Name
	}
	got = mixed(t, 2)
	if n, err := Import(save(t, tensors), got); err != nil || n != Modules {
		t.Errorf("imported by %q, %v", n, err)
	}
	sameWeights(t, got, want)
}
