package backendtest

import (
	"errors"
	"fmt"
	"math"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/convae/convae/nn/backend"
)

// Result tells how a case went on a backend.
type Result struct {
	Name   string
	Ops    []string
	Worst  float64 // the worst error of all outputs as a share of its bound
	Output string  // the output where that was, the index in it, and the two values
	At     int
	Got    float64
	Want   float64
	Err    error // a failure of another kind: a panic, memory overwritten, an error of the device
}

// OK reports whether the case passed.
func (r Result) OK() bool { return r.Err == nil && r.Worst <= 1 }

func (r Result) String() string {
	s := fmt.Sprintf("%s: ", r.Name)
	switch {
	case r.Err != nil:
		return s + r.Err.Error()
	case r.Worst == 0:
		return s + "exact"
	}
	return s + fmt.Sprintf("%.3g of the bound at %s[%d]: got %.9g, want %.9g", r.Worst, r.Output, r.At, r.Got, r.Want)
}

// Run runs a case on a backend and compares. A panic becomes the result's Err.
func Run(b backend.Backend, c Case) Result {
	r, _ := run(b, c)
	return r
}

// Compare runs a case on a backend, as Run does, and on another from the same inputs. It returns what Run returns, and a
// Result for every output that differs between the two by more than a bound of |value|, or for what went wrong on the other.
func Compare(b, other backend.Backend, c Case, bound backend.Bound) (r Result, differences []Result) {
	r, got := run(b, c)
	o, want := run(other, c)
	if o.Err != nil {
		return r, []Result{o}
	}
	if got == nil || want == nil {
		return r, nil
	}
	for _, a := range c.args {
		g, w := got.outputs[a.name], floats(want.outputs[a.name])
		if near := want.expected[a.name].near; near != nil {
			for i, x := range g {
				if float64(x) != w[i] && near(i, x) && near(i, float32(w[i])) {
					w[i] = float64(x)
				}
			}
		}
		if share, at := bound.Worst(g, w); share > 1 {
			differences = append(differences, Result{Name: c.Name, Ops: c.Ops, Worst: share, Output: a.name, At: at, Got: float64(g[at]), Want: w[at]})
		}
	}
	return r, differences
}

// run runs a case. The case in its memory, which has been given back, is nil if it went wrong or was refused.
func run(b backend.Backend, c Case) (r Result, done *placed) {
	r = Result{Name: c.Name, Ops: c.Ops}
	defer func() {
		if p := recover(); p != nil {
			if _, refused := p.(string); refused && c.mistake {
				return
			}
			r.Err = fmt.Errorf("panic: %v", p)
			if _, ok := p.(runtime.Error); ok {
				r.Err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
			}
		}
	}()
	p, err := prepare(b, c)
	if err != nil {
		r.Err = err
		return r, nil
	}
	defer p.free()
	p.expected = c.expect(p.inputs)
	if r.Err = p.runAndCompare(c, &r); r.Err != nil {
		return r, nil
	}
	return r, p
}

// runAndCompare calls the ops and looks at all that they have left.
func (p *placed) runAndCompare(c Case, r *Result) error {
	before, err := p.raw()
	if err != nil {
		return err
	}
	c.run(p.b, p.tensors)
	if err := p.b.Sync(); err != nil {
		return fmt.Errorf("on Sync: %w", err)
	}
	after, err := p.raw()
	if err != nil {
		return err
	}
	if err := p.checkMemory(before, after); err != nil {
		return err
	}
	return p.compare(r)
}

// Prepare places a case's tensors in the memory of a backend. run calls the ops once, without waiting for them; free
// gives the memory back. For measuring speed.
func Prepare(b backend.Backend, c Case) (run, free func(), err error) {
	p, err := prepare(b, c)
	if err != nil {
		return nil, nil, err
	}
	return func() { c.run(b, p.tensors) }, p.free, nil
}

// Memory runs a case on a backend, without comparing, and returns the words of all tensors and of what lies between them: on backends that
// lay tensors out alike it is the same if they compute the same bits. It is nil for a call that the backend refuses.
func Memory(b backend.Backend, c Case) (words []float32, err error) {
	p, err := prepare(b, c)
	if err != nil {
		return nil, err
	}
	defer p.free()
	defer func() {
		if _, refused := recover().(string); refused && c.mistake {
			words, err = nil, nil
		}
	}()
	c.run(b, p.tensors)
	if err := b.Sync(); err != nil {
		return nil, err
	}
	return p.raw()
}

