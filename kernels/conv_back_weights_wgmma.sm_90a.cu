// The gradient of weights by warpgroups, of bfloat16s, for compute capability 9.0 alone.
//
// A product of matrices has channels of the window's image as rows, those of the other tensor as columns, and 16 positions along the sum: eight
// neighbours in each of two rows of an image. Both factors lie in shared memory as they do in global memory, channels along the 16 bytes of a unit,
// and the hardware turns them. Planes are of eight channels, so eight neighbours are a core of a matrix, and a tap only shifts an address.
#include "conv.cuh"
#include "ring.cuh"
#include "wgmma.cuh"

// GROUP_TAPS is the number of taps of a row of the window that a block has, GROUP_COLUMNS that of the other tensor's channels, and GROUP_POSITIONS
// that of the positions of a unit, of which a product takes 16. BIAS_PITCH is how far apart the eight columns of 256 threads' sums of the bias lie,
// so that eight threads find them in different banks.
enum { GROUP_TAPS = 3, GROUP_COLUMNS = 128, GROUP_POSITIONS = 64, BIAS_PITCH = 256 + 4 };

// GroupGradient is a gradient whose positions are dealt in units: two, four or eight rows of a strip of an image, of as many positions, width, as
// make GROUP_POSITIONS. Each part has least units, the first ones of them one more. The product with the other tensor's channel m belongs to element
// first + m*per_m + tap*per_tap + ch*per_ch. Summed says that the bias's gradient is the sum of the other tensor.
struct GroupGradient {
  Source g, s;
  unsigned least, more;
  unsigned stride;
  int top, left;
  unsigned kh, kw;
  float *out;
  long long first, per_m, per_tap, per_ch, size;
  unsigned add;
  unsigned width, strips, bands, stages; // strips of an image, and units of a strip; of the ring
  Divider by_strips, by_bands, by_pitch, by_run;
  unsigned summed;
  BiasSum bias;
};

// GroupUnit is where a unit lies: the image, its first position, and how many rows it has, and positions in each.
struct GroupUnit {
  unsigned n, y, x, rows, positions;
};

static __device__ __forceinline__ GroupUnit group_unit(const GroupGradient &g, unsigned unit) {
  const unsigned strip = divide(unit, g.by_bands), n = divide(strip, g.by_strips);
  const unsigned rows = GROUP_POSITIONS / g.width;
  GroupUnit u = {n, (unit - strip * g.bands) * rows, (strip - n * g.strips) * g.width, rows, g.width};
  if (g.g.h - u.y < u.rows) u.rows = g.g.h - u.y;
  if (g.g.w - u.x < u.positions) u.positions = g.g.w - u.x;
  return u;
}

// GroupPixel is what a pixel adds to the first one under a unit: rows and columns, and bytes.
struct GroupPixel {
  short y, x;
  int bytes;
};

// copy_unit brings 16 bytes to shared memory in the background, or zeros: a branch for these would take longer than the copy.
static __device__ __forceinline__ void copy_unit(const float4 *to, const char *from, bool inside) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(to)), "l"(__cvta_generic_to_global(from)), "r"(inside ? 16 : 0)
               : "memory");
}

// add_pairs adds the bfloat16s of a unit to eight sums.
static __device__ __forceinline__ void add_pairs(float (&sum)[8], const float (&v)[4]) {
#pragma unroll
  for (int e = 0; e < 4; e++) {
    sum[2 * e] += __uint_as_float(__float_as_uint(v[e]) << 16);
    sum[2 * e + 1] += __uint_as_float(__float_as_uint(v[e]) & 0xffff0000u);
  }
}

static __device__ __forceinline__ void write_bias(const GroupGradient &g, unsigned part, unsigned column, float sum) {
  float *const to = g.bias.out + part * g.size + column;
  *to = g.add ? *to + sum : sum;
}

