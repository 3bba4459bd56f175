package backendtest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/safetensors"
)

// Golden cases have inputs and results from files that were computed elsewhere; testdata/golden/README.md tells what is
// in them. Any safetensors file of the folder, and of those in it, whose metadata has a list of cases is read.

// goldenBound is the error allowed against golden values: 1e-5 of the value and 1e-6 of the magnitudes of its terms
// (goldenValue puts both under Rel), which is what a sum that has cancelled is to be measured by. It is not to be
// loosened.
var goldenBound = backend.Bound{Abs: 5e-7, Rel: 1e-6}

// goldenValue is a result whose terms have the magnitudes mag.
func goldenValue(v []float32, mag []float64) value {
	r := value{v: floats(v), mag: make([]float64, len(v))}
	for i, x := range r.v {
		r.mag[i] = 10*math.Abs(x) + math.Abs(mag[i])
	}
	return r
}

// GoldenDir returns the folder of the golden files: the environment variable CONVAE_GOLDEN, or else testdata/golden of
// the module in which the working directory is.
func GoldenDir() (string, error) {
	if dir := os.Getenv("CONVAE_GOLDEN"); dir != "" {
		return dir, nil
	}
	root, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(root, "go.mod")); err == nil {
			return filepath.Join(root, "testdata", "golden"), nil
		}
		if filepath.Dir(root) == root {
			return "", errors.New("no go.mod here or above: set CONVAE_GOLDEN to the folder of the golden files")
		}
		root = filepath.Dir(root)
	}
}

// LoadGolden makes cases of the golden files in a folder and in those below. It is an error if there are none, and errors name the file
// and the case. What no backend can do yet is not run: it is listed by its case's name, and why.
func LoadGolden(dir string) (cases []Case, notRun []string, err error) {
	fail := func(format string, a ...any) ([]Case, []string, error) { return nil, nil, fmt.Errorf(format, a...) }
	var files []string
	err = fs.WalkDir(os.DirFS(dir), ".", func(name string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && filepath.Ext(name) == ".safetensors" {
			files = append(files, filepath.Join(dir, filepath.FromSlash(name)))
		}
		return err
	})
	if err != nil {
		return fail("%s: %w", dir, err)
	}
	for _, path := range files {
		f, err := safetensors.ReadFile(path)
		if err != nil {
			return nil, nil, err
		}
		list, ok := f.Metadata["cases"]
		if !ok {
			continue
		}
		var entries []json.RawMessage
		if err := json.Unmarshal([]byte(list), &entries); err != nil {
			return fail("%s: metadata cases: %w", path, err)
		}
		for i, e := range entries {
			var g golden
			err := json.Unmarshal(e, &g)
			if err == nil && g.Name == "" {
				err = errors.New("it has no name")
			}
			if err != nil {
				return fail("%s: case %d of the metadata: %w", path, i, err)
			}
			g.file = f
			for _, g.multiply = range g.precisions() {
				c, err := g.cases()
				if not := unknown(""); errors.As(err, &not) {
					notRun = append(notRun, g.Name+": "+string(not))
					break
				}
				if err != nil {
					return fail("%s: case %s: %w", path, g.Name, err)
				}
				cases = append(cases, c...)
			}
		}
	}
	if len(cases)+len(notRun) == 0 {
		return fail("%s: no safetensors file with cases in its metadata", dir)
	}
	return cases, notRun, nil
}

// unknown is what no backend can do yet.
type unknown string

func (u unknown) Error() string { return string(u) }

