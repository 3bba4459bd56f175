#include "common.cuh"

// out = act(x). Thread i owns elements 4i to 4i+3. out may be x.
extern "C" __global__ void act_forward(float *out, const float *x, unsigned n, int act, unsigned narrow) {
  unsigned i = 4 * thread_index();
  if (i >= n) return;
  Four v = load4(x, i, n, narrow & 2);
#pragma unroll
  for (int k = 0; k < 4; k++) v.v[k] = act_apply(act, v.v[k]);
  store4(out, i, n, v, narrow & 1);
}

// gradX = gradOut times the derivative of act, whose output is out. Thread i owns elements 4i to 4i+3. gradX may be
// gradOut.
extern "C" __global__ void act_back(float *gradX, const float *gradOut, const float *out, unsigned n, int act,
                                    unsigned narrow) {
  unsigned i = 4 * thread_index();
  if (i >= n) return;
  Four g = load4(gradOut, i, n, narrow & 2), y = load4(out, i, n, narrow & 4);
#pragma unroll
  for (int k = 0; k < 4; k++) g.v[k] = act_derive(act, g.v[k], y.v[k]);
  store4(gradX, i, n, g, narrow & 1);
}
