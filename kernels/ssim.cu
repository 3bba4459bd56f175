#include "common.cuh"

// Structural similarity of a prediction x and a target y, with a separable Gaussian window that lies within the image. Blocks of 256 threads
// take tiles of SIDE by SIDE positions, or elements, of a channel of an image; the values under the window go along the rows first, for all
// rows that the tile needs, and then down the columns.

enum { SIDE = 16, MOST = 15, REACH = SIDE + MOST - 1 };

// Frame is where a tile is. Images have rows of width pixels of c channels.
struct Frame {
  unsigned image, channel, row, column;

  __device__ __forceinline__ Frame(unsigned height, unsigned width, unsigned c) {
    const unsigned across = (width + SIDE - 1) / SIDE, tiles = across * ((height + SIDE - 1) / SIDE);
    const unsigned tile = blockIdx.x % tiles, of = blockIdx.x / tiles;
    image = of / c, channel = of % c, row = tile / across * SIDE, column = tile % across * SIDE;
  }
};

// window fills w with n weights of a Gaussian around its middle, which add up to 1.
__device__ __forceinline__ void window(float *w, unsigned n, float sigma) {
  const float d = (float)((int)threadIdx.x - (int)(n / 2));
  if (threadIdx.x < n) w[threadIdx.x] = expf(__fdiv_rn(-d * d, 2.f * sigma * sigma));
  __syncthreads();
  float sum = 0.f;
  for (unsigned i = 0; i < n; i++) sum += w[i];
  __syncthreads();
  if (threadIdx.x < n) w[threadIdx.x] = __fdiv_rn(w[threadIdx.x], sum);
}

// index = the similarity at each position of a window of rows by columns; slopes, which may be 0, = its derivatives by the mean of x, of x² and
// of x y, for all channels one after the other. Images have height rows of width pixels of c channels. Without luminance there is no factor of the means.
extern "C" __global__ void ssim_forward(float *__restrict__ index, float *__restrict__ slopes, const float *__restrict__ x,
                                        const float *__restrict__ y, unsigned height, unsigned width, unsigned c, unsigned rows,
                                        unsigned columns, float sigma, float c1, float c2, unsigned luminance) {
  __shared__ float down[MOST], along[MOST], values[2][REACH][REACH], across[5][REACH][SIDE];
  const unsigned high = height - rows + 1, wide = width - columns + 1, r = threadIdx.x / SIDE, p = threadIdx.x % SIDE;
  const Frame at(high, wide, c);
  window(down, rows, sigma);
  window(along, columns, sigma);
  for (unsigned i = threadIdx.x; i < REACH * REACH; i += 256) {
    const unsigned v = i / REACH, u = i % REACH, row = at.row + v, column = at.column + u;
    const bool inside = row < height && column < width;
    const unsigned long long e = (((unsigned long long)at.image * height + row) * width + column) * c + at.channel;
    values[0][v][u] = inside ? x[e] : 0.f;
    values[1][v][u] = inside ? y[e] : 0.f;
  }
  __syncthreads();
  for (unsigned i = threadIdx.x; i < (SIDE + rows - 1) * SIDE; i += 256) {
    const unsigned v = i / SIDE, u = i % SIDE;
    float m[5] = {};
    for (unsigned k = 0; k < columns; k++) {
      const float w = along[k], a = values[0][v][u + k], b = values[1][v][u + k];
      m[0] += w * a, m[1] += w * b, m[2] += w * (a * a), m[3] += w * (b * b), m[4] += w * (a * b);
    }
#pragma unroll
    for (int j = 0; j < 5; j++) across[j][v][u] = m[j];
  }
  __syncthreads();
  if (at.row + r >= high || at.column + p >= wide) return;
  float m[5] = {};
  for (unsigned k = 0; k < rows; k++)
#pragma unroll
    for (int j = 0; j < 5; j++) m[j] += down[k] * across[j][r + k][p];
  const float spread = (m[2] - m[0] * m[0]) + (m[3] - m[1] * m[1]) + c2, structure = __fdiv_rn(2.f * (m[4] - m[0] * m[1]) + c2, spread);
  float l = 1.f, slope = 0.f;
  if (luminance) {
    const float sum = m[0] * m[0] + m[1] * m[1] + c1;
    l = __fdiv_rn(2.f * (m[0] * m[1]) + c1, sum);
    slope = __fdiv_rn(2.f * (m[1] - l * m[0]), sum);
  }
  const unsigned long long to = ((unsigned long long)at.image * high + at.row + r) * wide + at.column + p;
  index[to * c + at.channel] = l * structure;
  if (!slopes) return;
  slopes += 3 * to * c + at.channel;
  slopes[0] = structure * slope + l * __fdiv_rn(2.f * (structure * m[0] - m[1]), spread);
  slopes[c] = __fdiv_rn(-l * structure, spread);
  slopes[2 * c] = __fdiv_rn(2.f * l, spread);
}