// golden is an entry of the list of cases. Constants that a file does not have are those of its README.
type golden struct {
	Name      string   `json:"name"`
	Op        string   `json:"op"`
	Kernel    pair     `json:"kernel"`
	Stride    pair     `json:"stride"`
	Padding   string   `json:"padding"`
	Pool      pair     `json:"pool"`
	Scale     pair     `json:"scale"`
	Mode      string   `json:"mode"`
	Reduction string   `json:"reduction"`
	Function  string   `json:"function"`
	Alpha     *float32 `json:"alpha"`
	Dilation  pair     `json:"dilation"`
	Groups    int      `json:"groups"`
	Size      pair     `json:"size"`
	Epsilon   float32  `json:"epsilon"`
	Delta     *float32 `json:"delta"`

	Window  int       `json:"window"`
	Sigma   *float32  `json:"sigma"`
	K1      *float32  `json:"k1"`
	K2      *float32  `json:"k2"`
	Scales  int       `json:"scales"`
	Weights []float32 `json:"weights"`

	Commitment *float32 `json:"commitment"`
	Decay      *float32 `json:"decay"`
	Keep       *float32 `json:"keras_momentum"`
	Heads      int      `json:"heads"`
	Residual   bool     `json:"residual"`

	Steps       int        `json:"steps"`
	Optimizer   string     `json:"optimizer"`
	LR          *float32   `json:"lr"`
	Momentum    *float32   `json:"momentum"`
	Nesterov    bool       `json:"nesterov"`
	Betas       [2]float32 `json:"betas"`
	Eps         *float32   `json:"eps"`
	WeightDecay *float32   `json:"weight_decay"`
	Rho         *float32   `json:"rho"`

	file     *safetensors.File
	multiply backend.DType
}

// precisions are what the factors of a layer are rounded to, one after the other.
func (g golden) precisions() []backend.DType {
	if slices.Contains([]string{"conv2d", "conv2d_transpose", "dense"}, g.Op) && g.Groups <= 1 { // in groups factors are not rounded
		return []backend.DType{backend.Float32, backend.TF32, backend.BFloat16}
	}
	return []backend.DType{backend.Float32}
}

// boundOf is the bound of a result that a backend computes within own. A factor that is rounded to tf32 is off by 2^-11 of itself at most, and
// so a product by 2^-10 + 2^-22; the magnitudes, which are those of the rounded factors, are smaller by no more. In bf16 it is by 2^-8, and
// 2^-7 + 2^-16.
func (g golden) boundOf(result string, own backend.Bound) backend.Bound {
	switch {
	case !g.rounds(result):
		return goldenBound
	case g.multiply == backend.TF32:
		own.Rel += 0x1p-10 * (1 + 0x1p-8)
	default:
		own.Rel += 0x1p-7 * (1 + 0x1p-6)
	}
	return own
}

// rounds says whether a result is a sum of products of rounded factors, as all are but the gradient of the bias.
func (g golden) rounds(result string) bool {
	return g.multiply != backend.Float32 && result != "gradBias"
}

// pair is one number for both directions, or a list of two.
type pair [2]int

// UnmarshalJSON reads either form.
func (p *pair) UnmarshalJSON(b []byte) error {
	if json.Unmarshal(b, &p[0]) == nil {
		p[1] = p[0]
		return nil
	}
	var list []int
	if err := json.Unmarshal(b, &list); err != nil || len(list) != 2 {
		return fmt.Errorf("%s is neither a number nor a list of two", b)
	}
	*p = pair(list)
	return nil
}

// square returns the number that both directions share; a missing one is ifZero.
func (p pair) square(what string, ifZero int) (int, error) {
	if p[0] != p[1] {
		return 0, fmt.Errorf("%s %v is not the same in both directions", what, [2]int(p))
	}
	if p[0] == 0 {
		return ifZero, nil
	}
	return p[0], nil
}

