package nn

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/graph"
	"github.com/convae/convae/nn/layer"
	"github.com/convae/convae/nn/op"
	"github.com/convae/convae/nn/safetensors"
)

// The summary of the denoiser, as Keras prints the tutorial's: 28,353 parameters.
func TestSummary(t *testing.T) {
	var s strings.Builder
	if err := mustModel(t, Denoiser()).WriteSummary(&s); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"  conv2d (Conv2D)                 (None, 28, 28, 32)                 320",
		"  max_pooling2d_1 (MaxPooling2D)  (None, 7, 7, 32)                     0",
		"  up_sampling2d_1 (UpSampling2D)  (None, 28, 28, 32)                   0",
		"  conv2d_4 (Conv2D)               (None, 28, 28, 1)                  289",
		"Total params: 28,353 (110.8 KiB)\nTrainable params: 28,353 (110.8 KiB)\nNon-trainable params: 0 (0 B)\n",
		"Code: (7, 7, 32), 1,568 values for 784 of the input (2 times larger)",
	} {
		if !strings.Contains(s.String(), want) {
			t.Errorf("the summary lacks %q:\n%s", want, s.String())
		}
	}
}

func TestRatioText(t *testing.T) {
	for want, n := range map[string][2]int{"24.5 times smaller": {784, 32}, "2 times larger": {784, 1568}, "as many": {9, 9}} {
		if got := ratioText(n[0], n[1]); got != want {
			t.Errorf("a code of %d values for %d is %s, want %s", n[1], n[0], got, want)
		}
	}
}

func TestModelErrors(t *testing.T) {
	conv := &layer.Conv2D{Filters: 1, Kernel: layer.Square(3)}
	for _, c := range []struct {
		name     string
		input    []int
		enc, dec []graph.Spec
		want     string
	}{
		{"no input", nil, graph.Specs(conv), graph.Specs(conv), "want [n] or [rows, columns, channels]"},
		{"huge input", []int{1 << 20, 1 << 20, 1}, graph.Specs(conv), graph.Specs(conv), "at most"},
		{"negative input", []int{-1, 2, 3}, graph.Specs(conv), graph.Specs(conv), "at least 1"},
		{"no decoder", []int{4, 4, 1}, graph.Specs(conv), nil, "decoder 0"},
		{"empty item", []int{4, 4, 1}, []graph.Spec{{}}, graph.Specs(conv), "encoder layer 1: names no layer"},
		{"valid", []int{2, 2, 1}, graph.Specs(&layer.Conv2D{Filters: 1, Kernel: layer.Square(3), Padding: "valid"}), graph.Specs(conv), "encoder layer 1 (conv2d, input (2, 2, 1)): a 3x3 kernel"},
		{"kernel", []int{9, 9, 1}, graph.Specs(&layer.Conv2D{Filters: 1, Kernel: layer.Size{H: 3, W: 13}}), graph.Specs(conv), "the kernel is 3x13"},
		{"stride", []int{9, 9, 1}, graph.Specs(&layer.Conv2D{Filters: 1, Kernel: layer.Square(3), Stride: 12}), graph.Specs(conv), "the stride is 12"},
		{"filters", []int{9, 9, 1}, graph.Specs(&layer.Conv2D{Kernel: layer.Square(3)}), graph.Specs(conv), "filters is 0"},
		{"activation", []int{9, 9, 1}, graph.Specs(&layer.Conv2D{Filters: 1, Kernel: layer.Square(3), Activation: "mish"}), graph.Specs(conv), `activation is "mish", want one of [linear relu sigmoid tanh leaky_relu`},
		{"initializer", []int{9, 9, 1}, graph.Specs(&layer.Conv2D{Filters: 1, Kernel: layer.Square(3), Initializer: graph.Initializer{Name: "x"}}), graph.Specs(conv), `initializer is "x", want glorot_uniform`},
		{"initializer's deviation", []int{9, 9, 1}, graph.Specs(&layer.Conv2D{Filters: 1, Kernel: layer.Square(3), Initializer: graph.Initializer{Name: "normal"}}), graph.Specs(conv), "initializer normal: std is 0, want more than 0"},
		{"infinite deviation", []int{9, 9, 1}, graph.Specs(&layer.Conv2D{Filters: 1, Kernel: layer.Square(3), Initializer: graph.Initializer{Std: math.Inf(1)}}), graph.Specs(conv), "std is +Inf"},
		{"two initializers", []int{9, 9, 1}, graph.Specs(&layer.Conv2D{Filters: 1, Kernel: layer.Square(3), Initializer: graph.Initializer{Name: "he_normal", Std: 1}}), graph.Specs(conv), "initializer he_normal has a std"},
		{"padding", []int{9, 9, 1}, graph.Specs(&layer.MaxPool2D{Size: 2, Padding: "full"}), graph.Specs(conv), `padding is "full"`},
		{"pool", []int{9, 9, 1}, graph.Specs(&layer.MaxPool2D{}), graph.Specs(conv), "pool size 0"},
		{"dense on image", []int{4, 4, 1}, graph.Specs(&layer.Dense{Units: 3}), graph.Specs(conv), "the input (4, 4, 1) is not flat"},
		{"reshape", []int{12}, graph.Specs(&layer.Reshape{Shape: []int{2, 2, 2}}), graph.Specs(conv), "shape (2, 2, 2) has 8 elements, the input (12) has 12"},
		{"dropout", []int{12}, graph.Specs(&layer.Dropout{Rate: 1}), graph.Specs(conv), "rate is 1"},
		{"dropout NaN", []int{12}, graph.Specs(&layer.Dropout{Rate: float32(math.NaN())}), graph.Specs(conv), "rate is NaN"},
		{"upsampling", []int{4, 4, 1}, graph.Specs(&layer.UpSampling2D{Size: 17}), graph.Specs(conv), "factor is 17"},
		{"too many weights", []int{1 << 15}, graph.Specs(&layer.Dense{Units: 1 << 14}), graph.Specs(&layer.Dense{Units: 1 << 15}), "has 1073790976 parameters, want at most 268435456"},
		{"decoder", []int{12}, graph.Specs(&layer.Dense{Units: 3}), graph.Specs(conv, &layer.UpSampling2D{}), "decoder layer 2 (up_sampling2d, input (1)): the upsampling factor is 0"},
	} {
		_, err := New(Config{Name: "m", Input: c.input, Encoder: c.enc, Decoder: c.dec}, 1)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one with %q", c.name, err, c.want)
		}
	}
}

