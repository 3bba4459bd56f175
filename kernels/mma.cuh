// Products of small matrices on tensor cores, for compute capability 8.0 and newer.
//
// A warp holds a matrix in its registers. Of a, 16 rows by 8 columns, lane l has elements (l/4, l%4), (l/4+8, l%4), (l/4, l%4+4) and
// (l/4+8, l%4+4); of b, 8 by 8, elements (l%4, l/4) and (l%4+4, l/4); of d, 16 by 8, elements (l/4, 2*(l%4)), (l/4, 2*(l%4)+1),
// and the same of row l/4+8.
#pragma once

static __device__ __forceinline__ unsigned shared_address(const void *p) { return (unsigned)__cvta_generic_to_shared(p); }

// load_matrices loads four matrices of 8 rows of four floats, which are 16 bytes in a row. Lanes 8i to 8i+7 have the addresses in shared
// memory of the rows of matrix i; lane l gets element l%4 of row l/4 of each.
static __device__ __forceinline__ void load_matrices(unsigned (&v)[4], unsigned address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(v[0]), "=r"(v[1]), "=r"(v[2]), "=r"(v[3])
               : "r"(address));
}

// load_words loads row e of each of four matrices b from shared memory: the same of one after the other.
static __device__ __forceinline__ void load_words(unsigned (&b)[4][2], int e, unsigned address) {
  asm volatile("ld.shared.v4.u32 {%0, %1, %2, %3}, [%4];" : "=r"(b[0][e]), "=r"(b[1][e]), "=r"(b[2][e]), "=r"(b[3][e]) : "r"(address));
}

// multiply_add adds the product of a and b, floats of which the low 13 bits are not looked at, to d.
static __device__ __forceinline__ void multiply_add(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
  asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// multiply_add_pairs adds the product of a, 16 rows by 16 columns, and b, 16 by 8, of bfloat16s to d. A register has two neighbours along the
// sum: those that multiply_add has at k are at 2k and 2k+1 here.
static __device__ __forceinline__ void multiply_add_pairs(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// round_tf32 returns the bits of a float rounded to the nearest TF32, of two as near to the one farther from zero, in all but the low 13
// bits, which multiply_add does not look at. A carry out of the bits of a NaN would make a number of it.
static __device__ __forceinline__ unsigned round_tf32(unsigned bits) {
  return __uint_as_float(bits) == __uint_as_float(bits) ? bits + 0x1000u : bits;
}

// A precision says into which parts a factor is split, and which products of parts, the smallest first, make the product of two factors:
// product i is that of part of_a(i) of a and part of_b(i) of b. PAIRS says that a word is two factors.
//
// TF32 has one part: the factor rounded.
struct TF32 {
  enum { PARTS = 1, PRODUCTS = 1, PAIRS = false };
  static __device__ constexpr int of_a(int) { return 0; }
  static __device__ constexpr int of_b(int) { return 0; }
  static __device__ __forceinline__ void split(unsigned (&part)[PARTS], unsigned bits) { part[0] = round_tf32(bits); }
};

// BF16 is pairs of bfloat16s as they are.
struct BF16 {
  enum { PARTS = 1, PRODUCTS = 1, PAIRS = true };
  static __device__ constexpr int of_a(int) { return 0; }
  static __device__ constexpr int of_b(int) { return 0; }
  static __device__ __forceinline__ void split(unsigned (&part)[PARTS], unsigned bits) { part[0] = bits; }
};

// Split is float32: the parts are the nearest TF32, and what that leaves of the factor. This is a multiple of the factor's last bit, of
// at most 2^12 of them, and the tensor core drops the last one where it needs 12 bits: each factor is off by 2^-23 of it at most. The
// product of both rests, 2^-22 of the whole, is left out. So a product is off by 2^-21 at most. Of a factor so small that its rest is
// no normal number, multiples of 2^-136 are left. An infinity leaves a NaN, and what rounds to one the other infinity: a sum with such a
// factor is not finite, and must be made anew.
struct Split {
  enum { PARTS = 2, PRODUCTS = 3, PAIRS = false };
  static __device__ constexpr int of_a(int i) { return i == 0; }
  static __device__ constexpr int of_b(int i) { return i == 1; }
  static __device__ __forceinline__ void split(unsigned (&part)[PARTS], unsigned bits) {
    part[0] = bits + 0x1000u & ~0x1fffu;
    part[1] = __float_as_uint(__uint_as_float(bits) - __uint_as_float(part[0]));
  }
};

// split splits N factors in a precision F.
template <class F, int N> static __device__ __forceinline__ void split(unsigned (&parts)[F::PARTS][N], const unsigned (&bits)[N]) {
#pragma unroll
  for (int e = 0; e < N; e++) {
    unsigned part[F::PARTS];
    F::split(part, bits[e]);
#pragma unroll
    for (int p = 0; p < F::PARTS; p++) parts[p][e] = part[p];
  }
}

// multiply adds the product of parts of a and b in a precision F to d.
template <class F> static __device__ __forceinline__ void multiply(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
  if constexpr (F::PAIRS)
    multiply_add_pairs(d, a, b);
  else
    multiply_add(d, a, b);
}

// keep_maxima clears those of a unit's values that a pool took from another place of its window than this one. The places of maxima are bytes.
template <class F> static __device__ __forceinline__ void keep_maxima(float (&v)[4], const unsigned *places, unsigned place) {
  unsigned chosen[2] = {places[0], 0};
  if (F::PAIRS) {
    const uint2 q = *(const uint2 *)places;
    chosen[0] = q.x, chosen[1] = q.y;
  }
#pragma unroll
  for (int h = 0; h < (F::PAIRS ? 2 : 1); h++) {
    const unsigned others = chosen[h] ^ place * 0x01010101u;
#pragma unroll
    for (int e = 0; e < 4; e++) {
      if (!(others & 255u << 8 * e)) continue;
      float &word = v[F::PAIRS ? h * 2 + e / 2 : e];
      word = F::PAIRS ? __uint_as_float(__float_as_uint(word) & (e % 2 ? 0xffffu : 0xffff0000u)) : 0.f;
    }
  }
}