// sum_pairs adds up a part of the bias's gradient, of bfloat16s, 256 threads of each of so many blocks: the columns are dealt to the blocks by
// eights, of which a block takes up to four at a time. A thread has eight columns of every 64th row, and asks for eight rows before it adds the first.
static __device__ __forceinline__ void sum_pairs(const GroupGradient &g, float (&sums)[8][BIAS_PITCH], unsigned part, unsigned block, unsigned blocks) {
  enum { AT_ONCE = 4, ROWS = 8 };
  const unsigned row = threadIdx.x / AT_ONCE, step = 256 / AT_ONCE;
  const Share s = share_of(g.bias.count, part, gridDim.z);
#pragma unroll 1
  for (unsigned quad0 = block; quad0 * 8 < g.bias.columns; quad0 += AT_ONCE * blocks) {
    const unsigned column = (quad0 + threadIdx.x % AT_ONCE * blocks) * 8;
    float sum[8];
    clear(sum);
    if (column < g.bias.columns)
#pragma unroll 1
      for (unsigned r = s.begin + row; r < s.end; r += ROWS * step) {
        float v[ROWS][4];
#pragma unroll
        for (unsigned u = 0; u < ROWS; u++) {
          clear(v[u]);
          if (r + u * step < s.end) load(v[u], element(g.bias.rows, (u64)(r + u * step) * g.bias.columns + column, true));
        }
#pragma unroll
        for (unsigned u = 0; u < ROWS; u++) add_pairs(sum, v[u]);
      }
#pragma unroll
    for (int e = 0; e < 8; e++) sums[e][threadIdx.x] = sum[e];
    __syncthreads();
    const unsigned eight = threadIdx.x / 8, mine = (quad0 + eight * blocks) * 8 + threadIdx.x % 8;
    if (eight < AT_ONCE && mine < g.bias.columns) {
      float total = 0.f;
#pragma unroll 1
      for (unsigned i = 0; i < step; i++) total += sums[threadIdx.x % 8][i * AT_ONCE + eight];
      write_bias(g, part, mine, total);
    }
    __syncthreads();
  }
}

// spread_signs returns two words of 16 bits, each all ones where the last bit of byte 2*Half, or of the next, is set.
template <int Half> static __device__ __forceinline__ unsigned spread_signs(unsigned bytes) {
  unsigned v;
  asm("prmt.b32 %0, %1, %1, %2;" : "=r"(v) : "r"(bytes), "n"(Half ? 0xbbaa : 0x9988));
  return v;
}

