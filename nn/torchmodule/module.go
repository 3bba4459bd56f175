// Package torchmodule writes a model as a PyTorch module: a file of Python that needs torch alone and computes what convae does, with the exact
// padding, whose state dict has the names and layouts of the files that convae exports.
package torchmodule

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/convae/convae/nn"
	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/graph"
	"github.com/convae/convae/nn/op"
)

// Write returns the Python of a model. names are those of its parameters in the state dict, which has the file name weights.
func Write(m *nn.Model, names []string, weights string) (string, error) {
	g, err := graph.Build(m.Input, graph.Part{Name: "encoder", Layers: m.Config.Encoder}, graph.Part{Name: "decoder", Layers: m.Config.Decoder}, graph.Options{Samples: 1})
	if err != nil {
		return "", fmt.Errorf("pytorch: %w", err)
	}
	w := &writer{m: m, g: g, names: names, root: &node{}, values: map[op.Value]value{}, parts: map[op.Value][]value{}}
	w.values[g.Input] = value{"x", len(m.Config.Input) == 3, g.Shape(g.Input), backend.Shape{}}
	code := len(m.CodeDims()) == 3
	var encode, decode []string
	cut := func() {
		if _, made := w.values[g.Code]; encode == nil && made {
			encode = append(w.lines, "return "+w.own(w.ranked(w.values[g.Code], code)))
			w.lines = nil
			if m.Separable() {
				w.values[g.Code] = value{"x", code, g.Shape(g.Code), backend.Shape{}}
			}
		}
	}
	cut()
	for _, c := range g.Calls {
		if err := w.op(c.Op); err != nil {
			return "", fmt.Errorf("pytorch: %s: %w", c.Layer, err)
		}
		cut()
	}
	decode = append(w.lines, "return "+w.own(w.values[g.Output]))
	if err := w.root.check(true); err != nil {
		return "", err
	}
	return w.text(encode, decode, weights), nil
}

var identifier = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// taken are names that a module has already, or that Python has.
var taken = strings.Fields("add_module apply bfloat16 buffers call_super_init children compile cpu cuda decode double dump_patches encode eval extra_repr float forward " +
	"get_buffer get_extra_state get_parameter get_submodule half ipu load_state_dict modules mtia named_buffers named_children named_modules named_parameters parameters " +
	"register_buffer requires_grad_ set_extra_state set_submodule share_memory state_dict to to_empty train training type xpu zero_grad " +
	"weight bias running_mean running_var " + keywords)

const keywords = "and as assert async await break class continue def del elif else except finally for from global if import in is lambda nonlocal not or pass raise return try while with yield None True False"

var notIdentifier = regexp.MustCompile(`[^A-Za-z0-9_]`)

// CheckName wants a file's name without its ending .py to be one that Python imports: a word of ASCII letters, digits and _ that is none of Python's own, and
// not torch, which the module imports itself. The error has one that could be.
func CheckName(name string) error {
	own := name == "torch" || slices.Contains(strings.Fields(keywords), name)
	if identifier.MatchString(name) && !own {
		return nil
	}
	other := notIdentifier.ReplaceAllString(name, "_")
	if own || !identifier.MatchString(other) {
		other = "model_" + other
	}
	return fmt.Errorf("a module called %q cannot be imported in Python: want a name of letters, digits and _ that is no word of Python's own, such as %s.py", name, other)
}

// node is a module, or a container of such.
type node struct {
	name     string
	make     string // the module
	children []*node
}

func (n *node) child(name string) *node {
	for _, c := range n.children {
		if c.name == name {
			return c
		}
	}
	c := &node{name: name}
	n.children = append(n.children, c)
	return c
}

// check reports a module that cannot be called so.
func (n *node) check(root bool) error {
	for _, c := range n.children {
		if slices.Contains(taken, c.name) || root && !identifier.MatchString(c.name) {
			return fmt.Errorf("pytorch: a module cannot be called %q: give the layer another name", c.name)
		}
		if err := c.check(false); err != nil {
			return err
		}
	}
	return nil
}

// python is the expression that makes the module.
func (n *node) python(indent string) string {
	if len(n.children) == 0 {
		return n.make
	}
	var parts []string
	for _, c := range n.children {
		parts = append(parts, fmt.Sprintf("%s    %q: %s,\n", indent, c.name, c.python(indent+"    ")))
	}
	module := ""
	if n.make != "" {
		module = ", " + n.make
	}
	return "container({\n" + strings.Join(parts, "") + indent + "}" + module + ")"
}

// value is a tensor: an expression, an image of (samples, channels, rows, columns) or a vector. A vector that was an image has its channels first,
// as files have its weights; the zero image means convae's own order.
type value struct {
	name  string
	image bool
	shape backend.Shape
	of    backend.Shape
}

type writer struct {
	m      *nn.Model
	g      *graph.Graph
	names  []string
	root   *node
	lines  []string
	values map[op.Value]value
	parts  map[op.Value][]value
	count  int
}

// line adds an assignment, and returns the variable.
func (w *writer) line(format string, args ...any) string {
	w.count++
	name := fmt.Sprintf("x%d", w.count)
	w.lines = append(w.lines, name+" = "+fmt.Sprintf(format, args...))
	return name
}

func (w *writer) set(v op.Value, image bool, of backend.Shape, format string, args ...any) {
	w.values[v] = value{w.line(format, args...), image, w.g.Shape(v), of}
}

