// The gradient of weights on tensor cores where few values lie under a window, of bfloat16s: the first layer of a model, and the last.
//
// A product of matrices has channels of the other tensor as rows of a, values under the window as columns of b, and 16 windows along the sum.
// The values under all windows of a unit are rounded and written to shared memory once, window by window, and the hardware turns them. The other
// tensor is read once, and goes from global memory to the registers of a: a lane reads four channels of a window, which belong to four rows.
#include "conv.cuh"
#include "copy.cuh"
#include "mma.cuh"

// WARPS is the number of warps of a block, and WARP_CHANNELS that of the channels that a warp has.
enum { WARPS = 8, WARP_CHANNELS = 32 };

// FewTensorGradient is a Gradient whose windows are dealt in units: so many rows of a strip of the other tensor as it is stored, width windows
// wide. A part has its share of them. A block has groups times WARP_CHANNELS channels of the other tensor.
struct FewTensorGradient {
  Source g, s;
  unsigned units, parts;
  unsigned stride;
  int top, left;
  unsigned kh, kw;
  float *out;
  long long first, per_m, per_tap, per_ch, size;
  unsigned add;
  unsigned groups, rows, width, strips, bands; // strips of an image, and units of a strip
  unsigned plane, row_size;                    // pixels of a row that are a stride apart, and floats of a row
  Divider by_c, by_eights, by_strips, by_bands;
  float *bias;
  unsigned columns; // of the bias, or 0
};

// FewUnit is where a unit lies: the image, its first window, and how many rows it has, and windows in each.
struct FewUnit {
  unsigned n, y, x, rows, columns;
};

static __device__ __forceinline__ FewUnit few_unit(const FewTensorGradient &g, unsigned unit) {
  const unsigned strip = divide(unit, g.by_bands), n = divide(strip, g.by_strips), height = g.g.image / g.g.row;
  FewUnit u = {n, (unit - strip * g.bands) * g.rows, (strip - n * g.strips) * g.width, g.rows, g.width};
  if (height - u.y < u.rows) u.rows = height - u.y;
  if (g.g.row - u.x < u.columns) u.columns = g.g.row - u.x;
  return u;
}

// Others is what a lane has of the other tensor for a product: four channels of windows 2*(l%4), the next one and those eight further on, and where
// in the windows of a pool they come from.
struct Others {
  uint2 v[4];
  unsigned places[4];
};

// copy_float brings a float to shared memory in the background, or zero.
static __device__ __forceinline__ void copy_float(unsigned to, const float *from, bool inside) {
  asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(to), "l"(__cvta_generic_to_global(from)), "r"(inside ? 4 : 0)
               : "memory");
}

// load_float loads a float from shared memory.
static __device__ __forceinline__ float load_float(unsigned from) {
  float v;
  asm volatile("ld.shared.f32 %0, [%1];" : "=f"(v) : "r"(from));
  return v;
}

// offset_of is where pixel x of a row lies in it, in pixels: stride runs of so many, plane, of those that are a stride apart.
static __device__ __forceinline__ unsigned offset_of(unsigned x, unsigned stride, unsigned plane) {
  return stride == 1 ? x : x % stride * plane + x / stride;
}

// load_turned loads four matrices of 8 rows of eight bfloat16s, as load_matrices does, and turns them: lane l gets elements 2*(l%4) and the next
// of column l/4 of each.
static __device__ __forceinline__ void load_turned(unsigned (&v)[4], unsigned address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(v[0]), "=r"(v[1]), "=r"(v[2]), "=r"(v[3])
               : "r"(address));
}

// permute returns the bytes of a and b that a selector says, or of those that it marks so the sign, eight times.
template <unsigned Selector> static __device__ __forceinline__ unsigned permute(unsigned a, unsigned b) {
  unsigned v;
  asm("prmt.b32 %0, %1, %2, %3;" : "=r"(v) : "r"(a), "r"(b), "n"(Selector));
  return v;
}

// channels_of makes of four channels of two windows a register each.
static __device__ __forceinline__ void channels_of(unsigned (&v)[4], const uint2 &a, const uint2 &b) {
  v[0] = permute<0x5410>(a.x, b.x), v[1] = permute<0x7632>(a.x, b.x);
  v[2] = permute<0x5410>(a.y, b.y), v[3] = permute<0x7632>(a.y, b.y);
}

// marks_of returns bytes whose highest bit says which of four places, below 4, are this one.
static __device__ __forceinline__ unsigned marks_of(unsigned places, unsigned place) {
  const unsigned low = places << 7, high = places << 6;
  return (place & 1 ? low : ~low) & (place & 2 ? high : ~high);
}

