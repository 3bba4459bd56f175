#include "common.cuh"

// The attention of the pixels of an image to one another, head by head: out = softmax(scale q kᵀ) v, where the rows of q, k and v are positions.
//
// A block of 256 threads has 16 rows, and goes over tiles of 16 columns of the matrix of scores, which is never in memory as a whole. Thread
// (r, c) has the score of row r and column c, and of what is summed over columns channels c, c+16, ... of row r. The 16 threads of a row are
// half a warp. Factors come to shared memory in pieces of 64 channels.
enum { SIDE = 16, PIECE = 64, PITCH = PIECE + 4 };

// Head is what the tensors of one head of one image have in common.
struct Head {
  unsigned long long at; // of the first position's first channel
  unsigned positions, channels, size; // channels of all heads, and of one
};

// tile_of is the head of a block and, in first, the first of its rows.
__device__ __forceinline__ Head tile_of(unsigned positions, unsigned heads, unsigned size, unsigned &head, unsigned &first) {
  const unsigned tiles = (positions + SIDE - 1) / SIDE;
  head = blockIdx.x / tiles, first = (blockIdx.x - head * tiles) * SIDE;
  const unsigned image = head / heads;
  return {((unsigned long long)image * positions * heads + (head - image * heads)) * size, positions, heads * size, size};
}

// Piece is 64 channels of 16 positions.
struct __align__(16) Piece {
  float v[SIDE][PITCH];
};

// load brings the channels from channel on of the positions from first on; what is beyond either is 0. Each thread has four channels.
__device__ __forceinline__ void load(Piece &to, const float *p, const Head &h, unsigned first, unsigned channel, unsigned narrow) {
  const unsigned row = threadIdx.x / SIDE, c = threadIdx.x % SIDE * 4, at = channel + c;
  float v[4] = {0.f, 0.f, 0.f, 0.f};
  if (first + row < h.positions && at < h.size) {
    const unsigned long long from = h.at + (unsigned long long)(first + row) * h.channels + at;
    if (h.size % 4 == 0) {
      load_values(v, element(p, from, narrow), narrow);
    } else {
#pragma unroll
      for (unsigned k = 0; k < 4; k++) {
        float one[1] = {0.f};
        if (at + k < h.size) load_values(one, element(p, from + k, narrow), narrow);
        v[k] = one[0];
      }
    }
  }
  *(float4 *)&to.v[row][c] = make_float4(v[0], v[1], v[2], v[3]);
}

// dot is a piece of the product of row r of a and row c of b.
__device__ __forceinline__ float dot(float sum, const Piece &a, const Piece &b) {
  const unsigned r = threadIdx.x / SIDE, c = threadIdx.x % SIDE;
#pragma unroll 4
  for (unsigned k = 0; k < PIECE; k += 4) {
    const float4 x = *(const float4 *)&a.v[r][k], y = *(const float4 *)&b.v[c][k];
    sum += x.x * y.x;
    sum += x.y * y.y;
    sum += x.z * y.z;
    sum += x.w * y.w;
  }
  return sum;
}

// accumulate adds to a piece of the sums of row r: for each column k, its weight times channel c, c+16, ... of row k.
__device__ __forceinline__ void accumulate(float *sums, const float (&weights)[SIDE][SIDE + 1], const Piece &b) {
  const unsigned r = threadIdx.x / SIDE, c = threadIdx.x % SIDE;
#pragma unroll 4
  for (unsigned k = 0; k < SIDE; k++) {
    const float w = weights[r][k];
#pragma unroll
    for (unsigned j = 0; j < PIECE / SIDE; j++) sums[j] += w * b.v[k][c + SIDE * j];
  }
}

// row_max and row_sum are over the threads of a row, in a fixed order. Of the maximum NaN is left out.
__device__ __forceinline__ float row_max(float v) {
#pragma unroll
  for (unsigned lane = SIDE / 2; lane > 0; lane /= 2) v = fmaxf(v, __shfl_xor_sync(0xffffffffu, v, lane));
  return v;
}
__device__ __forceinline__ float row_sum(float v) {
#pragma unroll
  for (unsigned lane = SIDE / 2; lane > 0; lane /= 2) v += __shfl_xor_sync(0xffffffffu, v, lane);
  return v;
}

// store writes the sums of the block's rows, times factor.
template <int J>
__device__ __forceinline__ void store(float *p, const Head &h, unsigned first, const float (&sums)[J], float factor, unsigned narrow) {
  const unsigned row = first + threadIdx.x / SIDE, c = threadIdx.x % SIDE;
  if (row >= h.positions) return;
#pragma unroll
  for (unsigned j = 0; j < J; j++) {
    const float one[1] = {sums[j] * factor};
    if (c + SIDE * j < h.size) store_values(element(p, h.at + (unsigned long long)row * h.channels + c + SIDE * j, narrow), one, narrow);
  }
}

