// Correlation on tensor cores: the pixels under all windows of a block come to shared memory once, as in conv_halo.cuh, and a tap of the
// window only shifts the addresses of the matrices that are read there.
#pragma once
#include "mma.cuh"
#include "ring.cuh"
#include "strips.cuh"

// row_of is the number of the position that is row number row of a matrix. With a pool of 2, rows 0 to 7 of 16 are neighbours in a row of
// pixels, and the others those below: what is read together then lies in different banks.
static __device__ __forceinline__ unsigned row_of(unsigned row, unsigned pool) {
  return pool == 2 ? (row & ~15u) | (row & 6) << 1 | (row >> 2 & 2) | (row & 1) : row;
}

// correlate_tensor computes BM positions by BN columns, as correlate does, of factors in a precision F. G groups of threads take every Gth
// octet of channels each, and where there are fewer octets every so many taps of one. A warp of a group owns the products at WM positions by WN columns: row i of its matrices is position row_of(i),
// and of every 32 columns lane l has eight neighbours, 8*(l%4) to 8*(l%4)+7. Channels of the source are a multiple of 4, back the columns too.
//
// The unit of shared memory is four channels of a pixel, 16 bytes, a row of a matrix. Pixels lie in planes of a unit of each; of rows, and of a row
// of them, those at which windows begin come first, then those one further on, and so on: with any stride the pixels of neighbours are neighbours.
// Behind them is what a pool chose, where the window sees through one. Weights lie by octets, then by taps, forward in two planes of four
// channels of a column, back in rows of columns of a channel. Their units are permuted so that those that are read at once, and those that are
// written at once, lie in different banks; planes of pixels begin in different ones.
//
// Of pairs of bfloat16s all is the same for words of two neighbouring channels, of which the source has s.c. The weights are packed (see
// conv_pack), in either direction as they otherwise are forward, and summed where taps are to be added.
template <class F, int BM, int BN, int WM, int WN, int G, bool Back>
__device__ __forceinline__ void correlate_tensor(const Correlation &g, const Strips &strips, const Ring &ring) {
  constexpr bool Pairs = F::PAIRS;
  constexpr unsigned WARPS = BM / WM * (BN / WN), T = 32 * WARPS, LDC = BN + 4, TAP = 2 * BN;
  constexpr int MT = WM / 16, NT = WN / 32;
  static_assert(WM % 16 == 0 && WN % 32 == 0, "a warp has whole matrices");
  extern __shared__ __align__(16) float buffer[];
  __shared__ unsigned pixel_of[BM], out_of[BM]; // of each row: its first pixel in a plane; of each position: its output

  const unsigned group = threadIdx.x / T, tid = threadIdx.x % T, lane = tid % 32;
  const unsigned tiles = (g.columns + BN - 1) / BN, n0 = blockIdx.x % tiles * BN;
  const Taps t = taps_of<Back>(g);
  const Stretch stretch = stretch_of(g, strips, t, blockIdx.x / tiles, BM);
  if (stretch.first >= stretch.all) return;

  const unsigned octets = 1u << ring.shift, quads = 2u << ring.shift;
  const unsigned pixels = strips.pixels, part = pixels / g.stride, columns = strips.pitch / g.stride; // of the pixels at which windows begin
  const unsigned plane = ((pixels + 7 - (4u >> ring.shift)) & ~7u) + (4u >> ring.shift); // a multiple of 8 and 8/quads more
  constexpr unsigned PLACES = Pairs ? 8 : 4; // bytes of a unit
  constexpr bool ByRow = Back && !Pairs;     // weights lie in rows of columns of a channel
  constexpr unsigned LINE = 128 / PLACES; // units whose places lie in all banks
  const unsigned places_plane = (pixels + LINE - 1 - (LINE >> ring.shift + 1)) / LINE * LINE + (LINE >> ring.shift + 1); // a quad's share of them more
  const unsigned pool = quads * plane + (Back && g.s.places ? quads * places_plane * PLACES / 16 : 0);
  const bool added = !Back && !Pairs && g.step > 1; // taps are
  const unsigned bands = added ? 1 : t.kh, steps = (g.s.c + (8u << ring.shift) - 1 >> 3 + ring.shift) * bands;
  const unsigned kernel_w = added ? g.kw : t.kw, taps = added ? g.kh * g.kw : kernel_w, weights = octets * taps * TAP; // of a stage
  float4 *const pools = (float4 *)buffer, *const stages = pools + ring.pools * pool;
  Pixel *const from = (Pixel *)(stages + ring.stages * weights);

  // A thread has one quad of channels of some pixels. Pixels outside of an image are never copied and stay 0.
  const float zero[4] = {0.f, 0.f, 0.f, 0.f};
  const unsigned quad = threadIdx.x & quads - 1, pixel0 = threadIdx.x >> 1 + ring.shift, more = T * G >> 1 + ring.shift;
  for (unsigned p = threadIdx.x; p < pixels; p += T * G) {
    from[p] = halo_pixel<Back>(g, strips, t, stretch, p, g.stride);
    if (from[p].index == nowhere)
#pragma unroll 1
      for (unsigned i = 0; i < ring.pools; i++)
#pragma unroll 1
        for (unsigned q = 0; q < quads; q++) store_shared((float *)(pools + i * pool + q * plane + p), zero);
  }
  for (unsigned r = threadIdx.x; r < BM; r += T * G) {
    const HaloPosition p = halo_position(g, strips, t, stretch, row_of(r, g.pool), g.stride);
    pixel_of[r] = p.pixel, out_of[row_of(r, g.pool)] = p.out;
  }
  __syncthreads();

  // Channels past the last are copied as 0 where they share an octet with others, and are nowhere else looked at.
  const bool ragged = g.s.c % 8 != 0;
  auto absent = [&](unsigned ch, unsigned to, unsigned step, unsigned count) {
    if (ch < g.s.c) return false;
    if (ragged && ch < g.s.c + 4)
#pragma unroll 1
      for (; count > 0; count--, to += step) asm volatile("st.shared.v4.f32 [%0], {%1, %1, %1, %1};" ::"r"(to), "f"(0.f) : "memory");
    return true;
  };
  // What must be done with the units that a thread copies before they are used, settle does later.
  auto copy_pixels = [&](unsigned pool_at, unsigned ch) {
    ch += quad * 4;
    const unsigned to = pool_at + quad * plane * 16, places = pool_at + quads * plane * 16 + quad * places_plane * PLACES;
    const float *const source = g.s.p + ch;
    const unsigned char *const chosen = g.s.places + ch * (PLACES / 4);
#pragma unroll 4
    for (unsigned p = pixel0; p < pixels; p += more) {
      const Pixel pixel = from[p];
      if (pixel.index == nowhere || absent(ch, to + p * 16, 0, 1)) continue;
      copy16(to + p * 16, source + (u64)pixel.index * g.s.c);
      if (Back && g.s.places && Pairs) copy8(places + p * 8, chosen + (u64)pixel.index * (g.s.c * 2));
      if (Back && g.s.places && !Pairs) copy4(places + p * 4, chosen + (u64)pixel.index * g.s.c);
    }
  };
  auto weight_at = [&](unsigned s) { // forward, of unit number s of a plane, which has column_of(s)
    return quad / 2 * taps * TAP + quad % 2 * BN + (s ^ quad % 2 * 4 ^ quad / 2 << 2 - ring.shift);
  };
  auto column_of = [](unsigned s) { return (s & ~31u) | (s & 7) << 2 | (s >> 3 & 3); };
  // copy_row copies the weights of a row of taps, which lie so many floats apart, for columns that there are. What is computed of others is
  // not kept.
  auto copy_row = [&](unsigned to, const float *w, int apart) {
    if (kernel_w == 3) {
#pragma unroll
      for (int x = 0; x < 3; x++) copy16(to + x * TAP * 16, w + x * apart);
    } else {
#pragma unroll 1
      for (int x = 0; x < (int)kernel_w; x++) copy16(to + x * TAP * 16, w + x * apart);
    }
  };
  auto copy_weights = [&](unsigned stage, unsigned ch0, unsigned row) {
    if constexpr (ByRow) {
      const unsigned unit = threadIdx.x % (BN / 4), last = g.columns - 4, n = n0 + unit * 4 < last ? n0 + unit * 4 : last;
      const float *const w = g.w + ((t.first_y - (int)(row * g.step)) * (int)g.kw + t.first_x) * (int)g.columns + n;
      const unsigned of_channel = g.kh * g.kw * g.columns;
#pragma unroll 2
      for (unsigned k = threadIdx.x / (BN / 4); k < 8 * octets; k += T * G / (BN / 4)) {
        const unsigned to = stage + (k / 8 * taps * TAP + k % 8 * (BN / 4) + (unit ^ k % 4 * 2)) * 16;
        if (!absent(ch0 + k, to, TAP * 16, kernel_w)) copy_row(to, w + (u64)(ch0 + k) * of_channel, -(int)(g.step * g.columns));
      }
    } else {
      const unsigned ch = ch0 + quad * 4, last = g.columns - 1, of_column = (Pairs ? packed_taps<Back>(g) : g.kh * g.kw) * g.s.c;
      const float *const w = g.w + (Pairs ? (u64)blockIdx.z * g.columns * of_column + row * t.kw * g.s.c : row * g.kw * g.s.c) + ch;
#pragma unroll 2
      for (unsigned s = pixel0; s < BN; s += more) {
        const unsigned n = n0 + column_of(s) < last ? n0 + column_of(s) : last;
        unsigned to = stage + weight_at(s) * 16;
        if (absent(ch, to, TAP * 16, taps)) continue;
        const float *from_row = w + (u64)n * of_column;
        copy_row(to, from_row, g.s.c);
        if (added)
#pragma unroll 1
          for (unsigned y = 1; y < g.kh; y++) copy_row(to += kernel_w * TAP * 16, from_row += kernel_w * g.s.c, g.s.c);
      }
    }
  };
  // Of what was read through a pool, only the maxima stay.
  auto settle_pixels = [&](float4 *at, unsigned ch) {
    if (ch + quad * 4 >= g.s.c) return;
    const unsigned *const places = (const unsigned *)(at + quads * plane) + quad * places_plane * (PLACES / 4);
    at += quad * plane;
#pragma unroll 2
    for (unsigned p = pixel0; p < pixels; p += more) {
      const Pixel pixel = from[p];
      if (pixel.index == nowhere) continue;
      float v[4];
      load(v, (const float *)(at + p));
      keep_maxima<F>(v, places + p * (PLACES / 4), pixel.place);
      store_shared((float *)(at + p), v);
    }
  };
  // The taps of a kernel under which a pixel is that is seen step by step times are added. A sum goes where none of the taps of later sums is.
  auto settle_weights = [&](float4 *stage) {
#pragma unroll 1
    for (unsigned s = pixel0; s < BN; s += more) {
      float4 *const w = stage + weight_at(s);
#pragma unroll 1
      for (unsigned tap = 0; tap < t.kh * t.kw; tap++) {
        const int y0 = t.first_y + (int)(tap / t.kw * g.step), x0 = t.first_x + (int)(tap % t.kw * g.step);
        float sum[4];
        clear(sum);
        for (int y = y0 < 0 ? 0 : y0; y < y0 + (int)g.step && y < (int)g.kh; y++)
          for (int x = x0 < 0 ? 0 : x0; x < x0 + (int)g.step && x < (int)g.kw; x++) {
            float v[4];
            load(v, (const float *)(w + (y * g.kw + x) * TAP));
#pragma unroll
            for (int e = 0; e < 4; e++) sum[e] += v[e];
          }
        store_shared((float *)(w + tap * TAP), sum);
      }
    }
  };
  Band next = {0, 0, 0, 0};
  auto copy = [&] {
    if (next.ch < g.s.c && bands > 0) {
      if (next.row == 0) copy_pixels(shared_address(pools + next.pool * pool), next.ch);
      copy_weights(shared_address(stages + next.stage * weights), next.ch, next.row);
      next = after(ring, next, bands);
    }
    end_copies();
  };

  const unsigned row0 = tid / 32 / (BN / WN) * WM, column0 = tid / 32 % (BN / WN) * WN;
  unsigned pixel[MT]; // of a row of each matrix, of which this lane gives the address
  float sum[MT][4 * NT][4];
#pragma unroll
  for (int i = 0; i < MT; i++) {
    pixel[i] = (pixel_of[row0 + i * 16 + lane % 16] + lane / 16 * plane) * 16;
#pragma unroll
    for (int j = 0; j < 4 * NT; j++) clear(sum[i][j]);
  }
  // add adds the products of a tap with eight channels: x is the address of its first pixel, w that of its weights for this lane.
  auto add = [&](unsigned x, unsigned w) {
    unsigned a[MT][F::PARTS][4];
#pragma unroll
    for (int i = 0; i < MT; i++) {
      unsigned bits[4];
      load_matrices(bits, x + pixel[i]);
      split<F>(a[i], bits);
    }
#pragma unroll
    for (int q = 0; q < NT; q++) {
      unsigned b[4][2]; // of four matrices: of columns 0, 4, 8, ..., of columns 1, 5, 9, ... and so on
      if (ByRow) {
        load_words(b, 0, w + q * 128);
        load_words(b, 1, w + q * 128 + BN * 16);
      } else {
        load_matrices((unsigned(&)[4])b[0], w + q * 512);
        load_matrices((unsigned(&)[4])b[2], w + q * 512 + 256);
      }
      unsigned parts[4][F::PARTS][2];
#pragma unroll
      for (int j = 0; j < 4; j++) split<F>(parts[j], b[j]);
#pragma unroll
      for (int p = 0; p < F::PRODUCTS; p++)
#pragma unroll
        for (int j = 0; j < 4; j++)
#pragma unroll
          for (int i = 0; i < MT; i++) multiply<F>(sum[i][q * 4 + j], a[i][F::of_a(p)], parts[j][F::of_b(p)]);
    }
  };

  // Groups that have no octet of their own share those that there are, tap by tap: so a chunk of few octets keeps all of them busy.
  auto mine = [&](unsigned tap) { return G == 1 || octets >= G || tap % (G >> ring.shift) == group >> ring.shift; };

  const unsigned ahead = steps <= ring.stages ? steps : ring.stages - 1; // of the step in use, copies of so many are under way
#pragma unroll 1
  for (unsigned step = 0; step < ahead; step++) copy();
  Band band = {0, 0, 0, 0};
#pragma unroll 1
  for (unsigned step = 0; step < steps; step++, band = after(ring, band, bands)) {
    const unsigned ch0 = band.ch, row = band.row, end = added ? t.kh : row + 1;
    float4 *const pixels_of_chunk = pools + band.pool * pool, *const stage = stages + band.stage * weights;
    wait_for_all_but(ahead - 1);
    if (Back && g.s.places && row == 0) settle_pixels(pixels_of_chunk, ch0);
    if (added) settle_weights(stage);
    __syncthreads();
    copy();
#pragma unroll 1
    for (unsigned o = group & octets - 1; o < octets && ch0 + o * 8 < g.s.c; o += G) {
      const unsigned unit = ByRow ? lane % 4 * (BN / 4) + column0 / 4 + (lane / 4 ^ lane % 4 * 2)
                                 : lane / 8 % 2 * BN + column0 + lane / 16 * 8 + (lane % 8 ^ lane / 8 % 2 * 4 ^ o << 2 - ring.shift);
      unsigned x = shared_address(pixels_of_chunk + 2 * o * plane + row % g.stride * part + row / g.stride * strips.pitch), w = shared_address(stage + o * taps * TAP + unit);
#pragma unroll 1
      for (unsigned i = row; i < end; i++, x += strips.pitch * 16) {
        if (t.kw == 3) { // the most frequent width, for which offsets are constants
#pragma unroll
          for (unsigned j = 0; j < 3; j++, w += TAP * 16)
            if (mine(i + j)) add(x + (j % g.stride * columns + j / g.stride) * 16, w);
        } else {
#pragma unroll 1
          for (unsigned j = 0; j < t.kw; j++, w += TAP * 16)
            if (mine(i + j)) add(x + (j % g.stride * columns + j / g.stride) * 16, w);
        }
      }
    }
  }

  __syncthreads();
  float *const sums = buffer + group * (BM * LDC);
#pragma unroll
  for (int i = 0; i < MT; i++)
#pragma unroll
    for (int half = 0; half < 2; half++) {
      float *const to = sums + row_of(row0 + i * 16 + half * 8 + lane / 4, g.pool) * LDC + column0 + lane % 4 * 8;
#pragma unroll
      for (int q = 0; q < 2 * NT; q++) {
        float v[4];
#pragma unroll
        for (int j = 0; j < 4; j++) v[j] = sum[i][q / 2 * 4 + j][half * 2 + q % 2];
        store_shared(to + q / 2 * 32 + q % 2 * 4, v);
      }
    }
  __syncthreads();
  const Tile tile = {buffer, LDC, BM * LDC, out_of, 1, stretch.windows, stretch.window_size, n0};
  if (F::PARTS == 1)
    finish<BN, G, G * T>(g, tile);
  else
    finish<BN, G, G * T, 1>(g, tile, [&](float (&v)[4], unsigned out, unsigned k, unsigned n) {
      if (!finite(v)) plain_sums<Back>(v, g, t, out, k, n);
    });
}

