package ptxsim

import (
	"encoding/binary"
	"fmt"
	"math"
	"strconv"
	"strings"
	"sync"
)

type operandKind uint8

const (
	opReg  operandKind = iota // a register, or a special one (reg -1)
	opImm                     // a literal
	opSym                     // a name, plus imm
	opMem                     // [register or name + imm]
	opVec                     // {a, b, ...}
	opPair                    // a|b
	opSink                    // _
)

type operand struct {
	kind  operandKind
	name  string
	reg   int // index of the register, -1 if it is none
	imm   uint64
	float int  // 32 or 64 when the literal is a float of that size
	minus bool // the literal had a minus sign
	not   bool // !p
	elems []operand
}

// stmt is an instruction, or a label when op is empty.
type stmt struct {
	op    string
	args  []operand
	guard int // register of the predicate, -1 if there is none
	not   bool
	label string
	line  int
}

type register struct {
	name string
	ty   ptype
}

// variable is a declared name in memory.
type variable struct {
	name     string
	align    int
	size     int
	ty       ptype
	off      uint64 // in its space
	init     []byte
	unsized  bool // name[]: as large as the launch says
	readOnly bool
}

// entry is a parsed kernel.
type entry struct {
	name      string
	params    []variable
	paramSize int
	regs      []register
	shared    []*variable
	local     []*variable
	body      []stmt
	max, req  [3]int // .maxntid, .reqntid
}

// module is parsed PTX.
type module struct {
	source      string
	target      int  // 75 for sm_75
	accelerated bool // for devices of this target alone: sm_90a
	entries     []*entry
	global      []*variable // .global and .const
	shared      []*variable
	lines       []string
	once        sync.Once
	plain       []*program // of a module without variables
	err         error
}

type parser struct {
	tokens []token
	i      int
	m      *module
}

func parse(src string) (*module, error) {
	tokens, err := lex(src)
	if err != nil {
		return nil, err
	}
	p := &parser{tokens: tokens, m: &module{source: src, lines: strings.Split(src, "\n")}}
	if err := p.module(); err != nil {
		return nil, err
	}
	return p.m, nil
}

func (p *parser) peek() token { return p.tokens[p.i] }

func (p *parser) next() token {
	t := p.tokens[p.i]
	if t.kind != tokenEOF {
		p.i++
	}
	return t
}

func (p *parser) accept(s string) bool {
	if t := p.peek(); t.s == s && (t.kind == tokenWord || t.kind == tokenPunct) {
		p.i++
		return true
	}
	return false
}

// text is a line of the source, for messages.
func (m *module) text(line int) string {
	if line < 1 || line > len(m.lines) {
		return ""
	}
	return strings.TrimSpace(m.lines[line-1])
}

func (m *module) errorf(line int, format string, args ...any) error {
	return fmt.Errorf("ptxsim: line %d: %s: %s", line, fmt.Sprintf(format, args...), m.text(line))
}

func (p *parser) expect(s string) error {
	if !p.accept(s) {
		t := p.peek()
		return p.m.errorf(t.line, "want %q, have %q", s, t.s)
	}
	return nil
}

func (p *parser) integer() (int, error) {
	t := p.next()
	v, err := strconv.ParseUint(strings.TrimRight(t.s, "U"), 0, 63)
	if err != nil || t.kind != tokenNum {
		return 0, p.m.errorf(t.line, "want a number, have %q", t.s)
	}
	return int(v), nil
}

func (p *parser) module() error {
	for p.peek().kind != tokenEOF {
		t := p.next()
		var err error
		switch t.s {
		case ".version":
			v := p.next()
			major, _, _ := strings.Cut(v.s, ".")
			if n, e := strconv.Atoi(major); e != nil || n < 6 || n > 8 {
				err = p.m.errorf(v.line, "PTX version %s: 6 to 8 are known", v.s)
			}
		case ".target":
			v := p.next()
			var number string
			number, p.m.accelerated = strings.CutSuffix(strings.TrimPrefix(v.s, "sm_"), "a")
			n, e := strconv.Atoi(number)
			if e != nil || !strings.HasPrefix(v.s, "sm_") {
				err = p.m.errorf(v.line, "target %s", v.s)
			}
			p.m.target = n
		case ".address_size":
			if v := p.next(); v.s != "64" {
				err = p.m.errorf(v.line, "address size %s: only 64 is known", v.s)
			}
		case ".visible", ".weak", ".extern":
			switch p.peek().s {
			case ".entry", ".global", ".const", ".shared":
			default:
				err = p.m.errorf(t.line, "%s %s", t.s, p.peek().s)
			}
		case ".entry":
			err = p.entry()
		case ".global", ".const", ".shared":
			var v *variable
			if v, err = p.variable(); err == nil {
				v.readOnly = t.s == ".const"
				if t.s == ".shared" {
					p.m.shared = append(p.m.shared, v)
				} else {
					p.m.global = append(p.m.global, v)
					if v.unsized {
						err = p.m.errorf(t.line, "%s has no size", v.name)
					}
				}
			}
			if err == nil {
				err = p.expect(";")
			}
		default:
			err = p.m.errorf(t.line, "unknown directive %q", t.s)
		}
		if err != nil {
			return err
		}
	}
	if p.m.target == 0 {
		return fmt.Errorf("ptxsim: the text has no .target")
	}
	return nil
}

