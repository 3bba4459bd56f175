package sass

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// Kernel is the machine code of an entry.
type Kernel struct {
	Name      string
	Registers int // a thread
	Shared    int // static bytes a block
	Spills    int // bytes a thread that it stores to memory for want of registers, and loads again
	Code      []Inst
	params    []param
	most      int    // registers a thread that a warp may come to have
	table     []byte // constant bank 2: where indirect branches go
	err       error  // the first instruction that this package does not know
}

// Control is how ptxas scheduled an instruction, from its upper bits.
type Control struct {
	Stall int  // cycles until the warp's next instruction
	Yield bool // a hint to take another warp; not modelled
	Write int  // scoreboard that is released when the result is there; 7 is none
	Read  int  // scoreboard that is released when the operands are read; 7 is none
	Wait  int  // mask of the scoreboards to wait for
	Reuse int  // mask of the operands kept in the operand cache; not modelled
}

// controlOf takes the control bits from the upper word.
func controlOf(hi uint64) Control {
	c := int(hi >> 41)
	return Control{Stall: c & 15, Yield: c>>4&1 != 0, Write: c >> 5 & 7, Read: c >> 8 & 7, Wait: c >> 11 & 63, Reuse: c >> 17 & 15}
}

var (
	textLabel   = regexp.MustCompile(`^\.text\.(\w+):`)
	codeLabel   = regexp.MustCompile(`^(\.L_x_\d+|\$__internal_[\w$]+):`)
	firstWord   = regexp.MustCompile(`^/\*([0-9a-f]{4,6})\*/\s+(.*?)\s*;\s*/\* 0x([0-9a-f]{16}) \*/$`)
	secondWord  = regexp.MustCompile(`^/\* 0x([0-9a-f]{16}) \*/$`)
	sectionLine = regexp.MustCompile(`^\.section\s+(\S+?),`)
	bankBytes   = regexp.MustCompile(`^/\*[0-9a-f]+\*/\s+\.(byte|word)\s+(.*)$`)
	targets     = regexp.MustCompile("`\\(([^)]*)\\)")
)

// raw is an instruction before its labels are resolved.
type raw struct {
	text   string
	lo, hi uint64
}

// source is a kernel before it is decoded.
type source struct {
	ins    []raw
	labels map[string]int
	table  []byte
}

// parse reads what nvdisasm -hex prints.
func parse(text string) (map[string]*Kernel, error) {
	sources := map[string]*source{}
	get := func(name string) *source {
		if sources[name] == nil {
			sources[name] = &source{labels: map[string]int{}}
		}
		return sources[name]
	}
	var code, bank *source
	var half *raw
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if m := sectionLine.FindStringSubmatch(line); m != nil {
			code, bank = nil, nil
			if name, ok := strings.CutPrefix(m[1], ".nv.constant2."); ok {
				bank = get(name)
			} else if strings.HasPrefix(m[1], ".nv.constant") && !strings.HasPrefix(m[1], ".nv.constant0.") {
				return nil, fmt.Errorf("sass: section %s: this constant bank is not known", m[1])
			}
			continue
		}
		if m := textLabel.FindStringSubmatch(line); m != nil {
			code = get(m[1])
			continue
		}
		if bank != nil {
			if err := bank.constants(line); err != nil {
				return nil, err
			}
		}
		if code == nil {
			continue
		}
		if m := codeLabel.FindStringSubmatch(line); m != nil {
			code.labels[m[1]] = len(code.ins)
		} else if m := firstWord.FindStringSubmatch(line); m != nil {
			half = &raw{text: m[2]}
			half.lo, _ = strconv.ParseUint(m[3], 16, 64)
		} else if m := secondWord.FindStringSubmatch(line); m != nil && half != nil {
			half.hi, _ = strconv.ParseUint(m[1], 16, 64)
			code.ins = append(code.ins, *half)
			half = nil
		}
	}
	ks := map[string]*Kernel{}
	for name, s := range sources {
		if len(s.ins) == 0 {
			return nil, fmt.Errorf("sass: nvdisasm printed no code of %s", name)
		}
		ks[name] = s.kernel(name)
	}
	if len(ks) == 0 {
		return nil, fmt.Errorf("sass: nvdisasm printed no kernel")
	}
	return ks, nil
}

// constants adds a line of a table.
func (s *source) constants(line string) error {
	m := bankBytes.FindStringSubmatch(line)
	if m == nil {
		return nil
	}
	size := map[string]int{"byte": 1, "word": 4}[m[1]]
	for _, f := range strings.Split(m[2], ",") {
		v, err := strconv.ParseUint(strings.TrimSpace(f), 0, 8*size)
		if err != nil {
			return fmt.Errorf("sass: constant %q: %w", f, err)
		}
		for i := range size {
			s.table = append(s.table, byte(v>>(8*i)))
		}
	}
	return nil
}

// kernel decodes.
func (s *source) kernel(name string) *Kernel {
	k := &Kernel{Name: name, table: s.table}
	for i, r := range s.ins {
		t := targets.ReplaceAllStringFunc(r.text, func(m string) string {
			l := m[2 : len(m)-1]
			if at, ok := s.labels[l]; ok {
				return fmt.Sprintf("@%d", at)
			}
			return "@0" // the kernel itself, which a return names
		})
		in, err := decode(t, r.lo, r.hi)
		if err != nil && k.err == nil {
			k.err = fmt.Errorf("sass: %s at %#x: %w", name, 16*i, err)
		}
		k.Code = append(k.Code, in)
		if in.op != nil && in.op.takesRegisters {
			k.most = max(k.most, int(in.o[len(in.o)-1].imm))
		}
	}
	return k
}
