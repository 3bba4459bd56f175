// A whole step of a small model, from the gathered samples to the partial sums of all gradients, by one launch: a block has an image, and all
// that is made of it, in shared memory. Products are made on tensor cores, of factors in a precision F, TF32 or Split.
//
// The model is a chain of convolutions of stride 1: the first of few channels, perhaps pooled; the last of few filters, perhaps of an
// upsampled input; those between of multiples of 8 channels and filters, pooled or of an upsampled input, with linear or relu between them.
#include "copy.cuh"
#include "mma.cuh"
#include "random.cuh"

typedef unsigned long long u64;

enum { T = 384, WARPS = T / 32, MOST = 6, COLUMNS = 3, ELEMENTS = 9, nobody = 0x7fffff };
enum Kind { FIRST, MIDDLE, LAST };

extern __shared__ __align__(16) float memory[];

// thread is the thread's number, for a part of a step. zero, which is 0, is read anew for each part: else the compiler would keep in registers, all
// through the kernel, what each part makes of the number.
static __device__ __forceinline__ unsigned thread(const unsigned &zero) {
  unsigned t, z;
  asm volatile("ld.volatile.shared.u32 %0, [%1];" : "=r"(z) : "r"(shared_address(&zero)) : "memory");
  asm("mov.u32 %0, %%tid.x;" : "=r"(t));
  return t ^ z;
}

// lane_anew is the thread's number in its warp, read anew for what is seldom done.
static __device__ __forceinline__ unsigned lane_anew() {
  unsigned t;
  asm volatile("mov.u32 %0, %%laneid;" : "=r"(t));
  return t;
}

// Plane is an image in shared memory: the index of its first pixel, how far the next row is in pixels, and the next pixel in floats.
struct Plane {
  unsigned at, pitch, step;
};

// Extent is how a product is shared out among warps: a unit is one of a group of tiles of pixels by a chunk of 32 rows or columns, and of few
// units each is summed in so many parts, by several warps. Where the output is pooled two tiles are eight windows.
struct Extent {
  unsigned tiles_x, tiles, groups, units, splits, per;
  unsigned by_x, by_groups, by_splits, by_per;
  bool pairs; // groups are of two tiles
};

// What a layer is divided by comes as multipliers: divide is x/d, for x*d below 2^31.
enum By { OF_F, OF_F4, OF_KH_F4, OF_ROWS8, OF_QUADS, OF_WIDE, OF_OW, OF_PW, OF_KW, OF_C, OF_TAPS, OF_MANY };

static __device__ __forceinline__ unsigned multiplier(unsigned d) {
  asm volatile("" : "+r"(d)); // or the compiler finds that it is small, and divides otherwise
  return 0x80000000u / d + 1;
}

static __device__ __forceinline__ unsigned divide(unsigned x, unsigned by) {
  unsigned q;
  asm("mul.hi.u32 %0, %1, %2;" : "=r"(q) : "r"(x + x), "r"(by));
  return q;
}

// Geometry is a convolution: what it is given as, and what follows from that. Its weights are a matrix of rows of k elements each, both padded
// to multiples of 8; of eight rows those number 0 to 3 lie at the even places, which keeps what is read at once in different banks.
struct Geometry {
  const float *w, *bias;
  float *partials;
  unsigned kind, h, wide, c, f, kh, kw, top, left, shift, pool, act, oh, ow;
  unsigned taps, rows, k, rows8, k8, stride, weights, weights_back;
  Plane x, u; // the input, and the gradient as the products want it
  unsigned x_begin, x_pixels, u_begin, u_pixels, argmax, raw, scratch;
};

struct Layer : Geometry {
  unsigned by[OF_MANY];
  Extent products[3]; // forward, back to the input, and of the gradients of the weights
};

enum { FORWARD, BACK, GRADIENT };

// later is a layer in shared memory as it is read behind a product: of factors in several parts, for which there are too few registers to keep
// a copy, there.
template <class F> static __device__ __forceinline__ const Layer &later(const Layer &shared, const Layer &copy) { return F::PARTS > 1 ? shared : copy; }

// bits_of is n bits of v, which lie in one half of it.
static __device__ __forceinline__ unsigned bits_of(u64 v, unsigned from, unsigned n) {
  return (from < 32 ? (unsigned)v >> from : (unsigned)(v >> 32) >> from % 32) & ((1u << n) - 1);
}

static __device__ __forceinline__ unsigned largest(int a, int b) { return a > b ? a : b; }

// decode makes a layer of its arguments: shape has h, width, channels and filters in 8 bits each, then kernel, pads, factor, pool, activation
// and kind in 4 bits each; places has the output's extents in 8 bits each, then in units of 16 bytes where the weights lie forward, x and argmax;
// more has those of the output's gradient, of the same as the products want it, of the weights back, and of what several warps leave then.
static __device__ __forceinline__ void decode(unsigned tid, Layer &to, const float *w, const float *bias, float *partials, u64 shape, u64 places, u64 more) {
  Geometry l;
  l.w = w, l.bias = bias;
  l.h = bits_of(shape, 0, 8), l.wide = bits_of(shape, 8, 8), l.c = bits_of(shape, 16, 8), l.f = bits_of(shape, 24, 8);
  l.kh = bits_of(shape, 32, 4), l.kw = bits_of(shape, 36, 4), l.top = bits_of(shape, 40, 4), l.left = bits_of(shape, 44, 4);
  l.shift = bits_of(shape, 48, 4) - 1, l.pool = bits_of(shape, 52, 4), l.act = bits_of(shape, 56, 4), l.kind = bits_of(shape, 60, 4);
  l.oh = bits_of(places, 0, 8), l.ow = bits_of(places, 8, 8);
  l.weights = bits_of(places, 16, 16) * 4, l.argmax = bits_of(places, 48, 16) * 4;
  l.raw = bits_of(more, 0, 16) * 4, l.weights_back = bits_of(more, 32, 16) * 4, l.scratch = bits_of(more, 48, 16) * 4;
  l.taps = l.kh * l.kw;
  l.rows = l.kind == LAST ? l.f * l.taps : l.f, l.k = l.kind == LAST ? l.c : l.taps * l.c;
  l.rows8 = (l.rows + 7) & ~7u, l.k8 = (l.k + 7) & ~7u, l.stride = l.k8 + 4;
  l.partials = partials + (u64)blockIdx.x * (l.f * l.taps * l.c + l.f);

  const bool halo = l.kind != LAST; // the last one's windows are not read where there is nothing
  const unsigned up = 1 + l.shift, above = halo ? (l.top + l.shift) / up : 0, before = halo ? (l.left + l.shift) / up : 0;
  const int below = halo ? ((int)(l.oh + l.kh - 2 - l.top) >> l.shift) - (int)l.h + 1 : 0;
  const int behind = halo ? ((int)(l.ow + l.kw - 2 - l.left) >> l.shift) - (int)l.wide + 1 : 0;
  const bool spread = l.kind == LAST || l.shift;
  const unsigned over = spread ? 0 : l.kh - 1 - l.top, ahead = spread ? 0 : l.kw - 1 - l.left;
  const int under = spread ? 0 : (int)(l.h + l.top) - (int)l.oh, after = spread ? 0 : (int)(l.wide + l.left) - (int)l.ow;

  // What is behind a row is also before the next. Rows of both planes are as far apart, so that one number says where the factors of a gradient
  // lie in them.
  const unsigned x_row = l.wide + largest(before, behind), u_row = spread ? l.wide : l.ow + largest(ahead, after);
  l.x.pitch = l.u.pitch = largest(x_row, u_row);
  l.x.step = l.kind == FIRST ? l.c : l.c + 4;
  l.x_begin = bits_of(places, 32, 16) * 4, l.x.at = l.x_begin + (above * l.x.pitch + before) * l.x.step;
  l.x_pixels = before + (above + l.h + largest(below, 0)) * l.x.pitch;
  l.u.step = l.kind == LAST ? l.rows8 + 4 : l.shift ? l.taps * l.f + 4 : l.f + 4;
  l.u_begin = bits_of(more, 16, 16) * 4, l.u.at = l.u_begin + (over * l.u.pitch + ahead) * l.u.step;
  l.u_pixels = ahead + (over + (spread ? l.h : l.oh) + largest(under, 0)) * l.u.pitch;

  // Lanes 0 to 10 have the multipliers, 11 to 13 the extents. The last layer has those of one filter where the others have those of four.
  const unsigned lane = tid % 32, fours = l.kind == LAST ? 1 : 4;
  const unsigned of[OF_MANY] = {l.f, l.kind == LAST ? l.kh : l.f / 4, l.kh * l.f / fours, l.rows8, l.kind == FIRST ? l.k8 : l.k8 / 4, l.wide, l.ow, l.ow / l.pool,
                                                         l.kw, l.c, l.taps};
  if (lane == 0) (Geometry &)to = l;
  unsigned mine = l.f;
#pragma unroll
  for (unsigned i = 0; i < OF_MANY; i++)
    if (lane == i) mine = of[i];
  if (lane < OF_MANY) to.by[lane] = multiplier(mine > 0 ? mine : 1);
  if (lane < OF_MANY || lane >= OF_MANY + 3) return;
  const unsigned product = lane - OF_MANY;
  const bool last = l.kind == LAST, grad = product == GRADIENT;
  const unsigned h = product == FORWARD && !last || grad && !spread ? l.oh : l.h, wide = product == FORWARD && !last || grad && !spread ? l.ow : l.wide;
  const unsigned columns = product == FORWARD ? l.rows : product == BACK || spread ? l.c : l.f;
  Extent e;
  e.tiles_x = (wide + 7) / 8;
  e.tiles = grad ? (last ? l.rows8 : l.shift ? l.taps * l.f : l.k8) / 8 : e.tiles_x * ((h + 1) / 2);
  const unsigned chunks = (columns + 31) / 32, each = grad ? COLUMNS : 2;
  const unsigned steps = grad ? ((h - 1) * l.x.pitch + wide + 7) / 8 : l.kind == FIRST ? 1 : last ? (product == FORWARD ? l.c : l.rows8) / 8 : l.taps * (product == FORWARD ? l.c : l.f) / 8;
  const bool pooled = product == FORWARD && l.pool == 2;
  if (pooled) e.tiles = ((l.oh / 2) * (l.ow / 2) + 7) / 8 * 2;
  e.groups = (e.tiles + each - 1) / each;
  e.pairs = pooled || l.kind == FIRST || e.groups * chunks >= WARPS / 2;
  if (!grad && !e.pairs) e.groups = e.tiles;
  e.units = e.groups * chunks, e.splits = e.units < WARPS ? WARPS / e.units : 1;
  if (e.splits > steps) e.splits = steps;
  e.per = e.splits > 1 ? e.units : WARPS;
  e.by_x = multiplier(e.tiles_x), e.by_groups = multiplier(e.groups), e.by_splits = multiplier(e.splits), e.by_per = multiplier(e.per);
  to.products[product] = e;
}

