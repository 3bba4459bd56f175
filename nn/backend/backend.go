// Package backend is the contract between models and devices: tensors, the geometry of each family of ops, and the
// Backend interface that the CPU and the GPU implement. Of this module it imports only the specifications
// of what is random, rng and corrupt.
//
// Rules of every op:
//   - the destination comes first and is overwritten, border included; the gradients of parameters and the loss are
//     the exception: they are added to, so that micro-batches accumulate;
//   - geometry is a small struct, validated once by its constructor when a model is compiled;
//   - calls are asynchronous and in order; Sync, Download and DownloadBytes wait;
//   - a caller's mistake (a wrong shape, role or buffer) panics with a constant string; a device's failure is kept,
//     the first one wins, later calls do nothing, and Sync and the Downloads return it, naming the op;
//   - an activation may be narrow, of bfloat16, where an op says so: the products' if their factors are of that type, all those of Pool,
//     Grouped, Upsample, Depth, Merge, Channelwise, UnitNorm, Activate, GroupNorm, BatchNorm and Attention, and of Copy, Reshape, Accumulate and Dropout. A value is computed in float32 and rounded once,
//     when the op has its result;
//   - no op allocates, and none starts a goroutine: parallel work on a CPU is many lanes, which can do pieces of an op (Splitter).
package backend

import (
	"time"

	"github.com/convae/convae/nn/corrupt"
	"github.com/convae/convae/nn/rng"
)

// Device is a machine that runs ops: the CPU, one GPU, a simulator.
type Device interface {
	// Name is what device.Open takes: "cpu", "cuda:0", "sim".
	Name() string
	// Lanes are the device's independent executors. They share all buffers; each has its own workspace. A lane is
	// used by one goroutine at a time. The results of a model do not depend on how many there are.
	Lanes() []Backend
	// Policy tells how a batch is best cut.
	Policy() Policy
	// Free returns the bytes that can still be allocated.
	Free() (int, error)
	// Close releases the device. Buffers die with it.
	Close() error
}

// Policy tells how a batch is cut into micro-batches. It depends on the kind of device, never on the number of lanes,
// because it decides the order of summation.
type Policy struct {
	// UpdateFloats is the largest stretch of the parameters that a task of the optimiser takes, which may be a 16th of that; 0 means all at once.
	UpdateFloats int
	// CacheBytes is the wanted size of a micro-batch's activations, or the size of the weights if that is more (at least
	// one image is taken); 0 means the whole batch at once.
	CacheBytes int
	// Host says that the device's memory is the host's.
	Host bool
	// Slots is the largest number of gradient slots of a batch, SlotBytes the largest size of them together (one
	// slot is always granted).
	Slots, SlotBytes int
	// ManySlots and ManySlotBytes are these for a batch that has enough samples for more than Slots of them; 0 if there are never more.
	ManySlots, ManySlotBytes int
}

// Backend is one lane of a Device: memory and every op.
type Backend interface {
	Memory
	Vector
	Conv
	ConvTranspose
	Grouped
	Dense
	Partial
	Pool
	Upsample
	Depth
	Merge
	Channelwise
	UnitNorm
	Activate
	GroupNorm
	BatchNorm
	Attention
	Loss
	Fourier
	Optim
	Random
	Clip
	Penalty
	Gaussian
	Contract
	Concrete
	Quantize
	SSIM
}

// Memory is a backend's memory and its order of execution.
type Memory interface {
	// Name is the device's name.
	Name() string
	// Alloc returns n bytes of zeroed memory, Free gives them back.
	Alloc(n int) (Buffer, error)
	Free(b Buffer)
	// Bytes returns the bytes that a tensor occupies in a buffer.
	Bytes(r Role, d DType, s Shape) int
	// SetWorkspace gives the lane its scratch memory, at least the largest Needs.Workspace of the ops that it runs; nil
	// takes it away.
	SetWorkspace(b Buffer)
	// Upload and Download copy an Activation, Param or Flat tensor from and to contiguous values in the order of its shape; what is
	// uploaded to a narrow one is rounded. Upload has read src when it returns.
	Upload(dst Tensor, src []float32)
	Download(dst []float32, src Tensor) error
	// UploadBytes and DownloadBytes are the same for Pixels, Staged and Argmax tensors, UploadIndex for Index tensors.
	UploadBytes(dst Tensor, src []byte)
	DownloadBytes(dst []byte, src Tensor) error
	UploadIndex(dst Tensor, src []int32)
	// Fetch starts copying a Flat tensor of at most MaxFetch elements to the host and returns at once; an earlier one
	// that is still under way is dropped. Fetched copies the elements to dst and returns true when they have arrived,
	// once; it does not wait.
	Fetch(src Tensor)
	Fetched(dst []float32) bool
	// Stage fills a Pixels or Staged tensor as UploadBytes does, but without waiting for earlier ops: fill is called with
	// memory from which the device copies when it is there. fill must write all of it.
	Stage(dst Tensor, fill func(pixels []byte))
	// SetStepParams sets a StepParams for the ops that follow.
	SetStepParams(dst Tensor, c StepParams)
	// Sync waits for all calls and returns the first failure of the device.
	Sync() error
}