// gradient_warpgroups computes 64*2/GK channels of the window by 128 of the other tensor at three taps of a row. A warpgroup has 64 channels of the window,
// and GK of them share the positions of every unit. Units come to the stages of a ring. Of a tensor pooled by 2, whose maxima are one of the
// four places of a window, they come as it is stored, and the thread that has copied a unit of it writes that to the position where the maximum was,
// and 0 to the others, in one of three buffers: products read one of them, and other warps' maybe that before. Channels of both tensors are multiples
// of 8, and elements of the gradient that are neighbours by m or by channels. The grid is tiles of m, by those of channels and taps, by parts.
template <int GK, bool Pooled> __device__ __forceinline__ void gradient_warpgroups(const GroupGradient &g) {
  constexpr unsigned T = 256, N = GROUP_COLUMNS, C = 64 * 2 / GK, QUADS_S = C / 8, QUADS_G = N / 8, SUMS = N / 2;
  constexpr unsigned POSITIONS = GROUP_POSITIONS, STEPS = POSITIONS / 16;
  constexpr unsigned PLANE_G = POSITIONS + 1, OTHERS = QUADS_G * PLANE_G, CELLS = QUADS_G * POSITIONS / 4; // in units
  extern __shared__ __align__(16) float buffer[];
  __shared__ float bias_sums[8][BIAS_PITCH];
  const unsigned groups = (g.kw + GROUP_TAPS - 1) / GROUP_TAPS; // of the taps of a row
  const unsigned part = blockIdx.z, m0 = blockIdx.x * N, chunks = (g.s.c + C - 1) / C;
  const unsigned tap = blockIdx.y / chunks, ch0 = (blockIdx.y - tap * chunks) * C;
  const unsigned ti = groups == 1 ? tap : tap / groups, tj = (tap - ti * groups) * GROUP_TAPS;

  // A row of pixels under the windows has those at which windows begin first, then those one behind, and so on: stride runs. Planes lie an odd number
  // of units apart, so that the channels of a pixel lie in different banks.
  const unsigned run = (g.width * g.stride - g.stride + GROUP_TAPS + g.stride - 1) / g.stride, pitch = run * g.stride;
  const unsigned pixels = POSITIONS / g.width * pitch, plane_s = pixels | 1;
  const unsigned stage = QUADS_S * plane_s + (Pooled ? CELLS + CELLS / 2 : OTHERS);
  float4 *const stages = (float4 *)buffer, *const unpooled = stages + g.stages * stage;
  const unsigned begin = part * g.least + (part < g.more ? part : g.more), end = begin + g.least + (part < g.more);

  const unsigned quad_s = threadIdx.x % QUADS_S, quad_g = threadIdx.x % QUADS_G, m = m0 + quad_g * 8;
  GroupPixel *const under = (GroupPixel *)(unpooled + (Pooled ? 3 * OTHERS : 0));
  for (unsigned p = threadIdx.x; p < pixels; p += T) {
    const unsigned row = divide(p, g.by_pitch), in_row = p - row * pitch, below = g.stride == 1 ? 0 : divide(in_row, g.by_run);
    const unsigned column = (in_row - below * run) * g.stride + below;
    under[p] = {(short)(row * g.stride), (short)column, (int)((row * g.stride * g.s.row + column) * g.s.c * 2)};
  }
  __syncthreads();
  unsigned next = begin, to = 0;
  auto copy = [&] {
    if (next < end) {
      const GroupUnit u = group_unit(g, next);
      float4 *at = stages + to * stage;
      const int top = (int)(u.y * g.stride + ti) - g.top, left = (int)(u.x * g.stride + tj) - g.left;
      const int bottom = top + (int)((u.rows - 1) * g.stride + 1), right = left + (int)((u.positions - 1) * g.stride + GROUP_TAPS);
      const unsigned ch = ch0 + quad_s * 8, h = bottom < 0 || ch >= g.s.c ? 0 : min((unsigned)bottom, g.s.h), w = right < 0 ? 0 : min((unsigned)right, g.s.w);
      const char *const first = (const char *)g.s.p + ((long long)((int)(u.n * g.s.image) + top * (int)g.s.row + left) * (int)g.s.c + ch) * 2;
      const unsigned p0 = threadIdx.x / QUADS_S;
#pragma unroll 2
      for (unsigned p = p0; p < pixels; p += T / QUADS_S) {
        const GroupPixel pixel = under[p];
        copy_unit(at + quad_s * plane_s + p, first + pixel.bytes, (unsigned)(top + pixel.y) < h && (unsigned)(left + pixel.x) < w);
      }
      at += QUADS_S * plane_s;
      const unsigned rows = m < g.g.c ? u.rows : 0;
      if (Pooled) {
        const u64 corner = u.n * g.g.image + u.y / 2 * g.g.row + u.x / 2;
#pragma unroll 1
        for (unsigned i = threadIdx.x; i < CELLS; i += T) {
          const unsigned cell = i / QUADS_G, row = 2 * cell / g.width, column = cell % (g.width / 2);
          const bool inside = 2 * row < rows && 2 * column < u.positions;
          const u64 from = (corner + row * g.g.row + column) * g.g.c + m;
          copy_unit(at + i, (const char *)g.g.p + from * 2, inside);
          copy8(shared_address((float2 *)(at + CELLS) + i), g.g.places + (inside ? from : 0)); // of zeros any place may be the maximum
        }
      } else {
        const char *const corner = (const char *)g.g.p + ((u64)(u.n * g.g.image + u.y * g.g.row + u.x) * g.g.c + m) * 2;
#pragma unroll
        for (unsigned k = 0; k < POSITIONS; k += T / QUADS_G) {
          const unsigned p = threadIdx.x / QUADS_G + k, row = p / g.width, column = p % g.width;
          copy_unit(at + quad_g * PLANE_G + p, corner + (row * g.g.row + column) * g.g.c * 2, row < rows && column < u.positions);
        }
      }
      next++, to = to + 1 == g.stages ? 0 : to + 1;
    }
    end_copies();
  };

  const unsigned ahead = g.stages - 2; // a stage is filled again when the products of two units later have begun
#pragma unroll 1
  for (unsigned i = 0; i < ahead; i++) copy();
  if (!g.summed && g.bias.narrow && g.bias.columns % 8 == 0)
    sum_pairs(g, bias_sums, part, blockIdx.x + blockIdx.y * gridDim.x, gridDim.x * gridDim.y);
  else if (!g.summed)
#pragma unroll 1
    for (unsigned block = blockIdx.x + blockIdx.y * gridDim.x; block * 32 < g.bias.columns; block += gridDim.x * gridDim.y) {
      bias_sum<16>(g.bias, bias_sums[0], part, gridDim.z, block, g.size, g.add);
      __syncthreads();
    }

  // Of the columns of the bias a block has every gridDim.y'th eight, and a thread of those one or none, in 16th of all positions.
  const unsigned bias_quad = Pooled ? quad_g : quad_g * gridDim.y + blockIdx.y;
  const bool sums_bias = g.summed && g.bias.columns > 0 && (Pooled ? quad_g % gridDim.y == blockIdx.y : bias_quad < QUADS_G);
  const unsigned group = threadIdx.x / 128, of_k = GK == 1 ? 0 : group, lane = threadIdx.x % 32;
  const unsigned shift1 = g.stride == 1 ? 1 : run, shift2 = g.stride == 1 ? 2 : g.stride == 2 ? 1 : 2 * run; // of the second tap and the third
  float sum[GROUP_TAPS][SUMS], bias[8];
#pragma unroll
  for (int j = 0; j < GROUP_TAPS; j++) clear(sum[j]);
  clear(bias);
  unsigned from = 0, turn = 0;
#pragma unroll 1
  for (unsigned unit = begin; unit < end; unit++) {
    wait_for_all_but(ahead - 1);
    float4 *const at = stages + from * stage, *other = at + QUADS_S * plane_s;
    if (Pooled) {
      float4 *const as_stored = other;
      other = unpooled + turn * OTHERS;
#pragma unroll 1
      for (unsigned i = threadIdx.x; i < CELLS; i += T) {
        const unsigned cell = i / QUADS_G, row = 2 * cell / g.width, column = cell % (g.width / 2);
        float v[4];
        load(v, (const float *)(as_stored + i));
        if (sums_bias) add_pairs(bias, v);
        const uint2 places = ((const uint2 *)(as_stored + CELLS))[i];
        float *const corner = (float *)(other + quad_g * PLANE_G + 2 * row * g.width + 2 * column);
#pragma unroll
        for (unsigned place = 0; place < 4; place++) {
          float kept[4];
#pragma unroll
          for (int h = 0; h < 2; h++) { // bytes other than this place get their last bit set, for places are below 4
            const unsigned others = ((h ? places.y : places.x) ^ place * 0x01010101u) + 0x7f7f7f7fu;
            kept[2 * h] = __uint_as_float(__float_as_uint(v[2 * h]) & ~spread_signs<0>(others));
            kept[2 * h + 1] = __uint_as_float(__float_as_uint(v[2 * h + 1]) & ~spread_signs<1>(others));
          }
          store_shared(corner + (place / 2 * g.width + place % 2) * 4, kept);
        }
      }
      turn = turn == 2 ? 0 : turn + 1;
    }
    publish();
    __syncthreads();
    const Matrix a = matrix_at(shared_address(at + (GK == 1 ? group * 8 * plane_s : 0)), pitch, plane_s);
    const Matrix b = matrix_at(shared_address(other), g.width, PLANE_G);
    // Products that are one group have to be in a row: in a loop the compiler would make a group of each round.
    warpgroup_begin();
#pragma unroll
    for (unsigned k = 0; k < STEPS / GK; k++) {
      const unsigned step = k * GK + of_k, row = step * 8 / g.width * 2, x = step * 8 % g.width;
      const unsigned long long columns = on(b, row * g.width + x);
      const unsigned pixel = row * pitch + x;
      multiply_add_warpgroup<BF16, true>(sum[0], on(a, pixel), columns);
      multiply_add_warpgroup<BF16, true>(sum[1], on(a, pixel + shift1), columns);
      multiply_add_warpgroup<BF16, true>(sum[2], on(a, pixel + shift2), columns);
    }
    warpgroup_end();
    copy();
    if (!Pooled && sums_bias)
#pragma unroll
      for (unsigned k = 0; k < POSITIONS; k += T / QUADS_G) {
        float v[4];
        load(v, (const float *)(other + bias_quad * PLANE_G + threadIdx.x / QUADS_G + k));
        add_pairs(bias, v);
      }
    from = from + 1 == g.stages ? 0 : from + 1;
    warpgroup_wait<1>();
  }
  warpgroup_wait<0>();

  // Of two warpgroups that share the positions the first finishes the first half of the columns and the second the others, with what the other
  // warpgroup has left of them in shared memory.
  __syncthreads();
  if (GK == 2) {
    float *const left = buffer + threadIdx.x % 128;
#pragma unroll
    for (int j = 0; j < GROUP_TAPS; j++)
#pragma unroll
      for (int i = 0; i < SUMS / 2; i++) left[(group * GROUP_TAPS * SUMS / 2 + j * SUMS / 2 + i) * 128] = group ? sum[j][i] : sum[j][SUMS / 2 + i];
    __syncthreads();
#pragma unroll
    for (int j = 0; j < GROUP_TAPS; j++)
#pragma unroll
      for (int i = 0; i < SUMS / 2; i++) {
        const float v = left[((1 - group) * GROUP_TAPS * SUMS / 2 + j * SUMS / 2 + i) * 128];
        if (group)
          sum[j][SUMS / 2 + i] += v;
        else
          sum[j][i] += v;
      }
  }
  const unsigned ch = ch0 + (GK == 1 ? group * 64 : 0) + threadIdx.x % 128 / 32 * 16 + lane / 4;
  float *const out = g.out + part * g.size + g.first + (long long)(ti * g.kw + tj) * g.per_tap;
#pragma unroll
  for (int j = 0; j < GROUP_TAPS; j++)
#pragma unroll
    for (int i = 0; i < SUMS / 4; i++)
#pragma unroll
      for (int half = 0; half < 2; half++) {
        const unsigned m = m0 + i * 8 + lane % 4 * 2, c = ch + half * 8;
        if (GK == 2 && i / (SUMS / 8) != group || tj + j >= g.kw || m >= g.g.c || c >= g.s.c) continue;
        float *const at = out + j * g.per_tap + m * g.per_m + c * g.per_ch, v[2] = {sum[j][i * 4 + half * 2], sum[j][i * 4 + half * 2 + 1]};
        if (g.per_m == 1) {
          float2 w = {0.f, 0.f};
          if (g.add) w = *(const float2 *)at;
          *(float2 *)at = {w.x + v[0], w.y + v[1]};
        } else {
          at[0] = g.add ? at[0] + v[0] : v[0];
          at[g.per_m] = g.add ? at[g.per_m] + v[1] : v[1];
        }
      }
  if (!g.summed) return;
#pragma unroll
  for (int e = 0; e < 8; e++) bias_sums[e][threadIdx.x] = bias[e];
  __syncthreads();
  const unsigned slot = threadIdx.x / 8, quad = Pooled ? slot : slot * gridDim.y + blockIdx.y, column = m0 + quad * 8 + threadIdx.x % 8;
  if (quad >= QUADS_G || Pooled && quad % gridDim.y != blockIdx.y || column >= g.bias.columns) return;
  float total = 0.f;
#pragma unroll 1
  for (unsigned i = 0; i < T / QUADS_G; i++) total += bias_sums[threadIdx.x % 8][i * QUADS_G + slot];
  write_bias(g, part, column, total);
}

