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

#define ENTRIES(suffix, V)                                                                                              \
  extern "C" __global__ void upsample_forward##suffix(float *__restrict__ out, const float *__restrict__ x, unsigned n, \
                                                      int w, int c, int factor, unsigned narrow) { \
    forward<V>(out, x, n, w, c, factor, narrow);                                                                                \
  }                                                                                                                     \
  extern "C" __global__ void upsample_back##suffix(float *__restrict__ gradX, const float *__restrict__ gradOut,        \
                                                   unsigned n, int w, int c, int factor, unsigned narrow) { \
    back<V>(gradX, gradOut, n, w, c, factor, narrow);                                                                           \
  }

ENTRIES(, 1)
ENTRIES(4, 4)