// forward: the largest score so far of each row is taken off its scores, and what has been summed with a smaller one is scaled down when it
// grows (Milakov and Gimelshein, "Online normalizer calculation for softmax", 2018). stats gets the logarithm of the sum of a row's
// exponentials. J is at least a 16th of a head's channels.
template <int J>
__device__ __forceinline__ void forward(float *__restrict__ out, float *__restrict__ stats, const float *__restrict__ q,
                                        const float *__restrict__ k, const float *__restrict__ v, unsigned positions, unsigned heads,
                                        unsigned size, float scale, unsigned narrow) {
  __shared__ Piece a, b;
  __shared__ float weights[SIDE][SIDE + 1];
  unsigned head, first;
  const Head h = tile_of(positions, heads, size, head, first);
  const unsigned r = threadIdx.x / SIDE, c = threadIdx.x % SIDE;
  float sums[J] = {}, most = -__uint_as_float(0x7f800000u), total = 0.f;
  for (unsigned at = 0; at < positions; at += SIDE) {
    float score = 0.f;
    for (unsigned d = 0; d < size; d += PIECE) {
      __syncthreads();
      load(a, q, h, first, d, narrow & 2);
      load(b, k, h, at, d, narrow & 4);
      __syncthreads();
      score = dot(score, a, b);
    }
    score = at + c < positions ? score * scale : -__uint_as_float(0x7f800000u);
    const float larger = fmaxf(most, row_max(score)), shrink = expf(most - larger), weight = expf(score - larger);
    most = larger, total = total * shrink + row_sum(weight);
    weights[r][c] = weight;
#pragma unroll
    for (int j = 0; j < J; j++) sums[j] *= shrink;
#pragma unroll
    for (unsigned d = 0; d < J * SIDE; d += PIECE) {
      if (d < size) {
        __syncthreads();
        load(b, v, h, at, d, narrow & 8);
        __syncthreads();
        accumulate(sums + d / SIDE, weights, b);
      }
    }
  }
  store(out, h, first, sums, __fdiv_rn(1.f, total), narrow & 1);
  if (stats && c == 0 && first + r < positions) stats[(unsigned long long)head * positions + first + r] = most + logf(total);
}

// delta is, for each position of each head, the sum over its channels of the gradient times the output. A warp has a position.
extern "C" __global__ void __launch_bounds__(256)
    attention_delta(float *__restrict__ delta, const float *__restrict__ gradOut, const float *__restrict__ out, unsigned rows,
                    unsigned positions, unsigned heads, unsigned size, unsigned narrow) {
  const unsigned row = thread_index() / 32, lane = threadIdx.x % 32;
  if (row >= rows) return;
  const unsigned head = row / positions, position = row - head * positions, image = head / heads;
  const unsigned long long at = (((unsigned long long)image * positions + position) * heads + (head - image * heads)) * size;
  float sum = 0.f;
  for (unsigned c = lane; c < size; c += 32) {
    float g[1], o[1];
    load_values(g, element(gradOut, at + c, narrow & 1), narrow & 1);
    load_values(o, element(out, at + c, narrow & 2), narrow & 2);
    sum += g[0] * o[0];
  }
  sum = warp_sum(sum);
  if (lane == 0) delta[row] = sum;
}

// back_query is the gradient of the queries: with a weight w = exp(score - stats) and the product p of the gradient of a row's output and a
// column's values, the gradient of a score is w (p - delta). The rows are queries, the columns keys.
template <int J>
__device__ __forceinline__ void back_query(float *__restrict__ gradQ, const float *__restrict__ gradOut, const float *__restrict__ q,
                                           const float *__restrict__ k, const float *__restrict__ v, const float *__restrict__ stats,
                                           const float *__restrict__ delta, unsigned positions, unsigned heads, unsigned size, float scale,
                                           unsigned narrow) {
  __shared__ Piece a, b, e, f;
  __shared__ float slopes[SIDE][SIDE + 1];
  unsigned head, first;
  const Head h = tile_of(positions, heads, size, head, first);
  const unsigned r = threadIdx.x / SIDE, c = threadIdx.x % SIDE;
  const bool inside = first + r < positions;
  const unsigned long long row = (unsigned long long)head * positions + first + r;
  const float base = inside ? stats[row] : 0.f, mean = inside ? delta[row] : 0.f;
  float sums[J] = {};
  for (unsigned at = 0; at < positions; at += SIDE) {
    float score = 0.f, product = 0.f;
    for (unsigned d = 0; d < size; d += PIECE) {
      __syncthreads();
      load(a, q, h, first, d, narrow & 4);
      load(b, k, h, at, d, narrow & 8);
      load(e, gradOut, h, first, d, narrow & 2);
      load(f, v, h, at, d, narrow & 16);
      __syncthreads();
      score = dot(score, a, b);
      product = dot(product, e, f);
    }
    slopes[r][c] = inside && at + c < positions ? expf(score * scale - base) * (product - mean) : 0.f;
#pragma unroll
    for (unsigned d = 0; d < J * SIDE; d += PIECE) {
      if (d < size) {
        __syncthreads();
        load(b, k, h, at, d, narrow & 8);
        __syncthreads();
        accumulate(sums + d / SIDE, slopes, b);
      }
    }
  }
  store(gradQ, h, first, sums, scale, narrow & 1);
}