static __device__ __forceinline__ float2 float2_of(float x, float y) {
  float2 v = {x, y};
  return v;
}

static __device__ __forceinline__ float4 float4_of(float x, float y, float z, float w) {
  float4 v = {x, y, z, w};
  return v;
}

// rounded is a value as it is stored to be multiplied in a precision F: of float32 it stays, and is split when it is read. The bits of TF32 that a
// product does not look at are cleared, because 0 must stay 0.
template <class F> static __device__ __forceinline__ float rounded(float v) {
  if constexpr (F::PARTS > 1) return v;
  return __uint_as_float(round_tf32(__float_as_uint(v)) & ~0x1fffu);
}

// nearest is rounded with the bits that a product does not look at, for what is multiplied alone.
template <class F> static __device__ __forceinline__ float nearest(float v) {
  if constexpr (F::PARTS > 1) return v;
  return __uint_as_float(round_tf32(__float_as_uint(v)));
}

template <class F> static __device__ __forceinline__ float4 rounded(float4 v) { return float4_of(rounded<F>(v.x), rounded<F>(v.y), rounded<F>(v.z), rounded<F>(v.w)); }

template <class F> static __device__ __forceinline__ float4 nearest(float4 v) { return float4_of(nearest<F>(v.x), nearest<F>(v.y), nearest<F>(v.z), nearest<F>(v.w)); }

// multiply_parts adds the products of matrices a and b whose elements are as rounded leaves them.
template <class F, int M, int N> static __device__ __forceinline__ void multiply_parts(float (&sum)[M][N][4], const unsigned (&a)[M][4], const unsigned (&b)[N][2]) {
  if constexpr (F::PARTS == 1) {
#pragma unroll
    for (int i = 0; i < M; i++)
#pragma unroll
      for (int n = 0; n < N; n++) multiply_add(sum[i][n], a[i], b[n]);
  } else {
    unsigned parts[M][F::PARTS][4];
#pragma unroll
    for (int i = 0; i < M; i++) split<F>(parts[i], a[i]);
    unsigned columns[N][F::PARTS][2];
#pragma unroll
    for (int n = 0; n < N; n++) split<F>(columns[n], b[n]);
#pragma unroll
    for (int p = 0; p < F::PRODUCTS; p++)
#pragma unroll
      for (int n = 0; n < N; n++)
#pragma unroll
        for (int i = 0; i < M; i++) multiply_add(sum[i][n], parts[i][F::of_a(p)], columns[n][F::of_b(p)]);
  }
}

static __device__ __forceinline__ float4 &quad(unsigned i) { return *(float4 *)(memory + i); }

// clear_halo clears the pixels of a plane around its h rows of so many: a warp clears what lies between two rows, the last warps most.
static __device__ __forceinline__ void clear_halo(unsigned tid, const Plane p, unsigned begin, unsigned pixels, unsigned h, unsigned wide) {
#pragma unroll 1
  for (unsigned gap = WARPS - 1 - tid / 32; gap <= h; gap += WARPS) {
    const unsigned from = gap == 0 ? begin : p.at + ((gap - 1) * p.pitch + wide) * p.step;
    const unsigned to = gap == h ? begin + pixels * p.step : p.at + gap * p.pitch * p.step;
    if (p.step % 4 == 0)
#pragma unroll 2
      for (unsigned i = from + tid % 32 * 4; i < to; i += 128) quad(i) = float4_of(0.f, 0.f, 0.f, 0.f);
    else
#pragma unroll 2
      for (unsigned i = from + tid % 32; i < to; i += 32) memory[i] = 0.f;
  }
}

// Team is the threads that share out some work: those of warps that have no unit of a product, if there are enough, else all.
struct Team {
  unsigned thread, threads;
};

static __device__ __forceinline__ Team everyone(unsigned tid) { return {tid, T}; }

static __device__ __forceinline__ Team idle(unsigned tid, const Extent &e) {
  const unsigned busy = e.units * e.splits;
  if (busy > WARPS - 3) return everyone(tid);
  return {tid >= busy * 32 ? tid - busy * 32 : nobody, (WARPS - busy) * 32};
}

// Walk takes a thread through the elements of rows of so many, by being its multiplier.
struct Walk {
  unsigned row, column, rows, columns, length;
  __device__ __forceinline__ Walk(unsigned length, unsigned by, Team team) : length(length) {
    row = divide(team.thread, by), column = team.thread - row * length;
    rows = divide(team.threads, by), columns = team.threads - rows * length;
  }
  __device__ __forceinline__ void next() {
    row += rows, column += columns;
    if (column >= length) column -= length, row++;
  }
};

static __device__ __forceinline__ unsigned place_of(unsigned row) { return (row & ~7u) | (row & 3) << 1 | (row >> 2 & 1); }

// stage copies a layer's weights and bias to shared memory. A thread rounds what it has copied itself, when it has landed, in settle.
static __device__ __forceinline__ void stage(const Layer l, unsigned weights, Team team) {
  if (l.kind == FIRST) {
    for (Walk at(l.k8, l.by[OF_QUADS], team); at.row < l.rows8; at.next()) {
      float *to = memory + weights + place_of(at.row) * l.stride + at.column;
      if (at.row < l.rows && at.column < l.k)
        copy4(to, l.w + at.row * l.k + at.column);
      else
        *to = 0.f;
    }
  } else {
#pragma unroll 2
    for (Walk at(l.k8 / 4, l.by[OF_QUADS], team); at.row < l.rows8; at.next()) {
      float *to = memory + weights + place_of(at.row) * l.stride + at.column * 4;
      if (at.row < l.rows)
        copy16(to, l.w + at.row * l.k + at.column * 4);
      else
        *(float4 *)to = float4_of(0.f, 0.f, 0.f, 0.f);
    }
  }
  if (team.thread < l.f) copy4(memory + weights + l.rows8 * l.stride + team.thread, l.bias + team.thread);
  end_copies();
}

template <class F> static __device__ __forceinline__ void settle(const Layer l, unsigned weights, Team team) {
  if (F::PARTS > 1) return;
  if (l.kind == FIRST) {
    for (Walk at(l.k8, l.by[OF_QUADS], team); at.row < l.rows; at.next()) {
      float *to = memory + weights + place_of(at.row) * l.stride + at.column;
      *to = nearest<F>(*to);
    }
    return;
  }
#pragma unroll 4
  for (Walk at(l.k8 / 4, l.by[OF_QUADS], team); at.row < l.rows; at.next()) {
    float4 *to = (float4 *)(memory + weights + place_of(at.row) * l.stride + at.column * 4);
    *to = nearest<F>(*to);
  }
}

