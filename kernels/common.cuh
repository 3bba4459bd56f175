// What the kernels of several families use.
//
// Tensors are contiguous, and no tensor has more than 2^31-1 elements: their indices fit 32 bits. Pointers to tensors that
// an op may write in place are not __restrict__: such memory must not be read through the cache for constants. Helpers
// are not static: names of static things have a hash of the file's path in them, and the PTX shall not depend on it.
#pragma once

// StepParams is backend.StepParams; in memory it takes 32 bytes.
struct StepParams {
  unsigned step, draw, offset;
  float lr, correction1, correction2, divergence, temperature;
};

// Act is backend.Act.
enum Act { LINEAR, RELU, SIGMOID, TANH };

// act_apply returns act(x). NaN stays NaN.
__device__ __forceinline__ float act_apply(int act, float x) {
  switch (act) {
  case RELU:
    return x <= 0.f ? 0.f : x;
  case SIGMOID:
    return __fdiv_rn(1.f, 1.f + expf(-x));
  case TANH:
    return tanhf(x);
  }
  return x;
}

// act_derive returns g times the derivative of the activation whose output is y.
__device__ __forceinline__ float act_derive(int act, float g, float y) {
  switch (act) {
  case RELU:
    return y > 0.f ? g : 0.f;
  case SIGMOID:
    return g * (y * (1.f - y));
  case TANH:
    return g * (1.f - y * y);
  }
  return g;
}

// above reports whether x beats the maximum so far: NaN is above all numbers, and the first of equals wins.
__device__ __forceinline__ bool above(float x, float best) { return !(x <= best) && best == best; }

// bits_of_pair returns two floats as a pair of bfloat16s, each the nearest, of two as near the one whose last bit is 0; value_of returns
// one of the pair.
__device__ __forceinline__ unsigned bits_of_pair(float low, float high) {
#if __CUDA_ARCH__ >= 800
  unsigned pair;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
  return pair;
#else
  const unsigned l = __float_as_uint(low), h = __float_as_uint(high);
  const unsigned rounded_l = low == low ? l + (0x7fffu + (l >> 16 & 1)) : 0x7fc00000u;
  const unsigned rounded_h = high == high ? h + (0x7fffu + (h >> 16 & 1)) : 0x7fc00000u;
  return (rounded_h & 0xffff0000u) | rounded_l >> 16;
#endif
}

__device__ __forceinline__ float value_of(unsigned pair, int half) { return __uint_as_float(half ? pair & 0xffff0000u : pair << 16); }

// Activations are floats or, if they are narrow, bfloat16s: bit i of a kernel's parameter narrow is set if tensor i of activations among
// its parameters is. element returns where number at of them lies, load_values reads so many
// neighbours of there and store_values writes them, all at once: they are aligned.
__device__ __forceinline__ const float *element(const float *p, unsigned long long at, unsigned narrow) {
  return (const float *)((const char *)p + (at << (narrow ? 1 : 2)));
}

__device__ __forceinline__ float *element(float *p, unsigned long long at, unsigned narrow) {
  return (float *)((char *)p + (at << (narrow ? 1 : 2)));
}

template <int V> __device__ __forceinline__ void load_values(float (&v)[V], const float *p, unsigned narrow) {
  static_assert(V == 1 || V == 4, "one value or four");
  if (V == 1) {
    v[0] = narrow ? value_of(*(const unsigned short *)p, 0) : *p;
  } else if (narrow) {
    const uint2 q = *(const uint2 *)p;
    v[0] = value_of(q.x, 0), v[1 % V] = value_of(q.x, 1), v[2 % V] = value_of(q.y, 0), v[3 % V] = value_of(q.y, 1);
  } else {
    const float4 q = *(const float4 *)p;
    v[0] = q.x, v[1 % V] = q.y, v[2 % V] = q.z, v[3 % V] = q.w;
  }
}

