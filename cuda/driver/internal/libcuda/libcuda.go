//go:build cuda && linux

// Package libcuda defines the symbols of the CUDA driver library as jumps through a table, so that a program that uses
// them starts on a machine that has no driver: the library is opened when Open is called. Until then, and for symbols
// that the library lacks, a call returns CUDA_ERROR_NOT_INITIALIZED; only cuInit succeeds, because gorgonia.org/cu calls
// it before main and ends the process when it fails.
//
// symbols.txt lists what gorgonia.org/cu and package driver refer to. The empty stub/libcuda.a satisfies the -lcuda
// that gorgonia.org/cu asks for.
package libcuda

//go:generate go run ./gen

// #cgo LDFLAGS: -Wl,--as-needed -L${SRCDIR}/stub -ldl
// #include <stdlib.h>
// #include "libcuda.h"
import "C"

import (
	_ "embed"
	"errors"
	"fmt"
	"strings"
	"unsafe"
)

//go:embed symbols.txt
var symbols string

// Symbols returns the names of the table's symbols in the order of their slots.
func Symbols() []string { return strings.Fields(symbols) }

// Open fills the table from a shared library. The error is the dynamic linker's.
func Open(path string) error {
	name := C.CString(path)
	defer C.free(unsafe.Pointer(name))
	var reason *C.char
	library := C.libcuda_open(name, &reason)
	if library == nil {
		return errors.New(C.GoString(reason))
	}
	Fill(func(symbol string) unsafe.Pointer {
		s := C.CString(symbol)
		defer C.free(unsafe.Pointer(s))
		return C.libcuda_symbol(library, s)
	})
	return nil
}

var filled bool

// Filled reports whether the table was filled.
func Filled() bool { return filled }

// Fill fills the table with what lookup returns; nil stands for a symbol that is not there. No call may be under way.
func Fill(lookup func(symbol string) unsafe.Pointer) {
	for i, name := range Symbols() {
		C.libcuda_set(C.int(i), lookup(name))
	}
	filled = true
}

// Clear puts the table back to its first state.
func Clear() {
	Fill(func(string) unsafe.Pointer { return nil })
	filled = false
}

// Init calls cuInit and returns its CUresult.
func Init() int { return int(C.libcuda_init()) }

// ErrorName and ErrorString return what the library calls a CUresult, such as "CUDA_ERROR_OUT_OF_MEMORY" and "out of
// memory"; both are empty if it knows no such result.
func ErrorName(result int) string   { return C.GoString(C.libcuda_error_name(C.int(result))) }
func ErrorString(result int) string { return C.GoString(C.libcuda_error_string(C.int(result))) }

func init() {
	if n := len(Symbols()); n != int(C.libcuda_count()) {
		panic(fmt.Sprintf("libcuda: symbols.txt has %d names and the table %d: run go generate", n, int(C.libcuda_count())))
	}
}