// Tile is one of a unit's: its first pixel, and that of the row of a matrix whose address the lane has.
struct Tile {
  unsigned y, x;
  unsigned row_y, row_x;
  bool there;
};

static __device__ __forceinline__ Tile tile_at(unsigned tid, const Extent &e, unsigned tile, unsigned h, unsigned wide) {
  const unsigned lane = tid % 32, last = tile < e.tiles ? tile : e.tiles - 1, ty = divide(last, e.by_x);
  Tile t;
  t.there = tile < e.tiles;
  t.y = ty * 2, t.x = (last - ty * e.tiles_x) * 8;
  t.row_y = t.y + (lane / 8 & 1), t.row_x = t.x + lane % 8;
  if (t.row_y >= h) t.row_y = h - 1;
  if (t.row_x >= wide) t.row_x = wide - 1;
  return t;
}

// Window is one of those that a pool takes the largest value of. Rows r and r+8 of the matrices of two tiles are its four pixels; of the last four
// windows of eight the right ones come first, which keeps the pixels of a matrix in different banks.
struct Window {
  unsigned y, x;
  bool there;
  __device__ __forceinline__ Window(const Layer &l, unsigned window) {
    const unsigned wide = l.ow / 2, all = l.oh / 2 * wide;
    there = window < all;
    if (!there) window = all - 1;
    y = divide(window, l.by[OF_PW]), x = window - y * wide;
  }
};

static __device__ __forceinline__ bool right_first(unsigned r) { return r % 8 >= 4; }

// pooled_tile_at is a tile of a pooled output, whose y is that of its first window among all.
static __device__ __forceinline__ Tile pooled_tile_at(unsigned tid, const Layer &l, unsigned tile) {
  const unsigned lane = tid % 32;
  const Window w(l, tile / 2 * 8 + lane % 8);
  return {tile / 2 * 8, 0, w.y * 2 + tile % 2, w.x * 2 + ((lane / 8 & 1) ^ right_first(lane)), true};
}

// Weights are those of a product as a lane reads them: from an address on, so many bytes to the next eight elements of a sum within a tap
// and to the next tap, and Forward to the second half of the columns, back to the second half of the eight.
struct Weights {
  unsigned at, octet, tap, second;
};

static __device__ __forceinline__ Weights weights_of(unsigned tid, const Layer l, bool back, unsigned n0) {
  const unsigned lane = tid % 32, r = lane / 4, t = lane % 4;
  if (back) {
    const unsigned column = n0 + 4 * r < l.c ? n0 + 4 * r : l.c - 4;
    return {shared_address(memory + l.weights_back + 2 * t * l.stride + column), l.stride * 32, l.c * 4, l.stride * 4};
  }
  unsigned first = n0 + (lane / 16) * 8, second = first + 16;
  if (first >= l.rows8) first = l.rows8 - 8;
  if (second >= l.rows8) second = l.rows8 - 8;
  const unsigned row = place_of(lane % 8) * l.stride + (lane / 8 & 1) * 4;
  return {shared_address(memory + l.weights + first * l.stride + row), 32, l.c * 4, (second - first) * l.stride * 4};
}

// Fragments are what a warp multiplies at a time.
template <class F, int MT, bool Back> struct Fragments {
  unsigned a[MT][4], b[4][2];

  __device__ __forceinline__ void load(const unsigned (&a_at)[MT], unsigned further, unsigned b_at, unsigned second) {
#pragma unroll
    for (int i = 0; i < MT; i++) load_matrices(a[i], a_at[i] + further);
    if constexpr (Back) {
      load_words(b, 0, b_at);
      load_words(b, 1, b_at + second);
    } else {
#pragma unroll
      for (int half = 0; half < 2; half++) {
        unsigned v[4];
        load_matrices(v, b_at + half * second);
        b[half * 2][0] = v[0], b[half * 2][1] = v[1], b[half * 2 + 1][0] = v[2], b[half * 2 + 1][1] = v[3];
      }
    }
  }

  __device__ __forceinline__ void multiply(float (&sum)[MT][4][4]) const { multiply_parts<F>(sum, a, b); }
};

// multiply adds elements k to end of the sums of a unit, eight at a time. rows sets the addresses of the rows of the tiles' matrices at a tap.
template <class F, int MT, bool Back, typename Rows>
static __device__ __forceinline__ void multiply(float (&sum)[MT][4][4], const Weights &w, unsigned k, unsigned end, unsigned octets, unsigned taps, unsigned kw, Rows rows) {
  unsigned octet = k, tap = 0, ty = 0, tx = 0;
  while (octet >= octets) octet -= octets, tap++, tx++;
  while (tx >= kw) tx -= kw, ty++;
#pragma unroll 1
  while (k < end) {
    unsigned a_at[MT], b_at = w.at + tap * w.tap + octet * w.octet, left = octets - octet;
    if (left > end - k) left = end - k;
    rows(a_at, ty, tx, tap);
#pragma unroll
    for (int i = 0; i < MT; i++) a_at[i] += octet * 32;
    k += left;
#pragma unroll 1
    for (; F::PARTS == 1 && left >= 4; left -= 4, b_at += 4 * w.octet) {
      Fragments<F, MT, Back> f[2];
      f[0].load(a_at, 0, b_at, w.second);
#pragma unroll
      for (int o = 0; o < 4; o++) {
        if (o < 3) f[(o + 1) % 2].load(a_at, (o + 1) * 32, b_at + (o + 1) * w.octet, w.second);
        f[o % 2].multiply(sum);
      }
#pragma unroll
      for (int i = 0; i < MT; i++) a_at[i] += 128;
    }
#pragma unroll 1
    for (; left > 0; left--, b_at += w.octet) {
      Fragments<F, MT, Back> f;
      f.load(a_at, 0, b_at, w.second);
      f.multiply(sum);
#pragma unroll
      for (int i = 0; i < MT; i++) a_at[i] += 32;
    }
    octet = 0, tap++;
    if (++tx == kw) tx = 0, ty++;
  }
}

// add_parts adds up the sums of all parts of a unit, up to four at a time, which leave theirs in shared memory: where weights were that all warps
// have read by then, perhaps. The first part has the result.
template <int N> static __device__ __forceinline__ void add_parts(unsigned tid, float *sum, unsigned scratch, unsigned unit, unsigned units, unsigned part, unsigned parts, bool active) {
  float *const at = memory + scratch + unit * (N * 32) + tid % 32;
#pragma unroll 1
  while (parts > 1) {
    const unsigned left = (parts + 3) / 4;
    __syncthreads();
    if (active && part >= left && part < parts)
#pragma unroll
      for (int i = 0; i < N; i++) at[(part - left) * units * N * 32 + i * 32] = sum[i];
    __syncthreads();
    if (active && part < left)
#pragma unroll 1
      for (unsigned p = part; p + left < parts; p += left)
#pragma unroll
        for (int i = 0; i < N; i++) sum[i] += at[p * units * N * 32 + i * 32];
    parts = left;
  }
}

// from_global is what is at an address of global memory.
static __device__ __forceinline__ float from_global(const float *p) {
  float v;
  asm volatile("ld.global.f32 %0, [%1];" : "=f"(v) : "l"(__cvta_generic_to_global(p)));
  return v;
}

// mend makes those of N sums of products that are not finite anew, in float32: plain(i) is sum number i.
template <class F, int N, typename Plain> static __device__ __forceinline__ void mend(float *sums, Plain plain) {
  if constexpr (F::PARTS > 1) {
    float nothing[4] = {}; // or NaN
#pragma unroll
    for (int i = 0; i < N; i++) nothing[i % 4] = fmaf(sums[i], 0.f, nothing[i % 4]);
    if ((nothing[0] + nothing[1]) + (nothing[2] + nothing[3]) == 0.f) return;
    asm volatile("" ::: "memory"); // what is read for this is not kept in registers until then
#pragma unroll 1
    for (unsigned i = 0; i < N; i++) {
      float v = 0.f;
#pragma unroll
      for (int k = 0; k < N; k++)
        if (k == i) v = sums[k];
      if (fabsf(v) <= 3.40282347e38f) continue;
      v = plain(i);
#pragma unroll
      for (int k = 0; k < N; k++)
        if (k == i) sums[k] = v;
    }
  }
}

