// Correlation by warpgroups that another warp feeds: as in conv_wgmma.cuh, but pixels and weights are boxes of tensors, which the tensor memory
// accelerator copies, with zeros for what is outside of an image. One thread asks for them; nobody else has to do with copies, and nobody with addresses
// of pixels. It is for factors that are multiplied as they lie in global memory: bfloat16s that are not read through a pool.
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
template <class F, int BN, int TILES, bool Turned, bool Back>
__device__ __forceinline__ void correlate_fed(const Correlation &g, const Strips &strips, const Feed &feed, const TensorMap &pixels, const TensorMap &weights) {
  constexpr unsigned T = 256, STAGES = 8, UNIT = 16; // threads that multiply, stages at most, bytes of a unit
  typedef Warpgroups<F, BN, TILES, Turned, BN> W;
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
  auto ask = [&](const Band &band) {
    const unsigned barrier = full_at + band.stage * 8;
    barrier_expect(barrier, stage + (band.row == 0 ? feed.boxes * QUADS * feed.box : 0));
    if (band.row == 0)
#pragma unroll 1
      for (unsigned i = 0; i < feed.boxes; i++) {
        const unsigned strip = stretch.strip + i, n = divide(strip, strips.by_count), to = pools + band.pool * pool + i * strips.stack * UNIT;
        const int x = (int)((strip - n * strips.count) * strips.width * stretch.window_step) - t.left, y = (int)(stretch.y * stretch.window_step) - t.top;
#pragma unroll
        for (unsigned q = 0; q < QUADS; q++) copy_box(to + q * plane * UNIT, pixels, (band.ch + q * 4) * 2, x, y, n, barrier);
      }
    copy_box(stages + band.stage * stage, weights, 0, n0 / 8, band.ch / 4, blockIdx.z * packed_taps<Back>(g) + band.row * t.kw, barrier);
  };
  const bool feeds = threadIdx.x == T;
  const unsigned ahead = steps < feed.ring.stages ? steps : feed.ring.stages;
  Band next = {0, 0, 0, 0};
  if (feeds) {
    for (unsigned i = 0; i < feed.ring.stages; i++) barrier_init(full_at + i * 8, 1), barrier_init(empty_at + i * 8, T / 32);
    publish_barriers();
#pragma unroll 1
    for (unsigned i = 0; i < ahead; i++, next = after(feed.ring, next, t.kh)) ask(next);
  }
  for (unsigned r = threadIdx.x; r < BM; r += T + 32) out_of[r] = halo_position(g, strips, t, stretch, r).out;
  if (threadIdx.x < 2 * TILES) pixel_of[threadIdx.x] = halo_position(g, strips, t, stretch, groups.position(threadIdx.x, 0)).pixel;
  __syncthreads();
  if (threadIdx.x >= T) {
    if (!feeds) return;
    unsigned phase = 0; // of empty stages
#pragma unroll 1
    for (unsigned i = ahead; i < steps; i++) {
      barrier_wait(empty_at + next.stage * 8, phase);
      ask(next);
      next = after(feed.ring, next, t.kh);
      if (next.stage == 0) phase ^= 1;
    }
    return;
  }

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

#define CORRELATE_FED(name, BN, TILES, Turned, Back)                                                                   \
  extern "C" __global__ void __launch_bounds__(288, 1)                                                                 \
      name(CORRELATION_PARAMS, STRIPS_PARAMS, unsigned stages, unsigned pools, unsigned boxes, unsigned box,           \
           unsigned taps, const __grid_constant__ TensorMap pixels_map, const __grid_constant__ TensorMap weights_map) { \
    correlate_fed<BF16, BN, TILES, Turned, Back>(CORRELATION, STRIPS, {{stages, pools, 1}, boxes, box, taps}, pixels_map, weights_map); \
  }

CORRELATE_FED(conv_wgmma_fed_forward, 64, 1, false, false)
CORRELATE_FED(conv_wgmma_fed_forward_tall, 64, 2, false, false)
CORRELATE_FED(conv_wgmma_fed_forward_turned, 64, 2, true, false)
CORRELATE_FED(conv_wgmma_fed_forward_wide, 128, 1, false, false)
CORRELATE_FED(conv_wgmma_fed_forward_large, 128, 2, false, false)
CORRELATE_FED(conv_wgmma_fed_back_input, 64, 1, false, true)
CORRELATE_FED(conv_wgmma_fed_back_input_tall, 64, 2, false, true)
CORRELATE_FED(conv_wgmma_fed_back_input_turned, 64, 2, true, true)
CORRELATE_FED(conv_wgmma_fed_back_input_wide, 128, 1, false, true)
CORRELATE_FED(conv_wgmma_fed_back_input_large, 128, 2, false, true)
