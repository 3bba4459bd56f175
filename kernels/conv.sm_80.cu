// The forms with halos, for devices that copy to shared memory in the background.
#include "conv_halo_gradient.cuh"
