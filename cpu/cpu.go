// Package cpu is the CPU backend: every op of package backend in portable Go.
//
// Tensors are contiguous: NHWC activations, OHWI weights. Convolutions, transposed convolutions and dense layers have
// two implementations: the plain loops (conv_plain.go, dense_plain.go), which are the specification, and the working
// path, which copies the pixels under the kernel into rows ("im2col") and takes dot products of rows; Options.Plain
// chooses the former. All other ops are plain loops.
//
// Parallelism is many lanes, each used by one goroutine; an op starts no goroutine and allocates nothing. Every
// summation order follows from the op's shape alone, so results depend on neither the lane nor the workspace.
//
// NaN and infinities go through sums and activations as IEEE arithmetic has it; ReLU and max-pooling give NaN for
// NaN. On the working path a place of the padding is a zero that is multiplied, so a weight or gradient that is not
// finite reaches the border pixels there too, where the plain loops leave the padding out.
package cpu
