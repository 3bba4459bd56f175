#include "common.cuh"

// Window is the geometry of a convolution in groups: the input is h x w pixels of channels, the output oh x ow of filters, and a filter sees the
// channels of its group alone. The value under output row oy and row i of the kernel is in row oy*stride + i*dilation - padTop. Weights are
// [filter][tap][channel of the group].
struct Window {
  int h, w, channels, filters, groups, oh, ow, kh, kw, stride, dilation, padTop, padLeft;
};

#define WINDOW int h, int w, int channels, int filters, int groups, int oh, int ow, int kh, int kw, int stride, int dilation, int padTop, int padLeft
#define THE_WINDOW {h, w, channels, filters, groups, oh, ow, kh, kw, stride, dilation, padTop, padLeft}

// The kernels forward and back to the input are there for V = 1 and, where every channel is a group with one filter, for V = 4 channels a
// thread, if channels are a multiple of 4.

// out = bias (which may be 0) + the sum over the kernel and the channels of the group of x times a weight. Thread i owns the i-th of n groups of
// V elements of the output.
template <int V>
__device__ __forceinline__ void forward(float *out, const float *x, const float *weights, const float *bias, unsigned n, Window g, unsigned narrow) {
  unsigned i = thread_index();
  if (i >= n) return;
  const unsigned vectors = g.filters / V, pixel = i / vectors, filter = (i - pixel * vectors) * V, row = pixel / g.ow, image = row / g.oh;
  const unsigned depth = V > 1 ? 1 : g.channels / g.groups, first = V > 1 ? filter : filter / (g.filters / g.groups) * depth;
  const int y0 = int(row - image * g.oh) * g.stride - g.padTop, x0 = int(pixel - row * g.ow) * g.stride - g.padLeft, taps = g.kh * g.kw;
  x = element(x, (unsigned long long)image * g.h * g.w * g.channels + first, narrow & 2);
  weights += (unsigned long long)filter * taps * depth;
  Floats<V> sum = {};
  if (bias) {
#pragma unroll
    for (int k = 0; k < V; k++) sum.v[k] = bias[filter + k];
  }
  for (int a = 0; a < g.kh; a++) {
    const int y = y0 + a * g.dilation;
    if (y < 0 || y >= g.h) continue;
    for (int b = 0; b < g.kw; b++) {
      const int column = x0 + b * g.dilation;
      if (column < 0 || column >= g.w) continue;
      const float *p = element(x, (unsigned long long)(y * g.w + column) * g.channels, narrow & 2), *w = weights + (a * g.kw + b) * depth;
      for (unsigned c = 0; c < depth; c++) {
        Floats<V> v;
        load_values(v.v, element(p, c, narrow & 2), narrow & 2);
#pragma unroll
        for (int k = 0; k < V; k++) sum.v[k] += v.v[k] * w[k * taps + c];
      }
    }
  }
  set_group(out, i, sum, narrow & 1);
}

// gradX = the sum of the gradients of the outputs that read the input, each times the weight that it had there. Thread i owns the i-th of n
// groups of V elements of gradX.
template <int V>
__device__ __forceinline__ void back_input(float *gradX, const float *gradOut, const float *weights, unsigned n, Window g, unsigned narrow) {
  unsigned i = thread_index();
  if (i >= n) return;
  const unsigned vectors = g.channels / V, pixel = i / vectors, channel = (i - pixel * vectors) * V, row = pixel / g.w, image = row / g.h;
  const unsigned depth = V > 1 ? 1 : g.channels / g.groups, share = V > 1 ? 1 : g.filters / g.groups;
  const unsigned group = channel / depth, filter = group * share;
  const int y = int(row - image * g.h) + g.padTop, x = int(pixel - row * g.w) + g.padLeft, taps = g.kh * g.kw; // places in the padded input
  gradOut = element(gradOut, (unsigned long long)image * g.oh * g.ow * g.filters + filter, narrow & 2);
  weights += (unsigned long long)filter * taps * depth + (channel - group * depth);
  Floats<V> sum = {};
  for (int a = 0; a < g.kh; a++) {
    const int down = y - a * g.dilation, oy = down / g.stride;
    if (down < 0 || oy * g.stride != down || oy >= g.oh) continue;
    for (int b = 0; b < g.kw; b++) {
      const int right = x - b * g.dilation, ox = right / g.stride;
      if (right < 0 || ox * g.stride != right || ox >= g.ow) continue;
      for (unsigned m = 0; m < share; m++) {
        Floats<V> p;
        load_values(p.v, element(gradOut, (unsigned long long)(oy * g.ow + ox) * g.filters + m, narrow & 2), narrow & 2);
#pragma unroll
        for (int k = 0; k < V; k++) sum.v[k] += p.v[k] * weights[(unsigned long long)((k + m) * taps + a * g.kw + b) * depth];
      }
    }
  }
  set_group(gradX, i, sum, narrow & 1);
}

