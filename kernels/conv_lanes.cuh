// Convolutions with few filters on tensor cores, of factors rounded to TF32 or to bfloat16s, which are TF32 too, or of bfloat16s in pairs.
#pragma once
#include "copy.cuh"
#include "mma.cuh"
#include "rows.cuh"

// LANE_UNITS is the number of units of channels of which correlate_lanes_tensor brings pixels at a time.
enum { LANE_UNITS = 8 };

// copy_unit brings 16 bytes to shared memory in the background, or zeros.
static __device__ __forceinline__ void copy_unit(unsigned to, const float *from, bool inside) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(__cvta_generic_to_global(from)), "r"(inside ? 16 : 0)
               : "memory");
}

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
// matrices those of each row of residues have one. A warp has 16 pixels at a time, or 32 of Pairs: then the source is narrow, and its channels are
// multiples of 8. Units of four channels, or eight, lie in planes of all pixels, and weights
// in the order of registers, two a lane, but that lanes of the second half change places with their neighbours: so those that are written at
// once lie in different banks, too.
template <int NT, bool Pairs> __device__ __forceinline__ void correlate_lanes_tensor(const Correlation &g, const Rows &rows, Divider by_pitch, unsigned rounding) {
  constexpr unsigned MATRIX = 68; // floats from a matrix of weights to the next
  constexpr unsigned M = Pairs ? 2 : 1, CHANNELS = Pairs ? 8 : 4; // matrices of pixels of a warp, and channels of a unit
  extern __shared__ __align__(16) float buffer[];
  const unsigned lane = threadIdx.x % 32, warp = threadIdx.x / 32, count = g.s.c / CHANNELS, steps = (count + 1) / 2, step = g.step;
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
      const u64 at = (u64)(image * g.s.image + y * g.s.row + x) * g.s.c + u * CHANNELS;
      const bool inside = y < g.s.h && x < g.s.w && u < count;
      if (Pairs) {
        if (u < end) copy_unit(shared_address(to), element(g.s.p, at, 1), inside);
      } else if (inside && g.s.narrow) {
        float v[4];
        load_values(v, element(g.s.p, at, 1), 1);
        store_shared(to, v);
      } else if (inside)
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
  for (unsigned i = threadIdx.x; i < 8 * NT * count * (CHANNELS / 4); i += 32 * WARPS) {
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
        const unsigned u = Pairs ? quad / 2 : quad;
        float *to = buffer + (a * sx.count + b) * tap + (u / 2 * NT + n / 8) * MATRIX + in * 8 + u % 2;
        if (b >= sx.count) continue;
        if (Pairs)
#pragma unroll
          for (int e = 0; e < 2; e++) to[(quad % 2 * 2 + e ^ in / 4) * 2] = __uint_as_float(bits_of_pair(sum[2 * e], sum[2 * e + 1]));
        else
#pragma unroll
          for (int e = 0; e < 4; e++) to[(e ^ in / 4) * 2] = sum[e];
      }
  }

  const unsigned windows = (h - y0 < rows.count ? h - y0 : rows.count) * w;
  float sum[M][NT][4];
  unsigned at[M] = {};
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
        const unsigned x = (a * rows.pitch + b) * 16;
        const float *weights = buffer + (a * sx.count + b) * tap + begin / 2 * NT * MATRIX + (lane ^ lane / 16) * 2;
#pragma unroll 4
        for (unsigned i = 0; i < count; i++) {
          unsigned m[M][4];
#pragma unroll
          for (int k = 0; k < M; k++) {
            load_matrices(m[k], at[k] + x + i * 2 * plane * 16);
#pragma unroll
            for (int e = 0; e < 4; e++)
              if (!Pairs)
                m[k][e] = rounding == TO_TF32 ? round_tf32(m[k][e]) : g.s.narrow ? m[k][e] : __float_as_uint(round_factor(__uint_as_float(m[k][e]), TO_BF16));
          }
#pragma unroll
          for (int n = 0; n < NT; n++)
            if (seen[n]) {
              const float2 q = *(const float2 *)(weights + (i * NT + n) * MATRIX);
#pragma unroll
              for (int k = 0; k < M; k++)
                if (Pairs)
                  multiply_add_pairs(sum[k][n], m[k], {__float_as_uint(q.x), __float_as_uint(q.y)});
                else
                  multiply_add(sum[k][n], m[k], {__float_as_uint(q.x), __float_as_uint(q.y)});
            }
        }
      }
    }
  };
  auto put = [&](unsigned first, const float (&sum)[NT][4]) {
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
  for (unsigned base = 0; base < windows; base += 16 * M * WARPS) {
#pragma unroll
    for (int k = 0; k < M; k++) {
      const unsigned last = windows - 1, lane_window = base + (warp * M + k) * 16 + lane % 16, window = lane_window < last ? lane_window : last;
      const unsigned row = divide(window, rows.by_width);
      at[k] = shared_address(units + lane / 16 * plane + row * rows.pitch + window - row * w);
#pragma unroll
      for (int n = 0; n < NT; n++) clear(sum[k][n]);
    }
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
    put(base + warp * M * 16, sum[0]);
    if (M == 2) put(base + (warp * M + 1) * 16, sum[M - 1]); // in a loop the compiler would keep the sums in memory
  }
}
