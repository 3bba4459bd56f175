package layer_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
)

// Another module builds against this one, and adds a layer and an op in one file of its own.
func TestOutsideModule(t *testing.T) {
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	read := func(path string) []byte {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	mod := regexp.MustCompile(`(?m)^module .*$`).ReplaceAll(read(filepath.Join(root, "go.mod")), []byte("module example.com/outside"))
	mod = append(mod, "\nrequire github.com/convae/convae v0.0.0\n\nreplace github.com/convae/convae => "+root+"\n"...)
	for name, data := range map[string][]byte{"go.mod": mod, "go.sum": read(filepath.Join(root, "go.sum")), "main.go": read("testdata/outside/main.go")} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("go", "run", "-mod=mod", ".")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOPROXY=off", "GOFLAGS=", "GOWORK=off", "CONVAE_SIMD=")
	out, err := cmd.CombinedOutput()
	if want := "trained: true; state 1, factor [2.5]\ntrue <nil>\n"; err != nil || string(out) != want {
		t.Errorf("%v:\n%s\nwant\n%s", err, out, want)
	}
}