// Timer is implemented by backends that can time ops where they run. On a GPU the host's clock would also time the launch.
type Timer interface {
	// Time returns how long the device took for the ops that f calls, and waits for them; 0 after a failure.
	Time(f func()) time.Duration
}

// Paths is implemented by backends that have several ways to do an op.
type Paths interface {
	// Path names the way that an op, by its method's name, is done for a ConvShape, ConvTransposeShape or DenseShape; ""
	// when there is no choice.
	Path(op string, shape any) string
	// Executed returns the multiply-adds that this way takes; 0 for an op without a path. They are fewer than the op's own where taps are
	// summed first, where gradients are, or where sums are made tile by tile, and more where results are made that nobody reads. What an
	// instruction does with a pair of bfloat16 is one.
	Executed(op string, shape any) int
	// Limit measures how many multiply-adds a second the executor does if it does nothing else.
	Limit() float64
}

// Preparer is implemented by backends that compile code for the shapes that they are given. What was not prepared is done by
// code for all shapes, which is slower.
type Preparer interface {
	// Prepare compiles the code for the ops that f calls. Neither they nor uploads are done.
	Prepare(f func())
	// Prepared returns how many kernels the device has compiled so far, and how long that took.
	Prepared() (kernels int, took time.Duration)
}

// MaxFetch is the largest tensor that can be fetched, in elements.
const MaxFetch = 64

// Clearer is implemented by backends whose device may be told to do only a part of an op's work.
type Clearer interface {
	// Clear sets all of a tensor's memory to 0, between ops, and is none itself. ClearWorkspace does so with what ops leave for their own launches.
	Clear(t Tensor)
	ClearWorkspace()
}

// Brancher is implemented by backends that can do two ops at the same time. Neither of the two branches may touch what the other
// writes; the workspace must have room for what both need, one behind the other, each aligned.
type Brancher interface {
	// Fork begins the first branch, with all that was called before it done, and Branch the second. What is called after Join
	// comes after both.
	Fork()
	Branch()
	Join()
}

// Recorder is implemented by backends that can record calls and do them again at once, as a CUDA graph does. A failure
// is kept, as that of an op.
type Recorder interface {
	// Record returns the ops that f calls, which are not done. f must not wait, allocate or copy from or to the host.
	Record(f func()) Recording
	// Replay does what was recorded.
	Replay(r Recording)
}

// Recording is what a Recorder has recorded.
type Recording interface {
	Close() // frees it
}

// Splitter is implemented by backends of which several lanes can do an op together, each a piece of its result.
type Splitter interface {
	// Pieces returns into how many pieces it pays to cut an op, by its method's name, of so many multiply-adds or, where they do not say
	// much, elements of its results; 1 for an op that no two lanes can do together.
	Pieces(op string, work int) int
	// Piece has the lane do piece i of n alone of each op that follows, which must be one of several Pieces. All pieces, which may be done at the same time and
	// are at most as many as there are lanes, make what Piece(0, 1), which all of an op is, does, bit for bit. Some may have nothing to do.
	Piece(i, n int)
}

// StepParams holds what changes from step to step. It lives in device memory, so that a recorded step can be replayed
// without new arguments.
type StepParams struct {
	Step         uint32  // optimiser step, from 1; dropout draws by it
	Draw         uint32  // noise draw: 0 when noise is drawn once, else the epoch
	Offset       uint32  // position in the order (Index tensor) of the batch's first sample
	LearningRate float32 // of this step
	// 1 - beta^Step for Adam's two betas, taken in float64.
	BiasCorrection1, BiasCorrection2 float32
	Divergence                       float32 // weight of the Kullback-Leibler divergence of Gaussian codes
	Temperature                      float32 // of concrete selections
}

