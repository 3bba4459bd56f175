#include "act.cuh"

// Normalisation of groups of channels: out = act(gamma (x - mean) rstd + beta), where rstd = 1 / sqrt(variance + eps).
//
// A block of 256 threads has a slice of the pixels of one group of one image. Its threads are so many rows of pixels, in each of which a
// thread has the same V channels all the time; where a group has more than 256 times V channels, they are taken in columns of blocks, one
// after the other. An image of one slice is done by one launch; with several slices a first launch leaves the sums of each, and a second
// one merges them and does the rest.

// Moments are the number of some values, their mean and the sum of the squares of what they differ from it by.
struct Moments {
  float n, mean, m2;
};

// merge is the moments of two sets together (Chan, Golub and LeVeque, 1979).
__device__ __forceinline__ Moments merge(const Moments &a, const Moments &b) {
  if (b.n == 0.f) return a;
  if (a.n == 0.f) return b;
  Moments r;
  r.n = a.n + b.n;
  const float d = b.mean - a.mean, share = __fdiv_rn(b.n, r.n);
  r.mean = a.mean + d * share;
  r.m2 = (a.m2 + b.m2) + d * d * (a.n * share);
  return r;
}

// merge_block merges the moments of a block's threads, in a fixed order, and returns them to all.
__device__ __forceinline__ Moments merge_block(Moments m) {
  __shared__ Moments warps[8];
#pragma unroll
  for (unsigned lane = 16; lane > 0; lane /= 2)
    m = merge(m, {__shfl_xor_sync(0xffffffffu, m.n, lane), __shfl_xor_sync(0xffffffffu, m.mean, lane),
                  __shfl_xor_sync(0xffffffffu, m.m2, lane)});
  if (threadIdx.x % 32 == 0) warps[threadIdx.x / 32] = m;
  __syncthreads();
  m = warps[0];
  for (unsigned w = 1; w < 8; w++) m = merge(m, warps[w]);
  return m;
}

// ROWS is how many pixels a thread asks for before it uses the first.
enum { ROWS = 8 };

// Part is what a block has: pixels first to last of an image, and the channels of a group, count of them from channel on. rows is how many
// pixels the threads have at a time.
template <int V> struct Part {
  const unsigned pixels, channels; // of the image
  const unsigned count, groups;    // channels of a group, and groups
  unsigned image, slice, group, first, last, channel;

  __device__ __forceinline__ Part(unsigned pixels, unsigned channels, unsigned groups, unsigned per, unsigned slices)
      : pixels(pixels), channels(channels), count(channels / groups), groups(groups) {
    const unsigned b = blockIdx.x / groups;
    group = blockIdx.x - b * groups, image = b / slices, slice = b - image * slices;
    first = slice * per, last = min(first + per, pixels), channel = group * count;
  }

  // each calls f for the columns of V channels that the thread has, one after the other: with the channel, its row among rows, and
  // how many columns the block has at a time. All threads call it, and those that have none with a row that no pixel has.
  template <typename F> __device__ __forceinline__ void each(F f) const {
    for (unsigned at = 0; at < count / V; at += 256) {
      const unsigned columns = min(count / V - at, 256u), rows = 256 / columns, row = threadIdx.x / columns;
      f(channel + (at + threadIdx.x - row * columns) * V, row < rows ? row : pixels, rows, columns);
    }
  }

  // at is where a pixel's channel lies.
  __device__ __forceinline__ unsigned long long at(unsigned pixel, unsigned c) const {
    return ((unsigned long long)image * pixels + pixel) * channels + c;
  }
};

template <int V> __device__ __forceinline__ Floats<V> values_at(const float *p, unsigned long long at, unsigned narrow) {
  Floats<V> r;
  load_values(r.v, element(p, at, narrow), narrow);
  return r;
}

