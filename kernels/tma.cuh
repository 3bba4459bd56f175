// Copies of the tensor memory accelerator to shared memory, and the barriers that they tell, for compute capability 9.0 and newer.
#pragma once

#define __grid_constant__ __attribute__((grid_constant))

// TensorMap is a CUtensorMap, a parameter of a kernel.
struct __align__(64) TensorMap {
  unsigned long long words[16];
};

// A barrier of 8 bytes in shared memory, here its address, has phases 0, 1, ... A phase is complete when so many have arrived and as many bytes have
// landed as were expected. barrier_init is followed by publish_barriers, by the same thread.
static __device__ __forceinline__ void barrier_init(unsigned barrier, unsigned arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(barrier), "r"(arrivals) : "memory");
}

static __device__ __forceinline__ void publish_barriers() { asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory"); }

static __device__ __forceinline__ void barrier_arrive(unsigned barrier) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(barrier) : "memory");
}

// barrier_expect arrives, and has the phase wait for so many bytes more.
static __device__ __forceinline__ void barrier_expect(unsigned barrier, unsigned bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(barrier), "r"(bytes) : "memory");
}

// barrier_wait waits for a phase, of which it wants the last bit, if the one before it is complete.
static __device__ __forceinline__ void barrier_wait(unsigned barrier, unsigned phase) {
  unsigned done;
  do
    asm volatile("{\n\t.reg .pred done;\n\tmbarrier.try_wait.parity.shared::cta.b64 done, [%1], %2;\n\tselp.u32 %0, 1, 0, done;\n\t}"
                 : "=r"(done)
                 : "r"(barrier), "r"(phase)
                 : "memory");
  while (!done);
}

// copy_box copies the box of a tensor that begins at such a place, of which the first number counts neighbours, to an address of shared memory, a multiple
// of 128. What is outside of the tensor is 0 there.
static __device__ __forceinline__ void copy_box(unsigned to, const TensorMap &map, int x0, int x1, int x2, int x3, unsigned barrier) {
  asm volatile("cp.async.bulk.tensor.4d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%2, %3, %4, %5}], [%6];" ::"r"(to), "l"(&map),
               "r"(x0), "r"(x1), "r"(x2), "r"(x3), "r"(barrier)
               : "memory");
}

// sync_threads has so many threads, those of whole warps, wait for each other at a barrier of the block from 1 to 15.
template <int Barrier, int Threads> static __device__ __forceinline__ void sync_threads() {
  asm volatile("bar.sync %0, %1;" ::"n"(Barrier), "n"(Threads) : "memory");
}
