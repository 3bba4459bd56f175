// The matrix-like ops: convolution, transposed convolution and dense layers, which are convolutions of single pixels.
//
// All are products of a matrix that is never made: its rows are places of a grid, its columns k = (i*kw+j)*c + ch the
// values under a window there, tap (i, j) and channel ch. At place (y, x) tap (i, j) lies on pixel
// (y*stride-top+i, x*stride-left+j) of an image; a pixel outside is zero. The image may be stored smaller than the window
// sees it:
//   - activations, each pixel seen factor by factor times (an input upsampled on read);
//   - gradients of a pooled output, seen before the pool: a pixel has that of its pool window where it was the maximum.
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

// Source is an image under a window, and what it is read from.
struct Source {
  const float *p;
  const unsigned char *places; // arg-max of the pool that the window sees through, or 0
  unsigned c, h, w;            // channels, extent as the window sees it
  unsigned row, image;         // stored pixels of a row, of an image
  unsigned factor;             // pixels seen to a side of a stored one
  Divider by_factor;
};

#define SOURCE_PARAMS(name)                                                                                            \
  const float *__restrict__ name##_p, const unsigned char *__restrict__ name##_places, unsigned name##_c,              \
      unsigned name##_h, unsigned name##_w, unsigned name##_row, unsigned name##_image, unsigned name##_factor,        \
      Divider name##_by_factor
#define SOURCE(name)                                                                                                   \
  { name##_p, name##_places, name##_c, name##_h, name##_w, name##_row, name##_image, name##_factor, name##_by_factor }

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
  load(v, s.p + at);
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
};

#define CORRELATION_PARAMS                                                                                             \
  SOURCE_PARAMS(s), Divider by_c, const float *__restrict__ w, const float *__restrict__ bias,                         \
      const float *__restrict__ mask, float *__restrict__ out, unsigned char *__restrict__ argmax, unsigned images,    \
      unsigned columns, unsigned stride, int top, int left, unsigned kh, unsigned kw, unsigned step, unsigned out_h,   \
      unsigned out_w, unsigned pool, int act, int in_act