// guardBytes lie between tensors, and guardBits are the words round inputs and in outputs: a quiet NaN, so that what reads
// them shows too. Round tensors that are written the guard is a number: what is added to a NaN leaves no trace.
const (
	guardBytes  = 1024
	guardBits   = 0x7fc0beef
	guardNumber = float32(1234.5678)
)

// Watched is a Backend whose device notices every access outside of a buffer, as the simulator does.
type Watched interface{ WatchesMemory() bool }

// region is the memory of a tensor in words of all buffers, one after the other.
type region struct {
	arg    arg
	lo, hi int
}

// placed is a case in the memory of a backend: all tensors in one buffer, with guards before, between and behind. On a
// Watched backend each tensor has a buffer of its own that ends with it, so that the device reports what only reads
// behind the end, even where that does not show in the results.
type placed struct {
	b         backend.Backend
	inputs    map[string][]float32
	expected  values
	outputs   map[string][]float32 // after a run
	args      []arg
	equal     [][2]string
	tensors   tensors
	regions   []region
	buffers   []backend.Tensor // as Flat tensors
	workspace backend.Buffer
}

func prepare(b backend.Backend, c Case) (*placed, error) {
	p, err := newPlaced(b, c)
	if err != nil {
		return nil, err
	}
	ready := false
	defer func() {
		if !ready {
			p.free()
		}
	}()
	p.inputs = c.inputs()
	p.upload()
	if c.setup != nil {
		c.setup(b, p.tensors)
	}
	// Products are run as a model runs them, in code for their shape, as long as the device makes more of it.
	if q, ok := b.(backend.Preparer); ok && c.MACs > 0 {
		q.Prepare(func() { c.run(b, p.tensors) })
	}
	ready = true
	return p, nil
}

// newPlaced allocates the tensors of a case, and gives the backend a workspace.
func newPlaced(b backend.Backend, c Case) (*placed, error) {
	p := &placed{b: b, args: c.args, equal: c.equal, tensors: make(tensors)}
	err := p.place()
	if err == nil {
		err = p.allocWorkspace(c)
	}
	if err != nil {
		p.free()
		return nil, err
	}
	return p, nil
}

// Record calls the ops of a case once, on tensors without values: for a backend that computes nothing, but records what it is told.
func Record(b backend.Backend, c Case) error {
	p, err := newPlaced(b, c)
	if err != nil {
		return err
	}
	defer p.free()
	if c.setup != nil {
		c.setup(b, p.tensors)
	}
	c.run(b, p.tensors)
	return b.Sync()
}

// place allocates the tensors.
func (p *placed) place() error {
	w, ok := p.b.(Watched)
	apart := ok && w.WatchesMemory()
	before, size := 0, guardBytes // words of the buffers so far, bytes of the present one
	var names []string            // of the tensors in the present buffer
	alloc := func() error {
		buffer, err := p.b.Alloc(size)
		if err != nil {
			return fmt.Errorf("on Alloc(%d): %w", size, err)
		}
		p.buffers = append(p.buffers, backend.Tensor{Shape: backend.Vec(size / 4), Role: backend.Flat, Buffer: buffer})
		for _, name := range names {
			t := p.tensors[name]
			t.Buffer = buffer
			p.tensors[name] = t
		}
		before, size, names = before+size/4, guardBytes, nil
		return nil
	}
	for _, a := range p.args {
		s := a.shape
		if a.role == backend.Packed {
			s = backend.Vec(a.packed(p.b))
			if s.C == 0 {
				continue
			}
		}
		if a.partials != nil {
			if s.N = a.partials(p.b); s.N == 0 {
				continue
			}
		}
		t := backend.Tensor{Role: a.role, Type: a.dtype(), Shape: s}
		t.Offset = size + t.Type.Size()*a.shift
		end := (t.Offset + p.b.Bytes(t.Role, t.Type, s.WithN(max(s.N, a.images))) + 3) / 4
		p.tensors[a.name], names = t, append(names, a.name)
		p.regions = append(p.regions, region{a, before + t.Offset/4, before + end})
		if !apart {
			size = backend.AlignUp(4*end + guardBytes)
			continue
		}
		size = 4 * end
		if err := alloc(); err != nil {
			return err
		}
	}
	if len(names) > 0 {
		return alloc()
	}
	return nil
}

