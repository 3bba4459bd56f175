#include "act.cuh"

// out = act(x). Thread i owns elements 4i to 4i+3. out may be x.
extern "C" __global__ void act_forward(float *out, const float *x, unsigned n, int act, float alpha, unsigned narrow) {
  unsigned i = 4 * thread_index();
  if (i >= n) return;
  Four v = load4(x, i, n, narrow & 2);
#pragma unroll
  for (int k = 0; k < 4; k++) v.v[k] = act_value(act, alpha, v.v[k]);
  store4(out, i, n, v, narrow & 1);
}

// gradX = gradOut times the derivative of act, whose output is of; of SILU, GELU and GELU_TANH it is the input. Thread i owns elements
// 4i to 4i+3. gradX may be gradOut.
extern "C" __global__ void act_back(float *gradX, const float *gradOut, const float *of, unsigned n, int act, float alpha,
                                    unsigned narrow) {
  unsigned i = 4 * thread_index();
  if (i >= n) return;
  Four g = load4(gradOut, i, n, narrow & 2), v = load4(of, i, n, narrow & 4);
#pragma unroll
  for (int k = 0; k < 4; k++) g.v[k] = act_slope(act, alpha, g.v[k], v.v[k]);
  store4(gradX, i, n, g, narrow & 1);
}

// out = scale x + offset, with a product that is rounded. Thread i owns elements 4i to 4i+3. out may be x.
extern "C" __global__ void act_rescale(float *out, const float *x, unsigned n, float scale, float offset, unsigned narrow) {
  unsigned i = 4 * thread_index();
  if (i >= n) return;
  Four v = load4(x, i, n, narrow & 2);
#pragma unroll
  for (int k = 0; k < 4; k++) v.v[k] = __fadd_rn(__fmul_rn(scale, v.v[k]), offset);
  store4(out, i, n, v, narrow & 1);
}
