#include "random.cuh"

// Vector quantisation: a codebook has rows of c channels, and each pixel of a code takes the nearest of them.

// out = the row of the codebook nearest to each pixel of x, the first of those as near, NaN if their distance is; index, which may be 0, = its
// number. A warp owns a pixel: its threads take every 32nd row, and then the nearest of theirs.
extern "C" __global__ void quantize_forward(float *__restrict__ out, float *__restrict__ index, const float *__restrict__ x,
                                            const float *__restrict__ codebook, unsigned pixels, unsigned codes, unsigned c) {
  const unsigned pixel = thread_index() / 32, lane = threadIdx.x % 32;
  if (pixel >= pixels) return;
  x += (unsigned long long)pixel * c;
  float least = __uint_as_float(0x7f800000);
  unsigned nearest = codes; // of a thread without rows
  for (unsigned k = lane; k < codes; k += 32) {
    float d = 0.f;
    for (unsigned i = 0; i < c; i++) {
      const float e = x[i] - codebook[k * c + i];
      d += e * e;
    }
    if (nearest == codes || d < least) least = d, nearest = k;
  }
#pragma unroll
  for (unsigned step = 16; step > 0; step /= 2) {
    const float d = __shfl_xor_sync(0xffffffffu, least, step);
    const unsigned k = __shfl_xor_sync(0xffffffffu, nearest, step);
    // What is not a number for one row is so for the first one, which keeps it.
    if (k < codes && (nearest == codes || d < least || !(least < d) && k < nearest)) least = d, nearest = k;
  }
  out += (unsigned long long)pixel * c;
  for (unsigned i = lane; i < c; i += 32) out[i] = least == least ? codebook[nearest * c + i] : least;
  if (index && lane == 0) index[pixel] = (float)nearest;
}

// row = for each of codes rows of a codebook how many of the n pixels have its number, then the sums of those pixels of x, in their order, then
// candidates: those of the batch's pixels that the draw gives, of which before come before x, or 0. Thread i owns channel i of c of row
// blockIdx.y of the codebook, and looks at the numbers of all pixels.
extern "C" __global__ void quantize_sums(float *__restrict__ row, const float *__restrict__ index, const float *__restrict__ x,
                                         const StepParams *__restrict__ params, unsigned n, unsigned codes, unsigned c, unsigned before,
                                         unsigned batch, unsigned k0, unsigned k1, unsigned stream) {
  const unsigned k = blockIdx.y, channel = thread_index();
  if (channel >= c) return;
  float sum = 0.f, count = 0.f;
#pragma unroll 8
  for (unsigned p = 0; p < n; p++)
    if ((unsigned)index[p] == k) sum += x[(unsigned long long)p * c + channel], count += 1.f;
  if (channel == 0) row[k] = count;
  row[codes + k * c + channel] = sum;
  const Words words = philox(k / 4, 0, params->step, stream, k0, k1);
  const unsigned w = k % 4 == 0 ? words.v[0] : k % 4 == 1 ? words.v[1] : k % 4 == 2 ? words.v[2] : words.v[3];
  const unsigned p = unsigned((unsigned long long)w * batch >> 32) - before;
  row[codes * (c + 1) + k * c + channel] = p < n ? x[(unsigned long long)p * c + channel] : 0.f;
}

// With n, s and q the sums over all rows of the counts, sums and candidates that quantize_sums leaves: count = decay count + (1 - decay) n,
// sum = decay sum + (1 - decay) s, and codebook = sum (m + codes epsilon) / (m (count + epsilon)), where m is the sum of all counts. A row whose
// count is below revive moves to q, with revive as its count. One block of 256 threads, which take the codes, and then the elements, in turns.
extern "C" __global__ void quantize_move(float *__restrict__ codebook, float *count, float *__restrict__ sum,
                                         const float *__restrict__ rows, unsigned n, unsigned codes, unsigned c, float decay, float epsilon,
                                         float revive) {
  const unsigned size = codes * (2 * c + 1);
  const float rest = 1.f - decay;
  float m = 0.f;
  for (unsigned k = threadIdx.x; k < codes; k += 256) {
    float t = 0.f;
    for (unsigned r = 0; r < n; r++) t += rows[(unsigned long long)r * size + k];
    count[k] = t = decay * count[k] + rest * t;
    m += t;
  }
  m = block_total(m);
  __syncthreads();
  for (unsigned i = threadIdx.x; i < codes * c; i += 256) {
    const float live = count[i / c];
    const bool dead = live < revive;
    const float *from = rows + codes + i + (dead ? codes * c : 0);
    float t = 0.f;
    for (unsigned r = 0; r < n; r++) t += from[(unsigned long long)r * size];
    const float moved = dead ? revive * t : decay * sum[i] + rest * t;
    sum[i] = moved;
    codebook[i] = dead ? t : moved * __fdiv_rn(m + (float)codes * epsilon, m * (live + epsilon));
  }
  __syncthreads();
  for (unsigned k = threadIdx.x; k < codes; k += 256)
    if (count[k] < revive) count[k] = revive;
}
