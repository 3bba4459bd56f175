package trainer

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"

	"github.com/convae/convae/nn/graph"
)

// Bounds of what blocks may make of a file, which could be much more than anybody means: blocks may use others many times.
const (
	maxBlockNodes = 50_000 // values
	maxBlockDepth = 50     // uses within each other
)

// block is a list of layers with a name and parameters, from model.blocks.
type block struct {
	name     string
	defaults []*ast.MappingValueNode // of the parameters, in their order; null where a use has to say a value
	layers   []ast.Node
}

// blockUse is a place where a configuration uses a block.
type blockUse struct {
	block *block
	at    *token.Position
	from  *blockUse // the use of the block that has it in its layers; nil for one in the model itself
}

// argument is the value of a parameter.
type argument struct {
	node  ast.Node
	size  int         // nodes in it
	scope *blockScope // in which the names in it are looked up
}

// blockScope is where names mean something: the layers of one use of a block, or the model's.
type blockScope struct {
	use       *blockUse // nil for the model
	prefix    string    // of names
	arguments map[string]argument
	names     map[string]string       // of layers, to those that they have in the model
	uses      map[string]int          // that have no name, of each block
	inputs    ast.Node                // that the use names; nil for none
	before    *madeLayer              // the layer before the use
	taken     bool                    // that something takes the inputs
	beside    []*ast.MappingValueNode // of its layers, from handedOn
}

// madeLayer is the last layer that has been written out, which may get a name when a block asks for it.
type madeLayer struct {
	node *ast.MappingNode // nil for what cannot get one
	name string
}

// expander writes out the uses of blocks.
type expander struct {
	blocks map[string]*block
	last   *madeLayer
	nodes  int
	uses   map[ast.Node]*blockUse // of the layers that have come out of one
}

// expandBlocks puts the layers of blocks where a configuration uses them, and takes model.blocks out. The layers keep the places in the file
// that they come from; those that a block has made are in the result, with its use.
func expandBlocks(body ast.Node) (uses map[ast.Node]*blockUse, err error) {
	defer malformed(&err)
	e := &expander{blocks: map[string]*block{}, last: &madeLayer{name: graph.InputName}, uses: map[ast.Node]*blockUse{}}
	if err := e.model(body); err != nil {
		return nil, err.inFile()
	}
	return e.uses, nil
}

func (e *expander) model(body ast.Node) *nodeError {
	model, ok := fieldOf(body, "model").(*ast.MappingNode)
	if !ok {
		return nil
	}
	i := slices.IndexFunc(model.Values, func(f *ast.MappingValueNode) bool { return keyOf(f) == "blocks" })
	if i < 0 {
		return nil
	}
	if err := e.read(model.Values[i].Value); err != nil {
		return err
	}
	model.Values = slices.Delete(model.Values, i, i+1)
	s := &blockScope{names: map[string]string{graph.InputName: graph.InputName}, uses: map[string]int{}}
	var parts []*ast.SequenceNode
	for _, key := range []string{"encoder", "decoder"} {
		if list, ok := fieldOf(model, key).(*ast.SequenceNode); ok {
			parts = append(parts, list)
			if err := s.declare(list.Values); err != nil {
				return err
			}
		}
	}
	for _, list := range parts {
		layers, err := e.list(list.Values, s, "")
		if err != nil {
			return err
		}
		list.Values = layers
	}
	return nil
}

