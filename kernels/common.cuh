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

// Floats and Bytes are V neighbouring channels of a pixel, read and written at once.
template <int V> struct __align__(4 * V) Floats {
  float v[V];
};
template <int V> struct __align__(V) Bytes {
  unsigned char v[V];
};

// Four are four neighbouring elements. The last ones of a vector may be fewer.
struct Four {
  float v[4];
};

__device__ __forceinline__ bool aligned16(const void *p) { return ((unsigned long long)p & 15) == 0; }

// load4 reads elements i to i+3 of the n at p; what is beyond n is 0.
__device__ __forceinline__ Four load4(const float *p, unsigned i, unsigned n) {
  Four r;
  if (n - i >= 4 && aligned16(p + i)) {
    float4 q = *(const float4 *)(p + i);
    r.v[0] = q.x, r.v[1] = q.y, r.v[2] = q.z, r.v[3] = q.w;
    return r;
  }
#pragma unroll
  for (unsigned k = 0; k < 4; k++) r.v[k] = k < n - i ? p[i + k] : 0.f;
  return r;
}

// store4 writes elements i to i+3 of the n at p, leaving out what is beyond n.
__device__ __forceinline__ void store4(float *p, unsigned i, unsigned n, const Four &r) {
  if (n - i >= 4 && aligned16(p + i)) {
    *(float4 *)(p + i) = make_float4(r.v[0], r.v[1], r.v[2], r.v[3]);
    return;
  }
#pragma unroll
  for (unsigned k = 0; k < 4; k++)
    if (k < n - i) p[i + k] = r.v[k];
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
