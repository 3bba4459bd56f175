package main

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
)

const avx512bf16 = "AVX512BF16" // AVX-512 with AVX512_BF16

// bf16 makes the functions for words: pairs of bfloat16.
func bf16(s *source) {
	g := avx512(s)
	g.name = avx512bf16
	g.multiply()
	g.outer()
	g.pairChannels()
	g.pairRows()
	g.name = "AMX"
	g.multiplyAMX()
}

// multiplyAdd is sum += a b, of floats or of pairs.
func (g *avx) multiplyAdd(a, b, sum string) {
	if g.name == avx512bf16 {
		g.code(vdpbf16ps(number(sum), number(a), number(b)))
		return
	}
	g.line("VFMADD231PS %s, %s, %s", a, b, sum)
}

// number is the number of a register.
func number(register string) int {
	n, err := strconv.Atoi(strings.TrimLeft(register, "TZ"))
	if err != nil {
		panic(err)
	}
	return n
}

// machineCode is an instruction that Go's assembler does not know: its bytes, and how binutils write it.
type machineCode struct {
	bytes []byte
	text  string
}

// code writes an instruction.
func (g *avx) code(i machineCode) {
	var parts []string
	for b := i.bytes; len(b) > 0; {
		switch {
		case len(b) >= 4:
			parts, b = append(parts, fmt.Sprintf("LONG $%#x", binary.LittleEndian.Uint32(b))), b[4:]
		case len(b) >= 2:
			parts, b = append(parts, fmt.Sprintf("WORD $%#x", binary.LittleEndian.Uint16(b))), b[2:]
		default:
			parts, b = append(parts, fmt.Sprintf("BYTE $%#x", b[0])), b[1:]
		}
	}
	g.line("%s // %s", strings.Join(parts, "; "), i.text)
}

// The mandatory prefixes of an opcode, as VEX and EVEX have them.
const (
	prefixF3 = 2
	prefixF2 = 3
)

// evex is an instruction of three vectors of 512 bits in the map 0F38, as Intel's manual writes its operands.
func evex(prefix, opcode byte, reg, vvvv, rm int) []byte {
	not := func(register, bit int) byte { return byte(^register >> bit & 1) }
	return []byte{
		0x62,
		not(reg, 3)<<7 | not(rm, 4)<<6 | not(rm, 3)<<5 | not(reg, 4)<<4 | 2,
		byte(^vvvv&15)<<3 | 1<<2 | prefix,
		2<<5 | not(vvvv, 4)<<3,
		opcode,
		0xc0 | byte(reg&7)<<3 | byte(rm&7),
	}
}

// vdpbf16ps adds to each float of sum the products of the pairs of bfloat16 in its lane of a and b.
func vdpbf16ps(sum, a, b int) machineCode {
	return machineCode{evex(prefixF3, 0x52, sum, a, b), fmt.Sprintf("vdpbf16ps zmm%d, zmm%d, zmm%d", sum, a, b)}
}

// vcvtneps2bf16 rounds 16 floats to 16 bfloat16. The instruction that rounds two vectors at once is left out: Bochs, which runs the tests, takes its
// second half from elsewhere.
func vcvtneps2bf16(to, from int) machineCode {
	return machineCode{evex(prefixF3, 0x72, to, 0, from), fmt.Sprintf("vcvtneps2bf16 ymm%d, zmm%d", to, from)}
}

// vex is an instruction of tiles: with registers alone, or with the place in memory at a base and an index, if it has one.
func vex(prefix, opcode byte, vvvv int, mod ...byte) []byte {
	return append([]byte{0xc4, 0xe2, byte(^vvvv&15)<<3 | prefix, opcode}, mod...)
}

// The registers of addresses, as machine code numbers them.
var addresses = []string{"AX", "CX", "DX", "BX", "SP", "BP", "SI", "DI", "R8", "R9", "R10", "R11", "R12", "R13", "R14", "R15"}

