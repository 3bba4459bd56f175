// Package backendtest is the one table of op cases that every backend runs. A case has the tensors of a few calls, the
// calls, and a reference in float64. The same table tests a backend against the references, measures its speed, and
// is what the check command runs on a user's device; so it needs nothing of package testing and returns its results as
// values.
//
// A result may differ from its reference by Rel times the sum of the magnitudes of the terms that it is made of, with
// Rel growing with the square root of the number of terms (see sumBound), plus Abs where an exponential is involved
// (actBound). What only copies, compares or draws random numbers must be exact.
package backendtest

import (
	"hash/fnv"
	"math"
	"slices"

	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/rng"
)

// Seed is the seed of all inputs; each tensor of a case is a row of the stream rng.StreamTest, found by its name.
const Seed = 20260731

// Case is one entry of the table.
type Case struct {
	Name  string   // family/what, unique
	Ops   []string // the methods of backend.Backend, or of backend.Resident, that it covers
	MACs  int      // multiply-adds of one run, 0 where they do not say much
	Bench bool     // a realistic size, worth measuring

	// mistake: the call is one that a backend may refuse with a panic; one that cannot know has to give the results.
	mistake bool

	args         []arg
	workspace    func(backend.Backend) int // nil: none
	setup        func(backend.Backend, tensors)
	run          func(backend.Backend, tensors)
	reference    func(data) values
	golden       map[string][]float32     // results known from elsewhere, in place of the reference's
	goldenRounds func(result string) bool // whether such a result is compared with one of rounded factors
	equal        [][2]string              // pairs of outputs that must be equal to each other, within the bound of the first
}

// Cases returns the table.
func Cases() []Case {
	return slices.Concat(memoryCases(), vectorCases(), convCases(), fusedCases(), convTransposeCases(), denseCases(), precisionCases(), unusualCases(), partialCases(), residentCases(),
		groupedCases(), poolCases(), upsampleCases(), depthCases(), mergeCases(), channelwiseCases(), unitNormCases(), actCases(), groupNormCases(), batchNormCases(), attentionCases(), lossCases(), variationCases(), fourierCases(), optimCases(), randomCases(), corruptCases(), clipCases(), penaltyCases(), gaussianCases(), contractCases(), concreteCases(), quantizeCases(), ssimCases())
}

type (
	shape = backend.Shape
	// tensors are a case's tensors by name; one that is not there is the zero Tensor.
	tensors map[string]backend.Tensor
	// data are the values of the tensors before the run.
	data map[string][]float64
	// values are what the outputs should be after it.
	values map[string]value
)

// value is what an output should be.
type value struct {
	v   []float64
	mag []float64 // what the bound's Rel is taken of; nil: v
	// near reports whether another value is as good: the position of a maximum that is one only by rounding.
	near func(at int, got float32) bool
}

// use tells what a run does with a tensor.
type use uint8

const (
	in      use = iota // read only: it must not change
	out                // overwritten: it starts as garbage, border and all
	inout              // updated: it starts with values
	scratch            // written, but of no interest
)

// arg is a tensor of a case.
type arg struct {
	name       string
	role       backend.Role
	shape      shape
	use        use
	fill       fill
	stepParams backend.StepParams        // of a PerStep
	packed     func(backend.Backend) int // bytes of a Packed
	partials   func(backend.Backend) int // number of partial sums, of which shape is one; without any there is no tensor
	images     int                       // images allocated, when more than shape.N: the tensor is a view of the first
	narrow     bool                      // an activation of bfloat16: its values are rounded, and its bound is that of the result before it is
	shift      int                       // elements by which a Flat tensor starts late in its memory
	bound      backend.Bound
}

func activation(name string, s shape, f fill) arg {
	return arg{name: name, role: backend.Activation, shape: s, fill: f}
}

func param(name string, s shape, f fill) arg {
	return arg{name: name, role: backend.Param, shape: s, fill: f}
}

func flat(name string, n int, f fill) arg {
	return arg{name: name, role: backend.Flat, shape: backend.Vec(n), fill: f}
}

func pixelsArg(name string, s shape, f fill) arg {
	return arg{name: name, role: backend.Pixels, shape: s, fill: f}
}

func argmaxArg(name string, s shape, f fill) arg {
	return arg{name: name, role: backend.Argmax, shape: s, fill: f}
}

func stepParamsArg(c backend.StepParams) arg {
	return arg{name: "stepParams", role: backend.PerStep, shape: backend.Vec(1), stepParams: c}
}

// out, inout and scratch return the tensor in another use.
func (a arg) out(b backend.Bound) arg   { a.use, a.bound = out, b; return a }
func (a arg) inout(b backend.Bound) arg { a.use, a.bound = inout, b; return a }
func (a arg) scratch() arg              { a.use = scratch; return a }

