#include "random.cuh"

// block_top returns the largest v of a block of 256 threads to all of them.
__device__ __forceinline__ float block_top(float v) {
  __shared__ float warps[8];
#pragma unroll
  for (unsigned lane = 16; lane > 0; lane /= 2) v = fmaxf(v, __shfl_xor_sync(0xffffffffu, v, lane));
  if (threadIdx.x % 32 == 0) warps[threadIdx.x / 32] = v;
  __syncthreads();
  v = warps[0];
#pragma unroll
  for (unsigned w = 1; w < 8; w++) v = fmaxf(v, warps[w]);
  __syncthreads();
  return v;
}

// Row j of m = softmax((logits + g) / params.temperature), where g = -ln(-ln u) are Gumbel's numbers: u = (word>>8 | 1) 2^-24,
// row j of draw params.step. Without step parameters: 1 at the first of the largest logits, else 0. A block of 256 threads owns a row
// of size elements; thread i takes every 256th from i on.
extern "C" __global__ void concrete_select(float *__restrict__ m, const float *__restrict__ logits,
                                           const StepParams *__restrict__ params, unsigned size, unsigned k0, unsigned k1,
                                           unsigned stream) {
  unsigned row = blockIdx.x;
  const float *from = logits + (unsigned long long)row * size;
  float *to = m + (unsigned long long)row * size, most = __uint_as_float(0xff800000u), sum = 0.f;
  for (unsigned i = threadIdx.x; i < size; i += 256) {
    float v = from[i];
    if (params) {
      Words w = philox(i / 4, row, params->step, stream, k0, k1);
      unsigned word = i & 2 ? (i & 1 ? w.v[3] : w.v[2]) : (i & 1 ? w.v[1] : w.v[0]);
      v = __fdiv_rn(v - logf(-logf(__fmul_rn((float)(word >> 8 | 1), 1.f / (1 << 24)))), params->temperature);
      to[i] = v;
    }
    most = fmaxf(most, v);
  }
  most = block_top(most);
  if (params) {
    for (unsigned i = threadIdx.x; i < size; i += 256) sum += to[i] = expf(to[i] - most);
    sum = block_total(sum);
    for (unsigned i = threadIdx.x; i < size; i += 256) to[i] = __fdiv_rn(to[i], sum);
    return;
  }
  float last = -(float)size; // minus the first place of the maximum
  for (unsigned i = threadIdx.x; i < size; i += 256)
    if (from[i] == most) last = fmaxf(last, -(float)i);
  last = block_top(last);
  for (unsigned i = threadIdx.x; i < size; i += 256) to[i] = -(float)i == last ? 1.f : 0.f;
}

// out[image][j] = the sum over i of m[j][i] x[image][i]. A warp owns an element of n images of rows elements.
extern "C" __global__ void concrete_pick(float *__restrict__ out, const float *__restrict__ x, const float *__restrict__ m,
                                         unsigned n, unsigned rows, unsigned size) {
  unsigned at = thread_index() / 32, lane = threadIdx.x % 32;
  if (at >= n * rows) return;
  const float *a = x + (unsigned long long)(at / rows) * size, *b = m + (unsigned long long)(at % rows) * size;
  float sum = 0.f;
  for (unsigned i = lane; i < size; i += 32) sum += a[i] * b[i];
  sum = warp_sum(sum);
  if (lane == 0) out[at] = sum;
}

// gradLogits[j][i] += m[j][i] (g[i] - the sum of m[j][k] g[k]) / params.temperature, where g[i] is the sum over images of
// gradOut[image][j] x[image][i]. A block of 256 threads owns row j.
extern "C" __global__ void concrete_back(float *__restrict__ gradLogits, const float *__restrict__ gradOut,
                                         const float *__restrict__ x, const float *__restrict__ m,
                                         const StepParams *__restrict__ params, unsigned n, unsigned rows, unsigned size) {
  unsigned j = blockIdx.x;
  const float *p = m + (unsigned long long)j * size;
  float *to = gradLogits + (unsigned long long)j * size, mean = 0.f;
  for (int pass = 0; pass < 2; pass++) {
    for (unsigned i = threadIdx.x; i < size; i += 256) {
      float g = 0.f;
      for (unsigned k = 0; k < n; k++) g += gradOut[k * rows + j] * x[(unsigned long long)k * size + i];
      if (pass == 0)
        mean += p[i] * g;
      else
        to[i] += __fdiv_rn(p[i] * (g - mean), params->temperature);
    }
    if (pass == 0) mean = block_total(mean);
  }
}
