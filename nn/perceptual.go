package nn

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/graph"
	"github.com/convae/convae/nn/layer"
	"github.com/convae/convae/nn/op"
	"github.com/convae/convae/nn/safetensors"
)

// Perceptual is a loss by what a frozen network sees of the output and of the target: the sum over layers of the mean squared difference of their
// features (Johnson and others, "Perceptual losses for real-time style transfer and super-resolution", 2016). The network is the
// convolutional part of VGG-16, with as many filters as the file has. It is of images of one channel, which it sees as grey, or of three, of values of
// [0,1], and counts as the loss of each of a sample's elements does.
type Perceptual struct {
	Weight float64
	File   string        // the network's weights, a safetensors file with torchvision's names
	Layers FeatureLayers // DefaultFeatures if there are none
	// LPIPS has the vector of each pixel's features divided by its length, and their squared differences weighted and added up, not averaged, over
	// channels, by weights that the file has too (Zhang and others, "The unreasonable effectiveness of deep features as a perceptual metric", 2018). Its
	// layers are LPIPSFeatures, all or some.
	LPIPS bool
}

// perceptualName is the loss's name in configurations.
const perceptualName = "perceptual"

// FeatureLayers is a set of the layers of VGG-16 whose outputs are compared, after their ReLU.
type FeatureLayers uint16

// vggBlocks are the convolutions between pools.
var vggBlocks = [...]int{2, 2, 3, 3, 3}

// featureNames lists the layers by the papers' names, relu1_1 to relu5_3. The index of each is its bit of a FeatureLayers.
var featureNames = func() (names []string) {
	for block, convs := range vggBlocks {
		for i := range convs {
			names = append(names, fmt.Sprintf("relu%d_%d", block+1, i+1))
		}
	}
	return names
}()

// DefaultFeatures are relu1_2, relu2_2, relu3_3 and relu4_3, those of Johnson and others.
const DefaultFeatures FeatureLayers = 1<<1 | 1<<3 | 1<<6 | 1<<9

// LPIPSFeatures are relu1_2, relu2_2, relu3_3, relu4_3 and relu5_3, the last before each pool and at the end, those of LPIPS.
const LPIPSFeatures = DefaultFeatures | 1<<12

// ParseFeatureLayers returns the set of layers with those names.
func ParseFeatureLayers(names ...string) (l FeatureLayers, err error) {
	for _, name := range names {
		i := slices.Index(featureNames, name)
		if i < 0 {
			return 0, fmt.Errorf("perceptual: there is no layer %s: want of %s", name, strings.Join(featureNames, ", "))
		}
		l |= 1 << i
	}
	return l, nil
}

// Names lists the layers from the input on.
func (l FeatureLayers) Names() (names []string) {
	for i, name := range featureNames {
		if l.has(i) {
			names = append(names, name)
		}
	}
	return names
}

func (l FeatureLayers) has(i int) bool { return l>>i&1 == 1 }

// deepest returns the index of the last layer.
func (l FeatureLayers) deepest() int {
	i := len(featureNames) - 1
	for i > 0 && !l.has(i) {
		i--
	}
	return i
}

// vggModule returns the place of a convolution in torchvision's list of features.
func vggModule(conv int) int {
	module := 2 * conv // each has a ReLU behind it
	for _, convs := range vggBlocks {
		if conv < convs {
			break
		}
		conv -= convs
		module++ // the pool
	}
	return module
}

// pooledBefore reports whether a pool leads to a convolution.
func pooledBefore(conv int) bool { return conv > 0 && vggModule(conv)-vggModule(conv-1) > 2 }

// What the network was trained on is normalised by the mean and the standard deviation of ImageNet's red, green and blue.
var imageNet = struct{ mean, std [3]float64 }{[3]float64{0.485, 0.456, 0.406}, [3]float64{0.229, 0.224, 0.225}}

// features is the frozen network of a perceptual loss for images of so many channels.
type features struct {
	layers FeatureLayers
	// The weights and the bias of each convolution. The first two are of one that repeats a single channel and normalises.
	params []Param
	// scales is the index of the first of params that scales the features of a layer of LPIPS, each by the root of its weight; 0 for a plain distance.
	scales int
}