func (g golden) cases() ([]Case, error) {
	switch g.Op {
	case "conv2d":
		return g.conv()
	case "conv2d_transpose":
		return g.convTranspose()
	case "dense":
		return g.dense()
	case "maxpool2d":
		return g.pool()
	case "upsample2d", "upsample":
		return g.upsample()
	case "pixel_shuffle":
		return g.depth()
	case "avg_pool":
		return g.average()
	case "global_avg_pool":
		return g.globalAverage()
	case "multiply":
		return g.multiplication()
	case "add":
		return g.add()
	case "concat":
		return g.concatenate()
	case "linear", "relu", "sigmoid", "tanh", "activation":
		return g.act()
	case "group_norm":
		return g.groupNorm(backend.GroupNormSpec{Groups: g.Groups})
	case "layer_norm":
		return g.groupNorm(backend.GroupNormSpec{Groups: 1, EachPixel: true})
	case "batch_norm":
		return g.batchNorm()
	case "spatial_attention":
		return g.spatialAttention()
	case "bce", "mse", "l1", "huber", "charbonnier":
		return g.loss()
	case "ssim", "ms_ssim":
		return g.similarity()
	case "vector_quantize":
		return g.quantisation()
	case "optimizer":
		return g.optimiser()
	}
	return nil, unknown("op " + g.Op)
}

// tensor returns the values and the shape of what; nil when there is no such tensor.
func (g golden) tensor(what string) ([]float32, []int, error) {
	t, ok := g.file.Tensor(g.Name + "/" + what)
	if !ok {
		return nil, nil, nil
	}
	v, err := t.Float32s()
	return v, t.Shape, err
}

// shapeOf returns the shape of a tensor that has to be there: images, or rows and columns, or a vector.
func (g golden) shapeOf(what string, ranks ...int) (shape, error) {
	v, d, err := g.tensor(what)
	if err != nil {
		return shape{}, err
	}
	if v == nil {
		return shape{}, fmt.Errorf("there is no tensor %s/%s", g.Name, what)
	}
	if !slices.Contains(ranks, len(d)) || len(v) == 0 {
		return shape{}, fmt.Errorf("tensor %s/%s has the shape %v, want one of %v dimensions and no zero", g.Name, what, d, ranks)
	}
	switch len(d) {
	case 4:
		return shape{N: d[0], H: d[1], W: d[2], C: d[3]}, nil
	case 3:
		return shape{N: d[0], H: 1, W: d[1], C: d[2]}, nil
	case 2:
		return shape{N: d[0], H: 1, W: 1, C: d[1]}, nil
	}
	return backend.Vec(d[0]), nil
}

// fit gives a case the golden values of its inputs and outputs; names are the file's names, where they differ. What is
// added to starts at zero. Outputs that the file does not have keep their reference.
func (g golden) fit(c Case, what string, names map[string]string) (Case, error) {
	c.Name = "golden/" + g.Name + "/" + what + suffix(g.multiply)
	inputs := make(map[string][]float32)
	c.golden, c.goldenRounds = make(map[string][]float32), g.rounds
	c.args = slices.Clone(c.args)
	for i, a := range c.args {
		if a.role == backend.Packed || a.role == backend.PerStep {
			continue
		}
		name := a.name
		if n, ok := names[a.name]; ok {
			name = n
		}
		v, _, err := g.tensor(name)
		if err != nil {
			return c, err
		}
		if v == nil && a.use == in {
			return c, fmt.Errorf("there is no tensor %s/%s", g.Name, name)
		}
		if v != nil && len(v) != a.shape.Len() {
			return c, fmt.Errorf("tensor %s/%s has %d elements, want %d", g.Name, name, len(v), a.shape.Len())
		}
		if a.use == in {
			inputs[a.name] = v
			continue
		}
		if a.use == inout {
			c.args[i].fill = given(0)
		}
		if v != nil {
			c.golden[a.name] = v
			c.args[i].bound = g.boundOf(a.name, a.bound)
		}
	}
	if len(c.golden) == 0 {
		return c, fmt.Errorf("there is no result for %s", what)
	}
	return c.with(inputs), nil
}

// fitAll fits the forward pass and, when the file has an upstream gradient, the backward passes.
func (g golden) fitAll(names map[string]string, forward Case, back ...Case) ([]Case, error) {
	c, err := g.fit(forward, "forward", names)
	if err != nil {
		return nil, err
	}
	cases := []Case{c}
	if v, _, err := g.tensor("grad_out"); v == nil {
		return cases, err
	}
	for _, c := range back {
		c, err := g.fit(c, strings.ToLower(c.Ops[len(c.Ops)-1]), names)
		if err != nil {
			return nil, err
		}
		cases = append(cases, c)
	}
	return cases, nil
}