// back_key is the gradients of the keys and the values. The rows are keys, the columns queries.
template <int J>
__device__ __forceinline__ void back_key(float *__restrict__ gradK, float *__restrict__ gradV, const float *__restrict__ gradOut,
                                         const float *__restrict__ q, const float *__restrict__ k, const float *__restrict__ v,
                                         const float *__restrict__ stats, const float *__restrict__ delta, unsigned positions,
                                         unsigned heads, unsigned size, float scale, unsigned narrow) {
  __shared__ Piece a, b, e, f;
  __shared__ float weights[SIDE][SIDE + 1], slopes[SIDE][SIDE + 1];
  unsigned head, first;
  const Head h = tile_of(positions, heads, size, head, first);
  const unsigned r = threadIdx.x / SIDE, c = threadIdx.x % SIDE;
  float keys[J] = {}, values[J] = {};
  for (unsigned at = 0; at < positions; at += SIDE) {
    float score = 0.f, product = 0.f;
    for (unsigned d = 0; d < size; d += PIECE) {
      __syncthreads();
      load(a, k, h, first, d, narrow & 16);
      load(b, q, h, at, d, narrow & 8);
      load(e, v, h, first, d, narrow & 32);
      load(f, gradOut, h, at, d, narrow & 4);
      __syncthreads();
      score = dot(score, a, b);
      product = dot(product, e, f);
    }
    const bool inside = first + r < positions && at + c < positions;
    const unsigned long long column = (unsigned long long)head * positions + at + c;
    const float weight = inside ? expf(score * scale - stats[column]) : 0.f;
    weights[r][c] = weight;
    slopes[r][c] = inside ? weight * (product - delta[column]) : 0.f;
#pragma unroll
    for (unsigned d = 0; d < J * SIDE; d += PIECE) {
      if (d < size) {
        __syncthreads();
        load(b, q, h, at, d, narrow & 8);
        load(f, gradOut, h, at, d, narrow & 4);
        __syncthreads();
        accumulate(keys + d / SIDE, slopes, b);
        accumulate(values + d / SIDE, weights, f);
      }
    }
  }
  store(gradK, h, first, keys, scale, narrow & 1);
  store(gradV, h, first, values, 1.f, narrow & 2);
}

#define ENTRIES(suffix, J, BLOCKS)                                                                                      \
  extern "C" __global__ void __launch_bounds__(256, BLOCKS) attention_forward##suffix(                                  \
      float *__restrict__ out, float *__restrict__ stats, const float *__restrict__ q, const float *__restrict__ k,     \
      const float *__restrict__ v, unsigned positions, unsigned heads, unsigned size, float scale, unsigned narrow) {   \
    forward<J>(out, stats, q, k, v, positions, heads, size, scale, narrow);                                             \
  }                                                                                                                     \
  extern "C" __global__ void __launch_bounds__(256, BLOCKS) attention_back_query##suffix(                               \
      float *__restrict__ gradQ, const float *__restrict__ gradOut, const float *__restrict__ q,                        \
      const float *__restrict__ k, const float *__restrict__ v, const float *__restrict__ stats,                        \
      const float *__restrict__ delta, unsigned positions, unsigned heads, unsigned size, float scale,                  \
      unsigned narrow) {                                                                                                \
    back_query<J>(gradQ, gradOut, q, k, v, stats, delta, positions, heads, size, scale, narrow);                        \
  }                                                                                                                     \
  extern "C" __global__ void __launch_bounds__(256, BLOCKS) attention_back_key##suffix(                                 \
      float *__restrict__ gradK, float *__restrict__ gradV, const float *__restrict__ gradOut,                          \
      const float *__restrict__ q, const float *__restrict__ k, const float *__restrict__ v,                            \
      const float *__restrict__ stats, const float *__restrict__ delta, unsigned positions, unsigned heads,             \
      unsigned size, float scale, unsigned narrow) {                                                                    \
    back_key<J>(gradK, gradV, gradOut, q, k, v, stats, delta, positions, heads, size, scale, narrow);                   \
  }

ENTRIES(128, 8, 2)
ENTRIES(512, 32, 1)
