package dataset

import (
	"flag"
	"io"
	"math"
	"reflect"
	"testing"

	"github.com/convae/convae/nn"
	"github.com/convae/convae/nn/device"
	"github.com/convae/convae/nn/graph"
	"github.com/convae/convae/nn/layer"
	"github.com/convae/convae/nn/safetensors"
	"github.com/convae/convae/trainer/atomicfile"
)

var update = flag.Bool("update", false, "write the files that tests compare with")

// What the tutorial's run printed: the loss before the update at epochs 200,
// 400 ... 2000, and the errors after the last. See Spiral for the source.
var (
	spiralLosses                             = []float64{.072515, .070820, .068194, .063840, .057983, .052350, .047691, .043407, .039406, .036121}
	spiralMSE, spiralMAE, spiralMaxDistance  = .036107, .152370, .479090
	spiralEpochs, spiralEvery, spiralSamples = 2000, 200, 500
)

// spiralStart returns the tutorial's data and initial weights, which come from
// one stream of random numbers.
func spiralStart() (x []float64, encoder, decoder [2]float64) {
	r := newLegacyRandom(42)
	for _, v := range spiral(spiralSamples, 0.3, r).Values {
		x = append(x, float64(v))
	}
	xavier := math.Sqrt(2.0 / 3)
	for _, w := range []*[2]float64{&encoder, &decoder} {
		w[0], w[1] = r.normal()*xavier, r.normal()*xavier
	}
	return x, encoder, decoder
}

// The published figures have six digits.
func checkPublished(t *testing.T, what string, got, want, slack float64) {
	t.Helper()
	if math.Abs(got-want) > slack {
		t.Errorf("%s is %.7f, published is %.6f", what, got, want)
	}
}

// The published run in float64.
func TestSpiralReproducesPublishedRun(t *testing.T) {
	const half = 0.51e-6
	sigmoid := func(x float64) float64 { return 1 / (1 + math.Exp(-x)) }
	x, encoder, decoder := spiralStart()
	var encoderBias float64
	var decoderBias [2]float64
	n := float64(spiralSamples)
	run := func() (mse, mae, distance float64, step func()) {
		var gradEncoder, gradDecoder, gradDecoderBias [2]float64
		var gradEncoderBias float64
		for i := 0; i < len(x); i += 2 {
			z := sigmoid(encoder[0]*x[i] + encoder[1]*x[i+1] + encoderBias)
			var back, squares float64
			for j := range 2 {
				y := sigmoid(decoder[j]*z + decoderBias[j])
				d := y - x[i+j]
				squares += d * d
				mae += math.Abs(d) / (2 * n)
				delta := d * y * (1 - y)
				gradDecoder[j] += delta * z / n
				gradDecoderBias[j] += delta / n
				back += decoder[j] * delta
			}
			mse += squares / (2 * n)
			distance = max(distance, math.Sqrt(squares))
			back *= z * (1 - z)
			gradEncoder[0] += back * x[i] / n
			gradEncoder[1] += back * x[i+1] / n
			gradEncoderBias += back / n
		}
		return mse, mae, distance, func() {
			for j := range 2 {
				encoder[j] -= gradEncoder[j]
				decoder[j] -= gradDecoder[j]
				decoderBias[j] -= gradDecoderBias[j]
			}
			encoderBias -= gradEncoderBias
		}
	}
	for epoch := 1; epoch <= spiralEpochs; epoch++ {
		mse, _, _, step := run()
		if epoch%spiralEvery == 0 {
			checkPublished(t, "loss", mse, spiralLosses[epoch/spiralEvery-1], half)
		}
		step()
	}
	mse, mae, distance, _ := run()
	checkPublished(t, "MSE", mse, spiralMSE, half)
	checkPublished(t, "MAE", mae, spiralMAE, half)
	checkPublished(t, "largest distance", distance, spiralMaxDistance, half)
}

// The file with which the command line repeats the published run has the tutorial's initial weights.
func TestSpiralStartFile(t *testing.T) {
	const path = "../../testdata/spiral/init.safetensors"
	_, encoder, decoder := spiralStart()
	narrow := func(v [2]float64) []float32 { return []float32{float32(v[0]), float32(v[1])} }
	want := safetensors.File{Tensors: []safetensors.Tensor{
		safetensors.FromFloat32s("encoder.0.weight", []int{1, 2}, narrow(encoder)), safetensors.FromFloat32s("encoder.0.bias", []int{1}, []float32{0}),
		safetensors.FromFloat32s("decoder.0.weight", []int{2, 1}, narrow(decoder)), safetensors.FromFloat32s("decoder.0.bias", []int{2}, []float32{0, 0})}}
	if *update {
		if err := atomicfile.Write(path, func(w io.Writer) error { return want.Write(w) }); err != nil {
			t.Fatal(err)
		}
	}
	got, err := safetensors.ReadFile(path)
	if err != nil || !reflect.DeepEqual(got.Tensors, want.Tensors) {
		t.Errorf("%v: %+v, want %+v (go test ./trainer/dataset -run SpiralStartFile -update writes it)", err, got, want)
	}
}

// The trainer's float32 run from the same weights stays with the published one.
func TestTrainerFollowsPublishedRun(t *testing.T) {
	r := newLegacyRandom(42)
	set := spiral(spiralSamples, 0.3, r)
	_, encoder, decoder := spiralStart()
	model, err := nn.New(nn.Config{Name: "spiral", Input: []int{2},
		Encoder: graph.Specs(&layer.Dense{Units: 1, Activation: "sigmoid"}),
		Decoder: graph.Specs(&layer.Dense{Units: 2, Activation: "sigmoid"})}, 0)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 2 { // parameters: weights and bias of each layer in turn
		model.Params[0].Data[i], model.Params[2].Data[i] = float32(encoder[i]), float32(decoder[i])
	}
	dev, _, err := device.Open("cpu")
	if err != nil {
		t.Fatal(err)
	}
	defer dev.Close()
	tr, err := nn.NewTrainer(model, dev, nn.TrainerOptions{Batch: spiralSamples, Loss: nn.MSE, Optimizer: nn.Optimizer{Name: "sgd", LearningRate: 1}})
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	if err := tr.SetValues(set.Values, set.Len()); err != nil {
		t.Fatal(err)
	}
	for epoch := 1; epoch <= spiralEpochs; epoch++ {
		tr.ResetLoss()
		tr.Step(0, spiralSamples, 0)
		if epoch%spiralEvery == 0 {
			loss, err := tr.Loss()
			if err != nil {
				t.Fatal(err)
			}
			checkPublished(t, "loss", loss, spiralLosses[epoch/spiralEvery-1], 2e-6)
		}
	}
}
