// Convolution on tensor cores where few values lie under a window, of bfloat16s: forward from floats, the first layer of a model, and back to the
// input of the last.
//
// A product of matrices has 16 windows as rows of a, which lie in shared memory as rows of values, and eight columns of the output. Of a pool's
// window a lane has the products at all places, so that a maximum takes no exchange.
#include "conv_few_rows.cuh"

// MOST_COLUMNS is the number of columns that a block has at most.
enum { MOST_COLUMNS = 4 * WARP_CHANNELS };

// correlate_few_pairs computes WARP_CHANNELS columns for each of a block's groups, as correlate does. Warps of a group share the windows of every
// unit, and have the weights in registers: lane l has columns 8*(l%4) to 8*(l%4)+7 of windows l/4 and l/4+8 of a step. Columns are multiples of 8. The grid
// is tiles of columns by blocks that share out the units. With Copies of 2 the source is a gradient that is summed over the copies of an upsampled pixel.
template <int NT, int Pool, bool Back, int Copies>
__device__ __forceinline__ void correlate_few_pairs(const Correlation &g, unsigned units, unsigned groups, const FewWindows &windows, const FewLayout &layout) {
  using Rows = FewRows<NT, Pool, Copies>;
  constexpr unsigned K = NT / 2, PLACES = Pool * Pool; // products along the sum
  extern __shared__ __align__(16) float buffer[];
  __shared__ __align__(16) float bias[MOST_COLUMNS];
  const unsigned lane = threadIdx.x % 32, warp = threadIdx.x / 32, group = warp % groups, slice = warp / groups, slices = WARPS / groups;
  const unsigned n0 = (blockIdx.x * groups + group) * WARP_CHANNELS, n = n0 + lane % 4 * 8;
  Rows rows(g.s, windows, layout, g.stride, Back ? (int)g.kh - 1 - g.top : g.top, Back ? (int)g.kw - 1 - g.left : g.left, g.kh, g.kw, buffer);
  FewUnit u = few_unit(windows, blockIdx.z);
  if (blockIdx.z < units) rows.copy(u);

  unsigned b[K][4][2];
  const unsigned column = n0 + lane / 8 * 8 + lane / 4 % 2, taps = g.kh * g.kw; // and every other one from there
#pragma unroll
  for (unsigned i = 0; i < K; i++)
#pragma unroll
    for (unsigned j = 0; j < 4; j++)
#pragma unroll
      for (unsigned h = 0; h < 2; h++) {
        float w[2];
#pragma unroll
        for (unsigned e = 0; e < 2; e++) {
          const unsigned k = i * 16 + h * 8 + lane % 4 * 2 + e, tap = divide(k, layout.by_c), ch = k - tap * g.s.c, of = column + j * 2;
          w[e] = 0.f;
          if (k < rows.count && of < g.columns) w[e] = g.w[Back ? (ch * taps + taps - 1 - tap) * g.columns + of : of * rows.count + k];
        }
        b[i][j][h] = bits_of_pair(w[0], w[1]);
      }
  const unsigned of_bias = blockIdx.x * groups * WARP_CHANNELS + threadIdx.x;
  if (threadIdx.x < MOST_COLUMNS) bias[threadIdx.x] = g.bias && of_bias < g.columns ? g.bias[of_bias] : 0.f;

#pragma unroll 1
  for (unsigned unit = blockIdx.z; unit < units; unit += gridDim.z) {
    wait_for_copies();
    __syncthreads();
    rows.gather();
    __syncthreads();
    const FewUnit after = few_unit(windows, unit + gridDim.z);
    if (unit + gridDim.z < units) rows.copy(after);
#pragma unroll 1
    for (unsigned step = slice; step < rows.steps; step += slices) {
      const unsigned y = step / rows.steps_of_row, x = (step - y * rows.steps_of_row) * 16 + lane / 4;
      const unsigned columns = y < u.rows && n < g.columns ? u.columns : 0;
      const u64 pixel = ((u64)(u.n * g.out_h + u.y + y) * g.out_w + u.x + x) * g.columns + n; // of the first window
      uint4 mask[2] = {};
#pragma unroll
      for (unsigned h = 0; h < 2; h++)
        if (g.in_act != LINEAR && x + h * 8 < columns) mask[h] = *(const uint4 *)element(g.mask, pixel + h * 8 * g.columns, 1);
      unsigned a[PLACES][K][4];
#pragma unroll
      for (unsigned place = 0; place < PLACES; place++)
#pragma unroll
        for (unsigned i = 0; i < K; i++) load_matrices(a[place][i], rows.of_lane(step) + (place * rows.matrix * Rows::ROW + i * 2) * 16);
      unsigned best[2][4], places[2][2] = {};
#pragma unroll
      for (unsigned j = 0; j < 4; j++) {
        const float2 q = *(const float2 *)(bias + group * WARP_CHANNELS + lane % 4 * 8 + j * 2);
        float v[PLACES][4];
#pragma unroll
        for (unsigned place = 0; place < PLACES; place++) {
          clear(v[place]);
#pragma unroll
          for (unsigned i = 0; i < K; i++) multiply_add_pairs(v[place], a[place][i], b[i][j]);
#pragma unroll
          for (unsigned e = 0; e < 4; e++) v[place][e] += e % 2 ? q.y : q.x;
          act_apply4(g.act, v[place]);
        }
#pragma unroll
        for (unsigned e = 0; e < 4; e++) {
          unsigned at = 0;
#pragma unroll
          for (unsigned place = 1; place < PLACES; place++)
            if (above(v[place][e], v[0][e])) v[0][e] = v[place][e], at = place;
          if (Pool > 1) places[e / 2][j / 2] |= at << (j % 2 * 16 + e % 2 * 8);
          const unsigned of_mask = j == 0 ? mask[e / 2].x : j == 1 ? mask[e / 2].y : j == 2 ? mask[e / 2].z : mask[e / 2].w;
          if (g.in_act != LINEAR) v[0][e] = act_derive(g.in_act, v[0][e], value_of(of_mask, e % 2));
        }
#pragma unroll
        for (unsigned h = 0; h < 2; h++) best[h][j] = bits_of_pair(v[0][2 * h], v[0][2 * h + 1]);
      }
#pragma unroll
      for (unsigned h = 0; h < 2; h++) {
        const u64 at = pixel + h * 8 * g.columns;
        if (x + h * 8 >= columns) continue;
        *(uint4 *)element(g.out, at, 1) = {best[h][0], best[h][1], best[h][2], best[h][3]};
        if (Pool > 1 && g.argmax) *(uint2 *)(g.argmax + at) = {places[h][0], places[h][1]};
      }
    }
    u = after;
  }
}