// product computes h by width pixels of so many columns. finish has the tiles of a unit, their first column and their sums.
template <class F, int MT, bool Back, typename Rows, typename Finish>
static __device__ __forceinline__ void product(unsigned tid, const Layer &seldom, const Layer l, const Extent &e, unsigned scratch, unsigned h, unsigned wide, unsigned taps, unsigned octets,
                                               unsigned kw, bool pooled, Rows rows, Finish finish) {
  const unsigned steps = taps * octets, warp = tid / 32, part = divide(warp, e.by_per);
#pragma unroll 1
  for (unsigned base = 0; base < e.units; base += e.per) {
    const unsigned unit = base + warp - part * e.per, chunk = divide(unit, e.by_groups), n0 = chunk * 32;
    const bool active = unit < e.units && part < e.splits;
    Tile tiles[MT];
    float sum[MT][4][4];
    if (active) {
#pragma unroll
      for (int i = 0; i < MT; i++) {
        const unsigned tile = (unit - chunk * e.groups) * MT + i;
        tiles[i] = pooled ? pooled_tile_at(tid, l, tile) : tile_at(tid, e, tile, h, wide);
#pragma unroll
        for (int n = 0; n < 16; n++) sum[i][n / 4][n % 4] = 0.f;
      }
      multiply<F, MT, Back>(sum, weights_of(tid, l, Back, n0), divide(steps * part, e.by_splits), divide(steps * (part + 1), e.by_splits), octets, taps, kw,
                         [&](unsigned(&at)[MT], unsigned ty, unsigned tx, unsigned tap) {
#pragma unroll
                           for (int i = 0; i < MT; i++)
                             at[i] = shared_address(memory + rows(tiles[i].row_y, tiles[i].row_x, ty, tx, tap) + tid % 32 / 16 * 4);
                         });
    }
    add_parts<MT * 16>(tid, &sum[0][0][0], scratch, unit, e.units, part, e.splits, active);
    if (!active || part > 0) continue;
    mend<F, MT * 16>(&sum[0][0][0], [&](unsigned i) {
      const unsigned lane = lane_anew(), t = lane % 4, j = i / 4 % 4, column = n0 + (Back ? 8 * t + i % 2 * 4 + j : 8 * j + 2 * t + i % 2);
      const unsigned row = lane / 4 + i / 2 % 2 * 8, index = (unit - chunk * e.groups) * MT + i / 16;
      const Tile tile = pooled ? pooled_tile_at(row, seldom, index) : tile_at(row, e, index, h, wide);
      const unsigned values = Back && seldom.rows < octets * 8 ? seldom.rows : octets * 8; // of a tap
      float v = 0.f;
      if (column >= (Back ? seldom.c : seldom.rows)) return v;
#pragma unroll 1
      for (unsigned tap = 0; tap < taps; tap++) {
        const unsigned ty = divide(tap, seldom.by[OF_KW]), at = rows(tile.row_y, tile.row_x, ty, tap - ty * kw, tap);
        const float *w = Back ? seldom.w + tap * seldom.c + column : seldom.w + column * seldom.k + tap * seldom.c;
#pragma unroll 1
        for (unsigned i = 0; i < values; i++, w += Back ? seldom.k : 1) v = fmaf(memory[at + i], from_global(w), v);
      }
      return v;
    });
    finish(tiles, n0, sum);
  }
}

// store2 stores two floats to shared memory if they are there: a branch for each would keep what is computed for them apart.
static __device__ __forceinline__ void store2(bool there, float *to, float2 v) {
  asm volatile("{\n.reg .pred p;\nsetp.ne.u32 p, %3, 0;\n@p st.shared.v2.f32 [%0], {%1, %2};\n}" ::"r"(shared_address(to)), "f"(v.x), "f"(v.y), "r"((unsigned)there) : "memory");
}

// output is a layer's output, rounded: a sum with the bias and the activation.
template <class F> static __device__ __forceinline__ float output(float z, bool relu) { return rounded<F>(relu && z <= 0.f ? 0.f : z); }

template <class F> static __device__ __forceinline__ float2 output(float x, float y, float2 bias, bool relu) {
  return float2_of(output<F>(x + bias.x, relu), output<F>(y + bias.y, relu));
}

// write_output stores a tile's output.
template <class F> static __device__ __forceinline__ void write_output(unsigned tid, const Layer l, const Plane out, const Tile tile, unsigned n0, const float (&sum)[4][4]) {
  const unsigned lane = tid % 32, x = tile.x + lane / 4, filters = l.f, below = out.pitch * out.step;
  const float *bias = memory + l.weights + l.rows8 * l.stride;
  const bool relu = l.act == RELU, first = tile.there && x < l.ow, second = first && tile.y + 1 < l.oh;
  float *to = memory + out.at + (tile.y * out.pitch + x) * out.step;
#pragma unroll
  for (int j = 0; j < 4; j++) {
    const unsigned n = n0 + 8 * j + lane % 4 * 2;
    const bool there = n < filters;
    const float2 b = *(const float2 *)(bias + (there ? n : 0));
    store2(there && first, to + n, output<F>(sum[j][0], sum[j][1], b, relu));
    store2(there && second, to + below + n, output<F>(sum[j][2], sum[j][3], b, relu));
  }
}

// write_largest stores the largest output of each of eight windows, and its place.
template <class F> static __device__ __forceinline__ void write_largest(unsigned tid, const Layer l, const Plane out, unsigned window, unsigned n0, const float (&sum)[2][4][4]) {
  const unsigned r = tid % 32 / 4, filters = l.f;
  const float *bias = memory + l.weights + l.rows8 * l.stride;
  const bool relu = l.act == RELU, right = right_first(r);
  const Window w(l, window + r);
  float *to = memory + out.at + (w.y * out.pitch + w.x) * out.step;
  unsigned char *places = (unsigned char *)(memory + l.argmax) + (window + r) * filters;
#pragma unroll
  for (int j = 0; j < 4; j++) {
    const unsigned n = n0 + 8 * j + tid % 4 * 2;
    const bool there = w.there && n < filters;
    const float2 b = *(const float2 *)(bias + (n < filters ? n : 0));
    float best[2];
    unsigned at[2];
#pragma unroll
    for (int e = 0; e < 2; e++) {
      best[e] = right ? sum[0][j][2 + e] : sum[0][j][e], at[e] = 0;
#pragma unroll
      for (unsigned place = 1; place < 4; place++) {
        const float v = place % 2 != right ? sum[place / 2][j][2 + e] : sum[place / 2][j][e];
        if (above(v, best[e])) best[e] = v, at[e] = place;
      }
    }
    store2(there, to + n, output<F>(best[0], best[1], b, relu));
    if (there) *(unsigned short *)(places + n) = at[0] | at[1] << 8;
  }
}

// forward_first is the product of a layer of few channels, whose windows are gathered from the image.
template <class F> static __device__ __forceinline__ void forward_first(unsigned tid, const Layer &shared, const Plane out) {
  const Layer l = shared;
  const unsigned lane = tid % 32, steps = l.k8 / 8;
  const Extent &e = l.products[FORWARD];
#pragma unroll 1
  for (unsigned unit = tid / 32; unit < e.units; unit += WARPS) {
    const unsigned chunk = divide(unit, e.by_groups), n0 = chunk * 32;
    const Weights w = weights_of(tid, l, false, n0);
    Tile tiles[2];
    unsigned at[2][2];
    float sum[2][4][4];
    const unsigned tile = (unit - chunk * e.groups) * 2;
    const Window window(l, tile * 4 + lane / 4);
#pragma unroll
    for (unsigned i = 0; i < 2; i++) {
      tiles[i] = tile_at(tid, e, tile + i, l.oh, l.ow);
#pragma unroll
      for (int n = 0; n < 16; n++) sum[i][n / 4][n % 4] = 0.f;
#pragma unroll
      for (unsigned half = 0; half < 2; half++) {
        unsigned y = tiles[i].y + half, x = tiles[i].x + lane / 4;
        if (l.pool == 2) y = window.y * 2 + i, x = window.x * 2 + (half ^ right_first(lane / 4));
        if (y >= l.oh) y = l.oh - 1;
        if (x >= l.ow) x = l.ow - 1;
        at[i][half] = l.x.at + ((int)(y - l.top) * (int)l.x.pitch + (int)(x - l.left)) * (int)l.x.step;
      }
    }
#pragma unroll 2
    for (unsigned step = 0; step < steps; step++) {
      unsigned a[2][4], v[4], b[4][2], tap[2];
#pragma unroll
      for (unsigned h = 0; h < 2; h++) {
        unsigned k = step * 8 + lane % 4 + h * 4;
        if (k >= l.k) k = l.k - 1; // its weight is 0
        const unsigned t = divide(k, l.by[OF_C]), ty = divide(t, l.by[OF_KW]);
        tap[h] = (ty * l.x.pitch + t - ty * l.kw) * l.x.step + k - t * l.c;
      }
#pragma unroll
      for (int i = 0; i < 2; i++)
#pragma unroll
        for (int q = 0; q < 4; q++) a[i][q] = __float_as_uint(memory[at[i][q % 2] + tap[q / 2]]);
#pragma unroll
      for (int half = 0; half < 2; half++) {
        load_matrices(v, w.at + step * 32 + half * w.second);
        b[half * 2][0] = v[0], b[half * 2][1] = v[1], b[half * 2 + 1][0] = v[2], b[half * 2 + 1][1] = v[3];
      }
      multiply_parts<F>(sum, a, b);
    }
    mend<F, 32>(&sum[0][0][0], [&](unsigned i) {
      const unsigned column = n0 + i / 4 % 4 * 8 + lane % 4 * 2 + i % 2, upper = i < 16 ? at[0][0] : at[1][0], lower = i < 16 ? at[0][1] : at[1][1];
      float v = 0.f;
      if (column < shared.rows)
#pragma unroll 1
        for (unsigned k = 0; k < shared.k; k++) {
          const unsigned t = divide(k, shared.by[OF_C]), ty = divide(t, shared.by[OF_KW]);
          const unsigned value = (i / 2 % 2 ? lower : upper) + (ty * shared.x.pitch + t - ty * shared.kw) * shared.x.step + k - t * shared.c;
          v = fmaf(memory[value], from_global(shared.w + column * shared.k + k), v);
        }
      return v;
    });
    if (l.pool == 2) {
      write_largest<F>(tid, l, out, tile * 4, n0, sum);
      continue;
    }
#pragma unroll
    for (int i = 0; i < 2; i++) write_output<F>(tid, l, out, tiles[i], n0, sum[i]);
  }
}