// allocWorkspace gives the backend exactly what it asked for, full of garbage.
func (p *placed) allocWorkspace(c Case) error {
	n := 0
	if c.workspace != nil {
		n = c.workspace(p.b)
	}
	if n == 0 {
		p.b.SetWorkspace(nil)
		return nil
	}
	w, err := p.b.Alloc(n)
	if err != nil {
		return fmt.Errorf("on Alloc(%d) of the workspace: %w", n, err)
	}
	p.workspace = w
	t := backend.Tensor{Shape: backend.Vec(n / 4), Role: backend.Flat, Buffer: w}
	p.b.Upload(t, slices.Repeat([]float32{math.Float32frombits(guardBits)}, n/4))
	p.b.SetWorkspace(w)
	return nil
}

// upload fills the buffers with the guards and then the tensors.
func (p *placed) upload() {
	n := 0
	for _, t := range p.buffers {
		n += t.Shape.Len()
	}
	words := slices.Repeat([]float32{math.Float32frombits(guardBits)}, n)
	for _, r := range p.regions {
		if r.arg.use != in {
			const half = guardBytes / 8 // the other half of the guard is the neighbour's
			for i := max(r.lo-half, 0); i < min(r.hi+half, n); i++ {
				if i < r.lo || i >= r.hi {
					words[i] = guardNumber
				}
			}
		}
		// The unused channels of a Param stay zero, so they have to be zero.
		if r.arg.role == backend.Param {
			clear(words[r.lo:r.hi])
		}
	}
	for _, t := range p.buffers {
		p.b.Upload(t, words[:t.Shape.Len()])
		words = words[t.Shape.Len():]
	}
	for _, r := range p.regions {
		a, t := r.arg, p.tensors[r.arg.name]
		v := p.inputs[a.name]
		switch {
		case a.role == backend.PerStep:
			p.b.SetStepParams(t, a.stepParams)
		case a.role.DType() == backend.Uint8 && v != nil:
			p.b.UploadBytes(t, convert[byte](v))
		case a.role == backend.Index && v != nil:
			p.b.UploadIndex(t, convert[int32](v))
		case v != nil:
			p.b.Upload(t, v)
		case a.role == backend.Param:
			p.b.Upload(t, slices.Repeat([]float32{math.Float32frombits(guardBits)}, a.shape.Len()))
		}
	}
}

func convert[T byte | int32](v []float32) []T {
	w := make([]T, len(v))
	for i, x := range v {
		w[i] = T(x)
	}
	return w
}

func (p *placed) free() {
	p.b.SetWorkspace(nil)
	if p.workspace != nil {
		p.b.Free(p.workspace)
	}
	for _, t := range p.buffers {
		p.b.Free(t.Buffer)
	}
}

// raw returns the words of the buffers.
func (p *placed) raw() ([]float32, error) {
	var words []float32
	for _, t := range p.buffers {
		v := make([]float32, t.Shape.Len())
		if err := p.b.Download(v, t); err != nil {
			return nil, fmt.Errorf("on Download of a buffer: %w", err)
		}
		words = append(words, v...)
	}
	return words, nil
}

// checkMemory reports a change of the guards and of tensors that are only read.
func (p *placed) checkMemory(before, after []float32) error {
	changed := func(lo, hi int) int {
		for i := lo; i < hi; i++ {
			if math.Float32bits(before[i]) != math.Float32bits(after[i]) {
				return i
			}
		}
		return -1
	}
	end, last := 0, "the start of the buffer"
	for _, r := range append(p.regions, region{arg{name: "the end of the buffer"}, len(after), len(after)}) {
		if i := changed(end, r.lo); i >= 0 {
			return fmt.Errorf("memory between %s and %s is overwritten, %d bytes behind the first and %d before the second",
				last, r.arg.name, 4*(i-end), 4*(r.lo-i))
		}
		if i := changed(r.lo, r.hi); i >= 0 && r.arg.use == in {
			return fmt.Errorf("%s, which is only read, has changed %d bytes from its start", r.arg.name, 4*(i-r.lo))
		}
		end, last = r.hi, r.arg.name
	}
	return nil
}