// Vector ops work on tensors of one role and shape.
type Vector interface {
	// Zero and Copy: Activation, Param or Flat.
	Zero(dst Tensor)
	Copy(dst, src Tensor)
	// Axpy: dst += alpha*src, Flat or Param. dst may be src.
	Axpy(dst Tensor, alpha float32, src Tensor)
	// Sum: dst = src[0] + src[1] + ... in this order, Flat. dst may be src[0].
	Sum(dst Tensor, src []Tensor)
	// Reshape copies activations to another shape with the same N and the same number of elements an image, in
	// NHWC order.
	Reshape(dst, src Tensor)
}

// Conv is the two-dimensional convolution with all that can be fused into it; see ConvShape.
type Conv interface {
	ConvNeeds(s ConvShape) Needs
	// ConvPack makes dst from the weights w; it is due whenever w has changed. Not called when Needs.Packed is 0.
	ConvPack(s ConvShape, dst, w Tensor)
	// Conv: out = pool(act(conv(upsample(x), w) + bias)). argmax (Argmax, shape of out, s.Pool > 1 only) receives the
	// position of the maximum after the activation in its window, row*Pool+column; the first maximum wins, and NaN is
	// above all numbers. argmax may be zero: only a backward pass needs it.
	Conv(s ConvShape, out, argmax, x Tensor, p Params)
	// ConvBackInput: gradX from gradOut, the gradient with respect to the values before the activation, at the
	// pooled resolution. gradX is multiplied by the derivative of s.InAct, whose output is x (x is not read when
	// InAct is Linear).
	ConvBackInput(s ConvShape, gradX, gradOut, argmax Tensor, p Params, x Tensor)
	// ConvBackWeights adds to grad.W and grad.Bias, or writes grad.Partials; see Partial.
	ConvBackWeights(s ConvShape, grad Params, gradOut, argmax, x Tensor)
}

// ConvTranspose is the transposed convolution; see ConvTransposeShape. Its ops are those of Conv.
type ConvTranspose interface {
	ConvTransposeNeeds(s ConvTransposeShape) Needs
	ConvTransposePack(s ConvTransposeShape, dst, w Tensor)
	ConvTranspose(s ConvTransposeShape, out, x Tensor, p Params)
	ConvTransposeBackInput(s ConvTransposeShape, gradX, gradOut Tensor, p Params, x Tensor)
	ConvTransposeBackWeights(s ConvTransposeShape, grad Params, gradOut, x Tensor)
}

// Grouped is the convolution in groups of channels; see GroupedShape. Activations may be narrow; factors are not rounded.
type Grouped interface {
	// Grouped: out[f] = bias[f] + the sum over the kernel and the channels c of f's group of w[f, c] x[c].
	Grouped(s GroupedShape, out, x Tensor, p Params)
	GroupedBackInput(s GroupedShape, gradX, gradOut, w Tensor)
	// GroupedBackWeights adds to grad.W and grad.Bias.
	GroupedBackWeights(s GroupedShape, grad Params, gradOut, x Tensor)
}

// Dense is the fully connected layer, a matrix product: out (N,1,1,Out), x (N,1,1,In), w (Out,1,1,In).
type Dense interface {
	DenseNeeds(s DenseShape) Needs
	DensePack(s DenseShape, dst, w Tensor)
	// Dense: out = act(x wᵀ + bias).
	Dense(s DenseShape, out, x Tensor, p Params)
	// DenseBackInput: gradX = gradOut w, times the derivative of s.InAct at x.
	DenseBackInput(s DenseShape, gradX, gradOut Tensor, p Params, x Tensor)
	// DenseBackWeights: grad.W += gradOutᵀ x, grad.Bias += the column sums of gradOut, or grad.Partials is written; see Partial.
	DenseBackWeights(s DenseShape, grad Params, gradOut, x Tensor)
}

// Partial is what adds partial sums up. The gradients of a layer's weights and bias, and the loss, are sums over many positions,
// which a device with many executors makes in parts. If the op is given room for as many as it says (see Needs), it writes them there
// and leaves the sums alone, and those of several layers can be added up at once.
type Partial interface {
	// SumPartials: W and Bias += the rows of Partials (see PartialsShape), for each of sums. W is that of a layer's gradients, or
	// Flat. No two of sums share a tensor.
	SumPartials(sums []Params)
}