// ranked returns a value of one pixel as an image or as a vector.
func (w *writer) ranked(v value, image bool) value {
	if v.image == image || v.shape.H*v.shape.W != 1 {
		return v
	}
	if v.image = image; image {
		v.name += "[:, :, None, None]"
	} else {
		v.name += ".flatten(1)"
	}
	return v
}

func (w *writer) image(v op.Value) string { return w.ranked(w.values[v], true).name }

// ordered returns a vector in the order of an image with its channels first; the zero image is convae's order.
func (w *writer) ordered(v value, image backend.Shape) string {
	v = w.ranked(v, false)
	name := v.name
	if v.of == image || v.image || order(v.of) == order(image) {
		return name
	}
	if order(v.of) != (backend.Shape{}) {
		name += fmt.Sprintf(".unflatten(1, (%d, %d, %d)).permute(0, 2, 3, 1).flatten(1)", v.of.C, v.of.H, v.of.W)
	}
	if order(image) != (backend.Shape{}) {
		name += fmt.Sprintf(".unflatten(1, (%d, %d, %d)).permute(0, 3, 1, 2).flatten(1)", image.H, image.W, image.C)
	}
	return name
}

// order is the image whose channels-first order differs from convae's; zero if both are one.
func order(s backend.Shape) backend.Shape {
	if s.C == 1 || s.H*s.W == 1 {
		return backend.Shape{}
	}
	return s
}

// own returns a value in convae's order.
func (w *writer) own(v value) string {
	if v.image {
		return v.name
	}
	return w.ordered(v, backend.Shape{})
}

// param returns a parameter, and the module that it belongs to and what that calls it.
func (w *writer) param(v op.Value) (p *nn.Param, module, tensor string) {
	i := w.g.Values[v].Index
	at := strings.LastIndexByte(w.names[i], '.')
	return &w.m.Params[i], w.names[i][:at], w.names[i][at+1:]
}

// module adds a module in its place, and returns the expression for it.
func (w *writer) module(path, make string) string {
	n := w.root
	expression := "self"
	for i, part := range strings.Split(path, ".") {
		n = n.child(part)
		if i == 0 || identifier.MatchString(part) && !slices.Contains(taken, part) {
			expression += "." + part
		} else {
			expression += "._modules[" + strconv.Quote(part) + "]"
		}
	}
	n.make = make
	return expression
}

// pads is the padding that F.pad takes, or "" for none.
func pads(left, right, top, bottom int) string {
	if left|right|top|bottom == 0 {
		return ""
	}
	return fmt.Sprintf("(%d, %d, %d, %d)", left, right, top, bottom)
}

// after is the padding behind so many rows or columns, of which before is in front.
func after(in, out, kernel, stride, dilation, before int) int {
	return max((out-1)*stride+(kernel-1)*dilation+1-in-before, 0)
}

func pythonBool(b bool) string {
	if b {
		return "True"
	}
	return "False"
}

func number(v float32) string { return strconv.FormatFloat(float64(v), 'g', -1, 32) }

// text puts the file together.
func (w *writer) text(encode, decode []string, weights string) string {
	var b strings.Builder
	c := w.m.Config
	fmt.Fprintf(&b, `"""The model %s as a PyTorch module, with the padding that it was trained with. Written by convae export.

    model = Model().eval()
    model.load_state_dict(torch.load(%q, weights_only=True))
    output = model(x)  # x: %s
"""
import torch
from torch import nn
from torch.nn import functional as F


def container(modules, m=None):
    """A module that holds others by name."""
    m = nn.Module() if m is None else m
    for name, module in modules.items():
        m.add_module(name, module)
    return m


class Table(nn.Module):
    """Numbers that no optimiser changes, or weights of a shape of their own."""

    def __init__(self, buffers=(), parameters=()):
        super().__init__()
        for name, shape in dict(buffers).items():
            self.register_buffer(name, torch.zeros(shape))
        for name, shape in dict(parameters).items():
            self.register_parameter(name, nn.Parameter(torch.zeros(shape)))


class Model(nn.Module):
    def __init__(self):
        super().__init__()
`, strings.ReplaceAll(c.Name, `"`, `'`), weights, inputText(c.Input))
	for _, n := range w.root.children {
		fmt.Fprintf(&b, "        self.%s = %s\n", n.name, n.python("        "))
	}
	body := func(lines []string) {
		for _, l := range lines {
			fmt.Fprintf(&b, "        %s\n", l)
		}
	}
	if w.m.Separable() {
		fmt.Fprintf(&b, "\n    def encode(self, x):\n")
		body(encode)
		fmt.Fprintf(&b, "\n    def decode(self, x):\n")
		body(decode)
		fmt.Fprintf(&b, "\n    def forward(self, x):\n        return self.decode(self.encode(x))\n")
		return b.String()
	}
	fmt.Fprintf(&b, "\n    def encode(self, x):\n")
	body(encode)
	fmt.Fprintf(&b, "\n    def forward(self, x):\n")
	body(encode[:len(encode)-1])
	body(decode)
	return b.String()
}

func inputText(dims []int) string {
	if len(dims) == 3 {
		return fmt.Sprintf("(samples, %d, %d, %d)", dims[2], dims[0], dims[1])
	}
	return fmt.Sprintf("(samples, %d)", dims[0])
}
