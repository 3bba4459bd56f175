//go:build !linux

package cpu

// hugePages does nothing: there is no portable way to ask for them.
func hugePages([]float32) {}