// layerNames are the files' names of a layer's tensors.
var layerNames = map[string]string{"bias": "b", "gradOut": "grad_out", "gradX": "grad_x", "gradW": "grad_w", "gradBias": "grad_b"}

func (g golden) padding() (backend.Padding, error) {
	switch strings.ToLower(g.Padding) {
	case "same":
		return backend.Same, nil
	case "valid", "":
		return backend.Valid, nil
	}
	return 0, fmt.Errorf("the padding is %q, want same or valid", g.Padding)
}

// kernel is what defines a convolution of either direction.
type kernel struct {
	x, w    shape
	stride  int
	padding backend.Padding
	noBias  bool
}

func (g golden) kernel() (k kernel, err error) {
	if k.x, err = g.shapeOf("x", 4); err != nil {
		return k, err
	}
	if k.w, err = g.shapeOf("w", 4); err != nil {
		return k, err
	}
	if g.Kernel != (pair{}) && g.Kernel != (pair{k.w.H, k.w.W}) {
		return k, fmt.Errorf("the kernel is %v, but the weights are %v", [2]int(g.Kernel), k.w)
	}
	if k.stride, err = g.Stride.square("stride", 1); err != nil {
		return k, err
	}
	if k.padding, err = g.padding(); err != nil {
		return k, err
	}
	b, _, err := g.tensor("b")
	k.noBias = b == nil
	return k, err
}

func (g golden) conv() ([]Case, error) {
	k, err := g.kernel()
	if err != nil {
		return nil, err
	}
	dilation, err := g.Dilation.square("dilation", 1)
	if err != nil {
		return nil, err
	}
	if g.Groups > 1 {
		return g.grouped(k, dilation)
	}
	c := convCase{noBias: k.noBias, ConvSpec: backend.ConvSpec{X: k.x, Filters: k.w.N, KernelH: k.w.H, KernelW: k.w.W,
		Stride: k.stride, Dilation: dilation, Padding: k.padding, Multiply: g.multiply}}
	s, err := backend.NewConv(c.ConvSpec)
	if err == nil && s.Weights() != k.w {
		err = fmt.Errorf("the weights are %v, want %v", k.w, s.Weights())
	}
	if err != nil {
		return nil, err
	}
	return g.fitAll(layerNames, c.forward(), c.backInput(), c.backWeights())
}

func (g golden) grouped(k kernel, dilation int) ([]Case, error) {
	c := groupedCase{noBias: k.noBias, GroupedSpec: backend.GroupedSpec{X: k.x, Filters: k.w.N, Groups: g.Groups, KernelH: k.w.H, KernelW: k.w.W,
		Stride: k.stride, Dilation: dilation, Padding: k.padding}}
	s, err := backend.NewGrouped(c.GroupedSpec)
	if err == nil && s.Weights() != k.w {
		err = fmt.Errorf("the weights are %v, want %v", k.w, s.Weights())
	}
	if err != nil {
		return nil, err
	}
	return g.fitAll(layerNames, c.forward(), c.backInput(), c.backWeights())
}

func (g golden) convTranspose() ([]Case, error) {
	k, err := g.kernel()
	if err != nil {
		return nil, err
	}
	c := convTransposeCase{noBias: k.noBias, ConvTransposeSpec: backend.ConvTransposeSpec{X: k.x, Filters: k.w.C,
		KernelH: k.w.H, KernelW: k.w.W, Stride: k.stride, Padding: k.padding, Multiply: g.multiply}}
	s, err := backend.NewConvTranspose(c.ConvTransposeSpec)
	if err == nil && s.Weights() != k.w {
		err = fmt.Errorf("the weights are %v, want %v", k.w, s.Weights())
	}
	if err != nil {
		return nil, err
	}
	return g.fitAll(layerNames, c.forward(), c.backInput(), c.backWeights())
}