// Fusion makes the denoiser five convolutions.
func TestDenoiserFusesToFive(t *testing.T) {
	m := mustModel(t, Denoiser())
	p, err := compileForward(m, openTest(t).Lanes()[0], wholePart, 1, NetworkOptions{})
	if err != nil || len(p.Calls) != 5 {
		t.Fatalf("error %v, ops %v after fusion, want 5", err, p)
	}
	for i, want := range []backend.ConvSpec{
		{Act: backend.ReLU, Pool: 2}, {Act: backend.ReLU, Pool: 2}, {Act: backend.ReLU}, {Act: backend.ReLU, Up: 2}, {Act: backend.Sigmoid, Up: 2}} {
		o, ok := p.Calls[i].Op.(*op.Conv)
		if !ok {
			t.Fatalf("op %d is %T", i, p.Calls[i].Op)
		}
		if got := o.Shape; got.Act != want.Act || max(got.Up, 1) != max(want.Up, 1) || max(got.Pool, 1) != max(want.Pool, 1) {
			t.Errorf("op %d is %+v, want %+v", i, got, want)
		}
	}
}

func TestInitializers(t *testing.T) {
	for _, c := range []struct {
		init  graph.Initializer
		sigma float64 // fan in 9*32, fan out 9*64
		limit float64
	}{
		{graph.Initializer{Name: "glorot_uniform"}, math.Sqrt(2.0 / (288 + 576)), math.Sqrt(6.0 / (288 + 576))},
		{graph.Initializer{Name: "glorot_normal"}, math.Sqrt(2.0 / (288 + 576)), 2 * math.Sqrt(2.0/(288+576)) / 0.8796},
		{graph.Initializer{Name: "he_uniform"}, math.Sqrt(2.0 / 288), math.Sqrt(6.0 / 288)},
		{graph.Initializer{Name: "he_normal"}, math.Sqrt(2.0 / 288), 2 * math.Sqrt(2.0/288) / 0.8796},
		{graph.Initializer{Name: "normal", Std: 0.1}, 0.1, 0.4}, // is not cut: the largest of 18,432 numbers is about four deviations away
	} {
		m, err := New(Config{Name: "m", Input: []int{4, 4, 32}, Encoder: graph.Specs(&layer.Conv2D{Filters: 64, Kernel: layer.Square(3), Initializer: c.init}), Decoder: graph.Specs(&layer.Flatten{})}, 1)
		if err != nil {
			t.Fatal(err)
		}
		var sum, sq, most float64
		w := m.Params[0].Data
		for _, v := range w {
			x := float64(v)
			sum, sq, most = sum+x, sq+x*x, math.Max(most, math.Abs(x))
		}
		n := float64(len(w))
		if mean := sum / n; math.Abs(mean) > 5*c.sigma/math.Sqrt(n) {
			t.Errorf("%v: mean %g", c.init, mean)
		}
		if s := math.Sqrt(sq / n); math.Abs(s/c.sigma-1) > 0.02 {
			t.Errorf("%v: standard deviation %g, want %g", c.init, s, c.sigma)
		}
		if most > c.limit || most < 0.95*c.limit {
			t.Errorf("%v: largest weight %g, want just below %g", c.init, most, c.limit)
		}
		if slices.ContainsFunc(m.Params[1].Data, func(v float32) bool { return v != 0 }) {
			t.Errorf("%v: the bias is not zero", c.init)
		}
	}
}