// read reads model.blocks.
func (e *expander) read(n ast.Node) *nodeError {
	fields, ok := mapping(n)
	if !ok {
		return &nodeError{n, fmt.Sprintf("model.blocks is %s, want names of blocks, each with parameters and layers", nodeText(n))}
	}
	for _, f := range fields {
		b := &block{name: keyOf(f)}
		path := "model.blocks." + b.name
		if slices.Contains(graph.Keys(), b.name) || slices.Contains(itemFields, b.name) {
			return &nodeError{f.Key, path + " has the name of a layer or of a field, want another"}
		}
		own, ok := mapping(f.Value)
		if !ok {
			return &nodeError{f.Value, fmt.Sprintf("%s is %s, want fields: parameters, layers", path, nodeText(f.Value))}
		}
		for _, f := range own {
			switch key := keyOf(f); key {
			case "parameters":
				if b.defaults, ok = mapping(f.Value); !ok {
					return &nodeError{f.Value, fmt.Sprintf("%s.parameters is %s, want names, with defaults or without, as {filters, kernel: 3}", path, nodeText(f.Value))}
				}
			case "layers":
				list, ok := f.Value.(*ast.SequenceNode)
				if !ok || len(list.Values) == 0 {
					return &nodeError{f.Value, path + ".layers wants a list of layers"}
				}
				b.layers = list.Values
			default:
				return &nodeError{f.Key, fmt.Sprintf("unknown field %q in %s%s", key, path, Advice(key, []string{"parameters", "layers"}, "; want one of"))}
			}
		}
		if b.layers == nil {
			return &nodeError{f.Key, path + " has no layers"}
		}
		e.blocks[b.name] = b
	}
	return nil
}

// itemFields are the fields that stand beside a layer, or beside the use of a block.
var itemFields = []string{"name", "inputs", "repeat", "trainable", "learning_rate_factor"}

// handedOn are those of a block's use that are each of its layers', unless that has its own.
var handedOn = []string{"trainable", "learning_rate_factor"}

// list writes out a list of layers. output is the name that its last one gets, "" for its own.
func (e *expander) list(items []ast.Node, s *blockScope, output string) (layers []ast.Node, err *nodeError) {
	for i, item := range items {
		fields, ok := mapping(item)
		if !ok {
			e.last = &madeLayer{}
			layers = append(layers, item)
			continue
		}
		name, inputs := "", fieldOf(item, "inputs")
		if n := fieldOf(item, "name"); n != nil {
			name = s.names[nodeValue(n)]
		}
		if i == len(items)-1 && output != "" {
			name = output
		}
		if inputs != nil {
			if inputs, err = e.resolve(inputs, s); err != nil {
				return nil, err
			}
		} else if i == 0 && s.inputs != nil {
			inputs, s.taken = s.inputs, true
		}
		add := e.layer
		if slices.ContainsFunc(fields, func(f *ast.MappingValueNode) bool { return e.blocks[keyOf(f)] != nil }) {
			add = e.repeat
		}
		made, err := add(item, s, name, inputs)
		if err != nil {
			return nil, err
		}
		layers = append(layers, made...)
	}
	return layers, nil
}

// layer writes out a layer that is no block.
func (e *expander) layer(item ast.Node, s *blockScope, name string, inputs ast.Node) ([]ast.Node, *nodeError) {
	fields, _ := mapping(item)
	made := ast.Mapping(item.GetToken(), false)
	for _, f := range fields {
		key := keyOf(f)
		if known := slices.Concat(graph.Keys(), blockNames(e.blocks), []string{"name", "inputs"}, handedOn); !slices.Contains(known, key) && !f.Key.IsMergeKey() {
			return nil, &nodeError{f.Key, fmt.Sprintf("unknown layer or block %q%s", key, Advice(key, known, "; want one of"))}
		}
		if key == "name" || key == "inputs" {
			continue
		}
		value, err := e.substitute(f.Value, s)
		if err != nil {
			return nil, err
		}
		made.Values = append(made.Values, ast.MappingValue(f.Start, f.Key, value))
	}
	for _, f := range s.beside {
		if fieldOf(made, keyOf(f)) == nil {
			made.Values = append(made.Values, f)
		}
	}
	if inputs != nil {
		made.Values = append(made.Values, textField("inputs", inputs))
	}
	e.last = &madeLayer{node: made}
	if name != "" {
		e.last.set(name, item.GetToken().Position)
	}
	if s.use != nil {
		e.uses[made] = s.use
	}
	return []ast.Node{made}, e.count(item, 1)
}

