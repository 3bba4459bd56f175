package main

import (
	"encoding/hex"
	"testing"
)

// The bytes of machine instructions are those that an assembler makes: binutils', of their text.
func TestInstructions(t *testing.T) {
	for _, c := range []struct {
		machineCode
		text, bytes string
	}{
		{vdpbf16ps(0, 28, 30), "vdpbf16ps zmm0, zmm28, zmm30", "62921e4052c6"},
		{vdpbf16ps(27, 29, 31), "vdpbf16ps zmm27, zmm29, zmm31", "6202164052df"},
		{vdpbf16ps(9, 5, 3), "vdpbf16ps zmm9, zmm5, zmm3", "6272564852cb"},
		{vcvtneps2bf16(1, 1), "vcvtneps2bf16 ymm1, zmm1", "62f27e4872c9"},
		{vcvtneps2bf16(20, 31), "vcvtneps2bf16 ymm20, zmm31", "62827e4872e7"},
		{tileloadd(0, "AX", 0, "R10"), "tileloadd tmm0, [rax+r10*1]", "c4a27b4b0410"},
		{tileloadd(7, "BX", 1, "AX"), "tileloadd tmm7, [rbx+rax*1+0x40]", "c4e27b4b7c0340"},
		{tileloadd(5, "R9", 0, "R13"), "tileloadd tmm5, [r9+r13*1]", "c4827b4b2c29"},
		{tileloadd(1, "R13", 0, "CX"), "tileloadd tmm1, [r13+rcx*1+0x0]", "c4c27b4b4c0d00"},
		{tileloadd(3, "BP", 0, "R8"), "tileloadd tmm3, [rbp+r8*1+0x0]", "c4a27b4b5c0500"},
		{tilestored(3, "R9", 1, "AX"), "tilestored [r9+rax*1+0x40], tmm3", "c4c27a4b5c0140"},
		{tdpbf16ps(0, 4, 6), "tdpbf16ps tmm0, tmm4, tmm6", "c4e24a5cc4"},
		{tdpbf16ps(3, 5, 7), "tdpbf16ps tmm3, tmm5, tmm7", "c4e2425cdd"},
		{ldtilecfg("AX"), "ldtilecfg [rax]", "c4e2784900"},
		{ldtilecfg("R11"), "ldtilecfg [r11]", "c4c2784903"},
		{tilerelease(), "tilerelease", "c4e27849c0"},
	} {
		if got := hex.EncodeToString(c.machineCode.bytes); got != c.bytes || c.machineCode.text != c.text {
			t.Errorf("%q is %s, want %q, %s", c.machineCode.text, got, c.text, c.bytes)
		}
	}
}
