package trainer

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/convae/convae/nn/graph"
	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// decodeYAML reads data into what into points to, strictly. at is the path of the value that data is, "" for a whole
// file. Errors say what is wrong in which place, and what to write there.
func decodeYAML(data []byte, into any, at string) error {
	body, err := parseYAML(data)
	if err != nil {
		return err
	}
	return decodeNode(body, into, at)
}

// parseYAML returns the one document of a file.
func parseYAML(data []byte) (body ast.Node, err error) {
	defer malformed(&err)
	if data, err = yamlText(data); err != nil {
		return nil, err
	}
	file, err := parser.ParseBytes(data, 0)
	if err != nil {
		return nil, syntaxError(err)
	}
	docs := slices.DeleteFunc(file.Docs, func(d *ast.DocumentNode) bool { return d.Body == nil || d.Body.Type() == ast.CommentType })
	switch {
	case len(docs) == 0:
		return nil, errors.New("the file is empty")
	case len(docs) > 1:
		return nil, fmt.Errorf("has %d documents, want one: leave out the lines of ---", len(docs))
	}
	return docs[0].Body, nil
}

// DecodeYAML decodes a file into a struct with yaml tags, more strictly than the library: an error is a line that says where it is, names what is unknown, and
// what was perhaps meant.
func DecodeYAML(data []byte, into any) error { return decodeYAML(data, into, "") }

// decodeNode decodes as decodeYAML does.
func decodeNode(body ast.Node, into any, at string) (err error) {
	defer malformed(&err)
	if err := checkNode(body, reflect.TypeOf(into), at); err != nil {
		if at == "" {
			return err.inFile()
		}
		return errors.New(err.text)
	}
	if err := yaml.NodeToValue(body, into, yaml.Strict()); err != nil {
		return syntaxError(err)
	}
	return nil
}

// malformed makes an error of a panic of the library, which dereferences nil on some malformed input.
func malformed(err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("is not well-formed YAML (%v)", p)
	}
}

// hints are what to do about errors of the library.
var hints = []struct{ message, hint string }{
	{"cannot start any token", "indent with spaces, not with tabs, and quote text with special characters"},
	{"not allowed in this context", "a field is `name: value`, with a space after the colon, and fields beside each other are indented alike"},
	{"non-map value is specified", "a field is `name: value`, with a space after the colon"},
	{"must be specified", "is a bracket open?"},
	{"not found", "is a bracket open?"},
	{"already defined", "leave one of them out"},
}

// syntaxError makes one line of an error of the library.
func syntaxError(err error) error {
	var y yaml.Error
	if !errors.As(err, &y) || y.GetToken() == nil || y.GetToken().Position == nil {
		return err
	}
	hint := ""
	for _, h := range hints {
		if strings.Contains(y.GetMessage(), h.message) {
			hint = " (" + h.hint + ")"
			break
		}
	}
	p := y.GetToken().Position
	return fmt.Errorf("line %d, column %d: %s%s", p.Line, p.Column, y.GetMessage(), hint)
}

// nodeError is what is wrong with a node.
type nodeError struct {
	node ast.Node
	text string
}

// inFile returns the error with the place in the file.
func (e *nodeError) inFile() error {
	p := e.node.GetToken().Position
	return fmt.Errorf("line %d, column %d: %s", p.Line, p.Column, e.text)
}