func address(name string) (n int, text string) {
	for i, a := range addresses {
		if a == name {
			return i, map[bool]string{true: "r", false: ""}[i < 8] + strings.ToLower(a)
		}
	}
	panic("no register " + name)
}

// tileMove is a load (F2) or a store (F3) of a tile: its rows lie index bytes apart, the first at base + 64*column.
func tileMove(prefix byte, tile int, base string, column int, index string) (bytes []byte, place string) {
	b, bt := address(base)
	x, xt := address(index)
	mod, rest := byte(0), []byte(nil)
	at := bt + "+" + xt + "*1"
	if column > 0 || b&7 == 5 {
		mod, rest = 0x40, []byte{byte(64 * column)}
		at += fmt.Sprintf("+%#x", 64*column)
	}
	code := vex(prefix, 0x4b, 0, append([]byte{mod | byte(tile)<<3 | 4, byte(x&7)<<3 | byte(b&7)}, rest...)...)
	code[1] = 0xe2 &^ byte(b>>3<<5|x>>3<<6)
	return code, at
}

func tileloadd(tile int, base string, column int, index string) machineCode {
	code, at := tileMove(prefixF2, tile, base, column, index)
	return machineCode{code, fmt.Sprintf("tileloadd tmm%d, [%s]", tile, at)}
}

func tilestored(tile int, base string, column int, index string) machineCode {
	code, at := tileMove(prefixF3, tile, base, column, index)
	return machineCode{code, fmt.Sprintf("tilestored [%s], tmm%d", at, tile)}
}

// tdpbf16ps adds the product of tiles a and b of pairs to tile sum.
func tdpbf16ps(sum, a, b int) machineCode {
	return machineCode{vex(prefixF3, 0x5c, b, 0xc0|byte(sum)<<3|byte(a)), fmt.Sprintf("tdpbf16ps tmm%d, tmm%d, tmm%d", sum, a, b)}
}

// ldtilecfg takes the shapes of the tiles from 64 bytes, and clears all tiles.
func ldtilecfg(base string) machineCode {
	b, text := address(base)
	if b&7 == 4 || b&7 == 5 {
		panic(base + " needs more than a byte of address")
	}
	code := vex(0, 0x49, 0, byte(b&7))
	code[1] &^= byte(b >> 3 << 5)
	return machineCode{code, fmt.Sprintf("ldtilecfg [%s]", text)}
}

// tilerelease gives the tiles back: the system need not save them any more.
func tilerelease() machineCode { return machineCode{vex(0, 0x49, 0, 0xc0), "tilerelease"} }

// pairChannels makes the kernel of PairChannels. SI and DI are the pixel, R9 and R10 the channels and the words of it that are left, R11 and R12
// where in the pixel they are.
func (g *avx) pairChannels() {
	g.function("rounds c channels of w pixels to pairs, n words of them a pixel; those beyond the channels are zero.", "pairChannels", "dst, src *float32, w, c, n int")
	g.line("MOVQ {dst}, DI\nMOVQ {src}, SI\nMOVQ {w}, R15\nMOVQ $32, R8\nMOVQ $16, BX")
	g.line("pixel:\nMOVQ {c}, R9\nMOVQ {n}, R10\nMOVQ SI, R11\nMOVQ DI, R12\nloop:")
	// The masks are of the next 32 channels, none if there are none left, and of the next 16 words.
	mask := func(left, most string) {
		g.line("MOVQ %s, CX\nCMPQ CX, %s\nCMOVQGT %s, CX\nMOVQ $0, DX\nTESTQ CX, CX\nCMOVQLT DX, CX\nMOVQ $-1, AX\nSHLQ CX, AX\nNOTQ AX", left, most, most)
	}
	mask("R9", "R8")
	g.line("KMOVW AX, K1\nSHRQ $16, AX\nKMOVW AX, K2")
	mask("R10", "BX")
	g.line("KMOVW AX, K3\nVMOVUPS.Z (R11), K1, Z0\nVMOVUPS.Z 64(R11), K2, Z1")
	g.code(vcvtneps2bf16(0, 0))
	g.code(vcvtneps2bf16(1, 1))
	g.line("VINSERTF64X4 $1, Y1, Z0, Z0\nVMOVUPS Z0, K3, (R12)\nADDQ $128, R11\nADDQ $64, R12\nSUBQ $32, R9\nSUBQ $16, R10\nJG loop")
	g.line("MOVQ {c}, AX\nLEAQ (SI)(AX*4), SI\nMOVQ {n}, AX\nLEAQ (DI)(AX*4), DI\nDECQ R15\nJNZ pixel\nVZEROUPPER\nRET")
}

