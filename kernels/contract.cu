#include "random.cuh"

// Of h = act(x wᵀ + bias), with d the derivative of act at h and s[j] the sum of w[j][i]²: gradH += 2 scale d d' s[j], where
// d' is the derivative of d with respect to h; gradW[j][i] += 2 scale w[j][i] times the sum over n images of d²; partials =
// the blocks' sums of d² s[j]. Blocks of 256 threads take the out units in turns.
extern "C" __global__ void contract_dense(float *__restrict__ partials, float *__restrict__ gradH, float *__restrict__ gradW,
                                          const float *__restrict__ h, const float *__restrict__ w, unsigned n, unsigned in,
                                          unsigned out, int act, float scale) {
  float sum = 0.f;
  for (unsigned j = blockIdx.x; j < out; j += gridDim.x) {
    const float *row = w + (unsigned long long)j * in;
    float *grad = gradW + (unsigned long long)j * in;
    float s = 0.f, q = 0.f;
    for (unsigned i = threadIdx.x; i < in; i += 256) s += row[i] * row[i];
    s = block_total(s);
    for (unsigned k = threadIdx.x; k < n; k += 256) {
      unsigned at = k * out + j;
      float y = h[at], d = act_derive(act, 1.f, y), slope = act == SIGMOID ? 1.f - 2.f * y : act == TANH ? -2.f * y : 0.f;
      q += d * d;
      gradH[at] += 2.f * scale * (d * slope * s);
    }
    q = block_total(q);
    for (unsigned i = threadIdx.x; i < in; i += 256) grad[i] += 2.f * scale * q * row[i];
    sum += q * s;
  }
  if (threadIdx.x == 0) partials[blockIdx.x] = sum;
}

// out = x + std normal, drawn as random_normal does. Thread i owns one block of four elements of an image, as there.
extern "C" __global__ void contract_perturb(float *__restrict__ out, const float *__restrict__ x, const StepParams *__restrict__ params,
                                            unsigned n, unsigned size, unsigned first, unsigned k0, unsigned k1,
                                            unsigned stream, float std) {
  unsigned i = thread_index(), blocks = (size + 3) / 4, image = i / blocks, block = i - image * blocks;
  if (image >= n) return;
  unsigned long long at = (unsigned long long)image * size;
  Four v = load4(x + at, 4 * block, size), z = normals(philox(block, first + image, params->step, stream, k0, k1));
#pragma unroll
  for (int k = 0; k < 4; k++) v.v[k] = __fadd_rn(v.v[k], __fmul_rn(std, z.v[k]));
  store4(out + at, 4 * block, size, v);
}
