//go:build cuda && linux

package libcuda

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The generated files are those of symbols.txt.
func TestGenerated(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "symbols.txt"), []byte(symbols), 0o666); err != nil {
		t.Fatal(err)
	}
	gen := filepath.Join(dir, "gen")
	if out, err := exec.Command("go", "build", "-o", gen, "./gen").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	cmd := exec.Command(gen)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, name := range []string{"jumps_gen.S", "slots_gen.h"} {
		want, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(name); err != nil || string(got) != string(want) {
			t.Errorf("%s is not what go generate makes (%v)", name, err)
		}
	}
}

func TestNoLibrary(t *testing.T) {
	err := Open("libcuda-that-is-not-there.so.1")
	if err == nil || !strings.Contains(err.Error(), "libcuda-that-is-not-there.so.1") {
		t.Errorf("error %v, want the linker's, with the file", err)
	}
	if rc := Init(); rc != 0 {
		t.Errorf("cuInit before any library gives %d, want 0", rc)
	}
	if s := ErrorString(2); s != "" {
		t.Errorf("an error string without a library: %q", s)
	}
}

// A library without the symbols is as good as none.
func TestOtherLibrary(t *testing.T) {
	if err := Open("libc.so.6"); err != nil {
		t.Fatal(err)
	}
	defer Clear()
	if s := ErrorName(2); s != "" {
		t.Errorf("an error name of libc's: %q", s)
	}
}
