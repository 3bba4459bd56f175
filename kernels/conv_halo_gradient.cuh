// The gradient of weights with halos: a block brings the pixels under the windows of some rows of an image to shared memory, for 32
// channels, and all taps read them there.
#pragma once
#include "conv_halo.cuh"

// HaloGradient is a Gradient whose positions are dealt in units: so many rows of a strip of an image, width positions wide. Each part has its
// share of the units.
struct HaloGradient {
  Source g, s;
  unsigned units, parts;
  unsigned stride;
  int top, left;
  unsigned kh, kw;
  float *out;
  long long first, per_m, per_tap, per_ch, size;
  unsigned add;
  unsigned width, strips, rows;
  unsigned by_rows; // the groups of a block share out the rows of a unit, else the positions of each row
  BiasSum bias;
};

// TILE is the number of channels of each factor that a block has, TAPS the number of taps, GROUPS the number of groups of warps, in which
// each has a tap.
enum { TILE = 32, TAPS = 9, GROUPS = 2 };

// HaloUnit is where a unit lies: the image, its first position, and how many positions a row of it has.
struct HaloUnit {
  unsigned n, y, x, positions, rows;
};

static __device__ __forceinline__ HaloUnit unit_at(const HaloGradient &g, unsigned unit) {
  const unsigned bands = (g.g.h + g.rows - 1) / g.rows, strip = unit / bands;
  HaloUnit u = {strip / g.strips, unit % bands * g.rows, strip % g.strips * g.width, g.width, g.rows};
  if (g.g.w - u.x < u.positions) u.positions = g.g.w - u.x;
  if (g.g.h - u.y < u.rows) u.rows = g.g.h - u.y;
  return u;
}

// copy_pixels brings channels from ch on of the pixels under a unit's windows to shared memory, 0 where there are none.
static __device__ __forceinline__ void copy_pixels(const HaloGradient &g, const HaloUnit &u, float *to, unsigned pitch, unsigned ch) {
  const float zero[4] = {0.f, 0.f, 0.f, 0.f};
  const unsigned pixels = ((g.rows - 1) * g.stride + g.kh) * pitch, used = (u.positions - 1) * g.stride + g.kw; // of a row
#pragma unroll 1
  for (unsigned i = threadIdx.x; i < pixels * (TILE / 4); i += blockDim.x) {
    const unsigned c = ch + i % (TILE / 4) * 4, p = i / (TILE / 4), column = p % pitch;
    const int y = (int)(u.y * g.stride + p / pitch) - g.top, x = (int)(u.x * g.stride + column) - g.left;
    if (c < g.s.c && column < used && (unsigned)y < g.s.h && (unsigned)x < g.s.w)
      copy16(to + i * 4, g.s.p + (u64)(u.n * g.s.image + y * g.s.row + x) * g.s.c + c);
    else
      store(to + i * 4, zero);
  }
}

// copy_others brings channels from m on of the other tensor at a unit's positions to shared memory, in rows of pitch positions, 0 where
// there are none. A value of a pooled tensor goes to the position of its window where the maximum was, and 0 to the others.
static __device__ __forceinline__ void copy_others(const HaloGradient &g, const HaloUnit &u, float *to, unsigned pitch, unsigned m) {
  const unsigned pool = g.g.factor, cells = (pitch + pool - 1) / pool;
#pragma unroll 1
  for (unsigned i = threadIdx.x; i < (g.rows + pool - 1) / pool * cells * (TILE / 4); i += blockDim.x) {
    const unsigned q = i % (TILE / 4) * 4, y = i / (TILE / 4) / cells * pool, x = i / (TILE / 4) % cells * pool;
    const bool inside = m + q < g.g.c && x < u.positions && y < u.rows;
    const u64 from = (u64)(u.n * g.g.image + (u.y + y) / pool * g.g.row + (u.x + x) / pool) * g.g.c + m + q;
    float *at = to + (y * pitch + x) * TILE + q;
    if (inside && pool == 1) {
      copy16(at, g.g.p + from);
      continue;
    }
    float v[4];
    unsigned maxima = 0;
    clear(v);
    if (inside) {
      load(v, g.g.p + from);
      maxima = *(const unsigned *)(g.g.places + from);
    }
#pragma unroll 1
    for (unsigned k = 0; k < pool * pool; k++) {
      const unsigned py = k / pool, px = k % pool;
      if (y + py >= g.rows || x + px >= pitch) continue;
      float of_k[4];
#pragma unroll
      for (int e = 0; e < 4; e++) of_k[e] = (maxima >> 8 * e & 255) == k ? v[e] : 0.f;
      store_shared(at + (py * pitch + px) * TILE, of_k);
    }
  }
}

