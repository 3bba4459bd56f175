// The gradient of weights on tensor cores, of factors in TF32, in parts, and of bfloat16s.
//
// A product of matrices has channels of the other tensor as rows of a, channels of the window's image as columns of b, and eight positions
// along the sum, or 16 of bfloat16s: those of a column of as many rows of an image. While a warp goes along the columns it keeps the pixels under three
// taps of a row of the window in registers, and loads only those that are new. Factors are put in the order of registers, and those in
// TF32 rounded, once for all warps of a block. Those in parts are split when they are used, which takes the registers of pixels that could
// be kept.
#pragma once
#include "conv_halo_gradient.cuh"
#include "mma.cuh"

// JOINED is the number of rows of a unit that are not joined with rows above (see Stage), ROW_TAPS that of the taps of a row of the window that a warp has, TAP_ROWS the number of such
// threes that a block has, and SUMS that of the sums of a thread.
enum { JOINED = 4, ROW_TAPS = 3, TAP_ROWS = 3, SUMS = ROW_TAPS * TILE };

// TensorGradient is a Gradient whose positions are dealt in units: eight or 16 rows of a strip of an image, width positions wide. Each part has
// least units, the first ones of them one more.
struct TensorGradient {
  Source g, s;
  unsigned least, more;
  unsigned stride;
  int top, left;
  unsigned kh, kw;
  float *out;
  long long first, per_m, per_tap, per_ch, size;
  unsigned add;
  unsigned width, strips, bands; // strips of an image, and units of a strip
  Divider by_width, by_strips, by_bands, by_pitch, by_cells;
  BiasSum bias;
};

// cells_of is the number of windows of a pool that n positions meet, which begin with a window where the pool divides n.
static __device__ __forceinline__ unsigned cells_of(const Source &g, unsigned n) {
  const unsigned whole = divide(n, g.by_factor);
  return whole * g.factor == n ? whole : whole + 2;
}

// Stage is where a unit lies in shared memory, in words: as it is copied, pixels of TILE channels, and of M channels those of the other
// tensor, with bytes behind them that say where maxima were if it is pooled; and as it is multiplied. There each of the first four rows of
// the other tensor, and each row of pixels under one of them, is joined with the row that is four rows of positions below, channel by
// channel: a word is a float or, of Pairs, the bfloat16s of two rows. Of these all is twice as high, and a row is joined with those that are 4, 8
// and 12 below. Rows that lanes read at the same time lie eight banks apart.
template <bool Pairs, int M> struct Stage {
  enum { BAND = Pairs ? 16 : 8, SIZE = Pairs ? 2 : 4 }; // rows of a unit, bytes of a value
  unsigned pitch, rows; // of the pixels
  unsigned cells_pitch, cells_rows, cells, places;
  unsigned pixels, pixel_row, pixel_rows, others, other_row;

  __device__ __forceinline__ Stage(const TensorGradient &g) {
    pitch = (g.width - 1) * g.stride + (g.kw + ROW_TAPS - 1) / ROW_TAPS * ROW_TAPS;
    rows = (BAND - 1) * g.stride + g.kh;
    cells_pitch = cells_of(g.g, g.width), cells_rows = cells_of(g.g, BAND);
    cells = rows * pitch * TILE * SIZE / 4;
    places = cells + cells_rows * cells_pitch * M * SIZE / 4;
    pixels = places + (g.g.places ? cells_rows * cells_pitch * M / 4 : 0);
    pixel_row = pitch * 2 * TILE + (g.stride == 2 ? 4 : 8);
    pixel_rows = (JOINED - 1) * g.stride + g.kh;
    others = pixels + pixel_rows * pixel_row;
    other_row = g.width * 2 * M + 8;
  }
};

// TensorUnit is where a unit lies: the image, its first position, and how many rows it has, and positions in each.
struct TensorUnit {
  unsigned n, y, x, rows, positions;
};

template <int BAND> static __device__ __forceinline__ TensorUnit unit_at(const TensorGradient &g, unsigned unit) {
  const unsigned strip = divide(unit, g.by_bands), n = divide(strip, g.by_strips);
  TensorUnit u = {n, (unit - strip * g.bands) * BAND, (strip - n * g.strips) * g.width, BAND, g.width};
  if (g.g.h - u.y < u.rows) u.rows = g.g.h - u.y;
  if (g.g.w - u.x < u.positions) u.positions = g.g.w - u.x;
  return u;
}

