// Packed weights, for kernels on tensor cores.
#pragma once
#include "strips.cuh"

// pack makes word i of the packed weights in one direction: four bytes, of which a residue has for each of its taps, column and channel one that
// is rounded to TF32, or half of one that is rounded to bfloat16; words are two neighbouring channels then. g.s.c is the words of a pixel.
// Those of a column lie together, tap by tap, or in planes: of a tap and four words those of all columns.
template <bool Back> static __device__ __forceinline__ void pack(const Correlation &g, unsigned *out, unsigned i, bool pairs, bool planes) {
  const unsigned room = packed_taps<Back>(g), of_residue = g.columns * room * g.s.c, residue = i / of_residue, at = i - residue * of_residue;
  unsigned n, tap, word;
  if (planes) {
    const unsigned unit = at / 4, plane = unit / g.columns, quads = g.s.c / 4;
    n = unit - plane * g.columns, tap = plane / quads, word = (plane - tap * quads) * 4 + at % 4;
  } else {
    const unsigned row = at / g.s.c;
    n = row / room, tap = row - n * room, word = at - row * g.s.c;
  }
  Taps t;
  residue_taps<Back>(residue / g.step, g.step, g.top, g.kh, t.kh, t.top, t.first_y);
  residue_taps<Back>(residue % g.step, g.step, g.left, g.kw, t.kw, t.left, t.first_x);
  if (tap >= t.kh * t.kw) return;
  Correlation whole = g; // whose channels are not in words
  if (pairs) whole.s.c *= 2, word *= 2;
  float low[1], high[1];
  weight<1, Back>(low, whole, t, n, tap / t.kw, tap % t.kw, word);
  if (pairs) {
    weight<1, Back>(high, whole, t, n, tap / t.kw, tap % t.kw, word + 1);
    out[i] = bits_of_pair(low[0], high[0]);
  } else {
    out[i] = __float_as_uint(round_factor(low[0], TO_TF32));
  }
}

// conv_pack packs the weights of a convolution: so many words, a word a thread, of which those from number forward on are those for back. Bit 0
// of planes is of the former, bit 1 of the latter.
extern "C" __global__ void __launch_bounds__(256)
    conv_pack(const float *__restrict__ w, unsigned *__restrict__ out, unsigned kh, unsigned kw, unsigned filters, unsigned channels, unsigned up,
              int top, int left, unsigned words, unsigned forward, unsigned back_step, int back_top, int back_left, unsigned pairs, unsigned planes) {
  const unsigned i = thread_index(), of_word = pairs ? 2 : 1;
  if (i >= words) return;
  Correlation g = {};
  g.w = w, g.kh = kh, g.kw = kw;
  if (i < forward) {
    g.columns = filters, g.s.c = channels / of_word, g.step = up, g.top = top, g.left = left;
    pack<false>(g, out, i, pairs, planes & 1);
    return;
  }
  g.columns = channels, g.s.c = filters / of_word, g.step = back_step, g.top = back_top, g.left = back_left;
  pack<true>(g, out + forward, i - forward, pairs, planes & 2);
}
