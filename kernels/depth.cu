#include "common.cuh"

// flat = the images of c channels whose blocks of size x size pixels are the channels of the pixels of deep, or the other way round. Channel k
// of row a and column b of a block is channel (a*size + b)*c + k in deep or, if channelFirst, k*size*size + a*size + b. deep
// has w pixels in a row; all images' rows follow each other. Thread i owns the i-th of n groups of V elements of flat; bit 0 of
// narrow is that of what is written. The kernels are there for V = 1 and for V = 4, which need c to be a multiple of 4 and the channels of
// a pixel of flat to be neighbours in deep.
template <int V, bool Back>
__device__ __forceinline__ void rearrange(float *to, const float *from, unsigned n, int w, int c, int size, int channelFirst, unsigned narrow) {
  unsigned i = thread_index();
  if (i >= n) return;
  unsigned groups = c / V, pixel = i / groups, k = i - pixel * groups, wide = w * size, row = pixel / wide, column = pixel - row * wide;
  unsigned y = row / size, x = column / size, block = (row - y * size) * size + (column - x * size), area = size * size;
  const unsigned long long deep =
      (unsigned long long)(y * w + x) * area * groups + (V == 1 && channelFirst ? k * area + block : block * groups + k);
  if (Back)
    set_group(to, deep, group_of<V>(from, i, narrow & 2), narrow & 1);
  else
    set_group(to, i, group_of<V>(from, deep, narrow & 2), narrow & 1);
}

#define ENTRIES(suffix, V)                                                                                                             \
  extern "C" __global__ void depth_to_space##suffix(float *__restrict__ out, const float *__restrict__ x, unsigned n, int w, int c,     \
                                                    int size, int channelFirst, unsigned narrow) {                                     \
    rearrange<V, false>(out, x, n, w, c, size, channelFirst, narrow);                                                                  \
  }                                                                                                                                    \
  extern "C" __global__ void depth_back##suffix(float *__restrict__ gradX, const float *__restrict__ gradOut, unsigned n, int w, int c, \
                                                int size, int channelFirst, unsigned narrow) {                                         \
    rearrange<V, true>(gradX, gradOut, n, w, c, size, channelFirst, narrow);                                                           \
  }

ENTRIES(, 1)
ENTRIES(4, 4)
