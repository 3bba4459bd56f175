package ptx

import (
	"fmt"
	"strings"
)

// token is a word (a name, a register, a directive, an opcode with its suffixes, a number), a string in quotes, or one other
// character. At the end of the text it is empty.
type token struct {
	s     string
	start int // offset in the text
}

func (t token) end() int { return t.start + len(t.s) }

// scanner cuts PTX into tokens and leaves out spaces and comments.
type scanner struct {
	text string
	at   int
}

// errorf is an error at a token.
func (s *scanner) errorf(t token, format string, args ...any) error {
	return fmt.Errorf("ptx: line %d: %s", 1+strings.Count(s.text[:t.start], "\n"), fmt.Sprintf(format, args...))
}

func inWord(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '$' || c == '%' || c == '.'
}

// skip passes spaces and comments. A comment without an end reaches to that of the text.
func (s *scanner) skip() {
	for s.at < len(s.text) {
		rest := s.text[s.at:]
		end, open := "", 0
		switch {
		case strings.HasPrefix(rest, "//"):
			end, open = "\n", 2
		case strings.HasPrefix(rest, "/*"):
			end, open = "*/", 2
		case strings.IndexByte(" \t\r\n", rest[0]) >= 0:
			s.at++
			continue
		default:
			return
		}
		n := strings.Index(rest[open:], end)
		if n < 0 {
			s.at = len(s.text)
			return
		}
		s.at += open + n + len(end)
	}
}

// next returns the next token.
func (s *scanner) next() token {
	s.skip()
	start := s.at
	if start == len(s.text) {
		return token{"", start}
	}
	s.at++
	switch c := s.text[start]; {
	case inWord(c):
		for s.at < len(s.text) && inWord(s.text[s.at]) {
			s.at++
		}
	case c == '"':
		n := strings.IndexByte(s.text[s.at:], '"')
		if n < 0 {
			n = len(s.text) - s.at - 1
		}
		s.at += n + 1
	}
	return token{s.text[start:s.at], start}
}

// expect returns the next token, which has to be s.
func (s *scanner) expect(want string) (token, error) {
	t := s.next()
	if t.s != want {
		return t, s.errorf(t, "want %q, have %q", want, t.s)
	}
	return t, nil
}

// word returns the next token, which has to be a word; what says what it stands for.
func (s *scanner) word(what string) (token, error) {
	t := s.next()
	if t.s == "" || !inWord(t.s[0]) {
		return t, s.errorf(t, "want %s, have %q", what, t.s)
	}
	return t, nil
}

// until returns the tokens up to the next one that is end, without it.
func (s *scanner) until(end string) (list []token, err error) {
	for {
		t := s.next()
		if t.s == end {
			return list, nil
		}
		if t.s == "" {
			return nil, s.errorf(t, "want %q, have the end of the text", end)
		}
		list = append(list, t)
	}
}
