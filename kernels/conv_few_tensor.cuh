// Convolutions with few channels on one side on tensor cores, of factors rounded to TF32; few columns also of bfloat16s, which are TF32 too.
#pragma once
#include "conv_few.cuh"
#include "conv_lanes.cuh"
#include "mma.cuh"

// FEW_STEPS is the number of steps of eight values under a window that correlate_few_tensor has room for, and FEW_ROW that of the floats of a
// row of weights: four of them lie in different banks.
enum { FEW_STEPS = 5, FEW_ROW = 40 };

// FewUnits is how the values under a window lie in units of four, 16 bytes, a row of a matrix: those of a row of the window, if they are no
// more, and else those of a pixel. What is left of a unit is zero. A block has rows of wide pixels, of each the unit that begins there.
struct FewUnits {
  unsigned values, of_row; // of a unit; units of a row of the window
  unsigned wide, plane;    // pixels of a row; units from those at which windows begin to those one further on
  Divider by_wide;
};

// value_at is float number at of a row of an image, at < 0 being left of it. Summed is that of copy_rows.
template <bool Summed> static __device__ __forceinline__ float value_at(const Source &s, unsigned n, int y, int at) {
  if ((unsigned)y >= s.h || (unsigned)at >= s.w * s.c) return 0.f;
  if (!Summed || s.factor == 1) return s.p[(u64)(n * s.image + y * s.row) * s.c + at];
  return sum_of_copies(s, n, y, at);
}

// correlate_few_tensor computes pool windows of some rows of an image by 32 columns, as correlate_few does. The rows of a warp's matrix
// are windows w to w+15 or, of a pool of 2, the left and the right positions of windows w to w+7, in one matrix the upper and in a second one
// the lower ones. So lane l has all positions of windows l/4 and l/4+8 or of l/4, at columns 4*(l%4) to 4*(l%4)+3 and the same from 16 on. In a row of pixels those at which windows begin come first, then those one further on, and so on, so that the units of neighbours
// are neighbours; rows.pitch is such that they are also where a row of windows ends, if it can be, and units.plane such that pixels that are
// written at once lie in different banks.
template <int Pool, bool Back> __device__ __forceinline__ void correlate_few_tensor(const Correlation &g, const Rows &rows, const FewUnits &units) {
  // POSITIONS are those of a window, W the windows of a lane, M those of a warp, U the units that are asked for at a time.
  constexpr unsigned COLUMNS = 32, POSITIONS = Pool * Pool, W = 2 / Pool, M = 8 * W, U = 2;
  extern __shared__ __align__(16) float buffer[];
  const Taps t = all_taps<Back>(g);
  const unsigned lane = threadIdx.x % 32, warp = threadIdx.x / 32, c = g.s.c, taps = t.kh * t.kw, apart = Pool * g.stride;
  const unsigned tiles = (g.columns + COLUMNS - 1) / COLUMNS, n0 = blockIdx.x % tiles * COLUMNS, unit = blockIdx.x / tiles;
  const unsigned bands = (t.h + rows.count - 1) / rows.count, image = unit / bands, y0 = unit % bands * rows.count;
  const unsigned all = t.kh * units.of_row, steps = (all + 1) / 2;

  // Weights: column number 8*j + i of a row is that of which lanes have the product j at columns i.
  float4 *const pixels = (float4 *)(buffer + steps * 8 * FEW_ROW) + 1; // behind a unit of zeros
  const unsigned column = n0 + (lane & 16) + (lane & 6) * 2 + (lane >> 2 & 2) + (lane & 1);
  float w[FEW_STEPS];
#pragma unroll
  for (unsigned i = 0; i < FEW_STEPS; i++) {
    const unsigned at = (warp + i * WARPS) / 4, e = warp % 4, row = at / units.of_row, k = row * t.kw * c + (at - row * units.of_row) * c + e;
    const unsigned tap = divide(k, g.by_c), ch = k - tap * c;
    w[i] = 0.f;
    if (at < all && e < units.values && column < g.columns)
      w[i] = g.w[Back ? (u64)(ch * taps + taps - 1 - tap) * g.columns + column : (u64)column * (taps * c) + k];
  }
  Four bias[2] = {};
#pragma unroll
  for (unsigned q = 0; q < 2; q++)
    if (g.bias && n0 + q * 16 + lane % 4 * 4 < g.columns) bias[q] = load4(g.bias, n0 + q * 16 + lane % 4 * 4, g.columns);
  const unsigned height = (rows.count * Pool - 1) * g.stride + t.kh, wide = units.wide;
  const int top = (int)(y0 * apart) - t.top;
#pragma unroll 1
  for (unsigned first = threadIdx.x; first < height * wide; first += U * 32 * WARPS) {
    float v[U][4];
    unsigned to[U];
#pragma unroll
    for (unsigned u = 0; u < U; u++) {
      const unsigned p = first + u * 32 * WARPS, row = divide(p, units.by_wide), x = p - row * wide;
      to[u] = row * rows.pitch + x % apart * units.plane + x / apart;
#pragma unroll
      for (unsigned e = 0; e < 4; e++)
        v[u][e] = p < height * wide && e < units.values ? value_at<Back>(g.s, image, top + (int)row, ((int)x - t.left) * (int)c + (int)e) : 0.f;
    }
#pragma unroll
    for (unsigned u = 0; u < U; u++) {
      round_factors(v[u], TO_TF32);
      if (first + u * 32 * WARPS < height * wide) store_shared((float *)(pixels + to[u]), v[u]);
    }
  }
#pragma unroll
  for (unsigned i = 0; i < FEW_STEPS; i++)
    if (i < steps) buffer[(warp + i * WARPS) * FEW_ROW + lane] = round_factor(w[i], TO_TF32);
  if (threadIdx.x < 4) ((float *)(pixels - 1))[threadIdx.x] = 0.f;
  __syncthreads();

  unsigned b[FEW_STEPS][4][2];
#pragma unroll
  for (unsigned i = 0; i < FEW_STEPS; i++)
#pragma unroll
    for (unsigned j = 0; j < 4; j++)
#pragma unroll
      for (unsigned h = 0; h < 2; h++) b[i][j][h] = i < steps ? __float_as_uint(buffer[(i * 8 + h * 4 + lane % 4) * FEW_ROW + j * 8 + lane / 4]) : 0;
  // This lane gives the addresses of row lane%8 of matrices of the left or the right positions, or of the first or the next eight windows, and
  // of one of the two units of a step.
  const unsigned right = lane / 8 % 2, zeros = shared_address(pixels - 1);
  unsigned offset[FEW_STEPS];
#pragma unroll
  for (unsigned i = 0; i < FEW_STEPS; i++) {
    const unsigned at = i * 2 + lane / 16, row = at / units.of_row, x = at - row * units.of_row + (Pool == 2 ? right * g.stride : 0);
    offset[i] = (row * rows.pitch + x % apart * units.plane + x / apart) * 16;
  }
  const unsigned windows = (t.h - y0 < rows.count ? t.h - y0 : rows.count) * t.w;
#pragma unroll 1
  for (unsigned first = warp * M; first < windows; first += WARPS * M) {
    const u64 pixel = ((u64)(image * g.out_h + y0) * t.w + first + lane / 4) * g.columns; // of this lane's first window
    Four mask[2][W] = {};
#pragma unroll
    for (unsigned q = 0; q < 2; q++)
#pragma unroll
      for (unsigned u = 0; u < W; u++)
        if (n0 + q * 16 + lane % 4 * 4 < g.columns && first + u * 8 + lane / 4 < windows)
          mask[q][u] = mask_at(g, pixel + u * 8 * g.columns, n0 + q * 16 + lane % 4 * 4);
    unsigned at[Pool];
    float sum[Pool][4][4];
#pragma unroll
    for (unsigned m = 0; m < Pool; m++) {
      unsigned window = first + lane % 8 + (Pool == 1 ? right * 8 : 0);
      if (window >= windows) window = windows - 1;
      const unsigned y = divide(window, rows.by_width), x = window - y * t.w;
      at[m] = shared_address(pixels + (y * Pool + m) * g.stride * rows.pitch + x);
#pragma unroll
      for (unsigned j = 0; j < 4; j++) clear(sum[m][j]);
    }
#pragma unroll
    for (unsigned i = 0; i < FEW_STEPS; i++) {
      if (i >= steps) break;
#pragma unroll
      for (unsigned m = 0; m < Pool; m++) {
        unsigned a[4];
        load_matrices(a, i * 2 + lane / 16 < all ? at[m] + offset[i] : zeros);
#pragma unroll
        for (unsigned j = 0; j < 4; j++) multiply_add(sum[m][j], a, b[i][j]);
      }
    }
#pragma unroll
    for (unsigned q = 0; q < 2; q++) {
      const unsigned n = n0 + q * 16 + lane % 4 * 4;
      if (n >= g.columns) break;
      float v[2 * Pool][4];
#pragma unroll
      for (unsigned u = 0; u < 2 * Pool; u++) {
#pragma unroll
        for (unsigned e = 0; e < 4; e++) v[u][e] = sum[u / 2][q * 2 + e / 2][u % 2 * 2 + e % 2] + bias[q].v[e];
        act_apply4(g.act, v[u]);
      }
#pragma unroll
      for (unsigned u = 0; u < W; u++)
        if (first + u * 8 + lane / 4 < windows) finish_few<POSITIONS>(g, v + u * POSITIONS, pixel + u * 8 * g.columns, n, mask[q][u]);
    }
  }
}