#define ENTRIES(suffix, V)                                                                                                            \
  extern "C" __global__ void grouped_forward##suffix(float *__restrict__ out, const float *__restrict__ x, const float *__restrict__ w_, \
                                                       const float *__restrict__ bias, unsigned n, WINDOW, unsigned narrow) {           \
    forward<V>(out, x, w_, bias, n, THE_WINDOW, narrow);                                                                              \
  }                                                                                                                                   \
  extern "C" __global__ void grouped_back_input##suffix(float *__restrict__ gradX, const float *__restrict__ gradOut,              \
                                                          const float *__restrict__ w_, unsigned n, WINDOW, unsigned narrow) {         \
    back_input<V>(gradX, gradOut, w_, n, THE_WINDOW, narrow);                                                                         \
  }

ENTRIES(, 1)
ENTRIES(4, 4)

// gradW += the sum over all images' output pixels of a filter's gradient times the value that a weight saw, and gradBias (which may be 0) +=
// that of the gradients alone. Block (tile, tap) of 256 threads owns the weights at a place of the kernel for lanes pairs of a filter and a
// channel of its group, lanes a power of two, or after the last place the bias of so many filters. Its rows of lanes threads take the pixels in
// turns, and their sums are added up by halves.
extern "C" __global__ void grouped_back_weights(float *__restrict__ gradW, float *__restrict__ gradBias, const float *__restrict__ gradOut,
                                                  const float *__restrict__ x, unsigned images, WINDOW, unsigned lanes, unsigned narrow) {
  __shared__ float sums[256];
  const Window g = THE_WINDOW;
  const unsigned taps = g.kh * g.kw, tile = blockIdx.x / (taps + 1), tap = blockIdx.x - tile * (taps + 1), rows = 256 / lanes;
  const bool bias = tap == taps;
  if (bias && !gradBias) return;
  const unsigned row = threadIdx.x / lanes, pair = tile * lanes + threadIdx.x % lanes, depth = bias ? 1 : g.channels / g.groups;
  const unsigned filter = pair / depth, of_group = pair - filter * depth, channel = filter / (g.filters / g.groups) * depth + of_group;
  const bool mine = filter < g.filters;
  const int a = int(tap / g.kw) * g.dilation - g.padTop, b = int(tap % g.kw) * g.dilation - g.padLeft;
  float total = 0.f;
  if (mine)
    for (unsigned p = row; p < images * g.oh * g.ow; p += rows) {
      const unsigned line = p / g.ow, image = line / g.oh;
      const int y = int(line - image * g.oh) * g.stride + a, column = int(p - line * g.ow) * g.stride + b;
      const bool inside = y >= 0 && y < g.h && column >= 0 && column < g.w;
      if (!bias && !inside) continue;
      float v[1], s[1] = {1.f};
      load_values(v, element(gradOut, (unsigned long long)p * g.filters + filter, narrow & 1), narrow & 1);
      if (!bias)
        load_values(s, element(x, (unsigned long long)((image * g.h + y) * g.w + column) * g.channels + channel, narrow & 2), narrow & 2);
      total += v[0] * s[0];
    }
  sums[threadIdx.x] = total;
  for (unsigned half = 128; half >= lanes; half /= 2) {
    __syncthreads();
    if (threadIdx.x < half) sums[threadIdx.x] = total += sums[threadIdx.x + half];
  }
  if (row > 0 || !mine) return;
  if (bias)
    gradBias[filter] += total;
  else
    gradW[((unsigned long long)filter * taps + tap) * depth + of_group] += total;
}
