package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The page has the tables as they are computed from the steps that are predicted now.
func TestPage(t *testing.T) {
	root := filepath.Join("..", "..")
	page, err := os.ReadFile(filepath.Join(root, "docs", "scaling.md"))
	if err != nil {
		t.Fatal(err)
	}
	var tables strings.Builder
	if err := write(&tables, root); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(page), tables.String()) {
		t.Errorf("docs/scaling.md is not what go run ./scripts/scaling prints:\n%s", tables.String())
	}
}

// A sum takes its start and the bytes that pass a link; what the backward pass hides, and what it cannot.
func TestExposed(t *testing.T) {
	m := machines{gpus: 2, start: 10, bus: 100}
	for _, c := range []struct{ bytes, step, sum, want float64 }{
		{0, 100, 10, 10},
		{1000, 100, 20, 20},                 // one bucket: nothing is hidden
		{2*bucket + 1000, 1e9, 524308, 20},  // all but the last bucket is
		{2 * bucket, 30000, 524298, 504298}, // the backward pass of 20 ms hides as much
	} {
		if got := m.allReduce(c.bytes); got < c.sum-1 || got > c.sum+1 {
			t.Errorf("%v bytes: a sum of %v us, want %v", c.bytes, got, c.sum)
		}
		if got := m.exposed(c.bytes, c.step); got < c.want-1 || got > c.want+1 {
			t.Errorf("%v bytes in a step of %v us: %v us are not hidden, want %v", c.bytes, c.step, got, c.want)
		}
	}
}
