// The same kernels for devices that copy to shared memory in the background.
#include "gemm.cuh"
