// Adding up partial sums, by a launch of its own or by that of an optimiser.
#pragma once
#include "common.cuh"

// Sums are the partial sums of the gradients of a layer: rows of n elements, of which nw belong to the weights and the others
// to the bias. From block first of the launch on, each block takes so many columns of them: 1024 or 256, four or one a thread, of
// few rows; 128 or 32, four or one for 8 threads, of more; or 8, by 32 threads each, of many.
struct Sums {
  const float *partials;
  float *w, *bias;
  unsigned nw, n, rows, columns, first;
};

// FEW is how many rows one thread adds up. ROWS is how many elements a thread asks for before it adds the first, because it would
// else wait for the memory at every one.
enum { FEW = 8, ROWS = 16 };

// plus adds to V columns.
template <int V> __device__ __forceinline__ void plus(Floats<V> &to, const Floats<V> &v) {
#pragma unroll
  for (int e = 0; e < V; e++) to.v[e] += v.v[e];
}

// columns_of_few is the sums of V columns of few rows, by one thread, which adds them by halves: 0 and 4, 1 and 5, and so on.
template <int V> __device__ __forceinline__ Floats<V> columns_of_few(const Sums &s, unsigned column) {
  Floats<V> v[FEW] = {};
  const float *p = s.partials + column;
#pragma unroll
  for (unsigned k = 0; k < FEW; k++, p += s.n)
    if (k < s.rows) v[k] = *(const Floats<V> *)p;
#pragma unroll
  for (unsigned half = FEW / 2; half > 0; half /= 2)
#pragma unroll
    for (unsigned k = 0; k < half; k++) plus(v[k], v[k + half]);
  return v[0];
}

// columns_of_many is the sums of V columns of many rows, by T threads, of which thread t adds up rows t, t+T, ...; the sums of the
// threads are then added by halves. Thread 0 has the result.
template <unsigned T, int V>
__device__ __forceinline__ Floats<V> columns_of_many(Floats<V> *sums, const Sums &s, unsigned column, unsigned t) {
  Floats<V> sum = {};
  if (column < s.n) {
    const unsigned long long step = (unsigned long long)T * s.n;
    const float *p = s.partials + (unsigned long long)t * s.n + column;
    for (unsigned r = t; r < s.rows; r += T * (ROWS / V)) {
      Floats<V> v[ROWS / V] = {};
#pragma unroll
      for (unsigned u = 0; u < ROWS / V; u++, p += step)
        if (r + T * u < s.rows) v[u] = *(const Floats<V> *)p;
#pragma unroll
      for (unsigned u = 0; u < ROWS / V; u++) plus(sum, v[u]);
    }
  }
  sums[threadIdx.x] = sum;
#pragma unroll
  for (unsigned half = T / 2; half > 0; half /= 2) {
    __syncthreads();
    if (t < half) {
      plus(sum, sums[threadIdx.x + half * (256 / T)]);
      sums[threadIdx.x] = sum;
    }
  }
  return sum;
}

// at is the gradient of a column.
__device__ __forceinline__ float *at(const Sums &s, unsigned column) {
  return column < s.nw ? s.w + column : s.bias + (column - s.nw);
}

// add_few and add_many are what a block of 256 threads does. To says what becomes of V columns: a To::Columns<V> is loaded from their gradients before
// they are added up, so that this waits for the memory together, and then takes the sums.
template <int V, class To> __device__ __forceinline__ void add_few(const Sums &s, unsigned block, const To &to) {
  const unsigned column = (256 * block + threadIdx.x) * V;
  if (column >= s.n) return;
  typename To::template Columns<V> columns;
  columns.load(to, at(s, column));
  columns.take(to, columns_of_few<V>(s, column));
}

template <unsigned T, int V, class To> __device__ __forceinline__ void add_many(float4 *sums, const Sums &s, unsigned block, const To &to) {
  const unsigned wide = 256 / T, column = (wide * block + threadIdx.x % wide) * V, t = threadIdx.x / wide;
  const bool mine = t == 0 && column < s.n;
  typename To::template Columns<V> columns;
  if (mine) columns.load(to, at(s, column));
  const Floats<V> sum = columns_of_many<T>((Floats<V> *)sums, s, column, t);
  if (mine) columns.take(to, sum);
}

// add_up does the block of a launch that adds up sums s, of blocks of 256 threads.
template <class To> __device__ __forceinline__ void add_up(const Sums &s, const To &to) {
  __shared__ float4 sums[256];
  const unsigned block = blockIdx.x - s.first;
  switch (s.columns) {
  case 1024: return add_few<4>(s, block, to);
  case 256: return add_few<1>(s, block, to);
  case 128: return add_many<8, 4>(sums, s, block, to);
  case 32: return add_many<8, 1>(sums, s, block, to);
  case 8: return add_many<32, 1>(sums, s, block, to);
  }
}

#define SUMS_PARAMS(i)                                                                                                 \
  const float *partials##i, float *w##i, float *bias##i, unsigned nw##i, unsigned n##i, unsigned rows##i,              \
      unsigned columns##i, unsigned first##i
#define SUMS(i)                                                                                                        \
  { partials##i, w##i, bias##i, nw##i, n##i, rows##i, columns##i, first##i }

// ALL_SUMS_PARAMS are the parameters of a kernel that adds up the partial sums of up to eight layers. Those that are not given begin behind the last
// block. SUMS_OF_BLOCK are those of a block.
#define ALL_SUMS_PARAMS                                                                                                \
  SUMS_PARAMS(0), SUMS_PARAMS(1), SUMS_PARAMS(2), SUMS_PARAMS(3), SUMS_PARAMS(4), SUMS_PARAMS(5), SUMS_PARAMS(6),      \
      SUMS_PARAMS(7)
#define SUMS_OF_BLOCK(s)                                                                                               \
  Sums s = SUMS(0);                                                                                                    \
  if (blockIdx.x >= first1) s = SUMS(1);                                                                               \
  if (blockIdx.x >= first2) s = SUMS(2);                                                                               \
  if (blockIdx.x >= first3) s = SUMS(3);                                                                               \
  if (blockIdx.x >= first4) s = SUMS(4);                                                                               \
  if (blockIdx.x >= first5) s = SUMS(5);                                                                               \
  if (blockIdx.x >= first6) s = SUMS(6);                                                                               \
  if (blockIdx.x >= first7) s = SUMS(7);