// Deal is how T threads share out rows of so many columns of Q times N channels, at most T/Q: a thread has N channels of a column, from
// channel ch on, in every step'th row from row on.
struct Deal {
  unsigned ch, column, row, step;
};

template <int Q, int N, int T> static __device__ __forceinline__ Deal deal(unsigned columns, Divider by_columns) {
  const unsigned p = threadIdx.x / Q, row = divide(p, by_columns), step = divide(T / Q, by_columns);
  return {threadIdx.x % Q * N, p - row * columns, row < step ? row : nowhere, step};
}

// copy_window brings channels from ch on of the pixels under a unit's windows to shared memory, 0 where there are none.
template <bool Pairs, int M, int T>
static __device__ __forceinline__ void copy_window(const TensorGradient &g, const Stage<Pairs, M> &stage, const TensorUnit &u, float *to, unsigned ch) {
  constexpr unsigned SIZE = Stage<Pairs, M>::SIZE, N = 16 / SIZE; // channels of 16 bytes
  const float zero[4] = {0.f, 0.f, 0.f, 0.f};
  const Deal d = deal<TILE / N, N, T>(stage.pitch, g.by_pitch);
  const int top = (int)(u.y * g.stride) - g.top, x = (int)(u.x * g.stride + d.column) - g.left;
  const bool inside = ch + d.ch < g.s.c && d.column < (u.positions - 1) * g.stride + g.kw && (unsigned)x < g.s.w;
  const long long first = (long long)((int)(u.n * g.s.image) + (top + (int)d.row) * (int)g.s.row + x) * (int)g.s.c + ch + d.ch;
  const char *from = (const char *)g.s.p + first * SIZE;
  to += ((d.row * stage.pitch + d.column) * TILE + d.ch) * SIZE / 4;
#pragma unroll 1
  for (unsigned row = d.row; row < stage.rows; row += d.step, from += d.step * g.s.row * g.s.c * SIZE, to += d.step * stage.pitch * TILE * SIZE / 4) {
    if (inside && (unsigned)(top + (int)row) < g.s.h)
      copy16(to, (const float *)from);
    else
      store(to, zero);
  }
}

// copy_cells brings channels from m on of the other tensor at a unit's positions to shared memory, 0 where there are none; of a pooled
// tensor its pixels as they are stored, with the places of the maxima.
template <bool Pairs, int M, int T>
static __device__ __forceinline__ void copy_cells(const TensorGradient &g, const Stage<Pairs, M> &stage, const TensorUnit &u, float *to, unsigned m) {
  constexpr unsigned SIZE = Stage<Pairs, M>::SIZE, N = 16 / SIZE;
  const float zero[4] = {0.f, 0.f, 0.f, 0.f};
  const Deal d = deal<M / N, N, T>(stage.cells_pitch, g.by_cells);
  const unsigned y = divide(u.y, g.g.by_factor), x = divide(u.x, g.g.by_factor) + d.column;
  const unsigned rows = divide(u.y + u.rows - 1, g.g.by_factor) - y + 1;
  const bool inside = m + d.ch < g.g.c && x * g.g.factor < u.x + u.positions;
  const u64 first = (u64)(u.n * g.g.image + (y + d.row) * g.g.row + x) * g.g.c + m + d.ch;
  const char *from = (const char *)g.g.p + first * SIZE;
  const unsigned char *from_places = g.g.places + first;
  unsigned at = (d.row * stage.cells_pitch + d.column) * M + d.ch;
#pragma unroll 1
  for (unsigned row = d.row; row < stage.cells_rows; row += d.step, at += d.step * stage.cells_pitch * M) {
    if (inside && row < rows)
      copy16(to + stage.cells + at * SIZE / 4, (const float *)from);
    else
      store(to + stage.cells + at * SIZE / 4, zero);
    from += d.step * g.g.row * g.g.c * SIZE;
    if (!g.g.places) continue;
#pragma unroll
    for (unsigned q = 0; q < N / 4; q++)
      if (inside && row < rows)
        copy4(to + stage.places + at / 4 + q, (const float *)from_places + q);
      else
        to[stage.places + at / 4 + q] = 0.f;
    from_places += d.step * g.g.row * g.g.c;
  }
}

// Quad is four channels of the rows that are joined, in words: of each row, or of two.
struct Quad {
  float v[2][4];
};

