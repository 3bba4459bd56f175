// Correlation with halos: the pixels under all windows of a block are brought to shared memory once, for eight channels at a
// time, and every tap reads them there. Copies for the next channels run while these are used.
#pragma once
#include "copy.cuh"
#include "strips.cuh"

// CHUNK is the number of channels of a step.
enum { CHUNK = 8 };

// correlate_halo computes BM positions by BN columns, as correlate does. G groups of threads take every Gth chunk of channels each, and
// thread (tm, tn) of a group owns the products at positions tm, tm+BM/TM, ... by columns tn, tn+8, ..., or back by quads of columns
// from 4*tn and BN/2+4*tn on. Each is the sum over the group's chunks, in a chunk over the taps, and of a tap over its
// channels. Groups have BM/TM*8 threads; the source's channels are a multiple of 4, back the columns too.
template <int BM, int BN, int TM, int TN, int G, bool Back>
__device__ __forceinline__ void correlate_halo(const Correlation &g, const Strips &strips) {
  constexpr unsigned NS = 8, T = BM / TM * NS, LDC = BN + (Back ? 16 : 8), K_ROW = BN + 4, QUAD_ROW = 4 * BN + 16, TAP = 2 * QUAD_ROW;
  static_assert(BN == TN * NS && T == 2 * BN && BM / TM % 4 == 0 && TAP >= CHUNK * K_ROW, "threads and layout go together");
  extern __shared__ __align__(16) float buffer[];
  __shared__ unsigned pixel_of[BM], out_of[BM]; // of each position: its first pixel in shared memory, and its output

  const unsigned group = threadIdx.x / T, tid = threadIdx.x % T;
  const unsigned tiles = (g.columns + BN - 1) / BN, n0 = blockIdx.x % tiles * BN;
  const Taps t = taps_of<Back>(g);
  const Stretch stretch = stretch_of(g, strips, t, blockIdx.x / tiles, BM);
  const unsigned pixels = strips.pixels;
  if (stretch.first >= stretch.all) return;

  // A buffer of a group has the pixels, and then the weights: forward of each tap two quads of channels by columns, back of each tap
  // eight channels by columns. There are two, unless one step is all; behind all buffers is where pixels come from.
  const unsigned steps = (g.s.c + CHUNK * G - 1) / (CHUNK * G), buffers = steps > 1 ? 2 : 1;
  const unsigned part = pixels * CHUNK + t.kh * t.kw * TAP;
  Pixel *from = (Pixel *)(buffer + buffers * G * part);

  for (unsigned p = threadIdx.x; p < pixels; p += T * G) from[p] = halo_pixel<Back>(g, strips, t, stretch, p);
  for (unsigned r = threadIdx.x; r < BM; r += T * G) {
    const HaloPosition p = halo_position(g, strips, t, stretch, r);
    pixel_of[r] = p.pixel * CHUNK, out_of[r] = p.out;
  }
  // Columns that there are not are never copied and stay 0.
  const float zeros[4] = {0.f, 0.f, 0.f, 0.f};
  if (g.columns - n0 < BN)
    for (unsigned i = threadIdx.x * 4; i < t.kh * t.kw * TAP; i += T * G * 4)
#pragma unroll 1
      for (unsigned k = 0; k < buffers * G; k++) store(buffer + k * part + pixels * CHUNK + i, zeros);
  __syncthreads();

  // A thread copies pixels, and four weights of every tap: forward four channels of a column, back four columns of a channel.
  const unsigned w_ch = Back ? tid / (BN / 4) : tid % 2 * 4, w_n = Back ? tid % (BN / 4) * 4 : tid / 2;
  const unsigned w_at = Back ? w_ch * K_ROW + w_n : w_ch / 4 * QUAD_ROW + w_n * 4;
  constexpr unsigned U = 4; // pixels that it looks up at a time
  auto copy = [&](unsigned step) {
    const unsigned ch0 = (step * G + group) * CHUNK, n = n0 + w_n, ch = ch0 + w_ch;
    if (ch0 >= g.s.c) return;
    float *xs = buffer + (step % 2 * G + group) * part, *to = xs + pixels * CHUNK + w_at;
    const bool rest = g.s.c % CHUNK != 0; // the last chunk has fewer channels
#pragma unroll 1
    for (unsigned first_quad = tid; first_quad < pixels * 2; first_quad += U * T) {
      Pixel p[U];
#pragma unroll
      for (unsigned u = 0; u < U; u++) p[u] = first_quad + u * T < pixels * 2 ? from[(first_quad + u * T) / 2] : Pixel{nowhere, 0};
#pragma unroll
      for (unsigned u = 0; u < U; u++) {
        const unsigned i = first_quad + u * T, c = ch0 + i % 2 * 4;
        const u64 at = (u64)p[u].index * g.s.c + c;
        if (i >= pixels * 2) continue;
        if (p[u].index == nowhere || rest && c >= g.s.c) {
          store(xs + i * 4, zeros);
        } else if (Back && g.s.places) {
          float v[4];
          read_at<4, true>(v, g.s, at, p[u].place);
          store_shared(xs + i * 4, v);
        } else {
          copy16(xs + i * 4, g.s.p + at);
        }
      }
    }
    if (n >= g.columns) return;
    auto copy_tap = [&](unsigned i, unsigned j) {
      float *at = to + (i * t.kw + j) * TAP;
      if (rest && ch >= g.s.c) {
        store(at, zeros);
      } else if (Back) {
        const unsigned tap = (t.first_y - (int)(i * g.step)) * g.kw + t.first_x - (int)(j * g.step);
        copy16(at, g.w + ((u64)ch * (g.kh * g.kw) + tap) * g.columns + n);
      } else if (g.step == 1) {
        copy16(at, g.w + ((u64)n * (g.kh * g.kw) + i * g.kw + j) * g.s.c + ch);
      } else {
        float v[4];
        weight<4, false>(v, g, t, n, i, j, ch);
        store(at, v);
      }
    };
#pragma unroll 1
    for (unsigned i = 0; i < t.kh; i++) {
      if (t.kw == 3 && (Back || g.step == 1)) { // the most frequent width, as below
#pragma unroll
        for (unsigned j = 0; j < 3; j++) copy_tap(i, j);
      } else {
#pragma unroll 1
        for (unsigned j = 0; j < t.kw; j++) copy_tap(i, j);
      }
    }
  };

  const unsigned tm = tid / 32 * 4 + lane_m(tid % 32), tn = lane_n(tid % 32);
  unsigned offset[TM];
  float sum[TM][TN];
#pragma unroll
  for (int i = 0; i < TM; i++) {
    offset[i] = pixel_of[tm + i * (BM / TM)];
    clear(sum[i]);
  }
  // add adds the products of a tap: x and w are the first pixel and the weights of the tap, from this thread's first column on.
  auto add = [&](const float *x, const float *w) {
#pragma unroll
    for (int q = 0; q < 2; q++) {
      float a[TM][4], b[TN][4];
      if (!Back)
#pragma unroll
        for (int j = 0; j < TN; j++) load(b[j], w + q * QUAD_ROW + j * NS * 4);
#pragma unroll
      for (int i = 0; i < TM; i++) load(a[i], x + offset[i] + q * 4);
#pragma unroll
      for (int k = 0; k < 4; k++) {
        float columns[TN];
        if (Back)
#pragma unroll
          for (int j = 0; j < TN; j += 4) load((float(&)[4])columns[j], w + (q * 4 + k) * K_ROW + j * NS);
#pragma unroll
        for (int i = 0; i < TM; i++)
#pragma unroll
          for (int j = 0; j < TN; j++) sum[i][j] = fmaf(a[i][k], Back ? columns[j] : b[j][k], sum[i][j]);
      }
    }
  };

  copy(0);
  end_copies();
#pragma unroll 1
  for (unsigned step = 0; step < steps; step++) {
    wait_for_copies();
    __syncthreads();
    if (step + 1 < steps) copy(step + 1);
    end_copies();
    if ((step * G + group) * CHUNK >= g.s.c) continue;
    const float *x = buffer + (step % 2 * G + group) * part, *w = x + pixels * CHUNK + tn * 4;
#pragma unroll 1
    for (unsigned i = 0; i < t.kh; i++, x += strips.pitch * CHUNK, w += t.kw * TAP) {
      if (t.kw == 3) { // the most frequent width, for which offsets are constants
#pragma unroll
        for (unsigned j = 0; j < 3; j++) add(x + j * CHUNK, w + j * TAP);
      } else {
#pragma unroll 1
        for (unsigned j = 0; j < t.kw; j++) add(x + j * CHUNK, w + j * TAP);
      }
    }
  }

  __syncthreads();
  float *sums = buffer + group * (BM * LDC);
#pragma unroll
  for (int i = 0; i < TM; i++) {
    float *to = sums + (tm + i * (BM / TM)) * LDC;
    if (Back)
#pragma unroll
      for (int j = 0; j < TN; j += 4) store_shared(to + tn * 4 + j * NS, (const float(&)[4])sum[i][j]);
    else
#pragma unroll
      for (int j = 0; j < TN; j++) to[tn + j * NS] = sum[i][j];
  }
  __syncthreads();
  finish<BN, G, G * T>(g, {buffer, LDC, BM * LDC, out_of, 1, stretch.windows, stretch.window_size, n0});
}

#define CORRELATE_HALO(name, BM, BN, TM, TN, G, Back, blocks)                                                          \
  extern "C" __global__ void __launch_bounds__(BM / TM * 8 * G, blocks)                                                \
      name(CORRELATION_PARAMS, STRIPS_PARAMS) {                                                                        \
    correlate_halo<BM, BN, TM, TN, G, Back>(CORRELATION, STRIPS);                                                      \
  }

CORRELATE_HALO(conv_forward_halo_wide4, 128, 64, 8, 8, 1, false, 3)
CORRELATE_HALO(conv_forward_halo4, 64, 32, 8, 4, 2, false, 4)
CORRELATE_HALO(conv_forward_halo_small4, 32, 32, 4, 4, 4, false, 2)
CORRELATE_HALO(conv_back_input_halo_wide4, 128, 64, 8, 8, 1, true, 3)
CORRELATE_HALO(conv_back_input_halo4, 64, 32, 8, 4, 2, true, 4)
CORRELATE_HALO(conv_back_input_halo_small4, 32, 32, 4, 4, 4, true, 2)
