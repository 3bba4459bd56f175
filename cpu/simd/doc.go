// Package simd has the inner loops of the CPU backend: the strided matrix product under convolutions and dense layers,
// the sum of outer products under the gradients of weights, and elementwise loops.
//
// Every function is specified by a plain Go loop, which is also what runs at level None. On amd64 there is assembly for
// AVX-512 and for AVX2 with FMA, and on arm64 for NEON, unless the build has the tag noasm. The program in gen writes it:
// products for each instruction set, all other loops by one definition. It is bit for bit the loop where that says so;
// elsewhere sums are fused or taken in another order and tests state the bound. NaN and infinities go through as in the
// loop. The sign of a zero is not promised.
//
// Products of pairs of bfloat16 are made by AVX512_BF16 and by AMX where the processor has them (bf16.go). No machine that we test on does, so
// scripts/emulate_cpu.sh runs the tests on an emulated one.
//
// Nothing here allocates or starts goroutines. Arguments are checked once a call: one that does not fit panics.
package simd

//go:generate go run ./gen