// dtype is the type of the tensor's elements.
func (a arg) dtype() backend.DType {
	if a.narrow {
		return backend.BFloat16
	}
	return a.role.DType()
}

// manyTurns has more elements than a GPU's reductions take at once, which is four for each of 1024 blocks of 256 threads:
// some threads have a second turn. Its rest is no multiple of a vector's or a warp's.
var manyTurns = backend.Vec(1<<20 + 1029)

// exact is the bound of ops that do not round, or round in a prescribed way.
var exact = backend.Bound{}

// eps is the distance of float32 from 1 to the next number.
const eps = 1.0 / (1 << 23)

// sumBound is the bound of a sum of k products, of the sum of their magnitudes: rounding errors of k additions in any
// order grow as a random walk, and a few roundings come on top (the products, a factor, a bias).
func sumBound(k int) backend.Bound {
	return backend.Bound{Rel: eps * (4 + math.Sqrt(float64(k)))}
}

// productBound is the bound of a sum of k products of factors that are rounded to d. In tf32 and bf16 no product rounds, but a tensor core cuts
// off what its sums have beyond a float32, and so errs to the same side every time: by up to eps of the sum of the magnitudes for each
// term, where rounding errors grow as a random walk.
func productBound(d backend.DType, k int) backend.Bound {
	if d == backend.Float32 {
		return sumBound(k)
	}
	return backend.Bound{Rel: eps * (4 + float64(k))}
}

// suffix is that of the name of a case whose factors are rounded to d.
func suffix(d backend.DType) string {
	if d == backend.Float32 {
		return ""
	}
	return "-" + d.String()
}

// rounded returns the factors v as they are multiplied.
func rounded(d backend.DType, v []float64) []float64 {
	if d == backend.Float32 {
		return v
	}
	r := make([]float64, len(v))
	for i, x := range v {
		r[i] = float64(d.Round(float32(x)))
	}
	return r
}

// with returns the case with other values of its inputs. It panics when one has another length.
func (c Case) with(v map[string][]float32) Case {
	c.args = slices.Clone(c.args)
	for i, a := range c.args {
		if x, ok := v[a.name]; ok {
			if len(x) != a.shape.Len() {
				panic("backendtest: values of another length than " + a.name)
			}
			c.args[i].fill = given(x...)
		}
	}
	return c
}

// inputs returns the values of the tensors before the run.
func (c Case) inputs() map[string][]float32 {
	m := make(map[string][]float32)
	for _, a := range c.args {
		if a.fill == nil {
			continue
		}
		h := fnv.New32a()
		h.Write([]byte(c.Name + "/" + a.name))
		v := make([]float32, a.shape.Len())
		a.fill(draw{rng.Source{Seed: Seed, Stream: rng.StreamTest}, h.Sum32()}, v)
		for i, x := range v {
			v[i] = a.dtype().Round(x)
		}
		m[a.name] = v
	}
	return m
}

// expect returns what the case should give for its inputs.
func (c Case) expect(inputs map[string][]float32) values {
	d := make(data)
	for name, v := range inputs {
		d[name] = floats(v)
	}
	r := c.reference(d)
	for name, v := range c.golden {
		if c.goldenRounds != nil && c.goldenRounds(name) {
			r[name] = value{v: floats(v), mag: r[name].magnitude()}
		} else {
			r[name] = goldenValue(v, r[name].magnitude())
		}
	}
	return r
}

func floats(v []float32) []float64 {
	w := make([]float64, len(v))
	for i, x := range v {
		w[i] = float64(x)
	}
	return w
}

// fill makes the values of a tensor.
type fill func(d draw, v []float32)

// draw is where a tensor's random numbers come from.
type draw struct {
	src rng.Source
	row uint32
}

func (d draw) normals(v []float32) {
	for i := 0; i < len(v); i += 4 {
		z := d.src.Normals(uint32(i/4), d.row, 0)
		copy(v[i:], z[:])
	}
}

func (d draw) uniforms(v []float32) {
	for i := 0; i < len(v); i += 4 {
		z := d.src.Uniforms(uint32(i/4), d.row, 0)
		copy(v[i:], z[:])
	}
}

// normal draws normal numbers of that standard deviation.
func normal(std float64) fill {
	return func(d draw, v []float32) {
		d.normals(v)
		for i := range v {
			v[i] *= float32(std)
		}
	}
}

// uniform draws from [lo, hi).
func uniform(lo, hi float32) fill {
	return func(d draw, v []float32) {
		d.uniforms(v)
		for i := range v {
			v[i] = lo + v[i]*(hi-lo)
		}
	}
}

// grid draws multiples of step from lo to hi times it: with steps that are powers of two, sums of products are exact in
// any order, and there are many ties.
func grid(lo, hi int, step float32) fill {
	return func(d draw, v []float32) {
		d.uniforms(v)
		for i := range v {
			v[i] = float32(lo+int(v[i]*float32(hi-lo+1))) * step
		}
	}
}

