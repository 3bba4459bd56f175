package main

import (
	"strings"
	"testing"
)

// Most instructions in the inner loops of whole tiles are multiply-adds. Cores of arm64 begin four instructions or more at a time, two (Apple's:
// four) of them multiply-adds, so that what else there is does not hold them up.
func TestShareOfMultiplyAdds(t *testing.T) {
	text, _ := neonFile()
	for label, least := range map[string]float64{
		"multiply four5x16": 0.8, "multiply four10x8": 0.8, "multiply four12x4": 0.7,
		"outer pixel5x16": 0.6, "outer pixel10x8": 0.6,
	} {
		function, loop, _ := strings.Cut(label, " ")
		_, body, _ := strings.Cut(string(text), "TEXT ·"+function+"NEON")
		_, body, ok := strings.Cut(body, loop+":\n")
		if !ok {
			t.Fatalf("there is no loop %s", label)
		}
		all, fmla := 0, 0
		for line := range strings.Lines(body) {
			all++
			if strings.Contains(line, "fmla") {
				fmla++
			}
			if strings.Contains(line, loop) { // the jump back
				break
			}
		}
		share := float64(fmla) / float64(all)
		t.Logf("%s: %d of %d instructions are multiply-adds, %.0f %%", label, fmla, all, 100*share)
		if share < least {
			t.Errorf("%s: %.2f of the instructions are multiply-adds, want %v", label, share, least)
		}
	}
}

// The codes of machine instructions are those that an assembler makes: binutils', of the text in the comments.
func TestWords(t *testing.T) {
	g := &neon{}
	g.fmla(3, 30, 17, 2)
	g.fmla(31, 0, 15, 1)
	g.three("fadd", 1, 2, 3)
	g.three("fmax", 31, 16, 8)
	g.positive(5, 21)
	for _, want := range []string{
		"WORD $0x4f911bc3 // fmla v3.4s, v30.4s, v17.s[2]\n",
		"WORD $0x4faf101f // fmla v31.4s, v0.4s, v15.s[1]\n",
		"WORD $0x4e23d441 // fadd v1.4s, v2.4s, v3.4s\n",
		"WORD $0x4e28f61f // fmax v31.4s, v16.4s, v8.4s\n",
		"WORD $0x4ea0caa5 // fcmgt v5.4s, v21.4s, #0.0\n",
	} {
		if !strings.Contains(g.text.String(), want) {
			t.Errorf("found\n%s\nwant %s", g.text.String(), want)
		}
	}
}