// checkNode compares the value at a path with the type that it is for, more strictly than the library, which cuts the
// fraction off a number and names the types of Go.
func checkNode(n ast.Node, t reflect.Type, path string) *nodeError {
	want := func(what string) *nodeError {
		if path == "" {
			return &nodeError{n, "want " + what}
		}
		return &nodeError{n, fmt.Sprintf("%s is %s, want %s", path, nodeText(n), what)}
	}
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch v := n.(type) {
	case nil, *ast.NullNode, *ast.AliasNode: // an alias stands for what has been checked in its own place
		return nil
	case *ast.AnchorNode:
		return checkNode(v.Value, t, path)
	}
	fresh := reflect.New(t).Interface()
	if l, ok := fresh.(*graph.Spec); ok {
		return checkLayer(n, l, path)
	}
	if isUnmarshaler(fresh) {
		if err := yaml.NodeToValue(n, fresh); err != nil {
			return &nodeError{n, fmt.Sprintf("%s is %s, %v", path, nodeText(n), err)}
		}
		return nil
	}
	switch t.Kind() {
	case reflect.Struct:
		fields, ok := mapping(n)
		if !ok {
			what := "fields: " + strings.Join(yamlNames(t), ", ")
			if s, ok := n.(*ast.StringNode); ok && strings.Contains(s.Value, ":") {
				what += " (with a space after the colon)"
			}
			return want(what)
		}
		return checkFields(fields, t, path)
	case reflect.Map:
		fields, ok := mapping(n)
		if !ok {
			return want("fields by name, as name: value")
		}
		for _, f := range fields {
			if err := checkNode(f.Value, t.Elem(), join(path, f.Key.GetToken().Value)); err != nil {
				return err
			}
		}
	case reflect.Slice:
		list, ok := n.(*ast.SequenceNode)
		if !ok {
			return want("a list, as [a, b]")
		}
		for i, item := range list.Values {
			if err := checkNode(item, t.Elem(), join(path, strconv.Itoa(i+1))); err != nil {
				return err
			}
		}
	case reflect.Int, reflect.Uint64:
		_, isText := n.(*ast.StringNode)
		v, ok := number(n)
		switch {
		case isText || !ok || v != math.Trunc(v):
			return want("a whole number")
		case t.Kind() == reflect.Uint64 && v < 0:
			return want("a whole number of 0 or more")
		case t.Kind() == reflect.Int && math.Abs(v) > math.MaxInt64, v > math.MaxUint64:
			return want("a smaller number")
		}
	case reflect.Float64:
		if _, ok := number(n); !ok {
			return want("a number")
		}
	case reflect.Bool:
		if n.Type() != ast.BoolType {
			return want("true or false")
		}
	case reflect.String:
		if _, ok := n.(ast.ScalarNode); !ok {
			return want("text")
		}
	}
	return nil
}

// checkLayer compares a layer with the fields of all layers that there are.
func checkLayer(n ast.Node, l *graph.Spec, path string) *nodeError {
	if err := checkNode(n, l.Fields(), path); err != nil {
		return err
	}
	if err := yaml.NodeToValue(n, l); err != nil {
		return &nodeError{n, path + " " + err.Error()}
	}
	return nil
}

func checkFields(fields []*ast.MappingValueNode, t reflect.Type, path string) *nodeError {
	for _, f := range fields {
		if f.Key.IsMergeKey() {
			continue
		}
		key := f.Key.GetToken().Value
		i := slices.IndexFunc(reflect.VisibleFields(t), func(f reflect.StructField) bool { return yamlName(f) == key })
		if i < 0 {
			in := ""
			if path != "" {
				in = " in " + path
			}
			return &nodeError{f.Key, fmt.Sprintf("unknown field %q%s%s", key, in, Advice(key, yamlNames(t), "; want one of"))}
		}
		if err := checkNode(f.Value, t.Field(i).Type, join(path, key)); err != nil {
			return err
		}
		if want := t.Field(i).Tag.Get("zero"); want != "" && isZero(f.Value) {
			return &nodeError{f.Value, fmt.Sprintf("%s is %s, want %s", join(path, key), nodeText(f.Value), want)}
		}
	}
	return nil
}

// isZero reports a 0, or a list of nothing else.
func isZero(n ast.Node) bool {
	if list, ok := n.(*ast.SequenceNode); ok {
		return !slices.ContainsFunc(list.Values, func(n ast.Node) bool { return !isZero(n) })
	}
	v, ok := number(n)
	return ok && v == 0
}

// mapping returns the fields of a node that has such.
func mapping(n ast.Node) ([]*ast.MappingValueNode, bool) {
	switch v := n.(type) {
	case *ast.MappingNode:
		return v.Values, true
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{v}, true
	}
	return nil, false
}

// number returns the value of a node that is a number.
func number(n ast.Node) (float64, bool) {
	switch v := n.(type) {
	case *ast.IntegerNode:
		f, err := strconv.ParseFloat(fmt.Sprint(v.Value), 64)
		return f, err == nil
	case *ast.FloatNode:
		return v.Value, true
	case *ast.InfinityNode:
		return v.Value, true
	case *ast.NanNode:
		return math.NaN(), true
	case *ast.StringNode: // 1e-3 is text to the library
		f, err := strconv.ParseFloat(v.Value, 64)
		return f, err == nil && v.Token.Type == token.StringType
	}
	return 0, false
}

func isUnmarshaler(v any) bool {
	_, ok := v.(yaml.InterfaceUnmarshaler)
	return ok
}

// nodeText shows a value in an error.
func nodeText(n ast.Node) string {
	if s, ok := n.(*ast.StringNode); ok {
		return strconv.Quote(s.Value)
	}
	if _, ok := n.(ast.ScalarNode); ok {
		return n.GetToken().Value
	}
	if _, ok := mapping(n); ok {
		return "a group of fields"
	}
	return "a list"
}

func join(path, key string) string { return strings.TrimPrefix(path+"."+key, ".") }
