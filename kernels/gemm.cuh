// Products of matrices: those of dense layers.
//
// out[m, n] is the sum over k of a(m, k) b(k, n). In the names of kernels an n says that a factor is stored as it is, row by row,
// and a t that it is the transposed that is stored, as in BLAS with rows for columns:
//   - gemm_nt: out = act(a bᵀ + bias), the output of a dense layer: rows of a are samples, rows of b units;
//   - gemm_nn: out = a b act'(mask), the gradient of its input from that of its output and the weights;
//   - gemm_tn: out += aᵀ b, the gradient of its weights, and that of the bias, the sums of the columns of a.
#pragma once
#include "conv.cuh"
#include "copy.cuh"

// Gemm is a product of m by n, each the sum of k products, and what follows it.
struct Gemm {
  const float *a, *b, *bias, *mask;
  float *out;
  unsigned m, n, k;
  int act, in_act;
  unsigned parts; // of k: each makes a sum of its own, size elements behind that of the one before, unless it is added to out
  long long size;
  unsigned add;
  unsigned rounding; // of both factors
  unsigned narrow;   // bits 0 to 3 are those of a, b, out and mask
};

// A step is of KC k for each group of warps. STAGES steps have room in shared memory: one is in use, the next ones are on the way.
enum { KC = 8, STAGES = 3 };

// Panel is what a step needs of a factor, R rows or columns of the product, in shared memory: a piece for each of G groups. In the piece of
// a factor that is stored along k a row has two quads of k, which are exchanged in every second four rows, so that eight rows do
// not share banks, and the pieces do not begin in the same banks; else there is a row of R values for each k, and neither do the rows.
template <int R, int G, int V, int T, bool AlongK> struct Panel {
  enum { ROW = AlongK ? KC : R + 8, PIECE = AlongK ? R * KC + 8 : KC * ROW, FLOATS = G * PIECE };
  // So many of the T threads take neighbours in memory; at a time they take so many rows, or so many k.
  enum { LANES = (AlongK ? G * KC : R) / V, AT_ONCE = T / LANES, TURNS = R * KC * G / V / T };

  const float *from; // what this thread copies first
  unsigned to, row, k, narrow;

  // The panel's first row is r0, its first k is k0.
  __device__ __forceinline__ Panel(const float *factor, unsigned r0, unsigned rows, unsigned k0, unsigned ks, unsigned narrow)
      : narrow(narrow) {
    const unsigned lane = threadIdx.x % LANES * V, other = threadIdx.x / LANES;
    const unsigned r = AlongK ? other : lane, c = AlongK ? lane : other;
    to = c / KC * PIECE + (AlongK ? r * ROW + (c % KC ^ (r & 4)) : c % KC * ROW + r);
    row = r0 + r, k = k0 + c;
    from = element(factor, AlongK ? (u64)row * ks + k : (u64)k * rows + row, narrow);
  }

  // copy copies the panel to a stage, and goes on to the next one. What is beyond the last row, or the last k, is zero.
  __device__ __forceinline__ void copy(float *stage, unsigned rows, unsigned ks) {
#pragma unroll
    for (unsigned u = 0; u < TURNS; u++) {
      const unsigned r = row + (AlongK ? u * AT_ONCE : 0), c = k + (AlongK ? 0 : u * AT_ONCE);
      float *at = stage + (AlongK ? (to ^ (u * AT_ONCE & 4)) + u * AT_ONCE * ROW : to + u * AT_ONCE / KC * PIECE);
      if (r < rows && c < ks) {
        const float *p = element(from, (u64)(u * AT_ONCE) * (AlongK ? ks : rows), narrow);
        if (narrow) {
          float v[V];
          load_values(v, p, 1);
          store(at, v);
        } else if (V == 4)
          copy16(at, p);
        else
          copy4(at, p);
      } else {
        const float zero[V] = {};
        store(at, zero);
      }
    }
    k += KC * G;
    from = element(from, (u64)(KC * G) * (AlongK ? 1 : rows), narrow);
  }
};

