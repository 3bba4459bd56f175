// The part of CUDA's prelude that the kernels use. nvcc includes a file of this name first; with this one it needs none
// of CUDA's own headers.
#pragma once
#define __CUDA_RUNTIME_H__

#define __host__ __attribute__((__host__))
#define __device__ __attribute__((__device__))
#define __global__ __attribute__((__global__))
#define __shared__ __attribute__((__shared__))
#define __constant__ __attribute__((__constant__))
#define __device_builtin__ __attribute__((__device_builtin__))
#define __launch_bounds__(...) __attribute__((__launch_bounds__(__VA_ARGS__)))
#define __forceinline__ __inline__ __attribute__((always_inline))
#define __align__(n) __attribute__((aligned(n)))

struct __device_builtin__ uint3 { unsigned x, y, z; };
struct __device_builtin__ dim3 { unsigned x, y, z; };
struct __device_builtin__ __align__(4) uchar4 { unsigned char x, y, z, w; };
struct __device_builtin__ __align__(8) float2 { float x, y; };
struct __device_builtin__ __align__(16) float4 { float x, y, z, w; };
struct __device_builtin__ __align__(8) uint2 { unsigned x, y; };
struct __device_builtin__ __align__(16) uint4 { unsigned x, y, z, w; };

extern "C" {
extern const uint3 __device_builtin__ __device__ threadIdx;
extern const uint3 __device_builtin__ __device__ blockIdx;
extern const dim3 __device_builtin__ __device__ blockDim;
extern const dim3 __device_builtin__ __device__ gridDim;
__device__ __device_builtin__ void __syncthreads(void);

// Operations that round as IEEE has it and are never fused.
__device__ __device_builtin__ float __fadd_rn(float, float);
__device__ __device_builtin__ float __fsub_rn(float, float);
__device__ __device_builtin__ float __fmul_rn(float, float);
__device__ __device_builtin__ float __fdiv_rn(float, float);
__device__ __device_builtin__ float __fsqrt_rn(float);
__device__ __device_builtin__ float __uint_as_float(unsigned);
__device__ __device_builtin__ unsigned __float_as_uint(float);
__device__ unsigned __nvvm_shfl_bfly_sync(unsigned mask, unsigned v, unsigned lane, unsigned clamp);

// CUDA's library of device functions.
__device__ float __nv_fmaf(float, float, float);
__device__ float __nv_fmaxf(float, float);
__device__ float __nv_fminf(float, float);
__device__ float __nv_fabsf(float);
__device__ float __nv_expf(float);
__device__ float __nv_expm1f(float);
__device__ float __nv_log1pf(float);
__device__ float __nv_logf(float);
__device__ float __nv_tanhf(float);
}

__device__ __forceinline__ unsigned long long __cvta_generic_to_shared(const void *p) {
  return (unsigned long long)__nv_cvta_generic_to_shared_impl(p);
}
__device__ __forceinline__ unsigned long long __cvta_generic_to_global(const void *p) {
  return (unsigned long long)__nv_cvta_generic_to_global_impl(p);
}
__device__ __forceinline__ float __shfl_xor_sync(unsigned mask, float v, unsigned lane) {
  return __uint_as_float(__nvvm_shfl_bfly_sync(mask, __float_as_uint(v), lane, 0x1f));
}
__device__ __forceinline__ float4 make_float4(float x, float y, float z, float w) {
  float4 r = {x, y, z, w};
  return r;
}
__device__ __forceinline__ float fmaf(float a, float b, float c) { return __nv_fmaf(a, b, c); }
__device__ __forceinline__ float fmaxf(float a, float b) { return __nv_fmaxf(a, b); }
__device__ __forceinline__ float fminf(float a, float b) { return __nv_fminf(a, b); }
__device__ __forceinline__ float fabsf(float a) { return __nv_fabsf(a); }
__device__ __forceinline__ float expf(float a) { return __nv_expf(a); }
__device__ __forceinline__ float expm1f(float a) { return __nv_expm1f(a); }
__device__ __forceinline__ float log1pf(float a) { return __nv_log1pf(a); }
__device__ __forceinline__ float logf(float a) { return __nv_logf(a); }
__device__ __forceinline__ float tanhf(float a) { return __nv_tanhf(a); }
__device__ __forceinline__ int max(int a, int b) { return a > b ? a : b; }
__device__ __forceinline__ int min(int a, int b) { return a < b ? a : b; }
