#include "common.cuh"

// The discrete Fourier transform of lines: the rows or the columns of a channel of images or of spectra. A spectrum has the real parts of all
// channels of a pixel, and then the imaginary ones.

struct __align__(8) Complex {
  float x, y; // real and imaginary part
};

// Lines say where the numbers of lines are: those of image n, line o of others, channel c begin at n image + o other + c, and are stride apart;
// imaginary parts are so far from the real ones, or 0 if there are none.
struct Lines {
  unsigned long long image;
  unsigned other, stride, imaginary;

  __device__ __forceinline__ unsigned long long at(unsigned n, unsigned o, unsigned c) const { return n * image + o * other + c; }
};

// root is cosine and sine of j/length turns: of what is left of the nearest quarter by their series, which end where floats do.
__device__ __forceinline__ Complex root(unsigned j, unsigned length) {
  const unsigned quarter = (8 * j + length) / (2 * length);
  const float y = 1.57079632679f * __fdiv_rn((float)((int)(4 * j) - (int)(quarter * length)), (float)length), z = y * y;
  const float s = y * (1.f + z * (-1.f / 6 + z * (1.f / 120 + z * (-1.f / 5040 + z * (1.f / 362880)))));
  const float c = 1.f + z * (-0.5f + z * (1.f / 24 + z * (-1.f / 720 + z * (1.f / 40320 + z * (-1.f / 3628800)))));
  switch (quarter % 4) {
    case 0: return Complex{c, s};
    case 1: return Complex{-s, c};
    case 2: return Complex{-c, -s};
  }
  return Complex{s, -c};
}

// out = the transform of in, divided by the root of the length, with the exponents sign 2 pi i jk/length. A block has a line, which it reads to shared
// memory before it writes: out may be in. Shared memory has the line and the roots of unity, two floats for each number of both.
extern "C" __global__ void __launch_bounds__(256)
    fourier_lines(float *out, unsigned long long out_image, unsigned out_other, unsigned out_stride, unsigned out_imaginary, const float *in,
                  unsigned long long in_image, unsigned in_other, unsigned in_stride, unsigned in_imaginary, unsigned length, unsigned others,
                  unsigned channels, float sign) {
  extern __shared__ Complex shared[];
  Complex *line = shared, *roots = shared + length;
  const Lines to = {out_image, out_other, out_stride, out_imaginary}, from = {in_image, in_other, in_stride, in_imaginary};
  const unsigned c = blockIdx.x % channels, o = blockIdx.x / channels % others, n = blockIdx.x / channels / others;
  const float share = __fdiv_rn(1.f, __fsqrt_rn((float)length));
  const unsigned long long first = from.at(n, o, c), base = to.at(n, o, c);
  for (unsigned j = threadIdx.x; j < length; j += 256) {
    const unsigned long long at = first + (unsigned long long)j * from.stride;
    line[j] = Complex{in[at], from.imaginary ? in[at + from.imaginary] : 0.f};
    const Complex r = root(j, length);
    roots[j] = Complex{r.x, sign * r.y};
  }
  __syncthreads();
  for (unsigned k = threadIdx.x; k < length; k += 256) {
    float re = 0.f, im = 0.f;
    unsigned turn = 0; // j k modulo the length
    for (unsigned j = 0; j < length; j++) {
      const Complex v = line[j], r = roots[turn];
      re += v.x * r.x - v.y * r.y;
      im += v.x * r.y + v.y * r.x;
      turn += k;
      if (turn >= length) turn -= length;
    }
    const unsigned long long at = base + (unsigned long long)k * to.stride;
    out[at] = share * re;
    if (to.imaginary) out[at + to.imaginary] = share * im;
  }
}

__device__ __forceinline__ float magnitude(float re, float im) { return __fsqrt_rn(re * re + im * im); }

// most = the largest magnitude of each channel of each image. A block of 256 threads has a channel of an image.
extern "C" __global__ void __launch_bounds__(256) fourier_most(float *__restrict__ most, const float *__restrict__ spectrum, unsigned pixels,
                                                               unsigned channels) {
  __shared__ float warps[8];
  const unsigned c = blockIdx.x % channels, n = blockIdx.x / channels;
  float m = 0.f;
  for (unsigned p = threadIdx.x; p < pixels; p += 256) {
    const float *at = spectrum + ((unsigned long long)n * pixels + p) * 2 * channels + c;
    m = fmaxf(m, magnitude(at[0], at[channels]));
  }
#pragma unroll
  for (unsigned lane = 16; lane > 0; lane /= 2) m = fmaxf(m, __shfl_xor_sync(0xffffffffu, m, lane));
  if (threadIdx.x % 32 == 0) warps[threadIdx.x / 32] = m;
  __syncthreads();
  if (threadIdx.x == 0) {
    for (unsigned w = 1; w < 8; w++) m = fmaxf(m, warps[w]);
    most[blockIdx.x] = m;
  }
}

// partials = scale times the blocks' sums of |F|³ / most; grad (which may be 0) = 2 scale |F| / most F, both 0 where most is. Blocks of 256 threads
// take the n numbers in turns, one a thread.
extern "C" __global__ void __launch_bounds__(256) fourier_focal(float *__restrict__ partials, float *__restrict__ grad,
                                                                const float *__restrict__ spectrum, const float *__restrict__ most, unsigned n,
                                                                float scale, unsigned pixels, unsigned channels) {
  float sum = 0.f;
  for (unsigned i = thread_index(); i < n; i += gridDim.x * blockDim.x) {
    const unsigned p = i / channels, c = i - p * channels;
    const unsigned long long at = 2ull * p * channels + c;
    const float re = spectrum[at], im = spectrum[at + channels], m = most[p / pixels * channels + c];
    const float weight = m > 0.f ? __fdiv_rn(magnitude(re, im), m) : 0.f;
    sum += weight * (re * re + im * im);
    if (grad) {
      grad[at] = 2.f * scale * weight * re;
      grad[at + channels] = 2.f * scale * weight * im;
    }
  }
  sum = block_sum(sum);
  if (threadIdx.x == 0) partials[blockIdx.x] = scale * sum;
}