#define CORRELATE_FEW_PAIRS(name, NT, Pool, Back, Copies)                                                              \
  extern "C" __global__ void __launch_bounds__(32 * WARPS, 2)                                                          \
      name(CORRELATION_PARAMS, unsigned units, unsigned groups, FEW_WINDOWS_PARAMS) {                                  \
    correlate_few_pairs<NT, Pool, Back, Copies>(CORRELATION, units, groups, FEW_WINDOWS);                              \
  }

CORRELATE_FEW_PAIRS(conv_few_pairs_forward, 4, 1, false, 1)
CORRELATE_FEW_PAIRS(conv_few_pairs_forward_pool2, 4, 2, false, 1)
CORRELATE_FEW_PAIRS(conv_few_pairs_back_input, 4, 1, true, 1)
CORRELATE_FEW_PAIRS(conv_few_pairs_back_input_up2, 4, 1, true, 2)
CORRELATE_FEW_PAIRS(conv_few_pairs_forward_small, 2, 1, false, 1)
CORRELATE_FEW_PAIRS(conv_few_pairs_forward_small_pool2, 2, 2, false, 1)
CORRELATE_FEW_PAIRS(conv_few_pairs_back_input_small, 2, 1, true, 1)
CORRELATE_FEW_PAIRS(conv_few_pairs_back_input_small_up2, 2, 1, true, 2)
