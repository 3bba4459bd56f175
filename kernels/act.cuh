// Activation functions by themselves and, for kernels that apply them to what they have computed, their values and derivatives of one element.
#pragma once
#include "common.cuh"

// Act of common.cuh goes on with those that convolutions and dense layers do not fuse; backend.Act has the same numbers. Those with a
// parameter take alpha.
enum { LEAKY_RELU = TANH + 1, ELU, SILU, GELU, GELU_TANH, SOFTPLUS, SOFTSIGN };

// Gate is the p of an activation x p(x), and the derivative of p. Both are finite for all x but NaN: x is held within ±128 where they
// are taken, as p is 0 or 1 beyond in float32.
struct Gate {
  float p, slope;
};

// sigmoid_gate is that of p(x) = sigmoid(z(x)), dz the derivative of z. With e = exp(-|z|), p is 1/(1+e), times e where z < 0, and
// p (1-p) = e/(1+e)² has no difference in it.
__device__ __forceinline__ Gate sigmoid_gate(float z, float dz) {
  const float e = expf(-fabsf(z)), r = __fdiv_rn(1.f, 1.f + e), q = e * r;
  return {z < 0.f ? q : r, q * r * dz};
}

// normal_gate is that of p = Phi, the standard normal distribution. Phi(-u) for u >= 0 is exp(-u²/2) times a function that falls slowly: with
// t = 1/(1+0.35u) it is t times a polynomial of t, off by 2^-24.9 of itself at most for u <= 13.4 (a fit by Remez's algorithm), beyond which
// the exponential is 0. What u² rounds off is made good, so the error stays a few units in the last place however small Phi is.
__device__ __forceinline__ Gate normal_gate(float x) {
  const float u = fabsf(x), square = u * u, rest = fmaf(u, u, -square);
  float e = expf(-0.5f * square);
  e = fmaf(-0.5f * rest, e, e);
  const float t = __fdiv_rn(1.f, fmaf(0.35f, u, 1.f));
  float s = -0.029120665522859093f;
  s = fmaf(s, t, 0.1438464467034744f);
  s = fmaf(s, t, -0.25545016274688487f);
  s = fmaf(s, t, 0.15886571547019987f);
  s = fmaf(s, t, -0.02289226147900201f);
  s = fmaf(s, t, 0.10541340863899824f);
  s = fmaf(s, t, 0.11985753499523871f);
  s = fmaf(s, t, 0.1398583549929743f);
  s = fmaf(s, t, 0.13962161308480975f);
  const float q = e * t * s;
  return {x < 0.f ? q : 1.f - q, 0.3989422804014327f * e};
}

// gate_of returns the gate of SILU, GELU or GELU_TANH.
__device__ __forceinline__ Gate gate_of(int act, float x) {
  if (act == SILU) return sigmoid_gate(x, 1.f);
  if (act == GELU) return normal_gate(x);
  // (1 + tanh(y))/2 = sigmoid(2y), with 2y = x (a + b x²).
  const float a = 1.5957691216057308f, b = 0.07135481282553054f, square = x * x;
  return sigmoid_gate(x * fmaf(b, square, a), fmaf(3.f * b, square, a));
}

__device__ __forceinline__ float within(float x, float most) { return x > most ? most : x < -most ? -most : x; }

// act_value returns the function of x. NaN stays NaN, and infinities have the function's limits.
__device__ __forceinline__ float act_value(int act, float alpha, float x) {
  switch (act) {
  case LEAKY_RELU:
    return x > 0.f ? x : alpha * x;
  case ELU:
    return x > 0.f ? x : alpha * expm1f(x);
  case SILU:
  case GELU:
  case GELU_TANH:
    return (x < -128.f ? -128.f : x) * gate_of(act, within(x, 128.f)).p;
  case SOFTPLUS:
    return (x <= 0.f ? 0.f : x) + log1pf(expf(-fabsf(x)));
  case SOFTSIGN:
    x = within(x, 3.402823466e38f);
    return __fdiv_rn(x, 1.f + fabsf(x));
  }
  return act_apply(act, x);
}

// act_slope returns g times the derivative of the function, of which v is the output; for SILU, GELU and GELU_TANH v is the input.
__device__ __forceinline__ float act_slope(int act, float alpha, float g, float v) {
  switch (act) {
  case LEAKY_RELU:
    return v > 0.f ? g : alpha * g;
  case ELU:
    return v > 0.f ? g : g * (v + alpha);
  case SILU:
  case GELU:
  case GELU_TANH: {
    v = within(v, 128.f);
    const Gate gate = gate_of(act, v);
    return g * fmaf(v, gate.slope, gate.p);
  }
  case SOFTPLUS:
    return g * -expm1f(-v);
  case SOFTSIGN: {
    const float d = 1.f - fabsf(v);
    return g * (d * d);
  }
  }
  return act_derive(act, g, v);
}

// act_slope_at returns g times the derivative of the function at the input x.
__device__ __forceinline__ float act_slope_at(int act, float alpha, float g, float x) {
  return act_slope(act, alpha, g, act == SILU || act == GELU || act == GELU_TANH ? x : act_value(act, alpha, x));
}
