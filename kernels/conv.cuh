// Convolution and transposed convolution.
//
// Both are products of a matrix that is never made: its rows are places of a grid, its columns k = (i*kw+j)*c + ch the
// values under a window there, tap (i, j) and channel ch. At place (y, x) tap (i, j) lies on pixel
// (y*stride-top+i, x*stride-left+j) of an image; a pixel outside is zero. The image may be stored smaller than the window
// sees it:
//   - activations, each pixel seen factor by factor times (an input upsampled on read);
//   - gradients of a pooled output, seen before the pool: a pixel has that of its pool window where it was the maximum.
#pragma once
#include "common.cuh"

typedef unsigned long long u64;

// Divider divides n < 2^31 by a constant: the high half is the shift, the low half the multiplier.
typedef u64 Divider;

static __device__ __forceinline__ unsigned divide(unsigned n, Divider d) {
  return (unsigned)((u64)(2 * n) * (unsigned)d >> 32) >> (unsigned)(d >> 32);
}

// clear, load and store set, read and write V floats, aligned if V is 4.
template <int V> static __device__ __forceinline__ void clear(float (&v)[V]) {
#pragma unroll
  for (int e = 0; e < V; e++) v[e] = 0.f;
}

template <int V> static __device__ __forceinline__ void load(float (&v)[V], const float *p) {
  if (V == 4) {
    float4 q = *(const float4 *)p;
    v[0] = q.x, v[1 % V] = q.y, v[2 % V] = q.z, v[3 % V] = q.w;
  } else {
    v[0] = *p;
  }
}

template <int V> static __device__ __forceinline__ void store(float *p, const float (&v)[V]) {
  if (V == 4)
    *(float4 *)p = make_float4(v[0], v[1 % V], v[2 % V], v[3 % V]);
  else
    *p = v[0];
}

// Rounding is what factors are rounded to, if to anything.
enum Rounding { TO_TF32 = 1, TO_BF16 };

// round_factor returns the nearest TF32, of two as near the one farther from zero, or bfloat16, of two as near the one whose last bit is 0.
// Infinities and NaN stay.
static __device__ __forceinline__ float round_factor(float x, unsigned rounding) {
  const unsigned bits = __float_as_uint(x);
  const unsigned rounded = rounding == TO_TF32 ? (bits + 0x1000u) & ~0x1fffu : (bits + (0x7fffu + (bits >> 16 & 1))) & ~0xffffu;
  return (bits & 0x7f800000u) != 0x7f800000u ? __uint_as_float(rounded) : x;
}

template <int V> static __device__ __forceinline__ void round_factors(float (&v)[V], unsigned rounding) {
#pragma unroll
  for (int e = 0; e < V; e++) v[e] = round_factor(v[e], rounding);
}

// Source is an image under a window, and what it is read from.
struct Source {
  const float *p;
  const unsigned char *places; // arg-max of the pool that the window sees through, or 0
  unsigned c, h, w;            // channels, extent as the window sees it
  unsigned row, image;         // stored pixels of a row, of an image
  unsigned factor;             // pixels seen to a side of a stored one
  Divider by_factor;
  unsigned narrow;
};

#define SOURCE_PARAMS(name)                                                                                            \
  const float *__restrict__ name##_p, const unsigned char *__restrict__ name##_places, unsigned name##_c,              \
      unsigned name##_h, unsigned name##_w, unsigned name##_row, unsigned name##_image, unsigned name##_factor,        \
      Divider name##_by_factor, unsigned name##_narrow
