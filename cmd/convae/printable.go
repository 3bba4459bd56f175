package main

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxError is how many bytes of an error are printed: it may name what is in a file.
const maxError = 2000

// printable shows characters that would do something to a terminal, such as those of escape sequences and of right-to-left
// text, which names in files may have, as Go writes them. Line feeds and tabs stay.
func printable(s string) string {
	if strings.IndexFunc(s, unsafeRune) < 0 && utf8.ValidString(s) {
		return s
	}
	var b strings.Builder
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, `\x%02x`, s[0])
		case unsafeRune(r) && r < 0x80:
			fmt.Fprintf(&b, `\x%02x`, r)
		case unsafeRune(r):
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteString(s[:n])
		}
		s = s[n:]
	}
	return b.String()
}

func unsafeRune(r rune) bool {
	return r != '\n' && r != '\t' && unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r)
}

// oneLine keeps an error on one line of printable characters, and short, whatever it wraps.
func oneLine(err error) string {
	s := strings.NewReplacer("\n", " ", "\r", " ").Replace(err.Error())
	if len(s) > maxError {
		s = strings.ToValidUTF8(s[:maxError], "") + "..."
	}
	return printable(s)
}
