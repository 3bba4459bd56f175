//go:build unix

package dataset

import (
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// A pipe is an error at once: to open it would wait for a writer.
func TestPipesAreErrors(t *testing.T) {
	dir := makeFolder(t, "a.png")
	pipe := filepath.Join(dir, "b.png")
	if err := syscall.Mkfifo(pipe, 0o666); err != nil {
		t.Fatal(err)
	}
	want := pipe + " is not a regular file but a named pipe"
	_, images := ReadImages(t.Context(), dir, ImageOptions{H: 1, W: 1, C: 1})
	_, table := ReadCSV(pipe, CSVOptions{})
	_, idx := ReadIDXImages(pipe)
	for kind, err := range map[string]error{"images": images, "table": table, "idx": idx} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %s", kind, err, want)
		}
	}
}