// narrowed returns the case with those of its activations narrow, or with all of them. Every value is rounded once, from what it would be
// if it were kept as it is.
func narrowed(c Case, names ...string) Case {
	c.args = slices.Clone(c.args)
	for i, a := range c.args {
		if a.role == backend.Activation && (len(names) == 0 || slices.Contains(names, a.name)) {
			c.args[i].narrow = true
		}
	}
	c.Name += "-narrow"
	for _, name := range names {
		c.Name += "-" + name
	}
	return c
}

// unrounded returns what is wanted of a narrow tensor for comparison with what was got: as far away as it is from the closest of those
// values that are rounded to what was got. From what is no bfloat16 it is NaN away.
func unrounded(got []float32, want []float64) []float64 {
	w := make([]float64, len(got))
	for i, g := range got {
		switch want := want[i]; {
		case backend.RoundBF16(float32(want)) == g:
			w[i] = float64(g)
		case g == g && backend.RoundBF16(g) != g:
			w[i] = math.NaN()
		case want > float64(g):
			w[i] = max(want+float64(g)-halfway(g, true), float64(g))
		case want < float64(g):
			w[i] = min(want+float64(g)-halfway(g, false), float64(g))
		default:
			w[i] = want
		}
	}
	return w
}

// halfway is the middle between a bfloat16 and the next one, up or down from it.
func halfway(x float32, up bool) float64 {
	bits := backend.BF16(x)
	switch {
	case x == 0:
		bits = 1
		if !up {
			bits |= 1 << 15
		}
	case x > 0 == up:
		bits++
	default:
		bits--
	}
	return (float64(x) + float64(backend.FromBF16(bits))) / 2
}

// outputs draws what may have come out of an activation.
func outputs(a backend.Act) fill {
	switch a {
	case backend.ReLU:
		return func(d draw, v []float32) {
			d.normals(v)
			for i := range v {
				v[i] = max(v[i], 0)
			}
		}
	case backend.Sigmoid:
		return uniform(0, 1)
	case backend.Tanh:
		return uniform(-1, 1)
	}
	return normal(1)
}

// given repeats values.
func given(x ...float32) fill {
	return func(_ draw, v []float32) {
		for i := range v {
			v[i] = x[i%len(x)]
		}
	}
}

// mixed draws by f and puts the special values among them, at every third element.
func mixed(f fill, special ...float32) fill {
	return func(d draw, v []float32) {
		f(d, v)
		for i := 0; i < len(v); i += 3 {
			v[i] = special[i/3%len(special)]
		}
	}
}

// bordered returns the case followed by a convolution that reads all that may be round an image: an op has to overwrite
// the border of its output, and the runner has put NaN there. what is an Activation output.
func bordered(c Case, what string) Case {
	a := c.args[slices.IndexFunc(c.args, func(a arg) bool { return a.name == what })]
	s := must(backend.NewConv(backend.ConvSpec{X: a.shape, Filters: 1, KernelH: backend.MaxKernel, KernelW: backend.MaxKernel}))
	terms := s.KernelH * s.KernelW * s.X.C
	bound := backend.Bound{Abs: a.bound.Abs * float64(terms), Rel: a.bound.Rel + sumBound(terms).Rel}
	first := c
	c.Name += "/border-of-" + what
	c.Ops = append(slices.Clone(c.Ops), "Conv")
	c.Bench = false
	c.args = append(slices.Clone(c.args), param("ones", s.Weights(), given(1)), convPacked("onesPacked", s),
		activation("border", s.Out, nil).out(bound))
	c.workspace = func(b backend.Backend) int {
		n := b.ConvNeeds(s).Workspace
		if first.workspace != nil {
			n = max(n, first.workspace(b))
		}
		return n
	}
	p := func(t tensors) backend.Params { return backend.Params{W: t["ones"], Packed: t["onesPacked"]} }
	c.setup = func(b backend.Backend, t tensors) {
		if first.setup != nil {
			first.setup(b, t)
		}
		convPack(b, s, p(t))
	}
	c.run = func(b backend.Backend, t tensors) {
		first.run(b, t)
		b.Conv(s, t["border"], backend.Tensor{}, t[what], p(t))
	}
	c.reference = func(d data) values {
		r := first.reference(d)
		v, _ := refConv(s, r[what].v, d["ones"], nil)
		_, mag := refConv(s, r[what].magnitude(), d["ones"], nil)
		r["border"] = value{v: v, mag: mag}
		return r
	}
	return c
}

func (v value) magnitude() []float64 {
	if v.mag != nil {
		return v.mag
	}
	return v.v
}

func must[T any](s T, err error) T {
	if err != nil {
		panic(err)
	}
	return s
}
