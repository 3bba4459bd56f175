package main

import (
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/convae/convae/nn/onnx"
	"github.com/convae/convae/nn/safetensors"
	"github.com/convae/convae/trainer"
	"github.com/convae/convae/trainer/exchange"
)

// A folder of diffusers becomes a model, which is trained on, exported again, and read by a configuration of its own.
func TestImportExport(t *testing.T) {
	f, err := safetensors.ReadFile("../../testdata/golden/large/autoencoder_kl.safetensors")
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	var init safetensors.File
	for _, tensor := range f.Tensors {
		if name, ok := strings.CutPrefix(tensor.Name, "init/"); ok {
			tensor.Name = name
			init.Tensors = append(init.Tensors, tensor)
		}
	}
	if err := os.Mkdir("vae", 0o777); err != nil {
		t.Fatal(err)
	}
	write(t, []byte(f.Metadata["config"]), "vae", "config.json")
	file, err := os.Create("vae/diffusion_pytorch_model.safetensors")
	if err != nil {
		t.Fatal(err)
	}
	if err := init.Write(file); err != nil {
		t.Fatal(err)
	}
	file.Close()

	out := mustRun(t, importCommand(), "vae", "vae.safetensors", "--size", "8")
	if want := "vae.safetensors: model autoencoder-kl, "; !strings.HasPrefix(out, want) || strings.Count(out, "\n") != 1 {
		t.Errorf("printed %q, want a line that begins with %q", out, want)
	}
	m, c, err := trainer.LoadModel("vae.safetensors")
	if err != nil || !slices.Equal(c.Model.Input, []int{8, 8, 3}) || !m.Variational() {
		t.Fatalf("input %v, %v", c.Model.Input, err)
	}
	mustRun(t, exportCommand(), "again", "--model", "vae.safetensors")
	back, err := safetensors.ReadFile("again/diffusion_pytorch_model.safetensors")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range init.Tensors {
		if got, ok := back.Tensor(want.Name); !ok || !slices.Equal(got.Data, want.Data) {
			t.Errorf("%s is not what it was", want.Name)
		}
	}
	mustRun(t, exportCommand(), "state.safetensors", "--model", "vae.safetensors", "--names", "modules")
	mustRun(t, importCommand(), "state.safetensors", "named.safetensors", "--config", "vae.safetensors")

	if out := mustRun(t, exportCommand(), "module.py", "--model", "vae.safetensors"); !strings.HasPrefix(out, "module.py and module.pt: model autoencoder-kl, ") {
		t.Errorf("printed %q", out)
	}
	if text, err := os.ReadFile("module.py"); err != nil || !strings.Contains(string(text), "F.group_norm(") {
		t.Errorf("the module has no normalisation of groups: %v", err)
	}
	mustRun(t, exportCommand(), "state.pt", "--model", "vae.safetensors")
	mustRun(t, importCommand(), "state.pt", "torch.safetensors", "--config", "vae.safetensors")
	saved, err := safetensors.ReadFile("vae.safetensors")
	if err != nil {
		t.Fatal(err)
	}
	again, err := safetensors.ReadFile("torch.safetensors")
	if err != nil {
		t.Fatal(err)
	}
	for i := range saved.Tensors {
		if !slices.Equal(again.Tensors[i].Data, saved.Tensors[i].Data) {
			t.Errorf("%s is not what it was", saved.Tensors[i].Name)
		}
	}

	// What is imported is trained on, and so is a run.
	begin := func(init, run string) string {
		config := write(t, []byte(strings.Replace(mustYAML(t, c), "epochs: 10", "epochs: 1", 1)), ".", run+".yaml")
		return mustRun(t, trainCommand(), config, "--init", init, "--out", run, "--limit", "4", "--set", "data.samples=10", "--device", "cpu", "--log", "lines")
	}
	begin("vae.safetensors", "tuned")
	begin("tuned", "further")
	if _, _, err := trainer.LoadModel("further"); err != nil {
		t.Error(err)
	}

	for _, e := range []struct {
		want string
		args []string
	}{
		{"want a name that ends in .safetensors", []string{"vae", "out"}},
		{"vae.safetensors has weights alone: want the configuration", []string{"vae.safetensors", "x.safetensors"}},
		{"--size is for the model of a folder's config.json", []string{"vae", "x.safetensors", "--size", "8", "--config", "kl-small"}},
		{"does not fit model \"kl-small\"", []string{"vae", "x.safetensors", "--config", "kl-small"}},
		{"cannot be halved 1 times: want a multiple of 2", []string{"vae", "x.safetensors", "--size", "9"}},
		{"nowhere", []string{"nowhere", "x.safetensors"}},
	} {
		wantError(t, e.want, importCommand(), e.args...)
	}
	wantError(t, "--names is for weights, and by its name folder is a folder", exportCommand(), "folder", "--model", "vae.safetensors", "--names", "layers")
	wantError(t, `--names is "x", want one of modules, layers, diffusers`, exportCommand(), "x.safetensors", "--model", "vae.safetensors", "--names", "x")
	wantError(t, "again is not empty: want a new folder", exportCommand(), "again", "--model", "vae.safetensors")
	mustRun(t, exportCommand(), "vae.onnx", "--model", "vae.safetensors", "--part", "decoder", "--layout", "nhwc")
	if text, err := os.ReadFile("vae.onnx"); err != nil || !strings.Contains(string(text), "InstanceNormalization") {
		t.Errorf("the graph has no InstanceNormalization: %v", err)
	}
	mustRun(t, exportCommand(), "whole.onnx", "--model", "vae.safetensors")
	mustRun(t, importCommand(), "whole.onnx", "whole.safetensors")
	if whole, err := safetensors.ReadFile("whole.safetensors"); err != nil || whole.Metadata["config"] != saved.Metadata["config"] || !slices.Equal(whole.Tensors[0].Data, saved.Tensors[0].Data) {
		t.Errorf("the model that comes back of a graph is another: %v", err)
	}
	wantError(t, "a part of a model alone", importCommand(), "vae.onnx", "x.safetensors")
	wantError(t, "--code is for an .onnx", importCommand(), "vae", "x.safetensors", "--code", "a")
	wantError(t, "--config is for weights alone", importCommand(), "whole.onnx", "x.safetensors", "--config", "kl-small")
	wantError(t, `--part is "half", want one of whole, encoder, decoder`, exportCommand(), "x.onnx", "--model", "vae.safetensors", "--part", "half")
	wantError(t, `--layout is "hwc", want one of nchw, nhwc`, exportCommand(), "x.onnx", "--model", "vae.safetensors", "--layout", "hwc")
	wantError(t, "--layout is for a graph, and by its name x.safetensors is weights", exportCommand(), "x.safetensors", "--model", "vae.safetensors", "--layout", "nhwc")
	if _, err := os.Stat(filepath.Join("x.safetensors")); err == nil {
		t.Error("an import that failed has left a file")
	}
}

