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

// What follows is package nn/corrupt's jpeg.

// jpeg_row is a row of eight of the steps of quality 50: of luminance, and from row 8 on of chrominance.
__device__ __forceinline__ unsigned long long jpeg_row(unsigned row) {
  switch (row) {
  case 0: return 0x3d332818100a0b10ull;
  case 1: return 0x373c3a1a130e0c0cull;
  case 2: return 0x3845392818100d0eull;
  case 3: return 0x3e5057331d16110eull;
  case 4: return 0x4d676d4438251612ull;
  case 5: return 0x5c71685140372318ull;
  case 6: return 0x65787967574e4031ull;
  case 7: return 0x63676470625f5c48ull;
  case 8: return 0x636363632f181211ull;
  case 9: return 0x63636363421a1512ull;
  case 10: return 0x6363636363381a18ull;
  case 11: return 0x636363636363422full;
  }
  return 0x6363636363636363ull;
}

// jpeg_cosine is cos((2x+1) u pi/16), which is 0 nowhere.
__device__ __forceinline__ float jpeg_cosine(unsigned u, unsigned x) {
  const float quarter[8] = {1.f, 0.980785251f, 0.923879504f, 0.831469595f, 0.707106769f, 0.555570245f, 0.382683426f, 0.195090324f};
  unsigned k = (2 * x + 1) * u % 32;
  const bool minus = k > 8 && k < 24;
  k = k > 16 ? 32 - k : k;
  k = k > 8 ? 16 - k : k;
  float c = quarter[0];
#pragma unroll
  for (unsigned i = 1; i < 8; i++)
    if (k == i) c = quarter[i];
  return minus ? -c : c;
}

__device__ __forceinline__ float jpeg_weight(unsigned v, unsigned u) { return u == 0 && v == 0 ? 0.125f : u == 0 || v == 0 ? 0.17677669f : 0.25f; }

// floor_of is the largest whole number that is not above v, of the numbers below 2^31 in magnitude that there are here. NaN stays NaN.
__device__ __forceinline__ float floor_of(float v) {
  const float whole = (float)(int)v;
  return v == v ? whole > v ? whole - 1.f : whole : v;
}

__device__ __forceinline__ float thousandths(float v) { return floor_of(__fdiv_rn(__fadd_rn(v, 500.f), 1000.f)); }

__device__ __forceinline__ float within(float v, float low, float high) { return v == v ? fminf(fmaxf(v, low), high) : v; }

__device__ __forceinline__ float jpeg_level(float v) { return floor_of(__fadd_rn(__fmul_rn(within(v, 0.f, 1.f), 255.f), 0.5f)); }

__device__ __forceinline__ float jpeg_value(float v) { return __fdiv_rn(within(v, 0.f, 255.f), 255.f); }

// jpeg_sum is the sum of a line of eight values, step apart, each times its factor of eight that are apart from each other.
__device__ __forceinline__ float jpeg_sum(const float *values, unsigned step, const float *factors, unsigned apart) {
  float sum = 0.f;
#pragma unroll
  for (unsigned i = 0; i < 8; i++) sum = __fadd_rn(sum, __fmul_rn(values[i * step], factors[i * apart]));
  return sum;
}

