//go:build (!amd64 && !arm64) || noasm

package simd

// Supported lists the levels of this machine, the best last.
func Supported() []Level { return []Level{None} }
