//go:build !noasm

package ptxsim

import "golang.org/x/sys/cpu"

var haveFMA = cpu.X86.HasAVX && cpu.X86.HasFMA

//go:noescape
func fmaAVX(d, a, b, c *[32]float32)
