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

// Thread i owns one block of four elements of an image: with blocks = ceil(size/4) of them an image, block i%blocks of
// image i/blocks. n is the number of images, size that of the elements of one; k0, k1 and stream are the source.

// Image j = row first+j of standard normal numbers, draw clock.step.
extern "C" __global__ void random_normal(float *__restrict__ dst, const Clock *__restrict__ clock, unsigned n, unsigned size,
                                         unsigned first, unsigned k0, unsigned k1, unsigned stream) {
  unsigned i = thread_index(), blocks = (size + 3) / 4, image = i / blocks, block = i - image * blocks;
  if (image >= n) return;
  Words w = philox(block, first + image, clock->step, stream, k0, k1);
  store4(dst + (unsigned long long)image * size, 4 * block, size, normals(w));
}

// out = x / keep where the uniform draw is at least rate, else 0; keep = 1-rate, rows and draw as for random_normal. out may
// be x.
extern "C" __global__ void random_dropout(float *out, const float *x, const Clock *__restrict__ clock, unsigned n,
                                          unsigned size, unsigned first, unsigned k0, unsigned k1, unsigned stream,
                                          float rate, float keep) {
  unsigned i = thread_index(), blocks = (size + 3) / 4, image = i / blocks, block = i - image * blocks;
  if (image >= n) return;
  Words w = philox(block, first + image, clock->step, stream, k0, k1);
  unsigned long long at = (unsigned long long)image * size;
  Four v = load4(x + at, 4 * block, size);
#pragma unroll
  for (int k = 0; k < 4; k++) {
    float u = __fmul_rn((float)(w.v[k] >> 8), 1.f / (1 << 24));
    v.v[k] = u >= rate ? __fdiv_rn(v.v[k], keep) : 0.f;
  }
  store4(out + at, 4 * block, size, v);
}

// clean[j] = pixels[s]/255 with s = order[clock.offset+first+j], and, unless noisy is 0, noisy[j] = clean[j] + std normal,
// row s of draw clock.draw, clipped to [0, 1]. With staged, clean[j] = pixels[first+j]/255: pixels holds the batch alone.
// There are samples images of pixels, and places in the order; what is not there gives NaN.
extern "C" __global__ void random_gather(float *__restrict__ clean, float *__restrict__ noisy,
                                         const unsigned char *__restrict__ pixels, const unsigned *__restrict__ order,
                                         const Clock *__restrict__ clock, unsigned n, unsigned size, unsigned samples,
                                         unsigned places, unsigned first, unsigned k0, unsigned k1, unsigned stream,
                                         float std, unsigned staged) {
  unsigned i = thread_index(), blocks = (size + 3) / 4, image = i / blocks, block = i - image * blocks;
  if (image >= n) return;
  unsigned place = clock->offset + first + image, sample = place < places ? order[place] : samples;
  unsigned stored = staged && place < places ? first + image : sample;
  unsigned long long at = (unsigned long long)image * size;
  const unsigned char *from = pixels + (unsigned long long)stored * size;
  Four v;
#pragma unroll
  for (unsigned k = 0; k < 4; k++) {
    unsigned e = 4 * block + k;
    v.v[k] = __uint_as_float(0x7fc00000u);
    if (stored < samples && e < size) v.v[k] = __fdiv_rn((float)from[e], 255.f);
  }
  store4(clean + at, 4 * block, size, v);
  if (!noisy) return;
  Four z = normals(philox(block, sample, clock->draw, stream, k0, k1));
#pragma unroll
  for (int k = 0; k < 4; k++)
    if (stored < samples) v.v[k] = fminf(fmaxf(__fadd_rn(v.v[k], __fmul_rn(std, z.v[k])), 0.f), 1.f);
  store4(noisy + at, 4 * block, size, v);
}