// put_row puts four channels of row k of those that are joined, rounded if the precision F has one part, in their words. Of pairs even rows are
// put first.
template <class F> static __device__ __forceinline__ void put_row(Quad &q, int k, const float (&v)[4]) {
#pragma unroll
  for (int e = 0; e < 4; e++) {
    unsigned bits = __float_as_uint(v[e]);
    if (F::PAIRS)
      bits = k % 2 == 0 ? bits >> 16 : bits | __float_as_uint(q.v[k / 2][e]);
    else if (F::PARTS == 1)
      bits = round_tf32(bits);
    q.v[F::PAIRS ? k / 2 : k][e] = __uint_as_float(bits);
  }
}

// join stores a quad, pair by pair of channels: ByRow, a pair of the first row and that of the second, else a channel of both rows and then the
// other. So that threads that are neighbours do not want the same banks, half of them store the second pair first.
template <bool ByRow> static __device__ __forceinline__ void join(float *to, const Quad &q, bool second) {
#pragma unroll
  for (int i = 0; i < 2; i++) {
    const bool pair = second != i;
    float both[4];
#pragma unroll
    for (int e = 0; e < 4; e++) {
      const int h = ByRow ? e / 2 : e % 2, c = ByRow ? e % 2 : e / 2;
      both[e] = pair ? q.v[h][2 + c] : q.v[h][c];
    }
    store_shared(to + pair * 4, both);
  }
}

// prepare makes of a unit as it was copied one as it is multiplied. A value of a pooled tensor goes to the position of its window where the
// maximum was, and 0 to the others.
template <class F, int M, int T>
static __device__ __forceinline__ void prepare(const TensorGradient &g, const Stage<F::PAIRS, M> &stage, const TensorUnit &u, float *at) {
  constexpr unsigned SIZE = Stage<F::PAIRS, M>::SIZE, ROWS = 8 / SIZE; // rows that are joined
  const Deal p = deal<TILE / 4, 4, T>(stage.pitch, g.by_pitch);
  const unsigned below = JOINED * g.stride * stage.pitch * TILE * SIZE / 4;
  const float *pixel = at + ((p.row * stage.pitch + p.column) * TILE + p.ch) * SIZE / 4;
  float *joined = at + stage.pixels + p.row * stage.pixel_row + (p.column * TILE + p.ch) * 2;
#pragma unroll 1
  for (unsigned row = p.row; row < stage.pixel_rows; row += p.step, pixel += p.step * stage.pitch * TILE * SIZE / 4, joined += p.step * stage.pixel_row) {
    Quad q;
#pragma unroll
    for (unsigned k = 0; k < ROWS; k++) {
      float v[4];
      load_values(v, pixel + k * below, F::PAIRS);
      put_row<F>(q, k, v);
    }
    join<false>(joined, q, p.ch & 16);
  }
  const Deal d = deal<M / 4, 4, T>(g.width, g.by_width);
  const unsigned pool = g.g.factor, y = u.y - divide(u.y, g.g.by_factor) * pool; // in the first window
  const unsigned x = u.x - divide(u.x, g.g.by_factor) * pool + d.column, cell_x = divide(x, g.g.by_factor);
  joined = at + stage.others + d.row * stage.other_row + (d.column * M + d.ch) * 2;
#pragma unroll 1
  for (unsigned row = d.row; row < JOINED; row += d.step, joined += d.step * stage.other_row) {
    Quad q;
#pragma unroll
    for (unsigned k = 0; k < ROWS; k++) {
      const unsigned oy = y + row + k * JOINED, cell_y = divide(oy, g.g.by_factor);
      const unsigned cell = (cell_y * stage.cells_pitch + cell_x) * M + d.ch;
      float v[4];
      load_values(v, at + stage.cells + cell * SIZE / 4, F::PAIRS);
      if (g.g.places) {
        const unsigned place = (oy - cell_y * pool) * pool + x - cell_x * pool;
        const unsigned other = ((const unsigned *)at)[stage.places + cell / 4] ^ place * 0x01010101u;
#pragma unroll
        for (int e = 0; e < 4; e++)
          if (other & 255u << 8 * e) v[e] = 0.f;
      }
      put_row<F>(q, k, v);
    }
    join<true>(joined, q, d.ch & 16);
  }
}

// load_fragment loads four registers of factors.
static __device__ __forceinline__ void load_fragment(unsigned (&v)[4], const float *p) {
  const uint4 q = *(const uint4 *)p;
  v[0] = q.x, v[1] = q.y, v[2] = q.z, v[3] = q.w;
}

