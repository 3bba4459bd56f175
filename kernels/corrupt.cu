#include "random.cuh"

// Package nn/corrupt specifies all of this, bit for bit. Hence the intrinsics.

// Kinds of a corruption.
enum { GAUSSIAN, SPECKLE, SALT_AND_PEPPER, MASKING, BLUR, DOWNSCALE };

// mirrored returns the place within n of a place beyond them.
__device__ __forceinline__ int mirrored(int i, int n) {
  i %= 2 * n;
  if (i < 0) i += 2 * n;
  return min(i, 2 * n - 1 - i);
}

// Between is the two squares along a side between whose centres a pixel lies, and how far it is from the first.
struct Between {
  int first, second;
  float share;
};

__device__ __forceinline__ Between between(int at, int n, int size) {
  int twice = 2 * at + 1 - size, last = (n + size - 1) / size - 1;
  if (twice <= 0) return {0, 0, 0.f};
  int first = twice / (2 * size);
  return {min(first, last), min(first + 1, last), __fdiv_rn((float)(twice - 2 * size * first), (float)(2 * size))};
}

// square returns the mean of a channel over a square of an image, as far as it is within.
__device__ __forceinline__ float square(const float *x, int by, int bx, int size, int h, int w, int c) {
  float sum = 0.f;
  int y1 = min((by + 1) * size, h), x1 = min((bx + 1) * size, w);
  for (int y = by * size; y < y1; y++)
    for (int px = bx * size; px < x1; px++) sum = __fadd_rn(sum, x[((long long)y * w + px) * c]);
  return __fdiv_rn(sum, (float)((y1 - by * size) * (x1 - bx * size)));
}

__device__ __forceinline__ float mix(float a, float b, float share) {
  return __fadd_rn(__fmul_rn(a, __fsub_rn(1.f, share)), __fmul_rn(b, share));
}

// Thread i owns element i%size of image i/size, of n images of h by w pixels with c values each. out[j] = the image x[j] made worse, by row
// s = order[params.offset+first+j] of draw params.draw of the source; NaN beyond the places of the order. w0 to w15 are the weights of a blur, of
// which there are radius+1.
extern "C" __global__ void corrupt_sample(float *__restrict__ out, const float *__restrict__ x, const unsigned *__restrict__ order,
                                   const StepParams *__restrict__ params, unsigned n, int h, int w, int c, unsigned places, unsigned first,
                                   unsigned k0, unsigned k1, unsigned stream, int kind, float amount, int patch, float value, int radius, float w0,
                                   float w1, float w2, float w3, float w4, float w5, float w6, float w7, float w8, float w9, float w10,
                                   float w11, float w12, float w13, float w14, float w15) {
  __shared__ float weights[16];
  if (threadIdx.x == 0) {
    const float all[16] = {w0, w1, w2, w3, w4, w5, w6, w7, w8, w9, w10, w11, w12, w13, w14, w15};
#pragma unroll
    for (int k = 0; k < 16; k++) weights[k] = all[k];
  }
  __syncthreads();
  unsigned i = thread_index(), size = (unsigned)(h * w * c), image = i / size, e = i - image * size;
  if (image >= n) return;
  unsigned place = params->offset + first + image;
  unsigned long long at = (unsigned long long)image * size;
  const float *from = x + at;
  float v = from[e];
  int ch = e % c, px = e / c % w, py = e / c / w;
  if (place >= places) {
    v = __uint_as_float(0x7fc00000u);
  } else if (kind == BLUR) {
    float sum = 0.f;
    for (int dy = -radius; dy <= radius; dy++) {
      float line = 0.f;
      const float *row = from + (long long)mirrored(py + dy, h) * w * c + ch;
      for (int dx = -radius; dx <= radius; dx++)
        line = __fadd_rn(line, __fmul_rn(weights[max(dx, -dx)], row[(long long)mirrored(px + dx, w) * c]));
      sum = __fadd_rn(sum, __fmul_rn(weights[max(dy, -dy)], line));
    }
    v = sum;
  } else if (kind == DOWNSCALE) {
    Between bx = between(px, w, patch), by = between(py, h, patch);
    float upper = mix(square(from + ch, by.first, bx.first, patch, h, w, c), square(from + ch, by.first, bx.second, patch, h, w, c), bx.share);
    float lower = mix(square(from + ch, by.second, bx.first, patch, h, w, c), square(from + ch, by.second, bx.second, patch, h, w, c), bx.share);
    v = mix(upper, lower, by.share);
  } else {
    unsigned drawn = kind == MASKING ? py / patch * ((w + patch - 1) / patch) + px / patch : e;
    Words words = philox(drawn / 4, order[place], params->draw, stream, k0, k1);
    unsigned word = drawn % 4;
    if (kind == GAUSSIAN || kind == SPECKLE) {
      float first_two[2], last_two[2];
      box_muller(words.v[0], words.v[1], first_two[0], first_two[1]);
      box_muller(words.v[2], words.v[3], last_two[0], last_two[1]);
      float z = word == 0 ? first_two[0] : word == 1 ? first_two[1] : word == 2 ? last_two[0] : last_two[1];
      float noise = __fmul_rn(amount, z);
      if (kind == SPECKLE) noise = __fmul_rn(noise, v);
      v = __fadd_rn(v, noise);
      v = v == v ? fminf(fmaxf(v, 0.f), 1.f) : v;
    } else {
      unsigned bits = word == 0 ? words.v[0] : word == 1 ? words.v[1] : word == 2 ? words.v[2] : words.v[3];
      float u = __fmul_rn((float)(bits >> 8), 1.f / (1 << 24));
      if (kind == MASKING)
        v = u < amount ? value : v;
      else
        v = u < __fmul_rn(amount, 0.5f) ? 0.f : u < amount ? 1.f : v;
    }
  }
  out[at + e] = v;
}
