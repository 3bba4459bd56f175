// The same kernels for devices that copy to shared memory in the background, and those on tensor cores.
#include "gemm_tensor.cuh"