// parts_of splits factors as join has left them.
template <class F, int N> static __device__ __forceinline__ void parts_of(unsigned (&parts)[F::PARTS][N], const unsigned (&bits)[N]) {
  if constexpr (F::PARTS > 1) {
    split<F>(parts, bits);
  } else {
#pragma unroll
    for (int e = 0; e < N; e++) parts[0][e] = bits[e];
  }
}

// plain_products are the products of channels m, m+1 and ch to ch+3 at tap (ti, tj), summed over the units from begin to end in float32.
static __device__ __forceinline__ void plain_products(float (&v)[2][4], const TensorGradient &g, unsigned begin, unsigned end, unsigned ti, unsigned tj,
                                                      unsigned m, unsigned ch) {
  clear(v[0]), clear(v[1]);
#pragma unroll 1
  for (unsigned unit = begin; unit < end; unit++) {
    const TensorUnit u = unit_at<2 * JOINED>(g, unit);
#pragma unroll 1
    for (unsigned y = u.y; y < u.y + u.rows; y++)
#pragma unroll 1
      for (unsigned x = u.x; x < u.x + u.positions; x++) {
        const Pixel other = under<true>(g.g, u.n * g.g.image, y, x);
        const Pixel pixel = under<false>(g.s, u.n * g.s.image, (int)(y * g.stride + ti) - g.top, (int)(x * g.stride + tj) - g.left);
        if (pixel.index == nowhere) continue;
        float b[4];
        read<4, false>(b, g.s, pixel, ch);
#pragma unroll
        for (int i = 0; i < 2; i++) {
          float a[1];
          read<1, true>(a, g.g, other, m + i);
#pragma unroll
          for (int e = 0; e < 4; e++) v[i][e] = fmaf(a[0], b[e], v[i][e]);
        }
      }
  }
}

// write2 adds or writes the products of channels m, m+1 and ch to ch+3 at a tap's place out.
static __device__ __forceinline__ void write2(const TensorGradient &g, float *out, unsigned m, unsigned ch, const float (&v)[2][4]) {
  if (g.per_ch == 1) {
#pragma unroll
    for (int i = 0; i < 2; i++) {
      float *to = out + (m + i) * g.per_m + ch, w[4];
      clear(w);
      if (g.add) load(w, to);
#pragma unroll
      for (int e = 0; e < 4; e++) w[e] += v[i][e];
      store(to, w);
    }
    return;
  }
#pragma unroll
  for (int e = 0; e < 4; e++) { // channels m are neighbours
    float2 *to = (float2 *)(out + m + (ch + e) * g.per_ch), w = {0.f, 0.f};
    if (g.add) w = *to;
    *to = {w.x + v[0][e], w.y + v[1][e]};
  }
}

