// Products of matrices on tensor cores, of factors in TF32, bfloat16 among them, and in parts.
#pragma once
#include "gemm.cuh"
#include "mma.cuh"

// Tensor is how a warp multiplies its 32 rows by 8*TN columns of the panels A and B, factors in a precision F: in products of 16 by 8 by 8.
template <class F, int TN, class A, class B, bool TransA, bool TransB> struct Tensor {
  enum { FINITE = F::PARTS > 1 };
  float sum[2][TN][4];

  __device__ __forceinline__ Tensor() {
#pragma unroll
    for (int i = 0; i < 2; i++)
#pragma unroll
      for (int j = 0; j < TN; j++) clear(sum[i][j]);
  }

  // to_bf16 rounds factors to bfloat16, which is a TF32 too, if they are to be.
  static __device__ __forceinline__ void to_bf16(unsigned (&bits)[4], unsigned rounding) {
#pragma unroll
    for (int e = 0; e < 4; e++)
      if (F::PARTS == 1 && rounding == TO_BF16) bits[e] = __float_as_uint(round_factor(__uint_as_float(bits[e]), TO_BF16));
  }

  // add adds the products of a step; a and b are the first of the warp's rows and columns. A factor that is stored along k is loaded as
  // matrices, of which a lane gives the address of a row; of others a lane loads its elements.
  __device__ __forceinline__ void add(const float *a, const float *b, unsigned rounding) {
    const unsigned lane = threadIdx.x % 32, row = lane % 8, half = lane / 8 % 2, quad = lane / 16, k = lane % 4, r = lane / 4;
    unsigned av[2][F::PARTS][4];
#pragma unroll
    for (int i = 0; i < 2; i++) {
      unsigned bits[4];
      if (!TransA)
        load_matrices(bits, shared_address(a + (i * 16 + half * 8 + row) * A::ROW + (quad * 4 ^ (row & 4))));
      else
#pragma unroll
        for (int e = 0; e < 4; e++) bits[e] = __float_as_uint(a[(k + e / 2 * 4) * A::ROW + i * 16 + r + e % 2 * 8]);
      to_bf16(bits, rounding);
      split<F>(av[i], bits);
    }
#pragma unroll
    for (int j = 0; j < TN; j += 2) {
      unsigned bits[4], bv[2][F::PARTS][2]; // k 0 to 3 and 4 to 7 of eight columns, and of the next eight
      if (TransB)
        load_matrices(bits, shared_address(b + (j * 8 + quad * 8 + row) * B::ROW + (half * 4 ^ (row & 4))));
      else
#pragma unroll
        for (int e = 0; e < 4; e++) bits[e] = __float_as_uint(b[(k + e % 2 * 4) * B::ROW + j * 8 + e / 2 * 8 + r]);
      to_bf16(bits, rounding);
      split<F>(bv[0], {bits[0], bits[1]});
      split<F>(bv[1], {bits[2], bits[3]});
#pragma unroll
      for (int p = 0; p < F::PRODUCTS; p++)
#pragma unroll
        for (int i = 0; i < 2; i++)
#pragma unroll
          for (int h = 0; h < 2; h++) multiply_add(sum[i][j + h], av[i][F::of_a(p)], bv[h][F::of_b(p)]);
    }
  }

  // put stores the sums, in rows of ld.
  __device__ __forceinline__ void put(float *to, unsigned ld) const {
    const unsigned row = threadIdx.x % 32 / 4, column = threadIdx.x % 4 * 2;
#pragma unroll
    for (int i = 0; i < 2; i++)
#pragma unroll
      for (int j = 0; j < TN; j++)
#pragma unroll
        for (int e = 0; e < 4; e += 2)
          store_shared(to + (i * 16 + row + e * 4) * ld + j * 8 + column, sum[i][j][e], sum[i][j][e + 1]);
  }
};

template <int TN, class A, class B, bool TransA, bool TransB> using TensorTF32 = Tensor<TF32, TN, A, B, TransA, TransB>;
template <int TN, class A, class B, bool TransA, bool TransB> using TensorSplit = Tensor<Split, TN, A, B, TransA, TransB>;

GEMM(_tensor4, 32, 32, 4, 8, 4, TensorTF32, 2)
GEMM(_tensor_square4, 64, 64, 4, 2, 4, TensorTF32, 2)
GEMM(_tensor_wide4, 128, 64, 8, 2, 4, TensorTF32, 1)
GEMM(_tensor_split4, 32, 32, 4, 8, 4, TensorSplit, 2)
GEMM(_tensor_split_square4, 64, 64, 4, 2, 4, TensorSplit, 2)
GEMM(_tensor_split_wide4, 128, 64, 8, 2, 4, TensorSplit, 1)
