#include "common.cuh"

// Every kernel is there for V = 1 and for V = 4 channels a thread; the latter needs a number of channels that is a multiple of 4.
// Images have c channels and so many pixels.

// out = a times b, which has one pixel for each image: with images of one pixel, the shape of a. Thread i owns the i-th of n groups of V
// elements of the output. out may be a.
template <int V>
__device__ __forceinline__ void times(float *out, const float *a, const float *b, unsigned n, unsigned pixels, int c, unsigned narrow) {
  unsigned i = thread_index();
  if (i >= n) return;
  const unsigned groups = c / V, image = i / groups / pixels;
  Floats<V> v = group_of<V>(a, i, narrow & 2);
  const Floats<V> w = group_of<V>(b, image * groups + i % groups, narrow & 4);
#pragma unroll
  for (int k = 0; k < V; k++) v.v[k] *= w.v[k];
  set_group(out, i, v, narrow & 1);
}

// out = scale times the sum of a b, or of a where b is 0, over an image's pixels. A block of 256 threads owns lanes groups of V channels of an
// image, lanes a power of two; its rows of lanes threads take the pixels in turns, and their sums are added up by halves.
template <int V>
__device__ __forceinline__ void sum(float *out, const float *a, const float *b, unsigned pixels, int c, unsigned lanes, float scale,
                                    unsigned narrow) {
  __shared__ Floats<V> sums[256];
  const unsigned groups = c / V, tiles = (groups + lanes - 1) / lanes, image = blockIdx.x / tiles, rows = 256 / lanes;
  const unsigned group = blockIdx.x % tiles * lanes + threadIdx.x % lanes, row = threadIdx.x / lanes;
  Floats<V> total = {};
  if (group < groups)
    for (unsigned p = row; p < pixels; p += rows) {
      const unsigned long long at = ((unsigned long long)image * pixels + p) * groups + group;
      Floats<V> v = group_of<V>(a, at, narrow & 2);
      if (b) {
        const Floats<V> w = group_of<V>(b, at, narrow & 4);
#pragma unroll
        for (int k = 0; k < V; k++) v.v[k] *= w.v[k];
      }
#pragma unroll
      for (int k = 0; k < V; k++) total.v[k] += v.v[k];
    }
  sums[threadIdx.x] = total;
  for (unsigned half = 128; half >= lanes; half /= 2) {
    __syncthreads();
    if (threadIdx.x < half) {
      const Floats<V> other = sums[threadIdx.x + half];
#pragma unroll
      for (int k = 0; k < V; k++) total.v[k] += other.v[k];
      sums[threadIdx.x] = total;
    }
  }
  if (row > 0 || group >= groups) return;
#pragma unroll
  for (int k = 0; k < V; k++) total.v[k] *= scale;
  set_group(out, image * groups + group, total, narrow & 1);
}

// Every pixel of an image of out = scale x. Thread i owns the i-th of n groups of V elements of the output.
template <int V>
__device__ __forceinline__ void spread(float *out, const float *x, unsigned n, unsigned pixels, int c, float scale, unsigned narrow) {
  unsigned i = thread_index();
  if (i >= n) return;
  const unsigned groups = c / V, image = i / groups / pixels;
  Floats<V> v = group_of<V>(x, image * groups + i % groups, narrow & 2);
#pragma unroll
  for (int k = 0; k < V; k++) v.v[k] *= scale;
  set_group(out, i, v, narrow & 1);
}

#define ENTRIES(suffix, V)                                                                                                          \
  extern "C" __global__ void channelwise_times##suffix(float *out, const float *a, const float *b, unsigned n, unsigned pixels, int c, \
                                                       unsigned narrow) {                                                           \
    times<V>(out, a, b, n, pixels, c, narrow);                                                                                      \
  }                                                                                                                                 \
  extern "C" __global__ void channelwise_sum##suffix(float *__restrict__ out, const float *__restrict__ a, const float *__restrict__ b, \
                                                     unsigned pixels, int c, unsigned lanes, float scale, unsigned narrow) {        \
    sum<V>(out, a, b, pixels, c, lanes, scale, narrow);                                                                             \
  }                                                                                                                                 \
  extern "C" __global__ void channelwise_spread##suffix(float *__restrict__ out, const float *__restrict__ x, unsigned n, unsigned pixels, \
                                                        int c, float scale, unsigned narrow) {                                      \
    spread<V>(out, x, n, pixels, c, scale, narrow);                                                                                 \
  }

ENTRIES(, 1)
ENTRIES(4, 4)
