// The forms that keep pixels in shared memory, for devices that copy to shared memory in the background.
#include "conv_few_tensor.cuh"
#include "conv_halo_gradient.cuh"
#include "conv_tensor_gradient.cuh"
#include "conv_tensor.cuh"
#include "conv_pack.cuh"