// Pool is pooling, by the maximum and by the mean.
type Pool interface {
	// MaxPool: the first maximum of each window (NaN is above all numbers), and its position row*Size+column in argmax (Argmax, shape of out), which
	// may be zero.
	MaxPool(s PoolShape, out, argmax, x Tensor)
	// MaxPoolBack: each input gets the sum of the gradients of the windows in which it was the maximum.
	MaxPoolBack(s PoolShape, gradX, gradOut, argmax Tensor)
	// AveragePool: the mean of each window; padding does not count.
	AveragePool(s PoolShape, out, x Tensor)
	// AveragePoolBack: each input gets the sum of the gradients of its windows, each divided by the number of inputs there.
	AveragePoolBack(s PoolShape, gradX, gradOut Tensor)
}

// Upsample is nearest-neighbour upsampling, and bilinear interpolation between pixels whose centres lie at halves (PyTorch's
// align_corners=False; see UpsampleShape.Between).
type Upsample interface {
	Upsample(s UpsampleShape, out, x Tensor)
	UpsampleBack(s UpsampleShape, gradX, gradOut Tensor)
	Bilinear(s UpsampleShape, out, x Tensor)
	BilinearBack(s UpsampleShape, gradX, gradOut Tensor)
}

// Depth rearranges channels into pixels; see DepthShape.
type Depth interface {
	DepthToSpace(s DepthShape, out, x Tensor)
	// SpaceToDepth is the inverse, and so the gradient.
	SpaceToDepth(s DepthShape, gradX, gradOut Tensor)
}

// Channelwise ops have one value for each channel of an image, (N, 1, 1, C), and images (N, H, W, C). All tensors are Activations.
type Channelwise interface {
	// Times: out = a b, for b of the shape of a, or one pixel for each image. out may be a.
	Times(out, a, b Tensor)
	// SumPixels: out[n][c] = scale times the sum of a b over the pixels of image n; without b, of a.
	SumPixels(scale float32, out, a, b Tensor)
	// SpreadPixels: every pixel of out = scale x.
	SpreadPixels(scale float32, out, x Tensor)
}

// UnitNorm divides the vector of each pixel by its length. All tensors but the scales are Activations of one shape (N, H, W, C).
type UnitNorm interface {
	// UnitNorm: out = scales x / (|x| + UnitEpsilon), where |x| is the root of the sum of the squares of a pixel's channels. scales, a Param of C
	// elements, can be zero: then they are 1.
	UnitNorm(out, x, scales Tensor)
	// UnitNormBack: gradX = (g - x/(|x| + UnitEpsilon) (g x)/|x|) / (|x| + UnitEpsilon) with g = scales gradOut, and 0 for a vector of zeros.
	UnitNormBack(gradX, gradOut, x, scales Tensor)
}

// Merge ops join the values of several layers, and split their gradients. All tensors are Activations.
type Merge interface {
	// Plus: out = a + b, of one shape. out may be a.
	Plus(out, a, b Tensor)
	// CopyChannels: for every pixel of the images, channels to..to+count-1 of dst = channels from..from+count-1 of src;
	// dst's other channels stay as they are. dst and src have the same N, H and W, and share no memory.
	CopyChannels(dst Tensor, to int, src Tensor, from, count int)
}

// Activate is an activation on its own.
type Activate interface {
	// Activate: out = f(x); out may be x.
	Activate(f Function, out, x Tensor)
	// ActivateBack: gradX = gradOut times the derivative of f, which is known from of: f's output if f.Act.FromOutput(), else its
	// input. gradX may be gradOut.
	ActivateBack(f Function, gradX, gradOut, of Tensor)
	// Rescale: out = scale x + offset, where the product is rounded, too; out may be x.
	Rescale(scale, offset float32, out, x Tensor)
}

// GroupNorm is the normalisation of groups of channels, and of each pixel's channels, with what comes behind it; see GroupNormShape.
type GroupNorm interface {
	GroupNormNeeds(s GroupNormShape) Needs
	// GroupNorm: out = act(gamma (x - mean) / sqrt(variance + epsilon) + beta), with a gamma p.W and a beta p.Bias for each channel; without
	// one of them it is 1, or 0. The variance is that of the group itself, the mean of the squared differences from its mean. A group
	// whose values are all the same gives act(beta). stats (Flat, see Stats) may be zero: only a backward pass needs it.
	GroupNorm(s GroupNormShape, out, stats, x Tensor, p Params)
	// GroupNormBack: gradX, unless it is zero, from gradOut, the gradient with respect to the values behind the activation, which are made
	// from x again. The gradients of gamma and beta are added to grad.W and grad.Bias, unless they are zero, or grad.Partials is written;
	// see Partial.
	GroupNormBack(s GroupNormShape, gradX Tensor, grad Params, gradOut, stats, x Tensor, p Params)
}

