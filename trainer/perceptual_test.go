package trainer

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/convae/convae/nn"
	"github.com/convae/convae/nn/backend/backendtest"
	"github.com/convae/convae/nn/safetensors"
	"github.com/convae/convae/trainer/use"
)

// writeVGG writes drawn weights of the first four convolutions of a VGG-16 with few filters.
func writeVGG(t *testing.T, path string, seed uint64) {
	t.Helper()
	var f safetensors.File
	r := rand.New(rand.NewPCG(seed, 1))
	add := func(name string, shape []int, n int) {
		v := make([]float32, n)
		for i := range v {
			v[i] = float32(r.NormFloat64()) * 0.3
		}
		f.Tensors = append(f.Tensors, safetensors.FromFloat32s(name, shape, v))
	}
	in := 3
	for _, module := range []int{0, 2, 5, 7} {
		add(fmt.Sprintf("features.%d.weight", module), []int{4, in, 3, 3}, 4*in*9)
		add(fmt.Sprintf("features.%d.bias", module), []int{4}, 4)
		in = 4
	}
	w, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if err := f.Write(w); err != nil {
		t.Fatal(err)
	}
}

// A run by a perceptual loss validates by it, and one that goes on says when the file has become another.
func TestPerceptualRun(t *testing.T) {
	file := filepath.Join(t.TempDir(), "vgg.safetensors")
	writeVGG(t, file, 1)
	layers, err := nn.ParseFeatureLayers("relu1_2", "relu2_2")
	if err != nil {
		t.Fatal(err)
	}
	c := smallConfig()
	c.Training.Loss = nn.Loss{MSE: 1, Perceptual: nn.Perceptual{Weight: 0.5, File: file, Layers: layers}}
	c.Training.Epochs, c.Training.KeepBest = 2, true
	o := smallOptions(t, filepath.Join(t.TempDir(), "run"))
	var began starts
	meter := backendtest.Meter(openCPU(t), 1<<40)
	o.Device, o.Observer = meter, &began
	r, err := Train(t.Context(), c, o)
	if err != nil {
		t.Fatal(err)
	}
	if want := c.Training.LossOf(r.Final, 784); r.History[1].ValLoss != want || !(want > r.Final.Output.MSE) {
		t.Errorf("the validation's loss is %v, that of the model %v, of which %v is the squared error", r.History[1].ValLoss, want, r.Final.Output.MSE)
	}
	if peak, planned := meter.Peak(), began.start.Memory.Device; !near(peak, planned.Total()) || meter.Used() != 0 {
		t.Errorf("%s were taken, %v announced; %d bytes are still taken", nn.BytesText(peak), planned, meter.Used())
	}
	watch := &notes{}
	o.Resume, o.Observer = true, watch
	for i, want := range []string{"training.epochs: 2 -> 3", "training.loss.perceptual: the weights of its network are others"} {
		writeVGG(t, file, uint64(1+i))
		c.Training.Epochs = 3 + i
		watch.said = nil
		if _, err := Train(t.Context(), c, o); err != nil {
			t.Fatal(err)
		}
		said := strings.Join(watch.said, "\n")
		if !strings.Contains(said, want) || i == 0 && strings.Contains(said, "others") {
			t.Errorf("resume %d: notes %q", i, said)
		}
	}
	m, cfg, err := LoadModel(o.Dir)
	if err != nil || cfg.Training.Loss != c.Training.Loss {
		t.Fatalf("the run's loss is %+v, %v", cfg.Training.Loss, err)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	net, err := nn.NewNetwork(m, o.Device, nn.NetworkOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer net.Close()
	if _, err := use.Evaluate(t.Context(), net, o.Test, cfg.Training.Loss, cfg.Training.Corrupted(), 1, false); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("without the file: error %v", err)
	}
	// The training loss of one epoch with a rate of nothing is that of the validation, of the same samples.
	writeVGG(t, file, 1)
	o = smallOptions(t, filepath.Join(t.TempDir(), "same"))
	c.Training.Epochs, c.Training.Noise.Std, c.Training.Optimizer = 1, 0, nn.Optimizer{Name: "sgd", LearningRate: 1e-30}
	c.Model.Encoder = c.Model.Encoder[:2] // without dropout
	o.Test = o.Train
	if r, err = Train(t.Context(), c, o); err != nil {
		t.Fatal(err)
	}
	if off := r.History[0].ValLoss/r.History[0].Loss - 1; !(off < 1e-6 && off > -1e-6) {
		t.Errorf("training's loss is %v, the validation's %v of the same samples", r.History[0].Loss, r.History[0].ValLoss)
	}
}
