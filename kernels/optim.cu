#include "partial.cuh"

// An optimiser is a rule of N vectors, the parameters and then its states, of which those that are not given are null: step updates element i of each by
// its gradient. The learning rate is the step's. Each has two kernels: one in which thread i owns elements 4i to 4i+3 of all vectors, and one that
// adds up partial sums of the gradients first.

// Tally is a total to which a multiple of the loss is added, if there is one.
struct Tally {
  float *total;
  const float *loss;
  float weight;
};

// update updates n parameters.
template <class Rule> __device__ __forceinline__ void update(const Rule &rule, const float *grad, unsigned n, const Tally &tally) {
  if (tally.total && thread_index() == 0) *tally.total += tally.weight * *tally.loss;
  const unsigned i = 4 * thread_index();
  if (i >= n) return;
  Four x[Rule::N] = {};
#pragma unroll
  for (int k = 0; k < Rule::N; k++)
    if (rule.of[k]) x[k] = load4(rule.of[k], i, n);
  const Four g = load4(grad, i, n);
#pragma unroll
  for (int e = 0; e < 4; e++) {
    float one[Rule::N];
#pragma unroll
    for (int k = 0; k < Rule::N; k++) one[k] = x[k].v[e];
    rule.step(one, g.v[e]);
#pragma unroll
    for (int k = 0; k < Rule::N; k++) x[k].v[e] = one[k];
  }
#pragma unroll
  for (int k = 0; k < Rule::N; k++)
    if (rule.of[k]) store4(rule.of[k], i, n, x[k]);
}

// Parameters are n of them with their gradients, which get the sums that are added up. The sum that is the loss of the tally is no parameter's.
template <class Rule> struct Parameters {
  Rule rule;
  const float *grad;
  unsigned n;
  Tally tally;

  template <int V> struct Columns {
    Floats<V> *to, g, x[Rule::N];
    unsigned long long offset; // of the gradient in bytes, and so of the parameter and its states

    __device__ __forceinline__ bool there(const Parameters &p) const { return offset < 4ull * p.n; }
    __device__ __forceinline__ Floats<V> *of(float *vector) const { return (Floats<V> *)((char *)vector + offset); }

    __device__ __forceinline__ void load(const Parameters &p, float *at) {
      to = (Floats<V> *)at, g = *to, offset = (unsigned long long)at - (unsigned long long)p.grad;
#pragma unroll
      for (int k = 0; k < Rule::N; k++)
        if (there(p) && p.rule.of[k]) x[k] = *of(p.rule.of[k]);
    }

    __device__ __forceinline__ void take(const Parameters &p, const Floats<V> &sum) {
      plus(g, sum);
      *to = g;
      if (!there(p)) {
        if (p.tally.total) *p.tally.total += p.tally.weight * g.v[0];
        return;
      }
#pragma unroll
      for (int e = 0; e < V; e++) {
        float one[Rule::N];
#pragma unroll
        for (int k = 0; k < Rule::N; k++) one[k] = x[k].v[e];
        p.rule.step(one, g.v[e]);
#pragma unroll
        for (int k = 0; k < Rule::N; k++) x[k].v[e] = one[k];
      }
#pragma unroll
      for (int k = 0; k < Rule::N; k++)
        if (p.rule.of[k]) *of(p.rule.of[k]) = x[k];
    }
  };
};

#define TALLY_PARAMS float *__restrict__ total, const float *__restrict__ loss, float weight
#define TALLY                                                                                                          \
  { total, loss, weight }

// v = momentum v + g; p -= lr v, or with Nesterov p -= lr (g + momentum v). velocity is null when momentum is 0.
struct SGD {
  enum { N = 2 };
  float *of[N];
  float lr, momentum;
  int nesterov;

  __device__ __forceinline__ void step(float (&x)[N], float g) const {
    if (of[1]) {
      x[1] = momentum * x[1] + g;
      g = nesterov ? g + momentum * x[1] : x[1];
    }
    x[0] -= lr * g;
  }
};