#define CORRELATE_FEW_TENSOR(name, Pool, Back)                                                                         \
  extern "C" __global__ void __launch_bounds__(32 * WARPS, 2)                                                          \
      name(CORRELATION_PARAMS, unsigned rows, unsigned pitch, Divider by_width, unsigned values, unsigned of_row,      \
           unsigned wide, unsigned plane, Divider by_wide) {                                                           \
    Correlation g = CORRELATION;                                                                                       \
    g.narrow = 0, g.s.narrow = 0;                                                                                      \
    correlate_few_tensor<Pool, Back>(g, {rows, pitch, by_width}, {values, of_row, wide, plane, by_wide});              \
  }

CORRELATE_FEW_TENSOR(conv_forward_few_tensor, 1, false)
CORRELATE_FEW_TENSOR(conv_forward_few_tensor_pool2, 2, false)
CORRELATE_FEW_TENSOR(conv_back_input_few_tensor, 1, true)

#define CORRELATE_LANES_TENSOR(name, NT)                                                                               \
  extern "C" __global__ void __launch_bounds__(32 * WARPS, 2)                                                          \
      name(CORRELATION_PARAMS, unsigned rows, unsigned pitch, Divider by_width, Divider by_pitch, unsigned rounding) { \
    correlate_lanes_tensor<NT, false>(CORRELATION, {rows, pitch, by_width}, by_pitch, rounding);                       \
  }

CORRELATE_LANES_TENSOR(conv_forward_lanes_tensor, 1)
CORRELATE_LANES_TENSOR(conv_forward_lanes_tensor2, 2)
