package graph

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/op"
)

// Options say what a graph is made for.
type Options struct {
	Samples   int
	Training  bool
	Seed      uint64            // of what layers draw in training
	Precision backend.Precision // in which products are computed
}

// Part is a list of layers with a name: the encoder or the decoder.
type Part struct {
	Name   string
	Layers []Spec
}

// LayerError is an error of a layer: which one it is, and what is wrong with it.
type LayerError struct {
	Part  string
	Index int    // in its part, from 0
	Layer string // its name and its inputs' shapes; "" if that is not known
	Err   error
}

func (e *LayerError) Error() string {
	if e.Layer == "" {
		return fmt.Sprintf("%s layer %d: %v", e.Part, e.Index+1, e.Err)
	}
	return fmt.Sprintf("%s layer %d (%s): %v", e.Part, e.Index+1, e.Layer, e.Err)
}

// Unwrap returns what is wrong.
func (e *LayerError) Unwrap() error { return e.Err }

// InputName is the name of the model's input in the inputs of layers.
const InputName = "input"

// Build makes the graph of an encoder and a decoder for an input whose sample has the shape given. Errors are of type
// *LayerError.
func Build(input backend.Shape, encoder, decoder Part, o Options) (*Graph, error) {
	g := &Graph{Tape: op.NewTape()}
	b := &Builder{g: g, samples: o.Samples, training: o.Training, seed: o.Seed, names: map[string]int{}, origins: map[op.Value]origin{}}
	g.Input = b.New(input)
	n := &naming{Builder: b, values: map[string]op.Value{InputName: g.Input}, used: map[op.Value]bool{}, last: g.Input}
	if err := n.add(encoder, decoder); err != nil {
		return nil, err
	}
	g.Code = n.last
	if err := n.add(decoder, Part{}); err != nil {
		return nil, err
	}
	g.Output = n.last
	if err := n.allUsed(); err != nil {
		return nil, err
	}
	return g, g.setPrecision(o.Precision)
}

// setPrecision sets the precision of all products.
func (g *Graph) setPrecision(p backend.Precision) error {
	for _, c := range g.Calls {
		if m, ok := c.Op.(op.Multiplier); ok {
			if err := m.SetPrecision(p); err != nil {
				return fmt.Errorf("%s: %w", c.Layer, err)
			}
		}
	}
	return nil
}

// naming resolves the names of layers.
type naming struct {
	*Builder
	values map[string]op.Value
	used   map[op.Value]bool
	last   op.Value
	made   []made
}

// made is what a layer has made.
type made struct {
	value op.Value
	err   LayerError
}

// add builds the layers of a part; later parts are looked into only to explain names.
func (n *naming) add(p, later Part) error {
	n.part, n.modules = p.Name, 0
	for i, spec := range p.Layers {
		e := LayerError{Part: p.Name, Index: i}
		if err := n.layer(spec, &e, p.Layers[i:], later.Layers); err != nil {
			e.Err = err
			return &e
		}
	}
	return nil
}

func (n *naming) layer(s Spec, e *LayerError, rest ...[]Spec) error {
	if s.Layer == nil {
		return fmt.Errorf("names no layer: want one of %s (an empty one as `flatten: {}`)", strings.Join(Keys(), ", "))
	}
	in, err := n.inputs(s, rest)
	if err != nil {
		return err
	}
	name := n.unique(s.Layer.Kind())
	if s.Name != "" {
		if err := n.checkName(s.Name); err != nil {
			return err
		}
		name = s.Name
	}
	e.Layer = fmt.Sprintf("%s, input %s", name, n.shapes(in))
	n.g.Layer = name
	if n.rate, err = s.rate(); err != nil {
		return err
	}
	n.g.Layers = append(n.g.Layers, Info{Layer: s.Layer, Name: name, Part: n.part, In: n.Shape(in[0]).WithN(1), Rate: n.rate})
	out, err := s.Layer.Build(n.Builder, in...)
	if err != nil {
		return err
	}
	n.g.Layers[len(n.g.Layers)-1].Out = n.Shape(out).WithN(1)
	if s.Name != "" {
		n.values[s.Name] = out
	}
	n.last = out
	n.made = append(n.made, made{out, *e})
	return nil
}

func (n *naming) inputs(s Spec, rest [][]Spec) ([]op.Value, error) {
	in := []op.Value{n.last}
	if s.Inputs != nil {
		in = in[:0]
	}
	for _, name := range s.Inputs {
		v, ok := n.values[name]
		if ok {
			in = append(in, v)
			continue
		}
		if slices.ContainsFunc(slices.Concat(rest...), func(s Spec) bool { return s.Name == name }) {
			return nil, fmt.Errorf("its input %q is not made before it: a layer takes what earlier layers have made", name)
		}
		return nil, fmt.Errorf("its input %q is the name of no layer: want one of %s", name, strings.Join(n.known(), ", "))
	}
	if len(in) == 0 {
		return nil, fmt.Errorf("inputs is empty: want names of earlier layers, or leave it out for the layer before")
	}
	for _, v := range in {
		n.used[v] = true
	}
	return in, nil
}

func (n *naming) checkName(name string) error {
	if !layerName.MatchString(name) {
		return fmt.Errorf("its name is %q, want letters, digits, -, . and _", name)
	}
	if _, ok := n.values[name]; ok {
		return fmt.Errorf("its name %q is taken: names are given once, and %q is the model's input", name, InputName)
	}
	return nil
}

var layerName = regexp.MustCompile(`^[\w.-]+$`)

func (n *naming) known() []string {
	names := make([]string, 0, len(n.values))
	for name := range n.values {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func (n *naming) shapes(in []op.Value) string {
	list := make([]string, len(in))
	for i, v := range in {
		list[i] = ShapeText(n.Shape(v))
	}
	return strings.Join(list, " and ")
}

// allUsed wants every layer's output to be read, but for the code and the output.
func (n *naming) allUsed() error {
	for _, m := range n.made {
		if !n.used[m.value] && m.value != n.g.Output {
			e := m.err
			e.Err = fmt.Errorf("no layer takes its output: name it in the inputs of a later one, or leave it out")
			return &e
		}
	}
	return nil
}

// snake writes the name of a kind of layer as Keras names layers: MaxPooling2D is max_pooling2d.
func snake(kind string) string {
	s := wordStart.ReplaceAllString(kind, "${1}_$2")
	return strings.ToLower(capital.ReplaceAllString(s, "${1}_$2"))
}

var (
	wordStart = regexp.MustCompile(`(.)([A-Z][a-z]+)`)
	capital   = regexp.MustCompile(`([a-z])([A-Z])`)
)

// ShapeText prints the shape of one sample as a person writes it.
func ShapeText(s backend.Shape) string {
	if s.H == 1 && s.W == 1 {
		return fmt.Sprintf("(%d)", s.C)
	}
	return fmt.Sprintf("(%d, %d, %d)", s.H, s.W, s.C)
}
