#include "common.cuh"

// dst += alpha src. Thread i owns elements 4i to 4i+3. dst may be src.
extern "C" __global__ void vector_axpy(float *dst, const float *src, unsigned n, float alpha, unsigned narrow) {
  unsigned i = 4 * thread_index();
  if (i >= n) return;
  Four d = load4(dst, i, n, narrow & 1), s = load4(src, i, n, narrow & 2);
#pragma unroll
  for (int k = 0; k < 4; k++) d.v[k] += alpha * s.v[k];
  store4(dst, i, n, d, narrow & 1);
}

// dst = s0 + s1 + ..., the first count of eight, added in this order. Thread i owns element i. dst may be any of them.
extern "C" __global__ void vector_sum(float *dst, unsigned n, unsigned count, const float *s0, const float *s1,
                                      const float *s2, const float *s3, const float *s4, const float *s5, const float *s6,
                                      const float *s7) {
  unsigned i = thread_index();
  if (i >= n) return;
  const float *src[] = {s0, s1, s2, s3, s4, s5, s6, s7};
  float sum = s0[i];
#pragma unroll
  for (unsigned k = 1; k < 8; k++)
    if (k < count) sum += src[k][i];
  dst[i] = sum;
}

// One thread sets a StepParams.
extern "C" __global__ void vector_clock(StepParams *dst, unsigned step, unsigned draw, unsigned offset, float lr,
                                        float correction1, float correction2, float divergence, float temperature) {
  *dst = StepParams{step, draw, offset, lr, correction1, correction2, divergence, temperature};
}
