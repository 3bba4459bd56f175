package ptxsim

// ptype is a PTX type.
type ptype uint8

const (
	tyNone ptype = iota
	tyPred
	tyB8
	tyU8
	tyS8
	tyB16
	tyU16
	tyS16
	tyF16
	tyBf16
	tyB32
	tyU32
	tyS32
	tyF32
	tyB64
	tyU64
	tyS64
	tyF64
)

var typeNames = map[string]ptype{
	"pred": tyPred, "b8": tyB8, "u8": tyU8, "s8": tyS8, "b16": tyB16, "u16": tyU16, "s16": tyS16, "f16": tyF16, "bf16": tyBf16,
	"b32": tyB32, "u32": tyU32, "s32": tyS32, "f32": tyF32, "b64": tyB64, "u64": tyU64, "s64": tyS64, "f64": tyF64,
}

func (t ptype) String() string {
	for n, v := range typeNames {
		if v == t {
			return n
		}
	}
	return "none"
}

// size is the number of bytes in memory.
func (t ptype) size() int {
	switch t {
	case tyB8, tyU8, tyS8, tyPred:
		return 1
	case tyB16, tyU16, tyS16, tyF16, tyBf16:
		return 2
	case tyB64, tyU64, tyS64, tyF64:
		return 8
	}
	return 4
}

func (t ptype) signed() bool { return t == tyS8 || t == tyS16 || t == tyS32 || t == tyS64 }
func (t ptype) float() bool  { return t == tyF16 || t == tyBf16 || t == tyF32 || t == tyF64 }
func (t ptype) bits() bool   { return t == tyB8 || t == tyB16 || t == tyB32 || t == tyB64 }

// accepts says whether a register of type r may be an operand of type t: the sizes agree, and a float is not taken for an
// integer. Untyped bits agree with both.
func (t ptype) accepts(r ptype) bool {
	if t == tyPred || r == tyPred {
		return t == r
	}
	if t.size() == 1 && !t.float() { // there are no registers of 8 bits
		return !r.float() && r.size() <= 4
	}
	return t.size() == r.size() && (t.bits() || r.bits() || t.float() == r.float())
}