// scales are V of gamma or beta, or what stands for them where there are none.
template <int V> __device__ __forceinline__ Floats<V> scales(const float *p, unsigned c, float without) {
  Floats<V> r;
#pragma unroll
  for (int e = 0; e < V; e++) r.v[e] = without;
  if (p) r = *(const Floats<V> *)(p + c);
  return r;
}

// moments_of is the moments of the first n of the values. Their mean is that of what they differ from the first of them by: that of values
// which are all the same is their value.
template <int V> __device__ __forceinline__ Moments moments_of(const Floats<V> (&v)[ROWS], unsigned n) {
  float sum = 0.f, m2 = 0.f;
#pragma unroll
  for (int r = 0; r < ROWS; r++)
#pragma unroll
    for (int e = 0; e < V; e++) sum += r < n ? v[r].v[e] - v[0].v[0] : 0.f;
  const float count = V * n, mean = v[0].v[0] + __fdiv_rn(sum, count);
#pragma unroll
  for (int r = 0; r < ROWS; r++)
#pragma unroll
    for (int e = 0; e < V; e++) {
      const float d = r < n ? v[r].v[e] - mean : 0.f;
      m2 += d * d;
    }
  return {count, mean, m2};
}

// gather is the moments of a block's part, to all threads.
template <int V> __device__ __forceinline__ Moments gather(const Part<V> &part, const float *x, unsigned narrow) {
  Moments all = {};
  part.each([&](unsigned c, unsigned row, unsigned rows, unsigned) {
    for (unsigned p = part.first + row; p < part.last; p += ROWS * rows) {
      const unsigned n = min((part.last - p + rows - 1) / rows, (unsigned)ROWS);
      Floats<V> v[ROWS];
#pragma unroll
      for (unsigned r = 0; r < ROWS; r++)
        if (r < n) v[r] = values_at<V>(x, part.at(p + r * rows, c), narrow);
      all = merge(all, moments_of(v, n));
    }
  });
  return merge_block(all);
}

// What a launch does: it leaves what each slice gives, or it does the rest, or both where there is one slice.
enum { SLICES = 1, REST = 2 };

// normalize does a block's part. slices_of has the moments of each group's slices, unless there is only one slice: image by image,
// slice by slice, group by group. The first slice's block writes stats: a mean and a rstd for each group, image by image.
template <int V>
__device__ __forceinline__ void normalize(float *__restrict__ out, const float *__restrict__ x, const float *__restrict__ gamma,
                                          const float *__restrict__ beta, float *__restrict__ stats, float *slices_of, unsigned pixels,
                                          unsigned channels, unsigned groups, unsigned per, unsigned slices, float eps, int act, float alpha,
                                          unsigned narrow, int what) {
  const Part<V> part(pixels, channels, groups, per, slices);
  Moments m = {};
  if (what & SLICES) {
    m = gather(part, x, narrow & 2);
  } else {
    const unsigned mine = threadIdx.x;
    if (mine < slices) {
      const float *s = slices_of + 3ull * ((unsigned long long)(part.image * slices + mine) * groups + part.group);
      m = {s[0], s[1], s[2]};
    }
    m = merge_block(m);
  }
  if (!(what & REST)) {
    if (threadIdx.x == 0) {
      float *s = slices_of + 3ull * blockIdx.x;
      s[0] = m.n, s[1] = m.mean, s[2] = m.m2;
    }
    return;
  }
  const float rstd = __fdiv_rn(1.f, __fsqrt_rn(__fdiv_rn(m.m2, m.n) + eps)), mean = m.mean;
  if (stats && part.slice == 0 && threadIdx.x == 0) {
    float *s = stats + 2ull * (part.image * groups + part.group);
    s[0] = mean, s[1] = rstd;
  }
  part.each([&](unsigned c, unsigned row, unsigned rows, unsigned) {
    const unsigned first = part.first + row;
    if (first >= part.last) return;
    Floats<V> scale = scales<V>(gamma, c, 1.f), shift = scales<V>(beta, c, 0.f);
#pragma unroll
    for (int e = 0; e < V; e++) scale.v[e] *= rstd;
    for (unsigned p = first; p < part.last; p += rows) {
      Floats<V> v = values_at<V>(x, part.at(p, c), narrow & 2);
#pragma unroll
      for (int e = 0; e < V; e++) v.v[e] = act_value(act, alpha, (v.v[e] - mean) * scale.v[e] + shift.v[e]);
      store_values(element(out, part.at(p, c), narrow & 1), v.v, narrow & 1);
    }
  });
}