// keep has the compiler hold values in registers as they were loaded. Left to itself it loads some of them twice if they may be changed
// behind a condition, and not always the same ones, so that the PTX would differ from one build to the next.
template <int V> static __device__ __forceinline__ void keep(float (&v)[V]) {
#pragma unroll
  for (int e = 0; e < V; e++) asm volatile("" : "+f"(v[e]));
}

// Scalar is how a warp multiplies its 32 rows by 8*TN columns of the panels A and B: thread (tm, tn) owns eight rows and TN columns.
template <int TN, class A, class B, bool TransA, bool TransB> struct Scalar {
  enum { FINITE = false }; // sums that are not finite are what they should be
  float sum[8][TN];
  unsigned tm, tn;

  __device__ __forceinline__ Scalar() {
    tm = lane_m(threadIdx.x % 32), tn = lane_n(threadIdx.x % 32);
#pragma unroll
    for (int i = 0; i < 8; i++) clear(sum[i]);
  }

  // add adds the products of a step; a and b are the first of the warp's rows and columns.
  __device__ __forceinline__ void add(const float *a, const float *b, unsigned rounding) {
#pragma unroll
    for (int q = 0; q < KC; q += 4) {
      float av[8][4], bv[TN][4];
      if (!TransA)
#pragma unroll
        for (int i = 0; i < 8; i++) {
          load(av[i], a + (tm + 4 * i) * A::ROW + (q ^ (i & 1) * 4));
          keep(av[i]);
          if (rounding) round_factors(av[i], rounding);
        }
      if (TransB)
#pragma unroll
        for (int j = 0; j < TN; j++) {
          load(bv[j], b + (tn + 8 * j) * B::ROW + (q ^ (tn & 4)));
          keep(bv[j]);
          if (rounding) round_factors(bv[j], rounding);
        }
#pragma unroll
      for (int k = 0; k < 4; k++) {
        float ak[8], bk[TN];
        if (TransA)
#pragma unroll
          for (int i = 0; i < 8; i += 4) load((float(&)[4])ak[i], a + (q + k) * A::ROW + tm * 4 + i * 4);
        if (!TransB)
#pragma unroll
          for (int j = 0; j < TN; j += 4) load((float(&)[4])bk[j], b + (q + k) * B::ROW + tn * 4 + j * 8);
        if (TransA) keep(ak);
        if (!TransB) keep(bk);
        if (rounding && TransA) round_factors(ak, rounding);
        if (rounding && !TransB) round_factors(bk, rounding);
#pragma unroll
        for (int i = 0; i < 8; i++)
#pragma unroll
          for (int j = 0; j < TN; j++) sum[i][j] = fmaf(TransA ? ak[i] : av[i][k], TransB ? bv[j][k] : bk[j], sum[i][j]);
      }
    }
  }

  // put stores the sums, in rows of ld.
  __device__ __forceinline__ void put(float *to, unsigned ld) const {
#pragma unroll
    for (int i = 0; i < 8; i++) {
      float *row = to + (TransA ? tm * 4 + i / 4 * 16 + i % 4 : tm + 4 * i) * ld;
#pragma unroll
      for (int j = 0; j < TN; j += TransB ? 1 : 4)
        if (TransB)
          row[tn + 8 * j] = sum[i][j];
        else
          store_shared(row + tn * 4 + j * 8, (const float(&)[4])sum[i][j]);
    }
  }
};