template <int V> __device__ __forceinline__ void store_values(float *p, const float (&v)[V], unsigned narrow) {
  if (V == 1) {
    if (narrow)
      *(unsigned short *)p = bits_of_pair(v[0], 0.f);
    else
      *p = v[0];
  } else if (narrow) {
    *(uint2 *)p = {bits_of_pair(v[0], v[1 % V]), bits_of_pair(v[2 % V], v[3 % V])};
  } else {
    *(float4 *)p = make_float4(v[0], v[1 % V], v[2 % V], v[3 % V]);
  }
}

// Floats and Bytes are V neighbouring channels of a pixel, read and written at once.
template <int V> struct __align__(4 * V) Floats {
  float v[V];
};

// group_of returns the V neighbours of group number group of a tensor, set_group writes them.
template <int V> __device__ __forceinline__ Floats<V> group_of(const float *p, unsigned long long group, unsigned narrow) {
  Floats<V> r;
  load_values(r.v, element(p, V * group, narrow), narrow);
  return r;
}

template <int V> __device__ __forceinline__ void set_group(float *p, unsigned long long group, const Floats<V> &r, unsigned narrow) {
  store_values(element(p, V * group, narrow), r.v, narrow);
}
template <int V> struct __align__(V) Bytes {
  unsigned char v[V];
};

// Four are four neighbouring elements. The last ones of a vector may be fewer.
struct Four {
  float v[4];
};

// aligned4 says whether four values can be read at once.
__device__ __forceinline__ bool aligned4(const void *p, unsigned narrow) { return ((unsigned long long)p & (narrow ? 7 : 15)) == 0; }

// load4 reads elements i to i+3 of the n at p; what is beyond n is 0.
__device__ __forceinline__ Four load4(const float *p, unsigned i, unsigned n, unsigned narrow = 0) {
  Four r;
  p = element(p, i, narrow);
  if (n - i >= 4 && aligned4(p, narrow)) {
    load_values(r.v, p, narrow);
    return r;
  }
#pragma unroll
  for (unsigned k = 0; k < 4; k++) {
    float one[1] = {0.f};
    if (k < n - i) load_values(one, element(p, k, narrow), narrow);
    r.v[k] = one[0];
  }
  return r;
}

// store4 writes elements i to i+3 of the n at p, leaving out what is beyond n.
__device__ __forceinline__ void store4(float *p, unsigned i, unsigned n, const Four &r, unsigned narrow = 0) {
  p = element(p, i, narrow);
  if (n - i >= 4 && aligned4(p, narrow)) {
    store_values(p, r.v, narrow);
    return;
  }
#pragma unroll
  for (unsigned k = 0; k < 4; k++) {
    const float one[1] = {r.v[k]};
    if (k < n - i) store_values(element(p, k, narrow), one, narrow);
  }
}

// thread_index counts the threads of a one-dimensional grid.
__device__ __forceinline__ unsigned thread_index() { return blockIdx.x * blockDim.x + threadIdx.x; }

// warp_sum adds the v of a warp's threads, in a fixed order, and returns the sum to all of them.
__device__ __forceinline__ float warp_sum(float v) {
#pragma unroll
  for (unsigned lane = 16; lane > 0; lane /= 2) v += __shfl_xor_sync(0xffffffffu, v, lane);
  return v;
}

// block_sum adds the v of a block of 256 threads, in a fixed order, and returns the sum to thread 0.
__device__ __forceinline__ float block_sum(float v) {
  __shared__ float warps[8];
  v = warp_sum(v);
  if (threadIdx.x % 32 == 0) warps[threadIdx.x / 32] = v;
  __syncthreads();
  if (threadIdx.x == 0)
    for (unsigned w = 1; w < 8; w++) v += warps[w];
  return v;
}

// block_total is block_sum with the sum returned to all threads. It may be called again at once: thread 0 writes the next
// total behind the barrier of the next block_sum, which a thread reaches when it has read this one.
__device__ __forceinline__ float block_total(float v) {
  __shared__ float total;
  v = block_sum(v);
  if (threadIdx.x == 0) total = v;
  __syncthreads();
  return total;
}