// BatchNorm is normalisation by the statistics of a batch; see BatchNormShape. A batch is one or more micro-batches, of each of which
// Statistics and Sums make rows, in Needs.Partials parts (see BatchNormShape.Stretch); Moments and Totals are done once, and are given the
// rows of all.
type BatchNorm interface {
	BatchNormNeeds(s BatchNormShape) Needs
	// BatchNormStatistics: of the pixels of each row of rows (see BatchNormShape.Moments) the means of x, the sums of the squared differences
	// from them, and the number of pixels; all are 0 where there are no pixels. Values that are all the same have that mean, and no differences.
	BatchNormStatistics(s BatchNormShape, rows, x Tensor)
	// BatchNormMoments: moments = the means of all rows together and then the variances, which are means of squared differences; moving = o.Momentum
	// moving + (1 - o.Momentum) that, for means and variances.
	BatchNormMoments(o Moving, moments, movingMean, movingVariance, rows Tensor)
	// BatchNorm: out = act(gamma (x - mean) / sqrt(variance + epsilon) + beta); without gamma it is 1, without beta 0.
	BatchNorm(s BatchNormShape, out, x Tensor, p BatchNormParams)
	// BatchNormSums: of the pixels of each row of rows (see BatchNormShape.Sums) the sums of g, and then of g (x - mean) / sqrt(variance + epsilon),
	// where g is gradOut times the derivative of act at the values before it, which are made from x again.
	BatchNormSums(s BatchNormShape, rows, gradOut, x Tensor, p BatchNormParams)
	// BatchNormTotals: totals = the sums of the rows; gradBeta += the first half of it, gradGamma += the second. These may be zero.
	BatchNormTotals(totals, gradGamma, gradBeta, rows Tensor)
	// BatchNormBack: gradX = gamma / sqrt(variance + epsilon) (g - (t + h u) / pixels), with h = (x - mean) / sqrt(variance + epsilon) and t and u the
	// halves of totals, for a batch of so many pixels.
	BatchNormBack(s BatchNormShape, pixels int, gradX, gradOut, x, totals Tensor, p BatchNormParams)
}

// Attention is the attention of pixels to one another; see AttentionShape. It is computed in tiles, and no tensor grows with the square
// of the positions. Its products are of float32 in all precisions.
type Attention interface {
	AttentionNeeds(s AttentionShape) Needs
	// Attention: for each head, out = softmax(q kᵀ / sqrt(channels of a head)) v, where the rows of q, k and v are positions. stats (Flat, see
	// Stats) may be zero: only a backward pass needs it.
	Attention(s AttentionShape, out, stats, q, k, v Tensor)
	// AttentionBack makes the gradients of all three. out and stats are what Attention has made.
	AttentionBack(s AttentionShape, gradQ, gradK, gradV, gradOut, out, stats, q, k, v Tensor)
}

// Loss ops add scale times the sum over all elements to loss (Flat, one element), or write partials; see Partial. Unless grad is
// zero, they overwrite it with the gradient.
type Loss interface {
	// LossNeeds says how many partial sums there are for a prediction of that shape.
	LossNeeds(pred Shape) Needs
	// SigmoidBCE: max(z,0) - z t + ln(1 + exp(-|z|)), the binary cross-entropy of sigmoid(z) and target t in [0,1].
	SigmoidBCE(scale float32, loss, partials, grad, logits, target Tensor)
	// MSE: (p - t)².
	MSE(scale float32, loss, partials, grad, pred, target Tensor)
	// L1: |p - t|, whose slope is 0 where it is 0.
	L1(scale float32, loss, partials, grad, pred, target Tensor)
	// Huber: d²/2 for a d = p - t of at most delta, delta (|d| - delta/2) beyond that. (Huber, "Robust estimation of a location
	// parameter", 1964.)
	Huber(delta, scale float32, loss, partials, grad, pred, target Tensor)
	// Charbonnier: sqrt((p - t)² + epsilon²). (Charbonnier and others, "Two deterministic half-quadratic regularization algorithms for
	// computed imaging", 1994.)
	Charbonnier(epsilon, scale float32, loss, partials, grad, pred, target Tensor)
	// TotalVariation: |p - q| + |p - r|, where q is right of p in its channel, and r below it, if they are there. (Rudin, Osher and Fatemi,
	// "Nonlinear total variation based noise removal algorithms", 1992; the sum of absolute values, as TensorFlow has it.)
	TotalVariation(scale float32, loss, partials, grad, pred Tensor)
}