template <class F, int MT> static __device__ __forceinline__ void forward(unsigned tid, const Layer &shared, unsigned scratch, const Plane out) {
  const Layer l = shared;
  const Layer &after = later<F>(shared, l);
  const bool last = l.kind == LAST;
  const unsigned h = last ? l.h : l.oh, wide = last ? l.wide : l.ow;
  const unsigned top = last ? 0 : l.top, left = last ? 0 : l.left, shift = last ? 0 : l.shift;
  product<F, MT, false>(tid,
      shared, l, l.products[FORWARD], scratch, h, wide, last ? 1 : l.taps, l.c / 8, last ? 1 : l.kw, MT == 2 && l.pool == 2,
      [&](unsigned y, unsigned x, unsigned ty, unsigned tx, unsigned) {
        return l.x.at + (((int)(y + ty - top) >> shift) * (int)l.x.pitch + ((int)(x + tx - left) >> shift)) * (int)l.x.step;
      },
      [&](const Tile(&tiles)[MT], unsigned n0, const float(&sum)[MT][4][4]) {
        if constexpr (MT == 2)
          if (after.pool == 2) {
            write_largest<F>(tid, after, out, tiles[0].y, n0, sum);
            return;
          }
        const unsigned lane = tid % 32;
#pragma unroll
        for (int t = 0; t < MT; t++) {
          if (!last) {
            write_output<F>(tid, after, out, tiles[t], n0, sum[t]);
            continue;
          }
          const unsigned x = tiles[t].x + lane / 4;
#pragma unroll
          for (unsigned i = 0; i < 8; i++) {
            const unsigned n = n0 + i / 2 * 8 + lane % 4 * 2, y = tiles[t].y + i % 2;
            store2(tiles[t].there && n < after.rows8 && x < after.wide && y < after.h, memory + after.u.at + (y * after.wide + x) * after.u.step + n,
                   float2_of(sum[t][i / 2][i % 2 * 2], sum[t][i / 2][i % 2 * 2 + 1]));
          }
        }
      });
}

// back_input writes the gradient of the layer before, whose output is this one's input.
template <class F, int MT> static __device__ __forceinline__ void back_input(unsigned tid, const Layer &shared, const Layer &shared_before) {
  const Layer l = shared, copy_before = shared_before, &before = later<F>(shared_before, copy_before);
  const Layer &after = later<F>(shared, l);
  const bool last = l.kind == LAST, spread = last || l.shift;
  product<F, MT, true>(tid,
      shared, l, l.products[BACK], l.scratch, l.h, l.wide, last ? 1 : l.taps, last ? l.rows8 / 8 : l.f / 8, last ? 1 : l.kw, false,
      [&](unsigned y, unsigned x, unsigned ty, unsigned tx, unsigned tap) {
        if (spread) return l.u.at + (y * l.u.pitch + x) * l.u.step + tap * l.f;
        return l.u.at + ((int)(y + l.top - ty) * (int)l.u.pitch + (int)(x + l.left - tx)) * (int)l.u.step;
      },
      [&](const Tile(&tiles)[MT], unsigned n0, const float(&sum)[MT][4][4]) {
        const unsigned lane = tid % 32, n = n0 + lane % 4 * 8;
        const bool relu = before.act == RELU;
        if (n >= after.c) return;
#pragma unroll
        for (int t = 0; t < MT; t++)
#pragma unroll
          for (unsigned dy = 0; dy < 2; dy++) {
            const unsigned y = tiles[t].y + dy, x = tiles[t].x + lane / 4;
            if (!tiles[t].there || y >= after.h || x >= after.wide) continue;
#pragma unroll
            for (unsigned q = 0; q < 2; q++) {
              const float4 out = quad(after.x.at + (y * after.x.pitch + x) * after.x.step + n + q * 4);
              float v[4];
#pragma unroll
              for (int j = 0; j < 4; j++) {
                const float o = j == 0 ? out.x : j == 1 ? out.y : j == 2 ? out.z : out.w;
                v[j] = relu && !(o > 0.f) ? 0.f : sum[t][j][dy * 2 + q];
              }
              store_shared(memory + before.raw + (y * after.wide + x) * (before.f + 4) + n + q * 4, v);
            }
          }
      });
}

// word is the word at an address of shared memory, take2 two of them.
static __device__ __forceinline__ unsigned word(unsigned address) {
  unsigned v;
  asm volatile("ld.shared.u32 %0, [%1];" : "=r"(v) : "r"(address));
  return v;
}

static __device__ __forceinline__ void take2(unsigned &a, unsigned &b, unsigned address) {
  asm volatile("ld.shared.v2.u32 {%0, %1}, [%2];" : "=r"(a), "=r"(b) : "r"(address));
}

// Factors are those that a lane has of a product of rows of one plane and columns of another: the addresses of two rows at position 0, how far those
// 16 on are, the addresses of the columns, and how far it is to the next position.
struct Factors {
  unsigned row, second, columns[COLUMNS], row_step, column_step;

  // multiply adds the products at a position and the next one, where they are there.
  template <class F> __device__ __forceinline__ void multiply(float (&sum)[2][COLUMNS][4], unsigned p, bool (&&there)[2]) const {
    unsigned a[2][4], b[COLUMNS][2];
#pragma unroll
    for (unsigned k = 0; k < 2; k++) {
      const unsigned from = row + (there[k] ? (p + k) * row_step : 0), column = there[k] ? (p + k) * column_step : 0;
      take2(a[0][2 * k], a[0][2 * k + 1], from);
      take2(a[1][2 * k], a[1][2 * k + 1], from + second);
#pragma unroll
      for (int n = 0; n < COLUMNS; n++) b[n][k] = word(columns[n] + column);
#pragma unroll
      for (int i = 0; i < 4; i++)
        if (!there[k]) a[i / 2][2 * k + i % 2] = 0;
    }
    multiply_parts<F>(sum, a, b);
  }
};

