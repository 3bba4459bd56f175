// Convolutions with few channels on one side: the first layer reads pictures, the last one makes them. In tiles of 32 by 32 products
// most would be of nothing.
#pragma once
#include "conv_halo.cuh"
#include "rows.cuh"

// value_at returns number at of the values of a source.
static __device__ __forceinline__ float value_at(const Source &s, u64 at) {
  float v[1];
  load_values(v, element(s.p, at, s.narrow), s.narrow);
  return v[0];
}

// sum_of_copies is value number at of row y of an image, summed over the copies of an upsampled pixel as spread does for a stride of 1.
static __device__ __forceinline__ float sum_of_copies(const Source &s, unsigned n, int y, int at) {
  const int width = s.row * s.c, height = s.image / s.row;
  float sum = 0.f;
  for (int above = s.factor - 1; above >= 0; above--)
#pragma unroll 1
    for (int before = s.factor - 1; before >= 0; before--) {
      const int row = y - above, column = at - before * (int)s.c;
      if (row >= 0 && row < height && column >= 0 && column < width) sum += value_at(s, (n * s.image + row * s.row) * s.c + column);
    }
  return sum;
}

// copy_rows brings rows of pixels of image n, from pixel (y, x) on, to shared memory; a pixel outside of the image is zero. If it is
// summed and has a factor above 1, the image is a gradient that is summed over the copies of an upsampled pixel as it is read.
template <bool Summed>
static __device__ __forceinline__ void copy_rows(const Source &s, float *to, unsigned n, int y, int x, unsigned rows, unsigned pitch) {
  const unsigned width = pitch * s.c;
#pragma unroll 1
  for (unsigned r = threadIdx.x / 32; r < rows; r += WARPS) {
    const bool inside = (unsigned)(y + (int)r) < s.h;
    const float *from = element(s.p, (u64)(n * s.image + (y + r) * s.row) * s.c, s.narrow);
#pragma unroll 1
    for (unsigned i = threadIdx.x % 32; i < width; i += 32) {
      const unsigned at = i + x * (int)s.c;
      if (!inside || at >= s.w * s.c) {
        to[r * width + i] = 0.f;
      } else if (s.narrow && (!Summed || s.factor == 1)) {
        float v[1];
        load_values(v, element(from, at, 1), 1);
        to[r * width + i] = v[0];
      } else if (!Summed || s.factor == 1) {
        copy4(to + r * width + i, from + at);
      } else {
        to[r * width + i] = sum_of_copies(s, n, y + (int)r, (int)at);
      }
    }
  }
}

// round_shared rounds n floats of shared memory, which all threads have brought there, if they are to be.
static __device__ __forceinline__ void round_shared(float *p, unsigned n, unsigned rounding) {
  if (!rounding) return;
#pragma unroll 1
  for (unsigned i = threadIdx.x; i < n; i += 32 * WARPS) p[i] = round_factor(p[i], rounding);
  __syncthreads();
}

// all_taps is taps_of without residues: without the divisions that compilers do not know the results of.
template <bool Back> static __device__ __forceinline__ Taps all_taps(const Correlation &g) {
  const int kh = g.kh, kw = g.kw;
  return {g.out_h, g.out_w, 0, 0, g.kh, g.kw, Back ? kh - 1 - g.top : g.top, Back ? kw - 1 - g.left : g.left, Back ? kh - 1 : 0, Back ? kw - 1 : 0};
}

// mask_at is four values of the output of the activation whose derivative is due, if one is.
static __device__ __forceinline__ Four mask_at(const Correlation &g, u64 pixel, unsigned n) {
  if (g.in_act == LINEAR) return {};
  return load4(element(g.mask, pixel, g.narrow & 2), n, g.columns, g.narrow & 2);
}

