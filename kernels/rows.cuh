// How the forms for few channels deal rows of an image to blocks.
#pragma once
#include "conv.cuh"

// WARPS is the number of warps of a block of all of these kernels.
enum { WARPS = 8 };

// Rows is how the rows of a grid are dealt to blocks: count each, whose windows lie on rows of pitch pixels.
struct Rows {
  unsigned count, pitch;
  Divider by_width; // of the grid
};
