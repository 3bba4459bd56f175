// Package ptx takes modules of PTX apart and makes smaller ones of them: a single entry, with constants in the place of
// parameters, and if asked for one that waits for the launch before it. A compiler that sees the constants folds the arithmetic on them, unrolls loops and drops what cannot be reached.
//
// It knows what nvcc emits for kernels whose parameters are scalars and pointers and, behind these, tensor maps. All else is an error of Parse, so that a
// parameter is never replaced in one place and read in another.
package ptx

import (
	"fmt"
	"strings"
)

// Module is a module of PTX taken apart.
type Module struct {
	version string   // of the language
	target  string   // such as sm_75
	shared  []string // the other statements that all entries share
	entries map[string]*Entry
}

// Entry is a kernel of a module.
type Entry struct {
	Params []Param
	Maps   int // parameters behind these that are tensor maps
	maps   map[string]bool
	index  map[string]int // of the parameters, by name
	text   string
	first  int    // offset of the first instruction
	loads  []load // of parameters, in the order of the text
}

// Param is a parameter of an entry.
type Param struct {
	Type    string // such as "u32"
	Pointer bool   // to global memory
}

// load is an instruction that puts a parameter into a register; start and end are the offsets, in the entry's text, of what is
// behind its guard.
type load struct {
	start, end, param int
	register          string
}

// Parse takes a module apart.
func Parse(text string) (*Module, error) {
	m := &Module{entries: map[string]*Entry{}}
	s := &scanner{text: text}
	for {
		first := s.next()
		t := first
		if t.s == "" {
			return m, nil
		}
		if t.s == ".visible" || t.s == ".extern" { // .extern is for shared memory whose size a launch says
			t = s.next()
		}
		var err error
		switch t.s {
		case ".version":
			m.version, err = value(s, t)
		case ".target":
			m.target, err = value(s, t)
		case ".address_size":
			_, err = value(s, t)
		case ".shared", ".global", ".const":
			_, err = s.until(";")
		case ".entry":
			err = m.entry(s, first)
		default:
			err = s.errorf(t, "unknown directive %q", t.s)
		}
		if err != nil {
			return nil, err
		}
		if t.s != ".entry" && t.s != ".version" && t.s != ".target" {
			m.shared = append(m.shared, text[first.start:s.at])
		}
	}
}

// value returns the word behind a directive.
func value(s *scanner, directive token) (string, error) {
	t, err := s.word("what " + directive.s + " is")
	return t.s, err
}

// Entry returns an entry by its name, or nil.
func (m *Module) Entry(name string) *Entry { return m.entries[name] }

// entry parses an entry, whose first token and the token .entry have been read.
func (m *Module) entry(s *scanner, first token) error {
	name, err := s.word("the name of an entry")
	if err != nil {
		return err
	}
	if m.entries[name.s] != nil {
		return s.errorf(name, "%s is there twice", name.s)
	}
	e := &Entry{index: map[string]int{}, maps: map[string]bool{}}
	if err := e.parameters(s); err != nil {
		return err
	}
	if _, err := s.until("{"); err != nil { // how many threads it is for
		return err
	}
	if err := e.body(s, first.start); err != nil {
		return err
	}
	e.text = s.text[first.start:s.at]
	m.entries[name.s] = e
	return nil
}

// sizes are the bytes of the types that a parameter may have.
var sizes = map[string]int{"u32": 4, "s32": 4, "b32": 4, "f32": 4, "u64": 8, "s64": 8, "b64": 8}

// parameters parses a list of parameters in parentheses.
func (e *Entry) parameters(s *scanner) error {
	if _, err := s.expect("("); err != nil {
		return err
	}
	for {
		t := s.next()
		if t.s == ")" && len(e.Params) == 0 {
			return nil
		}
		if t.s != ".param" {
			return s.errorf(t, "want .param, have %q", t.s)
		}
		ty := s.next()
		if ty.s == ".align" {
			if err := e.tensorMap(s, ty); err != nil {
				return err
			}
			if t := s.next(); t.s == ")" {
				return nil
			} else if t.s != "," {
				return s.errorf(t, "want a comma or the end of the list, have %q", t.s)
			}
			continue
		}
		if e.Maps > 0 {
			return s.errorf(ty, "a parameter of type %q behind a tensor map", ty.s)
		}
		p := Param{Type: strings.TrimPrefix(ty.s, ".")}
		if sizes[p.Type] == 0 {
			return s.errorf(ty, "a parameter of type %q", ty.s)
		}
		name, err := s.word("the name of a parameter")
		if err != nil {
			return err
		}
		if _, ok := e.index[name.s]; ok {
			return s.errorf(name, "parameter %s is there twice", name.s)
		}
		e.index[name.s] = len(e.Params)
		e.Params = append(e.Params, p)
		switch t := s.next(); t.s {
		case ")":
			return nil
		case ",":
		default:
			return s.errorf(t, "parameter %s: want a comma or the end of the list, have %q", name.s, t.s)
		}
	}
}

// tensorMap parses a parameter that is a tensor map, from what is behind .align on: 64 .b8 name[128].
func (e *Entry) tensorMap(s *scanner, first token) error {
	var all []string
	for range 6 {
		all = append(all, s.next().s)
	}
	name := all[2]
	if all[2] = ""; strings.Join(all, " ") != "64 .b8  [ 128 ]" {
		return s.errorf(first, "want a tensor map, .align 64 .b8 %s[128]", name)
	}
	if _, ok := e.index[name]; ok || e.maps[name] {
		return s.errorf(first, "parameter %s is there twice", name)
	}
	e.maps[name] = true
	e.Maps++
	return nil
}