// finish_few makes the output of a pool window of so many positions at four columns from n on; pixel is where its columns begin, and y its
// mask.
template <int Positions>
static __device__ __forceinline__ void finish_few(const Correlation &g, const float (*v)[4], u64 pixel, unsigned n, const Four &y) {
  Four best;
  unsigned places = 0;
#pragma unroll
  for (int e = 0; e < 4; e++) best.v[e] = v[0][e];
#pragma unroll
  for (unsigned k = 1; k < Positions; k++)
#pragma unroll
    for (int e = 0; e < 4; e++)
      if (above(v[k][e], best.v[e])) best.v[e] = v[k][e], places = (places & ~(255u << 8 * e)) | k << 8 * e;
  if (g.in_act != LINEAR)
#pragma unroll
    for (int e = 0; e < 4; e++) best.v[e] = act_derive(g.in_act, best.v[e], y.v[e]);
  store4(element(g.out, pixel, g.narrow & 1), n, g.columns, best, g.narrow & 1);
  if (!g.argmax) return;
  if (g.columns % 4 == 0)
    *(unsigned *)(g.argmax + pixel + n) = places;
  else
#pragma unroll
    for (int e = 0; e < 4; e++)
      if (n + e < g.columns) g.argmax[pixel + n + e] = places >> 8 * e;
}

// correlate_few computes pool windows of some rows of an image by 32 columns, as correlate does, for a source of few channels. A warp
// has 4 by 8 threads; one owns 4 positions by 4 columns: the windows w, w+32, w+64 and w+96 or, of a pool of 2, the 4 positions of
// one window. Pixels and weights are rounded.
template <int Pool, bool Back> __device__ __forceinline__ void correlate_few(const Correlation &g, const Rows &rows, unsigned rounding) {
  constexpr unsigned COLUMNS = 32, WINDOWS = 4 / (Pool * Pool), M = 4; // windows of a thread, threads of a warp side by side
  extern __shared__ __align__(16) float buffer[];
  const Taps t = all_taps<Back>(g);
  const unsigned lane = threadIdx.x % 32, c = g.s.c, run = t.kw * c, k_end = t.kh * run, width = rows.pitch * c;
  const unsigned tiles = (g.columns + COLUMNS - 1) / COLUMNS, n0 = blockIdx.x % tiles * COLUMNS, unit = blockIdx.x / tiles;
  const unsigned bands = (t.h + rows.count - 1) / rows.count, image = unit / bands, y0 = unit % bands * rows.count;
  float *pixels = buffer + k_end * COLUMNS;
  const unsigned height = (rows.count * Pool - 1) * g.stride + t.kh;
  copy_rows<Back>(g.s, pixels, image, (int)(y0 * Pool * g.stride) - t.top, -t.left, height, rows.pitch);
  const unsigned taps = t.kh * t.kw;
#pragma unroll 1
  for (unsigned k = threadIdx.x / 32; k < k_end; k += WARPS) {
    const unsigned tap = divide(k, g.by_c), ch = k - tap * c, column = n0 + lane;
    const u64 at = Back ? (u64)(ch * taps + taps - 1 - tap) * g.columns + column : (u64)column * k_end + k;
    if (column < g.columns)
      copy4(buffer + k * COLUMNS + lane, g.w + at);
    else
      buffer[k * COLUMNS + lane] = 0.f;
  }
  end_copies();
  wait_for_copies();
  __syncthreads();
  round_shared(buffer, k_end * COLUMNS + height * width, rounding);

  const unsigned q = lane_n(lane) * 4, n = n0 + q, windows = (t.h - y0 < rows.count ? t.h - y0 : rows.count) * t.w;
  if (n >= g.columns) return;
  Four bias = {0.f, 0.f, 0.f, 0.f};
  if (g.bias) bias = load4(g.bias, n, g.columns);
#pragma unroll 1
  for (unsigned first = threadIdx.x / 32 * M + lane_m(lane); first < windows; first += WARPS * M * WINDOWS) {
    const float *a[4];
#pragma unroll
    for (unsigned u = 0; u < 4; u++) {
      unsigned window = first + (Pool == 1 ? u * WARPS * M : 0);
      if (window >= windows) window = 0;
      const unsigned y = divide(window, rows.by_width), x = window - y * t.w;
      a[u] = pixels + (y * Pool + u / 2 % Pool) * g.stride * width + (x * Pool + u % Pool) * g.stride * c;
    }
    float sum[4][4];
#pragma unroll
    for (int u = 0; u < 4; u++) clear(sum[u]);
    const float *b = buffer + q;
#pragma unroll 1
    for (unsigned i = 0; i < t.kh; i++) {
#pragma unroll 3
      for (unsigned k = 0; k < run; k++, b += COLUMNS) {
        float w[4];
        load(w, b);
#pragma unroll
        for (int u = 0; u < 4; u++) {
          const float x = a[u][i * width + k];
#pragma unroll
          for (int e = 0; e < 4; e++) sum[u][e] = fmaf(x, w[e], sum[u][e]);
        }
      }
    }
#pragma unroll
    for (int u = 0; u < 4; u++) {
#pragma unroll
      for (int e = 0; e < 4; e++) sum[u][e] += bias.v[e];
      act_apply4(g.act, sum[u]);
    }
#pragma unroll
    for (unsigned u = 0; u < WINDOWS; u++) {
      const unsigned window = first + u * WARPS * M;
      if (window >= windows) break;
      const u64 pixel = ((u64)(image * g.out_h + y0) * t.w + window) * g.columns;
      finish_few<Pool * Pool>(g, sum + u, pixel, n, mask_at(g, pixel, n));
    }
  }
}

