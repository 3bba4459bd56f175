//go:build !noasm

package simd

// Supported lists the levels of this machine, the best last: all that have the architecture have NEON.
func Supported() []Level { return []Level{None, NEON} }