// loadFeatures reads the network as deep as the loss looks. Errors name the file and the tensor, and what was expected.
func (p Perceptual) loadFeatures(channels int) (*features, error) {
	if channels != 1 && channels != 3 {
		return nil, fmt.Errorf("loss perceptual is of images of 1 or 3 channels, and the model's have %d", channels)
	}
	file, err := safetensors.ReadFile(p.File)
	if err != nil {
		return nil, fmt.Errorf("loss perceptual: %w", err)
	}
	f := &features{layers: p.Layers, params: normalization(channels)}
	in := 3
	for conv := range p.Layers.deepest() + 1 {
		w, bias, err := vggConv(file, conv, in)
		if err != nil {
			return nil, fmt.Errorf("loss perceptual: %s: %w", p.File, err)
		}
		f.params = append(f.params, w, bias)
		in = w.Shape.N
	}
	if p.LPIPS {
		f.scales = len(f.params)
		if err := f.addScales(file); err != nil {
			return nil, fmt.Errorf("loss perceptual: %s: %w", p.File, err)
		}
	}
	return f, nil
}

// addScales reads the weights of LPIPS.
func (f *features) addScales(file *safetensors.File) error {
	block := -1
	for i := range featureNames {
		if !LPIPSFeatures.has(i) {
			continue
		}
		if block++; !f.layers.has(i) {
			continue
		}
		channels := f.params[2*i+2].Shape.N
		p, err := readParam(file, []string{fmt.Sprintf("lin%d.model.1.weight", block), fmt.Sprintf("lins.%d.model.1.weight", block)}, "LPIPS", graph.Bias,
			func(d []int) (backend.Shape, bool) {
				return backend.Vec(channels), slices.Equal(d, []int{1, channels, 1, 1})
			}, fmt.Sprintf("[1 %d 1 1]", channels))
		if err != nil {
			return err
		}
		for k, v := range p.Data {
			if v < 0 {
				return fmt.Errorf("tensor %q: value %d is %v, want 0 or more", p.Name, k+1, v)
			}
			p.Data[k] = float32(math.Sqrt(float64(v)))
		}
		f.params = append(f.params, p)
	}
	return nil
}

// share returns what the squared difference of a feature of that shape counts for.
func (f *features) share(s backend.Shape) float64 {
	if f.scales > 0 {
		return 1 / float64(s.H*s.W)
	}
	return 1 / float64(s.Image())
}

// normalization returns the convolution of one pixel that makes three normalised channels.
func normalization(channels int) []Param {
	w := Param{Param: graph.Param{Role: graph.ConvWeights, Shape: backend.Shape{N: 3, H: 1, W: 1, C: channels}}, Data: make([]float32, 3*channels)}
	bias := Param{Param: graph.Param{Role: graph.Bias, Shape: backend.Vec(3)}, Data: make([]float32, 3)}
	for c := range 3 {
		w.Data[c*channels+c%channels] = float32(1 / imageNet.std[c])
		bias.Data[c] = float32(-imageNet.mean[c] / imageNet.std[c])
	}
	return []Param{w, bias}
}

// vggConv reads a convolution that so many channels go into.
func vggConv(file *safetensors.File, conv, in int) (w, bias Param, err error) {
	module := vggModule(conv)
	slice := 1 // of the library lpips, which cuts the list in front of the pools
	for c := range conv + 1 {
		if pooledBefore(c) {
			slice++
		}
	}
	read := func(name string, role graph.ParamRole, shape func(dims []int) (s backend.Shape, ok bool), want string) (p Param, err error) {
		names := []string{fmt.Sprintf("features.%d.%s", module, name), fmt.Sprintf("%d.%s", module, name), fmt.Sprintf("net.slice%d.%d.%s", slice, module, name)}
		return readParam(file, names, "VGG-16", role, shape, want)
	}
	w, err = read("weight", graph.ConvWeights, func(d []int) (s backend.Shape, ok bool) {
		if len(d) != 4 || d[0] < 1 || d[1] != in || d[2] != 3 || d[3] != 3 {
			return s, false
		}
		return backend.Shape{N: d[0], H: 3, W: 3, C: in}, true
	}, fmt.Sprintf("[filters %d 3 3]", in))
	if err != nil {
		return w, bias, err
	}
	bias, err = read("bias", graph.Bias, func(d []int) (s backend.Shape, ok bool) {
		return backend.Vec(w.Shape.N), slices.Equal(d, []int{w.Shape.N})
	}, fmt.Sprintf("[%d]", w.Shape.N))
	return w, bias, err
}