#define CORRELATE_TENSOR(name, F, BM, BN, WM, WN, G, Back, blocks)                                                        \
  extern "C" __global__ void __launch_bounds__(BM / WM *(BN / WN) * 32 * G, blocks)                                    \
      name(CORRELATION_PARAMS, STRIPS_PARAMS, unsigned stages, unsigned pools, unsigned shift) {                       \
    correlate_tensor<F, BM, BN, WM, WN, G, Back>(CORRELATION, STRIPS, {stages, pools, shift});                            \
  }

CORRELATE_TENSOR(conv_forward_tensor_wide, TF32, 256, 64, 64, 64, 1, false, 2)
CORRELATE_TENSOR(conv_forward_tensor_deep, TF32, 128, 64, 64, 64, 2, false, 2)
CORRELATE_TENSOR(conv_forward_tensor, TF32, 64, 32, 64, 32, 4, false, 3)
CORRELATE_TENSOR(conv_forward_tensor_small, TF32, 32, 32, 32, 32, 4, false, 4)
CORRELATE_TENSOR(conv_back_input_tensor_wide, TF32, 256, 64, 64, 64, 1, true, 2)
CORRELATE_TENSOR(conv_back_input_tensor_deep, TF32, 128, 64, 64, 64, 2, true, 2)
CORRELATE_TENSOR(conv_back_input_tensor, TF32, 64, 32, 64, 32, 4, true, 3)
CORRELATE_TENSOR(conv_back_input_tensor_small, TF32, 32, 32, 32, 32, 4, true, 4)
CORRELATE_TENSOR(conv_forward_tensor_split_wide, Split, 256, 64, 64, 64, 1, false, 2)
CORRELATE_TENSOR(conv_forward_tensor_split_deep, Split, 128, 64, 64, 64, 2, false, 2)
CORRELATE_TENSOR(conv_forward_tensor_split, Split, 64, 32, 64, 32, 4, false, 3)
CORRELATE_TENSOR(conv_forward_tensor_split_small, Split, 32, 32, 32, 32, 4, false, 4)
CORRELATE_TENSOR(conv_back_input_tensor_split_wide, Split, 256, 64, 64, 64, 1, true, 2)
CORRELATE_TENSOR(conv_back_input_tensor_split_deep, Split, 128, 64, 64, 64, 2, true, 2)
CORRELATE_TENSOR(conv_back_input_tensor_split, Split, 64, 32, 64, 32, 4, true, 3)
CORRELATE_TENSOR(conv_back_input_tensor_split_small, Split, 32, 32, 32, 32, 4, true, 4)
CORRELATE_TENSOR(conv_forward_tensor_bf16_wide, BF16, 256, 64, 64, 64, 1, false, 2)
CORRELATE_TENSOR(conv_forward_tensor_bf16_deep, BF16, 128, 64, 64, 64, 2, false, 2)
CORRELATE_TENSOR(conv_forward_tensor_bf16, BF16, 64, 32, 64, 32, 4, false, 3)
CORRELATE_TENSOR(conv_forward_tensor_bf16_small, BF16, 32, 32, 32, 32, 4, false, 4)
CORRELATE_TENSOR(conv_back_input_tensor_bf16_wide, BF16, 256, 64, 64, 64, 1, true, 2)
CORRELATE_TENSOR(conv_back_input_tensor_bf16_deep, BF16, 128, 64, 64, 64, 2, true, 2)
CORRELATE_TENSOR(conv_back_input_tensor_bf16, BF16, 64, 32, 64, 32, 4, true, 3)
CORRELATE_TENSOR(conv_back_input_tensor_bf16_small, BF16, 32, 32, 32, 32, 4, true, 4)
