package main

import (
	"bytes"
	"os"
	"regexp"
	"testing"
)

// The files in the package are what this program writes: nobody edits them.
func TestGenerated(t *testing.T) {
	for name, want := range generate() {
		got, err := os.ReadFile("../" + name)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s is not what gen writes: run go generate ./cpu/simd", name)
		}
	}
}

// Neither slices nor constants are aligned to vectors.
func TestUnaligned(t *testing.T) {
	if at := regexp.MustCompile(`VMOVAPS.*\(.*`).Find(generate()["kernels_amd64_gen.s"]); at != nil {
		t.Errorf("%s wants alignment", at)
	}
}
