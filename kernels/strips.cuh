// How the forms that bring the pixels under many windows to shared memory deal windows to blocks.
#pragma once
#include "conv.cuh"

// Strips is how pool windows are dealt to blocks. A grid of windows is cut into count strips, each width windows wide; the windows of
// all strips of all images are numbered row by row, and a block has a stretch of them. Their pixels are those of rows of pitch
// pixels, stack of them a strip with its halo, and a block needs at most so many rows.
struct Strips {
  unsigned width, count, pitch, stack, rows;
  Divider by_width, by_count, by_pitch, by_stack;
};

#define STRIPS_PARAMS                                                                                                  \
  unsigned width, unsigned count, unsigned pitch, unsigned stack, unsigned rows, Divider by_width, Divider by_count,   \
      Divider by_pitch, Divider by_stack
#define STRIPS                                                                                                         \
  { width, count, pitch, stack, rows, by_width, by_count, by_pitch, by_stack }

// Stretch is the windows that a block has, from number first on, of all there are. The first lies in row y of a strip.
struct Stretch {
  unsigned first, windows, all, strip, y, window_size, window_step;
};

// stretch_of finds the stretch of block number block, of positions positions. Beyond the last window there is none: first is not below all.
static __device__ __forceinline__ Stretch stretch_of(const Correlation &g, const Strips &strips, const Taps &t, unsigned block, unsigned positions) {
  Stretch s;
  s.window_size = g.pool * g.pool, s.window_step = g.pool * g.stride, s.windows = positions / s.window_size;
  s.first = block * s.windows, s.all = g.images * strips.count * t.h * strips.width;
  const unsigned row = divide(s.first, strips.by_width);
  s.strip = row / t.h, s.y = row - s.strip * t.h;
  return s;
}

// halo_pixel finds the pixel that belongs in column x of a row of a stretch's pixels.
template <bool Scaled>
static __device__ __forceinline__ Pixel halo_pixel(const Correlation &g, const Strips &strips, const Taps &t, const Stretch &s, unsigned of_stretch,
                                                   unsigned x) {
  const unsigned row = s.y * s.window_step + of_stretch, stacks = divide(row, strips.by_stack), strip = s.strip + stacks;
  const unsigned n = divide(strip, strips.by_count);
  const int y = (int)(row - stacks * strips.stack) - t.top;
  return under<Scaled>(g.s, n * g.s.image, n < g.images ? y : -1, (int)((strip - n * strips.count) * strips.width * s.window_step + x) - t.left);
}

// HaloPosition is a position of a stretch: row and column of its first pixel among the stretch's, and the pixel of its output, or nowhere.
struct HaloPosition {
  unsigned y, x, out;
};

// halo_position finds position number r of a stretch. One that there is not has the first pixels.
static __device__ __forceinline__ HaloPosition halo_position(const Correlation &g, const Strips &strips, const Taps &t, const Stretch &s, unsigned r) {
  const unsigned of_stretch = g.pool == 1 ? r : g.pool == 2 ? r / 4 : r / s.window_size, in_window = r - of_stretch * s.window_size;
  const unsigned py = g.pool == 2 ? in_window / 2 : in_window / g.pool, px = in_window - py * g.pool, window = s.first + of_stretch;
  const unsigned row = divide(window, strips.by_width), in_strip = window - row * strips.width, strip = row / t.h, y = row - strip * t.h;
  const unsigned n = divide(strip, strips.by_count), x = (strip - n * strips.count) * strips.width + in_strip;
  HaloPosition p = {0, 0, nowhere};
  if (of_stretch >= s.windows || window >= s.all) return p;
  p.y = (strip - s.strip) * strips.stack + (y - s.y) * s.window_step + py * g.stride, p.x = (in_strip * g.pool + px) * g.stride;
  if (x < t.w) p.out = (n * g.out_h + y * g.step + t.ry) * g.out_w + x * g.step + t.rx;
  return p;
}

// packed_taps is the number of taps that packed weights have room for: those of the residue that has most.
template <bool Back> static __device__ __forceinline__ unsigned packed_taps(const Correlation &g) {
  const unsigned more = Back ? g.step - 1 : 2 * (g.step - 1); // taps of a window reach into so many more of a kernel's
  return ((g.kh + more) / g.step) * ((g.kw + more) / g.step);
}
