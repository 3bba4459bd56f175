package main

import (
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Most instructions in the inner loops of whole tiles are multiply-adds. Cores of arm64 begin four instructions or more at a time, two (Apple's:
// four) of them multiply-adds, so that what else there is does not hold them up.
func TestShareOfMultiplyAdds(t *testing.T) {
	text := arm64File().text.String()
	for label, least := range map[string]float64{
		"multiply four5x16": 0.8, "multiply four10x8": 0.8, "multiply four12x4": 0.7,
		"outer pixel5x16": 0.6, "outer pixel10x8": 0.6,
	} {
		function, loop, _ := strings.Cut(label, " ")
		_, body, _ := strings.Cut(text, "TEXT ·"+function+"NEON")
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

// The codes of machine instructions are those that binutils' assembler makes of the text in their comments.
func TestWords(t *testing.T) {
	const as, objcopy = "aarch64-linux-gnu-as", "aarch64-linux-gnu-objcopy"
	if _, err := exec.LookPath(as); err != nil {
		t.Skip("the package binutils-aarch64-linux-gnu is not installed")
	}
	var codes, texts []string
	for _, w := range regexp.MustCompile(`WORD \$0x(\w+) // (.*)`).FindAllStringSubmatch(arm64File().text.String(), -1) {
		if !slices.Contains(texts, w[2]) {
			codes, texts = append(codes, w[1]), append(texts, w[2])
		}
	}
	dir := t.TempDir()
	source, object, raw := filepath.Join(dir, "words.s"), filepath.Join(dir, "words.o"), filepath.Join(dir, "words")
	if err := os.WriteFile(source, []byte(strings.Join(texts, "\n")+"\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	for _, c := range [][]string{{as, "-o", object, source}, {objcopy, "-O", "binary", "-j", ".text", object, raw}} {
		if out, err := exec.Command(c[0], c[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", c, err, out)
		}
	}
	made, err := os.ReadFile(raw)
	if err != nil {
		t.Fatal(err)
	}
	if len(made) != 4*len(texts) {
		t.Fatalf("%d bytes for %d instructions", len(made), len(texts))
	}
	for i, text := range texts {
		if want := fmt.Sprintf("%08x", binary.LittleEndian.Uint32(made[4*i:])); codes[i] != want {
			t.Errorf("%s has the code %s, want %s", text, codes[i], want)
		}
	}
	t.Logf("%d instructions", len(texts))
}
