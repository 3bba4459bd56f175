#include "common.cuh"

// Thread i owns elements 4i to 4i+3, except where it is said.

// v = min(max(v, -limit), limit); NaN stays NaN.
extern "C" __global__ void clip_value(float *v, unsigned n, float limit) {
  unsigned i = 4 * thread_index();
  if (i >= n) return;
  Four x = load4(v, i, n);
#pragma unroll
  for (int k = 0; k < 4; k++) {
    if (x.v[k] > limit) x.v[k] = limit;
    if (x.v[k] < -limit) x.v[k] = -limit;
  }
  store4(v, i, n, x);
}

// partials = the blocks' sums of src². Blocks of 256 threads take the elements in turns, four a thread.
extern "C" __global__ void clip_squares(float *__restrict__ partials, const float *__restrict__ src, unsigned n) {
  float sum = 0.f;
  for (unsigned q = thread_index(); q < (n + 3) / 4; q += gridDim.x * blockDim.x) {
    Four x = load4(src, 4 * q, n);
#pragma unroll
    for (int k = 0; k < 4; k++) sum += x.v[k] * x.v[k];
  }
  sum = block_sum(sum);
  if (threadIdx.x == 0) partials[blockIdx.x] = sum;
}

// v *= min(1, limit / sqrt(the sum of count squares)). Every block of 256 threads adds up all squares, in one order.
extern "C" __global__ void clip_norm(float *v, const float *__restrict__ squares, unsigned n, unsigned count, float limit) {
  float sum = 0.f;
  for (unsigned i = threadIdx.x; i < count; i += 256) sum += squares[i];
  float norm = __fsqrt_rn(block_total(sum));
  unsigned i = 4 * thread_index();
  if (i >= n || norm <= limit) return;
  float factor = __fdiv_rn(limit, norm);
  Four x = load4(v, i, n);
#pragma unroll
  for (int k = 0; k < 4; k++) x.v[k] *= factor;
  store4(v, i, n, x);
}
