#include "random.cuh"

// Thread i owns one block of four elements of an image: with blocks = ceil(size/4) of them an image, block i%blocks of
// image i/blocks. n is the number of images, size that of the elements of one; k0, k1 and stream are the source.

// Image j = row first+j of standard normal numbers, draw params.step.
extern "C" __global__ void random_normal(float *__restrict__ dst, const StepParams *__restrict__ params, unsigned n, unsigned size,
                                         unsigned first, unsigned k0, unsigned k1, unsigned stream) {
  unsigned i = thread_index(), blocks = (size + 3) / 4, image = i / blocks, block = i - image * blocks;
  if (image >= n) return;
  Words w = philox(block, first + image, params->step, stream, k0, k1);
  store4(dst + (unsigned long long)image * size, 4 * block, size, normals(w));
}

// out = x / keep where the uniform draw is at least rate, else 0; keep = 1-rate, rows and draw as for random_normal. out may
// be x.
extern "C" __global__ void random_dropout(float *out, const float *x, const StepParams *__restrict__ params, unsigned n,
                                          unsigned size, unsigned first, unsigned k0, unsigned k1, unsigned stream,
                                          float rate, float keep, unsigned narrow) {
  unsigned i = thread_index(), blocks = (size + 3) / 4, image = i / blocks, block = i - image * blocks;
  if (image >= n) return;
  Words w = philox(block, first + image, params->step, stream, k0, k1);
  unsigned long long at = (unsigned long long)image * size;
  Four v = load4(element(x, at, narrow & 2), 4 * block, size, narrow & 2);
#pragma unroll
  for (int k = 0; k < 4; k++) {
    float u = __fmul_rn((float)(w.v[k] >> 8), 1.f / (1 << 24));
    v.v[k] = u >= rate ? __fdiv_rn(v.v[k], keep) : 0.f;
  }
  store4(element(out, at, narrow & 1), 4 * block, size, v, narrow & 1);
}

// Clock is what the step parameters are to be set to by the op that comes first in a step, so that no launch is needed for that; if set is
// 0 they are there already.
struct Clock {
  unsigned set;
  StepParams value;
};

#define CLOCK_PARAMS                                                                                                   \
  unsigned set, unsigned step, unsigned draw, unsigned offset, float lr, float correction1, float correction2,         \
      float divergence, float temperature
#define CLOCK                                                                                                          \
  {                                                                                                                    \
    set, { step, draw, offset, lr, correction1, correction2, divergence, temperature }                                 \
  }

// clock_of returns the step parameters, which thread 0 of the grid sets if they are to be set.
__device__ __forceinline__ StepParams clock_of(StepParams *params, const Clock &clock) {
  if (!clock.set) return *params;
  if (thread_index() == 0) *params = clock.value;
  return clock.value;
}

// clean[j] = pixels[s]/255 with s = order[params.offset+first+j], and, unless noisy is 0, noisy[j] = clean[j] + std normal,
// row s of draw params.draw, clipped to [0, 1]. With staged, clean[j] = pixels[first+j]/255: pixels holds the batch alone.
// There are samples images of pixels, and places in the order; what is not there gives NaN.
extern "C" __global__ void random_gather(float *__restrict__ clean, float *__restrict__ noisy,
                                         const unsigned char *__restrict__ pixels, const unsigned *__restrict__ order,
                                         StepParams *__restrict__ params, CLOCK_PARAMS, unsigned n, unsigned size, unsigned samples,
                                         unsigned places, unsigned first, unsigned k0, unsigned k1, unsigned stream,
                                         float std, unsigned staged) {
  unsigned i = thread_index(), blocks = (size + 3) / 4, image = i / blocks, block = i - image * blocks;
  if (image >= n) return;
  const StepParams now = clock_of(params, CLOCK);
  unsigned place = now.offset + first + image, sample = place < places ? order[place] : samples;
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
  Four z = normals(philox(block, sample, now.draw, stream, k0, k1));
#pragma unroll
  for (int k = 0; k < 4; k++)
    if (stored < samples) v.v[k] = fminf(fmaxf(__fadd_rn(v.v[k], __fmul_rn(std, z.v[k])), 0.f), 1.f);
  store4(noisy + at, 4 * block, size, v);
}

// clean[j] = values[s] with s = order[params.offset+first+j], and, unless noisy is 0, noisy[j] = clean[j] + std normal, row s
// of draw params.draw. There are samples of values, and places in the order; what is not there gives NaN.
extern "C" __global__ void random_select(float *__restrict__ clean, float *__restrict__ noisy,
                                         const float *__restrict__ values, const unsigned *__restrict__ order,
                                         StepParams *__restrict__ params, CLOCK_PARAMS, unsigned n, unsigned size, unsigned samples,
                                         unsigned places, unsigned first, unsigned k0, unsigned k1, unsigned stream,
                                         float std) {
  unsigned i = thread_index(), blocks = (size + 3) / 4, image = i / blocks, block = i - image * blocks;
  if (image >= n) return;
  const StepParams now = clock_of(params, CLOCK);
  unsigned place = now.offset + first + image, sample = place < places ? order[place] : samples;
  unsigned long long at = (unsigned long long)image * size;
  const float *from = values + (unsigned long long)sample * size;
  Four v;
#pragma unroll
  for (unsigned k = 0; k < 4; k++) {
    unsigned e = 4 * block + k;
    v.v[k] = sample < samples && e < size ? from[e] : __uint_as_float(0x7fc00000u);
  }
  store4(clean + at, 4 * block, size, v);
  if (!noisy) return;
  Four z = normals(philox(block, sample, now.draw, stream, k0, k1));
#pragma unroll
  for (int k = 0; k < 4; k++) v.v[k] = __fadd_rn(v.v[k], __fmul_rn(std, z.v[k]));
  store4(noisy + at, 4 * block, size, v);
}