// readParam reads the first tensor that is there of several names, of what a network is to have. shape makes a parameter's shape of the tensor's
// dimensions, unless these are not as wanted.
func readParam(file *safetensors.File, names []string, of string, role graph.ParamRole, shape func(dims []int) (s backend.Shape, ok bool), want string) (p Param, err error) {
	for _, p.Name = range names {
		t, ok := file.Tensor(p.Name)
		if !ok {
			continue
		}
		if p.Shape, ok = shape(t.Shape); !ok {
			return p, fmt.Errorf("tensor %q has shape %v, want %s", p.Name, t.Shape, want)
		}
		p.Role = role
		wide, err := t.ToFloat32()
		if err != nil {
			return p, err
		}
		if i, v, found := wide.NotFinite(); found {
			return p, fmt.Errorf("tensor %q: value %d is %v, want finite weights", p.Name, i+1, v)
		}
		p.Data, err = p.fromTorch(&wide)
		return p, err
	}
	return p, fmt.Errorf("there is no tensor %q of %s (nor %s)", names[0], of, strings.Join(names[1:], ", nor "))
}

// PerceptualDigest tells one network of a perceptual loss from another, by its weights; "" if the trainer has none.
func (t *Trainer) PerceptualDigest() string {
	if t.o.features == nil {
		return ""
	}
	h := sha256.New()
	for _, p := range t.o.features.params {
		_ = binary.Write(h, binary.LittleEndian, p.Data) // a hash takes all
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// distance returns what a Distance of images of that shape takes on a device.
func (f *features) distance(image backend.Shape, dev backend.Device) (need Memory, err error) {
	if f == nil {
		return need, nil
	}
	m, err := f.model(image)
	if err != nil {
		return need, err
	}
	b, o := dev.Lanes()[0], distanceOptions
	o.folded = true
	one, err := compileForward(m, b, wholePart, 1, o)
	if err != nil {
		return need, err
	}
	plan := planPart(one, b, dev.Policy(), o.Batch, forwardBytes)
	prog, err := compileForward(m, b, wholePart, plan.micro, o)
	if err != nil {
		return need, err
	}
	plan.place(prog, b)
	_, packed := one.PackedBytes()
	lanes := len(dev.Lanes())
	return Memory{Weights: newParamLayout(m, b).bytes + packed, Activations: lanes * plan.arena, Workspace: lanes * plan.workspace}, nil
}

// bytes returns what the weights take on a device.
func (f *features) bytes(b backend.Backend) (n int) {
	if f == nil {
		return 0
	}
	for _, p := range f.params {
		n += backend.AlignUp(b.Bytes(backend.Param, backend.Float32, p.Shape))
	}
	return n
}

// place copies the weights to a device, where a frees them.
func (f *features) place(a *arena) (list []backend.Tensor, err error) {
	if f == nil {
		return nil, nil
	}
	buf, err := a.alloc(f.bytes(a.b), "weights of the loss")
	if err != nil {
		return nil, err
	}
	offset := 0
	for _, p := range f.params {
		t := backend.Tensor{Shape: p.Shape, Role: backend.Param, Buffer: buf, Offset: offset}
		a.b.Upload(t, p.Data)
		list = append(list, t)
		offset += backend.AlignUp(a.b.Bytes(backend.Param, backend.Float32, p.Shape))
	}
	return list, nil
}

// emitter is where the network's ops go.
type emitter interface {
	New(s backend.Shape) op.Value
	Shape(v op.Value) backend.Shape
	Emit(o op.Op)
}

// emit appends the network on images, and returns what it makes of them, layer by layer. params are the values of f.params.
func (f *features) emit(e emitter, x op.Value, params []op.Value, precision backend.Precision) (of []op.Value, err error) {
	conv := func(i, kernel int) error {
		s, err := backend.NewConv(backend.ConvSpec{X: e.Shape(x), Filters: f.params[i].Shape.N, KernelH: kernel, KernelW: kernel,
			Multiply: precision.Multiply, Winograd: precision.Winograd})
		if err != nil {
			return err
		}
		out := e.New(s.Out)
		e.Emit(&op.Conv{Shape: s, Out: out, X: x, W: params[i], Bias: params[i+1]})
		x = out
		return nil
	}
	if err := conv(0, 1); err != nil {
		return nil, err
	}
	for i := range f.layers.deepest() + 1 {
		if pooledBefore(i) {
			s, err := backend.NewPool(backend.PoolSpec{X: e.Shape(x), Size: 2, Stride: 2, Padding: backend.Valid})
			if err != nil {
				return nil, fmt.Errorf("loss perceptual: the images are too small for layer %s: %w", featureNames[f.layers.deepest()], err)
			}
			out := e.New(s.Out)
			e.Emit(&op.MaxPool{Shape: s, Out: out, X: x})
			x = out
		}
		if err := conv(2*i+2, 3); err != nil {
			return nil, err
		}
		out := e.New(e.Shape(x))
		e.Emit(&op.Activate{Function: backend.Function{Act: backend.ReLU}, Out: out, X: x})
		x = out
		switch {
		case !f.layers.has(i):
		case f.scales > 0:
			unit := e.New(e.Shape(x))
			e.Emit(&op.UnitNorm{Out: unit, X: x, Scales: params[f.scales+len(of)]})
			of = append(of, unit)
		default:
			of = append(of, x)
		}
	}
	return of, nil
}

// onTape is the emitter of a training program.
type onTape struct{ *op.Tape }

func (t onTape) New(s backend.Shape) op.Value { return t.Tape.New(backend.Activation, s) }

// emitFeatures appends the network of the perceptual loss, if there is one, on the target and on the output, as part of the forward pass: a
// gradient then leads back through it as through any layer that is not trainable.
func (c *compiler) emitFeatures(src source) error {
	f := c.o.features
	if c.o.Loss.Perceptual.Weight == 0 {
		return nil
	}
	c.p.Layer = "perceptual"
	var params []op.Value
	for i, p := range f.params { // they lie behind the model's
		params = append(params, c.p.Outside(op.Info{Space: op.Weights, Role: backend.Param, Shape: p.Shape, Index: len(c.m.Params) + i, Frozen: true}))
	}
	c.makeTarget(src)
	target := c.p.Target
	if s := c.p.Shape(c.p.Output); c.p.Shape(target) != s {
		target = c.p.New(backend.Activation, s)
		c.p.Emit(&op.Reshape{Out: target, X: c.p.Target})
	}
	for i, x := range []op.Value{target, c.p.Output} {
		var err error
		if c.features[i], err = f.emit(onTape{c.p.Tape}, x, params, c.o.Precision); err != nil {
			return fmt.Errorf("nn: %w", err)
		}
	}
	return nil
}

// emitPerceptual appends the squared differences of the features of each layer.
func (c *compiler) emitPerceptual(grads *op.Grads) {
	p, image := c.p, float64(c.p.Shape(c.p.Output).Image())
	for i, x := range c.features[1] {
		s := p.Shape(x)
		o := &op.Pointwise{Of: op.MSE, Term: op.Term{Shape: s, Scale: op.Scale{Factor: float32(c.o.Loss.Perceptual.Weight * image * c.o.features.share(s))},
			Loss: p.Sum(op.Loss, 1), Grad: p.Like(x), Prediction: x, Target: c.features[0][i]}}
		p.Emit(o)
		grads.Add(x, o.Grad)
	}
}

// Distance computes the perceptual loss of outputs on a device, in float32. Close gives its memory back.
type Distance struct {
	net        *Network
	image, out int
	pairs, of  []float32
}

// NewDistance returns the loss's distance of outputs of a network's model, on that network's device.
func NewDistance(n *Network, p Perceptual) (*Distance, error) {
	return newDistance(n.m.Output, n.dev, p)
}

func newDistance(image backend.Shape, dev backend.Device, p Perceptual) (*Distance, error) {
	f, err := p.loadFeatures(image.C)
	if err != nil {
		return nil, fmt.Errorf("nn: %w", err)
	}
	m, err := f.model(image)
	if err != nil {
		return nil, err
	}
	net, err := NewNetwork(m, dev, distanceOptions)
	if err != nil {
		return nil, err
	}
	return &Distance{net: net, image: image.Len(), out: m.Output.Len()}, nil
}

// distanceOptions has lanes take a few images at a time: of what the network makes of them, that is plenty.
var distanceOptions = NetworkOptions{Batch: 16}

// Close gives the memory on the device back.
func (d *Distance) Close() { d.net.Close() }

// distanceFloats is how many values of pairs of images a Distance holds at a time.
const distanceFloats = 1 << 20

// Of puts the distance of each of count outputs from its target, of the samples one after another, into dst.
func (d *Distance) Of(dst []float64, output, target []float32, count int) error {
	most := max(distanceFloats/(2*d.image), 1)
	for first := 0; first < count; first += most {
		n := min(most, count-first)
		d.pairs, d.of = slices.Grow(d.pairs[:0], 2*n*d.image)[:0], slices.Grow(d.of[:0], n*d.out)[:n*d.out]
		for i := first; i < first+n; i++ {
			d.pairs = append(d.pairs, output[i*d.image:][:d.image]...)
			d.pairs = append(d.pairs, target[i*d.image:][:d.image]...)
		}
		if err := d.net.Predict(d.of, d.pairs, n); err != nil {
			return err
		}
		for i := range n {
			sum := 0.0
			for _, v := range d.of[i*d.out:][:d.out] {
				sum += float64(v)
			}
			dst[first+i] = sum
		}
	}
	return nil
}

// DistanceBytes returns the memory on the host of a Distance of images of so many values.
func DistanceBytes(image int) int {
	return floatBytes * (max(distanceFloats, 2*image) + distanceFloats/16)
}

// model returns the network as a model: a sample is an image with another below it, and of that it makes each channel's share of their distance.
func (f *features) model(image backend.Shape) (*Model, error) {
	m, err := New(Config{Name: "perceptual", Input: []int{2 * image.H, image.W, image.C}, Encoder: graph.Specs(&pairLayer{f}), Decoder: graph.Specs(&layer.Flatten{})}, 0)
	if err != nil {
		return nil, err
	}
	for i := range m.Params {
		m.Params[i].Data = f.params[i].Data
	}
	return m, nil
}

// pairLayer compares the two halves of an image by their features.
type pairLayer struct{ f *features }

// Kind names the layer in errors.
func (*pairLayer) Kind() string { return "Perceptual" }

// Build emits the network on both halves and the means of the squares of what they differ by.
func (l *pairLayer) Build(b *graph.Builder, in ...op.Value) (op.Value, error) {
	var params []op.Value
	for _, p := range l.f.params {
		params = append(params, b.Param("weight", p.Param))
	}
	both := b.Shape(in[0])
	image := backend.Shape{N: both.N, H: both.H / 2, W: both.W, C: both.C}
	flat := b.New(backend.Vec(both.Image()))
	b.Emit(&op.Reshape{Out: flat, X: in[0]})
	var of [2][]op.Value
	for i := range of {
		half, x := b.New(backend.Vec(image.Image())), b.New(image)
		b.Emit(&op.CopyChannels{Out: half, X: flat, From: i * image.Image(), Count: image.Image(), First: true})
		b.Emit(&op.Reshape{Out: x, X: half})
		var err error
		if of[i], err = l.f.emit(b, x, params, backend.Precision{}); err != nil {
			return op.None, err
		}
	}
	channels := 0
	for _, v := range of[0] {
		channels += b.Shape(v).C
	}
	out, at := b.New(backend.Vec(channels)), 0
	for i, v := range of[0] {
		s := b.Shape(v)
		differ, mean := b.New(s), b.New(backend.Vec(s.C))
		b.Emit(&op.Copy{Out: differ, X: v})
		b.Emit(&op.Accumulate{Dst: differ, Alpha: -1, X: of[1][i]})
		b.Emit(&op.SumPixels{Scale: float32(l.f.share(s)), Out: mean, A: differ, B: differ})
		b.Emit(&op.CopyChannels{Out: out, To: at, X: mean, Count: s.C, First: at == 0})
		at += s.C
	}
	return out, nil
}

// check fills in what is left out and reports the first field that cannot be.
func (p Perceptual) withDefaults() (Perceptual, error) {
	switch {
	case p.Weight == 0 && p != (Perceptual{}):
		return p, fmt.Errorf("loss: perceptual has a file or layers, and no weight: want a weight above 0 too")
	case p.Weight > 0 && p.File == "":
		return p, fmt.Errorf("loss: perceptual names no file: want the weights of VGG-16 as safetensors, as in {perceptual: {weight: 0.1, file: vgg16.safetensors}}")
	case p.Weight > 0 && p.Layers == 0 && p.LPIPS:
		p.Layers = LPIPSFeatures
	case p.Weight > 0 && p.Layers == 0:
		p.Layers = DefaultFeatures
	case int(p.Layers) >= 1<<len(featureNames):
		return p, fmt.Errorf("loss: perceptual has layers that there are not: want of %s", strings.Join(featureNames, ", "))
	case p.LPIPS && p.Layers&^LPIPSFeatures != 0:
		return p, fmt.Errorf("loss: perceptual with lpips has the layers %v, want of %v", p.Layers.Names(), LPIPSFeatures.Names())
	}
	return p, nil
}

// set sets the weight, from a number, or all from what a configuration says by name.
func (p *Perceptual) set(value any) (err error) {
	if weight, ok := number(value); ok {
		p.Weight = weight
		return nil
	}
	fields, ok := value.(map[string]any)
	if !ok {
		return fmt.Errorf("perceptual is %v: want {weight: 0.1, file: vgg16.safetensors, layers: [relu2_2]}", value)
	}
	p.Weight = 1
	for name, v := range fields {
		switch name {
		case "weight":
			if p.Weight, ok = number(v); !ok {
				return fmt.Errorf("perceptual: weight is %v, want a number", v)
			}
		case "file":
			if p.File, ok = v.(string); !ok {
				return fmt.Errorf("perceptual: file is %v, want the name of a safetensors file", v)
			}
		case "lpips":
			if p.LPIPS, ok = v.(bool); !ok {
				return fmt.Errorf("perceptual: lpips is %v, want true or false", v)
			}
		case "layers":
			list, ok := v.([]any)
			if !ok || len(list) == 0 {
				return fmt.Errorf("perceptual: layers is %v, want a list of %s", v, strings.Join(featureNames, ", "))
			}
			var names []string
			for _, n := range list {
				names = append(names, fmt.Sprint(n))
			}
			if p.Layers, err = ParseFeatureLayers(names...); err != nil {
				return err
			}
		default:
			return fmt.Errorf("perceptual: there is no %s: want weight, file, layers, lpips", name)
		}
	}
	return nil
}

// value is what set reads.
func (p Perceptual) value() any {
	v := map[string]any{"weight": p.Weight, "file": p.File}
	if p.Layers != 0 {
		v["layers"] = p.Layers.Names()
	}
	if p.LPIPS {
		v["lpips"] = true
	}
	return v
}

// number returns the number that a value of a configuration is.
func number(v any) (float64, bool) {
	switch v := v.(type) {
	case float64:
		return v, true
	case int:
		return float64(v), true
	case int64:
		return float64(v), true
	case uint64:
		return float64(v), true
	}
	return math.NaN(), false
}
