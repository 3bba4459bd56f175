#include "common.cuh"

// Every kernel is there for V = 1 and for V = 4 channels a thread; the latter needs a number of channels that is a
// multiple of 4. The input is rows of w pixels of c channels; all images' rows follow each other.

// Output pixel (row, column) = input pixel (row/factor, column/factor). Thread i owns the i-th of n groups of V elements of
// the output.
template <int V>
__device__ __forceinline__ void forward(float *out, const float *x, unsigned n, int w, int c, int factor, unsigned narrow) {
  unsigned i = thread_index();
  if (i >= n) return;
  unsigned groups = c / V, pixel = i / groups, wide = w * factor, row = pixel / wide;
  unsigned from = row / factor * w + (pixel - row * wide) / factor;
  set_group(out, i, group_of<V>(x, from * groups + (i - pixel * groups), narrow & 2), narrow & 1);
}

// gradX = the sum of the gradients of the input's factor x factor copies, row by row. Thread i owns the i-th of n groups
// of V elements of gradX.
template <int V>
__device__ __forceinline__ void back(float *gradX, const float *gradOut, unsigned n, int w, int c, int factor, unsigned narrow) {
  unsigned i = thread_index();
  if (i >= n) return;
  unsigned groups = c / V, pixel = i / groups, wide = w * factor, row = pixel / w;
  const unsigned long long from = (unsigned long long)(row * factor * wide + (pixel - row * w) * factor) * groups + (i - pixel * groups);
  Floats<V> sum = {};
  for (int y = 0; y < factor; y++)
    for (int x = 0; x < factor; x++) {
      const Floats<V> g = group_of<V>(gradOut, from + (y * wide + x) * groups, narrow & 2);
#pragma unroll
      for (int k = 0; k < V; k++) sum.v[k] += g.v[k];
    }
  set_group(gradX, i, sum, narrow & 1);
}

// Between is where row or column o of the output lies in the input: behind the first of two, by a share of 2 factor parts; see
// backend.UpsampleShape.
struct Between {
  int first, share;
};

__device__ __forceinline__ Between between(int o, int factor) {
  const int at = 2 * o + 1 - factor, parts = 2 * factor;
  if (at < 0) return {0, 0};
  return {at / parts, at - at / parts * parts};
}

// share_of returns what share of row or column o of the output is that of i, of n, of the input, in 2 factor parts.
__device__ __forceinline__ int share_of(int i, int n, int o, int factor) {
  const Between b = between(o, factor);
  return (b.first == i ? 2 * factor - b.share : 0) + (min(b.first + 1, n - 1) == i ? b.share : 0);
}

// Output pixel = the four input pixels that it lies between, each with its share. Thread i owns the i-th of n groups of V elements of the
// output. The input has h rows.
template <int V>
__device__ __forceinline__ void bilinear(float *out, const float *x, unsigned n, int h, int w, int c, int factor, unsigned narrow) {
  unsigned i = thread_index();
  if (i >= n) return;
  unsigned groups = c / V, pixel = i / groups, wide = w * factor, row = pixel / wide, image = row / (h * factor);
  const Between down = between(row - image * (h * factor), factor), right = between(pixel - row * wide, factor);
  const float parts = 4 * factor * factor;
  const unsigned channel = i - pixel * groups;
  Floats<V> sum = {};
#pragma unroll
  for (int k = 0; k < 4; k++) {
    const int y = k & 2 ? min(down.first + 1, h - 1) : down.first, at = k & 1 ? min(right.first + 1, w - 1) : right.first;
    const int share = (k & 2 ? down.share : 2 * factor - down.share) * (k & 1 ? right.share : 2 * factor - right.share);
    if (share == 0) continue; // of what is not finite, nothing is nothing
    const Floats<V> p = group_of<V>(x, (unsigned long long)((image * h + y) * w + at) * groups + channel, narrow & 2);
    const float s = __fdiv_rn(share, parts);
#pragma unroll
    for (int e = 0; e < V; e++) sum.v[e] += s * p.v[e];
  }
  set_group(out, i, sum, narrow & 1);
}

// gradX = the gradients of the output pixels that were made of the input's, each times its share, row by row. They are at most 2 factor rows and
// columns. Thread i owns the i-th of n groups of V elements of gradX.
template <int V>
__device__ __forceinline__ void bilinear_back(float *gradX, const float *gradOut, unsigned n, int h, int w, int c, int factor, unsigned narrow) {
  unsigned i = thread_index();
  if (i >= n) return;
  unsigned groups = c / V, pixel = i / groups, row = pixel / w, image = row / h;
  const int y = row - image * h, x = pixel - row * w, wide = w * factor, high = h * factor;
  const int y1 = y * factor - factor / 2, x1 = x * factor - factor / 2;
  const float parts = 4 * factor * factor;
  Floats<V> sum = {};
  for (int oy = max(y1, 0); oy < min(y1 + 2 * factor, high); oy++) {
    const int share = share_of(y, h, oy, factor);
    for (int ox = max(x1, 0); ox < min(x1 + 2 * factor, wide); ox++) {
      const int s = share * share_of(x, w, ox, factor);
      if (s == 0) continue;
      const Floats<V> g = group_of<V>(gradOut, (unsigned long long)((image * high + oy) * wide + ox) * groups + (i - pixel * groups), narrow & 2);
      const float part = __fdiv_rn(s, parts);
#pragma unroll
      for (int k = 0; k < V; k++) sum.v[k] += part * g.v[k];
    }
  }
  set_group(gradX, i, sum, narrow & 1);
}

#define ENTRIES(suffix, V)                                                                                              \
  extern "C" __global__ void upsample_forward##suffix(float *__restrict__ out, const float *__restrict__ x, unsigned n, \
                                                      int w, int c, int factor, unsigned narrow) { \
    forward<V>(out, x, n, w, c, factor, narrow);                                                                                \
  }                                                                                                                     \
  extern "C" __global__ void upsample_back##suffix(float *__restrict__ gradX, const float *__restrict__ gradOut,        \
                                                   unsigned n, int w, int c, int factor, unsigned narrow) { \
    back<V>(gradX, gradOut, n, w, c, factor, narrow);                                                                           \
  }                                                                                                                     \
  extern "C" __global__ void upsample_bilinear##suffix(float *__restrict__ out, const float *__restrict__ x, unsigned n, int h, int w,   \
                                                       int c, int factor, unsigned narrow) {                              \
    bilinear<V>(out, x, n, h, w, c, factor, narrow);                                                                    \
  }                                                                                                                     \
  extern "C" __global__ void upsample_bilinear_back##suffix(float *__restrict__ gradX, const float *__restrict__ gradOut, unsigned n,    \
                                                            int h, int w, int c, int factor, unsigned narrow) {           \
    bilinear_back<V>(gradX, gradOut, n, h, w, c, factor, narrow);                                                       \
  }

ENTRIES(, 1)
ENTRIES(4, 4)
