package backendtest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
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
