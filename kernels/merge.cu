#include "common.cuh"

// out = a + b. Thread i owns elements 4i to 4i+3. out may be a.
extern "C" __global__ void merge_plus(float *out, const float *a, const float *b, unsigned n, unsigned narrow) {
  unsigned i = 4 * thread_index();
  if (i >= n) return;
  Four v = load4(a, i, n, narrow & 2), w = load4(b, i, n, narrow & 4);
#pragma unroll
  for (int k = 0; k < 4; k++) v.v[k] += w.v[k];
  store4(out, i, n, v, narrow & 1);
}

// For every pixel, channels to..to+count-1 of dst = channels from..from+count-1 of src; dst has dst_c channels, src has
// src_c, and dst's other channels are not touched. All images' pixels follow each other. Thread i owns the i-th of n
// groups of V copied channels. The kernel is there for V = 1 and for V = 4; the latter needs count, dst_c, to, src_c and
// from to be multiples of 4.
template <int V>
__device__ __forceinline__ void channels(float *dst, const float *src, unsigned n, int count, int dst_c, int to, int src_c,
                                         int from, unsigned narrow) {
  unsigned i = thread_index();
  if (i >= n) return;
  unsigned groups = count / V, pixel = i / groups, group = i - pixel * groups;
  const Floats<V> v = group_of<V>(src, pixel * (src_c / V) + from / V + group, narrow & 2);
  set_group(dst, pixel * (dst_c / V) + to / V + group, v, narrow & 1);
}

#define ENTRY(suffix, V)                                                                                                \
  extern "C" __global__ void merge_channels##suffix(float *__restrict__ dst, const float *__restrict__ src, unsigned n, \
                                                    int count, int dst_c, int to, int src_c, int from, unsigned narrow) { \
    channels<V>(dst, src, n, count, dst_c, to, src_c, from, narrow);                                                            \
  }

ENTRY(, 1)
ENTRY(4, 4)
