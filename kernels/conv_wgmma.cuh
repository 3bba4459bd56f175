// Correlation by warpgroups, for compute capability 9.0 alone: as in conv_tensor.cuh the pixels under all windows of a block come to shared
// memory once, and a tap of the window only shifts the address of the matrix that is read there. Weights were rounded, and taps added, when they
// were packed.
#pragma once
#include "ring.cuh"
#include "strips.cuh"
#include "wgmma.cuh"

// Warpgroups is how two warpgroups share out 128*TILES positions by BN columns, as correlate_warpgroups says. Words of planes of weights lie PLANE units
// apart.
template <class F, int BN, int TILES, bool Turned, int PLANE> struct Warpgroups {
  static constexpr unsigned QUADS = 4, BM = 128 * TILES, LDC = Turned ? BN + 4 : BN + 8;
  static constexpr int PRODUCTS = Turned ? 1 : TILES, SUMS = Turned ? 64 : BN / 2; // of a warpgroup, and what a thread has of each
  static_assert(!Turned || BN == 64 && TILES == 2, "a product has 64 rows, and a warpgroup two tiles");
  typedef float Sums[PRODUCTS][SUMS];
  unsigned width, pool, across; // of a strip, in windows and in tiles
  unsigned group, lane;

  __device__ __forceinline__ Warpgroups(const Correlation &g, const Strips &strips)
      : width(strips.width), pool(g.pool), across(strips.width * g.pool / 8), group(threadIdx.x / 128), lane(threadIdx.x % 32) {}

  // position is the number of the position that is row m of a tile.
  __device__ __forceinline__ unsigned position(unsigned tile, unsigned m) const {
    const unsigned y = tile / across * 8 + m / 8, x = tile % across * 8 + m % 8;
    return (y / pool * width + x / pool) * pool * pool + y % pool * pool + x % pool;
  }

  // tile_of is a warpgroup's tile number i.
  __device__ __forceinline__ unsigned tile_of(unsigned i) const { return Turned && across == 2 ? group + 2 * i : group * TILES + i; }

  // multiply adds the products of a band of kw taps, from pixels a, planes of which lie plane units apart, at pixel of each product, and weights b. whole
  // says that there are two octets of words.
  __device__ __forceinline__ void multiply(Sums &sum, const Matrix &a, const Matrix &b, const unsigned (&pixel)[PRODUCTS], unsigned plane, unsigned row,
                                           unsigned kw, bool whole) const {
    auto octet = [&](unsigned j, unsigned o) {
#pragma unroll
      for (int i = 0; i < PRODUCTS; i++) {
        const unsigned long long pixels_of = on(a, 2 * o * plane + pixel[i] + row + j), weights_of = on(b, (j * QUADS + 2 * o) * PLANE);
        multiply_add_warpgroup<F>(sum[i], Turned ? weights_of : pixels_of, Turned ? pixels_of : weights_of);
      }
    };
    if (kw == 3 && whole) { // the most frequent width, whose products are one group
      warpgroup_begin();
#pragma unroll
      for (unsigned j = 0; j < 3; j++) octet(j, 0), octet(j, 1);
      warpgroup_end();
      return;
    }
#pragma unroll 1
    for (unsigned j = 0; j < kw; j++) {
      warpgroup_begin();
      octet(j, 0);
      warpgroup_end();
      if (whole) {
        warpgroup_begin();
        octet(j, 1);
        warpgroup_end();
      }
    }
  }

  // Rows of sums are so far apart, and every four of them by so many more floats, that those which lanes store at once lie in different banks: with
  // a pool of 2 neighbours in a row of pixels are in other windows, four positions on.
  __device__ __forceinline__ unsigned more() const { return !Turned ? 16 : pool == 2 ? 8 : 0; }

  // store puts the sums in a buffer.
  __device__ __forceinline__ void store(float *buffer, const Sums &sum) const {
    if (Turned) {
#pragma unroll
      for (int j = 0; j < SUMS / 4; j++)
#pragma unroll
        for (int e = 0; e < 2; e++) {
          const unsigned row = position(tile_of(j / 8), j % 8 * 8 + lane % 4 * 2 + e);
          float *const to = buffer + row * LDC + row / 4 * more() + threadIdx.x % 128 / 32 * 16 + lane / 4;
          to[0] = sum[0][j * 4 + e], to[8] = sum[0][j * 4 + 2 + e];
        }
    } else
#pragma unroll
    for (int i = 0; i < PRODUCTS; i++)
#pragma unroll
      for (int half = 0; half < 2; half++) {
        const unsigned row = position(tile_of(i), threadIdx.x % 128 / 32 * 16 + half * 8 + lane / 4);
        float *const to = buffer + row * LDC + row / 4 * more() + lane % 4 * 2;
#pragma unroll
        for (int j = 0; j < BN / 8; j++) store_shared(to + j * 8, sum[i][j * 4 + half * 2], sum[i][j * 4 + half * 2 + 1]);
      }
  }
};