func (g golden) dense() ([]Case, error) {
	x, err := g.shapeOf("x", 2)
	if err != nil {
		return nil, err
	}
	w, err := g.shapeOf("w", 2)
	if err != nil {
		return nil, err
	}
	b, _, err := g.tensor("b")
	if err != nil {
		return nil, err
	}
	if w.C != x.C {
		return nil, fmt.Errorf("the weights have %d inputs, the input %d", w.C, x.C)
	}
	c := denseCase{noBias: b == nil, DenseSpec: backend.DenseSpec{N: x.N, In: x.C, Out: w.N, Multiply: g.multiply}}
	return g.fitAll(layerNames, c.forward(), c.backInput(), c.backWeights())
}

func (g golden) pool() ([]Case, error) {
	x, err := g.shapeOf("x", 4)
	if err != nil {
		return nil, err
	}
	size, err := g.Pool.square("pool", 0)
	if err != nil {
		return nil, err
	}
	stride, err := g.Stride.square("stride", size)
	if err != nil {
		return nil, err
	}
	p, err := g.padding()
	if err != nil {
		return nil, err
	}
	spec := backend.PoolSpec{X: x, Size: size, Stride: stride, Padding: p}
	s, err := backend.NewPool(spec)
	if err != nil {
		return nil, err
	}
	// The files have no arg-max: the forward pass makes it for the backward pass.
	forward, back := poolForward(spec, "", nil), poolBack(spec)
	both := back
	both.args = slices.Clone(forward.args)
	for _, a := range back.args {
		if a.name != "argmax" {
			both.args = append(both.args, a)
		}
	}
	both.run = func(b backend.Backend, t tensors) {
		forward.run(b, t)
		back.run(b, t)
	}
	both.reference = func(d data) values {
		r := forward.reference(d)
		v, mag := refMaxPoolBack(s, d["gradOut"], r["argmax"].v)
		r["gradX"] = value{v: v, mag: mag}
		return r
	}
	return g.fitAll(layerNames, forward, both)
}

func (g golden) upsample() ([]Case, error) {
	x, err := g.shapeOf("x", 4)
	if err != nil {
		return nil, err
	}
	if g.Op == "upsample" {
		g.Scale = g.Size
	}
	factor, err := g.Scale.square("scale", 0)
	if err != nil {
		return nil, err
	}
	if _, err := backend.NewUpsample(x, factor); err != nil {
		return nil, err
	}
	switch g.Mode {
	case "", "nearest":
	case "bilinear":
		return g.fitAll(layerNames, bilinearForward(x, factor), bilinearBack(x, factor))
	default:
		return nil, fmt.Errorf("the mode is %q, want nearest or bilinear", g.Mode)
	}
	return g.fitAll(layerNames, upsampleForward(x, factor), upsampleBack(x, factor))
}

func (g golden) act() ([]Case, error) {
	name := g.Function
	if g.Op != "activation" {
		name = g.Op
	}
	f, ok := backend.ParseFunction(name)
	if !ok {
		return nil, fmt.Errorf("the function is %q, want one of %v", name, backend.ActNames())
	}
	if f.Act.Parametric() {
		if f.Alpha = or(g.Alpha, f.Alpha); !(f.Alpha > 0) || math.IsInf(float64(f.Alpha), 0) {
			return nil, fmt.Errorf("alpha is %v, want more than 0", f.Alpha)
		}
	}
	x, err := g.shapeOf("x", 1, 2, 3, 4)
	if err != nil {
		return nil, err
	}
	back := actBack(f, x, "", nil)
	names := maps.Clone(layerNames)
	if names["of"] = "out"; !f.Act.FromOutput() {
		names["of"] = "x"
	}
	return g.fitAll(names, actForward(f, x, "", nil), back)
}

