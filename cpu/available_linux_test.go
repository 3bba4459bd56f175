package cpu

import (
	"math"
	"os"
	"path/filepath"
	"testing"
)

func TestContainerFree(t *testing.T) {
	for _, c := range []struct {
		name  string
		files map[string]string
		want  int64
	}{
		{"none", nil, math.MaxInt64},
		{"no limit", map[string]string{"memory.max": "max\n", "memory.current": "5\n"}, math.MaxInt64},
		{"limit", map[string]string{"memory.max": "1000\n", "memory.current": "700\n", "memory.stat": "anon 600\ninactive_file 50\n"}, 350},
		{"full", map[string]string{"memory.max": "1000\n", "memory.current": "1200\n"}, 0},
		{"version 1", map[string]string{"memory/memory.limit_in_bytes": "900\n", "memory/memory.usage_in_bytes": "100\n"}, 800},
	} {
		root := t.TempDir()
		for name, text := range c.files {
			path := filepath.Join(root, name)
			if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
				t.Fatal(err)
			}
		}
		if got := containerFree(root); got != c.want {
			t.Errorf("%s: %d bytes free, want %d", c.name, got, c.want)
		}
	}
}