// A block of 256 threads takes a tile of 16 by 16 pixels of an image; thread i owns pixel i. The tile is four blocks of 8 by 8 of luminance and, of three
// channels, one of each chrominance: value i of all 384 is transformed by threads i and i-256.
extern "C" __global__ void __launch_bounds__(256)
    corrupt_jpeg(float *__restrict__ out, const float *__restrict__ x, const unsigned *__restrict__ order,
                 const StepParams *__restrict__ params, unsigned h, unsigned w, unsigned c, unsigned places, unsigned first, unsigned k0, unsigned k1,
                 unsigned stream, int least, int most) {
  __shared__ float a[512], b[384], cosines[64], steps[128];
  const unsigned t = threadIdx.x, across = (w + 15) / 16, down = (h + 15) / 16;
  const unsigned image = blockIdx.x / (across * down), tile = blockIdx.x % (across * down);
  const unsigned py = tile / across * 16 + t / 16, px = tile % across * 16 + t % 16;
  const unsigned long long from = (unsigned long long)image * h * w;
  const unsigned place = params->offset + first + image;
  if (place >= places) {
    if (py < h && px < w)
      for (unsigned k = 0; k < c; k++) out[(from + py * w + px) * c + k] = __uint_as_float(0x7fc00000u);
    return;
  }
  if (t < 64) cosines[t] = jpeg_cosine(t / 8, t % 8);
  if (t < 128) {
    const float u = __fmul_rn((float)(philox(0, order[place], params->draw, stream, k0, k1).v[0] >> 8), 1.f / (1 << 24));
    const int count = most - least + 1, quality = least + min((int)__fmul_rn(u, (float)count), count - 1);
    const int scale = quality < 50 ? 5000 / quality : 200 - 2 * quality;
    steps[t] = (float)min(max(((int)(jpeg_row(t / 8) >> 8 * (t % 8) & 255) * scale + 50) / 100, 1), 255);
  }
  const float *pixel = x + (from + min(py, h - 1) * w + min(px, w - 1)) * c;
  const unsigned luma = t / 128 * 128 + t % 16 / 8 * 64 + t / 16 % 8 * 8 + t % 8;
  if (c == 1) {
    b[luma] = __fadd_rn(jpeg_level(pixel[0]), -128.f);
  } else {
    const float red = jpeg_level(pixel[0]), green = jpeg_level(pixel[1]), blue = jpeg_level(pixel[2]);
    b[luma] = __fadd_rn(thousandths(299.f * red + 587.f * green + 114.f * blue), -128.f);
    a[t] = thousandths(-169.f * red - 331.f * green + 500.f * blue);
    a[256 + t] = thousandths(500.f * red - 419.f * green - 81.f * blue);
  }
  __syncthreads();
  const unsigned values = c == 1 ? 256 : 384;
  if (t < values - 256) {
    const float *f = a + t / 64 * 256 + t / 8 % 8 * 32 + t % 8 * 2;
    b[256 + t] = floor_of((f[0] + f[1] + f[16] + f[17]) * 0.25f + 0.5f);
  }
  __syncthreads();
  for (unsigned i = t; i < values; i += 256) a[i] = jpeg_sum(b + i / 8 * 8, 1, cosines + i % 8 * 8, 1);
  __syncthreads();
  for (unsigned i = t; i < values; i += 256) {
    const unsigned v = i / 8 % 8, u = i % 8;
    const float sum = jpeg_sum(a + i / 64 * 64 + u, 8, cosines + v * 8, 1), weight = jpeg_weight(v, u), step = steps[i / 256 * 64 + i % 64];
    const float level = floor_of(__fadd_rn(__fdiv_rn(__fmul_rn(sum, weight), step), 0.5f));
    b[i] = __fmul_rn(__fmul_rn(level, step), weight);
  }
  __syncthreads();
  for (unsigned i = t; i < values; i += 256) a[i] = jpeg_sum(b + i / 64 * 64 + i % 8, 8, cosines + i / 8 % 8, 8);
  __syncthreads();
  for (unsigned i = t; i < values; i += 256) b[i] = within(floor_of(__fadd_rn(jpeg_sum(a + i / 8 * 8, 1, cosines + i % 8, 8), 0.5f)), -128.f, 127.f);
  __syncthreads();
  if (py >= h || px >= w) return;
  float *to = out + (from + py * w + px) * c;
  const float y = __fadd_rn(b[luma], 128.f);
  if (c == 1) {
    to[0] = jpeg_value(y);
    return;
  }
  const unsigned chroma = 256 + t / 32 * 8 + t % 16 / 2;
  const float cb = b[chroma], cr = b[64 + chroma];
  to[0] = jpeg_value(thousandths(1000.f * y + 1402.f * cr));
  to[1] = jpeg_value(thousandths(1000.f * y - 344.f * cb - 714.f * cr));
  to[2] = jpeg_value(thousandths(1000.f * y + 1772.f * cb));
}