// gradX = scale gradSums[image][channel] times the sums, over the positions of the window that have the element, of the weight there times slopes[0]
// + 2 x slopes[1] + y slopes[2].
extern "C" __global__ void ssim_back(float *__restrict__ gradX, const float *__restrict__ slopes, const float *__restrict__ gradSums,
                                     const float *__restrict__ x, const float *__restrict__ y, unsigned height, unsigned width, unsigned c,
                                     unsigned rows, unsigned columns, float sigma, float scale) {
  __shared__ float down[MOST], along[MOST], values[3][REACH][REACH], across[3][REACH][SIDE];
  const unsigned high = height - rows + 1, wide = width - columns + 1, r = threadIdx.x / SIDE, p = threadIdx.x % SIDE;
  const Frame at(height, width, c);
  window(down, rows, sigma);
  window(along, columns, sigma);
  for (unsigned i = threadIdx.x; i < REACH * REACH; i += 256) { // of what lies up to a window less one before the tile
    const unsigned v = i / REACH, u = i % REACH, row = at.row + v - (rows - 1), column = at.column + u - (columns - 1);
    const bool inside = row < high && column < wide; // what is before the first wraps round
    const unsigned long long e = 3 * (((unsigned long long)at.image * high + row) * wide + column) * c + at.channel;
#pragma unroll
    for (int j = 0; j < 3; j++) values[j][v][u] = inside ? slopes[e + j * c] : 0.f;
  }
  __syncthreads();
  for (unsigned i = threadIdx.x; i < (SIDE + rows - 1) * SIDE; i += 256) {
    const unsigned v = i / SIDE, u = i % SIDE;
    float m[3] = {};
    for (unsigned k = 0; k < columns; k++)
#pragma unroll
      for (int j = 0; j < 3; j++) m[j] += along[k] * values[j][v][u + columns - 1 - k];
#pragma unroll
    for (int j = 0; j < 3; j++) across[j][v][u] = m[j];
  }
  __syncthreads();
  if (at.row + r >= height || at.column + p >= width) return;
  float m[3] = {};
  for (unsigned k = 0; k < rows; k++)
#pragma unroll
    for (int j = 0; j < 3; j++) m[j] += down[k] * across[j][r + rows - 1 - k][p];
  const unsigned long long e = (((unsigned long long)at.image * height + at.row + r) * width + at.column + p) * c + at.channel;
  gradX[e] = scale * gradSums[at.image * c + at.channel] * (m[0] + 2.f * x[e] * m[1] + y[e] * m[2]);
}

// loss += scale times the sum over n channels of images of 1 - q, where q is the product over the scales of max(mean, 1e-6) to the power of
// its weight, or a single mean as it is; gradMeans = the gradient. Means have the c channels of each scale one after the other. One block of 256
// threads, which take the channels in turns.
extern "C" __global__ void ssim_loss(float *__restrict__ loss, float *__restrict__ gradMeans, const float *__restrict__ means, unsigned n,
                                     unsigned c, unsigned scales, float w0, float w1, float w2, float w3, float w4, float scale) {
  const float weights[5] = {w0, w1, w2, w3, w4};
  float sum = 0.f;
  for (unsigned i = threadIdx.x; i < n; i += 256) {
    const unsigned at = i / c * (scales * c) + i % c;
    if (scales == 1) {
      sum += 1.f - means[at];
      gradMeans[at] = -scale;
      continue;
    }
    float logarithm = 0.f;
#pragma unroll
    for (unsigned j = 0; j < 5; j++)
      if (j < scales) {
        const float m = means[at + j * c];
        logarithm += weights[j] * logf(m < 1e-6f ? 1e-6f : m);
      }
    const float product = expf(logarithm);
    sum += 1.f - product;
#pragma unroll
    for (unsigned j = 0; j < 5; j++)
      if (j < scales) {
        const float m = means[at + j * c];
        gradMeans[at + j * c] = m < 1e-6f ? 0.f : -scale * weights[j] * __fdiv_rn(product, m);
      }
  }
  sum = block_sum(sum);
  if (threadIdx.x == 0) *loss += scale * sum;
}