// correlate_lanes computes 128 positions by up to N columns, as correlate does, for sources whose channels are a multiple of 4. Eight
// lanes of a warp share a position at a time; lane l takes channels from 4*l, 32+4*l, ... on by fours, and their sums are added at the end. Values and weights are
// rounded.
template <int N, bool Back> __device__ __forceinline__ void correlate_lanes(const Correlation &g, unsigned rounding) {
  constexpr unsigned U = 4, POSITIONS = 4 * U * WARPS; // positions of a thread, of a block
  extern __shared__ __align__(16) float weights[];
  __shared__ Place places[POSITIONS];
  __shared__ __align__(16) float sums[POSITIONS][4];
  const unsigned window_size = g.pool * g.pool, windows = POSITIONS / window_size, first = blockIdx.x * windows;
  const Taps t = taps_of<Back>(g);
  const unsigned all = g.images * t.h * t.w, c = g.s.c, k_end = t.kh * t.kw * c;
  if (first >= all) return;
  if (threadIdx.x < POSITIONS) {
    const unsigned window = threadIdx.x / window_size;
    Place place = {0, (int)g.s.h, 0, nowhere};
    if (window < windows && first + window < all) place = place_of(g, t, first + window, threadIdx.x % window_size);
    places[threadIdx.x] = place;
  }
  for (unsigned i = threadIdx.x * 4; i < N * k_end; i += 32 * WARPS * 4) {
    const unsigned n = N == 1 ? 0 : i / k_end, k = i - n * k_end, tap = divide(k, g.by_c), y = tap / t.kw;
    float v[4];
    clear(v);
    if (n < g.columns) weight<4, Back>(v, g, t, n, y, tap - y * t.kw, k - tap * c);
    if (rounding) round_factors(v, rounding);
    store(weights + i, v);
  }
  __syncthreads();

  const unsigned lane = threadIdx.x % 32, r = threadIdx.x / 32 * (4 * U) + lane / 8;
  unsigned image[U];
  int y[U], x[U];
  float sum[U][N];
#pragma unroll
  for (unsigned u = 0; u < U; u++) {
    const Place p = places[r + u * 4];
    image[u] = p.image, y[u] = p.y, x[u] = p.x;
    clear(sum[u]);
  }
#pragma unroll 1
  for (unsigned ch = lane % 8 * 4; ch < c; ch += 32) {
    const float *w = weights + ch;
#pragma unroll 1
    for (unsigned i = 0; i < t.kh; i++)
#pragma unroll 2
      for (unsigned j = 0; j < t.kw; j++, w += c) {
        float a[U][4];
#pragma unroll
        for (unsigned u = 0; u < U; u++) read<4, Back>(a[u], g.s, under<Back>(g.s, image[u], y[u] + (int)i, x[u] + (int)j), ch);
        if (rounding)
#pragma unroll
          for (unsigned u = 0; u < U; u++) round_factors(a[u], rounding);
#pragma unroll
        for (int n = 0; n < N; n++) {
          float v[4];
          load(v, w + n * k_end);
#pragma unroll
          for (unsigned u = 0; u < U; u++)
#pragma unroll
            for (int e = 0; e < 4; e++) sum[u][n] = fmaf(a[u][e], v[e], sum[u][n]);
        }
      }
  }

  // The lanes of a position exchange sums, until a pair of them has that of one position, of which each has a half.
#pragma unroll
  for (unsigned half = U / 2; half > 0; half /= 2) {
    const bool upper = lane & half;
#pragma unroll
    for (unsigned u = 0; u < half; u++)
#pragma unroll
      for (int n = 0; n < N; n++) {
        const float low = sum[u][n], high = sum[u + half][n];
        sum[u][n] = (upper ? high : low) + __shfl_xor_sync(0xffffffffu, upper ? low : high, half);
      }
  }
  float all_columns[4];
#pragma unroll
  for (int n = 0; n < 4; n++) all_columns[n] = n < N ? sum[0][n % N] + __shfl_xor_sync(0xffffffffu, sum[0][n % N], U) : 0.f;
  if (lane % 8 < U) store(sums[r + lane % U * 4], all_columns);
  __syncthreads();
  finish<4, 1, 32 * WARPS, 2>(g, {sums[0], 4, 0, &places[0].out, sizeof(Place) / sizeof(unsigned), windows, window_size, 0});
}

