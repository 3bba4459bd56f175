package main

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

func TestMan(t *testing.T) {
	t.Chdir(t.TempDir())
	out := mustRun(t, manCommand(), "share/man1")
	pages, err := os.ReadDir("share/man1")
	if err != nil || len(pages) != len(rootCommand().Commands())+1 || !strings.Contains(out, fmt.Sprintf("%d pages", len(pages))) {
		t.Fatalf("%d pages, error %v; printed %q", len(pages), err, out)
	}
	page, err := os.ReadFile("share/man1/convae-denoise.1")
	if err != nil || !strings.Contains(string(page), "standard deviation of noise") || !strings.Contains(string(page), `\fBconvae(1)\fP`) {
		t.Errorf("page %q, error %v", page, err)
	}
	write(t, nil, "file")
	wantError(t, "man: ", manCommand(), "file")
}
