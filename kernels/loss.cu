#include "common.cuh"

// A loss is summed in two stages. Blocks of 256 threads take the elements in turns, four a thread, and each leaves the
// sum of its own in partials, which are added up by loss_total or by partial_sum. The order of summation depends on the number of elements and
// of blocks only.

// Loss is the value and the gradient of one element.
struct Loss {
  float value, grad;
};

template <typename F>
__device__ __forceinline__ void reduce(float *partials, float *grad, const float *pred, const float *target, unsigned n,
                                       float scale, F loss) {
  float sum = 0.f;
  for (unsigned q = thread_index(); q < (n + 3) / 4; q += gridDim.x * blockDim.x) {
    unsigned i = 4 * q;
    Four p = load4(pred, i, n), t = load4(target, i, n);
#pragma unroll
    for (int k = 0; k < 4; k++) {
      Loss l = loss(p.v[k], t.v[k]);
      if (k < n - i) sum += l.value;
      p.v[k] = scale * l.grad;
    }
    if (grad) store4(grad, i, n, p);
  }
  sum = block_sum(sum);
  if (threadIdx.x == 0) partials[blockIdx.x] = scale * sum;
}

// partials = scale times the blocks' sums of max(z,0) - z t + ln(1 + exp(-|z|)); grad (which may be 0) = scale (sigmoid(z) - t).
extern "C" __global__ void loss_bce(float *__restrict__ partials, float *__restrict__ grad,
                                    const float *__restrict__ logits, const float *__restrict__ target, unsigned n,
                                    float scale) {
  reduce(partials, grad, logits, target, n, scale, [](float z, float t) {
    float e = expf(-fabsf(z)), p = __fdiv_rn(1.f, 1.f + e); // p = sigmoid(|z|)
    return Loss{fmaxf(z, 0.f) - z * t + log1pf(e), (z < 0.f ? p * e : p) - t};
  });
}

// partials = scale times the blocks' sums of (p - t)²; grad (which may be 0) = 2 scale (p - t).
extern "C" __global__ void loss_mse(float *__restrict__ partials, float *__restrict__ grad,
                                    const float *__restrict__ pred, const float *__restrict__ target, unsigned n,
                                    float scale) {
  reduce(partials, grad, pred, target, n, scale, [](float p, float t) {
    float d = p - t;
    return Loss{d * d, 2.f * d};
  });
}

// sign is -1, 0 or 1, and NaN of NaN.
__device__ __forceinline__ float sign(float d) { return d > 0.f ? 1.f : d < 0.f ? -1.f : d; }

// partials = scale times the blocks' sums of |p - t|; grad (which may be 0) = scale sign(p - t).
extern "C" __global__ void loss_l1(float *__restrict__ partials, float *__restrict__ grad, const float *__restrict__ pred,
                                   const float *__restrict__ target, unsigned n, float scale) {
  reduce(partials, grad, pred, target, n, scale, [](float p, float t) {
    float d = p - t;
    return Loss{fabsf(d), sign(d)};
  });
}

// partials = scale times the blocks' sums of d²/2 where d = p - t is at most delta, else of delta (|d| - delta/2); grad (which may be 0) =
// scale d, bounded by scale delta.
extern "C" __global__ void loss_huber(float *__restrict__ partials, float *__restrict__ grad, const float *__restrict__ pred,
                                      const float *__restrict__ target, unsigned n, float scale, float delta) {
  reduce(partials, grad, pred, target, n, scale, [delta](float p, float t) {
    float d = p - t, a = fabsf(d);
    return a <= delta ? Loss{0.5f * d * d, d} : Loss{delta * (a - 0.5f * delta), delta * sign(d)};
  });
}

// partials = scale times the blocks' sums of r = sqrt((p - t)² + epsilon²); grad (which may be 0) = scale (p - t)/r.
extern "C" __global__ void loss_charbonnier(float *__restrict__ partials, float *__restrict__ grad, const float *__restrict__ pred,
                                            const float *__restrict__ target, unsigned n, float scale, float epsilon) {
  reduce(partials, grad, pred, target, n, scale, [epsilon](float p, float t) {
    float d = p - t, r = __fsqrt_rn(d * d + epsilon * epsilon);
    return Loss{r, __fdiv_rn(d, r)};
  });
}

// partials = scale times the blocks' sums of |p - q| + |p - r|, where q is right of p in its channel of c, in a row of w pixels, and r below
// it, of h rows; grad (which may be 0) = scale times the signs of p minus each of its up to four neighbours. Blocks of 256 threads take the
// n elements in turns, one a thread.
extern "C" __global__ void loss_variation(float *__restrict__ partials, float *__restrict__ grad, const float *__restrict__ pred,
                                          unsigned n, float scale, unsigned h, unsigned w, unsigned c) {
  float sum = 0.f;
  const unsigned row = w * c;
  for (unsigned i = thread_index(); i < n; i += gridDim.x * blockDim.x) {
    const unsigned x = i / c % w, y = i / row % h;
    const float p = pred[i];
    float slope = 0.f;
    if (x > 0) slope += sign(p - pred[i - c]);
    if (y > 0) slope += sign(p - pred[i - row]);
    if (x < w - 1) {
      float d = p - pred[i + c];
      sum += fabsf(d), slope += sign(d);
    }
    if (y < h - 1) {
      float d = p - pred[i + row];
      sum += fabsf(d), slope += sign(d);
    }
    if (grad) grad[i] = scale * slope;
  }
  sum = block_sum(sum);
  if (threadIdx.x == 0) partials[blockIdx.x] = scale * sum;
}

// loss += scale times the sum of n partials. One block of 256 threads; thread i takes every 256th from i on.
extern "C" __global__ void loss_total(float *__restrict__ loss, const float *__restrict__ partials, unsigned n, float scale) {
  float sum = 0.f;
  for (unsigned i = threadIdx.x; i < n; i += 256) sum += partials[i];
  sum = block_sum(sum);
  if (threadIdx.x == 0) *loss += scale * sum;
}
