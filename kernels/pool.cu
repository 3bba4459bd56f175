#include "common.cuh"

// Every kernel is there for V = 1 and for V = 4 channels a thread; the latter needs a number of channels that is a
// multiple of 4. The input is h x w pixels of c channels, the output oh x ow. The window of output row oy has its first
// row at oy*stride - padTop, that of column ox its first column at ox*stride - padLeft.

// out = the first maximum of each window, argmax (which may be 0) its place row*size+column there; NaN is above all
// numbers. Thread i owns the i-th of n groups of V elements of the output.
template <int V>
__device__ __forceinline__ void forward(float *out, unsigned char *argmax, const float *x, unsigned n, int h, int w, int c,
                                        int oh, int ow, int size, int stride, int padTop, int padLeft, unsigned narrow) {
  unsigned i = thread_index();
  if (i >= n) return;
  unsigned groups = c / V, pixel = i / groups, row = pixel / ow, image = row / oh;
  int y0 = int(row - image * oh) * stride - padTop, x0 = int(pixel - row * ow) * stride - padLeft;
  x = element(x, (unsigned long long)image * h * w * c + V * (i - pixel * groups), narrow & 2);
  // The window without its padding.
  int y1 = max(y0, 0), y2 = min(y0 + size, h), x1 = max(x0, 0), x2 = min(x0 + size, w);
  Floats<V> best, p;
  load_values(best.v, element(x, (y1 * w + x1) * c, narrow & 2), narrow & 2);
  int at[V];
#pragma unroll
  for (int k = 0; k < V; k++) at[k] = (y1 - y0) * size + x1 - x0;
  for (int py = y1; py < y2; py++)
    for (int px = x1; px < x2; px++) {
      load_values(p.v, element(x, (py * w + px) * c, narrow & 2), narrow & 2);
      int place = (py - y0) * size + px - x0;
#pragma unroll
      for (int k = 0; k < V; k++)
        if (above(p.v[k], best.v[k])) best.v[k] = p.v[k], at[k] = place;
    }
  set_group(out, i, best, narrow & 1);
  if (!argmax) return;
  Bytes<V> places;
#pragma unroll
  for (int k = 0; k < V; k++) places.v[k] = at[k];
  ((Bytes<V> *)argmax)[i] = places;
}

// gradX = the sum of the gradients of the windows in which the input was the maximum, in the order of the windows. Thread
// i owns the i-th of n groups of V elements of gradX.
template <int V>
__device__ __forceinline__ void back(float *gradX, const float *gradOut, const unsigned char *argmax, unsigned n, int h, int w,
                                     int c, int oh, int ow, int size, int stride, int padTop, int padLeft, unsigned narrow) {
  unsigned i = thread_index();
  if (i >= n) return;
  unsigned groups = c / V, pixel = i / groups, row = pixel / w, image = row / h;
  int y = int(row - image * h) + padTop, x = int(pixel - row * w) + padLeft; // places in the padded input
  unsigned long long at = (unsigned long long)image * oh * ow * c + V * (i - pixel * groups);
  gradOut = element(gradOut, at, narrow & 2);
  argmax += at;
  // The first window that reaches y starts after y - size, the last at y or before.
  int firstY = y < size ? 0 : (y - size) / stride + 1, firstX = x < size ? 0 : (x - size) / stride + 1;
  Floats<V> sum = {};
  for (int oy = firstY; oy < oh && oy * stride <= y; oy++)
    for (int ox = firstX; ox < ow && ox * stride <= x; ox++) {
      int o = (oy * ow + ox) * c, place = (y - oy * stride) * size + x - ox * stride;
      Bytes<V> a = *(const Bytes<V> *)(argmax + o);
      Floats<V> g;
      load_values(g.v, element(gradOut, o, narrow & 2), narrow & 2);
#pragma unroll
      for (int k = 0; k < V; k++)
        if (a.v[k] == place) sum.v[k] += g.v[k];
    }
  set_group(gradX, i, sum, narrow & 1);
}

// Range is the rows or columns from first to before end.
struct Range {
  int first, end;
};

// inside returns which of extent rows or columns window o has.
__device__ __forceinline__ Range inside(int o, int extent, int size, int stride, int pad) {
  const int start = o * stride - pad;
  return {max(start, 0), min(start + size, extent)};
}

// reaching returns which of all windows have row or column i: the first starts after i - size, the last at i or before.
__device__ __forceinline__ Range reaching(int i, int all, int size, int stride, int pad) {
  const int at = i + pad;
  return {at < size ? 0 : (at - size) / stride + 1, min(at / stride + 1, all)};
}

