//go:build amd64 && !linux && !noasm

package simd

// tilesAllowed is false: only of Linux it is known how to ask for the tiles of AMX.
func tilesAllowed() bool { return false }
