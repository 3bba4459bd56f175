// Random numbers, for the kernels that draw.
#pragma once
#include "common.cuh"

// Package nn/rng specifies all of this, bit for bit. Hence the intrinsics: they round every step and are not fused.

struct Words {
  unsigned v[4];
};

// philox returns the four words of Philox4x32-10 for the counter (block, row, draw, stream) and the seed.
__device__ __forceinline__ Words philox(unsigned block, unsigned row, unsigned draw, unsigned stream,
                                        unsigned k0, unsigned k1) {
  unsigned c0 = block, c1 = row, c2 = draw, c3 = stream;
#pragma unroll
  for (int round = 0; round < 10; round++) {
    unsigned long long p0 = 0xD2511F53ull * c0, p1 = 0xCD9E8D57ull * c2;
    c0 = unsigned(p1 >> 32) ^ c1 ^ k0;
    c1 = unsigned(p1);
    c2 = unsigned(p0 >> 32) ^ c3 ^ k1;
    c3 = unsigned(p0);
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return Words{{c0, c1, c2, c3}};
}

// log_unit returns ln(k 2^-24) for k in 1..2^24.
__device__ __forceinline__ float log_unit(unsigned k) {
  unsigned b = __float_as_uint((float)k);
  int e = int(b >> 23) - 127;
  float m = __uint_as_float((b & 0x7fffffu) | 127u << 23);
  if (m >= 1.41421354f) m = __fmul_rn(m, 0.5f), e++;
  float z = __fdiv_rn(__fadd_rn(m, -1.f), __fadd_rn(m, 1.f)), q = __fmul_rn(z, z);
  float p = __fadd_rn(__fmul_rn(q, 1.f / 9.f), 1.f / 7.f);
  p = __fadd_rn(__fmul_rn(q, p), 1.f / 5.f);
  p = __fadd_rn(__fmul_rn(q, p), 1.f / 3.f);
  p = __fadd_rn(__fmul_rn(q, p), 1.f);
  return __fadd_rn(__fmul_rn((float)(e - 24), 0.693147180f), __fmul_rn(__fmul_rn(2.f, z), p));
}

// box_muller turns two words into two standard normal numbers.
__device__ __forceinline__ void box_muller(unsigned w0, unsigned w1, float &a, float &b) {
  float r = __fsqrt_rn(__fmul_rn(-2.f, log_unit((w0 >> 8) + 1)));
  // Cosine and sine of the angle within a quadrant, from -pi/4 to pi/4.
  float t = __fmul_rn((float)(int(w1 << 2 >> 8) - (1 << 23)), 1.57079633f / (1 << 24)), q = __fmul_rn(t, t);
  float s = __fadd_rn(__fmul_rn(q, 1.f / 362880.f), -1.f / 5040.f);
  s = __fadd_rn(__fmul_rn(q, s), 1.f / 120.f);
  s = __fadd_rn(__fmul_rn(q, s), -1.f / 6.f);
  s = __fadd_rn(__fmul_rn(q, s), 1.f);
  s = __fmul_rn(t, s);
  float c = __fadd_rn(__fmul_rn(q, -1.f / 3628800.f), 1.f / 40320.f);
  c = __fadd_rn(__fmul_rn(q, c), -1.f / 720.f);
  c = __fadd_rn(__fmul_rn(q, c), 1.f / 24.f);
  c = __fadd_rn(__fmul_rn(q, c), -0.5f);
  c = __fadd_rn(__fmul_rn(q, c), 1.f);
  // The quadrant turns (c, s) by right angles.
  unsigned quadrant = w1 >> 30;
  float x = quadrant & 1 ? s : c, y = quadrant & 1 ? c : s;
  if (quadrant == 1 || quadrant == 2) x = -x;
  if (quadrant >= 2) y = -y;
  a = __fmul_rn(r, x);
  b = __fmul_rn(r, y);
}

// normals returns the four numbers of a block.
__device__ __forceinline__ Four normals(const Words &w) {
  Four z;
  box_muller(w.v[0], w.v[1], z.v[0], z.v[1]);
  box_muller(w.v[2], w.v[3], z.v[2], z.v[3]);
  return z;
}
