// Convolutions with few channels on one side on tensor cores, of factors rounded to TF32; few columns also of bfloat16s, which are TF32 too.
#pragma once
#include "conv_few.cuh"
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

// LANE_UNITS is the number of units of four channels of which correlate_lanes_tensor brings pixels at a time.
enum { LANE_UNITS = 8 };

// Seen is what the residues of an upsampled input see together of it, in one direction: so many stored pixels from so many before the one of the
// output's own on.
struct Seen {
  unsigned count, before;

  __device__ __forceinline__ Seen(unsigned kernel, unsigned pad, unsigned step) {
    before = (pad + step - 1) / step;
    count = (kernel + step - 2 - pad) / step + before + 1; // the pad is less than the kernel
  }
};

// correlate_lanes_tensor computes the outputs above some rows of stored pixels, up to 4 columns of them, as correlate_lanes does forward, without
// a pool or a stride. The columns of its matrices are those of all residues, whose weights are zero where they do not see a pixel (an infinity there makes NaN of them): with NT = 2
// matrices those of each row of residues have one. A warp has 16 pixels at a time. Units of four channels lie in planes of all pixels, and weights
// in the order of registers, two a lane, but that lanes of the second half change places with their neighbours: so those that are written at
// once lie in different banks, too.
template <int NT> __device__ __forceinline__ void correlate_lanes_tensor(const Correlation &g, const Rows &rows, Divider by_pitch, unsigned rounding) {
  constexpr unsigned MATRIX = 68; // floats from a matrix of weights to the next
  extern __shared__ __align__(16) float buffer[];
  const unsigned lane = threadIdx.x % 32, warp = threadIdx.x / 32, quads = g.s.c / 4, steps = (quads + 1) / 2, step = g.step;
  const unsigned h = (g.out_h + step - 1) / step, w = (g.out_w + step - 1) / step; // outputs of a residue
  const unsigned bands = (h + rows.count - 1) / rows.count, image = blockIdx.x / bands, y0 = (blockIdx.x - image * bands) * rows.count;
  const Seen sy(g.kh, g.top, step), sx(g.kw, g.left, step);
  const unsigned pixels = (rows.count + sy.count - 1) * rows.pitch, plane = (pixels + 6) / 8 * 8 + 1; // one more than a multiple of 8
  const unsigned tap = (steps * NT * MATRIX + 31) / 32 * 32; // floats from the weights at a pixel to the next, which begin in the same bank
  float4 *const units = (float4 *)(buffer + sy.count * sx.count * tap);

  const float zero[4] = {0.f, 0.f, 0.f, 0.f};
  // Units past the last are zero where they share a step with another.
  auto copy = [&](unsigned begin) {
    const unsigned end = begin + LANE_UNITS < 2 * steps ? begin + LANE_UNITS : 2 * steps, u = begin + threadIdx.x % LANE_UNITS;
#pragma unroll 2
    for (unsigned p = threadIdx.x / LANE_UNITS; p < pixels; p += 32 * WARPS / LANE_UNITS) {
      const unsigned row = divide(p, by_pitch), column = p - row * rows.pitch, y = y0 + row - sy.before, x = column - sx.before;
      float *to = (float *)(units + (u - begin) * plane + p);
      const u64 at = (u64)(image * g.s.image + y * g.s.row + x) * g.s.c + u * 4;
      if (y < g.s.h && x < g.s.w && u < quads && g.s.narrow) {
        float v[4];
        load_values(v, element(g.s.p, at, 1), 1);
        store_shared(to, v);
      } else if (y < g.s.h && x < g.s.w && u < quads)
        copy16(to, g.s.p + at);
      else if (u < end)
        store_shared(to, zero);
    }
    end_copies();
  };
  copy(0);

  // A thread has a column of the matrices and a quad of its channels, and adds the taps at each pixel that the column's residue sees: all are
  // asked for before the first is added, and one that does not exist counts as 0.
  for (unsigned i = threadIdx.x; i < sy.count * sx.count * tap / 4; i += 32 * WARPS) store_shared(buffer + i * 4, zero);
  __syncthreads();
  const unsigned ny = (g.kh + 2 * step - 2) / step, nx = (g.kw + 2 * step - 2) / step; // pixels that a residue sees, at most
#pragma unroll 1
  for (unsigned i = threadIdx.x; i < 8 * NT * quads; i += 32 * WARPS) {
    const unsigned n = i % (8 * NT), quad = i / (8 * NT), in = n % 8;
    const unsigned residue = in / g.columns, f = in - residue * g.columns, ry = NT == 2 ? n / 8 : residue / step, rx = NT == 2 ? residue : residue - ry * step;
    if (ry >= step || rx >= step) continue;
    const unsigned my = sy.before * step + ry - g.top, mx = sx.before * step + rx - g.left, a0 = my / step, b0 = mx / step;
    const float *const of_column = g.w + (u64)f * (g.kh * g.kw * g.s.c) + quad * 4;
#pragma unroll 1
    for (unsigned a = a0; a < a0 + ny && a < sy.count; a++)
#pragma unroll 2
      for (unsigned b = b0; b < b0 + nx; b++) {
        const unsigned y1 = a * step - my, x1 = b * step - mx; // less than 0 wraps
        float v[4][4], sum[4];
#pragma unroll
        for (unsigned u = 0; u < 4; u++) {
          const unsigned y = y1 + u / 2, x = x1 + u % 2;
          clear(v[u]);
          if (u / 2 < step && u % 2 < step && y < g.kh && x < g.kw) load(v[u], of_column + (y * g.kw + x) * g.s.c);
        }
        clear(sum);
#pragma unroll
        for (int u = 0; u < 4; u++)
#pragma unroll
          for (int e = 0; e < 4; e++) sum[e] += v[u][e];
        round_factors(sum, rounding);
        float *to = buffer + (a * sx.count + b) * tap + (quad / 2 * NT + n / 8) * MATRIX + in * 8 + quad % 2;
        if (b < sx.count)
#pragma unroll
          for (int e = 0; e < 4; e++) to[(e ^ in / 4) * 2] = sum[e];
      }
  }

  const unsigned windows = (h - y0 < rows.count ? h - y0 : rows.count) * w;
  float sum[NT][4];
  unsigned at = 0;
  // add adds the products of the units from begin on, two in a step.
  auto add = [&](unsigned begin) {
    const unsigned count = 2 * steps - begin < LANE_UNITS ? steps - begin / 2 : LANE_UNITS / 2;
#pragma unroll 1
    for (unsigned a = 0; a < sy.count; a++) {
      bool seen[NT]; // by a row of residues
#pragma unroll
      for (int n = 0; n < NT; n++) {
        const int y = a * step + g.top - sy.before * step - n; // the first tap
        seen[n] = NT == 1 || y > -(int)step && y < (int)g.kh;
      }
#pragma unroll 3
      for (unsigned b = 0; b < sx.count; b++) {
        const unsigned x = at + (a * rows.pitch + b) * 16;
        const float *weights = buffer + (a * sx.count + b) * tap + begin / 2 * NT * MATRIX + (lane ^ lane / 16) * 2;
#pragma unroll 4
        for (unsigned i = 0; i < count; i++) {
          unsigned m[4];
          load_matrices(m, x + i * 2 * plane * 16);
#pragma unroll
          for (int e = 0; e < 4; e++)
            m[e] = rounding == TO_TF32 ? round_tf32(m[e]) : g.s.narrow ? m[e] : __float_as_uint(round_factor(__uint_as_float(m[e]), TO_BF16));
#pragma unroll
          for (int n = 0; n < NT; n++)
            if (seen[n]) {
              const float2 q = *(const float2 *)(weights + (i * NT + n) * MATRIX);
              multiply_add(sum[n], m, {__float_as_uint(q.x), __float_as_uint(q.y)});
            }
        }
      }
    }
  };
  auto put = [&](unsigned first) {
#pragma unroll
    for (int n = 0; n < NT; n++)
#pragma unroll
      for (int e = 0; e < 4; e++) {
        const unsigned window = first + lane / 4 + e / 2 * 8, in = lane % 4 * 2 + e % 2;
        const unsigned residue = in / g.columns, f = in - residue * g.columns, ry = NT == 2 ? n : residue / step, rx = NT == 2 ? residue : residue - ry * step;
        const unsigned row = divide(window, rows.by_width), y = (y0 + row) * step + ry, x = (window - row * w) * step + rx;
        if (window >= windows || ry >= step || rx >= step || y >= g.out_h || x >= g.out_w) continue;
        float v[1] = {sum[n][e]}, y_of[1];
        if (g.bias) v[0] += g.bias[f];
        v[0] = act_apply(g.act, v[0]);
        const u64 to = ((u64)(image * g.out_h + y) * g.out_w + x) * g.columns + f;
        if (g.in_act != LINEAR) {
          load_values(y_of, element(g.mask, to, g.narrow & 2), g.narrow & 2);
          v[0] = act_derive(g.in_act, v[0], y_of[0]);
        }
        store_values(element(g.out, to, g.narrow & 1), v, g.narrow & 1);
      }
  };
#pragma unroll 1
  for (unsigned base = 0; base < windows; base += 16 * WARPS) {
    const unsigned last = windows - 1, lane_window = base + warp * 16 + lane % 16, window = lane_window < last ? lane_window : last;
    const unsigned row = divide(window, rows.by_width);
    at = shared_address(units + lane / 16 * plane + row * rows.pitch + window - row * w);
#pragma unroll
    for (int n = 0; n < NT; n++) clear(sum[n]);
#pragma unroll 1
    for (unsigned begin = 0; begin < 2 * steps; begin += LANE_UNITS) {
      if (begin > 0 || base > 0 && 2 * steps > LANE_UNITS) {
        __syncthreads();
        copy(begin);
      }
      wait_for_copies();
      __syncthreads();
      add(begin);
    }
    put(base + warp * 16);
  }
}

#define CORRELATE_LANES_TENSOR(name, NT)                                                                               \
  extern "C" __global__ void __launch_bounds__(32 * WARPS, 2)                                                          \
      name(CORRELATION_PARAMS, unsigned rows, unsigned pitch, Divider by_width, Divider by_pitch, unsigned rounding) {  \
    correlate_lanes_tensor<NT>(CORRELATION, {rows, pitch, by_width}, by_pitch, rounding);                              \
  }

CORRELATE_LANES_TENSOR(conv_forward_lanes_tensor, 1)
CORRELATE_LANES_TENSOR(conv_forward_lanes_tensor2, 2)
