//go:build !amd64 || noasm

package ptxsim

const haveFMA = false

func fmaAVX(d, a, b, c *[32]float32) {}