// depth is in the channel order of PyTorch's PixelShuffle.
func (g golden) depth() ([]Case, error) {
	x, err := g.shapeOf("x", 4)
	if err != nil {
		return nil, err
	}
	size, err := g.Size.square("size", 0)
	if err != nil {
		return nil, err
	}
	if _, err := backend.NewDepth(x, size, backend.ChannelFirst); err != nil {
		return nil, err
	}
	return g.fitAll(layerNames, depthForward(x, size, backend.ChannelFirst), depthBack(x, size, backend.ChannelFirst))
}

func (g golden) average() ([]Case, error) {
	x, err := g.shapeOf("x", 4)
	if err != nil {
		return nil, err
	}
	size, err := g.Size.square("size", 0)
	if err != nil {
		return nil, err
	}
	stride, err := g.Stride.square("stride", size)
	if err != nil {
		return nil, err
	}
	p, err := g.padding()
	if err != nil {
		return nil, err
	}
	spec := backend.PoolSpec{X: x, Size: size, Stride: stride, Padding: p}
	if _, err := backend.NewPool(spec); err != nil {
		return nil, err
	}
	return g.fitAll(layerNames, averageForward(spec), averageBack(spec))
}

func (g golden) globalAverage() ([]Case, error) {
	x, err := g.shapeOf("x", 4)
	if err != nil {
		return nil, err
	}
	back := spreadPixelsCase(x)
	share := 1 / float32(x.H*x.W)
	back.run = func(b backend.Backend, t tensors) { b.SpreadPixels(share, t["out"], t["x"]) }
	back.reference = func(d data) values {
		r := value{v: make([]float64, x.Len())}
		for i := range r.v {
			r.v[i] = float64(share) * d["x"][i/x.Image()*x.C+i%x.C]
		}
		return values{"out": r}
	}
	forward, err := g.fitAll(map[string]string{"a": "x"}, sumPixelsCase(x, true))
	if err != nil {
		return nil, err
	}
	if v, _, err := g.tensor("grad_out"); v == nil {
		return forward, err
	}
	c, err := g.fit(back, "spreadpixels", map[string]string{"x": "grad_out", "out": "grad_x"})
	return append(forward, c), err
}

// multiplication is a product of two, the second one of a pixel for each image perhaps.
func (g golden) multiplication() ([]Case, error) {
	x, err := g.shapeOf("x", 4)
	if err != nil {
		return nil, err
	}
	y, err := g.shapeOf("y", 4)
	if err != nil {
		return nil, err
	}
	if one := (shape{N: x.N, H: 1, W: 1, C: x.C}); y != x && y != one {
		return nil, fmt.Errorf("the second input is %v, want %v or %v", y, x, one)
	}
	cases, err := g.fitAll(pairNames, timesCase(x, y == x))
	if err != nil {
		return nil, err
	}
	if v, _, err := g.tensor("grad_out"); v == nil {
		return cases, err
	}
	gradX, err := g.fit(timesCase(x, y == x), "times-grad-x", map[string]string{"a": "grad_out", "b": "y", "out": "grad_x"})
	if err != nil {
		return nil, err
	}
	back := timesCase(x, true)
	if y != x {
		back = sumPixelsCase(x, false)
	}
	gradY, err := g.fit(back, "grad-y", map[string]string{"a": "grad_out", "b": "x", "out": "grad_y"})
	return append(cases, gradX, gradY), err
}

// add is a sum of two. The gradients of both are copies of that of the sum.
func (g golden) add() ([]Case, error) {
	x, err := g.shapeOf("x", 4)
	if err != nil {
		return nil, err
	}
	copies := Case{
		Ops:  []string{"Copy"},
		args: []arg{activation("gradOut", x, nil), activation("gradX", x, nil).out(exact), activation("gradY", x, nil).out(exact)},
		run: func(b backend.Backend, t tensors) {
			b.Copy(t["gradX"], t["gradOut"])
			b.Copy(t["gradY"], t["gradOut"])
		},
		reference: func(d data) values { return values{"gradX": {v: d["gradOut"]}, "gradY": {v: d["gradOut"]}} },
	}
	return g.fitAll(pairNames, plusCase(x), copies)
}

