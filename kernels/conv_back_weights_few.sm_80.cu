// The gradient of weights on tensor cores where few values lie under a window, of bfloat16s: the first layer of a model, and the last.
//
// A product of matrices has channels of the other tensor as rows of a, values under the window as columns of b, and 16 windows along the sum.
// The values under all windows of a unit are rounded and written to shared memory once, window by window, and the hardware turns them. The other
// tensor is read once, and goes from global memory to the registers of a: a lane reads four channels of a window, which belong to four rows.
#include "conv_few_rows.cuh"

// FewTensorGradient is a Gradient whose windows are dealt in units, of the other tensor as it is stored. A part has its share of them. A block has groups times WARP_CHANNELS channels of the other tensor.
struct FewTensorGradient {
  Source g, s;
  unsigned units, parts;
  unsigned stride;
  int top, left;
  unsigned kh, kw;
  float *out;
  long long first, per_m, per_tap, per_ch, size;
  unsigned add;
  unsigned groups;
  FewWindows windows;
  FewLayout layout;
  float *bias;
  unsigned columns; // of the bias, or 0
};

// Others is what a lane has of the other tensor for a product: four channels of windows 2*(l%4), the next one and those eight further on, and where
// in the windows of a pool they come from.
struct Others {
  uint2 v[4];
  unsigned places[4];
};

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
// share the windows of every unit.
//
// With a Pool of 2 the other tensor is the gradient of its output: of each place of the pool's windows there is a matrix of values, and for it
// channels whose maximum was elsewhere are zero. With Copies of 2 the bias's gradient is the sum of what comes under the tap where every pixel comes
// once, in float32. Else it is that of the other tensor: the value behind the last is 1. Channels of the other tensor are multiples of 4. The grid is tiles of m by parts.
template <int NT, int Pool, int Copies> __device__ __forceinline__ void gradient_few_tensor(const FewTensorGradient &g) {
  using Rows = FewRows<NT, Pool, Copies>;
  constexpr unsigned T = 32 * WARPS, PLACES = Pool * Pool, SUMS = 2 * NT * 4 * 32; // of a warp
  extern __shared__ __align__(16) float buffer[];
  __shared__ float bias_sums[WARPS][8];
  const unsigned lane = threadIdx.x % 32, warp = threadIdx.x / 32, part = blockIdx.z, m0 = blockIdx.x * g.groups * WARP_CHANNELS;
  Rows rows(g.s, g.windows, g.layout, g.stride, g.top, g.left, g.kh, g.kw, buffer);
  const unsigned c = g.s.c, count = rows.count, steps = rows.steps;
  const Share share = share_of(g.units, part, g.parts);

  FewUnit u = few_unit(g.windows, share.begin);
  if (share.begin < share.end) rows.copy(u);

  // A lane has four channels of each window that it reads, from m on, which are rows lane/4 and lane/4+8 of two matrices.
  const unsigned group = warp % g.groups, slice = warp / g.groups, slices = WARPS / g.groups, m = m0 + group * WARP_CHANNELS + lane / 4 * 4;
  auto read_others = [&](Others &o, const FewUnit &u, unsigned step) {
    const unsigned y = step / rows.steps_of_row, x = (step - y * rows.steps_of_row) * 16 + lane % 4 * 2;
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
    rows.gather();
    __syncthreads();
    const FewUnit after = few_unit(g.windows, unit + 1);
    if (unit + 1 < share.end) rows.copy(after);
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
      const unsigned at = rows.of_lane(step);
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
          load_turned(b, at + (place * rows.matrix * Rows::ROW + j) * 16);
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
      const float v = warp_sum(rows.all[e]);
      if (lane == 0) bias_sums[warp][e] = v;
    }
  __syncthreads();
  float *const out = g.out + part * g.size + g.first, *const bias = g.bias + part * g.size;
  auto put = [&](float *to, float v) { *to = g.add ? *to + v : v; };
#pragma unroll 1
  for (unsigned e = threadIdx.x; e < g.groups * SUMS; e += T) {
    const unsigned of = e / SUMS, at = e % SUMS, l = at % 32, r = at / 32 % 4, j = at / 128 % NT, i = at / 128 / NT;
    const unsigned channel = m0 + of * WARP_CHANNELS + l / 4 * 4 + i * 2 + r / 2, k = j * 8 + l % 4 * 2 + r % 2, tap = divide(k, g.layout.by_c);
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
           unsigned add, unsigned groups, FEW_WINDOWS_PARAMS, float *__restrict__ bias, unsigned columns) {                               \
    gradient_few_tensor<NT, Pool, Copies>({SOURCE(g), SOURCE(s), units, parts, stride, top, left, kh, kw, out, first, per_m, per_tap,      \
                                           per_ch, size, add, groups, FEW_WINDOWS, bias, columns});                                      \
  }

GRADIENT_FEW_TENSOR(conv_back_weights_few_tensor_bf16, 4, 1, 1)
GRADIENT_FEW_TENSOR(conv_back_weights_few_tensor_bf16_pool2, 4, 2, 1)
GRADIENT_FEW_TENSOR(conv_back_weights_few_tensor_bf16_up2, 4, 1, 2)
GRADIENT_FEW_TENSOR(conv_back_weights_few_tensor_bf16_small, 2, 1, 1)
GRADIENT_FEW_TENSOR(conv_back_weights_few_tensor_bf16_small_pool2, 2, 2, 1)
GRADIENT_FEW_TENSOR(conv_back_weights_few_tensor_bf16_small_up2, 2, 1, 2)