// Product computes BM by BN products a block, in G groups of warps, which share out each step. Each product is the sum of a group's k, and
// then over the groups, in ascending order.
template <int BM, int BN, int TN, int G, int V, template <int, class, class, bool, bool> class Warp, bool TransA, bool TransB> struct Product {
  // Rows of sums begin in other banks, unless they would not fit the shared memory of a device of compute capability 7.5.
  enum { WN = 8 * TN, WARPS_M = BM / 32, WARPS_N = BN / WN, T = 32 * WARPS_M * WARPS_N * G, LDC = BN + (G * BM * (BN + 8) > 1 << 14 ? 0 : 8) };
  typedef Panel<BM, G, V, T, !TransA> A;
  typedef Panel<BN, G, V, T, TransB> B;
  typedef Warp<TN, A, B, TransA, TransB> W;

  // run leaves the sums of a share of k, rows of LDC for each group, in shared memory for all threads to read.
  static __device__ __forceinline__ void run(const Gemm &g, float *shared, unsigned m0, unsigned n0, const Share &share) {
    constexpr unsigned STAGE = A::FLOATS + B::FLOATS;
    const unsigned group = threadIdx.x / (T / G), warp = threadIdx.x % (T / G) / 32;
    const unsigned warp_m = warp % WARPS_M * 32, warp_n = warp / WARPS_M * WN;
    const unsigned a_at = group * A::PIECE + (TransA ? warp_m : warp_m * A::ROW), b_at = group * B::PIECE + (TransB ? warp_n * B::ROW : warp_n);
    A a(g.a, m0, g.m, share.begin * KC * G, g.k, g.narrow & 1);
    B b(g.b, n0, g.n, share.begin * KC * G, g.k, g.narrow & 2);
    auto copy = [&](unsigned step, unsigned stage) {
      if (step < share.end) {
        a.copy(shared + stage * STAGE, g.m, g.k);
        b.copy(shared + stage * STAGE + A::FLOATS, g.n, g.k);
      }
      end_copies();
    };
    W products;
#pragma unroll
    for (unsigned s = 0; s < STAGES - 1; s++) copy(share.begin + s, s);
    unsigned stage = 0;
#pragma unroll 1
    for (unsigned step = share.begin; step < share.end; step++) {
      wait_for_copies<STAGES - 2>();
      __syncthreads();
      copy(step + STAGES - 1, stage == 0 ? STAGES - 1 : stage - 1);
      const float *panels = shared + stage * STAGE;
      if (step * KC * G + group * KC < g.k) products.add(panels + a_at, panels + A::FLOATS + b_at, g.rounding);
      stage = stage == STAGES - 1 ? 0 : stage + 1;
    }
    __syncthreads(); // the sums take the place of what others may still read
    products.put(shared + group * BM * LDC + warp_m * LDC + warp_n, LDC);
    __syncthreads();
  }

  // total returns the sums of four columns of the block from q on.
  static __device__ __forceinline__ Four total(const float *shared, unsigned row, unsigned q) {
    Four v;
    load(v.v, shared + row * LDC + q);
#pragma unroll
    for (int group = 1; group < G; group++) {
      float more[4];
      load(more, shared + group * BM * LDC + row * LDC + q);
#pragma unroll
      for (int e = 0; e < 4; e++) v.v[e] += more[e];
    }
    return v;
  }
};

// plain_products are the sums of k from begin to end, in row m and columns n to n+3.
template <bool TransA, bool TransB>
static __device__ __forceinline__ Four plain_products(const Gemm &g, unsigned m, unsigned n, unsigned begin, unsigned end) {
  Four v = {0.f, 0.f, 0.f, 0.f};
#pragma unroll 1
  for (unsigned k = begin; k < end && k < g.k; k++) {
    const float a = g.a[TransA ? (u64)k * g.m + m : (u64)m * g.k + k];
#pragma unroll
    for (int e = 0; e < 4; e++) {
      const unsigned column = n + e < g.n ? n + e : n;
      v.v[e] = fmaf(a, g.b[TransB ? (u64)column * g.k + k : (u64)k * g.n + column], v.v[e]);
    }
  }
  return v;
}