// gradient_tensor computes 32*GM channels m by 32 channels of the window by three rows of three taps each. A warp has 32 by 32 channels
// at three taps, and GK warps share the columns of every unit. Lane l has channels 2*(l/4), 2*(l/4)+1 and the same from 16 on of both
// factors, at rows l%4 and l%4+4 of a unit. While a unit is multiplied the next one is copied. Channels of both tensors are multiples of
// 4, and elements of the gradient that are neighbours by m or by channels. The grid is tiles of m, by those of channels and taps, by parts.
// The blocks of a part share out the columns of the bias, 32 at a time, while they wait for the first unit.
template <class F, int GM, int GK> __device__ __forceinline__ void gradient_tensor(const TensorGradient &g) {
  constexpr unsigned M = GM * TILE, T = 32 * TAP_ROWS * GM * GK;
  extern __shared__ __align__(16) float buffer[];
  __shared__ float bias_sums[T];
  const unsigned groups = (g.kw + ROW_TAPS - 1) / ROW_TAPS; // of the taps of a row
  const unsigned part = blockIdx.z, m0 = blockIdx.x * M;
  unsigned ch0 = blockIdx.y * TILE, tap = 0;
  for (; ch0 >= g.s.c; tap += TAP_ROWS) ch0 -= (g.s.c + TILE - 1) / TILE * TILE;
  const unsigned warp = threadIdx.x / 32, lane = threadIdx.x % 32, pair = lane / 4, row = lane % 4;
  const unsigned of_m = warp / TAP_ROWS % GM, of_k = warp / TAP_ROWS / GM;
  tap += warp % TAP_ROWS;
  const unsigned ti = groups == 1 ? tap : tap / groups, tj = (tap - ti * groups) * ROW_TAPS;
  constexpr bool Pairs = F::PAIRS;
  constexpr int BAND = Stage<Pairs, M>::BAND;
  const Stage<Pairs, M> stage(g);
  const unsigned begin = part * g.least + (part < g.more ? part : g.more), end = begin + g.least + (part < g.more);
  auto copy = [&](unsigned unit) {
    const TensorUnit u = unit_at<BAND>(g, unit);
    copy_window<Pairs, M, T>(g, stage, u, buffer, ch0);
    copy_cells<Pairs, M, T>(g, stage, u, buffer, m0);
    end_copies();
  };
  copy(begin);
#pragma unroll 1
  for (unsigned block = blockIdx.x + blockIdx.y * gridDim.x; block * 32 < g.bias.columns; block += gridDim.x * gridDim.y) {
    bias_sum<16>(g.bias, bias_sums, part, gridDim.z, block, g.size, g.add);
    __syncthreads();
  }

  float sum[ROW_TAPS][2][4][4];
#pragma unroll
  for (int j = 0; j < ROW_TAPS; j++)
#pragma unroll
    for (int i = 0; i < 2; i++)
#pragma unroll
      for (int n = 0; n < 4; n++) clear(sum[j][i][n]);
#pragma unroll 1
  for (unsigned unit = begin; unit < end; unit++) {
    const TensorUnit u = unit_at<BAND>(g, unit);
    wait_for_copies();
    __syncthreads();
    prepare<F, M, T>(g, stage, u, buffer);
    __syncthreads();
    if (unit + 1 < end) copy(unit + 1);
    if (ti >= g.kh) continue;
    const unsigned x = of_k * u.positions / GK;
    const float *pixels = buffer + stage.pixels + (row * g.stride + ti) * stage.pixel_row + (tj + x * g.stride) * 2 * TILE + pair * 4;
    const float *others = buffer + stage.others + row * stage.other_row + x * 2 * M + of_m * 2 * TILE + pair * 4;
    unsigned a[2][F::PARTS][4], b[ROW_TAPS][2][4]; // of b: taps, two channels of both rows
    auto load_pixel = [&](int tap, unsigned column) {
#pragma unroll
      for (int i = 0; i < 2; i++) load_fragment(b[tap][i], pixels + column * 2 * TILE + i * TILE);
    };
    constexpr bool keeps = F::PARTS == 1; // pixels for the next columns
    if (keeps && g.stride == 1) load_pixel(1, 0), load_pixel(2, 1);
    if (keeps && g.stride == 2) load_pixel(2, 0);
#pragma unroll 1
    for (unsigned left = (of_k + 1) * u.positions / GK - x; left > 0; left--, pixels += g.stride * 2 * TILE, others += 2 * M) {
#pragma unroll
      for (int i = 0; i < 2; i++)
#pragma unroll
        for (int e = 0; e < 4; e++) {
          if (keeps && g.stride == 1) b[0][i][e] = b[1][i][e], b[1][i][e] = b[2][i][e];
          if (keeps && g.stride == 2) b[0][i][e] = b[2][i][e];
        }
      if (!keeps || g.stride > 2) load_pixel(0, 0);
      if (!keeps || g.stride > 1) load_pixel(1, 1);
      load_pixel(2, 2);
#pragma unroll
      for (int i = 0; i < 2; i++) {
        unsigned bits[4];
        load_fragment(bits, others + i * TILE);
        parts_of<F>(a[i], bits);
      }
#pragma unroll
      for (int j = 0; j < ROW_TAPS; j++)
#pragma unroll
        for (int n = 0; n < 4; n += 2) {
          unsigned parts[2][F::PARTS][2];
          parts_of<F>(parts[0], {b[j][n / 2][0], b[j][n / 2][1]});
          parts_of<F>(parts[1], {b[j][n / 2][2], b[j][n / 2][3]});
#pragma unroll
          for (int p = 0; p < F::PRODUCTS; p++)
#pragma unroll
            for (int i = 0; i < 2; i++)
#pragma unroll
              for (int h = 0; h < 2; h++) multiply<F>(sum[j][i][n + h], a[i][F::of_a(p)], parts[h][F::of_b(p)]);
        }
    }
  }

  // A thread has two quads of channels of the window. Of two warps that share the columns the first finishes the first quads and the second
  // the others, with what the other warp has left of them in shared memory.
  const unsigned m = m0 + of_m * TILE + pair * 2, ch = ch0 + row * 4;
  float *out = g.out + part * g.size + g.first + (long long)(ti * g.kw + tj) * g.per_tap;
  float *at = buffer + threadIdx.x % (T / GK);
  auto leave = [&](int q) {
#pragma unroll
    for (int i = 0; i < SUMS / 2; i++) at[(q * SUMS / 2 + i) * T / 2] = sum[i / 16][i / 8 % 2][q * 2 + i / 4 % 2][i % 4];
  };
  // total sets v to sums of tap j and channels m and ch, which are those of rows and columns, and in each of these of n.
  auto total = [&](float (&v)[2][4], int q, int j, int i) {
#pragma unroll
    for (int e = 0; e < 8; e++) {
      v[e / 4][e % 4] = sum[j][i][q * 2 + e % 2][e / 4 * 2 + e / 2 % 2];
      if (GK == 2) v[e / 4][e % 4] += at[(q * SUMS / 2 + j * 16 + i * 8 + e % 2 * 4 + e / 4 * 2 + e / 2 % 2) * T / 2];
    }
  };
  // mended makes quads q anew if a sum is not finite, and says so.
  auto mended = [&](int q) {
    bool all = true;
#pragma unroll
    for (int j = 0; j < ROW_TAPS; j++)
#pragma unroll
      for (int i = 0; i < 2; i++) {
        float v[2][4];
        total(v, q, j, i);
        all = all && finite(v[0]) && finite(v[1]);
      }
    if (all) return false;
#pragma unroll 1
    for (int n = 0; n < 2 * ROW_TAPS; n++) {
      const unsigned j = n / 2, plain_m = m + n % 2 * 16;
      float v[2][4];
      if (tj + j >= g.kw || plain_m >= g.g.c) continue;
      plain_products(v, g, begin, end, ti, tj + j, plain_m, ch + q * 16);
      write2(g, out + j * g.per_tap, plain_m, ch + q * 16, v);
    }
    return true;
  };
  auto finish = [&](int q) {
    if (ti >= g.kh || ch + q * 16 >= g.s.c) return;
    if (F::PARTS > 1 && mended(q)) return;
#pragma unroll
    for (int j = 0; j < ROW_TAPS; j++)
#pragma unroll
      for (int i = 0; i < 2; i++) {
        float v[2][4];
        total(v, q, j, i);
        if (tj + j < g.kw && m + i * 16 < g.g.c) write2(g, out + j * g.per_tap, m + i * 16, ch + q * 16, v);
      }
  };
  if (GK == 2) {
    __syncthreads();
    if (of_k == 0)
      leave(1);
    else
      leave(0);
    __syncthreads();
  }
  if (GK == 1 || of_k == 0) finish(0);
  if (GK == 1 || of_k == 1) finish(1);
}