#define CORRELATION                                                                                                    \
  {                                                                                                                    \
    SOURCE(s), by_c, w, bias, mask, out, argmax, images, columns, stride, top, left, kh, kw, step, out_h, out_w, pool, \
        act, in_act                                                                                                    \
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

// BK is the number of window values that a block takes at a time. In shared memory the four quads of a row are permuted, so
// that neither the rows of neighbours nor the same quad of 8 rows share banks.
enum { BK = 16 };

static __device__ __forceinline__ unsigned quad_of(unsigned row, unsigned k) { return ((k / 4 ^ row / 2) % 4) * 4 + k % 4; }

// correlate computes BM places by BN columns of out = pool(act(window * weights + bias)) * act'(mask), the arg-max counting
// after the activation. A tile holds whole pool windows. Thread (tm, tn) owns the products at places tm, tm+BM/TM, ... by
// columns tn, tn+BN/TN, ..., each the sum over k in ascending order; and then outputs by fours. Blocks have BM/TM*BN/TN
// threads; V is 4 when the channels of the source are a multiple of 4.
template <int BM, int BN, int TM, int TN, int V, bool Back>
__device__ __forceinline__ void correlate(const Correlation &g) {
  constexpr unsigned MS = BM / TM, NS = BN / TN, T = MS * NS; // threads
  constexpr unsigned L = BK / V;                              // threads that load a row
  constexpr unsigned RA = BM * L / T, RB = (BN * L + T - 1) / T, LDC = BN + 8;
  __shared__ __align__(16) union {
    struct {
      float a[2][BM][BK], b[2][BN][BK];
    };
    float sums[BM][LDC];
  } shared;
  __shared__ Place places[BM];

  const unsigned tid = threadIdx.x, tiles = (g.columns + BN - 1) / BN, n0 = blockIdx.x % tiles * BN;
  const unsigned window_size = g.pool * g.pool, windows = BM / window_size, first = blockIdx.x / tiles * windows;
  const Taps t = taps_of<Back>(g);
  const unsigned all = g.images * t.h * t.w, k_end = t.kh * t.kw * g.s.c;
  if (first >= all) return;
  for (unsigned r = tid; r < BM; r += T) {
    unsigned window = r / window_size;
    Place p = {0, (int)g.s.h, 0, nowhere};
    if (window < windows && first + window < all) p = place_of(g, t, first + window, r % window_size);
    places[r] = p;
  }
  __syncthreads();

  // This thread loads values k, k+BK, ... of the tile's rows row, row+T/L, ... The columns of a narrow tile are for some of
  // the threads only.
  const unsigned row = tid / L, at = quad_of(row, tid % L * V);
  const bool loads_b = BN * L >= T || row < BN;
  const unsigned by_kw = 65535 / (t.kw | !t.kw) + 1; // exact for taps
  unsigned k = tid % L * V, ch = g.s.c, ti, tj; // tap (ti, tj)
  Pixel pixel[RA];
  float a[RA][V], b[RB][V], sum[TM][TN];
#pragma unroll
  for (int i = 0; i < TM; i++) clear(sum[i]);

  // Tile k0 is loaded while the one before is used: buffers alternate.
  const unsigned tm = tid / NS, tn = tid % NS;
  for (unsigned k0 = 0, buffer = 0;; k0 += BK, buffer ^= 1) {
    if (k0 < k_end) {
      // Another tap, unless there are more channels of this one.
      if (V == 1 || ch >= g.s.c) {
        unsigned tap = divide(k, g.by_c);
        ch = k - tap * g.s.c, ti = tap * by_kw >> 16, tj = tap - ti * t.kw;
#pragma unroll
        for (int u = 0; u < RA; u++) {
          Place p = places[row + u * (T / L)];
          pixel[u] = under<Back>(g.s, p.image, k < k_end ? p.y + (int)ti : -1, p.x + (int)tj);
        }
      }
#pragma unroll
      for (int u = 0; u < RA; u++) read<V, Back>(a[u], g.s, pixel[u], ch);
#pragma unroll
      for (int u = 0; u < RB; u++) {
        unsigned n = n0 + row + u * (T / L);
        clear(b[u]);
        if (loads_b && k < k_end && n < g.columns) weight<V, Back>(b[u], g, t, n, ti, tj, ch);
      }
      k += BK, ch += BK;
    }
    if (k0 > 0) {
      const unsigned quads = k0 <= k_end ? BK / 4 : (k_end + BK - k0 + 3) / 4;
#pragma unroll
      for (int q = 0; q < BK / 4; q++) {
        if (q >= quads) break;
        float4 bq[TN];
#pragma unroll
        for (int j = 0; j < TN; j++) {
          const unsigned n = tn + j * NS;
          bq[j] = *(const float4 *)&shared.b[buffer ^ 1][n][quad_of(NS % 8 == 0 ? tn : n, 4 * q)];
        }
#pragma unroll
        for (int i = 0; i < TM; i++) {
          float4 aq = *(const float4 *)&shared.a[buffer ^ 1][tm + i * MS][quad_of(tm, 4 * q)];
#pragma unroll
          for (int j = 0; j < TN; j++) sum[i][j] = fmaf(aq.x, bq[j].x, sum[i][j]);
#pragma unroll
          for (int j = 0; j < TN; j++) sum[i][j] = fmaf(aq.y, bq[j].y, sum[i][j]);
#pragma unroll
          for (int j = 0; j < TN; j++) sum[i][j] = fmaf(aq.z, bq[j].z, sum[i][j]);
#pragma unroll
          for (int j = 0; j < TN; j++) sum[i][j] = fmaf(aq.w, bq[j].w, sum[i][j]);
        }
      }
    }
    if (k0 >= k_end) break;
#pragma unroll
    for (int u = 0; u < RA; u++) store(&shared.a[buffer][row + u * (T / L)][at], a[u]);
#pragma unroll
    for (int u = 0; u < RB; u++)
      if (loads_b) store(&shared.b[buffer][row + u * (T / L)][at], b[u]);
    __syncthreads();
  }

  // The sums go through shared memory, so that the places of a pool window come together.
  __syncthreads();
#pragma unroll
  for (int i = 0; i < TM; i++)
#pragma unroll
    for (int j = 0; j < TN; j++) shared.sums[tm + i * MS][tn + j * NS] = sum[i][j];
  __syncthreads();
#pragma unroll 1
  for (unsigned i = tid; i < windows * (BN / 4); i += T) {
    unsigned r = i / (BN / 4) * window_size, q = i % (BN / 4) * 4, n = n0 + q;
    u64 pixel = places[r].out;
    if (n >= g.columns || pixel == nowhere) continue;
    pixel *= g.columns;
    Four bias = {0.f, 0.f, 0.f, 0.f}, best;
    if (g.bias) bias = load4(g.bias, n, g.columns);
    unsigned place[4] = {0, 0, 0, 0};
#pragma unroll 1
    for (unsigned k = 0; k < window_size; k++) {
      float v[4];
      load(v, &shared.sums[r + k][q]);
#pragma unroll
      for (int e = 0; e < 4; e++) v[e] += bias.v[e];
      act_apply4(g.act, v);
#pragma unroll
      for (int e = 0; e < 4; e++)
        if (k == 0 || above(v[e], best.v[e])) best.v[e] = v[e], place[e] = k;
    }
    if (g.in_act != LINEAR) {
      Four y = load4(g.mask + pixel, n, g.columns);
#pragma unroll
      for (int e = 0; e < 4; e++) best.v[e] = act_derive(g.in_act, best.v[e], y.v[e]);
    }
    store4(g.out + pixel, n, g.columns, best);
    if (g.argmax)
#pragma unroll
      for (int e = 0; e < 4; e++)
        if (n + e < g.columns) g.argmax[pixel + n + e] = place[e];
  }
}

// correlate_each computes the same, a thread an output, and a block one column: for few columns of sources that have no
// tile for them, for pools too large for a tile, and for what a window over stored pixels cannot do.
template <int V, bool Back> __device__ __forceinline__ void correlate_each(const Correlation &g) {
  constexpr unsigned chunk = 1024;
  __shared__ __align__(16) float weights[chunk];
  const Taps t = taps_of<Back>(g);
  const unsigned n = blockIdx.x % g.columns, window = blockIdx.x / g.columns * 256 + threadIdx.x;
  const unsigned all = g.images * t.h * t.w, k_end = t.kh * t.kw * g.s.c;
  if (all == 0) return; // a residue without pixels
  const bool inside = window < all;
  float best = 0.f, bias = g.bias ? g.bias[n] : 0.f;
  unsigned place = 0;
  Place p = {};
  for (unsigned q = 0; q < g.pool * g.pool; q++) {
    p = place_of(g, t, inside ? window : 0, q);
    float sum = 0.f;
    for (unsigned k0 = 0; k0 < k_end; k0 += chunk) {
      const unsigned k1 = k0 + chunk < k_end ? k0 + chunk : k_end;
      __syncthreads();
      for (unsigned k = k0 + threadIdx.x * V; k < k1; k += 256 * V) {
        unsigned tap = divide(k, g.by_c);
        float w[V];
        weight<V, Back>(w, g, t, n, tap / t.kw, tap % t.kw, k - tap * g.s.c);
        store(weights + k - k0, w);
      }
      __syncthreads();
      for (unsigned k = k0; k < k1;) {
        unsigned tap = divide(k, g.by_c), ch = k - tap * g.s.c, i = tap / t.kw, j = tap % t.kw;
        const unsigned run = g.s.c - ch < k1 - k ? g.s.c - ch : k1 - k;
        const Pixel pixel = under<true>(g.s, p.image, p.y + (int)i, p.x + (int)j);
        const u64 at = (u64)pixel.index * g.s.c + ch;
        const float *w_of_tap = weights + k - k0;
        k += run;
        if (!inside || pixel.index == nowhere) continue;
#pragma unroll 4
        for (unsigned r = 0; r < run; r += V) {
          float x[V], w[V];
          read_at<V, Back>(x, g.s, at + r, pixel.place);
          load(w, w_of_tap + r);
#pragma unroll
          for (int e = 0; e < V; e++) sum = fmaf(x[e], w[e], sum);
        }
      }
    }
    float v = act_apply(g.act, sum + bias);
    if (q == 0 || above(v, best)) best = v, place = q;
  }
  if (!inside) return;
  u64 at = (u64)p.out * g.columns + n;
  if (g.in_act != LINEAR) best = act_derive(g.in_act, best, g.mask[at]);
  g.out[at] = best;
  if (g.argmax) g.argmax[at] = place;
}

// spread sums a gradient over the copies of an upsampled pixel: out[a, b] is the sum of the gradients of the places whose
// product with the stride lies in a-up+1..a and b-up+1..b, so that one product serves all copies. A thread owns V
// channels of a pixel of out; blocks of 256 threads, blocks of them an image.
template <int V>
static __device__ __forceinline__ void spread(const Source &s, Divider by_lanes, float *out, unsigned stride, Divider by_stride,
                                              unsigned up, unsigned h, unsigned w, Divider by_w, unsigned blocks) {
  const unsigned n = blockIdx.x / blocks, index = blockIdx.x % blocks * 256 + threadIdx.x;
  const unsigned pixel = divide(index, by_lanes), ch = (index - pixel * (s.c / V)) * V;
  const unsigned y = divide(pixel, by_w), x = pixel - y * w;
  if (y >= h) return;
  float sum[V], v[V];
  clear(sum);
  for (unsigned i = y < up ? 0 : divide(y - up, by_stride) + 1; i * stride <= y && i < s.h; i++)
    for (unsigned j = x < up ? 0 : divide(x - up, by_stride) + 1; j * stride <= x && j < s.w; j++) {
      read<V, true>(v, s, under<true>(s, n * s.image, i, j), ch);
#pragma unroll
      for (int e = 0; e < V; e++) sum[e] += v[e];
    }
  store(out + ((u64)n * h * w + pixel) * s.c + ch, sum);
}

// Gradient is the product of another tensor and the values under a window, both at the places of a grid, summed over the
// places. Value (m, k = (tap, ch)) belongs to element first + m*per_m + tap*per_tap + ch*per_ch of the weights. It is added
// to out there when add is set; else it is written to part blockIdx.z of out, the parts being size elements apart.
struct Gradient {
  Source g, s; // the window's image is stored as it is seen
  Divider by_w, by_h;
  unsigned places, chunk;
  unsigned stride;
  int top, left;
  unsigned kh, kw;
  float *out;
  long long first, per_m, per_tap, per_ch, size;
  unsigned add;
};

// Spot is a place of the grid: the other tensor's pixel, and the window's pixel under tap (0, 0) and where that lies.
struct __align__(16) Spot {
  unsigned other, under;
  int y, x;
};

// find finds place number p, in NHW order, and its place in its pool window. From end on there is nothing.
static __device__ __forceinline__ void find(Spot &spot, unsigned &place, const Gradient &g, unsigned p, unsigned end) {
  unsigned q = divide(p, g.by_w), n = divide(q, g.by_h), x = p - q * g.g.w, y = q - n * g.g.h;
  Pixel other = under<true>(g.g, n * g.g.image, y, x);
  int sy = (int)(y * g.stride) - g.top, sx = (int)(x * g.stride) - g.left;
  spot = {other.index, n * g.s.image + sy * g.s.row + sx, sy, sx};
  if (p >= end) spot = {nowhere, 0, -(int)g.kh, 0};
  place = other.place;
}

// gradient computes BM channels m by BN values k, over chunk places from blockIdx.z*chunk. Thread (tm, tn) owns four m from
// 4*tm and, when TM is 8, four from BM/2+4*tm, by as many k likewise; a result is the sum over the places in ascending
// order. Blocks have BM/TM*BN/TN threads. VM is 4 when the channels of the other tensor are a multiple of 4, VN when those of
// the window's are.
template <int BM, int BN, int TM, int TN, int VM, int VN> __device__ __forceinline__ void gradient(const Gradient &g) {
  constexpr unsigned BP = 16, MS = BM / TM, NS = BN / TN, T = MS * NS;
  constexpr unsigned LA = BM / VM, LB = BN / VN, RA = BP * LA / T, RB = BP * LB / T; // threads of a row, rows of a thread
  __shared__ __align__(16) float as[2][BP][BM], bs[2][BP][BN];
  __shared__ Spot spots[2][BP];
  __shared__ unsigned spot_places[2][BP];

  const unsigned tid = threadIdx.x, tiles = (g.g.c + BM - 1) / BM, m0 = blockIdx.x % tiles * BM, k0 = blockIdx.x / tiles * BN;
  const unsigned row_a = tid / LA, row_b = tid / LB, m = m0 + tid % LA * VM, k = k0 + tid % LB * VN, k_end = g.kh * g.kw * g.s.c;
  const unsigned tap = k / g.s.c, ch = k % g.s.c;
  const int ti = tap / g.kw, tj = tap % g.kw;
  const unsigned offset = ti * g.s.row + tj;
  const unsigned begin = blockIdx.z * g.chunk, end = begin + g.chunk < g.places ? begin + g.chunk : g.places;
  float a[RA][VM], b[RB][VN], sum[TM][TN];
#pragma unroll
  for (int i = 0; i < TM; i++) clear(sum[i]);
  if (tid < BP) find(spots[0][tid], spot_places[0][tid], g, begin + tid, end);
  __syncthreads();

  // The places from p0 are loaded while those before are used: buffers alternate.
  const unsigned tm = tid / NS, tn = tid % NS;
  for (unsigned p0 = begin, buffer = 0; begin < end; p0 += BP, buffer ^= 1) {
    if (p0 < end) {
#pragma unroll
      for (int u = 0; u < RA; u++) {
        unsigned r = row_a + u * (T / LA);
        Pixel p = {m < g.g.c ? spots[buffer][r].other : nowhere, spot_places[buffer][r]};
        read<VM, true>(a[u], g.g, p, m);
      }
#pragma unroll
      for (int u = 0; u < RB; u++) {
        Spot spot = spots[buffer][row_b + u * (T / LB)];
        Pixel p = {spot.under + offset, 0};
        if (k >= k_end || (unsigned)(spot.y + ti) >= g.s.h || (unsigned)(spot.x + tj) >= g.s.w) p.index = nowhere;
        read<VN, false>(b[u], g.s, p, ch);
      }
      if (tid < BP) find(spots[buffer ^ 1][tid], spot_places[buffer ^ 1][tid], g, p0 + BP + tid, end);
    }
    if (p0 > begin) {
#pragma unroll
      for (int p = 0; p < BP; p++) {
        float av[TM], bv[TN];
#pragma unroll
        for (int u = 0; u < TM; u += 4) load((float (&)[4])av[u], &as[buffer ^ 1][p][tm * 4 + u * BM / 8]);
#pragma unroll
        for (int u = 0; u < TN; u += 4) load((float (&)[4])bv[u], &bs[buffer ^ 1][p][tn * 4 + u * BN / 8]);
#pragma unroll
        for (int i = 0; i < TM; i++)
#pragma unroll
          for (int j = 0; j < TN; j++) sum[i][j] = fmaf(av[i], bv[j], sum[i][j]);
      }
    }
    if (p0 >= end) break;
#pragma unroll
    for (int u = 0; u < RA; u++) store(&as[buffer][row_a + u * (T / LA)][tid % LA * VM], a[u]);
#pragma unroll
    for (int u = 0; u < RB; u++) store(&bs[buffer][row_b + u * (T / LB)][tid % LB * VN], b[u]);
    __syncthreads();
  }

#pragma unroll
  for (int j = 0; j < TN; j++) {
    unsigned k = k0 + tn * 4 + j / 4 * BN / 2 + j % 4;
    if (k >= k_end) continue;
    unsigned tap = k / g.s.c, ch = k % g.s.c;
    float *out = g.out + blockIdx.z * g.size + g.first + tap * g.per_tap + ch * g.per_ch;
#pragma unroll
    for (int i = 0; i < TM; i++) {
      unsigned m = m0 + tm * 4 + i / 4 * BM / 2 + i % 4;
      if (m >= g.g.c) continue;
      float *to = out + m * g.per_m;
      *to = g.add ? *to + sum[i][j] : sum[i][j];
    }
  }
}

// add_rows adds rows r, r+blockDim.y, ... before end to sum, in this order, N at a time as long as there are as many. p is
// the value in row r, and step how far the next one is. All N are asked for before the first is added, because a thread
// would else wait for the memory at every value.
template <unsigned N>
static __device__ __forceinline__ void add_rows(float &sum, const float *&p, u64 step, unsigned &r, unsigned end) {
  for (; r + (N - 1) * blockDim.y < end; r += N * blockDim.y) {
    float v[N];
#pragma unroll
    for (unsigned u = 0; u < N; u++, p += step) v[u] = *p;
#pragma unroll
    for (unsigned u = 0; u < N; u++) sum += v[u];
  }
}

// column_sum adds rows begin to end of column (blockIdx.x, threadIdx.x) of a matrix with rows of ld; the result is in
// the threads whose threadIdx.y is 0. Threads are blockDim.x columns by blockDim.y, a power of 2, strides of rows; sums has
// a place for each.
static __device__ __forceinline__ float column_sum(float *sums, const float *p, u64 ld, unsigned column, bool inside,
                                                   unsigned begin, unsigned end) {
  float sum = 0.f;
  if (inside) {
    unsigned r = begin + threadIdx.y;
    const u64 step = blockDim.y * ld;
    p += r * ld + column;
    add_rows<16>(sum, p, step, r, end);
    add_rows<4>(sum, p, step, r, end);
    add_rows<1>(sum, p, step, r, end);
  }
  const unsigned at = threadIdx.y * blockDim.x + threadIdx.x;
  sums[at] = sum;
  for (unsigned half = blockDim.y / 2; half > 0; half /= 2) {
    __syncthreads();
    if (threadIdx.y < half) sums[at] += sums[at + half * blockDim.x];
  }
  return sums[at];
}

// conv_back_bias: out[z*ld + f] = the sum of g[r][f] over rows r from z*chunk, z = blockIdx.y; or it is added, when add is
// set.
extern "C" __global__ void __launch_bounds__(256)
    conv_back_bias(const float *__restrict__ g, float *__restrict__ out, unsigned rows, unsigned columns, unsigned chunk,
                   u64 ld, unsigned add) {
  __shared__ float sums[256];
  unsigned f = blockIdx.x * blockDim.x + threadIdx.x, begin = blockIdx.y * chunk;
  float sum = column_sum(sums, g, columns, f, f < columns, begin, begin + chunk < rows ? begin + chunk : rows);
  if (threadIdx.y > 0 || f >= columns) return;
  float *to = out + blockIdx.y * ld + f;
  *to = add ? *to + sum : sum;
}

#define CORRELATE(name, BM, BN, TM, TN, V, Back)                                                                       \
  extern "C" __global__ void __launch_bounds__(BM / TM *BN / TN, BN > 32 ? 2 : 4) name(CORRELATION_PARAMS) {           \
    correlate<BM, BN, TM, TN, V, Back>(CORRELATION);                                                                   \
  }
#define CORRELATE_EACH(name, V, Back)                                                                                  \
  extern "C" __global__ void __launch_bounds__(256, 4) name(CORRELATION_PARAMS) { correlate_each<V, Back>(CORRELATION); }

CORRELATE(conv_forward_wide4, 128, 64, 8, 8, 4, false)
CORRELATE(conv_forward, 128, 32, 8, 4, 1, false)
CORRELATE(conv_forward4, 128, 32, 8, 4, 4, false)
CORRELATE(conv_forward_small4, 32, 32, 4, 4, 4, false)
CORRELATE(conv_forward_narrow4, 128, 4, 2, 4, 4, false)
CORRELATE_EACH(conv_forward_each, 1, false)
CORRELATE_EACH(conv_forward_each4, 4, false)

CORRELATE(conv_back_input_wide4, 128, 64, 8, 8, 4, true)
CORRELATE(conv_back_input, 128, 32, 8, 4, 1, true)
CORRELATE(conv_back_input4, 128, 32, 8, 4, 4, true)
CORRELATE(conv_back_input_small4, 32, 32, 4, 4, 4, true)
CORRELATE(conv_back_input_narrow4, 128, 4, 2, 4, 4, true)
CORRELATE_EACH(conv_back_input_each, 1, true)
CORRELATE_EACH(conv_back_input_each4, 4, true)

#define SPREAD(name, V)                                                                                                \
  extern "C" __global__ void __launch_bounds__(256)                                                                    \
      name(SOURCE_PARAMS(s), Divider by_lanes, float *__restrict__ out, unsigned stride, Divider by_stride,            \
           unsigned up, unsigned h, unsigned w, Divider by_w, unsigned blocks) {                                       \
    spread<V>(SOURCE(s), by_lanes, out, stride, by_stride, up, h, w, by_w, blocks);                                    \
  }

SPREAD(conv_spread, 1)
SPREAD(conv_spread4, 4)

#define GRADIENT(name, BM, BN, TM, TN, VM, VN)                                                                         \
  extern "C" __global__ void __launch_bounds__(BM / TM *BN / TN, 8)                                                    \
      name(SOURCE_PARAMS(g), SOURCE_PARAMS(s), Divider by_w, Divider by_h, unsigned places, unsigned chunk,            \
           unsigned stride, int top, int left, unsigned kh, unsigned kw, float *__restrict__ out, long long first,     \
           long long per_m, long long per_tap, long long per_ch, long long size, unsigned add) {                       \
    gradient<BM, BN, TM, TN, VM, VN>({SOURCE(g), SOURCE(s), by_w, by_h, places, chunk, stride, top, left, kh, kw, out, \
                                      first, per_m, per_tap, per_ch, size, add});                                      \
  }

GRADIENT(conv_back_weights, 32, 32, 4, 4, 1, 1)
GRADIENT(conv_back_weights_few4, 32, 16, 4, 4, 4, 1)
GRADIENT(conv_back_weights4, 32, 64, 8, 8, 4, 4)
