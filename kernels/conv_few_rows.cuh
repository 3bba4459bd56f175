// Few values under a window as rows of a matrix of bfloat16s in shared memory, for tensor cores: the first layer of a model and the last.
#pragma once
#include "conv.cuh"
#include "copy.cuh"
#include "mma.cuh"

// WARPS is the number of warps of a block, and WARP_CHANNELS that of the channels that a warp has.
enum { WARPS = 8, WARP_CHANNELS = 32 };

// FewWindows is how the windows of a grid, of a pool those that the pool leaves, are dealt in units: so many rows of a strip, width windows wide.
struct FewWindows {
  unsigned height, across; // of the grid
  unsigned rows, width, strips, bands; // strips of an image, and units of a strip
  Divider by_strips, by_bands;
};

// FewUnit is where a unit lies: the image, its first window, and how many rows it has, and windows in each.
struct FewUnit {
  unsigned n, y, x, rows, columns;
};

static __device__ __forceinline__ FewUnit few_unit(const FewWindows &g, unsigned unit) {
  const unsigned strip = divide(unit, g.by_bands), n = divide(strip, g.by_strips);
  FewUnit u = {n, (unit - strip * g.bands) * g.rows, (strip - n * g.strips) * g.width, g.rows, g.width};
  if (g.height - u.y < u.rows) u.rows = g.height - u.y;
  if (g.across - u.x < u.columns) u.columns = g.across - u.x;
  return u;
}

// copy_float brings a float to shared memory in the background, or zero.
static __device__ __forceinline__ void copy_float(unsigned to, const float *from, bool inside) {
  asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(to), "l"(__cvta_generic_to_global(from)), "r"(inside ? 4 : 0)
               : "memory");
}

// load_float loads a float from shared memory.
static __device__ __forceinline__ float load_float(unsigned from) {
  float v;
  asm volatile("ld.shared.f32 %0, [%1];" : "=f"(v) : "r"(from));
  return v;
}

// offset_of is where pixel x of a row lies in it, in pixels: stride runs of so many, plane, of those that are a stride apart.
static __device__ __forceinline__ unsigned offset_of(unsigned x, unsigned stride, unsigned plane) {
  return stride == 1 ? x : x % stride * plane + x / stride;
}

// FewLayout is how pixels lie in shared memory: as floats, an odd number of them apart, in each row those at which windows begin first, then those
// one further on, and so on, so that neighbouring windows find theirs in different banks. Behind them lie the rows of values.
struct FewLayout {
  unsigned plane, row_size; // pixels of a row that are a stride apart, and floats of a row
  Divider by_c, by_eights;
};

#define FEW_WINDOWS_PARAMS                                                                                             \
  unsigned height, unsigned across, unsigned rows, unsigned width, unsigned strips, unsigned bands, Divider by_strips, \
      Divider by_bands, unsigned plane, unsigned row_size, Divider by_values, Divider by_eights
#define FEW_WINDOWS                                                                                                    \
  {height, across, rows, width, strips, bands, by_strips, by_bands}, { plane, row_size, by_values, by_eights }

