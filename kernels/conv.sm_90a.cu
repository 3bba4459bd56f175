// The forms of convolution by warpgroups.
#include "conv_wgmma.cuh"

#define CORRELATE_WARPGROUPS(name, F, BN, TILES, Turned, Back)                                                                 \
  extern "C" __global__ void __launch_bounds__(256, 1)                                                                 \
      name(CORRELATION_PARAMS, STRIPS_PARAMS, unsigned stages, unsigned pools) {                                       \
    correlate_warpgroups<F, BN, TILES, Turned, Back>(CORRELATION, STRIPS, {stages, pools, 1});                                 \
  }

CORRELATE_WARPGROUPS(conv_forward_wgmma, TF32, 64, 1, false, false)
CORRELATE_WARPGROUPS(conv_forward_wgmma_tall, TF32, 64, 2, false, false)
CORRELATE_WARPGROUPS(conv_forward_wgmma_turned, TF32, 64, 2, true, false)
CORRELATE_WARPGROUPS(conv_forward_wgmma_wide, TF32, 128, 1, false, false)
CORRELATE_WARPGROUPS(conv_forward_wgmma_large, TF32, 128, 2, false, false)
CORRELATE_WARPGROUPS(conv_back_input_wgmma, TF32, 64, 1, false, true)
CORRELATE_WARPGROUPS(conv_back_input_wgmma_tall, TF32, 64, 2, false, true)
CORRELATE_WARPGROUPS(conv_back_input_wgmma_turned, TF32, 64, 2, true, true)
CORRELATE_WARPGROUPS(conv_back_input_wgmma_wide, TF32, 128, 1, false, true)
CORRELATE_WARPGROUPS(conv_back_input_wgmma_large, TF32, 128, 2, false, true)
CORRELATE_WARPGROUPS(conv_forward_wgmma_bf16, BF16, 64, 1, false, false)
CORRELATE_WARPGROUPS(conv_forward_wgmma_bf16_tall, BF16, 64, 2, false, false)
CORRELATE_WARPGROUPS(conv_forward_wgmma_bf16_turned, BF16, 64, 2, true, false)
CORRELATE_WARPGROUPS(conv_forward_wgmma_bf16_wide, BF16, 128, 1, false, false)
CORRELATE_WARPGROUPS(conv_forward_wgmma_bf16_large, BF16, 128, 2, false, false)
CORRELATE_WARPGROUPS(conv_back_input_wgmma_bf16, BF16, 64, 1, false, true)
CORRELATE_WARPGROUPS(conv_back_input_wgmma_bf16_tall, BF16, 64, 2, false, true)
CORRELATE_WARPGROUPS(conv_back_input_wgmma_bf16_turned, BF16, 64, 2, true, true)
CORRELATE_WARPGROUPS(conv_back_input_wgmma_bf16_wide, BF16, 128, 1, false, true)
CORRELATE_WARPGROUPS(conv_back_input_wgmma_bf16_large, BF16, 128, 2, false, true)
