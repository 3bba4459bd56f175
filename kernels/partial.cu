#include "partial.cuh"

// Gradients are what sums are added to.
struct Gradients {
  template <int V> struct Columns {
    Floats<V> *to, v;
    __device__ __forceinline__ void load(const Gradients &, float *at) { to = (Floats<V> *)at, v = *to; }
    __device__ __forceinline__ void take(const Gradients &, const Floats<V> &sum) {
      plus(v, sum);
      *to = v;
    }
  };
};

// For each of the sums: w[i] += the sum of column i of the rows, bias[i] += that of column nw + i. Blocks have 256 threads.
extern "C" __global__ void __launch_bounds__(256, 6) partial_sum(ALL_SUMS_PARAMS) {
  SUMS_OF_BLOCK(s)
  add_up(s, Gradients());
}