// before_act is the gradient before the activation, whose input is y.
__device__ __forceinline__ float before_act(int act, float alpha, float g, float y) {
  return act == LINEAR ? g : act_slope_at(act, alpha, g, y);
}

// Sums are those of the gradients before the activation, which are those of beta, and of them times the normalised values, which are those of
// gamma.
template <int V> struct Sums {
  Floats<V> beta, gamma;
};

// add adds the gradients of V channels of a pixel.
template <int V>
__device__ __forceinline__ void add(Sums<V> &s, const Floats<V> &v, const Floats<V> &g, const Floats<V> &scale, const Floats<V> &shift,
                                    float mean, float rstd, int act, float alpha) {
#pragma unroll
  for (int e = 0; e < V; e++) {
    const float normal = (v.v[e] - mean) * rstd, before = before_act(act, alpha, g.v[e], normal * scale.v[e] + shift.v[e]);
    s.beta.v[e] += before;
    s.gamma.v[e] += before * normal;
  }
}

// add_rows adds the sums of a block's rows of columns; those of the first row are the result. It may be called again if there was one row.
template <int V> __device__ __forceinline__ Sums<V> add_rows(Sums<V> s, unsigned rows, unsigned columns) {
  __shared__ Sums<V> all[256];
  all[threadIdx.x] = s;
  while (rows > 1) {
    const unsigned half = (rows + 1) / 2;
    __syncthreads();
    if (threadIdx.x < (rows - half) * columns) {
      const Sums<V> other = all[threadIdx.x + half * columns];
#pragma unroll
      for (int e = 0; e < V; e++) s.beta.v[e] += other.beta.v[e], s.gamma.v[e] += other.gamma.v[e];
      all[threadIdx.x] = s;
    }
    rows = half;
  }
  return s;
}

// Gradients are where the gradients of gamma and of beta go, or zero: one row for each slice, each row so far behind the one before.
struct Gradients {
  float *gamma, *beta;
  unsigned stride;
};

template <int V> __device__ __forceinline__ void set_gradients(const Gradients &to, unsigned row, unsigned c, const Sums<V> &s) {
  const unsigned long long at = (unsigned long long)row * to.stride + c;
  if (to.gamma) {
#pragma unroll
    for (int e = 0; e < V; e++) to.gamma[at + e] = s.gamma.v[e];
  }
  if (to.beta) {
#pragma unroll
    for (int e = 0; e < V; e++) to.beta[at + e] = s.beta.v[e];
  }
}

