package trainer

import (
	"bytes"
	"errors"
	"fmt"

	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/transform"
)

// maxYAMLDepth bounds how deep lists and groups of fields lie within each other: the time and memory that the library
// takes grow with the square of it. A configuration has about ten.
const maxYAMLDepth = 500

// yamlText returns the text of a YAML file as the library reads it: as UTF-8, without a byte order mark and without the
// line that names the version. It reports what is no text, and what lies too deep for the library.
func yamlText(data []byte) ([]byte, error) {
	data, _, err := transform.Bytes(unicode.BOMOverride(transform.Nop), data)
	if err != nil || bytes.IndexByte(data, 0) >= 0 {
		return nil, errors.New("is no text: want YAML or JSON in UTF-8")
	}
	if bytes.HasPrefix(data, []byte("%YAML 1.")) {
		data = bytes.Clone(data)
		data[0] = '#' // a comment leaves the numbers of lines as they are
	} else if bytes.HasPrefix(data, []byte("%YAML")) {
		return nil, errors.New("line 1: want %YAML 1.2, or no such line")
	}
	return data, checkDepth(data)
}

// checkDepth reports brackets, or indentation and list marks, that make the structure deeper than maxYAMLDepth. Brackets in
// quoted text and in comments do not close any.
func checkDepth(data []byte) error {
	line, column, depth, indent := 1, 0, 0, true
	var quote byte // that ends the text at hand
	before := byte('\n')
	for i := 0; i < len(data); i++ {
		c := data[i]
		column++
		switch {
		case c == '\n':
			line, column, indent = line+1, 0, true
		case quote != 0:
			if c == '\\' && quote == '"' {
				i, column = i+1, column+1
			} else if c == quote {
				quote = 0
			}
		case (c == '"' || c == '\'') && bytes.IndexByte([]byte(" \t\n[{,:"), before) >= 0:
			quote = c
		case c == '#' && bytes.IndexByte([]byte(" \t\n"), before) >= 0:
			if end := bytes.IndexByte(data[i:], '\n'); end >= 0 {
				i += end - 1
			} else {
				return nil
			}
		case c == '[' || c == '{':
			depth++
		case c == ']' || c == '}':
			depth = max(depth-1, 0)
		}
		indent = indent && bytes.IndexByte([]byte("\n -?:"), c) >= 0
		if depth > maxYAMLDepth || indent && column > maxYAMLDepth {
			return fmt.Errorf("line %d, column %d: lists and fields lie more than %d deep in each other", line, column, maxYAMLDepth)
		}
		before = c
	}
	return nil
}