// signs_of makes of bytes for four channels of two windows a register each: all ones where a byte's highest bit is set.
static __device__ __forceinline__ void signs_of(unsigned (&v)[4], unsigned a, unsigned b) {
  v[0] = permute<0xcc88>(a, b), v[1] = permute<0xdd99>(a, b), v[2] = permute<0xeeaa>(a, b), v[3] = permute<0xffbb>(a, b);
}

// gradient_few_tensor computes WARP_CHANNELS channels m for each of a block's groups by fewer than 8*NT values under a window. Warps of a group
// share the windows of every unit. Pixels lie in shared memory as floats, an odd number of them apart, in each row those at which windows
// begin first, then those one further on, and so on, so that neighbouring windows find theirs in different banks. Rows of values lie an odd number
// of units of 16 bytes apart.
//
// With a Pool of 2 the other tensor is the gradient of its output: of each place of the pool's windows there is a matrix of values, and for it
// channels whose maximum was elsewhere are zero. With Copies of 2 pixels are summed over the copies of an upsampled one, as spread does, before they
// are rounded, and the bias's gradient is the sum of what comes under the tap where every pixel comes once, in float32. Else it is that of the other
// tensor: the value behind the last is 1. Channels of the other tensor are multiples of 4. The grid is tiles of m by parts.
template <int NT, int Pool, int Copies> __device__ __forceinline__ void gradient_few_tensor(const FewTensorGradient &g) {
  constexpr unsigned T = 32 * WARPS, ROW = NT + 1, PLACES = Pool * Pool, SUMS = 2 * NT * 4 * 32; // units of a row of values; sums of a warp
  extern __shared__ __align__(16) float buffer[];
  __shared__ float bias_sums[WARPS][8];
  const unsigned lane = threadIdx.x % 32, warp = threadIdx.x / 32, part = blockIdx.z, m0 = blockIdx.x * g.groups * WARP_CHANNELS;
  const unsigned c = g.s.c, taps = g.kh * g.kw, count = taps * c, stride = Copies == 2 ? 2 : g.stride;
  const unsigned pixel = c | 1, row_size = g.row_size; // floats
  const unsigned down = (g.rows * Pool - 1) * stride + g.kh + Copies - 1, across = (g.width * Pool - 1) * stride + g.kw + Copies - 1;
  // Of the windows of a row 16 are a step. Rows of values at a place begin in other banks than those before.
  const unsigned steps_of_row = (g.width + 15) / 16, steps = g.rows * steps_of_row, matrix = steps * 16 + 4;
  const unsigned pixels = shared_address(buffer);
  float *const values = buffer + (down * row_size + 3) / 4 * 4;
  const Share share = share_of(g.units, part, g.parts);

  auto copy = [&](const FewUnit &u) {
    const int top = (int)(u.y * Pool * stride) - g.top - (Copies - 1), left = (int)(u.x * Pool * stride) - g.left - (Copies - 1);
    const unsigned h = g.s.image / g.s.row, w = g.s.row;
    const long long first = (long long)(u.n * g.s.image) + top * (int)g.s.row + left;
    // Lanes that are neighbours have values of pixels a stride apart, but each warp has neighbours too, if it can be.
    const unsigned together = stride == 2 || stride == 4 ? 32 / stride : 32, run = (across + stride - 1) / stride;
#pragma unroll 1
    for (unsigned i = threadIdx.x; i < (run * c + together - 1) / together * together * stride; i += T) {
      const unsigned block = i / together, of_run = block / stride * together + i % together, behind = block % stride;
      const unsigned p = divide(of_run, g.by_c), ch = of_run - p * c, x = p * stride + behind;
      if (p >= run) continue;
      const unsigned of_column = (unsigned)(left + (int)x) < w ? h : 0;
      const float *from = g.s.p + (first + (int)x) * (int)c + ch;
      unsigned to = pixels + ((behind * g.plane + p) * pixel + ch) * 4;
#pragma unroll 4
      for (unsigned r = 0; r < down; r++, from += g.s.row * c, to += row_size * 4) copy_float(to, from, (unsigned)(top + (int)r) < of_column);
    }
    end_copies();
  };
  FewUnit u = few_unit(g, share.begin);
  if (share.begin < share.end) copy(u);

  // The eight values that this thread gathers, and where they lie behind the pixel at which a window begins.
  const unsigned mine = warp % NT * 8;
  unsigned offset[8][Copies];
#pragma unroll
  for (unsigned e = 0; e < 8; e++) {
    const unsigned k = mine + e < count ? mine + e : 0, tap = divide(k, g.by_c), i = tap / g.kw, j = tap - i * g.kw;
#pragma unroll
    for (unsigned b = 0; b < Copies; b++) offset[e][b] = pixels + (i * row_size + offset_of(j + b, stride, g.plane) * pixel + k - tap * c) * 4;
  }
  float all[8]; // the sums of the eight values
  clear(all);
  // gather brings the values under a unit's windows, rounded, to their rows. Of a pool the positions of a row are gathered together, and by
  // eights, which the hardware stores at a time.
  auto gather = [&] {
    const unsigned row_bytes = stride * row_size * 4, eights = (g.width * Pool + 7) / 8 * 8;
#pragma unroll 1
    for (unsigned p = warp / NT * 32 + lane; p < g.rows * Pool * eights; p += T / NT) {
      const unsigned y = divide(p, g.by_eights), x = p - y * eights, at = y * row_bytes + x * pixel * 4;
      if (x >= g.width * Pool) continue;
      float v[8], pairs[4];
#pragma unroll
      for (unsigned e = 0; e < 8; e++) {
        v[e] = load_float(offset[e][0] + at);
        if (Copies == 2) {
          v[e] += load_float(offset[e][Copies - 1] + at);
          v[e] += load_float(offset[e][0] + row_size * 4 + at);
          v[e] += load_float(offset[e][Copies - 1] + row_size * 4 + at);
          all[e] += v[e];
        }
      }
      if (mine + 8 > count)
#pragma unroll
        for (unsigned e = 0; e < 8; e++)
          if (mine + e >= count) v[e] = mine + e == count ? 1.f : 0.f;
#pragma unroll
      for (unsigned e = 0; e < 4; e++) pairs[e] = __uint_as_float(bits_of_pair(v[2 * e], v[2 * e + 1]));
      const unsigned window = y / Pool * steps_of_row * 16 + x / Pool, place = Pool == 1 ? 0 : y % 2 * 2 + x % 2;
      store_shared(values + ((place * matrix + window) * ROW + warp % NT) * 4, pairs);
    }
  };

  // A lane has four channels of each window that it reads, from m on, which are rows lane/4 and lane/4+8 of two matrices.
  const unsigned group = warp % g.groups, slice = warp / g.groups, slices = WARPS / g.groups, m = m0 + group * WARP_CHANNELS + lane / 4 * 4;
  auto read_others = [&](Others &o, const FewUnit &u, unsigned step) {
    const unsigned y = step / steps_of_row, x = (step - y * steps_of_row) * 16 + lane % 4 * 2;
    const unsigned columns = y < u.rows && m < g.g.c ? u.columns : 0;
    const u64 at = (u64)(u.n * g.g.image + (u.y + y) * g.g.row + u.x + x) * g.g.c + m;
    const char *const v = (const char *)g.g.p + at * 2;
    const unsigned char *const places = g.g.places + at;
#pragma unroll
    for (unsigned i = 0; i < 4; i++) {
      const unsigned on = i % 2 + i / 2 * 8;
      o.v[i] = {0, 0}, o.places[i] = 0;
      if (x + on >= columns) continue;
      o.v[i] = *(const uint2 *)(v + on * g.g.c * 2);
      if (Pool == 2) o.places[i] = *(const unsigned *)(places + on * g.g.c);
    }
  };
  float sum[2][NT][4];
#pragma unroll
  for (unsigned i = 0; i < 2; i++)
#pragma unroll
    for (unsigned j = 0; j < NT; j++) clear(sum[i][j]);
  Others next;
  if (share.begin < share.end) read_others(next, u, slice);
#pragma unroll 1
  for (unsigned unit = share.begin; unit < share.end; unit++) {
    wait_for_copies();
    __syncthreads();
    gather();
    __syncthreads();
    const FewUnit after = few_unit(g, unit + 1);
    if (unit + 1 < share.end) copy(after);
#pragma unroll 1
    for (unsigned step = slice; step < steps; step += slices) {
      unsigned a[2][4], places[4]; // pairs of windows, by channels
#pragma unroll
      for (unsigned h = 0; h < 2; h++) channels_of(a[h], next.v[2 * h], next.v[2 * h + 1]);
#pragma unroll
      for (unsigned i = 0; i < 4; i++) places[i] = next.places[i];
      if (step + slices < steps)
        read_others(next, u, step + slices);
      else if (unit + 1 < share.end)
        read_others(next, after, slice);
      const unsigned x = step % steps_of_row * 16 + lane % 16, behind = x < g.width ? 0 : x - g.width + 1; // what is behind a row is no number
      const unsigned at = shared_address(values + ((step * 16 + lane % 16 - behind) * ROW + lane / 16) * 4);
#pragma unroll
      for (unsigned place = 0; place < PLACES; place++) {
        unsigned chosen[2][4];
#pragma unroll
        for (unsigned h = 0; h < 2; h++) {
#pragma unroll
          for (unsigned e = 0; e < 4; e++) chosen[h][e] = a[h][e];
          if (Pool == 2) {
            unsigned keep[4];
            signs_of(keep, marks_of(places[2 * h], place), marks_of(places[2 * h + 1], place));
#pragma unroll
            for (unsigned e = 0; e < 4; e++) chosen[h][e] &= keep[e];
          }
        }
#pragma unroll
        for (unsigned j = 0; j < NT; j += 2) {
          unsigned b[4];
          load_turned(b, at + (place * matrix * ROW + j) * 16);
#pragma unroll
          for (unsigned i = 0; i < 2; i++)
#pragma unroll
            for (unsigned n = 0; n < 2; n++)
              multiply_add_pairs(sum[i][j + n], {chosen[0][2 * i], chosen[0][2 * i + 1], chosen[1][2 * i], chosen[1][2 * i + 1]}, {b[2 * n], b[2 * n + 1]});
        }
      }
    }
    u = after;
  }

  // The warps' sums are added in their order.
  __syncthreads();
#pragma unroll
  for (unsigned i = 0; i < 2; i++)
#pragma unroll
    for (unsigned j = 0; j < NT; j++)
#pragma unroll
      for (unsigned r = 0; r < 4; r++) buffer[warp * SUMS + ((i * NT + j) * 4 + r) * 32 + lane] = sum[i][j][r];
  if (Copies == 2)
#pragma unroll
    for (unsigned e = 0; e < 8; e++) {
      const float v = warp_sum(all[e]);
      if (lane == 0) bias_sums[warp][e] = v;
    }
  __syncthreads();
  float *const out = g.out + part * g.size + g.first, *const bias = g.bias + part * g.size;
  auto put = [&](float *to, float v) { *to = g.add ? *to + v : v; };
#pragma unroll 1
  for (unsigned e = threadIdx.x; e < g.groups * SUMS; e += T) {
    const unsigned of = e / SUMS, at = e % SUMS, l = at % 32, r = at / 32 % 4, j = at / 128 % NT, i = at / 128 / NT;
    const unsigned channel = m0 + of * WARP_CHANNELS + l / 4 * 4 + i * 2 + r / 2, k = j * 8 + l % 4 * 2 + r % 2, tap = divide(k, g.by_c);
    if (channel >= g.g.c || k > count) continue;
    float total = 0.f;
    for (unsigned w = of; w < WARPS; w += g.groups) total += buffer[w * SUMS + at];
    if (k < count)
      put(out + channel * g.per_m + tap * g.per_tap + (k - tap * c) * g.per_ch, total);
    else if (Copies == 1 && channel < g.columns)
      put(bias + channel, total);
  }
  if (Copies == 1 || blockIdx.x > 0 || threadIdx.x >= g.columns) return;
  const unsigned k = ((g.top + 1) * g.kw + g.left + 1) * c + threadIdx.x;
  float total = 0.f;
  for (unsigned w = k / 8; w < WARPS; w += NT) total += bias_sums[w][k % 8];
  put(bias + threadIdx.x, total);
}