#define SGD_PARAMS                                                                                                     \
  float *__restrict__ param, float *__restrict__ velocity, const float *__restrict__ grad,                             \
      const StepParams *__restrict__ params, unsigned n, float factor, float momentum, int nesterov, TALLY_PARAMS
#define SGD_RULE                                                                                                       \
  SGD { {param, velocity}, params->lr * factor, momentum, nesterov }

extern "C" __global__ void optim_sgd(SGD_PARAMS) { update(SGD_RULE, grad, n, TALLY); }

extern "C" __global__ void __launch_bounds__(256, 4) optim_sgd_sums(ALL_SUMS_PARAMS, SGD_PARAMS) {
  SUMS_OF_BLOCK(s)
  add_up(s, Parameters<SGD>{SGD_RULE, grad, n, TALLY});
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
struct Adam {
  enum { N = 3 };
  float *of[N];
  float keep1, keep2, eps, shrink, rate, correction2;

  __device__ __forceinline__ Adam(float *param, float *m, float *v, const StepParams &c, float factor, float keep1, float keep2, float eps, float decay)
      : of{param, m, v}, keep1(keep1), keep2(keep2), eps(eps), shrink(1.f - factor * c.lr * decay),
        rate(__fdiv_rn(factor * c.lr, c.correction1)), correction2(c.correction2) {}

  __device__ __forceinline__ void step(float (&x)[N], float g) const {
    x[1] += keep1 * (g - x[1]);
    x[2] += keep2 * (g * g - x[2]);
    x[0] = x[0] * shrink - quotient(rate * x[1], root_of_quotient(x[2], correction2) + eps);
  }
};

#define ADAM_PARAMS                                                                                                    \
  float *__restrict__ param, float *__restrict__ m, float *__restrict__ v, const float *__restrict__ grad,             \
      const StepParams *__restrict__ params, unsigned n, float factor, float keep1, float keep2, float eps, float decay, TALLY_PARAMS
#define ADAM_RULE Adam(param, m, v, *params, factor, keep1, keep2, eps, decay)

extern "C" __global__ void optim_adam(ADAM_PARAMS) { update(ADAM_RULE, grad, n, TALLY); }

extern "C" __global__ void __launch_bounds__(256, 4) optim_adam_sums(ALL_SUMS_PARAMS, ADAM_PARAMS) {
  SUMS_OF_BLOCK(s)
  add_up(s, Parameters<Adam>{ADAM_RULE, grad, n, TALLY});
}

// m += (1-b1)(g-m); v += (1-b2)(g²-v); p -= (lr/c1 m + lr g) / (sqrt(v/c2) + eps), where keep1 = 1-b1, keep2 = 1-b2, and lr, c1 and c2 are
// the step's.
struct Nadam {
  enum { N = 3 };
  float *of[N];
  float keep1, keep2, eps, lr, rate, correction2;

  __device__ __forceinline__ Nadam(float *param, float *m, float *v, const StepParams &c, float factor, float keep1, float keep2, float eps)
      : of{param, m, v}, keep1(keep1), keep2(keep2), eps(eps), lr(factor * c.lr), rate(__fdiv_rn(lr, c.correction1)),
        correction2(c.correction2) {}

  __device__ __forceinline__ void step(float (&x)[N], float g) const {
    x[1] += keep1 * (g - x[1]);
    x[2] += keep2 * (g * g - x[2]);
    x[0] -= quotient(rate * x[1] + lr * g, root_of_quotient(x[2], correction2) + eps);
  }
};

#define NADAM_PARAMS                                                                                                   \
  float *__restrict__ param, float *__restrict__ m, float *__restrict__ v, const float *__restrict__ grad,             \
      const StepParams *__restrict__ params, unsigned n, float factor, float keep1, float keep2, float eps, TALLY_PARAMS
#define NADAM_RULE Nadam(param, m, v, *params, factor, keep1, keep2, eps)

extern "C" __global__ void optim_nadam(NADAM_PARAMS) { update(NADAM_RULE, grad, n, TALLY); }

extern "C" __global__ void __launch_bounds__(256, 4) optim_nadam_sums(ALL_SUMS_PARAMS, NADAM_PARAMS) {
  SUMS_OF_BLOCK(s)
  add_up(s, Parameters<Nadam>{NADAM_RULE, grad, n, TALLY});
}

// a = rho a + (1-rho) g²; d = sqrt(u+eps)/sqrt(a+eps) g; u = rho u + (1-rho) d²; p -= lr d, where a is accGrad and u is
// accDelta.
struct Adadelta {
  enum { N = 3 };
  float *of[N];
  float lr, rho, eps;

  __device__ __forceinline__ void step(float (&x)[N], float g) const {
    const float keep = 1.f - rho;
    x[1] = rho * x[1] + keep * (g * g);
    const float d = __fdiv_rn(__fsqrt_rn(x[2] + eps), __fsqrt_rn(x[1] + eps)) * g;
    x[2] = rho * x[2] + keep * (d * d);
    x[0] -= lr * d;
  }
};

#define ADADELTA_PARAMS                                                                                                \
  float *__restrict__ param, float *__restrict__ accGrad, float *__restrict__ accDelta, const float *__restrict__ grad, \
      const StepParams *__restrict__ params, unsigned n, float factor, float rho, float eps, TALLY_PARAMS
#define ADADELTA_RULE                                                                                                  \
  Adadelta { {param, accGrad, accDelta}, params->lr * factor, rho, eps }

extern "C" __global__ void optim_adadelta(ADADELTA_PARAMS) { update(ADADELTA_RULE, grad, n, TALLY); }

extern "C" __global__ void __launch_bounds__(256, 4) optim_adadelta_sums(ALL_SUMS_PARAMS, ADADELTA_PARAMS) {
  SUMS_OF_BLOCK(s)
  add_up(s, Parameters<Adadelta>{ADADELTA_RULE, grad, n, TALLY});
}

// v = rho v + (1-rho) g²; d = lr g / sqrt(v+eps); p -= d, or with momentum s = momentum s + d; p -= s. speed, s, is null when
// momentum is 0.
struct RMSprop {
  enum { N = 3 };
  float *of[N];
  float lr, rho, momentum, eps;

  __device__ __forceinline__ void step(float (&x)[N], float g) const {
    x[1] = rho * x[1] + (1.f - rho) * (g * g);
    float d = quotient(lr * g, __fsqrt_rn(x[1] + eps));
    if (of[2]) d += momentum * x[2], x[2] = d;
    x[0] -= d;
  }
};

#define RMSPROP_PARAMS                                                                                                 \
  float *__restrict__ param, float *__restrict__ v, float *__restrict__ speed, const float *__restrict__ grad,         \
      const StepParams *__restrict__ params, unsigned n, float factor, float rho, float momentum, float eps, TALLY_PARAMS
#define RMSPROP_RULE                                                                                                   \
  RMSprop { {param, v, speed}, params->lr * factor, rho, momentum, eps }

extern "C" __global__ void optim_rmsprop(RMSPROP_PARAMS) { update(RMSPROP_RULE, grad, n, TALLY); }

extern "C" __global__ void __launch_bounds__(256, 4) optim_rmsprop_sums(ALL_SUMS_PARAMS, RMSPROP_PARAMS) {
  SUMS_OF_BLOCK(s)
  add_up(s, Parameters<RMSprop>{RMSPROP_RULE, grad, n, TALLY});
}

// u = b1 m + (1-b1) g; p = (1 - lr decay) p - lr sign(u), where the sign of 0 is 0; m = b2 m + (1-b2) g.
struct Lion {
  enum { N = 2 };
  float *of[N];
  float lr, b1, b2, decay;

  __device__ __forceinline__ void step(float (&x)[N], float g) const {
    const float u = b1 * x[1] + (1.f - b1) * g;
    x[1] = b2 * x[1] + (1.f - b2) * g;
    const float step = u > 0.f ? lr : u < 0.f ? -lr : u; // 0, or not a number
    x[0] = x[0] * (1.f - lr * decay) - step;
  }
};

#define LION_PARAMS                                                                                                    \
  float *__restrict__ param, float *__restrict__ m, const float *__restrict__ grad, const StepParams *__restrict__ params, \
      unsigned n, float factor, float b1, float b2, float decay, TALLY_PARAMS
#define LION_RULE                                                                                                      \
  Lion { {param, m}, params->lr * factor, b1, b2, decay }

extern "C" __global__ void optim_lion(LION_PARAMS) { update(LION_RULE, grad, n, TALLY); }

extern "C" __global__ void __launch_bounds__(256, 4) optim_lion_sums(ALL_SUMS_PARAMS, LION_PARAMS) {
  SUMS_OF_BLOCK(s)
  add_up(s, Parameters<Lion>{LION_RULE, grad, n, TALLY});
}

// Lamb's update of a parameter by its moments. u = m/c1 / (sqrt(v/c2) + eps) + decay p, where c1 and c2 are the step's bias corrections.
struct Direction {
  float eps, decay, correction1, correction2;

  __device__ __forceinline__ float of(float p, float m, float v) const {
    return quotient(__fdiv_rn(m, correction1), root_of_quotient(v, correction2) + eps) + decay * p;
  }
};

// m += (1-b1)(g-m); v += (1-b2)(g²-v), where keep1 = 1-b1 and keep2 = 1-b2; then partials = the blocks' sums of p², and behind them those of u².
// Blocks of 256 threads take the elements in turns, four a thread.
extern "C" __global__ void optim_lamb_moments(float *__restrict__ partials, float *__restrict__ m, float *__restrict__ v,
                                              const float *__restrict__ param, const float *__restrict__ grad,
                                              const StepParams *__restrict__ params, unsigned n, float keep1, float keep2, float eps,
                                              float decay) {
  const Direction u = {eps, decay, params->correction1, params->correction2};
  float parameters = 0.f, directions = 0.f;
  for (unsigned q = thread_index(); q < (n + 3) / 4; q += gridDim.x * blockDim.x) {
    const Four p = load4(param, 4 * q, n), g = load4(grad, 4 * q, n);
    Four first = load4(m, 4 * q, n), second = load4(v, 4 * q, n);
#pragma unroll
    for (int k = 0; k < 4; k++) {
      first.v[k] += keep1 * (g.v[k] - first.v[k]);
      second.v[k] += keep2 * (g.v[k] * g.v[k] - second.v[k]);
      const float d = u.of(p.v[k], first.v[k], second.v[k]);
      parameters += p.v[k] * p.v[k];
      directions += d * d;
    }
    store4(m, 4 * q, n, first);
    store4(v, 4 * q, n, second);
  }
  parameters = block_total(parameters);
  directions = block_total(directions);
  if (threadIdx.x == 0) partials[blockIdx.x] = parameters, partials[gridDim.x + blockIdx.x] = directions;
}

// p -= factor lr ratio u, where the ratio is that of the norms of all p and all u, or 1 where one of them is 0. Every block of 256 threads adds up the
// count partial sums of both, in one order. Thread i owns elements 4i to 4i+3.
extern "C" __global__ void optim_lamb(float *__restrict__ param, const float *__restrict__ m, const float *__restrict__ v,
                                      const float *__restrict__ partials, const StepParams *__restrict__ params, unsigned n,
                                      unsigned count, float factor, float eps, float decay, TALLY_PARAMS) {
  float parameters = 0.f, directions = 0.f;
  for (unsigned i = threadIdx.x; i < count; i += 256) parameters += partials[i], directions += partials[count + i];
  const float above = __fsqrt_rn(block_total(parameters)), below = __fsqrt_rn(block_total(directions));
  const float ratio = above > 0.f && below > 0.f ? __fdiv_rn(above, below) : 1.f;
  if (total && thread_index() == 0) *total += weight * *loss;
  const unsigned i = 4 * thread_index();
  if (i >= n) return;
  const Direction u = {eps, decay, params->correction1, params->correction2};
  const float rate = factor * params->lr * ratio;
  Four p = load4(param, i, n);
  const Four first = load4(m, i, n), second = load4(v, i, n);
#pragma unroll
  for (int k = 0; k < 4; k++) p.v[k] -= rate * u.of(p.v[k], first.v[k], second.v[k]);
  store4(param, i, n, p);
}