// back does a block's part of the gradients: with the sums b of gamma times the gradient before the activation, over a group, and g of
// that times the normalised values n, gradX = rstd (gamma gradient - (b + n g) / count). slices_of has b and g of each group's slices: image by image,
// slice by slice, group by group.
template <int V>
__device__ __forceinline__ void back(float *__restrict__ gradX, const float *__restrict__ gradOut, const float *__restrict__ x,
                                     const float *__restrict__ gamma, const float *__restrict__ beta, const float *__restrict__ stats,
                                     float *slices_of, const Gradients &to, unsigned pixels, unsigned channels, unsigned groups,
                                     unsigned per, unsigned slices, int act, float alpha, unsigned narrow, int what) {
  const Part<V> part(pixels, channels, groups, per, slices);
  const float *of = stats + 2ull * (part.image * groups + part.group);
  const float mean = of[0], rstd = of[1];
  float b = 0.f, g = 0.f;
  if (what & SLICES) {
    part.each([&](unsigned c, unsigned row, unsigned rows, unsigned columns) {
      const unsigned first = part.first + row;
      Sums<V> s = {};
      Floats<V> scale = {};
      if (row < rows) {
        scale = scales<V>(gamma, c, 1.f);
        const Floats<V> shift = scales<V>(beta, c, 0.f);
        for (unsigned p = first; p < part.last; p += rows) {
          const unsigned long long at = part.at(p, c);
          add(s, values_at<V>(x, at, narrow & 4), values_at<V>(gradOut, at, narrow & 2), scale, shift, mean, rstd, act, alpha);
        }
      }
      s = add_rows(s, rows, columns);
      if (threadIdx.x < columns) {
        set_gradients(to, part.image * slices + part.slice, c, s);
#pragma unroll
        for (int e = 0; e < V; e++) b += __fmul_rn(scale.v[e], s.beta.v[e]), g += __fmul_rn(scale.v[e], s.gamma.v[e]);
      }
    });
  } else if (threadIdx.x < slices) {
    const float *s = slices_of + 2ull * ((unsigned long long)(part.image * slices + threadIdx.x) * groups + part.group);
    b = s[0], g = s[1];
  }
  b = block_total(b), g = block_total(g);
  if (!(what & REST)) {
    if (threadIdx.x == 0) slices_of[2ull * blockIdx.x] = b, slices_of[2ull * blockIdx.x + 1] = g;
    return;
  }
  const float count = (float)part.count * pixels;
  b = __fdiv_rn(b, count), g = __fdiv_rn(g, count);
  part.each([&](unsigned c, unsigned row, unsigned rows, unsigned) {
    const unsigned first = part.first + row;
    if (first >= part.last) return;
    const Floats<V> scale = scales<V>(gamma, c, 1.f), shift = scales<V>(beta, c, 0.f);
    for (unsigned p = first; p < part.last; p += rows) {
      const unsigned long long at = part.at(p, c);
      Floats<V> v = values_at<V>(x, at, narrow & 4), d = values_at<V>(gradOut, at, narrow & 2);
#pragma unroll
      for (int e = 0; e < V; e++) {
        const float normal = (v.v[e] - mean) * rstd, before = before_act(act, alpha, d.v[e], normal * scale.v[e] + shift.v[e]);
        v.v[e] = rstd * (__fmul_rn(scale.v[e], before) - (b + normal * g));
      }
      store_values(element(gradX, at, narrow & 1), v.v, narrow & 1);
    }
  });
}

// The same with statistics of each pixel's channels. A warp has a pixel.
template <int V>
__device__ __forceinline__ void normalize_pixel(float *__restrict__ out, const float *__restrict__ x, const float *__restrict__ gamma,
                                                const float *__restrict__ beta, float *__restrict__ stats, unsigned pixels,
                                                unsigned channels, float eps, int act, float alpha, unsigned narrow) {
  const unsigned pixel = thread_index() / 32, lane = threadIdx.x % 32;
  if (pixel >= pixels) return;
  const unsigned long long at = (unsigned long long)pixel * channels;
  const float from = values_at<1>(x, at, narrow & 2).v[0];
  float sum = 0.f, m2 = 0.f;
  for (unsigned c = lane * V; c < channels; c += 32 * V) {
    const Floats<V> v = values_at<V>(x, at + c, narrow & 2);
#pragma unroll
    for (int e = 0; e < V; e++) sum += v.v[e] - from;
  }
  const float mean = from + __fdiv_rn(warp_sum(sum), (float)channels);
  for (unsigned c = lane * V; c < channels; c += 32 * V) {
    const Floats<V> v = values_at<V>(x, at + c, narrow & 2);
#pragma unroll
    for (int e = 0; e < V; e++) m2 += (v.v[e] - mean) * (v.v[e] - mean);
  }
  const float rstd = __fdiv_rn(1.f, __fsqrt_rn(__fdiv_rn(warp_sum(m2), (float)channels) + eps));
  if (stats && lane == 0) stats[2ull * pixel] = mean, stats[2ull * pixel + 1] = rstd;
  for (unsigned c = lane * V; c < channels; c += 32 * V) {
    Floats<V> v = values_at<V>(x, at + c, narrow & 2);
    const Floats<V> scale = scales<V>(gamma, c, 1.f), shift = scales<V>(beta, c, 0.f);
#pragma unroll
    for (int e = 0; e < V; e++) v.v[e] = act_value(act, alpha, (v.v[e] - mean) * rstd * scale.v[e] + shift.v[e]);
    store_values(element(out, at + c, narrow & 1), v.v, narrow & 1);
  }
}