// pairRows makes the kernel of PairRows.
func (g *avx) pairRows() {
	g.function("rounds elements of a and of b to pairs.", "pairRows", "dst, a, b *float32, n int")
	g.line("MOVQ {dst}, DI\nMOVQ {a}, SI\nMOVQ {b}, DX\nMOVQ {n}, BX")
	pair := func() {
		g.code(vcvtneps2bf16(0, 0))
		g.code(vcvtneps2bf16(1, 1))
		g.line("VPMOVZXWD Y0, Z0\nVPMOVZXWD Y1, Z1\nVPSLLD $16, Z1, Z1\nVPORD Z0, Z1, Z0")
	}
	g.line("SUBQ $16, BX\nJL rest\nloop:\nVMOVUPS (SI), Z0\nVMOVUPS (DX), Z1")
	pair()
	g.line("VMOVUPS Z0, (DI)\nADDQ $64, SI\nADDQ $64, DX\nADDQ $64, DI\nSUBQ $16, BX\nJGE loop")
	g.line("rest:\nADDQ $16, BX\nJZ done\nMOVQ $-1, AX\nMOVQ BX, CX\nSHLQ CX, AX\nNOTQ AX\nKMOVW AX, K1\nVMOVUPS.Z (SI), K1, Z0\nVMOVUPS.Z (DX), K1, Z1")
	pair()
	g.line("VMOVUPS Z0, K1, (DI)\ndone:\nVZEROUPPER\nRET")
}

// multiplyAMX makes the kernel of Product for tiles: T0 to T3 are the sums of two tiles of rows by two of columns, T4 and T5 are rows of A, T6 and
// T7 columns of B. SI is the first row of A of this y, DI that of C, R8 and R9 the two tiles of A, R10 is no bytes, R11 the bytes of a step in a row
// of A and R12 in B, R13 the stride between rows of A, R14 the taps left, R15 what is left of H, BX the rows of B, CX the words left, DX the
// taps, AX the stride of B and of the sums. Between the first instruction of tiles and the last there is no call: Go runs nothing else on the thread meanwhile.
func (g *avx) multiplyAMX() {
	g.function(
		"computes a Product of pairs with W = rows <= 32; strides are in bytes, k above 0 and a multiple of step; config has the shapes, bias two vectors, and sums room for the sums.",
		"multiply", "c *float32, ch, cw uintptr, a *float32, ah, aw uintptr, taps *int, ntaps, k, step int, b *float32, config *byte, bias, sums *float32, mode int, mask *float32, h, rows, n int")
	g.masks(2)
	g.line("MOVQ {a}, SI\nMOVQ {c}, DI\nMOVQ {aw}, R13\nMOVQ {h}, R15\nMOVQ {config}, AX")
	g.code(ldtilecfg("AX"))
	g.line("MOVQ {rows}, AX\nMOVQ {n}, CX\nCMPQ AX, $16\nJGT tall\nCMPQ CX, $16\nJGT wide1\nJMP y11\nwide1:\nJMP y12\ntall:\nCMPQ CX, $16\nJGT wide2\nJMP y21\nwide2:\nJMP y22")
	for tall := 1; tall <= 2; tall++ {
		for wide := 1; wide <= 2; wide++ {
			g.tilesAMX(fmt.Sprintf("%d%d", tall, wide), tall, wide)
		}
	}
}