// gradient computes products of m rows by so many tiles of eight columns, summed over positions, eight at a time. Those of a plane are its pixels from
// the first on, and what is between two rows of them, where one of the factors is 0. Lane l has rows 2*(l/4) and 2*(l/4)+1 of 32, and those 16 on, at
// positions 2*(l%4) and 2*(l%4)+1. factors has the first row, the first tile, and l/4; write has the sums of two rows by two columns.
template <class F, typename Of, typename Write>
static __device__ __forceinline__ void gradient(unsigned tid, const Extent &e, unsigned scratch, unsigned m, unsigned h, unsigned wide, unsigned pitch, Of factors, Write write) {
  const unsigned warp = tid / 32, lane = tid % 32, r = lane / 4, t = lane % 4;
  const unsigned positions = (h - 1) * pitch + wide, steps = (positions + 7) / 8, part = divide(warp, e.by_per);
#pragma unroll 1
  for (unsigned base = 0; base < e.units; base += e.per) {
    const unsigned unit = base + warp - part * e.per, chunk = divide(unit, e.by_groups), tile = (unit - chunk * e.groups) * COLUMNS;
    const bool active = unit < e.units && part < e.splits;
    const unsigned row = chunk * 32 + 2 * r;
    Factors of = {};
    float sum[2][COLUMNS][4];
#pragma unroll
    for (int i = 0; i < COLUMNS * 8; i++) sum[i / (4 * COLUMNS)][i / 4 % COLUMNS][i % 4] = 0.f;
    if (active) {
      of = factors(row, tile, r);
      const unsigned end = divide(steps * (part + 1), e.by_splits), whole = positions / 8;
      unsigned step = divide(steps * part, e.by_splits);
#pragma unroll 2
      for (; step < end && step < whole; step++) of.multiply<F>(sum, step * 8 + 2 * t, {true, true});
      const unsigned p = step * 8 + 2 * t;
      if (step < end) of.multiply<F>(sum, p, {p < positions, p + 1 < positions});
    }
    add_parts<COLUMNS * 8>(tid, &sum[0][0][0], scratch, unit, e.units, part, e.splits, active);
    if (!active || part > 0) continue;
    mend<F, COLUMNS * 8>(&sum[0][0][0], [&](unsigned i) {
      const unsigned lane = lane_anew(), n = i / 4 % COLUMNS, further = (lane % 4 * 2 + i % 2 - lane / 4) * 4;
      const unsigned column = (n == 0 ? of.columns[0] : n == 1 ? of.columns[1] : of.columns[2]) + further;
      const unsigned at = of.row + (i / (4 * COLUMNS) ? of.second : 0) + i / 2 % 2 * 4;
      float v = 0.f;
#pragma unroll 1
      for (unsigned y = 0; y < h; y++)
#pragma unroll 1
        for (unsigned p = y * pitch; p < y * pitch + wide; p++)
          v = fmaf(__uint_as_float(word(at + p * of.row_step)), __uint_as_float(word(column + p * of.column_step)), v);
      return v;
    });
#pragma unroll
      for (int n = 0; n < COLUMNS; n++)
#pragma unroll
        for (int i = 0; i < 2; i++)
          if (tile + n < e.tiles && row + 16 * i < m) write(row + 16 * i, (tile + n) * 8 + 2 * t, sum[i][n]);
  }
}

// leave stores values as partial sums, or adds them to those of the images before.
static __device__ __forceinline__ void leave(float *to, float v, bool add) {
  float old = 0.f;
  if (add) old = from_global(to);
  asm volatile("st.global.f32 [%0], %1;" ::"l"(__cvta_generic_to_global(to)), "f"(v + old) : "memory");
}

static __device__ __forceinline__ void leave2(float *to, float x, float y, bool add) {
  float a = 0.f, b = 0.f;
  if (add) asm volatile("ld.global.v2.f32 {%0, %1}, [%2];" : "=f"(a), "=f"(b) : "l"(__cvta_generic_to_global(to)));
  asm volatile("st.global.v2.f32 [%0], {%1, %2};" ::"l"(__cvta_generic_to_global(to)), "f"(x + a), "f"(y + b) : "memory");
}

// gradient_first sums what a layer of few channels learns, of all weights and biases. A thread has a filter, and every so many cells of the output: pixels or
// windows, of which the largest value alone counts. It does so for some elements of the filter at a time.
template <class F> static __device__ __forceinline__ void gradient_first(unsigned tid, const Layer l, bool add) {
  const unsigned wide = l.ow / l.pool, high = l.oh / l.pool, stripes = divide(T, l.by[OF_F]), stripe = divide(tid, l.by[OF_F]), f = tid - stripe * l.f;
  float *sums = memory + l.scratch;
#pragma unroll 1
  for (unsigned from = 0; from < l.k; from += ELEMENTS) {
    float sum[ELEMENTS + 1] = {};
    unsigned offset[ELEMENTS];
#pragma unroll
    for (unsigned j = 0; j < ELEMENTS; j++) {
      const unsigned k = from + j < l.k ? from + j : l.k - 1, tap = divide(k, l.by[OF_C]), ty = divide(tap, l.by[OF_KW]);
      offset[j] = shared_address(memory) + (l.x.at + ((int)(ty - l.top) * (int)l.x.pitch + (int)(tap - ty * l.kw - l.left)) * (int)l.x.step + k - tap * l.c) * 4;
    }
    if (stripe < stripes)
#pragma unroll 4
      for (Walk at(wide, l.by[OF_PW], {stripe, stripes}); at.row < high; at.next()) {
        const unsigned cell = at.row * wide + at.column;
        const float g = memory[l.raw + cell * (l.f + 4) + f];
        unsigned y = at.row, x = at.column;
        if (l.pool == 2) {
          const unsigned place = ((const unsigned char *)(memory + l.argmax))[cell * l.f + f];
          y = y * 2 + place / 2, x = x * 2 + place % 2;
        }
        const unsigned window = (y * l.x.pitch + x) * (l.x.step * 4);
#pragma unroll
        for (unsigned j = 0; j < ELEMENTS; j++) sum[j] += rounded<F>(g) * __uint_as_float(word(offset[j] + window));
        sum[ELEMENTS] += g;
      }
    if (stripe < stripes)
#pragma unroll
      for (unsigned j = 0; j <= ELEMENTS; j++) sums[(stripe * (ELEMENTS + 1) + j) * l.f + f] = sum[j];
    __syncthreads();
#pragma unroll 1
    for (unsigned i = tid; i < (ELEMENTS + 1) * l.f; i += T) {
      const unsigned j = divide(i, l.by[OF_F]), filter = i - j * l.f;
      float all = 0.f;
#pragma unroll 8
      for (unsigned n = 0; n < stripes; n++) all += sums[n * (ELEMENTS + 1) * l.f + i];
      if (j == ELEMENTS && from == 0) leave(l.partials + l.f * l.k + filter, all, add);
      if (j < ELEMENTS && from + j < l.k) leave(l.partials + filter * l.k + from + j, all, add);
    }
    __syncthreads();
  }
}

template <class F> static __device__ __forceinline__ void gradient_plane(unsigned tid, const Layer &shared, bool add) {
  const Layer l = shared;
  const Layer &after = later<F>(shared, l);
  const bool spread = l.kind == LAST || l.shift;
  const unsigned m = spread ? l.c : l.f;
  const Plane a = spread ? l.x : l.u, b = spread ? l.u : l.x;
  gradient<F>(tid,
      l.products[GRADIENT], l.scratch, m, spread ? l.h : l.oh, spread ? l.wide : l.ow, a.pitch,
      [&](unsigned row, unsigned tile, unsigned r) {
        Factors f;
        f.row = shared_address(memory + a.at + (row < m ? row : m - 2)), f.second = row + 16 < m ? 64 : 0;
        f.row_step = a.step * 4, f.column_step = b.step * 4;
#pragma unroll
        for (int n = 0; n < COLUMNS; n++) {
          const unsigned j = tile + n < l.products[GRADIENT].tiles ? tile + n : l.products[GRADIENT].tiles - 1;
          unsigned at = b.at + j * 8 + r;
          if (!spread) {
            const unsigned tap = divide(j * 8, l.by[OF_C]), ty = divide(tap, l.by[OF_KW]);
            at += ((int)(ty - l.top) * (int)b.pitch + (int)(tap - ty * l.kw - l.left)) * (int)b.step - tap * l.c;
          }
          f.columns[n] = shared_address(memory) + at * 4;
        }
        return f;
      },
      [&](unsigned row, unsigned n, const float(&sum)[4]) {
        if (!spread) {
#pragma unroll
          for (unsigned e = 0; e < 2; e++) leave2(after.partials + (row + e) * after.k + n, sum[e * 2], sum[e * 2 + 1], add);
          return;
        }
#pragma unroll
        for (unsigned c = 0; c < 2; c++) {
          if (after.kind == LAST) {
#pragma unroll
            for (unsigned e = 0; e < 2; e++)
              if (n + c < after.rows) leave(after.partials + (n + c) * after.c + row + e, sum[e * 2 + c], add);
          } else {
            const unsigned tap = divide(n + c, after.by[OF_F]), f = n + c - tap * after.f;
            leave2(after.partials + (f * after.taps + tap) * after.c + row, sum[c], sum[2 + c], add);
          }
        }
      });
}

// back_bias sums the gradient of a layer's output over stripes of its pixels; finish_bias, after a barrier, adds those up.
static __device__ __forceinline__ void back_bias(unsigned tid, const Layer l, float *sums) {
  const unsigned cells = (l.oh / l.pool) * (l.ow / l.pool), stripes = divide(T, l.by[OF_F]), stripe = divide(tid, l.by[OF_F]), f = tid - stripe * l.f;
  float sum = 0.f;
  if (stripe < stripes)
#pragma unroll 8
    for (unsigned i = stripe; i < cells; i += stripes) sum += memory[l.raw + i * (l.f + 4) + f];
  sums[tid] = sum;
}

