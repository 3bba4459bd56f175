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
	"sync"
	"testing"
)

var arm64Text = sync.OnceValue(func() string { return arm64File().text.String() })

// loopOf returns the instructions of a loop of a function for NEON, its jump back the last.
func loopOf(t *testing.T, function, label string) (instructions []string) {
	t.Helper()
	_, body, _ := strings.Cut(arm64Text(), "TEXT ·"+function+"NEON(SB)")
	_, body, ok := strings.Cut(body, label+":\n")
	if !ok {
		t.Fatalf("%s has no loop %s", function, label)
	}
	for line := range strings.Lines(body) {
		if strings.HasPrefix(line, "\t") { // else it is a label
			instructions = append(instructions, line)
		}
		if strings.HasSuffix(line, " "+label+"\n") {
			break
		}
	}
	return instructions
}

// Most instructions in the inner loops of whole tiles are multiply-adds. Cores of arm64 begin four instructions or more at a time, two (Apple's:
// four) of them multiply-adds, so that what else there is does not hold them up.
func TestShareOfMultiplyAdds(t *testing.T) {
	for label, least := range map[string]float64{
		"multiply four5x16": 0.8, "multiply four10x8": 0.8, "multiply four12x4": 0.7,
		"outer pixel5x16": 0.6, "outer pixel10x8": 0.6,
	} {
		function, loop, _ := strings.Cut(label, " ")
		instructions, fmla := loopOf(t, function, loop), 0
		for _, i := range instructions {
			if strings.Contains(i, "fmla") {
				fmla++
			}
		}
		share := float64(fmla) / float64(len(instructions))
		t.Logf("%s: %d of %d instructions are multiply-adds, %.0f %%", label, fmla, len(instructions), 100*share)
		if share < least {
			t.Errorf("%s: %.2f of the instructions are multiply-adds, want %v", label, share, least)
		}
	}
}

// The other loops take no more than so many instructions for a vector, four elements, three of them for the loop itself; random numbers are drawn four vectors at a time.
func TestInstructionsOfVectors(t *testing.T) {
	for label, most := range map[string]int{
		"sum whole": 7, "times whole": 7, "axpy whole": 8, "channels whole": 5, "columns pixel8": 19,
		"relu whole": 7, "reluBack whole": 10, "leakyReLU whole": 9, "elu whole": 38, "sigmoid whole": 38, "tanh whole": 55, "gelu whole": 74,
		"sigmoidBCE whole": 68, "mse whole": 17, "momentum whole": 12, "adam whole": 24, "adadelta whole": 26,
		"normalize whole": 11, "normalizeReLU whole": 13, "correlateReLU whole": 23, "normalizeBackReLU whole": 24,
		"maxPool whole": 36, "unpool whole": 24, "pixels loop": 10, "normals loop": 339, "noise loop": 367, "dropout loop": 207,
	} {
		function, loop, _ := strings.Cut(label, " ")
		n := len(loopOf(t, function, loop))
		t.Logf("%s: %d", label, n)
		if n > most {
			t.Errorf("%s: %d instructions, want %d at most", label, n, most)
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
	for _, w := range regexp.MustCompile(`WORD \$0x(\w+) // (.*)`).FindAllStringSubmatch(arm64Text(), -1) {
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
