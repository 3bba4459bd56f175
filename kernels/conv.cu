// The general forms: rows of the matrix are gathered from the image for every tap.
#include "conv_few.cuh"
#include "conv_halo_gradient.cuh"

// BK is the number of window values that a block takes at a time. In shared memory the four quads of a row are permuted, so
// that neither the rows of neighbours nor the same quad of 8 rows share banks.
enum { BK = 16 };

static __device__ __forceinline__ unsigned quad_of(unsigned row, unsigned k) { return ((k / 4 ^ row / 2) % 4) * 4 + k % 4; }

// correlate computes BM places by BN columns of out = pool(act(window * weights + bias)) * act'(mask), the arg-max counting
// after the activation. A tile holds whole pool windows. Thread (tm, tn) owns the products at places tm, tm+BM/TM, ... by
// columns tn, tn+BN/TN, ..., each the sum over k in ascending order; and then outputs by fours. Blocks have BM/TM*BN/TN
// threads; V is 4 when the channels of the source are a multiple of 4. values and weights are rounded. Taps are dilation pixels apart, more than
// one only where no residue but 0 is, and top and left have what that adds back to the input.
template <int BM, int BN, int TM, int TN, int V, int G, bool Back>
__device__ __forceinline__ void correlate(const Correlation &g, unsigned rounding, unsigned dilation) {
  constexpr unsigned MS = BM / TM, NS = BN / TN, T = MS * NS; // threads
  constexpr unsigned L = BK / V;                              // threads that load a row
  constexpr unsigned RA = BM * L / T, RB = BN * L / T, LDC = BN + 8;
  __shared__ __align__(16) union Shared {
    struct {
      float a[2][BM][BK], b[2][BN][BK];
    };
    float sums[BM][LDC];
  } groups[G];
  __shared__ Place places[BM];

  const unsigned group = G > 1 ? threadIdx.x / T : 0, tid = G > 1 ? threadIdx.x % T : threadIdx.x;
  Shared &shared = groups[group];
  const unsigned tiles = (g.columns + BN - 1) / BN, n0 = blockIdx.x % tiles * BN;
  const unsigned window_size = g.pool * g.pool, windows = BM / window_size, first = blockIdx.x / tiles * windows;
  const Taps t = taps_of<Back>(g);
  const unsigned all = g.images * t.h * t.w, k_end = t.kh * t.kw * g.s.c;
  if (first >= all) return;
  for (unsigned r = threadIdx.x; r < BM; r += T * G) {
    unsigned window = r / window_size;
    Place p = {0, (int)g.s.h, 0, nowhere};
    if (window < windows && first + window < all) p = place_of(g, t, first + window, r % window_size);
    places[r] = p;
  }
  __syncthreads();

  // This thread loads values k, k+BK, ... of the tile's rows row, row+T/L, ...
  const unsigned row = tid / L, at = quad_of(row, tid % L * V);
  const unsigned by_kw = 65535 / (t.kw | !t.kw) + 1; // exact for taps
  unsigned k = group * BK + tid % L * V, ch = g.s.c, ti, tj; // tap (ti, tj)
  Pixel pixel[RA];
  float a[RA][V], b[RB][V], sum[TM][TN];
#pragma unroll
  for (int i = 0; i < TM; i++) clear(sum[i]);

  // Tile k0 is loaded while the one before is used: buffers alternate.
  const unsigned tm = NS == 8 ? tid / 32 * 4 + lane_m(tid % 32) : tid / NS, tn = NS == 8 ? lane_n(tid % 32) : tid % NS;
  for (unsigned k0 = 0, buffer = 0;; k0 += BK * G, buffer ^= 1) {
    if (k0 < k_end) {
      // Another tap, unless there are more channels of this one.
      if (V == 1 || ch >= g.s.c) {
        unsigned tap = divide(k, g.by_c);
        ch = k - tap * g.s.c, ti = tap * by_kw >> 16, tj = tap - ti * t.kw;
#pragma unroll
        for (int u = 0; u < RA; u++) {
          Place p = places[row + u * (T / L)];
          pixel[u] = under<Back>(g.s, p.image, k < k_end ? p.y + (int)(ti * dilation) : -1, p.x + (int)(tj * dilation));
        }
      }
#pragma unroll
      for (int u = 0; u < RA; u++) read<V, Back>(a[u], g.s, pixel[u], ch);
#pragma unroll
      for (int u = 0; u < RB; u++) {
        unsigned n = n0 + row + u * (T / L);
        clear(b[u]);
        if (k < k_end && n < g.columns) weight<V, Back>(b[u], g, t, n, ti, tj, ch);
      }
      k += BK * G, ch += BK * G;
    }
    if (k0 > 0) {
      const unsigned from = k0 - BK * G + group * BK; // of the tile in use
      const unsigned quads = from + BK <= k_end ? BK / 4 : from < k_end ? (k_end - from + 3) / 4 : 0;
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
    if (rounding) {
#pragma unroll
      for (int u = 0; u < RA; u++) round_factors(a[u], rounding);
#pragma unroll
      for (int u = 0; u < RB; u++) round_factors(b[u], rounding);
    }
#pragma unroll
    for (int u = 0; u < RA; u++) store(&shared.a[buffer][row + u * (T / L)][at], a[u]);
#pragma unroll
    for (int u = 0; u < RB; u++)
      store(&shared.b[buffer][row + u * (T / L)][at], b[u]);
    __syncthreads();
  }

  // The sums go through shared memory, so that the places of a pool window come together.
  __syncthreads();
#pragma unroll
  for (int i = 0; i < TM; i++)
#pragma unroll
    for (int j = 0; j < TN; j++) shared.sums[tm + i * MS][tn + j * NS] = sum[i][j];
  __syncthreads();
  finish<BN, G, G * T>(g, {groups[0].sums[0], LDC, sizeof(Shared) / 4, &places[0].out, sizeof(Place) / 4, windows, window_size, n0});
}

// correlate_each computes the same, a thread an output, and a block one column: for few columns of sources that have no
// tile for them, for pools too large for a tile, and for what a window over stored pixels cannot do.
template <int V, bool Back> __device__ __forceinline__ void correlate_each(const Correlation &g, unsigned rounding, unsigned dilation) {
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
        if (rounding) round_factors(w, rounding);
        store(weights + k - k0, w);
      }
      __syncthreads();
      for (unsigned k = k0; k < k1;) {
        unsigned tap = divide(k, g.by_c), ch = k - tap * g.s.c, i = tap / t.kw, j = tap % t.kw;
        const unsigned run = g.s.c - ch < k1 - k ? g.s.c - ch : k1 - k;
        const Pixel pixel = under<true>(g.s, p.image, p.y + (int)(i * dilation), p.x + (int)(j * dilation));
        const u64 at = (u64)pixel.index * g.s.c + ch;
        const float *w_of_tap = weights + k - k0;
        k += run;
        if (!inside || pixel.index == nowhere) continue;
#pragma unroll 4
        for (unsigned r = 0; r < run; r += V) {
          float x[V], w[V];
          read_at<V, Back>(x, g.s, at + r, pixel.place);
          if (rounding) round_factors(x, rounding);
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
  float result[1], mask[1];
  if (g.in_act != LINEAR) {
    load_values(mask, element(g.mask, at, g.narrow & 2), g.narrow & 2);
    best = act_derive(g.in_act, best, mask[0]);
  }
  result[0] = best;
  store_values(element(g.out, at, g.narrow & 1), result, g.narrow & 1);
  if (g.argmax) g.argmax[at] = place;
}

// spread sums a gradient over the copies of an upsampled pixel: out[a, b] is the sum of the gradients of the places whose
// product with the stride lies in a-up+1..a and b-up+1..b, so that one product serves all copies. A thread owns V
// channels of a pixel of out; blocks of 256 threads, blocks of them an image.
template <int V>
static __device__ __forceinline__ void spread(const Source &s, Divider by_lanes, float *out, unsigned stride, Divider by_stride,
                                              unsigned up, unsigned h, unsigned w, Divider by_w, unsigned blocks, unsigned narrow) {
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
  store_values(element(out, ((u64)n * h * w + pixel) * s.c + ch, narrow), sum, narrow);
}

// Gradient is the product of another tensor and the values under a window, both at the places of a grid, summed over the
// places. Value (m, k = (tap, ch)) belongs to element first + m*per_m + tap*per_tap + ch*per_ch of the weights. It is added
// to out there when add is set; else it is written to a part of out, the parts being size elements apart. Each has its share of the places.
// The blocks of a part follow each other; those of the bias, which have the least to do, come last.
struct Gradient {
  Source g, s; // the window's image is stored as it is seen
  Divider by_w, by_h;
  unsigned places, parts;
  unsigned stride;
  int top, left;
  unsigned kh, kw;
  float *out;
  long long first, per_m, per_tap, per_ch, size;
  unsigned add;
  BiasSum bias;
  unsigned rounding; // of the two factors
  unsigned dilation; // pixels from one tap to the next
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
  if (p >= end) spot = {nowhere, 0, -(int)(g.kh * g.dilation), 0};
  place = other.place;
}

// gradient computes BM channels m by BN values k, over the places of a part. Thread (tm, tn) owns four m from
// 4*tm and, when TM is 8, four from BM/2+4*tm, by as many k likewise; a result is the sum over the places in ascending
// order. Blocks have BM/TM*BN/TN threads. VM is 4 when the channels of the other tensor are a multiple of 4, VN when those of
// the window's are.
template <int BM, int BN, int TM, int TN, int VM, int VN> __device__ __forceinline__ void gradient(const Gradient &g) {
  constexpr unsigned BP = 16, MS = BM / TM, NS = BN / TN, T = MS * NS;
  constexpr unsigned LA = BM / VM, LB = BN / VN, RA = BP * LA / T, RB = BP * LB / T; // threads of a row, rows of a thread
  __shared__ __align__(16) float as[2][BP][BM], bs[2][BP][BN];
  __shared__ Spot spots[2][BP];
  __shared__ unsigned spot_places[2][BP];

  const unsigned tid = threadIdx.x, k_end = g.kh * g.kw * g.s.c, m_tiles = (g.g.c + BM - 1) / BM;
  const unsigned tiles = m_tiles * ((k_end + BN - 1) / BN);
  if (blockIdx.x >= tiles * g.parts) {
    const unsigned block = blockIdx.x - tiles * g.parts;
    bias_sum<16>(g.bias, as[0][0], block % g.parts, g.parts, block / g.parts, g.size, g.add);
    return;
  }
  const unsigned tile = blockIdx.x % tiles, part = blockIdx.x / tiles, m0 = tile % m_tiles * BM, k0 = tile / m_tiles * BN;
  const unsigned row_a = tid / LA, row_b = tid / LB, m = m0 + tid % LA * VM, k = k0 + tid % LB * VN;
  const unsigned tap = k / g.s.c, ch = k % g.s.c;
  const int ti = tap / g.kw * g.dilation, tj = tap % g.kw * g.dilation;
  const unsigned offset = ti * g.s.row + tj;
  const Share share = share_of(g.places, part, g.parts);
  const unsigned begin = share.begin, end = share.end;
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
    if (g.rounding) {
#pragma unroll
      for (int u = 0; u < RA; u++) round_factors(a[u], g.rounding);
#pragma unroll
      for (int u = 0; u < RB; u++) round_factors(b[u], g.rounding);
    }
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
    float *out = g.out + part * g.size + g.first + tap * g.per_tap + ch * g.per_ch;
#pragma unroll
    for (int i = 0; i < TM; i++) {
      unsigned m = m0 + tm * 4 + i / 4 * BM / 2 + i % 4;
      if (m >= g.g.c) continue;
      float *to = out + m * g.per_m;
      *to = g.add ? *to + sum[i][j] : sum[i][j];
    }
  }
}

#define CORRELATE(name, BM, BN, TM, TN, V, G, Back)                                                                       \
  extern "C" __global__ void __launch_bounds__(BM / TM *BN / TN * G, G > 1 ? 1 : BN > 32 ? 2 : 4)                         \
      name(CORRELATION_PARAMS, unsigned rounding, unsigned dilation) {                                                        \
    correlate<BM, BN, TM, TN, V, G, Back>(CORRELATION, rounding, dilation);                                               \
  }
#define CORRELATE_EACH(name, V, Back)                                                                                  \
  extern "C" __global__ void __launch_bounds__(256, 4) name(CORRELATION_PARAMS, unsigned rounding, unsigned dilation) {    \
    correlate_each<V, Back>(CORRELATION, rounding, dilation);                                                          \
  }

CORRELATE(conv_forward_wide4, 128, 64, 8, 8, 4, 1, false)
CORRELATE(conv_forward, 128, 32, 8, 4, 1, 1, false)
CORRELATE(conv_forward4, 128, 32, 8, 4, 4, 1, false)
CORRELATE(conv_forward_small4, 32, 32, 4, 4, 4, 4, false)
CORRELATE_EACH(conv_forward_each, 1, false)
CORRELATE_EACH(conv_forward_each4, 4, false)

CORRELATE(conv_back_input_wide4, 128, 64, 8, 8, 4, 1, true)
CORRELATE(conv_back_input, 128, 32, 8, 4, 1, 1, true)
CORRELATE(conv_back_input4, 128, 32, 8, 4, 4, 1, true)
CORRELATE(conv_back_input_small4, 32, 32, 4, 4, 4, 4, true)
CORRELATE_EACH(conv_back_input_each, 1, true)
CORRELATE_EACH(conv_back_input_each4, 4, true)

#define SPREAD(name, V)                                                                                                \
  extern "C" __global__ void __launch_bounds__(256)                                                                    \
      name(SOURCE_PARAMS(s), Divider by_lanes, float *__restrict__ out, unsigned stride, Divider by_stride,            \
           unsigned up, unsigned h, unsigned w, Divider by_w, unsigned blocks, unsigned narrow) {                      \
    spread<V>(SOURCE(s), by_lanes, out, stride, by_stride, up, h, w, by_w, blocks, narrow);                                    \
  }

SPREAD(conv_spread, 1)
SPREAD(conv_spread4, 4)

#define GRADIENT(name, BM, BN, TM, TN, VM, VN)                                                                         \
  extern "C" __global__ void __launch_bounds__(BM / TM *BN / TN, 8)                                                    \
      name(SOURCE_PARAMS(g), SOURCE_PARAMS(s), Divider by_w, Divider by_h, unsigned places, unsigned parts,            \
           unsigned stride, int top, int left, unsigned kh, unsigned kw, float *__restrict__ out, long long first,     \
           long long per_m, long long per_tap, long long per_ch, long long size, unsigned add, BIAS_PARAMS,            \
           unsigned rounding, unsigned dilation) {                                                                     \
    gradient<BM, BN, TM, TN, VM, VN>({SOURCE(g), SOURCE(s), by_w, by_h, places, parts, stride, top, left, kh, kw, out, \
                                      first, per_m, per_tap, per_ch, size, add, BIAS, rounding, dilation});                \
  }

GRADIENT(conv_back_weights, 32, 32, 4, 4, 1, 1)
GRADIENT(conv_back_weights_few4, 32, 16, 4, 4, 4, 1)
GRADIENT(conv_back_weights4, 32, 64, 8, 8, 4, 4)