// body parses statements up to the brace that closes the body. The entry's text begins at offset origin.
func (e *Entry) body(s *scanner, origin int) error {
	loaded := map[string]int{} // by register, the parameter that it was loaded with
	var statement []token
	for depth := 1; depth > 0; {
		t := s.next()
		switch t.s {
		case "":
			return s.errorf(t, "the entry has no end")
		case "{":
			// Behind an opcode braces are round a vector of operands.
			if len(statement) == 0 {
				depth++
				continue
			}
		case "}":
			if len(statement) == 0 {
				depth--
				continue
			}
		case ":":
			statement = nil
			continue
		case ";":
			if err := e.statement(s, statement, origin, loaded); err != nil {
				return err
			}
			statement = nil
			continue
		}
		statement = append(statement, t)
	}
	return nil
}

// statement looks for parameters in a statement, which is given without its semicolon.
func (e *Entry) statement(s *scanner, tokens []token, origin int, loaded map[string]int) error {
	start := 0
	if len(tokens) > 0 {
		start = tokens[0].start
	}
	tokens, _ = unguarded(tokens)
	if len(tokens) == 0 {
		return nil
	}
	op := tokens[0]
	if e.first == 0 && !strings.HasPrefix(op.s, ".") {
		e.first = start - origin
	}
	if ty, ok := strings.CutPrefix(op.s, "ld.param."); ok {
		// ld.param.type register, [name]
		if len(tokens) != 6 || tokens[2].s != "," || tokens[3].s != "[" || tokens[5].s != "]" {
			return s.errorf(op, "want %s of a register and a parameter in brackets", op.s)
		}
		i, ok := e.index[tokens[4].s]
		if !ok {
			return s.errorf(tokens[4], "%s is not a parameter", tokens[4].s)
		}
		if sizes[ty] != sizes[e.Params[i].Type] {
			return s.errorf(op, "%s of parameter %s, which is of type %s", op.s, tokens[4].s, e.Params[i].Type)
		}
		loaded[tokens[1].s] = i
		e.loads = append(e.loads, load{op.start - origin, tokens[5].end() - origin, i, tokens[1].s})
		return nil
	}
	if op.s == "cvta.to.global.u64" && len(tokens) == 4 {
		if i, ok := loaded[tokens[3].s]; ok {
			e.Params[i].Pointer = true
		}
	}
	for i, t := range tokens {
		if e.maps[t.s] && (op.s != "mov.b64" || i != 3) {
			return s.errorf(t, "%s takes the tensor map %s: only mov.b64 is known to take its address", op.s, t.s)
		}
		if _, ok := e.index[t.s]; ok {
			return s.errorf(t, "%s takes the parameter %s: only ld.param is known to", op.s, t.s)
		}
	}
	return nil
}

// unguarded returns a statement without its guard, and whether it has one.
func unguarded(tokens []token) ([]token, bool) {
	if len(tokens) == 0 || tokens[0].s != "@" { // @p or @!p
		return tokens, false
	}
	n := 2
	if len(tokens) > 1 && tokens[1].s == "!" {
		n = 3
	}
	return tokens[min(n, len(tokens)):], true
}

// Form is how an entry differs from what the module has.
type Form struct {
	Constants map[int]uint64 // of parameters, by their numbers
	// Waits has the entry wait for the launch before it, first of all, and then let the launch behind it begin. Such a form is for
	// devices of compute capability 9.0 and newer.
	Waits bool
}

// What a form that waits is made for: griddepcontrol came with this version, and for this target.
const (
	waitVersion = "7.8"
	waitTarget  = "sm_90"
	wait        = "griddepcontrol.wait;\n\tgriddepcontrol.launch_dependents;\n\t"
)

// Specialise returns a module with one entry alone, in a form. The entry takes as many arguments as before; those of constants do
// nothing.
func (m *Module) Specialise(entry string, f Form) (string, error) {
	e := m.entries[entry]
	if e == nil {
		return "", fmt.Errorf("ptx: the module has no entry %s", entry)
	}
	for i := range f.Constants {
		if i < 0 || i >= len(e.Params) {
			return "", fmt.Errorf("ptx: %s has no parameter %d", entry, i)
		}
	}
	var out strings.Builder
	version, target, before := m.version, m.target, ""
	if f.Waits {
		version, target, before = max(version, waitVersion), max(target, waitTarget), wait
	}
	fmt.Fprintf(&out, ".version %s\n.target %s\n", version, target)
	for _, s := range m.shared {
		fmt.Fprintln(&out, s)
	}
	body := e.withConstants(f.Constants)
	if len(f.Constants) > 0 {
		body = divideByConstants(body)
	}
	fmt.Fprintln(&out, e.text[:e.first]+before+body)
	return out.String(), nil
}

// withConstants returns the text from the first instruction on, with constants in the place of parameters.
func (e *Entry) withConstants(constants map[int]uint64) string {
	var out strings.Builder
	at := e.first
	for _, l := range e.loads {
		value, ok := constants[l.param]
		if !ok {
			continue
		}
		ty := e.Params[l.param].Type
		fmt.Fprintf(&out, "%smov.%s %s, %s", e.text[at:l.start], ty, l.register, literal(ty, value))
		at = l.end
	}
	out.WriteString(e.text[at:])
	return out.String()
}

// literal writes a value, which is in the low bytes of a word, as a type's literal.
func literal(ty string, value uint64) string {
	switch {
	case ty == "f32":
		return fmt.Sprintf("0f%08X", uint32(value))
	case sizes[ty] == 4:
		return fmt.Sprintf("0x%X", uint32(value))
	}
	return fmt.Sprintf("0x%X", value)
}