// gemm computes a block of a product and what follows it. Tiles of a row of the product are neighbours, the blocks of a part follow each
// other, and those of the bias come last.
template <int BM, int BN, int TN, int G, int V, template <int, class, class, bool, bool> class Warp, bool TransA, bool TransB>
__device__ __forceinline__ void gemm(const Gemm &g, const BiasSum &sums) {
  typedef Product<BM, BN, TN, G, V, Warp, TransA, TransB> P;
  extern __shared__ __align__(16) float buffer[];
  const unsigned tiles_n = (g.n + BN - 1) / BN, tiles = (g.m + BM - 1) / BM * tiles_n;
  if (TransA && blockIdx.x >= tiles * g.parts) {
    const unsigned block = blockIdx.x - tiles * g.parts;
    bias_sum<16>(sums, buffer, block % g.parts, g.parts, block / g.parts, g.size, g.add);
    return;
  }
  const unsigned tile = TransA ? blockIdx.x % tiles : blockIdx.x, part = TransA ? blockIdx.x / tiles : 0;
  const unsigned m0 = tile / tiles_n * BM, n0 = tile % tiles_n * BN;
  const Share share = share_of((g.k + KC * G - 1) / (KC * G), part, g.parts);
  P::run(g, buffer, m0, n0, share);
#pragma unroll 1
  for (unsigned i = threadIdx.x; i < BM * (BN / 4); i += P::T) {
    const unsigned row = i / (BN / 4), q = i % (BN / 4) * 4, m = m0 + row, n = n0 + q;
    if (m >= g.m || n >= g.n) continue;
    Four v = P::total(buffer, row, q);
    if (P::W::FINITE && !finite(v.v)) v = plain_products<TransA, TransB>(g, m, n, share.begin * KC * G, share.end * KC * G);
    const u64 at = (u64)m * g.n + (TransA ? part * g.size : 0);
    if (TransA) {
      if (g.add) {
        const Four old = load4(g.out + at, n, g.n);
#pragma unroll
        for (int e = 0; e < 4; e++) v.v[e] += old.v[e];
      }
    } else if (TransB) {
      if (g.bias) {
        const Four bias = load4(g.bias, n, g.n);
#pragma unroll
        for (int e = 0; e < 4; e++) v.v[e] += bias.v[e];
      }
      act_apply4(g.act, v.v);
    } else if (g.in_act != LINEAR) {
      const Four y = load4(element(g.mask, at, g.narrow & 8), n, g.n, g.narrow & 8);
#pragma unroll
      for (int e = 0; e < 4; e++) v.v[e] = act_derive(g.in_act, v.v[e], y.v[e]);
    }
    store4(element(g.out, at, g.narrow & 4), n, g.n, v, g.narrow & 4);
  }
}

#define THREADS(BM, BN, TN, G) (BM * BN / (8 * TN) * G)

#define GEMM(form, BM, BN, TN, G, V, Warp, blocks)                                                                                                       \
  extern "C" __global__ void __launch_bounds__(THREADS(BM, BN, TN, G), blocks)                                                                 \
      gemm_nt##form(const float *__restrict__ a, const float *__restrict__ b, const float *__restrict__ bias, float *__restrict__ out,         \
                    unsigned m, unsigned n, unsigned k, int act, unsigned rounding, unsigned narrow) {                                                                             \
    gemm<BM, BN, TN, G, V, Warp, false, true>({a, b, bias, 0, out, m, n, k, act, LINEAR, 1, 0, 0, rounding, narrow}, {});                                              \
  }                                                                                                                                            \
  extern "C" __global__ void __launch_bounds__(THREADS(BM, BN, TN, G), blocks)                                                                 \
      gemm_nn##form(const float *__restrict__ a, const float *__restrict__ b, const float *__restrict__ mask, float *__restrict__ out,         \
                    unsigned m, unsigned n, unsigned k, int in_act, unsigned rounding, unsigned narrow) {                                                                          \
    gemm<BM, BN, TN, G, V, Warp, false, false>({a, b, 0, mask, out, m, n, k, LINEAR, in_act, 1, 0, 0, rounding, narrow}, {});                                          \
  }                                                                                                                                            \
  extern "C" __global__ void __launch_bounds__(THREADS(BM, BN, TN, G), blocks)                                                                 \
      gemm_tn##form(const float *__restrict__ a, const float *__restrict__ b, float *__restrict__ out, unsigned m, unsigned n, unsigned k,     \
                    unsigned parts, long long size, unsigned add, BIAS_PARAMS, unsigned rounding, unsigned narrow) {                                                               \
    gemm<BM, BN, TN, G, V, Warp, true, false>({a, b, 0, 0, out, m, n, k, LINEAR, LINEAR, parts, size, add, rounding, narrow}, BIAS);                                   \
  }

GEMM(, 32, 32, 4, 8, 1, Scalar, 1)
GEMM(4, 32, 32, 4, 8, 4, Scalar, 2)
GEMM(_square4, 64, 64, 4, 2, 4, Scalar, 2)
GEMM(_wide4, 128, 64, 8, 2, 4, Scalar, 1)
