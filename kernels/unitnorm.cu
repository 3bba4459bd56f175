#include "common.cuh"

// The vector of each pixel, of all its channels, divided by its length: out = scales x / (|x| + eps). A warp has a pixel, of which its threads take
// the channels in turns. Without scales these are 1.

// along calls f for the channels of a pixel that a thread has, one after the other.
template <typename F> __device__ __forceinline__ void along(unsigned channels, F f) {
  for (unsigned c = threadIdx.x % 32; c < channels; c += 32) f(c);
}

__device__ __forceinline__ float value_at(const float *p, unsigned long long at, unsigned narrow) {
  float v[1];
  load_values(v, element(p, at, narrow), narrow);
  return v[0];
}

__device__ __forceinline__ void set_value(float *p, unsigned long long at, unsigned narrow, float v) {
  store_values<1>(element(p, at, narrow), {v}, narrow);
}

extern "C" __global__ void __launch_bounds__(256) unitnorm_forward(float *__restrict__ out, const float *__restrict__ x,
                                                                   const float *__restrict__ scales, unsigned pixels, unsigned channels,
                                                                   float eps, unsigned narrow) {
  const unsigned pixel = thread_index() / 32;
  if (pixel >= pixels) return;
  const unsigned long long first = (unsigned long long)pixel * channels;
  float sum = 0.f;
  along(channels, [&](unsigned c) {
    const float v = value_at(x, first + c, narrow & 2);
    sum += v * v;
  });
  const float share = __fdiv_rn(1.f, __fsqrt_rn(warp_sum(sum)) + eps);
  along(channels, [&](unsigned c) {
    const float v = value_at(x, first + c, narrow & 2) * share;
    set_value(out, first + c, narrow & 1, scales ? v * scales[c] : v);
  });
}

// gradX = (g - x/(|x| + eps) (g x)/|x|) / (|x| + eps), where g = scales gradOut; 0 for a vector of zeros.
extern "C" __global__ void __launch_bounds__(256) unitnorm_back(float *__restrict__ gradX, const float *__restrict__ gradOut,
                                                                const float *__restrict__ x, const float *__restrict__ scales,
                                                                unsigned pixels, unsigned channels, float eps, unsigned narrow) {
  const unsigned pixel = thread_index() / 32;
  if (pixel >= pixels) return;
  const unsigned long long first = (unsigned long long)pixel * channels;
  const auto up = [&](unsigned c) {
    const float g = value_at(gradOut, first + c, narrow & 2);
    return scales ? g * scales[c] : g;
  };
  float sum = 0.f, product = 0.f;
  along(channels, [&](unsigned c) {
    const float v = value_at(x, first + c, narrow & 4);
    sum += v * v, product += up(c) * v;
  });
  const float length = __fsqrt_rn(warp_sum(sum)), share = __fdiv_rn(1.f, length + eps);
  const float slope = __fdiv_rn(warp_sum(product), length);
  along(channels, [&](unsigned c) {
    const float v = value_at(x, first + c, narrow & 4);
    set_value(gradX, first + c, narrow & 1, length == 0.f ? 0.f : share * (up(c) - slope * (v * share)));
  });
}
