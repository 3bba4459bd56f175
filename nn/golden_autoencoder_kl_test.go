package nn

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/convae/convae/cpu/simd"
	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/diffusers"
	"github.com/convae/convae/nn/op"
	"github.com/convae/convae/nn/rng"
	"github.com/convae/convae/nn/safetensors"
)

// TestGoldenAutoencoderKL trains the autoencoder of latent diffusion for a few steps from PyTorch's weights, with its draws of the code, fused
// and not, whole and in micro-batches, and compares output, gradients, losses and final weights, by the names of the diffusers library.
func TestGoldenAutoencoderKL(t *testing.T) {
	path := filepath.Join(goldenDir(), "large", "autoencoder_kl.safetensors")
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) && os.Getenv("CONVAE_GOLDEN") != "" {
		t.Skipf("CONVAE_GOLDEN has no large/autoencoder_kl.safetensors")
	}
	f, err := safetensors.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range simd.Supported() {
		for _, o := range []TrainerOptions{{}, {Unfused: true}, {MicroBatch: 1}} {
			if (o.Unfused || o.MicroBatch > 0) && testing.Short() {
				continue
			}
			t.Run(fmt.Sprintf("cpu/%v/unfused=%v-%d-at-a-time", l, o.Unfused, o.MicroBatch), func(t *testing.T) {
				defer simd.Use(l)()
				testGoldenAutoencoderKL(golden{t, f}, openTest(t), o, len(golden{t, f}.floats("losses")))
			})
		}
	}
	t.Run("sim", func(t *testing.T) {
		if testing.Short() {
			t.Skip("-short: the simulator takes some seconds")
		}
		t.Parallel()
		testGoldenAutoencoderKL(golden{t, f}, openSim(t), TrainerOptions{}, 1)
	})
}

// testGoldenAutoencoderKL does so many steps; the final weights are those after all of the file's.
func testGoldenAutoencoderKL(g golden, dev backend.Device, o TrainerOptions, steps int) {
	t := g.t
	kl, err := diffusers.Parse([]byte(g.f.Metadata["config"]))
	if err != nil {
		t.Fatal(err)
	}
	var weight float64
	g.metadata("loss", "mean |out - x| + %g * sum of KL / images", &weight)
	file, _ := g.f.Tensor("x")
	o.Batch, o.Loss, o.Optimizer = file.Shape[0], Loss{L1: 1}, g.adamW()
	layers := kl.Layers(false)
	m := mustModel(t, Config{Name: "autoencoder_kl", Input: file.Shape[1:], Encoder: layers.Encoder, Decoder: layers.Decoder})
	of := func(prefix string) *Model {
		part := safetensors.File{}
		for _, tensor := range g.f.Tensors {
			if slices.Contains(layers.Tensors, tensor.Name[min(len(prefix), len(tensor.Name)):]) && tensor.Name[:len(prefix)] == prefix {
				tensor.Name = tensor.Name[len(prefix):]
				part.Tensors = append(part.Tensors, tensor)
			}
		}
		of := mustModel(t, m.Config)
		if misfits, err := of.SetTensorsNamed(&part, layers.Tensors); err != nil || misfits != nil {
			t.Fatal(prefix, misfits, err)
		}
		return of
	}
	for i, p := range of("init/").Params {
		m.Params[i].Data = p.Data
	}
	tr, err := NewTrainer(m, dev, o)
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	tr.SetDivergence(weight)
	x := g.floats("x")
	out := make([]float32, len(x))
	hook := drawsOf(t, g.floats("eps"), func(f *op.Frame, prediction op.Value) {
		v := f.At(prediction)
		if err := f.B.Download(out[f.First*v.Shape.Image():][:v.Shape.Len()], v); err != nil {
			t.Fatal(err)
		}
	})
	losses := g.floats("losses")
	for step, want := range losses[:steps] {
		tr.ResetLoss()
		if err := tr.fed("the test", x, x, o.Batch, func() error { return tr.stepWith(0, o.Batch, 0, true, hook) }); err != nil {
			t.Fatal(err)
		}
		wantLoss(t, tr, step, want)
		if step > 0 {
			continue
		}
		within(t, "step0/output", out, g.floats("step0/output"), backend.Bound{Abs: 2e-6, Rel: 1e-5})
		want := of("step0/grad/")
		for i, name := range layers.Tensors {
			got := make([]float32, m.Params[i].Shape.Len())
			if err := tr.first().mem.b.Download(got, gradients(tr)[i]); err != nil {
				t.Fatal(err)
			}
			// Gradients are sums over 512 pixels of terms with both signs, and differences of such behind up to twenty normalisations.
			within(t, "step0/grad/"+name, got, want.Params[i].Data, backend.Bound{Abs: 1e-6, Rel: 1e-5})
		}
	}
	if steps < len(losses) {
		return
	}
	if err := tr.Pull(); err != nil {
		t.Fatal(err)
	}
	final := of("final/")
	for i, name := range layers.Tensors {
		within(t, "final/"+name, m.Params[i].Data, final.Params[i].Data, backend.Bound{Abs: 1e-4})
	}
}

// drawsOf returns a hook that has codes drawn by eps, in the place of the numbers that a trainer draws, and calls loss before what is predicted
// is compared.
func drawsOf(t *testing.T, eps []float32, loss func(f *op.Frame, prediction op.Value)) hook {
	floats := func(f *op.Frame, v op.Value) []float32 {
		x := f.At(v)
		data := make([]float32, x.Shape.Len())
		if err := f.B.Download(data, x); err != nil {
			t.Fatal(err)
		}
		return data
	}
	difference := func(f *op.Frame, src rng.Source, step uint32, code backend.Shape, stats []float32, i int) (scaled float32) {
		image, e := i/code.Image(), i%code.Image()
		drawn := src.Normals(uint32(e/4), uint32(f.First+image), step)[e%4]
		logvar := stats[i+i/code.C*code.C+code.C]
		return float32(math.Exp(float64(logvar)/2)) * (eps[f.First*code.Image()+i] - drawn)
	}
	step := uint32(0)
	return func(s *op.Call, f *op.Frame, _ []op.Info) {
		switch o := s.Op.(type) {
		case *op.Pointwise:
			loss(f, o.Prediction)
			s.Op.Run(f)
		case *op.Sample:
			if f.First == 0 {
				step++
			}
			s.Op.Run(f)
			code, stats := floats(f, o.Code), floats(f, o.Stats)
			for i := range code {
				code[i] += difference(f, o.Source, step, f.At(o.Code).Shape, stats, i)
			}
			f.B.Upload(f.At(o.Code), code)
		case *op.SampleBack:
			s.Op.Run(f)
			shape := f.At(o.GradCode).Shape
			grad, gradStats, stats := floats(f, o.GradCode), floats(f, o.GradStats), floats(f, o.Stats)
			for i, g := range grad {
				gradStats[i+i/shape.C*shape.C+shape.C] += g * difference(f, o.Source, step, shape, stats, i) / 2
			}
			f.B.Upload(f.At(o.GradStats), gradStats)
		default:
			s.Op.Run(f)
		}
	}
}