// batchNorm is a normalisation in training, whose averages move by Keras's rule and by PyTorch's, and in use.
func (g golden) batchNorm() ([]Case, error) {
	x, err := g.shapeOf("x", 2, 4)
	if err != nil {
		return nil, err
	}
	n := norms{BatchNormSpec: backend.BatchNormSpec{X: x, Epsilon: g.Epsilon}, rows: 3}
	if _, err := backend.NewBatchNorm(n.BatchNormSpec); err != nil {
		return nil, err
	}
	names := map[string]string{"mean0": "running_mean", "variance0": "running_var", "mean": "running_mean", "variance": "running_var", "gradOut": "grad_out",
		"gradX": "grad_x", "gradGamma": "grad_gamma", "gradBeta": "grad_beta", "movingMean": "running_mean_after"}
	var cases []Case
	for _, rule := range []string{"keras", "torch"} {
		n.unbiased = rule == "torch"
		names["movingVariance"] = "running_var_after_" + rule
		c, err := g.fit(n.training(or(g.Keep, 0.99)), "training-"+rule, names)
		if err != nil {
			return nil, err
		}
		cases = append(cases, c)
	}
	names["out"] = "out_eval"
	c, err := g.fit(n.forward("", nil), "forward", names)
	return append(cases, c), err
}

// pairNames are the files' names of the tensors of an op with two inputs.
var pairNames = map[string]string{"a": "x", "b": "y", "gradOut": "grad_out", "gradX": "grad_x", "gradY": "grad_y"}

// concatenate joins the channels of two, and parts their gradients.
func (g golden) concatenate() ([]Case, error) {
	x, err := g.shapeOf("x", 4)
	if err != nil {
		return nil, err
	}
	y, err := g.shapeOf("y", 4)
	if err != nil {
		return nil, err
	}
	if y.N != x.N || y.H != x.H || y.W != x.W {
		return nil, fmt.Errorf("the inputs are %v and %v, want the same images, rows and columns", x, y)
	}
	both := x
	both.C += y.C
	parts := func(joined []float64, from, count int) (v []float64) {
		for p := range both.N * both.H * both.W {
			v = append(v, joined[p*both.C+from:][:count]...)
		}
		return v
	}
	join := Case{
		Ops:  []string{"CopyChannels"},
		args: []arg{activation("a", x, nil), activation("b", y, nil), activation("out", both, nil).out(exact)},
		run: func(b backend.Backend, t tensors) {
			b.CopyChannels(t["out"], 0, t["a"], 0, x.C)
			b.CopyChannels(t["out"], x.C, t["b"], 0, y.C)
		},
		reference: func(d data) values {
			var v []float64
			for p := range both.N * both.H * both.W {
				v = append(append(v, d["a"][p*x.C:][:x.C]...), d["b"][p*y.C:][:y.C]...)
			}
			return values{"out": {v: v}}
		},
	}
	part := Case{
		Ops:  []string{"CopyChannels"},
		args: []arg{activation("gradOut", both, nil), activation("gradX", x, nil).out(exact), activation("gradY", y, nil).out(exact)},
		run: func(b backend.Backend, t tensors) {
			b.CopyChannels(t["gradX"], 0, t["gradOut"], 0, x.C)
			b.CopyChannels(t["gradY"], 0, t["gradOut"], x.C, y.C)
		},
		reference: func(d data) values {
			return values{"gradX": {v: parts(d["gradOut"], 0, x.C)}, "gradY": {v: parts(d["gradOut"], x.C, y.C)}}
		},
	}
	return g.fitAll(pairNames, join, part)
}