// FewGradient is a Gradient whose positions are dealt in units: so many rows of an image of the other tensor, as it is stored. A
// part has its share of them.
struct FewGradient {
  Source g, s;
  Divider by_row;
  unsigned units, parts;
  unsigned stride;
  int top, left;
  unsigned kh, kw;
  float *out;
  long long first, per_m, per_tap, per_ch, size;
  unsigned add;
  unsigned rows, pitch;
  BiasSum bias;
  unsigned rounding; // of the two factors
};

// gradient_few computes 32 channels m by up to K values under a window of few channels. A lane owns all products of a channel. A warp
// takes every WARPSth pixel of the other tensor; if that is the gradient of a pool's output, each lane has the window at the position
// where the maximum of its channel was, and the other positions, whose gradient is zero, are left out.
template <int K> __device__ __forceinline__ void gradient_few(const FewGradient &g) {
  constexpr unsigned U = K > 16 ? 4 : 8; // pixels that are asked for at a time
  extern __shared__ __align__(16) float buffer[];
  const unsigned tiles = (g.g.c + 31) / 32;
  if (blockIdx.x >= tiles * g.parts) {
    const unsigned block = blockIdx.x - tiles * g.parts;
    bias_sum<16>(g.bias, buffer, block % g.parts, g.parts, block / g.parts, g.size, g.add);
    return;
  }
  const unsigned lane = threadIdx.x % 32, warp = threadIdx.x / 32, m0 = blockIdx.x % tiles * 32, part = blockIdx.x / tiles;
  const unsigned c = g.s.c, pool = g.g.factor, run = g.kw * c, k_end = g.kh * run, width = g.pitch * c;
  const unsigned height = g.g.image / g.g.row, bands = (height + g.rows - 1) / g.rows;
  unsigned offset[K];
#pragma unroll
  for (unsigned k = 0; k < K; k++) offset[k] = k < k_end ? k / run * width + k % run : 0;
  float sum[K];
  clear(sum);
  const Share share = share_of(g.units, part, g.parts);
#pragma unroll 1
  for (unsigned unit = share.begin; unit < share.end; unit++) {
    const unsigned n = unit / bands, y0 = unit % bands * g.rows;
    __syncthreads();
    const unsigned under = (g.rows * pool - 1) * g.stride + g.kh; // rows
    copy_rows<K <= 16>(g.s, buffer, n, (int)(y0 * pool * g.stride) - g.top, -g.left, under, g.pitch);
    end_copies();
    const unsigned pixels = (height - y0 < g.rows ? height - y0 : g.rows) * g.g.row;
    const unsigned base = (n * g.g.image + y0 * g.g.row) * g.g.c + m0 + lane;
#pragma unroll 1
    for (unsigned first = warp; first == warp || first < pixels; first += U * WARPS) {
      float v[U];
      unsigned place[U];
#pragma unroll
      for (unsigned u = 0; u < U; u++) {
        const unsigned p = first + u * WARPS;
        const bool inside = p < pixels && m0 + lane < g.g.c;
        v[u] = inside ? value_at(g.g, base + p * g.g.c) : 0.f;
        place[u] = inside && g.g.places ? g.g.places[base + p * g.g.c] : 0;
      }
      if (first == warp) { // the copies land while the first of these are on their way
        wait_for_copies();
        __syncthreads();
        round_shared(buffer, under * width, g.rounding);
      }
      if (g.rounding) round_factors(v, g.rounding);
#pragma unroll
      for (unsigned u = 0; u < U; u++) {
        const unsigned p = first + u * WARPS;
        if (p >= pixels) break;
        const unsigned y = divide(p, g.by_row), x = p - y * g.g.row, py = divide(place[u], g.g.by_factor), px = place[u] - py * pool;
        const float *at = buffer + (y * pool + py) * g.stride * width + (x * pool + px) * g.stride * c;
#pragma unroll
        for (unsigned k = 0; k < K; k++)
          if (k < k_end) sum[k] = fmaf(v[u], at[offset[k]], sum[k]);
      }
    }
  }

  // The warps' sums are added in their order.
  __syncthreads();
#pragma unroll
  for (unsigned k = 0; k < K; k++) buffer[(warp * K + k) * 32 + lane] = sum[k];
  __syncthreads();
  if (m0 + lane >= g.g.c) return;
  float *out = g.out + part * g.size + g.first + (m0 + lane) * g.per_m;
  for (unsigned k = warp; k < k_end; k += WARPS) {
    float all = buffer[k * 32 + lane];
#pragma unroll
    for (unsigned w = 1; w < WARPS; w++) all += buffer[(w * K + k) * 32 + lane];
    const unsigned tap = k / c, ch = k % c;
    float *to = out + tap * g.per_tap + ch * g.per_ch;
    *to = g.add ? *to + all : all;
  }
}