// What export cannot write is refused by what it is called, before anything is there.
func TestExportNames(t *testing.T) {
	t.Chdir(t.TempDir())
	makeRun(t, "runs/one", 4, 4, 1)
	const endings = "want a name that ends in .safetensors, .pt, .pth, .py or .onnx"
	for out, want := range map[string]string{
		"out.xyz":     "output is out.xyz, " + endings + ", or that of a folder for diffusers",
		"out.onxx":    "output is out.onxx, " + endings,
		"out.h5":      "output is out.h5, and HDF5 and .keras are not written: " + endings,
		"out.keras":   "output is out.keras, and HDF5 and .keras are not written: " + endings,
		"-":           "nothing to the standard output: " + endings,
		"my-model.py": `my-model.py: a module called "my-model" cannot be imported in Python: want a name of letters, digits and _ that is no word of Python's own, such as my_model.py`,
		"2d.py":       "such as model_2d.py",
		"class.py":    "such as model_class.py",
		"torch.py":    "such as model_torch.py",
		"a.b.py":      "such as a_b.py",
	} {
		wantError(t, want, exportCommand(), out)
	}
	if files, err := os.ReadDir("."); err != nil || len(files) != 1 {
		t.Errorf("an export that was refused has left something: %v, %v", files, err)
	}
	// A folder may have any name.
	for _, out := range []string{"vae", "vae.v2/"} {
		wantError(t, "does not have the layers of an AutoencoderKL", exportCommand(), out)
	}
	mustRun(t, exportCommand(), "my_model.py")
}

// Weights that are not finite are those of the file that is imported, and are named.
func TestImportNotFinite(t *testing.T) {
	t.Chdir(t.TempDir())
	makeRun(t, "run", 4, 4, 1)
	m, c, err := trainer.LoadModel("run")
	if err != nil {
		t.Fatal(err)
	}
	m.Params[0].Data[0] = float32(math.NaN())
	for _, name := range []string{"nan.safetensors", "nan.pt"} {
		if err := exchange.Export(name, m, exchange.Layers); err != nil {
			t.Fatal(err)
		}
		wantError(t, name+`: tensor "conv2d.weight": value 1 is NaN, want finite weights`, importCommand(), name, "out.safetensors", "--config", "run")
	}
	if err := exchange.ExportONNX("nan.onnx", m, c, onnx.Options{}); err != nil {
		t.Fatal(err)
	}
	wantError(t, "nan.onnx: initialiser encoder.0.weight: value 1 is NaN, want finite numbers", importCommand(), "nan.onnx", "out.safetensors")
	wantError(t, "nan.onnx: initialiser encoder.0.weight: value 1 is NaN, want finite numbers", importCommand(), "nan.onnx", "out.safetensors", "--code", "code")
	if _, err := os.Stat("out.safetensors"); err == nil {
		t.Error("an import that failed has left a file")
	}
}

func mustYAML(t *testing.T, c trainer.Config) string {
	t.Helper()
	text, err := c.YAML()
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