// out = the mean of each window, without its padding. Thread i owns the i-th of n groups of V elements of the output.
template <int V>
__device__ __forceinline__ void average(float *out, const float *x, unsigned n, int h, int w, int c, int oh, int ow, int size, int stride,
                                        int padTop, int padLeft, unsigned narrow) {
  unsigned i = thread_index();
  if (i >= n) return;
  const unsigned groups = c / V, pixel = i / groups, row = pixel / ow, image = row / oh;
  const Range rows = inside(row - image * oh, h, size, stride, padTop), columns = inside(pixel - row * ow, w, size, stride, padLeft);
  x = element(x, (unsigned long long)image * h * w * c + V * (i - pixel * groups), narrow & 2);
  Floats<V> sum = {};
  for (int y = rows.first; y < rows.end; y++)
    for (int column = columns.first; column < columns.end; column++) {
      Floats<V> p;
      load_values(p.v, element(x, (y * w + column) * c, narrow & 2), narrow & 2);
#pragma unroll
      for (int k = 0; k < V; k++) sum.v[k] += p.v[k];
    }
  const float count = (rows.end - rows.first) * (columns.end - columns.first);
#pragma unroll
  for (int k = 0; k < V; k++) sum.v[k] = __fdiv_rn(sum.v[k], count);
  set_group(out, i, sum, narrow & 1);
}

// gradX = the sum of the gradients of the input's windows, each divided by the number of inputs there, in the order of the windows. Thread
// i owns the i-th of n groups of V elements of gradX.
template <int V>
__device__ __forceinline__ void average_back(float *gradX, const float *gradOut, unsigned n, int h, int w, int c, int oh, int ow, int size,
                                             int stride, int padTop, int padLeft, unsigned narrow) {
  unsigned i = thread_index();
  if (i >= n) return;
  const unsigned groups = c / V, pixel = i / groups, row = pixel / w, image = row / h;
  const Range down = reaching(row - image * h, oh, size, stride, padTop), right = reaching(pixel - row * w, ow, size, stride, padLeft);
  gradOut = element(gradOut, (unsigned long long)image * oh * ow * c + V * (i - pixel * groups), narrow & 2);
  Floats<V> sum = {};
  for (int oy = down.first; oy < down.end; oy++) {
    const Range rows = inside(oy, h, size, stride, padTop);
    for (int ox = right.first; ox < right.end; ox++) {
      const Range columns = inside(ox, w, size, stride, padLeft);
      const float share = __fdiv_rn(1.f, (rows.end - rows.first) * (columns.end - columns.first));
      Floats<V> g;
      load_values(g.v, element(gradOut, (oy * ow + ox) * c, narrow & 2), narrow & 2);
#pragma unroll
      for (int k = 0; k < V; k++) sum.v[k] += share * g.v[k];
    }
  }
  set_group(gradX, i, sum, narrow & 1);
}

#define ENTRIES(suffix, V)                                                                                                \
  extern "C" __global__ void pool_forward##suffix(float *__restrict__ out, unsigned char *__restrict__ argmax,            \
                                                  const float *__restrict__ x, unsigned n, int h, int w, int c, int oh,   \
                                                  int ow, int size, int stride, int padTop, int padLeft, unsigned narrow) { \
    forward<V>(out, argmax, x, n, h, w, c, oh, ow, size, stride, padTop, padLeft, narrow);                                        \
  }                                                                                                                       \
  extern "C" __global__ void pool_back##suffix(float *__restrict__ gradX, const float *__restrict__ gradOut,              \
                                               const unsigned char *__restrict__ argmax, unsigned n, int h, int w, int c, \
                                               int oh, int ow, int size, int stride, int padTop, int padLeft, unsigned narrow) { \
    back<V>(gradX, gradOut, argmax, n, h, w, c, oh, ow, size, stride, padTop, padLeft, narrow);                                   \
  }                                                                                                                       \
  extern "C" __global__ void pool_average##suffix(float *__restrict__ out, const float *__restrict__ x, unsigned n, int h, int w, int c, \
                                                  int oh, int ow, int size, int stride, int padTop, int padLeft, unsigned narrow) { \
    average<V>(out, x, n, h, w, c, oh, ow, size, stride, padTop, padLeft, narrow);                                                \
  }                                                                                                                       \
  extern "C" __global__ void pool_average_back##suffix(float *__restrict__ gradX, const float *__restrict__ gradOut, unsigned n, int h,   \
                                                       int w, int c, int oh, int ow, int size, int stride, int padTop, int padLeft,      \
                                                       unsigned narrow) {                                                               \
    average_back<V>(gradX, gradOut, n, h, w, c, oh, ow, size, stride, padTop, padLeft, narrow);                                   \
  }

ENTRIES(, 1)
ENTRIES(4, 4)
