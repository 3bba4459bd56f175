#include "act.cuh"

// Normalisation by the statistics of a batch: out = act(gamma (x - mean) rstd + beta), where rstd = 1 / sqrt(variance + eps).
//
// Activations are pixels, each of groups of V channels: every kernel that takes them is there for V = 1 and for V = 4, which wants a number
// of channels that is a multiple of 4. A pass over all pixels leaves a row of statistics, or of sums, for each of its stretches of pixels, and
// what is done once for the batch goes over the rows of all passes.

// ROWS is how many pixels a thread asks for before it uses the first; with activations, whose code is long, they are PAIR.
enum { ROWS = 8, PAIR = 2 };

// Norm is what V channels are normalised by.
template <int V> struct Norm {
  Floats<V> mean, rstd, gamma, beta;

  __device__ __forceinline__ Norm(const float *means, const float *variances, const float *gammas, const float *betas, float eps, unsigned group) {
    mean = group_of<V>(means, group, 0), rstd = group_of<V>(variances, group, 0);
#pragma unroll
    for (int e = 0; e < V; e++) rstd.v[e] = __fdiv_rn(1.f, __fsqrt_rn(rstd.v[e] + eps)), gamma.v[e] = 1.f, beta.v[e] = 0.f;
    if (gammas) gamma = group_of<V>(gammas, group, 0);
    if (betas) beta = group_of<V>(betas, group, 0);
  }

  // value is the normalised value of x before the activation.
  __device__ __forceinline__ float value(int e, float x) const { return (x - mean.v[e]) * (rstd.v[e] * gamma.v[e]) + beta.v[e]; }

  // before is the gradient before the activation.
  __device__ __forceinline__ float before(int e, int act, float alpha, float g, float x) const {
    if (act == LINEAR) return g;
    const float v = value(e, x);
    return act_slope(act, alpha, g, act >= SILU && act <= GELU_TANH ? v : act_value(act, alpha, v));
  }
};

// Part is what a thread has of a stretch of pixels: a group of channels, of every rows-th pixel from its row on. Blocks have 256 threads;
// those along y have 256 groups each.
struct Part {
  unsigned groups, columns, rows, column, row, group, first, last;

  __device__ __forceinline__ Part(unsigned pixels, unsigned groups, unsigned stretch) : groups(groups) {
    const unsigned at = 256 * blockIdx.y;
    columns = min(groups - at, 256u), rows = 256 / columns, row = threadIdx.x / columns, column = threadIdx.x - row * columns;
    group = at + column, first = min(blockIdx.x * stretch, pixels), last = min(first + stretch, pixels);
    if (row >= rows) first = last; // a thread that is left over
  }

  // each calls f with the first of each R pixels of the thread, and how many there are: those every rows-th from there on.
  template <int R, typename F> __device__ __forceinline__ void each(F f) const {
    for (unsigned p = first + row; p < last; p += R * rows) f(p, min((last - p + rows - 1) / rows, (unsigned)R));
  }

  // gather calls f with the distance of the threads that a thread has to add to its own until those of row 0 have those of all rows; keep is
  // called before, to leave what a thread has in shared memory.
  template <typename K, typename F> __device__ __forceinline__ void gather(K keep, F add) const {
    keep();
    __syncthreads();
    for (unsigned left = rows; left > 1;) {
      const unsigned half = (left + 1) / 2;
      if (row + half < left) {
        add(threadIdx.x + half * columns);
        keep();
      }
      left = half;
      __syncthreads();
    }
  }
};

// load reads the thread's groups of the first n of R pixels from p on.
template <int V, int R> __device__ __forceinline__ void load(Floats<V> (&v)[R], const float *x, const Part &part, unsigned p, unsigned n, unsigned narrow) {
#pragma unroll
  for (unsigned r = 0; r < R; r++)
    if (r < n) v[r] = group_of<V>(x, (unsigned long long)(p + r * part.rows) * part.groups + part.group, narrow);
}