// maxVariable keeps the arithmetic on sizes from overflowing.
const maxVariable = 1 << 40

// variable reads a declaration from behind its state space up to its end, exclusive.
func (p *parser) variable() (*variable, error) {
	v := &variable{}
	for p.peek().kind == tokenWord && p.peek().s[0] == '.' {
		t := p.next()
		switch t.s {
		case ".align":
			n, err := p.integer()
			if err != nil {
				return nil, err
			}
			if n < 1 || n > 1024 || n&(n-1) != 0 {
				return nil, p.m.errorf(t.line, "alignment %d", n)
			}
			v.align = n
		case ".ptr", ".global", ".shared", ".const", ".local": // what a pointer parameter points at
		default:
			ty, ok := typeNames[t.s[1:]]
			if !ok || ty == tyPred || v.ty != tyNone {
				return nil, p.m.errorf(t.line, "unknown attribute %q", t.s)
			}
			v.ty = ty
		}
	}
	t := p.next()
	if t.kind != tokenWord || v.ty == tyNone {
		return nil, p.m.errorf(t.line, "want a type and a name, have %q", t.s)
	}
	v.name, v.size = t.s, v.ty.size()
	if v.align == 0 {
		v.align = v.size
	}
	for p.accept("[") {
		if p.accept("]") {
			v.unsized, v.size = true, 0
			continue
		}
		n, err := p.integer()
		if err != nil {
			return nil, err
		}
		if v.size *= n; n > maxVariable || v.size > maxVariable {
			return nil, p.m.errorf(t.line, "%s is too large", v.name)
		}
		if err := p.expect("]"); err != nil {
			return nil, err
		}
	}
	if p.accept("=") {
		return v, p.initialiser(v)
	}
	return v, nil
}

func (p *parser) initialiser(v *variable) error {
	v.init = make([]byte, 0, v.size)
	depth := 0
	for {
		t := p.peek()
		switch {
		case p.accept("{"):
			depth++
		case p.accept("}"):
			depth--
		case p.accept(",") && depth > 0:
		default:
			o, err := p.operand()
			if err != nil {
				return err
			}
			if o.kind != opImm || (o.float != 0) != v.ty.float() {
				return p.m.errorf(t.line, "initialiser %q", t.s)
			}
			if v.ty == tyF32 && o.float == 64 {
				o.imm = uint64(math.Float32bits(float32(math.Float64frombits(o.imm))))
			}
			v.init = append(v.init, binary.LittleEndian.AppendUint64(nil, o.imm)[:v.ty.size()]...)
		}
		if len(v.init) > v.size || depth < 0 {
			return p.m.errorf(t.line, "initialiser of %s", v.name)
		}
		if depth == 0 {
			return nil
		}
	}
}

func alignUp(n, a int) int { return (n + a - 1) / a * a }

func (p *parser) entry() error {
	t := p.next()
	e := &entry{name: t.s}
	for _, o := range p.m.entries {
		if o.name == e.name {
			return p.m.errorf(t.line, "%s is defined twice", e.name)
		}
	}
	if p.accept("(") && !p.accept(")") {
		for {
			if err := p.expect(".param"); err != nil {
				return err
			}
			v, err := p.variable()
			if err != nil {
				return err
			}
			e.paramSize = alignUp(e.paramSize, v.align)
			v.off = uint64(e.paramSize)
			e.paramSize += v.size
			e.params = append(e.params, *v)
			if p.accept(")") {
				break
			}
			if err := p.expect(","); err != nil {
				return err
			}
		}
	}
	for !p.accept("{") {
		t := p.next()
		switch t.s {
		case ".maxntid", ".reqntid":
			ext := [3]int{1, 1, 1}
			for i := range ext {
				n, err := p.integer()
				if err != nil {
					return err
				}
				ext[i] = n
				if i == 2 || !p.accept(",") {
					break
				}
			}
			if t.s == ".maxntid" {
				e.max = ext
			} else {
				e.req = ext
			}
		case ".minnctapersm", ".maxnreg":
			if _, err := p.integer(); err != nil {
				return err
			}
		default:
			return p.m.errorf(t.line, "unknown directive %q", t.s)
		}
	}
	p.m.entries = append(p.m.entries, e)
	return p.body(e)
}