#define GRADIENT_WARPGROUPS(name, GK, Pooled)                                                                                             \
  extern "C" __global__ void __launch_bounds__(256, 1)                                                                                   \
      name(SOURCE_PARAMS(g), SOURCE_PARAMS(s), unsigned least, unsigned more, unsigned stride, int top, int left, unsigned kh,         \
           unsigned kw, float *__restrict__ out, long long first, long long per_m, long long per_tap, long long per_ch, long long size, \
           unsigned add, unsigned width, unsigned strips, unsigned bands, unsigned stages, Divider by_strips, Divider by_bands, Divider by_pitch, Divider by_run, unsigned summed, BIAS_PARAMS) {                     \
    gradient_warpgroups<GK, Pooled>({SOURCE(g), SOURCE(s), least, more, stride, top, left, kh, kw, out, first, per_m, per_tap, per_ch,      \
                                   size, add, width, strips, bands, stages, by_strips, by_bands, by_pitch, by_run,   \
                                   summed, BIAS});                                                                                  \
  }

GRADIENT_WARPGROUPS(conv_back_weights_wgmma_bf16, 1, false)
GRADIENT_WARPGROUPS(conv_back_weights_wgmma_bf16_pool2, 1, true)
GRADIENT_WARPGROUPS(conv_back_weights_wgmma_bf16_few, 2, false)
GRADIENT_WARPGROUPS(conv_back_weights_wgmma_bf16_few_pool2, 2, true)