// merge adds moments of n values to those of count values, which are as much as share of all (Chan, Golub and LeVeque, 1979).
__device__ __forceinline__ void merge(float &mean, float &m2, float count, float share, float other, float other2) {
  const float d = other - mean;
  mean += d * share;
  m2 += other2 + d * d * (count * share);
}

// Row number blockIdx.x of rows: the means of a stretch of pixels, the sums of the squared differences from them, and the number of pixels. A
// thread takes the moments of ROWS pixels at a time, of the differences from the first pixel of the stretch: so means that are large beside the
// deviations cost no digits of these, and the mean of values which are all the same is their value.
template <int V>
__device__ __forceinline__ void statistics(float *rows, const float *x, unsigned pixels, unsigned channels, unsigned stretch, unsigned narrow) {
  const Part part(pixels, channels / V, stretch);
  __shared__ Floats<V> means[256], squares[256];
  __shared__ float counts[256];
  Floats<V> mean = {}, m2 = {}, from = {};
  float count = 0.f;
  if (part.first < part.last) from = group_of<V>(x, (unsigned long long)part.first * part.groups + part.group, narrow);
  part.each<ROWS>([&](unsigned p, unsigned n) {
    Floats<V> v[ROWS];
    load(v, x, part, p, n, narrow);
    const float more = n, all = count + more, share = __fdiv_rn(more, all), each = __fdiv_rn(1.f, more);
#pragma unroll
    for (int e = 0; e < V; e++) {
      float sum = 0.f, sum2 = 0.f;
#pragma unroll
      for (unsigned r = 0; r < ROWS; r++) {
        v[r].v[e] = r < n ? v[r].v[e] - from.v[e] : 0.f;
        sum += v[r].v[e];
      }
      const float middle = sum * each;
#pragma unroll
      for (unsigned r = 0; r < ROWS; r++) {
        const float d = r < n ? v[r].v[e] - middle : 0.f;
        sum2 += d * d;
      }
      merge(mean.v[e], m2.v[e], count, share, middle, sum2);
    }
    count = all;
  });
  part.gather([&] { means[threadIdx.x] = mean, squares[threadIdx.x] = m2, counts[threadIdx.x] = count; },
              [&](unsigned other) {
                if (counts[other] == 0.f) return;
                const float all = count + counts[other], share = __fdiv_rn(counts[other], all);
#pragma unroll
                for (int e = 0; e < V; e++) merge(mean.v[e], m2.v[e], count, share, means[other].v[e], squares[other].v[e]);
                count = all;
              });
  if (part.row > 0) return;
  rows += (unsigned long long)blockIdx.x * (2 * channels + 1);
#pragma unroll
  for (int e = 0; e < V; e++) rows[V * part.group + e] = from.v[e] + mean.v[e], rows[channels + V * part.group + e] = m2.v[e];
  if (part.group == 0) rows[2 * channels] = count;
}

// Row number blockIdx.x of rows: the sums over a stretch of pixels of the gradients before the activation, and of these times (x - mean) rstd.
template <int V>
__device__ __forceinline__ void sums(float *rows, const float *gradOut, const float *x, const Norm<V> &norm, const Part &part, unsigned channels, int act,
                                     float alpha, unsigned narrow) {
  __shared__ Floats<V> shared[2][256];
  Floats<V> sum[2] = {};
  part.each<PAIR>([&](unsigned p, unsigned n) {
    Floats<V> v[PAIR], g[PAIR];
    load(g, gradOut, part, p, n, narrow & 1);
    load(v, x, part, p, n, narrow & 2);
#pragma unroll
    for (unsigned r = 0; r < PAIR; r++)
#pragma unroll
      for (int e = 0; e < V; e++) {
        const float before = r < n ? norm.before(e, act, alpha, g[r].v[e], v[r].v[e]) : 0.f;
        sum[0].v[e] += before;
        sum[1].v[e] += r < n ? before * ((v[r].v[e] - norm.mean.v[e]) * norm.rstd.v[e]) : 0.f;
      }
  });
  part.gather([&] { shared[0][threadIdx.x] = sum[0], shared[1][threadIdx.x] = sum[1]; },
              [&](unsigned other) {
#pragma unroll
                for (int k = 0; k < 2; k++)
#pragma unroll
                  for (int e = 0; e < V; e++) sum[k].v[e] += shared[k][other].v[e];
              });
  if (part.row > 0) return;
  rows += (unsigned long long)blockIdx.x * (2 * channels);
#pragma unroll
  for (int k = 0; k < 2; k++)
#pragma unroll
    for (int e = 0; e < V; e++) rows[k * channels + V * part.group + e] = sum[k].v[e];
}