// repeat writes out a block as often as an item says. The name is that of the last one.
func (e *expander) repeat(item ast.Node, s *blockScope, name string, inputs ast.Node) (layers []ast.Node, err *nodeError) {
	times := 1
	if n := fieldOf(item, "repeat"); n != nil {
		if n, err = e.substitute(n, s); err != nil {
			return nil, err
		}
		var parseErr error
		if times, parseErr = strconv.Atoi(nodeValue(n)); parseErr != nil || times < 1 {
			return nil, &nodeError{n, fmt.Sprintf("repeat is %s, want a whole number of 1 or more", nodeText(n))}
		}
	}
	for i := range times {
		last := ""
		if i == times-1 {
			last = name
		}
		made, err := e.use(item, s, last, inputs)
		if err != nil {
			return nil, err
		}
		layers, inputs = append(layers, made...), nil
	}
	return layers, nil
}

// use writes out a block once. name is that of its last layer, "" for its own.
func (e *expander) use(item ast.Node, s *blockScope, name string, inputs ast.Node) ([]ast.Node, *nodeError) {
	fields, _ := mapping(item)
	var b *block
	var call *ast.MappingValueNode
	for _, f := range fields {
		key := keyOf(f)
		if slices.Contains(itemFields, key) {
			continue
		}
		if b != nil || e.blocks[key] == nil {
			return nil, &nodeError{f.Key, fmt.Sprintf("%q stands beside a block: each needs a list item of its own", key)}
		}
		b, call = e.blocks[key], f
	}
	use := &blockUse{block: b, at: call.Key.GetToken().Position, from: s.use}
	depth := 0
	for u := use.from; u != nil; u = u.from {
		if depth++; u.block == b {
			return nil, &nodeError{call.Key, fmt.Sprintf("the block %s uses itself%s", b.name, use.through())}
		}
	}
	if depth >= maxBlockDepth {
		return nil, &nodeError{call.Key, fmt.Sprintf("blocks use each other more than %d deep", maxBlockDepth)}
	}
	var own string
	if n := fieldOf(item, "name"); n != nil && name != "" {
		own = nodeValue(n)
	} else {
		own = s.unique(b.name)
	}
	inner := &blockScope{use: use, prefix: join(s.prefix, own), names: map[string]string{}, uses: map[string]int{}, inputs: inputs, before: e.last}
	for _, f := range fields {
		if slices.Contains(handedOn, keyOf(f)) {
			value, err := e.substitute(f.Value, s)
			if err != nil {
				return nil, err
			}
			inner.beside = append(inner.beside, ast.MappingValue(f.Start, f.Key, value))
		}
	}
	inner.beside = append(inner.beside, s.beside...)
	if err := inner.bind(b, call, s, e); err != nil {
		return nil, err
	}
	if err := inner.declare(b.layers); err != nil {
		return nil, err
	}
	if last := fieldOf(b.layers[len(b.layers)-1], "name"); last != nil && name != "" {
		inner.names[nodeValue(last)] = name
	}
	if err := e.count(call.Key, 1); err != nil {
		return nil, err
	}
	layers, err := e.list(b.layers, inner, name)
	if err == nil && inputs != nil && !inner.taken {
		err = &nodeError{call.Key, fmt.Sprintf("the block %s has inputs here, which its layers do not take: its first layer wants none of its own, or one names %q", b.name, graph.InputName)}
	}
	return layers, err
}

// bind gives the parameters of a block their values, from its use in an outer scope or its defaults.
func (s *blockScope) bind(b *block, call *ast.MappingValueNode, outer *blockScope, e *expander) *nodeError {
	given, ok := mapping(call.Value)
	if _, none := call.Value.(*ast.NullNode); !ok && !none {
		return &nodeError{call.Value, fmt.Sprintf("the block %s is given %s, want its parameters as fields: %s", b.name, nodeText(call.Value), strings.Join(b.parameters(), ", "))}
	}
	for _, f := range given {
		if key := keyOf(f); !slices.Contains(b.parameters(), key) {
			what := ": it has none"
			if len(b.defaults) > 0 {
				what = Advice(key, b.parameters(), "; want one of")
			}
			return &nodeError{f.Key, fmt.Sprintf("unknown parameter %q of the block %s%s", key, b.name, what)}
		}
	}
	s.arguments = map[string]argument{}
	for _, d := range b.defaults {
		key, from := keyOf(d), outer
		value := fieldOf(call.Value, key)
		if value == nil {
			value, from = d.Value, s
		}
		if value.Type() == ast.NullType {
			return &nodeError{call.Key, fmt.Sprintf("the block %s wants the parameter %s, which has no default", b.name, key)}
		}
		a, err := from.argument(value, e)
		if err != nil {
			return err
		}
		s.arguments[key] = a
	}
	return nil
}

