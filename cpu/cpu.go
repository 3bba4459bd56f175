// Package cpu is the CPU backend: every op of package backend.
//
// Tensors are contiguous: NHWC activations, OHWI weights. Convolutions, transposed convolutions and dense layers have
// two implementations: the plain loops (conv_plain.go, dense_plain.go), which are the specification, and the working
// path, which takes the matrix products and the sums of outer products of package simd over strided rows of the images
// themselves, or of bands of them that were copied with a border of zeros; Options.Plain chooses the former. Where the precision
// allows it, those of 3x3 taps are products at the positions of transformed tiles (winograd.go). Which way
// an op goes follows from its shape alone (path.go lists them). All other ops are loops of package simd or plain ones.
//
// Parallelism is many lanes, each used by one goroutine; an op starts no goroutine and allocates nothing. A lane can be told to do a piece
// of an op, some rows of its result, while others do theirs (pieces.go). Every
// summation order follows from the op's shape and the SIMD level alone, so results depend on neither the lane, nor the
// workspace, nor the piece.
//
// In the precision bf16, where the processor multiplies pairs of bfloat16 (simd.Pairs), what is copied of a source, and the packed weights, are words of
// two neighbouring channels, and for the gradient of weights of two pixels that follow on each other in a row; the rest is the same. A row of an odd number of
// pixels ends with a pair whose second pixel is a zero, which makes NaN of what is not finite beside it. Other processors multiply the rounded factors as floats.
//
// NaN and infinities go through sums and activations as IEEE arithmetic has it; ReLU and max-pooling give NaN for
// NaN. On the working path a position of the padding is a zero that is multiplied, so a weight or gradient that is not
// finite reaches the border pixels there too, where the plain loops leave the padding out.
package cpu