// FewRows makes rows of 8*NT values, of which the windows have fewer: the next one is 1, and the others 0. Rows lie an odd number of units of 16
// bytes apart. Of a Pool of 2 there is a matrix of rows for each place of its windows. Of a row of windows 16 are a step; rows of a step that are
// behind a row of windows are not written. With Copies of 2 pixels are summed over the copies of an upsampled one, as spread does, before they
// are rounded; all has the sums of what a thread gathers then.
template <int NT, int Pool, int Copies> struct FewRows {
  static constexpr unsigned T = 32 * WARPS, ROW = NT + 1, PLACES = Pool * Pool;
  const Source &s;
  const FewWindows &g;
  const FewLayout &l;
  const unsigned stride;
  const int top, left;
  const unsigned kh, kw;
  unsigned steps_of_row, steps, matrix; // rows from a place to the next, which begin in other banks
  unsigned pixels, offset[8][Copies], mine, count;
  float *values;
  float all[8];

  __device__ __forceinline__ FewRows(const Source &s, const FewWindows &g, const FewLayout &l, unsigned stride, int top, int left, unsigned kh, unsigned kw,
                                     float *buffer)
      : s(s), g(g), l(l), stride(Copies == 2 ? 2 : stride), top(top), left(left), kh(kh), kw(kw) {
    steps_of_row = (g.width + 15) / 16, steps = g.rows * steps_of_row, matrix = steps * 16 + 4;
    pixels = shared_address(buffer), values = buffer + (down() * l.row_size + 3) / 4 * 4;
    // The eight values that this thread gathers, and where they lie behind the pixel at which a window begins.
    mine = threadIdx.x / 32 % NT * 8, count = kh * kw * s.c;
#pragma unroll
    for (unsigned e = 0; e < 8; e++) {
      const unsigned k = mine + e < count ? mine + e : 0, tap = divide(k, l.by_c), i = tap / kw, j = tap - i * kw;
#pragma unroll
      for (unsigned b = 0; b < Copies; b++)
        offset[e][b] = pixels + (i * l.row_size + offset_of(j + b, this->stride, l.plane) * (s.c | 1) + k - tap * s.c) * 4;
    }
    clear(all);
  }

  // down is the number of rows of pixels under a unit.
  __device__ __forceinline__ unsigned down() const { return (g.rows * Pool - 1) * stride + kh + Copies - 1; }

  // copy brings the pixels under a unit's windows to shared memory in the background, zeros where there are none. Lanes that are neighbours have
  // values of pixels a stride apart, but each warp has those between too, if it can.
  __device__ __forceinline__ void copy(const FewUnit &u) const {
    const unsigned c = s.c, h = s.image / s.row, w = s.row, rows = down(), run = ((g.width * Pool - 1) * stride + kw + Copies - 1 + stride - 1) / stride;
    const int y0 = (int)(u.y * Pool * stride) - top - (Copies - 1), x0 = (int)(u.x * Pool * stride) - left - (Copies - 1);
    const long long first = (long long)(u.n * s.image) + y0 * (int)s.row + x0;
    const unsigned together = stride == 2 || stride == 4 ? 32 / stride : 32;
#pragma unroll 1
    for (unsigned i = threadIdx.x; i < (run * c + together - 1) / together * together * stride; i += T) {
      const unsigned block = i / together, of_run = block / stride * together + i % together, behind = block % stride;
      const unsigned p = divide(of_run, l.by_c), ch = of_run - p * c, x = p * stride + behind;
      if (p >= run) continue;
      const unsigned of_column = (unsigned)(x0 + (int)x) < w ? h : 0;
      const float *from = s.p + (first + (int)x) * (int)c + ch;
      unsigned to = pixels + ((behind * l.plane + p) * (c | 1) + ch) * 4;
#pragma unroll 4
      for (unsigned r = 0; r < rows; r++, from += s.row * c, to += l.row_size * 4) copy_float(to, from, (unsigned)(y0 + (int)r) < of_column);
    }
    end_copies();
  }

  // gather brings the values under a unit's windows, rounded, to their rows. Of a pool the positions of a row are gathered together, and by eights,
  // which the hardware stores at a time.
  __device__ __forceinline__ void gather() {
    const unsigned warp = threadIdx.x / 32, row_bytes = stride * l.row_size * 4, eights = (g.width * Pool + 7) / 8 * 8;
#pragma unroll 1
    for (unsigned p = warp / NT * 32 + threadIdx.x % 32; p < g.rows * Pool * eights; p += T / NT) {
      const unsigned y = divide(p, l.by_eights), x = p - y * eights, at = y * row_bytes + x * (s.c | 1) * 4;
      if (x >= g.width * Pool) continue;
      float v[8], pairs[4];
#pragma unroll
      for (unsigned e = 0; e < 8; e++) {
        v[e] = load_float(offset[e][0] + at);
        if (Copies == 2) {
          v[e] += load_float(offset[e][Copies - 1] + at);
          v[e] += load_float(offset[e][0] + l.row_size * 4 + at);
          v[e] += load_float(offset[e][Copies - 1] + l.row_size * 4 + at);
          all[e] += v[e];
        }
      }
      if (mine + 8 > count)
#pragma unroll
        for (unsigned e = 0; e < 8; e++)
          if (mine + e >= count) v[e] = mine + e == count ? 1.f : 0.f;
#pragma unroll
      for (unsigned e = 0; e < 4; e++) pairs[e] = __uint_as_float(bits_of_pair(v[2 * e], v[2 * e + 1]));
      const unsigned window = y / Pool * steps_of_row * 16 + x / Pool, place = Pool == 1 ? 0 : y % 2 * 2 + x % 2;
      store_shared(values + ((place * matrix + window) * ROW + warp % NT) * 4, pairs);
    }
  }

  // of_lane is the address of the row lane%16 of a step, of the first eight values or the next ones. Behind a row of windows it is the last of them,
  // for there are no numbers there.
  __device__ __forceinline__ unsigned of_lane(unsigned step) const {
    const unsigned lane = threadIdx.x % 32, x = step % steps_of_row * 16 + lane % 16, behind = x < g.width ? 0 : x - g.width + 1;
    return shared_address(values + ((step * 16 + lane % 16 - behind) * ROW + lane / 16) * 4);
  }
};
