//go:build cuda && linux

package nccl

import (
	"strings"
	"testing"

	"github.com/convae/convae/cuda/nccl/internal/libnccl"
)

// A machine without the library, and one with another by its name.
func TestNoLibrary(t *testing.T) {
	defer func(l string) { library = l }(library)
	for name, want := range map[string]string{
		"libnccl-that-is-not-there.so.2": "no NCCL (libnccl-that-is-not-there.so.2: cannot open shared object file: No such file or directory): install NCCL 2.9 or later",
		"libc.so.6":                      "libc.so.6 lacks ncclGetVersion, ncclGetErrorString, ncclGetUniqueId",
	} {
		library = name
		if _, err := System(); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "LD_LIBRARY_PATH") {
			t.Errorf("%s: error %v, want %q", name, err, want)
		}
		libnccl.Clear()
	}
}
