package main

import (
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/convae/convae/cmd/convae/licences"
)

// The licences are those of exactly the modules that the program is built from, with the tags of this test.
func TestLicences(t *testing.T) {
	gpu := slices.Contains(buildTags, "cuda")
	out, err := exec.Command("go", "list", "-tags", strings.Join(buildTags, ","), "-deps", "-f", "{{with .Module}}{{if not .Main}}{{.Path}} {{.Version}}{{end}}{{end}}", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	want := slices.Compact(slices.Sorted(strings.FieldsFuncSeq(string(out), func(r rune) bool { return r == '\n' })))
	if got := licences.Modules(gpu); !slices.Equal(got, want) {
		t.Errorf("licences are of\n%s\nwant of\n%s\n(go generate ./cmd/convae/licences writes them anew)", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	stdout, _, err := run(t, "licences")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"MIT License", "SIL OPEN FONT LICENSE", "Apache License", "The FreeType Project LICENSE", "Copyright 2009 The Go Authors"} {
		if !strings.Contains(stdout, want) {
			t.Errorf("the licences lack %q", want)
		}
	}
	for _, m := range licences.Modules(true) {
		if !strings.Contains(stdout, "\n"+m+": ") {
			t.Errorf("there is no text for %s", m)
		}
	}
	if spelt, _, err := run(t, "licenses"); err != nil || spelt != stdout {
		t.Errorf("licenses: %v, and %d bytes, want %d", err, len(spelt), len(stdout))
	}
}
