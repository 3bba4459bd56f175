#include "common.cuh"

// Thread i owns elements 4i to 4i+3 of all vectors. The learning rate is the step's.

// tally adds a multiple of the loss to a total, if there is one.
__device__ __forceinline__ void tally(float *total, const float *loss, float weight) {
  if (total && thread_index() == 0) *total += weight * *loss;
}

#define TALLY_PARAMS float *__restrict__ total, const float *__restrict__ loss, float weight

// v = momentum v + g; p -= lr v, or with Nesterov p -= lr (g + momentum v). velocity is 0 when momentum is.
extern "C" __global__ void optim_sgd(float *__restrict__ param, float *__restrict__ velocity, const float *__restrict__ grad,
                                     const StepParams *__restrict__ params, unsigned n, float momentum, int nesterov,
                                     TALLY_PARAMS) {
  tally(total, loss, weight);
  unsigned i = 4 * thread_index();
  if (i >= n) return;
  float lr = params->lr;
  Four p = load4(param, i, n), g = load4(grad, i, n);
  if (velocity) {
    Four v = load4(velocity, i, n);
#pragma unroll
    for (int k = 0; k < 4; k++) {
      v.v[k] = momentum * v.v[k] + g.v[k];
      g.v[k] = nesterov ? g.v[k] + momentum * v.v[k] : v.v[k];
    }
    store4(velocity, i, n, v);
  }
#pragma unroll
  for (int k = 0; k < 4; k++) p.v[k] -= lr * g.v[k];
  store4(param, i, n, p);
}

// quotient is a/b, and root_of_quotient its square root. Exact divisions and roots take a slow path where a is 0, and many
// gradients always are, such as those of the weights of a picture's black border: 1 is divided in place of 0.
__device__ __forceinline__ float quotient(float a, float b) {
  bool zero = a == 0.f && b > 0.f;
  float q = __fdiv_rn(zero ? 1.f : a, b);
  return zero ? a : q;
}

__device__ __forceinline__ float root_of_quotient(float a, float b) {
  bool zero = a == 0.f && b > 0.f;
  float r = __fsqrt_rn(__fdiv_rn(zero ? 1.f : a, b));
  return zero ? a : r;
}

// m += (1-b1)(g-m); v += (1-b2)(g²-v); p = (1 - lr decay) p - lr/c1 m / (sqrt(v/c2) + eps), where keep1 = 1-b1,
// keep2 = 1-b2, and c1 and c2 are the step's bias corrections.
extern "C" __global__ void optim_adam(float *__restrict__ param, float *__restrict__ m, float *__restrict__ v,
                                      const float *__restrict__ grad, const StepParams *__restrict__ params, unsigned n, float keep1,
                                      float keep2, float eps, float decay, TALLY_PARAMS) {
  tally(total, loss, weight);
  unsigned i = 4 * thread_index();
  if (i >= n) return;
  StepParams c = *params;
  float shrink = 1.f - c.lr * decay, step = __fdiv_rn(c.lr, c.correction1);
  Four p = load4(param, i, n), a = load4(m, i, n), b = load4(v, i, n), g = load4(grad, i, n);
#pragma unroll
  for (int k = 0; k < 4; k++) {
    a.v[k] += keep1 * (g.v[k] - a.v[k]);
    b.v[k] += keep2 * (g.v[k] * g.v[k] - b.v[k]);
    float root = root_of_quotient(b.v[k], c.correction2);
    p.v[k] = p.v[k] * shrink - quotient(step * a.v[k], root + eps);
  }
  store4(m, i, n, a);
  store4(v, i, n, b);
  store4(param, i, n, p);
}

// a = rho a + (1-rho) g²; d = sqrt(u+eps)/sqrt(a+eps) g; u = rho u + (1-rho) d²; p -= lr d, where a is accGrad and u is
// accDelta.
extern "C" __global__ void optim_adadelta(float *__restrict__ param, float *__restrict__ accGrad,
                                          float *__restrict__ accDelta, const float *__restrict__ grad,
                                          const StepParams *__restrict__ params, unsigned n, float rho, float eps,
                                          TALLY_PARAMS) {
  tally(total, loss, weight);
  unsigned i = 4 * thread_index();
  if (i >= n) return;
  float lr = params->lr, keep = 1.f - rho;
  Four p = load4(param, i, n), a = load4(accGrad, i, n), u = load4(accDelta, i, n), g = load4(grad, i, n);
#pragma unroll
  for (int k = 0; k < 4; k++) {
    a.v[k] = rho * a.v[k] + keep * (g.v[k] * g.v[k]);
    float d = __fdiv_rn(__fsqrt_rn(u.v[k] + eps), __fsqrt_rn(a.v[k] + eps)) * g.v[k];
    u.v[k] = rho * u.v[k] + keep * (d * d);
    p.v[k] -= lr * d;
  }
  store4(accGrad, i, n, a);
  store4(accDelta, i, n, u);
  store4(param, i, n, p);
}

// v = rho v + (1-rho) g²; d = lr g / sqrt(v+eps); p -= d, or with momentum s = momentum s + d; p -= s. speed, s, is 0 when
// momentum is.
extern "C" __global__ void optim_rmsprop(float *__restrict__ param, float *__restrict__ v, float *__restrict__ speed,
                                         const float *__restrict__ grad, const StepParams *__restrict__ params, unsigned n, float rho,
                                         float momentum, float eps, TALLY_PARAMS) {
  tally(total, loss, weight);
  unsigned i = 4 * thread_index();
  if (i >= n) return;
  float lr = params->lr, keep = 1.f - rho;
  Four p = load4(param, i, n), a = load4(v, i, n), g = load4(grad, i, n);
#pragma unroll
  for (int k = 0; k < 4; k++) {
    a.v[k] = rho * a.v[k] + keep * (g.v[k] * g.v[k]);
    g.v[k] = quotient(lr * g.v[k], __fsqrt_rn(a.v[k] + eps));
  }
  store4(v, i, n, a);
  if (speed) {
    Four s = load4(speed, i, n);
#pragma unroll
    for (int k = 0; k < 4; k++) g.v[k] += momentum * s.v[k];
    store4(speed, i, n, g);
  }
#pragma unroll
  for (int k = 0; k < 4; k++) p.v[k] -= g.v[k];
  store4(param, i, n, p);
}

// u = b1 m + (1-b1) g; p = (1 - lr decay) p - lr sign(u), where the sign of 0 is 0; m = b2 m + (1-b2) g.
extern "C" __global__ void optim_lion(float *__restrict__ param, float *__restrict__ m, const float *__restrict__ grad,
                                      const StepParams *__restrict__ params, unsigned n, float b1, float b2, float decay, TALLY_PARAMS) {
  tally(total, loss, weight);
  unsigned i = 4 * thread_index();
  if (i >= n) return;
  float lr = params->lr, shrink = 1.f - lr * decay;
  Four p = load4(param, i, n), a = load4(m, i, n), g = load4(grad, i, n);
#pragma unroll
  for (int k = 0; k < 4; k++) {
    float u = b1 * a.v[k] + (1.f - b1) * g.v[k];
    a.v[k] = b2 * a.v[k] + (1.f - b2) * g.v[k];
    float step = u > 0.f ? lr : u < 0.f ? -lr : u; // 0, or not a number
    p.v[k] = p.v[k] * shrink - step;
  }
  store4(m, i, n, a);
  store4(param, i, n, p);
}
