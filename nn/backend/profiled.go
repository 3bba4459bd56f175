package backend

import (
	"cmp"
	"slices"
	"time"

	"github.com/convae/convae/nn/rng"
)

// OpTime is the time spent in an op.
type OpTime struct {
	Op    string // name of the Backend's method
	Calls int
	Time  time.Duration
	Share float64 // of the time of all ops
}

// Profile is a Backend that times the ops of another. It waits for each op to end, so a step takes longer than the
// sum that it reports.
type Profile struct {
	Memory
	b   Backend
	ops map[string]*OpTime
}

// Profiled returns a Profile of b, which is one lane.
func Profiled(b Backend) *Profile { return &Profile{b, b, make(map[string]*OpTime)} }

// Report returns the ops that were called, the longest time first.
func (f *Profile) Report() []OpTime {
	all := time.Duration(0)
	for _, o := range f.ops {
		all += o.Time
	}
	r := make([]OpTime, 0, len(f.ops))
	for _, o := range f.ops {
		t := *o
		t.Share = float64(t.Time) / float64(max(all, 1))
		r = append(r, t)
	}
	slices.SortFunc(r, func(a, b OpTime) int { return cmp.Or(cmp.Compare(b.Time, a.Time), cmp.Compare(a.Op, b.Op)) })
	return r
}

// Reset forgets what was timed.
func (f *Profile) Reset() { clear(f.ops) }

// done waits for an op that began at start and adds its time. A failure stays in the device, for the caller's Sync.
func (f *Profile) done(op string, start time.Time) {
	_ = f.b.Sync()
	d := time.Since(start)
	o := f.ops[op]
	if o == nil {
		o = &OpTime{Op: op}
		f.ops[op] = o
	}
	o.Calls++
	o.Time += d
}

// Every op is timed alike.

func (f *Profile) Upload(dst Tensor, src []float32) {
	defer f.done("Upload", time.Now())
	f.b.Upload(dst, src)
}
func (f *Profile) Download(dst []float32, src Tensor) error {
	defer f.done("Download", time.Now())
	return f.b.Download(dst, src)
}
func (f *Profile) UploadBytes(dst Tensor, src []byte) {
	defer f.done("UploadBytes", time.Now())
	f.b.UploadBytes(dst, src)
}
func (f *Profile) DownloadBytes(dst []byte, src Tensor) error {
	defer f.done("DownloadBytes", time.Now())
	return f.b.DownloadBytes(dst, src)
}
func (f *Profile) UploadIndex(dst Tensor, src []int32) {
	defer f.done("UploadIndex", time.Now())
	f.b.UploadIndex(dst, src)
}
func (f *Profile) SetStepParams(dst Tensor, c StepParams) {
	defer f.done("SetStepParams", time.Now())
	f.b.SetStepParams(dst, c)
}
func (f *Profile) Zero(dst Tensor)      { defer f.done("Zero", time.Now()); f.b.Zero(dst) }
func (f *Profile) Copy(dst, src Tensor) { defer f.done("Copy", time.Now()); f.b.Copy(dst, src) }
func (f *Profile) Axpy(dst Tensor, alpha float32, src Tensor) {
	defer f.done("Axpy", time.Now())
	f.b.Axpy(dst, alpha, src)
}
func (f *Profile) Sum(dst Tensor, src []Tensor) { defer f.done("Sum", time.Now()); f.b.Sum(dst, src) }
func (f *Profile) Reshape(dst, src Tensor) {
	defer f.done("Reshape", time.Now())
	f.b.Reshape(dst, src)
}
func (f *Profile) ConvNeeds(s ConvShape) Needs { return f.b.ConvNeeds(s) }

func (f *Profile) ConvPack(s ConvShape, dst, w Tensor) {
	defer f.done("ConvPack", time.Now())
	f.b.ConvPack(s, dst, w)
}
func (f *Profile) Conv(s ConvShape, out, argmax, x Tensor, p Params) {
	defer f.done("Conv", time.Now())
	f.b.Conv(s, out, argmax, x, p)
}
func (f *Profile) ConvBackInput(s ConvShape, gradX, gradOut, argmax Tensor, p Params, x Tensor) {
	defer f.done("ConvBackInput", time.Now())
	f.b.ConvBackInput(s, gradX, gradOut, argmax, p, x)
}
func (f *Profile) ConvBackWeights(s ConvShape, grad Params, gradOut, argmax, x Tensor) {
	defer f.done("ConvBackWeights", time.Now())
	f.b.ConvBackWeights(s, grad, gradOut, argmax, x)
}
func (f *Profile) ConvTransposeNeeds(s ConvTransposeShape) Needs { return f.b.ConvTransposeNeeds(s) }

