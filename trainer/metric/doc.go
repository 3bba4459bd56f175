// Package metric measures how close predicted images are to their targets:
// squared, absolute and largest errors, binary cross-entropy, PSNR and SSIM.
//
// Images come as contiguous float32 values in [0, 1] in NHWC order and every
// sum is kept in float64. An [Accumulator] takes them batch after batch, on as
// many goroutines as it is given, and its result is bitwise the same for every
// number of goroutines and every division into batches. A NaN in an image
// makes each of the values it takes part in NaN.
package metric