#define SOURCE(name)                                                                                                   \
  { name##_p, name##_places, name##_c, name##_h, name##_w, name##_row, name##_image, name##_factor, name##_by_factor, name##_narrow }

static const unsigned nowhere = ~0u;

// Pixel is a pixel under a window: its number in the tensor, or nowhere, and its place in its pool window.
struct Pixel {
  unsigned index, place;
};

// under finds pixel (y, x) of the image whose first stored pixel is image. Scaled says that the factor may not be 1.
template <bool Scaled> static __device__ __forceinline__ Pixel under(const Source &s, unsigned image, int y, int x) {
  Pixel p = {nowhere, 0};
  if ((unsigned)y < s.h && (unsigned)x < s.w) {
    unsigned sy = Scaled ? divide(y, s.by_factor) : y, sx = Scaled ? divide(x, s.by_factor) : x;
    p.index = image + sy * s.row + sx;
    if (Scaled) p.place = (y - sy * s.factor) * s.factor + x - sx * s.factor;
  }
  return p;
}

// read_at returns V values from number at of the tensor, of a pixel at that place of its pool window. Scaled says that the
// window may see through a pool.
template <int V, bool Scaled>
static __device__ __forceinline__ void read_at(float (&v)[V], const Source &s, u64 at, unsigned place) {
  load_values(v, element(s.p, at, s.narrow), s.narrow);
  if (!Scaled || !s.places) return;
  unsigned others = (V == 4 ? *(const unsigned *)(s.places + at) : s.places[at]) ^ place * 0x01010101u;
#pragma unroll
  for (int e = 0; e < V; e++)
    if (others & 255u << 8 * e) v[e] = 0.f;
}

// read returns V channels from ch of a pixel.
template <int V, bool Scaled>
static __device__ __forceinline__ void read(float (&v)[V], const Source &s, const Pixel &p, unsigned ch) {
  clear(v);
  if (p.index != nowhere) read_at<V, Scaled>(v, s, (u64)p.index * s.c + ch, p.place);
}

// Correlation is a product of the values under a window and weights, and what follows it. Back says which way the weights
// are taken.
//
// Forward, column n of the result is filter n, and the weights are [n][tap][ch]. When the input is upsampled, outputs of
// each residue modulo step, the factor, see every stored pixel under so many taps of the kernel at a time: they have a
// window over stored pixels, whose weights are sums.
//
// Back, column n is channel n of the input, ch is a filter, and the weights are [ch][tap][n]; an input pixel sees the taps in
// reverse. With a stride, input pixels of each residue modulo step, the stride, see their own taps only.
//
// blockIdx.z is the residue; its pixels are a grid of their own.
struct Correlation {
  Source s;
  Divider by_c;
  const float *w, *bias, *mask;
  float *out;
  unsigned char *argmax;
  unsigned images, columns;
  unsigned stride;
  int top, left;
  unsigned kh, kw, step, out_h, out_w, pool;
  int act, in_act;
  unsigned narrow; // bit 0 is out's, bit 1 the mask's
};

#define CORRELATION_PARAMS                                                                                             \
  SOURCE_PARAMS(s), Divider by_c, const float *__restrict__ w, const float *__restrict__ bias,                         \
      const float *__restrict__ mask, float *__restrict__ out, unsigned char *__restrict__ argmax, unsigned images,    \
      unsigned columns, unsigned stride, int top, int left, unsigned kh, unsigned kw, unsigned step, unsigned out_h,   \
      unsigned out_w, unsigned pool, int act, int in_act, unsigned narrow
#define CORRELATION                                                                                                    \
  {                                                                                                                    \
    SOURCE(s), by_c, w, bias, mask, out, argmax, images, columns, stride, top, left, kh, kw, step, out_h, out_w, pool, \
        act, in_act, narrow                                                                                            \
  }

// Taps are the window of the places of a residue, and the grid of these places. Tap (i, j) is, forward, the sum of the
// kernel's taps from (first_y + i*step, first_x + j*step), step by step of them as far as they exist; back, the kernel's tap
// (first_y - i*step, first_x - j*step).
struct Taps {
  unsigned h, w, ry, rx, kh, kw;
  int top, left, first_y, first_x;
};

// residue_taps gives the taps in one direction of pixels r, r+step, ..., and the padding before the image.
template <bool Back>
static __device__ __forceinline__ void residue_taps(int r, int step, int pad, int kernel, unsigned &taps, int &before, int &first) {
  if (Back) {
    int start = (r + pad) % step;
    taps = kernel > start ? (kernel - start + step - 1) / step : 0;
    before = (int)taps - 1 - (r + pad) / step;
    first = start + ((int)taps - 1) * step;
    return;
  }
  before = (pad - r + step * 2 - 1) / step - 1; // (pad-r)/step rounded up
  first = pad - r - before * step;
  taps = (kernel - first + step - 1) / step;
}

template <bool Back> static __device__ __forceinline__ Taps taps_of(const Correlation &g) {
  Taps t;
  t.ry = blockIdx.z / g.step, t.rx = blockIdx.z % g.step;
  residue_taps<Back>(t.ry, g.step, g.top, g.kh, t.kh, t.top, t.first_y);
  residue_taps<Back>(t.rx, g.step, g.left, g.kw, t.kw, t.left, t.first_x);
  t.h = (g.out_h - t.ry + g.step - 1) / g.step, t.w = (g.out_w - t.rx + g.step - 1) / g.step;
  return t;
}

// Place is a place of the grid: the image's first stored pixel, the pixel under tap (0, 0), and the pixel of the output.
struct __align__(16) Place {
  unsigned image;
  int y, x;
  unsigned out;
};

// place_of returns place k of pool window number window, the windows being the pixels of the residue in NHW order.
static __device__ __forceinline__ Place place_of(const Correlation &g, const Taps &t, unsigned window, unsigned k) {
  unsigned x = window % t.w, y = window / t.w % t.h, n = window / t.w / t.h;
  unsigned py = k / g.pool, px = k % g.pool;
  return {n * g.s.image, (int)((y * g.pool + py) * g.stride) - t.top, (int)((x * g.pool + px) * g.stride) - t.left,
          (n * g.out_h + y * g.step + t.ry) * g.out_w + x * g.step + t.rx};
}

// weight returns V weights of column n from channel ch of tap (i, j).
template <int V, bool Back>
static __device__ __forceinline__ void weight(float (&v)[V], const Correlation &g, const Taps &t, unsigned n, unsigned i,
                                              unsigned j, unsigned ch) {
  const unsigned taps = g.kh * g.kw;
  const int step = g.step;
  if (Back) {
    unsigned tap = (t.first_y - (int)i * step) * g.kw + t.first_x - (int)j * step;
#pragma unroll
    for (int e = 0; e < V; e++) v[e] = g.w[((u64)(ch + e) * taps + tap) * g.columns + n];
    return;
  }
  const float *w = g.w + (u64)n * taps * g.s.c + ch;
  const int y0 = t.first_y + (int)i * step, x0 = t.first_x + (int)j * step;
  if (step == 1) {
    load(v, w + (u64)(y0 * g.kw + x0) * g.s.c);
    return;
  }
  clear(v);
  if (step == 2) { // all taps are asked for before the first is added; one that does not exist counts as 0
    float a[4][V];
#pragma unroll
    for (int u = 0; u < 4; u++) {
      const int y = y0 + u / 2, x = x0 + u % 2;
      clear(a[u]);
      if ((unsigned)y < g.kh && (unsigned)x < g.kw) load(a[u], w + (u64)(y * g.kw + x) * g.s.c);
    }
#pragma unroll
    for (int u = 0; u < 4; u++)
#pragma unroll
      for (int e = 0; e < V; e++) v[e] += a[u][e];
    return;
  }
  for (int y = y0 < 0 ? 0 : y0; y < y0 + step && y < g.kh; y++)
    for (int x = x0 < 0 ? 0 : x0; x < x0 + step && x < g.kw; x++) {
      float a[V];
      load(a, w + (u64)(y * g.kw + x) * g.s.c);
#pragma unroll
      for (int e = 0; e < V; e++) v[e] += a[e];
    }
}

// act_apply4 is act_apply of four values, with one choice for all.
static __device__ __forceinline__ void act_apply4(int act, float (&v)[4]) {
  if (act == RELU)
#pragma unroll
    for (int e = 0; e < 4; e++) v[e] = act_apply(RELU, v[e]);
  else if (act != LINEAR)
#pragma unroll
    for (int e = 0; e < 4; e++) v[e] = act_apply(act, v[e]);
}

// lane_m and lane_n place the 32 lanes of a warp among 4 rows and 8 columns of a product. They are mixed so that of a load of 16
// bytes from shared memory neighbours want the same address, be it of a row or of a column: a GPU then serves two quarters of
// the warp at once.
static __device__ __forceinline__ unsigned lane_m(unsigned lane) { return (lane >> 1 & 1) | (lane >> 3 & 2); }
static __device__ __forceinline__ unsigned lane_n(unsigned lane) { return (lane & 1) | (lane >> 1 & 6); }

// Tile is what a block of a correlation computes: windows of window_size positions each, by columns from n0 on. The sums lie in
// shared memory, rows of positions ld floats apart, and every four of them by so many more; when groups of threads have summed different k, those of
// each group lie group_step floats behind those of the one before. outs has the pixel of the output of each position, out_step elements apart.
struct Tile {
  const float *sums;
  unsigned ld, group_step;
  const unsigned *outs;
  unsigned out_step, windows, window_size, n0, more;
};

// Kept leaves the sums of a tile as they are.
struct Kept {
  __device__ __forceinline__ void operator()(float (&)[4], unsigned, unsigned, unsigned) const {}
};

// finish makes the outputs of a tile of BN columns: the sums of G groups are added in their order, and bias, activation, pool and
// the derivative of the other activation follow. T threads take four columns of a window each, always the same ones, and of U windows what
// they read before they use the first. mend may change the sums of a pixel of the output, at a place of its window and from a column on.
template <int BN, int G, int T, int U = 4, class Mend = Kept> __device__ __forceinline__ void finish(const Correlation &g, const Tile &t, const Mend &mend = Mend()) {
  constexpr unsigned QUADS = BN / 4, STEP = T / QUADS;
  static_assert(T % QUADS == 0, "a thread keeps its columns");
  const unsigned q = threadIdx.x % QUADS * 4, n = t.n0 + q;
  const unsigned windows = n < g.columns ? t.windows : 0;
#pragma unroll 1
  for (unsigned first = threadIdx.x / QUADS; first < windows; first += U * STEP) {
    unsigned row[U], out[U];
    Four bias = {0.f, 0.f, 0.f, 0.f}, best[U], y[U];
    if (g.bias) bias = load4(g.bias, n, g.columns);
    unsigned place[U][4];
#pragma unroll
    for (int u = 0; u < U; u++) {
      const unsigned window = first + u * STEP;
      row[u] = (window < windows ? window : first) * t.window_size, out[u] = window < windows ? t.outs[row[u] * t.out_step] : nowhere;
    }
    if (g.in_act != LINEAR)
#pragma unroll
      for (int u = 0; u < U; u++)
        if (out[u] != nowhere) y[u] = load4(element(g.mask, (u64)out[u] * g.columns, g.narrow & 2), n, g.columns, g.narrow & 2);
#pragma unroll 1
    for (unsigned k = 0; k < t.window_size; k++) {
      float v[U][4];
#pragma unroll
      for (int u = 0; u < U; u++) load(v[u], t.sums + (row[u] + k) * t.ld + (row[u] + k) / 4 * t.more + q);
#pragma unroll
      for (int group = 1; group < G; group++)
#pragma unroll
        for (int u = 0; u < U; u++) {
          float more[4];
          load(more, t.sums + group * t.group_step + (row[u] + k) * t.ld + (row[u] + k) / 4 * t.more + q);
#pragma unroll
          for (int e = 0; e < 4; e++) v[u][e] += more[e];
        }
#pragma unroll
      for (int u = 0; u < U; u++) {
        if (out[u] != nowhere) mend(v[u], out[u], k, n);
#pragma unroll
        for (int e = 0; e < 4; e++) v[u][e] += bias.v[e];
        act_apply4(g.act, v[u]);
#pragma unroll
        for (int e = 0; e < 4; e++)
          if (k == 0 || above(v[u][e], best[u].v[e])) best[u].v[e] = v[u][e], place[u][e] = k;
      }
    }
#pragma unroll
    for (int u = 0; u < U; u++) {
      if (out[u] == nowhere) continue;
      const u64 pixel = (u64)out[u] * g.columns;
      if (g.in_act != LINEAR)
#pragma unroll
        for (int e = 0; e < 4; e++) best[u].v[e] = act_derive(g.in_act, best[u].v[e], y[u].v[e]);
      store4(element(g.out, pixel, g.narrow & 1), n, g.columns, best[u], g.narrow & 1);
      if (!g.argmax) continue;
      if (g.columns % 4 == 0)
        *(unsigned *)(g.argmax + pixel + n) = place[u][0] | place[u][1] << 8 | place[u][2] << 16 | place[u][3] << 24;
      else
#pragma unroll
        for (int e = 0; e < 4; e++)
          if (n + e < g.columns) g.argmax[pixel + n + e] = place[u][e];
    }
  }
}

// finite is false for infinities and NaN.
static __device__ __forceinline__ bool finite(float v) { return fabsf(v) <= 3.40282347e38f; }

static __device__ __forceinline__ bool finite(const float (&v)[4]) { return finite(v[0]) && finite(v[1]) && finite(v[2]) && finite(v[3]); }

// plain_sums sets v to the sums, without the bias, at place k of the window of a pixel of the output, of columns n to n+3, in float32: for
// what a tile cannot sum.
template <bool Back>
static __device__ __forceinline__ void plain_sums(float (&v)[4], const Correlation &g, const Taps &t, unsigned out, unsigned k, unsigned n) {
  const unsigned row = out / g.out_w, x = (out - row * g.out_w) / g.step, image = row / g.out_h, y = (row - image * g.out_h) / g.step;
  const int y0 = (int)((y * g.pool + k / g.pool) * g.stride) - t.top, x0 = (int)((x * g.pool + k % g.pool) * g.stride) - t.left;
  clear(v);
#pragma unroll 1
  for (unsigned i = 0; i < t.kh; i++)
#pragma unroll 1
    for (unsigned j = 0; j < t.kw; j++) {
      const Pixel pixel = under<Back>(g.s, image * g.s.image, y0 + (int)i, x0 + (int)j);
#pragma unroll 1
      for (unsigned ch = 0; ch < g.s.c; ch++) {
        float value[1];
        read<1, Back>(value, g.s, pixel, ch);
#pragma unroll
        for (int e = 0; e < 4; e++) {
          float w[1];
          weight<1, Back>(w, g, t, n + e < g.columns ? n + e : n, i, j, ch);
          v[e] = fmaf(value[0], w[0], v[e]);
        }
      }
    }
}

// Share is one of the parts, as equal as can be, of so many things.
struct Share {
  unsigned begin, end;
};

static __device__ __forceinline__ Share share_of(unsigned things, unsigned part, unsigned parts) {
  const unsigned least = things / parts, more = things % parts; // the first ones have one more
  Share s = {part * least + (part < more ? part : more), 0};
  s.end = s.begin + least + (part < more);
  return s;
}

// BiasSum is the gradient of the bias: the sums of the columns of count rows, in as many parts as that of the weights. A part goes to
// out + part*size, or is added there.
struct BiasSum {
  const float *rows;
  float *out;
  unsigned count, columns, narrow;
};

#define BIAS_PARAMS                                                                                                    \
  const float *__restrict__ bias_rows, float *__restrict__ bias, unsigned bias_count, unsigned bias_columns,                     \
      unsigned bias_narrow
#define BIAS                                                                                                           \
  { bias_rows, bias, bias_count, bias_columns, bias_narrow }

// bias_sum computes columns 32*block to 32*block+31 of a part. Warp w adds up rows w, w+W, ..., ROWS of which it asks for before it
// adds the first, because it would else wait for the memory at every one; the sums of the warps are then added in their order.
// shared has room for a float a thread.
template <unsigned ROWS>
static __device__ __forceinline__ void bias_sum(const BiasSum &b, float *shared, unsigned part, unsigned parts, unsigned block,
                                                long long size, bool add) {
  const unsigned lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = blockDim.x / 32, column = block * 32 + lane;
  const Share s = share_of(b.count, part, parts);
  float sum = 0.f;
  if (column < b.columns) {
    const u64 step = (u64)warps * b.columns;
    const float *p = element(b.rows, (u64)(s.begin + warp) * b.columns + column, b.narrow);
    for (unsigned r = s.begin + warp; r < s.end; r += ROWS * warps) {
      float v[ROWS];
#pragma unroll
      for (unsigned u = 0; u < ROWS; u++, p = element(p, step, b.narrow)) {
        float one[1] = {0.f};
        if (r + u * warps < s.end) load_values(one, p, b.narrow);
        v[u] = one[0];
      }
#pragma unroll
      for (unsigned u = 0; u < ROWS; u++) sum += v[u];
    }
  }
  shared[threadIdx.x] = sum;
  __syncthreads();
  if (warp > 0 || column >= b.columns) return;
  for (unsigned w = 1; w < warps; w++) sum += shared[w * 32 + lane];
  float *to = b.out + part * size + column;
  *to = add ? *to + sum : sum;
}
