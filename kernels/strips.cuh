// How the forms that bring the pixels under many windows to shared memory deal windows to blocks.
#pragma once
#include "conv.cuh"

// Strips is how pool windows are dealt to blocks. A grid of windows is cut into count strips, each width windows wide; the windows of
// all strips of all images are numbered row by row, and a block has a stretch of them. Their pixels are those of rows of pitch
// pixels, a strip with its halo takes stack of them, and a block needs at most so many.
//
// A form may put first of all rows those at which windows begin, then those one below, and so on, as many times as the stride, and in each row
// the pixels likewise: split is the stride then, else 1. A strip takes stack pixels of each of these.
struct Strips {
  unsigned width, count, pitch, stack, pixels;
  Divider by_width, by_count, by_pitch, by_stack;
};

#define STRIPS_PARAMS                                                                                                  \
  unsigned width, unsigned count, unsigned pitch, unsigned stack, unsigned pixels, Divider by_width, Divider by_count, \
      Divider by_pitch, Divider by_stack
#define STRIPS                                                                                                         \
  { width, count, pitch, stack, pixels, by_width, by_count, by_pitch, by_stack }

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

// halo_pixel finds the pixel that belongs at number p of a stretch's pixels.
template <bool Scaled>
static __device__ __forceinline__ Pixel halo_pixel(const Correlation &g, const Strips &strips, const Taps &t, const Stretch &s, unsigned p, unsigned split = 1) {
  const unsigned part = strips.pixels / split, below = split == 1 ? 0 : p / part;
  const unsigned at = s.y * (s.window_step / split) * strips.pitch + p - below * part, stacks = divide(at, strips.by_stack), strip = s.strip + stacks;
  const unsigned in_stack = at - stacks * strips.stack, row = divide(in_stack, strips.by_pitch), in_row = in_stack - row * strips.pitch;
  const unsigned columns = strips.pitch / split, x = split == 1 ? in_row : in_row % columns * split + in_row / columns;
  const unsigned n = divide(strip, strips.by_count);
  const int y = (int)(row * split + below) - t.top;
  return under<Scaled>(g.s, n * g.s.image, n < g.images ? y : -1, (int)((strip - n * strips.count) * strips.width * s.window_step + x) - t.left);
}

// HaloPosition is a position of a stretch: the number of its first pixel among the stretch's, and the pixel of its output, or nowhere.
struct HaloPosition {
  unsigned pixel, out;
};

// halo_position finds position number r of a stretch. One that there is not has the first pixels.
static __device__ __forceinline__ HaloPosition halo_position(const Correlation &g, const Strips &strips, const Taps &t, const Stretch &s, unsigned r,
                                                             unsigned split = 1) {
  const unsigned of_stretch = g.pool == 1 ? r : g.pool == 2 ? r / 4 : r / s.window_size, in_window = r - of_stretch * s.window_size;
  const unsigned py = g.pool == 2 ? in_window / 2 : in_window / g.pool, px = in_window - py * g.pool, window = s.first + of_stretch;
  const unsigned row = divide(window, strips.by_width), in_strip = window - row * strips.width, strip = row / t.h, y = row - strip * t.h;
  const unsigned n = divide(strip, strips.by_count), x = (strip - n * strips.count) * strips.width + in_strip;
  HaloPosition p = {0, nowhere};
  if (of_stretch >= s.windows || window >= s.all) return p;
  const unsigned step = g.stride / split, row_of_stack = (y * g.pool + py) * step - s.y * g.pool * step; // may wrap
  p.pixel = (strip - s.strip) * strips.stack + row_of_stack * strips.pitch + (in_strip * g.pool + px) * step;
  if (x < t.w) p.out = (n * g.out_h + y * g.step + t.ry) * g.out_w + x * g.step + t.rx;
  return p;
}

// packed_taps is the number of taps that packed weights have room for: those of the residue that has most.
template <bool Back> static __device__ __forceinline__ unsigned packed_taps(const Correlation &g) {
  const unsigned more = Back ? g.step - 1 : 2 * (g.step - 1); // taps of a window reach into so many more of a kernel's
  return ((g.kh + more) / g.step) * ((g.kw + more) / g.step);
}