// write adds or writes the products of channels m to m+3 and ch to ch+3 at a tap's place out.
static __device__ __forceinline__ void write(const HaloGradient &g, float *out, unsigned m, unsigned ch, const float (&v)[4][4]) {
  const bool by_ch = g.per_ch == 1; // else channels m are neighbours
#pragma unroll
  for (int i = 0; i < 4; i++) {
    float *to = out + (by_ch ? (m + i) * g.per_m + ch : m + (ch + i) * g.per_ch), w[4], old[4];
    clear(old);
    if (g.add) load(old, to);
#pragma unroll
    for (int e = 0; e < 4; e++) w[e] = old[e] + (by_ch ? v[i][e] : v[e][i]);
    store(to, w);
  }
}

// gradient_halo computes 32 channels m by 32 channels of the window by 9 taps. A warp of a group has a tap; 4 by 4 threads of each of its
// halves own 8 by 8 products, in quads from 4*tm and 16+4*tm. The groups take every other row of a unit, and the halves every other
// position of a row, or the four of them every fourth. Their sums, each over its positions in ascending order, are added at the end.
// Channels of both tensors are multiples of 4, and elements of the gradient that are neighbours by m or by channels. The blocks of a
// part's first tiles have 32 elements each of the gradient of the bias too.
__device__ __forceinline__ void gradient_halo(const HaloGradient &g) {
  extern __shared__ __align__(16) float buffer[];
  // A block's place is in its three numbers, which can be read again whenever they are needed and take no registers.
  const unsigned taps = g.kh * g.kw, ch_tiles = (g.s.c + TILE - 1) / TILE;
  const unsigned m0 = blockIdx.x * TILE, ch0 = blockIdx.y % ch_tiles * TILE, part = blockIdx.z, tile = blockIdx.y * gridDim.x + blockIdx.x;
  const unsigned warps = blockDim.x / 32 / GROUPS, group = threadIdx.x / 32 / warps;
  const unsigned tap = blockIdx.y / ch_tiles * TAPS + threadIdx.x / 32 % warps, ti = tap / g.kw, tj = tap % g.kw;
  const unsigned multiple = g.by_rows ? 2 : 2 * GROUPS;
  const unsigned width = (g.width + multiple - 1) / multiple * multiple, pitch = (width - 1) * g.stride + g.kw; // of the other tensor and of the pixels
  const unsigned others = ((g.rows - 1) * g.stride + g.kh) * pitch * TILE, unit_size = others + g.rows * width * TILE;
  const Share share = share_of(g.units, part, g.parts);
  auto copy = [&](unsigned unit) {
    const HaloUnit u = unit_at(g, unit);
    float *to = buffer + (unit - share.begin) % 2 * unit_size;
    copy_pixels(g, u, to, pitch, ch0);
    copy_others(g, u, to + others, width, m0);
  };
  copy(share.begin);
  end_copies();
  if (tile * 32 < g.bias.columns) bias_sum<4>(g.bias, buffer + 2 * unit_size, part, g.parts, tile, g.size, g.add);

  const unsigned lane = threadIdx.x % 32, tm = (lane >> 1 & 1) | (lane >> 2 & 2), tc = (lane & 1) | (lane >> 1 & 2), half = lane / 16;
  const unsigned first_row = g.by_rows ? group : 0, first = g.by_rows ? half : 2 * group + half, rows_apart = g.by_rows ? GROUPS : 1;
  float sum[8][8];
#pragma unroll
  for (int i = 0; i < 8; i++) clear(sum[i]);
#pragma unroll 1
  for (unsigned unit = share.begin; unit < share.end; unit++) {
    wait_for_copies();
    __syncthreads();
    if (unit + 1 < share.end) copy(unit + 1);
    end_copies();
    if (tap >= taps) continue;
    const float *pixels = buffer + (unit - share.begin) % 2 * unit_size;
    const unsigned rows = unit_at(g, unit).rows;
#pragma unroll 1
    for (unsigned y = first_row; y < rows; y += rows_apart) {
      const float *a = pixels + others + (y * width + first) * TILE + tm * 4;
      const float *b = pixels + ((y * g.stride + ti) * pitch + first * g.stride + tj) * TILE + tc * 4;
#pragma unroll 2
      for (unsigned x = 0; x < width; x += multiple, a += multiple * TILE, b += multiple * g.stride * TILE) {
        float av[8], bv[8];
        load((float(&)[4])av[0], a);
        load((float(&)[4])av[4], a + TILE / 2);
        load((float(&)[4])bv[0], b);
        load((float(&)[4])bv[4], b + TILE / 2);
#pragma unroll
        for (int i = 0; i < 8; i++)
#pragma unroll
          for (int j = 0; j < 8; j++) sum[i][j] = fmaf(av[i], bv[j], sum[i][j]);
      }
    }
  }

  // The halves exchange sums: the first gets those of its first quad of channels m, the second those of the second.
  float both[2][4][4];
#pragma unroll
  for (int q = 0; q < 2; q++)
#pragma unroll
    for (int i = 0; i < 4; i++)
#pragma unroll
      for (int e = 0; e < 4; e++) {
        const float low = sum[i][q * 4 + e], high = sum[i + 4][q * 4 + e];
        both[q][i][e] = (half ? high : low) + __shfl_xor_sync(0xffffffffu, half ? low : high, 16);
      }
  // So do the groups, in shared memory, with the quads of channels of the window.
  __syncthreads();
#pragma unroll
  for (int i = 0; i < 4; i++) {
    float given[4];
#pragma unroll
    for (int e = 0; e < 4; e++) given[e] = group ? both[0][i][e] : both[1][i][e];
    store_shared(buffer + (i * blockDim.x + threadIdx.x) * 4, given);
  }
  __syncthreads();
  const unsigned other = group ? threadIdx.x - warps * 32 : threadIdx.x + warps * 32;
#pragma unroll
  for (int i = 0; i < 4; i++) {
    float taken[4];
    load(taken, buffer + (i * blockDim.x + other) * 4);
#pragma unroll
    for (int e = 0; e < 4; e++) both[0][i][e] = (group ? both[1][i][e] : both[0][i][e]) + taken[e];
  }
  const unsigned m = m0 + half * (TILE / 2) + tm * 4, ch = ch0 + group * (TILE / 2) + tc * 4;
  float *out = g.out + part * g.size + g.first + (long long)tap * g.per_tap;
  if (tap < taps && m < g.g.c && ch < g.s.c) write(g, out, m, ch, both[0]);
}

extern "C" __global__ void __launch_bounds__(GROUPS *TAPS * 32, 1)
    conv_back_weights_halo4(SOURCE_PARAMS(g), SOURCE_PARAMS(s), unsigned units, unsigned parts, unsigned stride,
                            int top, int left, unsigned kh, unsigned kw, float *__restrict__ out, long long first,
                            long long per_m, long long per_tap, long long per_ch, long long size, unsigned add, unsigned width,
                            unsigned strips, unsigned rows, unsigned by_rows, BIAS_PARAMS) {
  gradient_halo({SOURCE(g), SOURCE(s), units, parts, stride, top, left, kh, kw, out, first, per_m, per_tap, per_ch, size, add,
                 width, strips, rows, by_rows, BIAS});
}
