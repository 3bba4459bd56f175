// Package cuda is the GPU backend: every op of package backend as launches of the code in package kernels, through a
// driver.Driver (the real driver, or a simulator).
//
// Tensors are contiguous: NHWC activations, OHWI weights. A device is one lane with one stream; the work of an op is put
// in the stream and not waited for. One file holds the launches of a family of ops, and has the stem of the kernels'
// source: pool.go launches pool.cu.
//
// Kernels are compiled when they are first needed. Those of products are compiled for the shapes of a model when its ops are
// prepared, see variant; the general form of a kernel runs what was not prepared. All forms give the same bits.
//
// The first failure of the device is kept; from then on the ops do nothing, and Sync, Download and DownloadBytes return
// it. A kernel fails when it runs, not when it is launched, so a failure is reported with the op that was launched last
// before it showed; the cause may be that op or one before.
//
// All reductions have an order that depends on shapes only, and there are no atomic operations on floats: a run gives
// the same bits again on the same device.
package cuda