template <int V>
__device__ __forceinline__ void back_pixel(float *__restrict__ gradX, const float *__restrict__ gradOut, const float *__restrict__ x,
                                           const float *__restrict__ gamma, const float *__restrict__ beta,
                                           const float *__restrict__ stats, unsigned pixels, unsigned channels, int act, float alpha,
                                           unsigned narrow) {
  const unsigned pixel = thread_index() / 32, lane = threadIdx.x % 32;
  if (pixel >= pixels) return;
  const unsigned long long at = (unsigned long long)pixel * channels;
  const float mean = stats[2ull * pixel], rstd = stats[2ull * pixel + 1];
  float b = 0.f, g = 0.f;
  for (unsigned c = lane * V; c < channels; c += 32 * V) {
    const Floats<V> scale = scales<V>(gamma, c, 1.f);
    Sums<V> s = {};
    add(s, values_at<V>(x, at + c, narrow & 4), values_at<V>(gradOut, at + c, narrow & 2), scale, scales<V>(beta, c, 0.f), mean, rstd, act,
        alpha);
#pragma unroll
    for (int e = 0; e < V; e++) b += __fmul_rn(scale.v[e], s.beta.v[e]), g += __fmul_rn(scale.v[e], s.gamma.v[e]);
  }
  b = __fdiv_rn(warp_sum(b), (float)channels), g = __fdiv_rn(warp_sum(g), (float)channels);
  for (unsigned c = lane * V; c < channels; c += 32 * V) {
    const Floats<V> scale = scales<V>(gamma, c, 1.f), shift = scales<V>(beta, c, 0.f);
    Floats<V> v = values_at<V>(x, at + c, narrow & 4), d = values_at<V>(gradOut, at + c, narrow & 2);
#pragma unroll
    for (int e = 0; e < V; e++) {
      const float normal = (v.v[e] - mean) * rstd, before = before_act(act, alpha, d.v[e], normal * scale.v[e] + shift.v[e]);
      v.v[e] = rstd * (__fmul_rn(scale.v[e], before) - (b + normal * g));
    }
    store_values(element(gradX, at + c, narrow & 1), v.v, narrow & 1);
  }
}

// scales_back is the gradients of gamma and beta with statistics of each pixel: a block has a slice of all pixels, of which it makes
// one row of sums.
template <int V>
__device__ __forceinline__ void scales_back(const float *__restrict__ gradOut, const float *__restrict__ x,
                                            const float *__restrict__ gamma, const float *__restrict__ beta,
                                            const float *__restrict__ stats, const Gradients &to, unsigned pixels, unsigned channels,
                                            unsigned per, int act, float alpha, unsigned narrow) {
  const Part<V> part(pixels, channels, 1, per, gridDim.x);
  part.each([&](unsigned c, unsigned row, unsigned rows, unsigned columns) {
    Sums<V> s = {};
    if (row < rows) {
      const Floats<V> scale = scales<V>(gamma, c, 1.f), shift = scales<V>(beta, c, 0.f);
      for (unsigned p = part.first + row; p < part.last; p += rows) {
        const unsigned long long at = part.at(p, c);
        add(s, values_at<V>(x, at, narrow & 2), values_at<V>(gradOut, at, narrow & 1), scale, shift, stats[2ull * p], stats[2ull * p + 1],
            act, alpha);
      }
    }
    s = add_rows(s, rows, columns);
    if (threadIdx.x < columns) set_gradients(to, part.slice, c, s);
  });
}