func (f *Profile) ConvTransposePack(s ConvTransposeShape, dst, w Tensor) {
	defer f.done("ConvTransposePack", time.Now())
	f.b.ConvTransposePack(s, dst, w)
}
func (f *Profile) ConvTranspose(s ConvTransposeShape, out, x Tensor, p Params) {
	defer f.done("ConvTranspose", time.Now())
	f.b.ConvTranspose(s, out, x, p)
}
func (f *Profile) ConvTransposeBackInput(s ConvTransposeShape, gradX, gradOut Tensor, p Params, x Tensor) {
	defer f.done("ConvTransposeBackInput", time.Now())
	f.b.ConvTransposeBackInput(s, gradX, gradOut, p, x)
}
func (f *Profile) ConvTransposeBackWeights(s ConvTransposeShape, grad Params, gradOut, x Tensor) {
	defer f.done("ConvTransposeBackWeights", time.Now())
	f.b.ConvTransposeBackWeights(s, grad, gradOut, x)
}
func (f *Profile) DenseNeeds(s DenseShape) Needs { return f.b.DenseNeeds(s) }

func (f *Profile) DensePack(s DenseShape, dst, w Tensor) {
	defer f.done("DensePack", time.Now())
	f.b.DensePack(s, dst, w)
}
func (f *Profile) Dense(s DenseShape, out, x Tensor, p Params) {
	defer f.done("Dense", time.Now())
	f.b.Dense(s, out, x, p)
}
func (f *Profile) DenseBackInput(s DenseShape, gradX, gradOut Tensor, p Params, x Tensor) {
	defer f.done("DenseBackInput", time.Now())
	f.b.DenseBackInput(s, gradX, gradOut, p, x)
}
func (f *Profile) DenseBackWeights(s DenseShape, grad Params, gradOut, x Tensor) {
	defer f.done("DenseBackWeights", time.Now())
	f.b.DenseBackWeights(s, grad, gradOut, x)
}
func (f *Profile) MaxPool(s PoolShape, out, argmax, x Tensor) {
	defer f.done("MaxPool", time.Now())
	f.b.MaxPool(s, out, argmax, x)
}
func (f *Profile) MaxPoolBack(s PoolShape, gradX, gradOut, argmax Tensor) {
	defer f.done("MaxPoolBack", time.Now())
	f.b.MaxPoolBack(s, gradX, gradOut, argmax)
}
func (f *Profile) Upsample(s UpsampleShape, out, x Tensor) {
	defer f.done("Upsample", time.Now())
	f.b.Upsample(s, out, x)
}
func (f *Profile) UpsampleBack(s UpsampleShape, gradX, gradOut Tensor) {
	defer f.done("UpsampleBack", time.Now())
	f.b.UpsampleBack(s, gradX, gradOut)
}
func (f *Profile) Plus(out, a, b Tensor) { defer f.done("Plus", time.Now()); f.b.Plus(out, a, b) }
func (f *Profile) CopyChannels(dst Tensor, to int, src Tensor, from, count int) {
	defer f.done("CopyChannels", time.Now())
	f.b.CopyChannels(dst, to, src, from, count)
}
func (f *Profile) Activate(a Act, out, x Tensor) {
	defer f.done("Activate", time.Now())
	f.b.Activate(a, out, x)
}
func (f *Profile) ActivateBack(a Act, gradX, gradOut, out Tensor) {
	defer f.done("ActivateBack", time.Now())
	f.b.ActivateBack(a, gradX, gradOut, out)
}
func (f *Profile) SigmoidBCE(scale float32, loss, grad, logits, target Tensor) {
	defer f.done("SigmoidBCE", time.Now())
	f.b.SigmoidBCE(scale, loss, grad, logits, target)
}
func (f *Profile) MSE(scale float32, loss, grad, pred, target Tensor) {
	defer f.done("MSE", time.Now())
	f.b.MSE(scale, loss, grad, pred, target)
}
func (f *Profile) SGD(o SGD, param, velocity, grad, stepParams Tensor) {
	defer f.done("SGD", time.Now())
	f.b.SGD(o, param, velocity, grad, stepParams)
}
func (f *Profile) Adam(o Adam, param, m, v, grad, stepParams Tensor) {
	defer f.done("Adam", time.Now())
	f.b.Adam(o, param, m, v, grad, stepParams)
}
func (f *Profile) Adadelta(o Adadelta, param, accGrad, accDelta, grad, stepParams Tensor) {
	defer f.done("Adadelta", time.Now())
	f.b.Adadelta(o, param, accGrad, accDelta, grad, stepParams)
}
func (f *Profile) Normal(src rng.Source, dst, stepParams Tensor, first int) {
	defer f.done("Normal", time.Now())
	f.b.Normal(src, dst, stepParams, first)
}
func (f *Profile) Dropout(rate float32, src rng.Source, out, x, stepParams Tensor, first int) {
	defer f.done("Dropout", time.Now())
	f.b.Dropout(rate, src, out, x, stepParams, first)
}
func (f *Profile) GatherPixels(std float32, src rng.Source, clean, noisy, pixels, order, stepParams Tensor, first int) {
	defer f.done("GatherPixels", time.Now())
	f.b.GatherPixels(std, src, clean, noisy, pixels, order, stepParams, first)
}
func (f *Profile) GatherValues(std float32, src rng.Source, clean, noisy, values, order, stepParams Tensor, first int) {
	defer f.done("GatherValues", time.Now())
	f.b.GatherValues(std, src, clean, noisy, values, order, stepParams, first)
}
func (f *Profile) ClipValue(limit float32, v Tensor) {
	defer f.done("ClipValue", time.Now())
	f.b.ClipValue(limit, v)
}
func (f *Profile) SumSquares(dst, src Tensor) {
	defer f.done("SumSquares", time.Now())
	f.b.SumSquares(dst, src)
}
func (f *Profile) ClipNorm(limit float32, v, squares Tensor) {
	defer f.done("ClipNorm", time.Now())
	f.b.ClipNorm(limit, v, squares)
}
func (f *Profile) Penalize(o Norms, loss, grad, x Tensor) {
	defer f.done("Penalize", time.Now())
	f.b.Penalize(o, loss, grad, x)
}
func (f *Profile) ColumnSum(dst, x Tensor) {
	defer f.done("ColumnSum", time.Now())
	f.b.ColumnSum(dst, x)
}
func (f *Profile) SparseKL(o Sparsity, share float32, loss, grad, sums Tensor) {
	defer f.done("SparseKL", time.Now())
	f.b.SparseKL(o, share, loss, grad, sums)
}
func (f *Profile) AddRow(x, row Tensor) { defer f.done("AddRow", time.Now()); f.b.AddRow(x, row) }
func (f *Profile) Sample(src rng.Source, code, stats, stepParams Tensor, first int) {
	defer f.done("Sample", time.Now())
	f.b.Sample(src, code, stats, stepParams, first)
}
func (f *Profile) SampleBack(scale float32, src rng.Source, loss, gradStats, gradCode, stats, stepParams Tensor, first int) {
	defer f.done("SampleBack", time.Now())
	f.b.SampleBack(scale, src, loss, gradStats, gradCode, stats, stepParams, first)
}
func (f *Profile) ContractDense(a Act, scale float32, loss, gradH, gradW, h, w Tensor) {
	defer f.done("ContractDense", time.Now())
	f.b.ContractDense(a, scale, loss, gradH, gradW, h, w)
}
func (f *Profile) Perturb(std float32, src rng.Source, out, x, stepParams Tensor, first int) {
	defer f.done("Perturb", time.Now())
	f.b.Perturb(std, src, out, x, stepParams, first)
}
func (f *Profile) Accumulate(dst Tensor, alpha float32, x Tensor) {
	defer f.done("Accumulate", time.Now())
	f.b.Accumulate(dst, alpha, x)
}
func (f *Profile) Concretize(src rng.Source, m, logits, stepParams Tensor) {
	defer f.done("Concretize", time.Now())
	f.b.Concretize(src, m, logits, stepParams)
}
func (f *Profile) Pick(out, x, m Tensor) { defer f.done("Pick", time.Now()); f.b.Pick(out, x, m) }
func (f *Profile) ConcreteBack(gradLogits, gradOut, x, m, stepParams Tensor) {
	defer f.done("ConcreteBack", time.Now())
	f.b.ConcreteBack(gradLogits, gradOut, x, m, stepParams)
}