// argument returns the value that a parameter is given in the scope. One that is a parameter's itself keeps the scope that it comes from.
func (s *blockScope) argument(n ast.Node, e *expander) (argument, *nodeError) {
	if a, ok, err := s.parameter(n); ok || err != nil {
		return a, err
	}
	before := e.nodes
	value, err := e.substitute(n, s)
	return argument{value, e.nodes - before, s}, err
}

// parameter returns what a node stands for that is `$name` in the layers of a block.
func (s *blockScope) parameter(n ast.Node) (a argument, ok bool, err *nodeError) {
	text, isText := n.(*ast.StringNode)
	if !isText || s.use == nil || !strings.HasPrefix(text.Value, "$") {
		return a, false, nil
	}
	name := text.Value[1:]
	if a, ok = s.arguments[name]; !ok {
		what := ", which has none"
		if names := s.use.block.parameters(); len(names) > 0 {
			what = Advice(name, names, "; want one of")
		}
		err = &nodeError{n, fmt.Sprintf("unknown parameter %q of the block %s%s", name, s.use.block.name, what)}
	}
	return a, ok, err
}

// substitute returns a copy of a node with the values of parameters in their places.
func (e *expander) substitute(n ast.Node, s *blockScope) (ast.Node, *nodeError) {
	if a, ok, err := s.parameter(n); err != nil {
		return nil, err
	} else if ok {
		return a.node, e.count(n, a.size)
	}
	if err := e.count(n, 1); err != nil {
		return nil, err
	}
	switch v := n.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
		fields, _ := mapping(n)
		made := ast.Mapping(n.GetToken(), true)
		for _, f := range fields {
			value, err := e.substitute(f.Value, s)
			if err != nil {
				return nil, err
			}
			made.Values = append(made.Values, ast.MappingValue(f.Start, f.Key, value))
		}
		return made, nil
	case *ast.SequenceNode:
		made := ast.Sequence(v.Start, true)
		for _, item := range v.Values {
			value, err := e.substitute(item, s)
			if err != nil {
				return nil, err
			}
			made.Values = append(made.Values, value)
		}
		return made, nil
	}
	return n, nil
}

// resolve returns the inputs of a layer with the names that they have in the model.
func (e *expander) resolve(n ast.Node, s *blockScope) (ast.Node, *nodeError) {
	if a, ok, err := s.parameter(n); err != nil {
		return nil, err
	} else if ok {
		return e.resolve(a.node, a.scope)
	}
	switch v := n.(type) {
	case *ast.SequenceNode:
		made := ast.Sequence(v.Start, true)
		for _, item := range v.Values {
			name, err := e.resolve(item, s)
			if err != nil {
				return nil, err
			}
			made.Values = append(made.Values, name)
		}
		return made, e.count(n, len(made.Values))
	case *ast.StringNode:
		name, err := s.global(v, e)
		if err != nil {
			return nil, err
		}
		return text(name, v.Token.Position), nil
	}
	return n, nil
}

// global returns the name in the model of a layer that is called something in the scope.
func (s *blockScope) global(n *ast.StringNode, e *expander) (string, *nodeError) {
	name := n.Value
	if known, ok := s.names[name]; ok {
		return known, nil
	}
	if first, _, dotted := strings.Cut(name, "."); dotted && s.names[first] != "" {
		return join(s.prefix, name), nil // a layer of a block that the scope uses
	}
	if s.use == nil || name != graph.InputName {
		return name, nil
	}
	s.taken = true
	if s.inputs == nil {
		if s.before.name == "" {
			if s.before.node == nil {
				return "", &nodeError{n, fmt.Sprintf("the block %s takes the layer before it: give it inputs, with a name for that", s.use.block.name)}
			}
			s.before.set(s.prefix+"."+graph.InputName, n.Token.Position)
		}
		return s.before.name, nil
	}
	list, ok := s.inputs.(*ast.SequenceNode)
	if !ok || len(list.Values) != 1 {
		return "", &nodeError{n, fmt.Sprintf("the block %s takes one input, want one where it is used", s.use.block.name)}
	}
	return nodeValue(list.Values[0]), nil
}