static __device__ __forceinline__ void finish_bias(unsigned tid, const Layer l, const float *sums, bool add) {
  const unsigned stripes = divide(T, l.by[OF_F]), f = T - 1 - tid; // the last warps have least to do
  if (f >= l.f) return;
  float sum = 0.f;
#pragma unroll 4
  for (unsigned s = 0; s < stripes; s++) sum += sums[s * l.f + f];
  leave(l.partials + l.f * l.k + f, sum, add);
}

// prepare makes of the gradient of a layer's output one that is multiplied: rounded, at the places that a pool took, or summed over the copies of a
// pixel for every tap.
template <class F> static __device__ __forceinline__ void prepare(unsigned tid, const Layer l) {
  const unsigned quads = l.f / 4, step = l.f + 4;
  clear_halo(tid, l.u, l.u_begin, l.u_pixels, l.shift ? l.h : l.oh, l.shift ? l.wide : l.ow);
  if (l.shift) {
    for (Walk at(l.kh * quads, l.by[OF_KH_F4], everyone(tid)); at.row < l.h * l.wide; at.next()) {
      const unsigned y = divide(at.row, l.by[OF_WIDE]), x = at.row - y * l.wide, ty = divide(at.column, l.by[OF_F4]), f = (at.column - ty * quads) * 4;
      const unsigned oy = y * 2 + l.top - ty, ox = x * 2 + l.left, upper = l.raw + f + (oy * l.ow + ox) * step;
      const bool above = oy < l.oh, below = oy + 1 < l.oh;
      unsigned to = l.u.at + (y * l.u.pitch + x) * l.u.step + ty * l.kw * l.f + f;
      auto column = [&](unsigned x, unsigned from) { // of two rows
        float4 a = {}, b = {};
        if (above && x < l.ow) a = quad(from);
        if (below && x < l.ow) b = quad(from + l.ow * step);
        return float4_of(a.x + b.x, a.y + b.y, a.z + b.z, a.w + b.w);
      };
      float4 right = column(ox + 1, upper + step);
#pragma unroll 3
      for (unsigned tx = 0; tx < l.kw; tx++, to += l.f) {
        const float4 left = column(ox - tx, upper - tx * step);
        quad(to) = nearest<F>(float4_of(left.x + right.x, left.y + right.y, left.z + right.z, left.w + right.w));
        right = left;
      }
    }
    return;
  }
  const unsigned ph = l.oh / l.pool, pw = l.ow / l.pool;
  for (Walk at(quads, l.by[OF_F4], everyone(tid)); at.row < ph * pw; at.next()) {
    const unsigned y = divide(at.row, l.by[OF_PW]), x = at.row - y * pw, f = at.column * 4;
    const float4 v = rounded<F>(quad(l.raw + at.row * step + f));
    const unsigned to = l.u.at + (y * l.pool * l.u.pitch + x * l.pool) * l.u.step + f;
    if (l.pool == 1) {
      quad(to) = v;
      continue;
    }
    const unsigned places = ((const unsigned *)memory)[l.argmax + (at.row * l.f + f) / 4];
#pragma unroll
    for (unsigned i = 0; i < 4; i++) {
      const unsigned other = places ^ i * 0x01010101u;
      quad(to + (i / 2 * l.u.pitch + i % 2) * l.u.step) =
          float4_of(other & 255 ? 0.f : v.x, other & 0xff00 ? 0.f : v.y, other & 0xff0000 ? 0.f : v.z, other & 0xff000000 ? 0.f : v.w);
    }
  }
}

// spread_last is prepare for the last layer, whose gradient has no room beside its elements.
template <class F> static __device__ __forceinline__ void spread_last(unsigned tid, const Layer l) {
  const unsigned up = 1 + l.shift;
  for (Walk at(l.f * l.kh, l.by[OF_KH_F4], everyone(tid)); at.row < l.h * l.wide; at.next()) {
    const unsigned y = divide(at.row, l.by[OF_WIDE]), x = at.row - y * l.wide, f = divide(at.column, l.by[OF_F4]), ty = at.column - f * l.kh;
    const unsigned oy = y * up + l.top - ty, ox = x * up + l.left, upper = l.raw + (oy * l.ow + ox) * l.f + f;
    const bool above = oy < l.oh, below = l.shift && oy + 1 < l.oh;
    unsigned to = l.u.at + at.row * l.u.step + at.column * l.kw;
    auto column = [&](unsigned x, unsigned from) { // of two rows
      float v = 0.f;
      if (above && x < l.ow) v = memory[from];
      if (below && x < l.ow) v += memory[from + l.ow * l.f];
      return v;
    };
    float right = l.shift ? column(ox + 1, upper + l.f) : 0.f;
#pragma unroll 3
    for (unsigned tx = 0; tx < l.kw; tx++) {
      const float left = column(ox - tx, upper - tx * l.f);
      memory[to++] = rounded<F>(left + right);
      if (l.shift) right = left;
    }
    if (at.column == 0)
      for (unsigned i = l.rows; i < l.rows8; i++) memory[l.u.at + at.row * l.u.step + i] = 0.f;
  }
}

// outputs finishes the last layer: of the products of each pixel and tap it makes the output, of that the loss and its gradient. sums gets those of
// each warp, of the loss and then of the gradients of every filter; finish_outputs, after a barrier, adds them up.
static __device__ __forceinline__ void outputs(unsigned tid, const Layer l, unsigned target, float scale, bool bce, float *sums) {
  float loss = 0.f, grads[4] = {};
  const float *bias = memory + l.weights + l.rows8 * l.stride;
  for (Walk at(l.f, l.by[OF_F], everyone(tid)); at.row < l.oh * l.ow; at.next()) {
    const unsigned y = divide(at.row, l.by[OF_OW]), x = at.row - y * l.ow;
    float z = bias[at.column];
    const unsigned column = l.u.at + at.column * l.taps;
    auto add = [&](unsigned ty, unsigned tx) {
      const unsigned sy = (int)(y + ty - l.top) >> l.shift, sx = (int)(x + tx - l.left) >> l.shift;
      const bool inside = sy < l.h && sx < l.wide;
      const float v = memory[column + (inside ? (sy * l.wide + sx) * l.u.step + ty * l.kw + tx : 0)];
      z += inside ? v : 0.f;
    };
    if (l.kh == 3 && l.kw == 3) {
#pragma unroll
      for (unsigned tap = 0; tap < 9; tap++) add(tap / 3, tap % 3);
    } else {
      for (unsigned ty = 0; ty < l.kh; ty++)
        for (unsigned tx = 0; tx < l.kw; tx++) add(ty, tx);
    }
    const unsigned i = at.row * l.f + at.column;
    const float t = memory[target + i];
    float grad;
    if (bce) {
      const float e = expf(-fabsf(z)), p = __fdiv_rn(1.f, 1.f + e);
      loss += fmaxf(z, 0.f) - z * t + log1pf(e), grad = (z < 0.f ? p * e : p) - t;
    } else {
      const float out = act_apply(l.act, z), d = out - t;
      loss += d * d, grad = act_derive(l.act, 2.f * d, out);
    }
    grad *= scale;
    memory[l.raw + i] = grad;
#pragma unroll
    for (unsigned f = 0; f < 4; f++) grads[f] += at.column == f ? grad : 0.f;
  }
  loss = warp_sum(loss);
  if (tid % 32 == 0) sums[tid / 32] = loss;
#pragma unroll
  for (unsigned f = 0; f < 4; f++) {
    if (f == l.f) break;
    const float sum = warp_sum(grads[f]);
    if (tid % 32 == 0) sums[(f + 1) * WARPS + tid / 32] = sum;
  }
}

static __device__ __forceinline__ void finish_outputs(unsigned tid, const Layer l, float *loss, float scale, const float *sums, bool add) {
  const unsigned i = T - 1 - tid; // the last warps have least to do
  if (i > l.f) return;
  float sum = 0.f;
#pragma unroll
  for (unsigned warp = 0; warp < WARPS; warp++) sum += sums[i * WARPS + warp];
  if (i == 0)
    leave(loss, scale * sum, add);
  else
    leave(l.partials + l.rows * l.c + i - 1, sum, add);
}

// Samples is where the images come from; see random_gather.
struct Samples {
  const unsigned char *pixels;
  unsigned stored, sample, size, draw, k0, k1, stream;
  float std;
  bool there;
};