// Thread i owns every stride-th of n groups from the i-th on; stride is a multiple of the number of groups of a pixel, so its channels stay.
#define ENTRIES(suffix, V)                                                                                                                            \
  extern "C" __global__ void __launch_bounds__(256) batchnorm_statistics##suffix(                                                                     \
      float *__restrict__ rows, const float *__restrict__ x, unsigned pixels, unsigned channels, unsigned stretch, unsigned narrow) {                 \
    statistics<V>(rows, x, pixels, channels, stretch, narrow);                                                                                        \
  }                                                                                                                                                   \
  extern "C" __global__ void __launch_bounds__(256)                                                                                                   \
      batchnorm_sums##suffix(float *__restrict__ rows, const float *__restrict__ gradOut, const float *__restrict__ x,                                \
                             const float *__restrict__ mean, const float *__restrict__ variance, const float *__restrict__ gamma,                     \
                             const float *__restrict__ beta, unsigned pixels, unsigned channels, unsigned stretch, float eps, int act,                \
                             float alpha, unsigned narrow) {                                                                                                       \
    const Part part(pixels, channels / V, stretch);                                                                                                   \
    sums<V>(rows, gradOut, x, Norm<V>(mean, variance, gamma, beta, eps, part.group), part, channels, act, alpha, narrow);                                    \
  }                                                                                                                                                   \
  extern "C" __global__ void __launch_bounds__(256)                                                                                                   \
      batchnorm_forward##suffix(float *__restrict__ out, const float *__restrict__ x, const float *__restrict__ mean,                                 \
                                const float *__restrict__ variance, const float *__restrict__ gamma, const float *__restrict__ beta, unsigned n,      \
                                unsigned groups, unsigned stride, float eps, int act, float alpha, unsigned narrow) {                                              \
    const unsigned i = thread_index();                                                                                                                \
    if (i >= stride) return;                                                                                                                          \
    const Norm<V> norm(mean, variance, gamma, beta, eps, i % groups);                                                                                 \
    _Pragma("unroll 1") for (unsigned at = i; at < n; at += stride) {                                                                                 \
      Floats<V> v = group_of<V>(x, at, narrow & 2);                                                                                                   \
      _Pragma("unroll") for (int e = 0; e < V; e++) v.v[e] = act_value(act, alpha, norm.value(e, v.v[e]));                                                   \
      set_group(out, at, v, narrow & 1);                                                                                                              \
    }                                                                                                                                                 \
  }                                                                                                                                                   \
  extern "C" __global__ void __launch_bounds__(256)                                                                                                   \
      batchnorm_back##suffix(float *__restrict__ gradX, const float *__restrict__ gradOut, const float *__restrict__ x,                               \
                             const float *__restrict__ totals, const float *__restrict__ mean, const float *__restrict__ variance,                    \
                             const float *__restrict__ gamma, const float *__restrict__ beta, unsigned n, unsigned groups, unsigned stride,           \
                             float share, float eps, int act, float alpha, unsigned narrow) {                                                                      \
    const unsigned i = thread_index();                                                                                                                \
    if (i >= stride) return;                                                                                                                          \
    const Norm<V> norm(mean, variance, gamma, beta, eps, i % groups);                                                                                 \
    const Floats<V> t = group_of<V>(totals, i % groups, 0), u = group_of<V>(totals, groups + i % groups, 0);                                          \
    _Pragma("unroll 1") for (unsigned at = i; at < n; at += stride) {                                                                                 \
      Floats<V> v = group_of<V>(x, at, narrow & 4);                                                                                                   \
      const Floats<V> g = group_of<V>(gradOut, at, narrow & 2);                                                                                       \
      _Pragma("unroll") for (int e = 0; e < V; e++) {                                                                                                 \
        const float h = (v.v[e] - norm.mean.v[e]) * norm.rstd.v[e];                                                                                   \
        v.v[e] = norm.gamma.v[e] * norm.rstd.v[e] * (norm.before(e, act, alpha, g.v[e], v.v[e]) - (t.v[e] + h * u.v[e]) * share);                            \
      }                                                                                                                                               \
      set_group(gradX, at, v, narrow & 1);                                                                                                            \
    }                                                                                                                                                 \
  }

