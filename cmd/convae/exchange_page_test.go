package main

import (
	"os"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// The commands of docs/exchange.md do what the page says, in its order.
func TestExchangePage(t *testing.T) {
	page, err := os.ReadFile("../../docs/exchange.md")
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	mustRun(t, trainCommand(), "denoiser", "--set", "training.batch=16", "--set", "training.epochs=1", "--out", "runs/digits", "--limit", "32", "--device", "cpu", "--log", "lines")
	commands := map[string]func() *cobra.Command{"export": exportCommand, "import": importCommand}
	ran := 0
	fence := "" // what began the block that a line is in
	for line := range strings.Lines(string(page)) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "```") {
			if fence == "" {
				fence = line
			} else {
				fence = ""
			}
			continue
		}
		if fence != "```" {
			continue
		}
		line, _, _ = strings.Cut(line, " #")
		words := strings.Fields(line)
		if len(words) < 2 || words[0] != "convae" || commands[words[1]] == nil {
			t.Fatalf("the page has the command %q: want one that this test runs", line)
		}
		mustRun(t, commands[words[1]](), words[2:]...)
		ran++
	}
	if ran < 3 {
		t.Errorf("%d commands were run", ran)
	}
}
