// Correlation by warpgroups that another warp feeds: as in conv_wgmma.cuh, but pixels and weights are boxes of tensors, which the tensor memory
// accelerator copies, with zeros for what is outside of an image. The warps that multiply have nothing to do with copies, or with addresses of pixels. It is for
// factors that are multiplied as they lie in global memory, bfloat16s that are not read through a pool, and for 128 columns: by prediction a form of 64 is
// slower than two blocks of the other kind beside each other, for whose registers and those of a ninth warp there is no room.
#include "conv_wgmma.cuh"
#include "tma.cuh"

// Feed is how a block's factors come: pixels in so many boxes, the strips that the block has rows of, each of box bytes, and weights in boxes of so many
// taps. Stages and pools are those of a Ring. A plane of pixels is a multiple of eight.
struct Feed {
  Ring ring;
  unsigned boxes, box, taps;
};

// correlate_fed computes what correlate_warpgroups does. Eight warps multiply, and of the ninth a thread feeds them. A band's stage is full when its
// weights have landed and, with the first of a chunk, its pixels; it is empty when each of the eight has its products of the band behind it. A pool is
// empty when its last stage is, because there are as many as stages need.
template <int TILES, bool Back>
__device__ __forceinline__ void correlate_fed(const Correlation &g, const Strips &strips, const Feed &feed, const TensorMap &pixels, const TensorMap &weights) {
  constexpr unsigned BN = 128, T = 256, STAGES = 8, UNIT = 16; // columns, threads that multiply, stages at most, bytes of a unit
  typedef Warpgroups<BF16, BN, TILES, false, BN> W;
  constexpr unsigned QUADS = W::QUADS, BM = W::BM;
  extern __shared__ __align__(128) float fed[];
  __shared__ unsigned pixel_of[2 * TILES], out_of[BM]; // as in correlate_warpgroups
  __shared__ __align__(8) u64 full[STAGES], empty[STAGES];

  const unsigned tiles = (g.columns + BN - 1) / BN, n0 = blockIdx.x % tiles * BN;
  const Taps t = taps_of<Back>(g);
  const Stretch stretch = stretch_of(g, strips, t, blockIdx.x / tiles, BM);
  if (stretch.first >= stretch.all) return;

  const unsigned plane = strips.pixels, pool = feed.boxes * strips.stack * UNIT, stage = feed.taps * QUADS * BN * UNIT; // bytes of the latter
  const unsigned steps = (g.s.c + 4 * QUADS - 1) / (4 * QUADS) * t.kh;
  const unsigned pools = shared_address(fed), stages = pools + feed.ring.pools * pool;
  const unsigned full_at = shared_address(full), empty_at = shared_address(empty);

  const W groups(g, strips);
  const unsigned of_chunk = feed.boxes * QUADS; // copies of its pixels
  auto expect = [&](const Band &band) { barrier_expect(full_at + band.stage * 8, stage + (band.row == 0 ? of_chunk * feed.box : 0)); };
  auto copy_pixels = [&](const Band &band, unsigned copy) {
    const unsigned i = copy / QUADS, q = copy % QUADS, strip = stretch.strip + i, n = divide(strip, strips.by_count);
    const int x = (int)((strip - n * strips.count) * strips.width * stretch.window_step) - t.left, y = (int)(stretch.y * stretch.window_step) - t.top;
    copy_box(pools + band.pool * pool + (i * strips.stack + q * plane) * UNIT, pixels, (band.ch + q * 4) * 2, x, y, n, full_at + band.stage * 8);
  };
  auto copy_weights = [&](const Band &band) {
    copy_box(stages + band.stage * stage, weights, 0, n0 / 8, band.ch / 4, blockIdx.z * packed_taps<Back>(g) + band.row * t.kw, full_at + band.stage * 8);
  };

  // A warp needs long to begin a copy, so all warps begin the first ones, side by side.
  const unsigned ahead = steps < feed.ring.stages ? steps : feed.ring.stages, warp = threadIdx.x / 32;
  Band next = {0, 0, 0, 0};
  if (threadIdx.x == T) {
    for (unsigned i = 0; i < feed.ring.stages; i++) barrier_init(full_at + i * 8, 1), barrier_init(empty_at + i * 8, T / 32);
    publish_barriers();
    for (Band band = next; band.stage < ahead; band.stage++) {
      expect(band);
      if (++band.row == t.kh) band.row = 0;
    }
  }
  __syncthreads();
  if (threadIdx.x % 32 == 0) {
    unsigned turn = 0;
#pragma unroll 1
    for (unsigned i = 0; i < ahead; i++, next = after(feed.ring, next, t.kh)) {
      if (next.row == 0)
#pragma unroll 1
        for (unsigned copy = 0; copy < of_chunk; copy++, turn = turn == T / 32 ? 0 : turn + 1)
          if (turn == warp) copy_pixels(next, copy);
      if (turn == warp) copy_weights(next);
      turn = turn == T / 32 ? 0 : turn + 1;
    }
  }
  if (threadIdx.x >= T) {
    if (threadIdx.x > T) return;
    unsigned phase = 0; // of empty stages
#pragma unroll 1
    for (unsigned i = ahead; i < steps; i++) {
      barrier_wait(empty_at + next.stage * 8, phase);
      expect(next);
      if (next.row == 0)
#pragma unroll 1
        for (unsigned copy = 0; copy < of_chunk; copy++) copy_pixels(next, copy);
      copy_weights(next);
      next = after(feed.ring, next, t.kh);
      if (next.stage == 0) phase ^= 1;
    }
    return;
  }
  for (unsigned r = threadIdx.x; r < BM; r += T) out_of[r] = halo_position(g, strips, t, stretch, r).out;
  if (threadIdx.x < 2 * TILES) pixel_of[threadIdx.x] = halo_position(g, strips, t, stretch, groups.position(threadIdx.x, 0)).pixel;
  sync_threads<1, T>();

  typename W::Sums sum;
  unsigned pixel[W::PRODUCTS]; // the first of each
#pragma unroll
  for (int i = 0; i < W::PRODUCTS; i++) clear(sum[i]), pixel[i] = pixel_of[groups.tile_of(i)];
  Band band = {0, 0, 0, 0};
  unsigned phase = 0, before = 0;
#pragma unroll 1
  for (unsigned step = 0; step < steps; step++) {
    barrier_wait(full_at + band.stage * 8, phase);
    const Matrix b = matrix_at(stages + band.stage * stage, BN, 8), a = matrix_at(pools + band.pool * pool, plane, strips.pitch);
    groups.multiply(sum, a, b, pixel, plane, band.row * strips.pitch, t.kw, g.s.c - band.ch > 8);
    warpgroup_wait<1>();
    if (step > 0 && groups.lane == 0) barrier_arrive(empty_at + before * 8);
    before = band.stage, band = after(feed.ring, band, t.kh);
    if (band.stage == 0) phase ^= 1;
  }
  warpgroup_wait<0>();
  sync_threads<1, T>();
  groups.store(fed, sum);
  sync_threads<1, T>();
  finish<BN, 1, T>(g, {fed, W::LDC, 0, out_of, 1, stretch.windows, stretch.window_size, n0, groups.more()});
}

#define CORRELATE_FED(name, TILES, Back)                                                                               \
  extern "C" __global__ void __launch_bounds__(288, 1)                                                                 \
      name(CORRELATION_PARAMS, STRIPS_PARAMS, unsigned stages, unsigned pools, unsigned boxes, unsigned box,           \
           unsigned taps, const __grid_constant__ TensorMap pixels_map, const __grid_constant__ TensorMap weights_map) { \
    correlate_fed<TILES, Back>(CORRELATION, STRIPS, {{stages, pools, 1}, boxes, box, taps}, pixels_map, weights_map); \
  }

CORRELATE_FED(conv_wgmma_fed_forward, 1, false)
CORRELATE_FED(conv_wgmma_fed_forward_large, 2, false)
CORRELATE_FED(conv_wgmma_fed_back_input, 1, true)
CORRELATE_FED(conv_wgmma_fed_back_input_large, 2, true)