ENTRIES(, 1)
ENTRIES(4, 4)

// What is done once takes eight columns of the rows a block, by 32 threads each, of which thread t takes rows t, t + 32, ...; what the threads have
// is then put together by halves.
enum { COLUMNS = 8, THREADS = 32 };

// moments = the means of all rows together, and then the variances; moving = momentum moving + (1 - momentum) these, of which the variance is
// larger by n/(n-1) if unbiased is set.
extern "C" __global__ void __launch_bounds__(256)
    batchnorm_moments(float *__restrict__ moments, float *__restrict__ moving_mean, float *__restrict__ moving_variance, const float *__restrict__ rows,
                      unsigned n, unsigned channels, float momentum, unsigned unbiased) {
  __shared__ float counts[256], means[256], squares[256];
  const unsigned c = COLUMNS * blockIdx.x + threadIdx.x % COLUMNS, t = threadIdx.x / COLUMNS;
  float count = 0.f, mean = 0.f, m2 = 0.f;
  auto add = [&](float more, float other, float other2) {
    if (more == 0.f) return;
    const float all = count + more;
    merge(mean, m2, count, __fdiv_rn(more, all), other, other2);
    count = all;
  };
  if (c < channels)
    for (unsigned r = t; r < n; r += THREADS) {
      const float *row = rows + (unsigned long long)r * (2 * channels + 1);
      add(row[2 * channels], row[c], row[channels + c]);
    }
  for (unsigned half = THREADS / 2; half > 0; half /= 2) {
    counts[threadIdx.x] = count, means[threadIdx.x] = mean, squares[threadIdx.x] = m2;
    __syncthreads();
    const unsigned other = threadIdx.x + half * COLUMNS;
    if (t < half) add(counts[other], means[other], squares[other]);
    __syncthreads();
  }
  if (t > 0 || c >= channels) return;
  float variance = __fdiv_rn(m2, count);
  moments[c] = mean, moments[channels + c] = variance;
  if (unbiased && count > 1.f) variance = __fdiv_rn(m2, count - 1.f);
  moving_mean[c] = momentum * moving_mean[c] + (1.f - momentum) * mean;
  moving_variance[c] = momentum * moving_variance[c] + (1.f - momentum) * variance;
}

// totals = the sums of the rows, each of the gradients' sums and then of those times normalised values: beta += the first half, gamma += the
// second, unless they are 0.
extern "C" __global__ void __launch_bounds__(256) batchnorm_totals(float *__restrict__ totals, float *__restrict__ gamma, float *__restrict__ beta,
                                                                   const float *__restrict__ rows, unsigned n, unsigned channels) {
  __shared__ float sums[256];
  const unsigned c = COLUMNS * blockIdx.x + threadIdx.x % COLUMNS, t = threadIdx.x / COLUMNS;
  float sum = 0.f;
  if (c < 2 * channels)
    for (unsigned r = t; r < n; r += THREADS) sum += rows[(unsigned long long)r * (2 * channels) + c];
  for (unsigned half = THREADS / 2; half > 0; half /= 2) {
    sums[threadIdx.x] = sum;
    __syncthreads();
    if (t < half) sum += sums[threadIdx.x + half * COLUMNS];
    __syncthreads();
  }
  if (t > 0 || c >= 2 * channels) return;
  totals[c] = sum;
  float *to = c < channels ? beta : gamma;
  if (to) to[c % channels] += sum;
}
