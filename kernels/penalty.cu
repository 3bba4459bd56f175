#include "common.cuh"

// partials = the blocks' sums of l1 |x| + l2 x²; grad += l1 sign(x) + 2 l2 x. Blocks of 256 threads take the elements in
// turns, four a thread.
extern "C" __global__ void penalty_norms(float *__restrict__ partials, float *__restrict__ grad, const float *__restrict__ x,
                                         unsigned n, float l1, float l2) {
  float sum = 0.f;
  for (unsigned q = thread_index(); q < (n + 3) / 4; q += gridDim.x * blockDim.x) {
    Four v = load4(x, 4 * q, n), g = load4(grad, 4 * q, n);
#pragma unroll
    for (int k = 0; k < 4; k++) {
      float a = v.v[k];
      sum += l1 * fabsf(a) + l2 * (a * a);
      g.v[k] += (a > 0.f ? l1 : a < 0.f ? -l1 : 0.f) + 2.f * l2 * a;
    }
    store4(grad, 4 * q, n, g);
  }
  sum = block_sum(sum);
  if (threadIdx.x == 0) partials[blockIdx.x] = sum;
}

// dst[j] += the sum over n images of x[image][j]. Thread j owns element j of size.
extern "C" __global__ void penalty_columns(float *__restrict__ dst, const float *__restrict__ x, unsigned n, unsigned size) {
  unsigned j = thread_index();
  if (j >= size) return;
  float sum = 0.f;
  for (unsigned i = 0; i < n; i++) sum += x[(unsigned long long)i * size + j];
  dst[j] += sum;
}

// With r = share sums[j], held within [1e-6, 1-1e-6]: loss += weight sum of rho ln(rho/r) + (1-rho) ln((1-rho)/(1-r));
// grad[j] = weight share ((1-rho)/(1-r) - rho/r). One block of 256 threads; thread i takes every 256th from i on.
extern "C" __global__ void penalty_sparse(float *__restrict__ loss, float *__restrict__ grad, const float *__restrict__ sums,
                                          unsigned n, float weight, float rho, float share) {
  float sum = 0.f, scale = weight * share;
  for (unsigned j = threadIdx.x; j < n; j += 256) {
    float r = share * sums[j];
    r = r < 1e-6f ? 1e-6f : r > 1.f - 1e-6f ? 1.f - 1e-6f : r; // NaN stays NaN
    float on = __fdiv_rn(rho, r), off = __fdiv_rn(1.f - rho, 1.f - r);
    sum += rho * logf(on) + (1.f - rho) * logf(off);
    grad[j] = scale * (off - on);
  }
  sum = block_sum(sum);
  if (threadIdx.x == 0) *loss += weight * sum;
}

// x[image][j] += row[j]. Thread i owns element i of n; size is that of an image.
extern "C" __global__ void penalty_row(float *__restrict__ x, const float *__restrict__ row, unsigned n, unsigned size) {
  unsigned i = thread_index();
  if (i < n) x[i] += row[i % size];
}