func (g *avx) tilesAMX(label string, tall, wide int) {
	each := func(f func(i, r, v int)) {
		for r := range tall {
			for v := range wide {
				f(2*r+v, r, v)
			}
		}
	}
	g.line("y%s:\nXORQ R10, R10\nMOVQ {bias}, AX", label)
	each(func(i, r, v int) { g.code(tileloadd(i, "AX", v, "R10")) }) // all rows are the bias
	g.line("MOVQ {step}, R11\nSHLQ $2, R11\nMOVQ R11, R12\nSHLQ $5, R12\nMOVQ $128, AX")
	g.line("MOVQ {b}, BX\nMOVQ {taps}, DX\nMOVQ {ntaps}, R14\ntap%s:\nMOVQ (DX), CX\nADDQ $8, DX\nLEAQ (SI)(CX*4), R8", label)
	if tall > 1 {
		g.line("MOVQ R13, CX\nSHLQ $4, CX\nLEAQ (R8)(CX*1), R9")
	}
	g.line("MOVQ {k}, CX\nstep%s:", label)
	for v := range wide {
		g.code(tileloadd(6+v, "BX", v, "AX"))
	}
	for r := range tall {
		g.code(tileloadd(4+r, [...]string{"R8", "R9"}[r], 0, "R13"))
	}
	each(func(i, r, v int) { g.code(tdpbf16ps(i, 4+r, 6+v)) })
	g.line("ADDQ R11, R8\nADDQ R12, BX")
	if tall > 1 {
		g.line("ADDQ R11, R9")
	}
	g.line("SUBQ {step}, CX\nJNZ step%s\nDECQ R14\nJNZ tap%s", label, label)
	g.line("MOVQ {sums}, R8\nLEAQ 2048(R8), R9")
	each(func(i, r, v int) { g.code(tilestored(i, [...]string{"R8", "R9"}[r], v, "AX")) })

	// R8 is a row of the sums, R9 of the mask, DX of C.
	g.line("MOVQ {rows}, CX\nMOVQ {cw}, BX\nMOVQ {mode}, R10\nMOVQ {mask}, R9\nMOVQ DI, DX\nVXORPS Z5, Z5, Z5\nrow%s:", label)
	sums := func(f string) {
		for v := range wide {
			g.line("%s", strings.NewReplacer("[sum]", fmt.Sprint("Z", v), "[x]", fmt.Sprint("Z", 2+v), "[lanes]", g.mask(v), "[at]", fmt.Sprint(64*v)).Replace(f))
		}
	}
	sums("VMOVUPS [at](R8), [sum]")
	g.line("CMPQ R10, $1\nJLT store%s\nJEQ relu%s\nCMPQ R10, $2\nJEQ add%s", label, label, label)
	sums("VMOVUPS.Z [at](R9), [lanes], [x]\nVCMPPS $0x1e, Z5, [x], K3\nVMOVAPS.Z [sum], K3, [sum]")
	g.line("ADDQ BX, R9\nJMP store%s\nadd%s:", label, label)
	sums("VMOVUPS.Z [at](DX), [lanes], [x]\nVADDPS [x], [sum], [sum]")
	g.line("JMP store%s\nrelu%s:", label, label)
	sums("VMAXPS [sum], Z5, [sum]")
	g.line("store%s:", label)
	sums("VMOVUPS [sum], [lanes], [at](DX)")
	g.line("ADDQ BX, DX\nADDQ $128, R8\nDECQ CX\nJNZ row%s", label)
	g.line("MOVQ {ch}, AX\nADDQ AX, DI\nADDQ AX, {mask}\nADDQ {ah}, SI\nDECQ R15\nJNZ y%s", label)
	g.code(tilerelease())
	g.line("VZEROUPPER\nRET")
}