// scopes are the register names of the blocks that we are in.
type scopes []map[string]int

func (s scopes) find(name string) int {
	for i := len(s) - 1; i >= 0; i-- {
		if r, ok := s[i][name]; ok {
			return r
		}
	}
	return -1
}

func (p *parser) body(e *entry) error {
	in := scopes{{}}
	for {
		t := p.next()
		var err error
		switch {
		case t.kind == tokenEOF:
			return p.m.errorf(t.line, "%s has no end", e.name)
		case t.s == "{":
			in = append(in, map[string]int{})
		case t.s == "}":
			if in = in[:len(in)-1]; len(in) == 0 {
				return nil
			}
		case t.s == ".reg":
			err = p.registers(e, in[len(in)-1])
		case t.s == ".shared" || t.s == ".local":
			var v *variable
			if v, err = p.variable(); err != nil {
				return err
			}
			if v.init != nil || v.unsized {
				return p.m.errorf(t.line, "%s has no size or an initialiser", v.name)
			}
			if t.s == ".shared" {
				e.shared = append(e.shared, v)
			} else {
				e.local = append(e.local, v)
			}
			err = p.expect(";")
		case t.s == ".pragma":
			if s := p.next(); s.kind != tokenStr || s.s != "nounroll" {
				return p.m.errorf(t.line, "pragma %q", s.s)
			}
			err = p.expect(";")
		case t.kind == tokenWord && t.s[0] != '.' && p.peek().s == ":" && p.peek().kind == tokenPunct:
			p.next()
			e.body = append(e.body, stmt{label: t.s, guard: -1, line: t.line})
		default:
			p.i--
			err = p.instruction(e, in)
		}
		if err != nil {
			return err
		}
	}
}

// maxRegisters is far above what a compiler emits.
const maxRegisters = 1 << 16

func (p *parser) registers(e *entry, names map[string]int) error {
	t := p.next()
	ty, ok := typeNames[strings.TrimPrefix(t.s, ".")]
	if !ok || ty.size() == 1 && ty != tyPred {
		return p.m.errorf(t.line, "register type %q", t.s)
	}
	for {
		name, n := p.next(), -1
		if p.accept("<") {
			var err error
			if n, err = p.integer(); err != nil {
				return err
			}
			if err := p.expect(">"); err != nil {
				return err
			}
		}
		if name.kind != tokenWord || n > maxRegisters-len(e.regs) {
			return p.m.errorf(name.line, "registers %q", name.s)
		}
		declare := func(s string) {
			names[s] = len(e.regs)
			e.regs = append(e.regs, register{s, ty})
		}
		if n < 0 {
			declare(name.s)
		}
		for i := range n {
			declare(name.s + strconv.Itoa(i))
		}
		if !p.accept(",") {
			return p.expect(";")
		}
	}
}

func (p *parser) instruction(e *entry, in scopes) error {
	t := p.next()
	s := stmt{guard: -1, line: t.line}
	if t.s == "@" {
		s.not = p.accept("!")
		g := p.next()
		if s.guard = in.find(g.s); s.guard < 0 || e.regs[s.guard].ty != tyPred {
			return p.m.errorf(t.line, "%s is no predicate", g.s)
		}
		t = p.next()
	}
	if t.kind != tokenWord || t.s[0] == '.' || t.s[0] == '%' {
		return p.m.errorf(t.line, "unknown directive or instruction %q", t.s)
	}
	s.op = t.s
	for !p.accept(";") {
		o, err := p.operand()
		if err != nil {
			return err
		}
		if name := resolve(&o, in); name != "" {
			return p.m.errorf(t.line, "%s is not declared", name)
		}
		s.args = append(s.args, o)
		if !p.accept(",") && p.peek().s != ";" {
			return p.m.errorf(p.peek().line, "%q behind an operand", p.peek().s)
		}
	}
	e.body = append(e.body, s)
	return nil
}

