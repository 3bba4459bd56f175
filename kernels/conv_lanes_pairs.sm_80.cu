// Convolution with few filters on tensor cores, of a narrow input: the last layer of a model.
#include "conv_lanes.cuh"

#define CORRELATE_LANES_PAIRS(name, NT)                                                                                \
  extern "C" __global__ void __launch_bounds__(32 * WARPS, 2)                                                          \
      name(CORRELATION_PARAMS, unsigned rows, unsigned pitch, Divider by_width, Divider by_pitch, unsigned rounding) { \
    correlate_lanes_tensor<NT, true>(CORRELATION, {rows, pitch, by_width}, by_pitch, TO_BF16);                         \
  }

CORRELATE_LANES_PAIRS(conv_lanes_pairs_forward, 1)
CORRELATE_LANES_PAIRS(conv_lanes_pairs_forward2, 2)