// declare notes the names of layers.
func (s *blockScope) declare(layers []ast.Node) *nodeError {
	for _, item := range layers {
		n := fieldOf(item, "name")
		if n == nil {
			continue
		}
		name := nodeValue(n)
		if s.use != nil && (strings.HasPrefix(name, "$") || strings.Contains(name, ".") || name == graph.InputName || s.names[name] != "") {
			return &nodeError{n, fmt.Sprintf("a layer of the block %s is called %q, want a word that no other layer of it has, and not %s: its uses tell the layers apart", s.use.block.name, name, graph.InputName)}
		}
		s.names[name] = join(s.prefix, name)
	}
	return nil
}

// unique returns a name for the use of a block that has none: block, block_1 and so on.
func (s *blockScope) unique(block string) string {
	for {
		name := block
		if n := s.uses[block]; n > 0 {
			name = fmt.Sprintf("%s_%d", block, n)
		}
		s.uses[block]++
		if s.names[name] == "" {
			return name
		}
	}
}

// set gives the layer a name.
func (m *madeLayer) set(name string, at *token.Position) {
	m.name = name
	m.node.Values = append(m.node.Values, textField("name", text(name, at)))
}

func (e *expander) count(n ast.Node, nodes int) *nodeError {
	if e.nodes += nodes; e.nodes > maxBlockNodes {
		return &nodeError{n, fmt.Sprintf("the blocks make more than %d values of the file", maxBlockNodes)}
	}
	return nil
}

func (b *block) parameters() []string {
	names := make([]string, len(b.defaults))
	for i, d := range b.defaults {
		names[i] = keyOf(d)
	}
	return names
}

// through names the blocks between a use and the one of the same block round it.
func (u *blockUse) through() string {
	path := ""
	for v := u.from; v != nil && v.block != u.block; v = v.from {
		path = ", through " + v.block.name + strings.Replace(path, ", through", ",", 1)
	}
	return path
}

// String says which block is used where, from the inside out.
func (u *blockUse) String() string {
	var list []string
	for ; u != nil; u = u.from {
		list = append(list, fmt.Sprintf("block %s of line %d", u.block.name, u.at.Line))
	}
	return strings.Join(list, ", ")
}

func blockNames(blocks map[string]*block) []string {
	names := make([]string, 0, len(blocks))
	for name := range blocks {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// fieldOf returns the value of a node's field, nil if it has none.
func fieldOf(n ast.Node, key string) ast.Node {
	fields, _ := mapping(n)
	for _, f := range fields {
		if keyOf(f) == key {
			return f.Value
		}
	}
	return nil
}

func keyOf(f *ast.MappingValueNode) string { return f.Key.GetToken().Value }

// nodeValue returns the text of a scalar.
func nodeValue(n ast.Node) string { return n.GetToken().Value }

// text returns a node of text.
func text(s string, at *token.Position) *ast.StringNode {
	return ast.String(token.DoubleQuote(s, s, at))
}

func textField(key string, value ast.Node) *ast.MappingValueNode {
	at := value.GetToken()
	return ast.MappingValue(at, text(key, at.Position), value)
}

// atLayer adds to an error of a layer where the layer is in the file.
func atLayer(body ast.Node, uses map[ast.Node]*blockUse, err error) error {
	var l *graph.LayerError
	if !errors.As(err, &l) {
		return err
	}
	list, ok := fieldOf(fieldOf(body, "model"), l.Part).(*ast.SequenceNode)
	if !ok || l.Index >= len(list.Values) {
		return err // a list that a setting has made
	}
	n := list.Values[l.Index]
	p := n.GetToken().Position
	if fields, ok := mapping(n); ok && len(fields) > 0 {
		p = fields[0].Key.GetToken().Position
	}
	if u := uses[n]; u != nil {
		return fmt.Errorf("line %d, column %d (%v): %w", p.Line, p.Column, u, err)
	}
	return fmt.Errorf("line %d, column %d: %w", p.Line, p.Column, err)
}