// resolve turns names into registers. It returns the name of one that does not exist.
func resolve(o *operand, in scopes) string {
	o.reg = -1
	if o.name != "" {
		o.reg = in.find(o.name)
		switch {
		case o.reg >= 0 && o.kind == opSym:
			o.kind = opReg
		case o.reg < 0 && o.name[0] == '%' && (o.kind == opMem || !special(o.name)):
			return o.name
		}
		if o.kind == opReg && o.imm != 0 {
			return o.name + "+..."
		}
	}
	for i := range o.elems {
		if name := resolve(&o.elems[i], in); name != "" {
			return name
		}
	}
	return ""
}

func (p *parser) literal(minus bool) (operand, error) {
	t := p.next()
	o := operand{kind: opImm, reg: -1, minus: minus}
	bad := func() (operand, error) { return o, p.m.errorf(t.line, "literal %q", t.s) }
	s := strings.ToLower(t.s)
	var err error
	switch {
	case t.kind != tokenNum:
		return bad()
	case len(s) == 10 && s[:2] == "0f":
		o.imm, err = strconv.ParseUint(s[2:], 16, 32)
		o.float = 32
		if minus {
			o.imm ^= 1 << 31
		}
	case len(s) == 18 && s[:2] == "0d":
		o.imm, err = strconv.ParseUint(s[2:], 16, 64)
		o.float = 64
		if minus {
			o.imm ^= 1 << 63
		}
	case strings.Contains(s, "."):
		var v float64
		v, err = strconv.ParseFloat(s, 64)
		if minus {
			v = -v
		}
		o.imm, o.float = math.Float64bits(v), 64
	default:
		o.imm, err = strconv.ParseUint(strings.TrimSuffix(s, "u"), 0, 64)
		if minus {
			o.imm = -o.imm
		}
	}
	if err != nil {
		return bad()
	}
	return o, nil
}

func (p *parser) operand() (operand, error) {
	t := p.peek()
	switch {
	case t.kind == tokenNum:
		return p.literal(false)
	case p.accept("-"):
		return p.literal(true)
	case p.accept("!"):
		o, err := p.operand()
		if err == nil && (o.kind != opReg || o.not) {
			err = p.m.errorf(t.line, "operand !%s", o.name)
		}
		o.not = true
		return o, err
	case p.accept("{"):
		o := operand{kind: opVec}
		for {
			e, err := p.operand()
			if err != nil {
				return o, err
			}
			o.elems = append(o.elems, e)
			if p.accept("}") {
				return o, nil
			}
			if err := p.expect(","); err != nil {
				return o, err
			}
		}
	case p.accept("["):
		o := operand{kind: opMem}
		if p.peek().kind == tokenNum {
			v, err := p.literal(false)
			if err != nil {
				return o, err
			}
			o.imm = v.imm
		} else if b := p.next(); b.kind == tokenWord {
			o.name = b.s
		} else {
			return o, p.m.errorf(b.line, "address %q", b.s)
		}
		if err := p.offset(&o); err != nil {
			return o, err
		}
		if p.accept(",") { // coordinates of a tensor
			v, err := p.operand()
			if err == nil && v.kind != opVec {
				err = p.m.errorf(t.line, "want coordinates behind the address of a tensor map")
			}
			if err != nil {
				return o, err
			}
			o.elems = v.elems
		}
		return o, p.expect("]")
	case p.accept("_"):
		return operand{kind: opSink}, nil
	case t.kind == tokenWord && t.s[0] != '.':
		p.next()
		o := operand{kind: opReg, name: t.s}
		if t.s[0] != '%' {
			o.kind = opSym
		}
		if p.accept("|") {
			b, err := p.operand()
			return operand{kind: opPair, elems: []operand{o, b}}, err
		}
		return o, p.offset(&o)
	}
	return operand{}, p.m.errorf(t.line, "operand %q", t.s)
}

// offset reads "+ n", "+ -n" and "- n" behind an address.
func (p *parser) offset(o *operand) error {
	minus := p.accept("-")
	if !minus && !p.accept("+") {
		return nil
	}
	if p.accept("-") {
		minus = !minus
	}
	v, err := p.literal(minus)
	if err == nil && v.float != 0 {
		err = p.m.errorf(p.peek().line, "offset is a float")
	}
	o.imm += v.imm
	return err
}
