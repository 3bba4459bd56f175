package nn

import (
	"os"
	"strings"
	"testing"
)

// The code that docs/library.md and the package's documentation show is that of examples, which compile and run.
func TestShownCodeIsThatOfExamples(t *testing.T) {
	read := func(path string) string {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	examples := read("example_library_test.go")
	_, block, _ := strings.Cut(read("../docs/library.md"), "```go\n")
	block, _, _ = strings.Cut(block, "```")
	doc := ""
	for line := range strings.Lines(read("doc.go")) {
		if code, ok := strings.CutPrefix(line, "//\t"); ok {
			doc += code
		}
	}
	for where, code := range map[string]string{"docs/library.md": block, "doc.go": doc} {
		if indented := "\t" + strings.ReplaceAll(strings.TrimSuffix(code, "\n"), "\n", "\n\t") + "\n"; len(code) < 100 || !strings.Contains(examples, indented) {
			t.Errorf("the code in %s is not that of an example:\n%s", where, code)
		}
	}
}