// Fourier ops are of images (N, H, W, C), of sides of at most fourier.MaxSide, and of their spectra (N, H, W, 2C), whose first C channels are real
// parts and whose others are imaginary ones. All tensors but the loss are Activations.
type Fourier interface {
	// Fourier: spectrum = the discrete Fourier transform of each channel of x over rows and columns, divided by sqrt(H W).
	Fourier(spectrum, x Tensor)
	// FourierBack: gradX = the real part of the inverse transform of gradSpectrum, which is overwritten.
	FourierBack(gradX, gradSpectrum Tensor)
	// SpectrumMost: most, (N, 1, 1, C), = the largest magnitude of each channel of a spectrum.
	SpectrumMost(most, spectrum Tensor)
	// Focal: loss += scale times the sum of |F|³/most over all numbers F of a spectrum; grad, which can be zero, = 2 scale |F|/most F, as if |F|/most
	// were a constant. Both are 0 where most is. (Jiang and others, "Focal frequency loss for image reconstruction and synthesis", 2021, with alpha 1.) See
	// Loss for the partial sums.
	Focal(scale float32, loss, partials, grad, spectrum, most Tensor)
}

// Optim ops update Flat tensors of equal length in place: p are the parameters, g is their gradient, and lr is the learning rate of the
// step's parameters times the Rate of the Update. They also add up what a Tally says.
type Optim interface {
	// SGD: v = momentum v + g; p -= lr v, or with Nesterov p -= lr (g + momentum v). The state is v, or nothing when
	// Momentum is 0.
	SGD(o SGD, u Update)
	// Adam: m += (1-b1)(g-m); v += (1-b2)(g²-v); p -= lr/c1 m / (sqrt(v/c2) + eps), with the step's bias
	// corrections c1 and c2. WeightDecay makes it AdamW: p is first multiplied by 1 - lr decay.
	Adam(o Adam, u Update)
	// Nadam: m += (1-b1)(g-m); v += (1-b2)(g²-v); p -= (lr/c1 m + lr g) / (sqrt(v/c2) + eps), where lr is the share of the learning rate that
	// the gradient itself has in the step, and lr/c1 that of m: u_t = b1 (1 - 0.96^(decay t) / 2) being the momentum of step t and U_t the
	// product of all up to that, they are (1-u_t)/(1-U_t) and u_{t+1}/(1-U_{t+1}) of it. (Dozat, "Incorporating Nesterov momentum into Adam", 2016.)
	Nadam(o Nadam, u Update)
	// Adadelta: a = rho a + (1-rho) g²; d = sqrt(u+eps)/sqrt(a+eps) g; u = rho u + (1-rho) d²; p -= lr d. The
	// states are a and u.
	Adadelta(o Adadelta, u Update)
	// RMSprop: v = rho v + (1-rho) g²; d = lr g / sqrt(v+eps); p -= d, or with a Momentum s = momentum s + d; p -= s. The states are
	// v and, with a Momentum, s. (Tieleman and Hinton, 2012, lecture 6.5 of a course; eps and momentum as Keras has them.)
	RMSprop(o RMSprop, u Update)
	// Lion: p = (1 - lr decay) p - lr sign(b1 m + (1-b1) g), where the sign of 0 is 0; m = b2 m + (1-b2) g. (Chen and others,
	// "Symbolic discovery of optimization algorithms", 2023, algorithm 2.)
	Lion(o Lion, u Update)
	// Lamb: m += (1-b1)(g-m); v += (1-b2)(g²-v); d = m/c1 / (sqrt(v/c2) + eps) + decay p, with the step's bias corrections c1 and c2; p -= lr r d,
	// where the trust ratio r is |p| / |d|, of the Euclidean norms of all p and d of the call, or 1 where one of them is 0. The call is of one tensor,
	// and adds up no partial sums. (You and others, "Large Batch Optimization for Deep Learning", 2019, algorithm 2, with phi the identity.)
	Lamb(o Lamb, u Update)
}