#define GRADIENT_FEW_TENSOR(name, NT, Pool, Copies)                                                                                       \
  extern "C" __global__ void __launch_bounds__(32 * WARPS, 2)                                                                             \
      name(SOURCE_PARAMS(g), SOURCE_PARAMS(s), unsigned units, unsigned parts, unsigned stride, int top, int left, unsigned kh,           \
           unsigned kw, float *__restrict__ out, long long first, long long per_m, long long per_tap, long long per_ch, long long size,   \
           unsigned add, unsigned groups, unsigned rows, unsigned width, unsigned strips, unsigned bands, unsigned plane,                \
           unsigned row_size, Divider by_c, Divider by_eights, Divider by_strips, Divider by_bands, float *__restrict__ bias, unsigned columns) {        \
    gradient_few_tensor<NT, Pool, Copies>({SOURCE(g), SOURCE(s), units, parts, stride, top, left, kh, kw, out, first, per_m, per_tap,      \
                                           per_ch, size, add, groups, rows, width, strips, bands, plane, row_size, by_c, by_eights, \
                                           by_strips, by_bands, bias, columns});                                                         \
  }

GRADIENT_FEW_TENSOR(conv_back_weights_few_tensor_bf16, 4, 1, 1)
GRADIENT_FEW_TENSOR(conv_back_weights_few_tensor_bf16_pool2, 4, 2, 1)
GRADIENT_FEW_TENSOR(conv_back_weights_few_tensor_bf16_up2, 4, 1, 2)
GRADIENT_FEW_TENSOR(conv_back_weights_few_tensor_bf16_small, 2, 1, 1)
GRADIENT_FEW_TENSOR(conv_back_weights_few_tensor_bf16_small_pool2, 2, 2, 1)
GRADIENT_FEW_TENSOR(conv_back_weights_few_tensor_bf16_small_up2, 2, 1, 2)