func (g golden) loss() ([]Case, error) {
	l, pred, grad := bce, "logits", "grad_in"
	switch g.Op {
	case "mse":
		l, pred = mse, "pred"
	case "l1":
		l, pred, grad = l1, "pred", "grad_pred"
	case "huber":
		l, pred, grad = huber(or(g.Delta, 1)), "pred", "grad_pred"
	case "charbonnier":
		l, pred, grad = charbonnier(g.Epsilon), "pred", "grad_pred"
	}
	x, err := g.shapeOf(pred, 1, 2, 3, 4)
	if err != nil {
		return nil, err
	}
	scale := 1 / float32(x.Len())
	if r := strings.ToLower(g.Reduction); strings.HasPrefix(r, "sum") {
		scale = 1
	} else if r != "" && !strings.HasPrefix(r, "mean") {
		return nil, fmt.Errorf("the reduction is %q, want mean or sum", g.Reduction)
	}
	c := l.on(x, "", nil, nil, true).scaled(l, scale)
	c, err = g.fit(c, "loss", map[string]string{"pred": pred, "grad": grad})
	return []Case{c}, err
}

func or(v *float32, ifNone float32) float32 {
	if v == nil {
		return ifNone
	}
	return *v
}

func (g golden) optimiser() ([]Case, error) {
	kind := g.Optimizer
	if kind == "" {
		kind = strings.TrimRight(strings.TrimRight(g.Name, "0123456789"), "_")
	}
	betas := g.Betas
	if betas == [2]float32{} {
		betas = [2]float32{0.9, 0.999}
	}
	var o optimiser
	lr := float32(1e-3)
	switch kind {
	case "sgd":
		lr, o = 0.1, sgd(kind, backend.SGD{Momentum: or(g.Momentum, 0), Nesterov: g.Nesterov})
	case "sgd_momentum":
		lr, o = 0.1, sgd(kind, backend.SGD{Momentum: or(g.Momentum, 0.9), Nesterov: g.Nesterov})
	case "sgd_nesterov":
		lr, o = 0.1, sgd(kind, backend.SGD{Momentum: or(g.Momentum, 0.9), Nesterov: true})
	case "adam":
		o = adam(kind, backend.Adam{Beta1: betas[0], Beta2: betas[1], Eps: or(g.Eps, 1e-7)})
	case "adamw":
		o = adam(kind, backend.Adam{Beta1: betas[0], Beta2: betas[1], Eps: or(g.Eps, 1e-7), WeightDecay: or(g.WeightDecay, 0.01)})
	case "adadelta":
		lr, o = 1, adadelta(kind, backend.Adadelta{Rho: or(g.Rho, 0.95), Eps: or(g.Eps, 1e-7)})
	default:
		return nil, fmt.Errorf("unknown optimizer %q", kind)
	}
	lr = or(g.LR, lr)

	x, err := g.shapeOf("param0", 1)
	if err != nil {
		return nil, err
	}
	grads, d, err := g.tensor("grads")
	if err != nil {
		return nil, err
	}
	if g.Steps < 1 || len(d) != 2 || d[0] != g.Steps || d[1] != x.C {
		return nil, fmt.Errorf("tensor %s/grads has the shape %v, want %d steps of %d", g.Name, d, g.Steps, x.C)
	}
	final, _, err := g.tensor(fmt.Sprintf("param%d", g.Steps))
	if err != nil {
		return nil, err
	}
	if len(final) != x.C {
		return nil, fmt.Errorf("tensor %s/param%d has %d elements, want %d", g.Name, g.Steps, len(final), x.C)
	}
	param0, _, err := g.tensor("param0")
	if err != nil {
		return nil, err
	}

	c := o.on(x.C, 0, g.Steps, func(int) float32 { return lr }, 1, true)
	c.Name = "golden/" + g.Name
	inputs := map[string][]float32{"param": param0}
	for i := range g.Steps {
		inputs[fmt.Sprintf("grad%d", i+1)] = grads[i*x.C : (i+1)*x.C]
	}
	c = c.with(inputs)
	for i := range c.args {
		if c.args[i].name == "param" {
			c.args[i].bound = goldenBound
		}
	}
	c.golden = map[string][]float32{"param": final}
	return []Case{c}, nil
}
