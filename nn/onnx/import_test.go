package onnx

import (
	"os"
	"testing"
)

// No file makes the importer panic.
func FuzzImport(f *testing.F) {
	for _, name := range []string{"torch_strides", "torch_pools"} {
		data, err := os.ReadFile("../../trainer/exchange/testdata/" + name + ".onnx")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if file, err := Parse(data); err == nil {
			if m, err := Import(file, ImportOptions{Size: 8}); err == nil && m.Config.Check() != nil {
				t.Error("a model that cannot be")
			}
		}
	})
}