// Files hold what PyTorch's modules hold: names, shapes, and the order of a flattened image's elements.
func TestTorchLayout(t *testing.T) {
	m := mustModel(t, zoo()[1])
	var names []string
	for _, tn := range m.Tensors() {
		names = append(names, tn.Name)
	}
	// encoder: conv, sigmoid, pool, flatten, linear, relu; decoder: linear, tanh, unflatten, conv, sigmoid.
	want := []string{"encoder.0.weight", "encoder.0.bias", "encoder.4.weight", "decoder.0.weight", "decoder.0.bias", "decoder.3.weight", "decoder.3.bias"}
	if !slices.Equal(names, want) {
		t.Errorf("names %v, want %v", names, want)
	}
	conv := m.Params[0] // (4, 3, 5, 2) -> (4, 2, 3, 5)
	tn := m.Tensors()[0]
	v, err := tn.Float32s()
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(tn.Shape, []int{4, 2, 3, 5}) || v[((1*2+1)*3+2)*5+4] != conv.Data[((1*3+2)*5+4)*2+1] {
		t.Errorf("a convolution's weights are not (out, in, rows, columns): %v", tn.Shape)
	}
	// The first dense layer reads the flattened pool output (4, 3, 4): input (row 1, column 2, channel 3).
	dense := m.Params[2]
	v, _ = m.Tensors()[2].Float32s()
	if got, want := v[5*48+3*12+1*3+2], dense.Data[5*48+(1*3+2)*4+3]; got != want {
		t.Errorf("a dense layer behind a flatten is not in channels-first order: %v, want %v", got, want)
	}
	// The second makes the image (7, 5, 2): unit (row 6, column 4, channel 1).
	v, _ = m.Tensors()[3].Float32s()
	if got, want := v[(1*35+6*5+4)*6+2], m.Params[3].Data[((6*5+4)*2+1)*6+2]; got != want {
		t.Errorf("a dense layer before a reshape is not in channels-first order: %v, want %v", got, want)
	}
}