#define GRADIENT_TENSOR(name, F, GM, GK)                                                                                                  \
  extern "C" __global__ void __launch_bounds__(32 * TAP_ROWS * GM * GK, 2)                                                              \
      name(SOURCE_PARAMS(g), SOURCE_PARAMS(s), unsigned least, unsigned more, unsigned stride, int top, int left, unsigned kh,         \
           unsigned kw, float *__restrict__ out, long long first, long long per_m, long long per_tap, long long per_ch, long long size, \
           unsigned add, unsigned width, unsigned strips, unsigned bands, Divider by_width, Divider by_strips, Divider by_bands,      \
           Divider by_pitch, Divider by_cells, BIAS_PARAMS) {                                                                          \
    gradient_tensor<F, GM, GK>({SOURCE(g), SOURCE(s), least, more, stride, top, left, kh, kw, out, first, per_m, per_tap, per_ch, size,   \
                             add, width, strips, bands, by_width, by_strips, by_bands, by_pitch, by_cells, BIAS});                     \
  }

GRADIENT_TENSOR(conv_back_weights_tensor, TF32, 2, 1)
GRADIENT_TENSOR(conv_back_weights_tensor_small, TF32, 1, 2)
GRADIENT_TENSOR(conv_back_weights_tensor_split, Split, 2, 1)
GRADIENT_TENSOR(conv_back_weights_tensor_split_small, Split, 1, 2)
GRADIENT_TENSOR(conv_back_weights_tensor_bf16, BF16, 2, 1)
GRADIENT_TENSOR(conv_back_weights_tensor_bf16_small, BF16, 1, 2)