#define ENTRIES(suffix, V)                                                                                              \
  extern "C" __global__ void __launch_bounds__(256) groupnorm_forward##suffix(                                          \
      float *__restrict__ out, const float *__restrict__ x, const float *__restrict__ gamma,                            \
      const float *__restrict__ beta, float *__restrict__ stats, float *slices_of, unsigned pixels, unsigned channels,  \
      unsigned groups, unsigned per, unsigned slices, float eps, int act, float alpha, unsigned narrow, int what) {     \
    normalize<V>(out, x, gamma, beta, stats, slices_of, pixels, channels, groups, per, slices, eps, act, alpha, narrow, \
                 what);                                                                                                 \
  }                                                                                                                     \
  extern "C" __global__ void __launch_bounds__(256) groupnorm_back##suffix(                                             \
      float *__restrict__ gradX, const float *__restrict__ gradOut, const float *__restrict__ x,                        \
      const float *__restrict__ gamma, const float *__restrict__ beta, const float *__restrict__ stats,                 \
      float *slices_of, float *grad_gamma, float *grad_beta, unsigned stride, unsigned pixels, unsigned channels,       \
      unsigned groups, unsigned per, unsigned slices, int act, float alpha, unsigned narrow, int what) {                \
    back<V>(gradX, gradOut, x, gamma, beta, stats, slices_of, {grad_gamma, grad_beta, stride}, pixels, channels,        \
            groups, per, slices, act, alpha, narrow, what);                                                             \
  }                                                                                                                     \
  extern "C" __global__ void __launch_bounds__(256) groupnorm_pixels##suffix(                                           \
      float *__restrict__ out, const float *__restrict__ x, const float *__restrict__ gamma,                            \
      const float *__restrict__ beta, float *__restrict__ stats, unsigned pixels, unsigned channels, float eps,         \
      int act, float alpha, unsigned narrow) {                                                                          \
    normalize_pixel<V>(out, x, gamma, beta, stats, pixels, channels, eps, act, alpha, narrow);                          \
  }                                                                                                                     \
  extern "C" __global__ void __launch_bounds__(256) groupnorm_pixels_back##suffix(                                      \
      float *__restrict__ gradX, const float *__restrict__ gradOut, const float *__restrict__ x,                        \
      const float *__restrict__ gamma, const float *__restrict__ beta, const float *__restrict__ stats,                 \
      unsigned pixels, unsigned channels, int act, float alpha, unsigned narrow) {                                      \
    back_pixel<V>(gradX, gradOut, x, gamma, beta, stats, pixels, channels, act, alpha, narrow);                         \
  }                                                                                                                     \
  extern "C" __global__ void __launch_bounds__(256) groupnorm_scales_back##suffix(                                      \
      const float *__restrict__ gradOut, const float *__restrict__ x, const float *__restrict__ gamma,                  \
      const float *__restrict__ beta, const float *__restrict__ stats, float *grad_gamma, float *grad_beta,             \
      unsigned stride, unsigned pixels, unsigned channels, unsigned per, int act, float alpha, unsigned narrow) {       \
    scales_back<V>(gradOut, x, gamma, beta, stats, {grad_gamma, grad_beta, stride}, pixels, channels, per, act,         \
                   alpha, narrow);                                                                                      \
  }

ENTRIES(, 1)
ENTRIES(4, 4)
