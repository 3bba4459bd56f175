//go:build cuda && linux

package driver

import (
	"strings"
	"testing"
)

// A machine without the driver's library.
func TestNoLibrary(t *testing.T) {
	defer func(l string) { library = l }(library)
	library = "libcuda-that-is-not-there.so.1"
	_, err := System()
	if err == nil || !strings.Contains(err.Error(), "no NVIDIA driver (libcuda-that-is-not-there.so.1: cannot open shared object file") || !strings.Contains(err.Error(), "container toolkit") {
		t.Errorf("error %v", err)
	}
}