// With stride 2 on an even size a file's weights are those of the modules that the README shows: a convolution of the image
// padded by a pixel at the bottom and right, and a transposed convolution cut to twice its input.
func TestTorchStrideTwo(t *testing.T) {
	const size, code = 6, 3
	m := mustModel(t, Config{Name: "strided", Input: []int{size, size, 1}, Encoder: graph.Specs(&layer.Conv2D{Filters: 1, Kernel: layer.Square(3), Stride: 2}),
		Decoder: graph.Specs(&layer.Conv2DTranspose{Filters: 1, Kernel: layer.Square(3), Stride: 2})})
	var w [2][]float32
	for i := range w {
		tn, err := m.Tensors()[2*i].Float32s()
		if err != nil {
			t.Fatal(err)
		}
		w[i] = tn
	}
	x, z, y := make([]float32, size*size), make([]float32, code*code), make([]float32, size*size)
	for i := range x {
		x[i] = float32(i*i%7) - 3
	}
	for row := range code {
		for column := range code {
			for r := range 3 {
				for c := range 3 {
					if i, j := 2*row+r, 2*column+c; i < size && j < size { // else it is padding
						z[row*code+column] += w[0][3*r+c] * x[i*size+j]
					}
				}
			}
		}
	}
	for row := range code {
		for column := range code {
			for r := range 3 {
				for c := range 3 {
					if i, j := 2*row+r, 2*column+c; i < size && j < size { // else it is cut off
						y[i*size+j] += w[1][3*r+c] * z[row*code+column]
					}
				}
			}
		}
	}
	net, err := NewNetwork(m, openTest(t), NetworkOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer net.Close()
	gotZ, gotY := make([]float32, len(z)), make([]float32, len(y))
	if err := net.Encode(gotZ, x, 1); err != nil {
		t.Fatal(err)
	}
	if err := net.Decode(gotY, z, 1); err != nil {
		t.Fatal(err)
	}
	within(t, "code", gotZ, z, backend.Bound{Abs: 1e-5})
	within(t, "image", gotY, y, backend.Bound{Abs: 1e-5})
}

func TestTensorsRoundTrip(t *testing.T) {
	for _, c := range append(zoo(), Denoiser()) {
		a, b := mustModel(t, c), mustModel(t, c)
		for i := range b.Params {
			clear(b.Params[i].Data)
			for j := range a.Params[i].Data {
				a.Params[i].Data[j] = float32(i*1000 + j)
			}
		}
		if err := b.SetTensors(&safetensors.File{Tensors: a.Tensors()}); err != nil {
			t.Fatal(err)
		}
		for i := range a.Params {
			if !slices.Equal(a.Params[i].Data, b.Params[i].Data) {
				t.Errorf("%s: %s does not survive", c.Name, a.Params[i].Name)
			}
		}
	}
	m := mustModel(t, zoo()[3])
	tensors := m.Tensors()
	extra := append(slices.Clone(tensors), safetensors.FromFloat32s("other", []int{1}, []float32{1}))
	for want, ts := range map[string][]safetensors.Tensor{
		`lacks the tensor "encoder.0.weight"`: tensors[1:], `has a tensor "other"`: extra,
		"has shape [9]": {safetensors.FromFloat32s("encoder.0.weight", []int{9}, make([]float32, 9))},
	} {
		if err := m.SetTensors(&safetensors.File{Tensors: ts}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one with %q", err, want)
		}
	}
}

// Encoder and decoder one after another are the model.
func TestEncodeDecode(t *testing.T) {
	for _, c := range zoo() {
		m := mustModel(t, c)
		net, err := NewNetwork(m, openTest(t), NetworkOptions{})
		if err != nil {
			t.Fatal(err)
		}
		defer net.Close()
		const n = 5
		x := make([]float32, n*m.Input.Len())
		for i := range x {
			x[i] = float32(i%13) / 13
		}
		code, y, z := make([]float32, n*m.Code.Len()), make([]float32, n*m.Output.Len()), make([]float32, n*m.Output.Len())
		if err := errors.Join(net.Predict(y, x, n), net.Encode(code, x, n)); err != nil {
			t.Fatal(err)
		}
		err = net.Decode(z, code, n)
		if c.Name == "skips" {
			if err == nil || !strings.Contains(err.Error(), `the decoder of model "skips" takes what its encoder makes besides the code`) {
				t.Errorf("error %v", err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		within(t, c.Name, z, y, backend.Bound{Abs: 1e-7})
		if err := net.Predict(y[:1], x, n); err == nil || !strings.Contains(err.Error(), "need slices of that size") {
			t.Errorf("a short slice: error %v", err)
		}
		if err := net.Predict(nil, nil, 0); err != nil {
			t.Errorf("no samples: %v", err)
		}
	}
}

func TestCodeDims(t *testing.T) {
	conv := &layer.Conv2D{Filters: 5, Kernel: layer.Square(1)}
	for _, c := range []struct {
		input []int
		enc   []graph.Spec
		want  []int
	}{
		{[]int{1, 1, 4}, graph.Specs(conv), []int{1, 1, 5}}, // an image of one pixel is no vector
		{[]int{2, 2, 4}, graph.Specs(conv), []int{2, 2, 5}},
		{[]int{2, 2, 1}, graph.Specs(&layer.Flatten{}), []int{4}},
		{[]int{4}, graph.Specs(&layer.Dense{Units: 3}), []int{3}},
		{[]int{4}, graph.Specs(&layer.Reshape{Shape: []int{1, 1, 4}}), []int{1, 1, 4}},
		{[]int{1, 1, 4}, graph.Specs(&layer.Reshape{Shape: []int{4}}), []int{4}},
	} {
		m := mustModel(t, Config{Name: "m", Input: c.input, Encoder: c.enc, Decoder: graph.Specs(&layer.Flatten{})})
		if got := m.CodeDims(); !slices.Equal(got, c.want) {
			t.Errorf("input %v: the code is %v, want %v", c.input, got, c.want)
		}
	}
}

// A vector beside an image does not make a vector of the code.
func TestCodeDimsBeside(t *testing.T) {
	m, err := New(Config{Name: "squeezed", Input: []int{4, 6, 3}, Encoder: []graph.Spec{
		{Layer: &layer.Conv2D{Filters: 2, Kernel: layer.Square(3)}, Name: "a"}, {Layer: &layer.GlobalAveragePooling2D{}},
		{Layer: &layer.Dense{Units: 2}, Name: "gates"}, {Layer: &layer.Multiply{}, Inputs: []string{"a", "gates"}}},
		Decoder: graph.Specs(&layer.Conv2D{Filters: 3, Kernel: layer.Square(3)})}, 1)
	if err != nil {
		t.Fatal(err)
	}
	if got := m.CodeDims(); !slices.Equal(got, []int{4, 6, 2}) {
		t.Errorf("the code is %v, want [4 6 2]", got)
	}
}