#define CORRELATE_FEW(name, Pool, Back)                                                                                \
  extern "C" __global__ void __launch_bounds__(32 * WARPS, 4)                                                          \
      name(CORRELATION_PARAMS, unsigned rows, unsigned pitch, Divider by_width, unsigned rounding) {                       \
    correlate_few<Pool, Back>(CORRELATION, {rows, pitch, by_width}, rounding);                                             \
  }

CORRELATE_FEW(conv_forward_few, 1, false)
CORRELATE_FEW(conv_forward_few_pool2, 2, false)
CORRELATE_FEW(conv_back_input_few, 1, true)

#define CORRELATE_LANES(name, N, Back)                                                                                 \
  extern "C" __global__ void __launch_bounds__(32 * WARPS, N == 1 ? 3 : 2) name(CORRELATION_PARAMS, unsigned rounding) {    \
    correlate_lanes<N, Back>(CORRELATION, rounding);                                                                       \
  }

CORRELATE_LANES(conv_forward_lanes1, 1, false)
CORRELATE_LANES(conv_forward_lanes4, 4, false)
CORRELATE_LANES(conv_back_input_lanes1, 1, true)
CORRELATE_LANES(conv_back_input_lanes4, 4, true)

#define GRADIENT_FEW(name, K)                                                                                          \
  extern "C" __global__ void __launch_bounds__(32 * WARPS, K > 16 ? 2 : 3)                                                          \
      name(SOURCE_PARAMS(g), SOURCE_PARAMS(s), Divider by_row, unsigned units, unsigned parts, unsigned stride,        \
           int top, int left, unsigned kh, unsigned kw, float *__restrict__ out, long long first, long long per_m,     \
           long long per_tap, long long per_ch, long long size, unsigned add, unsigned rows, unsigned pitch,           \
           BIAS_PARAMS, unsigned rounding) {                                                                               \
    gradient_few<K>({SOURCE(g), SOURCE(s), by_row, units, parts, stride, top, left, kh, kw, out, first, per_m,         \
                     per_tap, per_ch, size, add, rows, pitch, BIAS, rounding});                                            \
  }

GRADIENT_FEW(conv_back_weights_few12, 12)
GRADIENT_FEW(conv_back_weights_few32, 32)