// correlate_warpgroups computes 128*TILES positions by BN columns, as correlate does, of factors in a precision F. Each of two warpgroups owns
// the products at TILES tiles of eight rows by eight pixels, by all columns; strips are 8 or 16 pixels wide, of a multiple of eight rows.
// Turned, the 64 columns are the rows of the product, and its columns are the positions of two such tiles one below the other, of as many rows: of
// products of 64 rows by 128 columns shared memory gives the factors in less time than they take, which it does not of those of 64 by 64.
// Words of the source are a multiple of 8: channels or, in bfloat16, pairs of them. The weights are those of conv_pack in planes.
//
// Pixels lie as in conv_tensor.cuh, in planes of four words, so eight neighbours are a core of a matrix, and rows of pixels are the cores
// below each other. Weights lie in planes of four words of a column. Products of a band are under way while copies for later ones are, and
// while the next band begins.
template <class F, int BN, int TILES, bool Turned, bool Back>
__device__ __forceinline__ void correlate_warpgroups(const Correlation &g, const Strips &strips, const Ring &ring) {
  constexpr unsigned T = 256, PLANE = BN + 2, PLACES = F::PAIRS ? 8 : 4; // units of a plane of weights, bytes of a unit
  typedef Warpgroups<F, BN, TILES, Turned, PLANE> W;
  constexpr unsigned QUADS = W::QUADS, BM = W::BM;
  extern __shared__ __align__(16) float buffer[];
  __shared__ unsigned pixel_of[2 * TILES], out_of[BM]; // of each tile: its first pixel in a plane; of each position: its output

  const unsigned tiles = (g.columns + BN - 1) / BN, n0 = blockIdx.x % tiles * BN;
  const Taps t = taps_of<Back>(g);
  const Stretch stretch = stretch_of(g, strips, t, blockIdx.x / tiles, BM);
  if (stretch.first >= stretch.all) return;

  const unsigned pixels = strips.pixels, plane = (pixels + 5 & ~7u) + 2; // a multiple of 8 and 2 more
  constexpr unsigned LINE = 128 / PLACES, PART = LINE / QUADS; // units whose places lie in all banks, and a quad's share of them
  const unsigned places_plane = (pixels + LINE - PART - 1) / LINE * LINE + PART;
  const unsigned pool = QUADS * plane + (Back && g.s.places ? QUADS * places_plane * PLACES / 16 : 0), weights = t.kw * QUADS * PLANE; // of a stage
  const unsigned steps = (g.s.c + 4 * QUADS - 1) / (4 * QUADS) * t.kh;
  float4 *const pools = (float4 *)buffer, *const stages = pools + ring.pools * pool;
  Pixel *const from = (Pixel *)(stages + ring.stages * weights);

  // A thread has one quad of words of some pixels. Pixels outside of an image are never copied and stay 0.
  const float zero[4] = {0.f, 0.f, 0.f, 0.f};
  for (unsigned p = threadIdx.x; p < pixels; p += T) {
    from[p] = halo_pixel<Back>(g, strips, t, stretch, p);
    if (from[p].index == nowhere)
#pragma unroll 1
      for (unsigned i = 0; i < ring.pools; i++)
#pragma unroll
        for (unsigned q = 0; q < QUADS; q++) store_shared((float *)(pools + i * pool + q * plane + p), zero);
  }
  const W groups(g, strips);
  for (unsigned r = threadIdx.x; r < BM; r += T) {
    const HaloPosition p = halo_position(g, strips, t, stretch, r);
    out_of[r] = p.out;
  }
  if (threadIdx.x < 2 * TILES) {
    const HaloPosition p = halo_position(g, strips, t, stretch, groups.position(threadIdx.x, 0));
    pixel_of[threadIdx.x] = p.pixel;
  }
  __syncthreads();

  const unsigned quad = threadIdx.x % QUADS, pixel0 = threadIdx.x / QUADS;
  auto copy_pixels = [&](unsigned pool_at, unsigned ch) {
    ch += quad * 4;
    if (ch >= g.s.c) return;
    const unsigned to = pool_at + quad * plane * 16, places = pool_at + QUADS * plane * 16 + quad * places_plane * PLACES;
    const float *const source = g.s.p + ch;
    const unsigned char *const chosen = g.s.places + ch * (PLACES / 4);
#pragma unroll 4
    for (unsigned p = pixel0; p < pixels; p += T / QUADS) {
      const Pixel pixel = from[p];
      if (pixel.index == nowhere) continue;
      copy16(to + p * 16, source + (u64)pixel.index * g.s.c);
      if (Back && g.s.places && F::PAIRS) copy8(places + p * 8, chosen + (u64)pixel.index * (g.s.c * 2));
      if (Back && g.s.places && !F::PAIRS) copy4(places + p * 4, chosen + (u64)pixel.index * g.s.c);
    }
  };
  // Pixels are rounded, and of what was read through a pool only the maxima stay.
  auto settle_pixels = [&](float4 *at, unsigned ch) {
    if (ch + quad * 4 >= g.s.c) return;
    const unsigned *const places = (const unsigned *)(at + QUADS * plane) + quad * places_plane * (PLACES / 4);
    at += quad * plane;
#pragma unroll 2
    for (unsigned p = pixel0; p < pixels; p += T / QUADS) {
      const Pixel pixel = from[p];
      if (pixel.index == nowhere) continue;
      float v[4];
      load(v, (const float *)(at + p));
      if (!F::PAIRS) round_factors(v, TO_TF32);
      if (Back && g.s.places) keep_maxima<F>(v, places + p * (PLACES / 4), pixel.place);
      store_shared((float *)(at + p), v);
    }
  };
  // Of columns that there are not the last one's weights are copied, and nothing is kept.
  const unsigned quads = g.s.c / 4;
  auto copy_weights = [&](unsigned stage, unsigned ch, unsigned row) {
    const float *const w = g.w + ((u64)(blockIdx.z * packed_taps<Back>(g) + row * t.kw) * quads + ch / 4) * g.columns * 4;
#pragma unroll 1
    for (unsigned j = 0; j < t.kw; j++)
#pragma unroll
      for (unsigned u = 0; u < QUADS * BN / T; u++) {
        const unsigned i = threadIdx.x + u * T, q = i / BN, n = n0 + i % BN, last = g.columns - 1;
        if (ch / 4 + q < quads)
          copy16(stage + ((j * QUADS + q) * PLANE + i % BN) * 16, w + ((u64)(j * quads + q) * g.columns + (n < last ? n : last)) * 4);
      }
  };
  Band next = {0, 0, 0, 0};
  auto copy = [&] {
    if (next.ch < g.s.c && t.kh > 0) {
      if (next.row == 0) copy_pixels(shared_address(pools + next.pool * pool), next.ch);
      copy_weights(shared_address(stages + next.stage * weights), next.ch, next.row);
      next = after(ring, next, t.kh);
    }
    end_copies();
  };

  typename W::Sums sum;
  unsigned pixel[W::PRODUCTS]; // the first of each
#pragma unroll
  for (int i = 0; i < W::PRODUCTS; i++) clear(sum[i]), pixel[i] = pixel_of[groups.tile_of(i)];

  // A stage is filled again when the products of two bands later have begun, for those of the band before may be under way then.
  const unsigned ahead = steps <= ring.stages ? steps : ring.stages - 2;
#pragma unroll 1
  for (unsigned step = 0; step < ahead; step++) copy();
  Band band = {0, 0, 0, 0};
#pragma unroll 1
  for (unsigned step = 0; step < steps; step++, band = after(ring, band, t.kh)) {
    wait_for_all_but(ahead - 1);
    if (band.row == 0 && (!F::PAIRS || Back && g.s.places)) settle_pixels(pools + band.pool * pool, band.ch);
    publish();
    __syncthreads();
    const Matrix b = matrix_at(shared_address(stages + band.stage * weights), PLANE, 8);
    const Matrix a = matrix_at(shared_address(pools + band.pool * pool), plane, strips.pitch);
    groups.multiply(sum, a, b, pixel, plane, band.row * strips.pitch, t.kw, g.s.c - band.ch > 8);
    copy();
    warpgroup_wait<1>();
  }
  warpgroup_wait<0>();

  __syncthreads();
  groups.store(buffer, sum);
  __syncthreads();
  finish<BN, 1, T>(g, {buffer, W::LDC, 0, out_of, 1, stretch.windows, stretch.window_size, n0, groups.more()});
}