// compare downloads the outputs and compares them with what is expected.
func (p *placed) compare(r *Result) error {
	p.outputs = make(map[string][]float32)
	bounds := make(map[string]backend.Bound)
	worse := func(share float64, output string, at int, g, w float64) {
		if share > r.Worst {
			r.Worst, r.Output, r.At, r.Got, r.Want = share, output, at, g, w
		}
	}
	for _, a := range p.args {
		if a.use != out && a.use != inout {
			continue
		}
		want, ok := p.expected[a.name]
		if !ok || len(want.v) != a.shape.Len() {
			return fmt.Errorf("the reference has %d values of %s, want %d", len(want.v), a.name, a.shape.Len())
		}
		g, err := p.download(a)
		if err != nil {
			return err
		}
		p.outputs[a.name], bounds[a.name] = g, a.bound
		w := want.v
		if want.near != nil {
			w = slices.Clone(w)
			for i, x := range g {
				if float64(x) != w[i] && want.near(i, x) {
					w[i] = float64(x)
				}
			}
		}
		mag := want.mag
		if mag == nil {
			mag = w
		}
		if a.narrow {
			w = unrounded(g, w)
		}
		share, at := a.bound.WorstOf(g, w, mag)
		worse(share, a.name, at, float64(g[at]), w[at])
		if err := p.checkUnused(a, g); err != nil {
			return err
		}
	}
	for _, e := range p.equal {
		w := floats(p.outputs[e[1]])
		share, at := bounds[e[0]].WorstOf(p.outputs[e[0]], w, p.expected[e[0]].magnitude())
		worse(share, e[0]+" against "+e[1], at, float64(p.outputs[e[0]][at]), w[at])
	}
	return nil
}

func (p *placed) download(a arg) ([]float32, error) {
	t, v := p.tensors[a.name], make([]float32, a.shape.Len())
	var err error
	if a.role.DType() == backend.Uint8 {
		b := make([]byte, len(v))
		err = p.b.DownloadBytes(b, t)
		for i, x := range b {
			v[i] = float32(x)
		}
	} else {
		err = p.b.Download(v, t)
	}
	if err != nil {
		return nil, fmt.Errorf("on Download of %s: %w", a.name, err)
	}
	return v, nil
}

// checkUnused reports unused channels of a Param that are not zero any more: uploading the same values to zeroed memory
// must give the same bytes.
func (p *placed) checkUnused(a arg, v []float32) error {
	if a.role != backend.Param {
		return nil
	}
	before, err := p.raw()
	if err != nil {
		return err
	}
	i := slices.IndexFunc(p.regions, func(r region) bool { return r.arg.name == a.name })
	lo, hi := p.regions[i].lo, p.regions[i].hi
	t := p.tensors[a.name]
	p.b.Upload(backend.Tensor{Shape: backend.Vec(hi - lo), Role: backend.Flat, Buffer: t.Buffer, Offset: t.Offset}, make([]float32, hi-lo))
	p.b.Upload(t, v)
	after, err := p.raw()
	if err != nil {
		return err
	}
	for i := lo; i < hi; i++ {
		if math.Float32bits(before[i]) != math.Float32bits(after[i]) {
			return fmt.Errorf("%s has an unused channel that is not zero, %d bytes from its start", a.name, 4*(i-lo))
		}
	}
	return nil
}

// Select returns the cases whose names contain one of the words; without words, all of them. It is an error when a word
// finds none.
func Select(cases []Case, words ...string) ([]Case, error) {
	if len(words) == 0 {
		return cases, nil
	}
	var picked []Case
	for _, w := range words {
		if !slices.ContainsFunc(cases, func(c Case) bool { return strings.Contains(c.Name, w) }) {
			return nil, errors.New("no case has a name with " + w)
		}
	}
	for _, c := range cases {
		if slices.ContainsFunc(words, func(w string) bool { return strings.Contains(c.Name, w) }) {
			picked = append(picked, c)
		}
	}
	return picked, nil
}
