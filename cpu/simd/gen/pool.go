package main

import "fmt"

// pixels makes a loop over w pixels and, within, over vectors of their first n channels; c is the channels. AX is the
// channel, R8 the pixel of the pooled row, R9 its places, R10 to R13 those of its window, all of which move on, and DX
// 4c. AVX2, which has no masked stores of bytes, takes n without a rest.
func (g mnemonics) pixels(rows string, body func()) {
	g.line("MOVQ {pooled}, R8\nMOVQ {at}, R9\nMOVQ {%s}, R10\nMOVQ {c}, DX\nSHLQ $2, DX\nMOVQ {row}, R12\nSHLQ $2, R12\nADDQ R10, R12", rows)
	g.line("LEAQ (R10)(DX*1), R11\nLEAQ (R12)(DX*1), R13\nMOVQ {w}, SI\nMOVQ {at}, DI\npixel:\nXORQ AX, AX\nMOVQ {n}, CX\nSUBQ $%d, CX\nJLT part\nwhole:", g.lanes)
	body()
	g.line("ADDQ $%d, AX\nSUBQ $%d, CX\nJGE whole\npart:", g.lanes, g.lanes)
	if g.reg == "Z" {
		g.line("ADDQ $%d, CX\nJZ next", g.lanes)
		g.lanesLeft()
		g.part = true
		body()
		g.part = false
		g.line("next:")
	}
	g.line("ADDQ DX, R8\nADDQ {c}, R9")
	for i := range 4 {
		g.line("LEAQ (R%d)(DX*2), R%d", 10+i, 10+i)
	}
	g.line("DECQ SI\nJNZ pixel")
	g.end()
}

// loadAt and storeAt move a vector.
func (g mnemonics) loadAt(at, to string) {
	if g.part {
		g.load(0, at, to)
	} else {
		g.line("VMOVUPS %s, %s", at, to)
	}
}

func (g mnemonics) storeAt(from, at string) {
	if g.part {
		g.store(0, from, at)
	} else {
		g.line("VMOVUPS %s, %s", from, at)
	}
}

func (g mnemonics) pool() {
	r := g.v
	window := func(k int) string { return fmt.Sprintf("(R%d)(AX*4)", 10+k) }
	best, place, x, spare := r(0), r(1), r(2), r(3)

	g.function("takes the maxima of windows of 2 by 2, of n of their c channels; at may be nil.", "maxPool", "pooled *float32, at *byte, src *float32, row, w, c, n int")
	g.pixels("src", func() {
		g.loadAt(window(0), best)
		g.zero(place)
		for k := 1; k < 4; k++ {
			g.loadAt(window(k), x)
			if g.reg == "Z" {
				g.line("VCMPPS $%#x, %s, %s, K2\nVCMPPS $%#x, %s, %s, K2, K2", notAtMost, best, x, ordered, best, best)
				g.line("VMOVAPS %s, K2, %s\nVMOVUPS %s, K2, %s", x, best, g.u(uint32(k)), place)
				continue
			}
			g.line("VCMPPS $%#x, %s, %s, %s\nVCMPPS $%#x, %s, %s, %s", notAtMost, best, x, spare, ordered, best, best, r(4))
			g.op("VANDPS", spare, r(4), spare)
			g.line("VBLENDVPS %s, %s, %s, %s\nVBLENDVPS %s, %s, %s, %s", spare, x, best, best, spare, g.u(uint32(k)), place, place)
		}
		g.storeAt(best, "(R8)(AX*4)")
		label := fmt.Sprintf("noplace%t", g.part)
		g.line("TESTQ DI, DI\nJZ %s", label)
		switch {
		case g.part:
			g.line("VPMOVDB %s, K1, (R9)(AX*1)", place)
		case g.reg == "Z":
			g.line("VPMOVDB %s, (R9)(AX*1)", place)
		default:
			g.line("VEXTRACTI128 $1, Y1, X2\nVPACKSSDW X2, X1, X1\nVPACKUSWB X1, X1, X1\nVMOVQ X1, (R9)(AX*1)")
		}
		g.line("%s:", label)
	})

	g.function("gives each of n of c channels of windows of 2 by 2 its gradient where it was the maximum, else 0.", "unpool", "dst *float32, row int, pooled *float32, at *byte, w, c, n int")
	g.pixels("dst", func() {
		g.loadAt("(R8)(AX*4)", best)
		if g.part {
			g.line("VPMOVZXBD.Z (R9)(AX*1), K1, %s", place)
		} else {
			g.line("VPMOVZXBD (R9)(AX*1), %s", place)
		}
		for k := range 4 {
			if g.reg == "Z" {
				g.line("VPCMPEQD %s, %s, K2\nVMOVAPS.Z %s, K2, %s", g.u(uint32(k)), place, best, x)
			} else {
				g.line("VPCMPEQD %s, %s, %s\nVANDPS %s, %s, %s", g.u(uint32(k)), place, x, x, best, x)
			}
			g.storeAt(x, window(k))
		}
	})

	g.function("does dst = src/255; n is a number of vectors.", "pixels", "dst *float32, src *byte, n int")
	g.line("MOVQ {dst}, R8\nMOVQ {src}, R9\nMOVQ {n}, CX\nVMOVUPS %s, %s\nloop:\nVPMOVZXBD (R9), %s\nVCVTDQ2PS %s, %s", g.f(255), x, best, best, best)
	g.op("VDIVPS", best, x, best)
	g.line("VMOVUPS %s, (R8)\nADDQ $%d, R8\nADDQ $%d, R9\nSUBQ $%d, CX\nJNZ loop", best, g.bytes, g.lanes, g.lanes)
	g.end()
}