// Random ops draw as package rng specifies, bit for bit the same on every backend. src names seed and stream.
type Random interface {
	// Normal: standard normal numbers; row first+n of draw stepParams.Step fills image n.
	Normal(src rng.Source, dst, stepParams Tensor, first int)
	// Dropout: out = x/(1-rate) where the uniform draw is at least rate, else 0; rows and draw as in Normal. Applied
	// to a gradient it is its own derivative. out may be x.
	Dropout(rate float32, src rng.Source, out, x, stepParams Tensor, first int)
	// GatherPixels: clean[n] = pixels[i]/255 with i = order[stepParams.Offset+first+n], and, unless noisy is zero,
	// noisy[n] = clip(clean[n] + std*normal, 0, 1), row i of draw stepParams.Draw. pixels is a Pixels tensor of the whole
	// data set, or a Staged one of the batch alone, whose image first+n is sample i. order is an Index tensor. A position
	// or a sample that is not there is the caller's mistake; a device that learns of it too late to panic gives NaN.
	GatherPixels(std float32, src rng.Source, clean, noisy, pixels, order, stepParams Tensor, first int)
	// GatherValues is GatherPixels for a data set of float32 values, of any range: values is a Flat tensor of all samples, one after
	// another; clean[n] = values[i], and noisy[n] = clean[n] + std*normal, which is not clipped.
	GatherValues(std float32, src rng.Source, clean, noisy, values, order, stepParams Tensor, first int)
	// Corrupt: out[n] is x[n] made worse as package corrupt says, by row order[stepParams.Offset+first+n] of draw stepParams.Draw. out must not
	// be x. A position that is not there is the caller's mistake, as in GatherPixels.
	Corrupt(c corrupt.Corruption, src rng.Source, out, x, order, stepParams Tensor, first int)
}

// Clip ops bound gradients, Flat tensors.
type Clip interface {
	// ClipValue: v = min(max(v, -limit), limit); NaN stays NaN.
	ClipValue(limit float32, v Tensor)
	// SumSquares: dst, one element, = the sum of the squares of src.
	SumSquares(dst, src Tensor)
	// ClipNorm: v *= min(1, limit / sqrt(squares[0] + squares[1] + ...)).
	ClipNorm(limit float32, v, squares Tensor)
}

// Penalty ops add what a penalty adds to the loss (Flat, one element) and to the gradient.
type Penalty interface {
	// Penalize: loss += sum of L1 |x| + L2 x²; grad += L1 sign(x) + 2 L2 x, where sign(0) = 0. x and grad are of one
	// shape and role, Activation or Flat.
	Penalize(o Norms, loss, grad, x Tensor)
	// ColumnSum: dst[j] += x[0][j] + x[1][j] + ..., over the images of x; dst is Flat and as long as an image.
	ColumnSum(dst, x Tensor)
	// SparseKL compares mean activations r[j] = share sums[j], held within [1e-6, 1-1e-6], with the target rho: loss +=
	// weight sum of rho ln(rho/r) + (1-rho) ln((1-rho)/(1-r)), and grad[j] = weight share ((1-rho)/(1-r) - rho/r), the
	// gradient with respect to each activation that sums[j] is made of. grad and sums are Flat.
	SparseKL(o Sparsity, share float32, loss, grad, sums Tensor)
	// AddRow: x[n][j] += row[j] for every image n of x; row is Flat and as long as an image.
	AddRow(x, row Tensor)
}

// Gaussian ops are the code of a variational autoencoder (Kingma and Welling, "Auto-Encoding Variational Bayes", 2014).
// stats is (N, H, W, 2C): the means of the code (N, H, W, C) and then the logarithms of its variances.
type Gaussian interface {
	// Sample: code = mean + exp(logvar/2) eps, where eps are the numbers that Normal draws for the code. Without stepParams,
	// code = mean.
	Sample(src rng.Source, code, stats, stepParams Tensor, first int)
	// SampleBack: gradStats from gradCode, for the same draws. With w = scale stepParams.Divergence, w times the divergence from
	// the standard normal distribution, the sum of (mean² + exp(logvar) - 1 - logvar)/2, is added to loss (Flat, one
	// element), and its gradient to gradStats.
	SampleBack(scale float32, src rng.Source, loss, gradStats, gradCode, stats, stepParams Tensor, first int)
	// ClampVariance: out = stats with the logarithms of variances clamped to l; NaN stays NaN. out and stats are of one shape.
	ClampVariance(l Limits, out, stats Tensor)
	// ClampVarianceBack: gradStats = gradOut, and 0 for a logarithm of a variance outside l.
	ClampVarianceBack(l Limits, gradStats, gradOut, stats Tensor)
}

// Contract ops make encoders contractive (Rifai et al., "Contractive Auto-Encoders", 2011).
type Contract interface {
	// ContractDense: of a dense layer h = act(x wᵀ + bias), scale times the squared Frobenius norm of its Jacobian dh/dx,
	// summed over the images of h, is added to loss (Flat, one element), and its gradients to gradH, with respect to h (N,
	// 1, 1, Out), and to gradW, with respect to w (a Param) at h held fixed.
	ContractDense(a Act, scale float32, loss, gradH, gradW, h, w Tensor)
	// Perturb: out = x + std normal, with the numbers that Normal draws for x.
	Perturb(std float32, src rng.Source, out, x, stepParams Tensor, first int)
	// Accumulate: dst += alpha x, Activation.
	Accumulate(dst Tensor, alpha float32, x Tensor)
}

