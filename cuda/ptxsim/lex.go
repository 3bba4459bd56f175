package ptxsim

import (
	"fmt"
	"strings"
)

type tokenKind uint8

const (
	tokenEOF   tokenKind = iota
	tokenWord            // names, registers, directives, opcodes with their dotted suffixes
	tokenNum             // literals
	tokenPunct           // one character
	tokenStr             // quoted
)

type token struct {
	kind tokenKind
	s    string
	line int
}

func startsWord(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_' || c == '$' || c == '%' || c == '.'
}

func inWord(c byte) bool { return startsWord(c) && c != '%' || c >= '0' && c <= '9' }

// lex cuts PTX into tokens. Lines of .loc and .file say nothing of what the code does and are left out.
func lex(src string) ([]token, error) {
	out := make([]token, 0, len(src)/4) // a little more than PTX has
	line := 1
	for i, n := 0, len(src); i < n; {
		c, j := src[i], i+1
		switch {
		case c == '\n':
			line++
		case c == ' ' || c == '\t' || c == '\r' || c == 0 && j == n: // C strings may keep their end
		case strings.HasPrefix(src[i:], "//"):
			for j < n && src[j] != '\n' {
				j++
			}
		case strings.HasPrefix(src[i:], "/*"):
			k := strings.Index(src[i:], "*/")
			if k < 0 {
				return nil, fmt.Errorf("ptxsim: line %d: comment without an end", line)
			}
			j = i + k + 2
			line += strings.Count(src[i:j], "\n")
		case c == '"':
			k := strings.IndexAny(src[j:], "\"\n")
			if k < 0 || src[j+k] == '\n' {
				return nil, fmt.Errorf("ptxsim: line %d: string without an end", line)
			}
			j += k + 1
			out = append(out, token{tokenStr, src[i+1 : j-1], line})
		case startsWord(c):
			for j < n && (inWord(src[j]) || strings.HasPrefix(src[j:], "::")) {
				if src[j] == ':' {
					j++
				}
				j++
			}
			j = min(j, n)
			if s := src[i:j]; s == ".loc" || s == ".file" {
				for j < n && src[j] != '\n' {
					j++
				}
			} else {
				out = append(out, token{tokenWord, s, line})
			}
		case c >= '0' && c <= '9':
			for j < n && inWord(src[j]) {
				j++
			}
			out = append(out, token{tokenNum, src[i:j], line})
		case c > ' ' && c < 127:
			out = append(out, token{tokenPunct, src[i:j], line})
		default:
			return nil, fmt.Errorf("ptxsim: line %d: character %q", line, c)
		}
		i = j
	}
	return append(out, token{tokenEOF, "end of file", line}), nil
}