// Pixels are four of an image, in bytes, and their noise.
struct Pixels {
  unsigned bytes;
  Four noise;
};

static __device__ __forceinline__ Pixels gather(const Samples &s, unsigned block) {
  const unsigned char *from = s.pixels + (u64)s.stored * s.size + block * 4;
  Pixels p = {};
#pragma unroll
  for (unsigned k = 0; k < 4; k++)
    if (s.there && block * 4 + k < s.size) p.bytes |= from[k] << 8 * k;
  if (s.std > 0.f) p.noise = normals(philox(block, s.sample, s.draw, s.stream, s.k0, s.k1));
  return p;
}

// of_byte is b/255, rounded to nearest, as a division would do it.
static __device__ __forceinline__ float of_byte(unsigned b) {
  const float v = __fadd_rn(__uint_as_float(0x4b000000u | b), -8388608.f), r = 1.f / 255.f, q = __fmul_rn(v, r); // 2^23+b, less 2^23
  return fmaf(fmaf(-255.f, q, v), r, q);
}

// put stores pixels: what is learnt from, rounded, in x, which has room around it, and what is to come out in target.
template <class F> static __device__ __forceinline__ void put(const Pixels &p, const Samples &s, unsigned block, const Layer &l, unsigned target) {
  const unsigned row = l.wide * l.c;
#pragma unroll
  for (unsigned k = 0; k < 4; k++) {
    const unsigned i = block * 4 + k;
    if (i >= s.size) break;
    float v = s.there ? of_byte(p.bytes >> 8 * k & 255) : __uint_as_float(0x7fc00000u);
    memory[target + i] = v;
    if (s.there && s.std > 0.f) v = fminf(fmaxf(__fadd_rn(v, __fmul_rn(s.std, p.noise.v[k])), 0.f), 1.f);
    const unsigned y = divide(divide(i, l.by[OF_C]), l.by[OF_WIDE]);
    memory[l.x.at + y * l.x.pitch * l.c + i - y * row] = rounded<F>(v);
  }
}

#define LAYER_PARAMS(i) const float *w##i, const float *bias##i, float *partials##i, u64 shape##i, u64 places##i, u64 more##i
#define LAYER(i)                                                                                                                       \
  if (tid / 32 == i && i < layers) decode(tid, layer[i], w##i, bias##i, partials##i, shape##i, places##i, more##i)

// For each image = block, block + blocks, ...: a whole step, whose partial sums are those of the block. Images are gathered as random_gather does,
// with the step parameters that it writes; losses is the loss of each block, scale times its sum, common has where the target and what is left by
// several warps lie in units of 16 bytes, then the number of layers in 8 bits and whether the loss is that of the sigmoid's logits.
#define STEP_PARAMS                                                                                                                    \
  const unsigned char *__restrict__ pixels, const unsigned *__restrict__ order, StepParams *params, unsigned set, unsigned step,       \
      unsigned draw, unsigned offset, float lr, float correction1, float correction2, float divergence, float temperature, unsigned n, \
      unsigned samples, unsigned places, unsigned first, unsigned k0, unsigned k1, unsigned stream, float std, unsigned staged,        \
      float *losses, float scale, u64 common, LAYER_PARAMS(0), LAYER_PARAMS(1), LAYER_PARAMS(2), LAYER_PARAMS(3), LAYER_PARAMS(4),     \
      LAYER_PARAMS(5)
template <class F> __device__ __forceinline__ void resident(STEP_PARAMS) {
  __shared__ Layer layer[MOST];
  __shared__ float sums[T];
  __shared__ unsigned zero;
  const unsigned target = bits_of(common, 0, 16) * 4, scratch = bits_of(common, 16, 16) * 4, layers = bits_of(common, 32, 8);
  const bool bce = bits_of(common, 40, 1);
  const unsigned tid = threadIdx.x;
  if (tid == 0) zero = 0;
  LAYER(0);
  LAYER(1);
  LAYER(2);
  LAYER(3);
  LAYER(4);
  LAYER(5);
  StepParams now;
  if (set) {
    now.draw = draw, now.offset = offset;
    if (threadIdx.x == 0 && blockIdx.x == 0) *params = {step, draw, offset, lr, correction1, correction2, divergence, temperature};
  } else {
    now.draw = params->draw, now.offset = params->offset;
  }
  // Warps that have no layer to decode gather images, the first before the layers are there.
  const unsigned size = bits_of(shape0, 0, 8) * bits_of(shape0, 8, 8) * bits_of(shape0, 16, 8);
#pragma unroll 1
  for (unsigned image = blockIdx.x; image < n; image += gridDim.x) {
    const bool add = image != blockIdx.x;
    const unsigned decoders = layers * 32;
    const Team stagers = {threadIdx.x < decoders ? threadIdx.x : nobody, decoders};
    {
      const unsigned place = now.offset + first + image, sample = place < places ? order[place] : samples;
      const unsigned stored = staged && place < places ? first + image : sample;
      const Samples s = {pixels, stored, sample, size, now.draw, k0, k1, stream, std, stored < samples};
#pragma unroll 1
      for (unsigned from = 0; from * 4 < size; from += T - decoders) {
        const unsigned block = from + threadIdx.x - decoders;
        const bool mine = threadIdx.x >= decoders && block * 4 < size;
        Pixels p;
        if (mine) p = gather(s, block);
        if (from == 0) __syncthreads();
        if (mine) put<F>(p, s, block, layer[0], target);
      }
    }
    stage(layer[0], layer[0].weights, stagers);
    stage(layer[1], layer[1].weights, everyone(thread(zero)));
    clear_halo(thread(zero), layer[0].x, layer[0].x_begin, layer[0].x_pixels, layer[0].h, layer[0].wide);
    wait_for_copies<1>();
    settle<F>(layer[0], layer[0].weights, stagers);
    __syncthreads();
#pragma unroll 1
    for (unsigned i = 0; i < layers; i++) {
      const Layer &l = layer[i], &next = layer[i + 1 < layers ? i + 1 : i];
      const bool last = i + 1 == layers, staged_now = i > 0 && !last;
      const Team team = i > 0 ? idle(thread(zero), l.products[FORWARD]) : everyone(thread(zero));
      if (staged_now) stage(next, next.weights, team);
      if (!last) clear_halo(thread(zero), next.x, next.x_begin, next.x_pixels, next.h, next.wide);
      if (i == 0)
        forward_first<F>(thread(zero), l, next.x);
      else if (l.products[FORWARD].pairs)
        forward<F, 2>(thread(zero), l, scratch, next.x);
      else
        forward<F, 1>(thread(zero), l, scratch, next.x);
      if (!last) {
        wait_for_copies();
        settle<F>(next, next.weights, team);
      }
      __syncthreads();
    }
    outputs(thread(zero), layer[layers - 1], target, scale, bce, sums);
    __syncthreads();
    finish_outputs(thread(zero), layer[layers - 1], losses + blockIdx.x, scale, sums, add);
    spread_last<F>(thread(zero), layer[layers - 1]);
#pragma unroll 1
    for (unsigned i = layers - 1; i > 0; i--) {
      const Layer &l = layer[i], &before = layer[i - 1];
      const Team team = idle(thread(zero), l.products[BACK]);
      __syncthreads();
      if (i > 1) stage(before, before.weights_back, team);
      gradient_plane<F>(thread(zero), l, add);
      if (i + 1 < layers) finish_bias(thread(zero), l, sums, add);
      if (l.products[BACK].pairs)
        back_input<F, 2>(thread(zero), l, before);
      else
        back_input<F, 1>(thread(zero), l, before);
      if (i > 1) {
        wait_for_copies();
        settle<F>(before, before.weights_back, team);
      }
      __syncthreads();
      if (i == 1) break;
      back_bias(thread(zero), before, sums);
      prepare<F>(thread(zero), before);
    }
    gradient_first<F>(thread(zero), layer[0], add);
  }
}

#define LAYER_ARGS(i) w##i, bias##i, partials##i, shape##i, places##i, more##i
#define RESIDENT_STEP(name, F)                                                                                                          \
  extern "C" __global__ void __launch_bounds__(T, 1) name(STEP_PARAMS) {                                                                \
    resident<F>(pixels, order, params, set, step, draw, offset, lr, correction1, correction2, divergence, temperature, n, samples,     \
                places, first, k0, k1, stream, std, staged, losses, scale, common, LAYER_ARGS(0), LAYER_ARGS(1), LAYER_ARGS(2),        \
                LAYER_ARGS(3), LAYER_ARGS(4), LAYER_ARGS(5));                                                                          \
  }

RESIDENT_STEP(resident_step, TF32)
RESIDENT_STEP(resident_step_split, Split)