// Concrete ops select inputs (Balın, Abid and Zou, "Concrete Autoencoders", 2019). logits is a Param (K, 1, 1, D), the
// selection m an Activation of that shape, one of D inputs in each of K rows.
type Concrete interface {
	// Concretize: row j of m = softmax((logits + g) / stepParams.Temperature), where g = -ln(-ln u) are Gumbel's numbers, of the
	// odd multiples u of 2^-24 that the words of row j and draw stepParams.Step give: (word>>8 | 1) 2^-24. Without stepParams, m is 1
	// at the first of a row's largest logits, else 0.
	Concretize(src rng.Source, m, logits, stepParams Tensor)
	// Pick: out (N, 1, 1, K) = x mᵀ, for x (N, 1, 1, D).
	Pick(out, x, m Tensor)
	// ConcreteBack adds to gradLogits what gradOut, the gradient of Pick's output, makes of it through the softmax.
	ConcreteBack(gradLogits, gradOut, x, m, stepParams Tensor)
}

// Quantize ops are vector quantisation (van den Oord, Vinyals and Kavukcuoglu, "Neural Discrete Representation Learning", 2017): each pixel of a
// code, a vector, becomes the nearest row of a codebook, a Param (K, 1, 1, C).
type Quantize interface {
	// Quantize: every pixel of out (N, H, W, C) = the row of codebook that is nearest to that of x by the sum of squared differences, the first
	// one of those that are as near; NaN where that sum is NaN. index (N, H, W, 1), which may be zero, = the number of the row.
	Quantize(out, index, x, codebook Tensor)
	// QuantizeSums leaves in row, a Flat tensor, for each of K rows of a codebook how many pixels have its number, then the sums of those pixels of x,
	// and then candidates, pixels of the batch to which a row may be moved: candidate k is pixel hi(w, pixels) of the batch of count samples,
	// where hi is the upper word of the product and w word k of row 0 of draw stepParams.Step, or 0 if x, of samples first and on, does not have it.
	// So all rows of a batch are to be added up.
	QuantizeSums(src rng.Source, row, index, x, stepParams Tensor, first, count int)
	// QuantizeMove moves a codebook to the moving averages of the pixels that have its numbers: count = Decay count + (1 - Decay) n and sum = Decay
	// sum + (1 - Decay) s, for the sums n and s of all rows; then codebook = sum / (m (count + Epsilon) / (m + K Epsilon)), where m is the sum of
	// all counts. A row whose count is below Revive moves to its candidate instead, with Revive as its count and as many times the candidate as
	// its sum. count is a Param of K elements, sum one of the codebook's shape.
	QuantizeMove(o Moves, codebook, count, sum, rows Tensor)
}

// SSIM ops are the structural similarity of a prediction x and a target y (Wang and others, "Image quality assessment: from error visibility to
// structural similarity", 2004), and that of several scales (Wang, Simoncelli and Bovik, "Multiscale structural similarity for image quality
// assessment", 2003); see SSIMShape.
type SSIM interface {
	SSIMNeeds(s SSIMShape) Needs
	// SSIM: index (see Out) = the index of each position of the window in each channel: with means m, variances v and the covariance w of the windows
	// of x and y, (2 mx my + c1)/(mx² + my² + c1) times (2 w + c2)/(vx + vy + c2), of a Structure the latter alone. slopes (see Slopes), which may
	// be zero, has what the gradient is made of: for all channels the derivatives by the mean of x, then by that of x², then by that of x y.
	SSIM(s SSIMShape, index, slopes, x, y Tensor)
	// SSIMBack: gradX from the gradient with respect to the sum of a channel's index over its positions (N, 1, 1, C), times scale.
	SSIMBack(s SSIMShape, scale float32, gradX, slopes, gradSums, x, y Tensor)
	// SSIMLoss: loss (Flat, one element) += scale times the sum over images and channels of 1 - p, where p is the product over the scales of the
	// mean of the index there to the power of its weight; gradMeans = the gradient. Both (N, 1, 1, Scales C) have the channels of one scale after those
	// of another. A mean of several that is below 1e-6 counts as that, and has no gradient; a single one counts as it is, with the weight 1.
	SSIMLoss(o ScaleWeights, scale float32, loss, gradMeans, means Tensor)
}
