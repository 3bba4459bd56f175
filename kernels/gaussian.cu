#include "random.cuh"

// A Gaussian code: stats has, for each pixel, the means of the code's channels and then the logarithms of their variances.
// Threads own blocks of four elements of a code's image, as in random.cu; element e of an image of the code has its mean at
// e + e/channels*channels in that of stats, and its logarithm of the variance channels further on.

// code = mean + exp(logvar/2) eps, with eps as random_normal draws it; without step parameters code = mean.
extern "C" __global__ void gaussian_sample(float *__restrict__ code, const float *__restrict__ stats,
                                           const StepParams *__restrict__ params, unsigned n, unsigned size, unsigned channels,
                                           unsigned first, unsigned k0, unsigned k1, unsigned stream) {
  unsigned i = thread_index(), blocks = (size + 3) / 4, image = i / blocks, block = i - image * blocks;
  if (image >= n) return;
  unsigned long long at = (unsigned long long)image * size;
  const float *from = stats + 2 * at;
  Four z;
  if (params) z = normals(philox(block, first + image, params->step, stream, k0, k1));
#pragma unroll
  for (unsigned k = 0; k < 4; k++) {
    unsigned e = 4 * block + k, mean = e + e / channels * channels;
    if (e >= size) break;
    code[at + e] = from[mean] + (params ? expf(0.5f * from[mean + channels]) * z.v[k] : 0.f);
  }
}

// With w = scale params.divergence: partials = the blocks' sums of w (mean² + exp(logvar) - 1 - logvar)/2; the gradient of the
// mean is gradCode + w mean, that of logvar gradCode eps exp(logvar/2)/2 + w (exp(logvar) - 1)/2. Blocks of 256 threads
// take the blocks of elements in turns.
extern "C" __global__ void gaussian_back(float *__restrict__ partials, float *__restrict__ gradStats,
                                         const float *__restrict__ gradCode, const float *__restrict__ stats,
                                         const StepParams *__restrict__ params, unsigned n, unsigned size, unsigned channels,
                                         unsigned first, unsigned k0, unsigned k1, unsigned stream, float scale) {
  unsigned blocks = (size + 3) / 4;
  float sum = 0.f, w = scale * params->divergence;
  for (unsigned i = thread_index(); i < n * blocks; i += gridDim.x * blockDim.x) {
    unsigned image = i / blocks, block = i - image * blocks;
    unsigned long long at = (unsigned long long)image * size;
    const float *from = stats + 2 * at;
    float *to = gradStats + 2 * at;
    Four z = normals(philox(block, first + image, params->step, stream, k0, k1));
#pragma unroll
    for (unsigned k = 0; k < 4; k++) {
      unsigned e = 4 * block + k, mean = e + e / channels * channels;
      if (e >= size) break;
      float m = from[mean], v = from[mean + channels], s = expf(0.5f * v), g = gradCode[at + e], s2 = expf(v);
      sum += 0.5f * (m * m + (s2 - 1.f - v));
      to[mean] = g + w * m;
      to[mean + channels] = 0.5f * (g * z.v[k] * s + w * (s2 - 1.f));
    }
  }
  sum = block_sum(sum);
  if (threadIdx.x == 0) partials[blockIdx.x] = w * sum;
}

// out = stats, whose logarithms of variances are clamped to [low, high]; NaN stays NaN. Thread i owns element i, of a mean if the channel
// i modulo 2 channels is below channels.
extern "C" __global__ void gaussian_clamp(float *__restrict__ out, const float *__restrict__ stats, unsigned n, unsigned channels, float low,
                                          float high) {
  unsigned i = thread_index();
  if (i >= n) return;
  float v = stats[i];
  if (i / channels % 2) {
    if (v < low) v = low;
    if (v > high) v = high;
  }
  out[i] = v;
}

// gradStats = gradOut, and 0 for a logarithm of a variance outside [low, high]. Thread i owns element i.
extern "C" __global__ void gaussian_clamp_back(float *__restrict__ gradStats, const float *__restrict__ gradOut,
                                               const float *__restrict__ stats, unsigned n, unsigned channels, float low, float high) {
  unsigned i = thread_index();
  if (i >= n) return;
  gradStats[i] = i / channels % 2 && (stats[i] < low || stats[i] > high) ? 0.f : gradOut[i];
}
