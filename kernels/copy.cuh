// Copies to shared memory, which a device of compute capability 8.0 or newer makes in the background.
#pragma once

// copy16 copies four floats, copy8 two, copy4 one, to a place or, always in the background, to an address of shared memory.
#if __CUDA_ARCH__ >= 800
static __device__ __forceinline__ void copy16(unsigned to, const float *from) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(to), "l"(__cvta_generic_to_global(from)) : "memory");
}

static __device__ __forceinline__ void copy8(unsigned to, const void *from) {
  asm volatile("cp.async.ca.shared.global [%0], [%1], 8;" ::"r"(to), "l"(__cvta_generic_to_global(from)) : "memory");
}

static __device__ __forceinline__ void copy4(unsigned to, const void *from) {
  asm volatile("cp.async.ca.shared.global [%0], [%1], 4;" ::"r"(to), "l"(__cvta_generic_to_global(from)) : "memory");
}
#endif

static __device__ __forceinline__ void copy16(float *to, const float *from) {
#if __CUDA_ARCH__ >= 800
  copy16((unsigned)__cvta_generic_to_shared(to), from);
#else
  *(float4 *)to = *(const float4 *)from;
#endif
}

static __device__ __forceinline__ void copy4(float *to, const float *from) {
#if __CUDA_ARCH__ >= 800
  copy4((unsigned)__cvta_generic_to_shared(to), from);
#else
  *to = *from;
#endif
}

// end_copies makes a group of the copies of a thread since the last one. wait_for_copies waits until all but the last so many groups
// have landed.
static __device__ __forceinline__ void end_copies() {
#if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}

template <int Groups = 0> static __device__ __forceinline__ void wait_for_copies() {
#if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.wait_group %0;" ::"n"(Groups) : "memory");
#endif
}

// store_shared stores two or four floats to shared memory at once; left to the compiler, values that were just computed go one by one.
static __device__ __forceinline__ void store_shared(float *to, float a, float b) {
  asm volatile("st.shared.v2.f32 [%0], {%1, %2};" ::"r"((unsigned)__cvta_generic_to_shared(to)), "f"(a), "f"(b) : "memory");
}

static __device__ __forceinline__ void store_shared(float *to, const float (&v)[4]) {
  asm volatile("st.shared.v4.f32 [%0], {%1, %2, %3, %4};" ::"r"((unsigned)__cvta_generic_to_shared(to)), "f"(v[0]), "f"(v[1]),
               "f"(v[2]), "f"(v[3])
               : "memory");
}
