// The forms of convolution by warpgroups.
#include "conv_wgmma.cuh"
