package ptx

import (
	"fmt"
	"math/bits"
	"strconv"
	"strings"
)

// Compilers of PTX, ptxas of 12.4 too, divide at run time, in some twenty instructions, also where they know the divisor: that is the work
// of the compilers before them, for which the parameters were no constants yet. divideByConstants does it on an entry's text from the first instruction on: the
// divisions of unsigned numbers by what follows from constants become multiplications and shifts.
func divideByConstants(text string) string {
	c := constants{writes: map[string]int{}, values: map[string]uint32{}}
	list := statements(text)
	for _, s := range list {
		for _, t := range s.operand(0) {
			c.writes[t]++
		}
	}
	var out strings.Builder
	at := 0
	for _, s := range list {
		if s.guarded {
			continue
		}
		c.follow(&s)
		if division := c.division(&s); division != "" {
			out.WriteString(text[at:s.start] + division)
			at = s.end
		}
	}
	if at == 0 {
		return text
	}
	return fmt.Sprintf(".reg .b32 %s<3>;\n\t%s%s", temporary, &out, text[at:])
}

// temporary is what the names of the registers begin with that a division takes.
const temporary = "%quotient"

// statement is an instruction; start and end are the offsets of what is behind its guard and before its semicolon.
type statement struct {
	op         string
	operands   [][]string // the words of each
	guarded    bool
	start, end int
}

// operand returns the words of an operand, if there is one.
func (s *statement) operand(i int) []string {
	if i < len(s.operands) {
		return s.operands[i]
	}
	return nil
}

// statements lists the instructions of a body.
func statements(text string) (list []statement) {
	s := &scanner{text: text}
	var tokens []token
	for t := s.next(); t.s != ""; t = s.next() {
		switch {
		case t.s == ";":
			if n := newStatement(tokens, t.start); n.op != "" {
				list = append(list, n)
			}
			tokens = nil
		case t.s == ":", len(tokens) == 0 && (t.s == "{" || t.s == "}"):
			tokens = nil
		default:
			tokens = append(tokens, t)
		}
	}
	return list
}

// newStatement makes a statement of its tokens.
func newStatement(tokens []token, end int) statement {
	n := statement{end: end}
	tokens, n.guarded = unguarded(tokens)
	if len(tokens) == 0 || strings.HasPrefix(tokens[0].s, ".") {
		return n
	}
	n.op, n.start = tokens[0].s, tokens[0].start
	depth, operand := 0, []string(nil)
	for _, t := range tokens[1:] {
		switch t.s {
		case "{", "[":
			depth++
		case "}", "]":
			depth--
		}
		if t.s == "," && depth == 0 {
			n.operands, operand = append(n.operands, operand), nil
			continue
		}
		operand = append(operand, t.s)
	}
	n.operands = append(n.operands, operand)
	return n
}

// constants are the registers that have one value, because they are written once, from constants.
type constants struct {
	writes map[string]int // to each register, at least
	values map[string]uint32
}

// value returns the value of an operand, if it is a constant.
func (c *constants) value(words []string) (uint32, bool) {
	sign := uint32(1)
	if len(words) == 2 && words[0] == "-" {
		sign, words = -sign, words[1:]
	}
	if len(words) != 1 {
		return 0, false
	}
	if v, ok := c.values[words[0]]; ok {
		return v, true
	}
	v, err := strconv.ParseUint(words[0], 0, 32)
	return sign * uint32(v), err == nil
}

// follow notes what an instruction writes, if that is a constant.
func (c *constants) follow(s *statement) {
	to := s.operand(0)
	if len(to) != 1 || c.writes[to[0]] != 1 {
		return
	}
	var from [3]uint32
	for i := 1; i < len(s.operands); i++ {
		v, ok := c.value(s.operands[i])
		if !ok || i > len(from) {
			return
		}
		from[i-1] = v
	}
	if v, ok := evaluate(s.op, from[0], from[1], from[2]); ok {
		c.values[to[0]] = v
	}
}

// evaluate computes what shapes are made of.
func evaluate(op string, a, b, c uint32) (uint32, bool) {
	switch op {
	case "mov.u32", "mov.s32", "mov.b32":
		return a, true
	case "add.s32":
		return a + b, true
	case "sub.s32":
		return a - b, true
	case "mul.lo.s32":
		return a * b, true
	case "mad.lo.s32":
		return a*b + c, true
	case "and.b32":
		return a & b, true
	case "or.b32":
		return a | b, true
	case "shl.b32":
		return a << b, true
	case "shr.u32":
		return a >> b, true
	case "min.u32":
		return min(a, b), true
	case "max.u32":
		return max(a, b), true
	}
	if b != 0 && op == "div.u32" {
		return a / b, true
	}
	if b != 0 && op == "rem.u32" {
		return a % b, true
	}
	return 0, false
}

// division returns what an instruction that divides by a constant becomes, or nothing.
func (c *constants) division(s *statement) string {
	if s.op != "div.u32" && s.op != "rem.u32" || len(s.operands) != 3 {
		return ""
	}
	to, from := strings.Join(s.operands[0], ""), strings.Join(s.operands[1], "")
	by, ok := c.value(s.operands[2])
	if !ok || by == 0 {
		return ""
	}
	if s.op == "div.u32" {
		return quotient(to, from, by)
	}
	if by&(by-1) == 0 {
		return fmt.Sprintf("and.b32 %s, %s, %d", to, from, by-1)
	}
	q, product := temporary+"2", temporary+"1"
	return fmt.Sprintf("%s; mul.lo.s32 %s, %s, %d; sub.s32 %s, %s, %s", quotient(q, from, by), product, q, by, to, from, product)
}

// quotient divides a register by a constant.
func quotient(to, from string, by uint32) string {
	if by&(by-1) == 0 {
		return fmt.Sprintf("shr.u32 %s, %s, %d", to, from, bits.TrailingZeros32(by))
	}
	m, shift, wide := reciprocal(by)
	high, rest := temporary+"0", temporary+"1"
	if !wide {
		return fmt.Sprintf("mul.hi.u32 %s, %s, 0x%X; shr.u32 %s, %s, %d", high, from, m, to, high, shift)
	}
	return fmt.Sprintf("mul.hi.u32 %s, %s, 0x%X; sub.s32 %s, %s, %s; shr.u32 %s, %s, 1; add.s32 %s, %s, %s; shr.u32 %s, %s, %d",
		high, from, m, rest, from, high, rest, rest, rest, rest, high, to, rest, shift-1)
}

// reciprocal returns a multiplier with which n/by is n*m >> 32 >> shift for every n, of a number that is no power of 2. It is wide if
// 2^32 is to be added to it. After Granlund and Montgomery, "Division by Invariant Integers using Multiplication", 1994.
func reciprocal(by uint32) (m uint32, shift int, wide bool) {
	length := bits.Len32(by)
	for shift = range length {
		power := uint64(1) << (32 + shift)
		up := power/uint64(by) + 1
		if up < 1<<32 && up*uint64(by)-power <= 1<<shift {
			return uint32(up), shift, false
		}
	}
	return uint32((1<<32)*(1<<length-uint64(by))/uint64(by) + 1), length, true
}
