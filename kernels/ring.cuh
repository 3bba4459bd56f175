// A ring of stages in shared memory, which copies fill while those before are used.
#pragma once
#include "copy.cuh"

// wait_for_all_but waits until at most so many of a thread's last groups of copies, 0 to 3, have not landed.
static __device__ __forceinline__ void wait_for_all_but(unsigned groups) {
  if (groups == 0)
    wait_for_copies<0>();
  else if (groups == 1)
    wait_for_copies<1>();
  else if (groups == 2)
    wait_for_copies<2>();
  else
    wait_for_copies<3>();
}

// Ring is how a block's factors come: by chunks of 8 << shift channels, and of a chunk the weights by bands: rows of taps, or all taps where
// they are added up before. The weights of a band lie in one of so many stages of shared memory, which are filled in turn; the pixels of a chunk
// in one of so many pools.
struct Ring {
  unsigned stages, pools, shift;
};

// Band is one of a block's bands: its first channel, its first row of taps, and the stage and the pool that are its.
struct Band {
  unsigned ch, row, stage, pool;
};

// after is the band after one, when a chunk has so many rows.
static __device__ __forceinline__ Band after(const Ring &ring, Band b, unsigned rows) {
  b.stage = b.stage + 1 == ring.stages ? 0 : b.stage + 1;
  if (++b.row < rows) return b;
  b.row = 0, b.ch += 8u << ring.shift;
  b.pool = b.pool + 1 == ring.pools ? 0 : b.pool + 1;
  return b;
}
