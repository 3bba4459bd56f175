// Each warp of a block copies boxes of a tensor to stages of shared memory, in turn, and waits for the copy before in a stage: a loop like the one
// whose times github.com/revollllt/flash-vla measured on an H100 (see copier.go). copies.ptx is made of it by nvcc 12.4 -arch=sm_90a -ptx.
typedef unsigned long long u64;
typedef unsigned int u32;
struct alignas(64) Map {
  u64 words[16];
};

static __device__ __forceinline__ u32 shared_address(const void *p) { return (u32)__cvta_generic_to_shared(p); }

static __device__ __forceinline__ void wait(u64 *barrier, u32 parity) {
  u32 done = 0;
  while (!done)
    asm volatile("{\n\t.reg .pred done;\n\tmbarrier.try_wait.parity.shared::cta.b64 done, [%1], %2;\n\tselp.u32 %0, 1, 0, done;\n\t}"
                 : "=r"(done)
                 : "r"(shared_address(barrier)), "r"(parity)
                 : "memory");
}

extern __shared__ __align__(1024) unsigned char pool[];

extern "C" __global__ void __launch_bounds__(256, 1)
    copies(int steps, int stages, int bytes, int mask0, int shift0, int step0, int mask1, int step1, const __grid_constant__ Map map) {
  const int warp = threadIdx.x / 32, warps = blockDim.x / 32;
  u64 *barriers = (u64 *)(pool + (u64)warps * stages * bytes);
  if (threadIdx.x == 0)
    for (int i = 0; i < warps * stages; i++) asm volatile("mbarrier.init.shared::cta.b64 [%0], 1;" ::"r"(shared_address(barriers + i)));
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
  __syncthreads();
  unsigned char *mine = pool + (u64)warp * stages * bytes;
  u64 *barrier = barriers + warp * stages;
  u32 phases = 0;
  const int base = blockIdx.x * warps + warp;
  const bool first = threadIdx.x % 32 == 0;
  for (int k = 0; k < steps; k++) {
    const int s = k % stages;
    if (k >= stages) {
      wait(barrier + s, phases >> s & 1);
      phases ^= 1u << s;
    }
    __syncwarp();
    const int i = base * steps + k, x = (i & mask0) * step0, y = (i >> shift0 & mask1) * step1;
    if (first) {
      asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(barrier + s)), "r"(bytes) : "memory");
      asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%2, %3}], [%4];" ::"r"(
                       shared_address(mine + (u64)s * bytes)),
                   "l"(&map), "r"(x), "r"(y), "r"(shared_address(barrier + s))
                   : "memory");
    }
  }
  const int tail = steps < stages ? steps : stages;
  for (int j = 0; j < tail; j++) {
    const int s = (steps - tail + j) % stages;
    wait(barrier + s, phases >> s & 1);
    phases ^= 1u << s;
  }
  __syncthreads();
}
