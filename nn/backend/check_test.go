package backend

import (
	"testing"

	"github.com/convae/convae/nn/corrupt"
)

type memory struct{}

func (memory) Size() int { return 1 << 20 }

func placed(r Role, s Shape) *Tensor {
	t := NewTensor(r, s)
	t.Buffer = memory{}
	return &t
}

// checkCase is a call that is right, and its tensors. The shape of a free one follows from no other.
type checkCase struct {
	call        func()
	bound, free []*Tensor
}

// checkCases has a right call of every check of an op.
func checkCases(t *testing.T) map[string]checkCase {
	t.Helper()
	img, vec := Shape{2, 4, 4, 3}, Vec(9)
	act := func(s Shape) *Tensor { return placed(Activation, s) }
	flat := func(n int) *Tensor { return placed(Flat, Vec(n)) }
	step := placed(PerStep, Vec(1))
	conv, err := NewConv(ConvSpec{X: img, Filters: 5, KernelH: 3, KernelW: 3, Pool: 2, InAct: ReLU})
	transpose, err2 := NewConvTranspose(ConvTransposeSpec{X: img, Filters: 5, KernelH: 3, KernelW: 3, Stride: 2, InAct: ReLU})
	dense, err3 := NewDense(DenseSpec{N: 2, In: 6, Out: 4, InAct: Tanh})
	pool, err4 := NewPool(PoolSpec{X: img, Size: 2})
	up, err5 := NewUpsample(img, 2)
	grouped, err7 := NewGrouped(GroupedSpec{X: img, Filters: 2 * img.C, Groups: img.C, KernelH: 3, KernelW: 3})
	depth, err6 := NewDepth(Shape{2, 4, 4, 12}, 2, BlockFirst)
	for _, err := range []error{err, err2, err3, err4, err5, err6, err7} {
		if err != nil {
			t.Fatal(err)
		}
	}
	layer := func(w Shape, out int) Params {
		return Params{W: *placed(Param, w), Bias: *placed(Param, Vec(out))}
	}
	cp, tp, dp := layer(conv.Weights(), 5), layer(transpose.Weights(), 5), layer(dense.Weights(), 4)
	for _, p := range []*Params{&cp, &tp, &dp} {
		p.Partials = *placed(Flat, p.PartialsShape(3))
	}
	several := []Params{cp, dp}
	parts := placed(Flat, Shape{3, 1, 1, 1})
	cx, co, ca := act(conv.X), act(conv.Out), placed(Argmax, conv.Out)
	tx, to := act(transpose.X), act(transpose.Out)
	dx, do := act(dense.XShape()), act(dense.OutShape())
	px, po, pa := act(pool.X), act(pool.Out), placed(Argmax, pool.Out)
	ux, uo := act(up.X), act(up.Out)
	wx, wo, wp := act(grouped.X), act(grouped.Out), layer(grouped.Weights(), grouped.Out.C)
	sx, so := act(depth.X), act(depth.Out)
	x, y, z, one := act(img), act(img), act(img), act(Shape{2, 1, 1, 3})
	p, q, loss := flat(9), flat(9), flat(1)
	u := Update{Param: *flat(9), State: [MaxStates]Tensor{*flat(9), *flat(9)}, Grad: *flat(9), StepParams: *step, Tally: Tally{Total: *flat(1), Loss: *flat(1)}}
	sums := []Tensor{*flat(9), *flat(9)}
	pixels, staged, order := placed(Pixels, img.WithN(7)), placed(Staged, img), placed(Index, vec)
	values := flat(7 * img.Image())
	row, wide := flat(img.Image()), act(Shape{2, 1, 1, img.Image()})
	stats := act(Shape{2, 4, 4, 6})
	stats2 := act(Shape{2, 4, 4, 6})
	logits, chosen, picked := placed(Param, Shape{3, 1, 1, 48}), act(Shape{3, 1, 1, 48}), act(Shape{2, 1, 1, 3})
	number, book, averages := act(Shape{2, 4, 4, 1}), placed(Param, Shape{5, 1, 1, 3}), placed(Param, Shape{5, 1, 1, 3})
	counts, sums3, rows := placed(Param, Vec(5)), flat(35), placed(Flat, Shape{2, 1, 1, 35})
	ssim, err8 := NewSSIM(SSIMSpec{X: img, Window: 3, Sigma: 1, K1: 1, K2: 1})
	if err8 != nil {
		t.Fatal(err8)
	}
	three := placed(Param, Vec(3))
	spectrum, spectrum2, sumOf3 := act(Spectrum(img)), act(Spectrum(img)), *placed(Flat, Shape{3, 1, 1, 1})
	weights, index, slopes := ScaleWeights{Scales: 3}, act(ssim.Out), act(ssim.Slopes())
	h, gh, w, gw := act(Shape{2, 1, 1, 4}), act(Shape{2, 1, 1, 4}), placed(Param, Shape{4, 1, 1, 6}), placed(Param, Shape{4, 1, 1, 6})
	t2 := func(free []*Tensor, call func(), bound ...*Tensor) checkCase { return checkCase{call, bound, free} }
	of := func(t ...*Tensor) []*Tensor { return t }
	conv16, transpose16, dense16 := conv, transpose, dense
	conv16.Multiply, transpose16.Multiply, dense16.Multiply = BFloat16, BFloat16, BFloat16
	return map[string]checkCase{
		"ConvBF16":                     t2(nil, func() { conv16.CheckForward(co, ca, cx, &cp) }, co, ca, cx, &cp.W, &cp.Bias),
		"ConvBackInputBF16":            t2(nil, func() { conv16.CheckBackInput(x, co, ca, &cp, cx) }, x, co, ca, &cp.W, cx),
		"ConvBackWeightsBF16":          t2(nil, func() { conv16.CheckBackWeights(&cp, 3, co, ca, cx) }, &cp.W, &cp.Bias, &cp.Partials, co, ca, cx),
		"ConvTransposeBF16":            t2(nil, func() { transpose16.CheckForward(to, tx, &tp) }, to, tx, &tp.W, &tp.Bias),
		"ConvTransposeBackInputBF16":   t2(nil, func() { transpose16.CheckBackInput(x, to, &tp, tx) }, x, to, &tp.W, tx),
		"ConvTransposeBackWeightsBF16": t2(nil, func() { transpose16.CheckBackWeights(&tp, 3, to, tx) }, &tp.W, &tp.Bias, &tp.Partials, to, tx),
		"DenseBF16":                    t2(nil, func() { dense16.CheckForward(do, dx, &dp) }, do, dx, &dp.W, &dp.Bias),
		"DenseBackInputBF16":           t2(nil, func() { dense16.CheckBackInput(dx, do, &dp, dx) }, dx, do, &dp.W),
		"DenseBackWeightsBF16":         t2(nil, func() { dense16.CheckBackWeights(&dp, 3, do, dx) }, &dp.W, &dp.Bias, &dp.Partials, do, dx),
		"Zero":                         t2(of(x), func() { CheckZero(x) }), "Copy": t2(nil, func() { CheckCopy(x, y) }, x, y),
		"Axpy": t2(nil, func() { CheckAxpy(p, q) }, p, q), "Sum": t2(nil, func() { CheckSum(p, sums) }, p, &sums[0], &sums[1]),
		"Reshape":                  t2(nil, func() { CheckReshape(wide, x) }, wide, x),
		"Conv":                     t2(nil, func() { conv.CheckForward(co, ca, cx, &cp) }, co, ca, cx, &cp.W, &cp.Bias),
		"ConvBackInput":            t2(nil, func() { conv.CheckBackInput(x, co, ca, &cp, cx) }, x, co, ca, &cp.W, cx),
		"ConvBackWeights":          t2(nil, func() { conv.CheckBackWeights(&cp, 3, co, ca, cx) }, &cp.W, &cp.Bias, &cp.Partials, co, ca, cx),
		"ConvTranspose":            t2(nil, func() { transpose.CheckForward(to, tx, &tp) }, to, tx, &tp.W, &tp.Bias),
		"ConvTransposeBackInput":   t2(nil, func() { transpose.CheckBackInput(x, to, &tp, tx) }, x, to, &tp.W, tx),
		"ConvTransposeBackWeights": t2(nil, func() { transpose.CheckBackWeights(&tp, 3, to, tx) }, &tp.W, &tp.Bias, &tp.Partials, to, tx),
		"Dense":                    t2(nil, func() { dense.CheckForward(do, dx, &dp) }, do, dx, &dp.W, &dp.Bias),
		"DenseBackInput":           t2(nil, func() { dense.CheckBackInput(dx, do, &dp, dx) }, dx, do, &dp.W),
		"DenseBackWeights":         t2(nil, func() { dense.CheckBackWeights(&dp, 3, do, dx) }, &dp.W, &dp.Bias, &dp.Partials, do, dx),
		"SumPartials":              t2(nil, func() { CheckSumPartials(several) }, &several[1].W, &several[1].Bias, &several[1].Partials),
		"MaxPool":                  t2(nil, func() { pool.CheckForward(po, pa, px) }, po, pa, px),
		"MaxPoolBack":              t2(nil, func() { pool.CheckBack(px, po, pa) }, px, po, pa),
		"Upsample":                 t2(nil, func() { up.Check(uo, ux) }, uo, ux),
		"AveragePool":              t2(nil, func() { pool.CheckAverage(po, px) }, po, px),
		"Grouped":                  t2(nil, func() { grouped.CheckForward(wo, wx, &wp) }, wo, wx, &wp.W, &wp.Bias),
		"GroupedBackInput":         t2(nil, func() { grouped.CheckBackInput(wx, wo, &wp.W) }, wx, wo, &wp.W),
		"GroupedBackWeights":       t2(nil, func() { grouped.CheckBackWeights(&wp, wo, wx) }, &wp.W, &wp.Bias, wo, wx),
		"DepthToSpace":             t2(nil, func() { depth.Check(so, sx) }, so, sx),
		"Plus":                     t2(nil, func() { CheckPlus(x, y, z) }, x, y, z),
		"UnitNorm":                 t2(nil, func() { CheckUnitNorm(x, y, three) }, x, y, three),
		"UnitNormBack":             t2(nil, func() { CheckUnitNormBack(x, y, z, three) }, x, y, z, three),
		"Fourier":                  t2(nil, func() { CheckFourier(spectrum, x) }, spectrum, x),
		"SpectrumMost":             t2(nil, func() { CheckSpectrumMost(one, spectrum) }, one, spectrum),
		"Focal":                    t2(nil, func() { CheckFocal(loss, &sumOf3, 3, spectrum2, spectrum, one) }, loss, &sumOf3, spectrum2, spectrum, one),
		"Times":                    t2(nil, func() { CheckTimes(x, y, z) }, x, y, z),
		"TimesByPixel":             t2(nil, func() { CheckTimes(x, y, one) }, x, y, one),
		"SumPixels":                t2(nil, func() { CheckSumPixels(one, x, y) }, one, x, y),
		"SpreadPixels":             t2(nil, func() { CheckSpreadPixels(x, one) }, x, one),
		"CopyChannels":             t2(nil, func() { CheckCopyChannels(stats, 3, x, 0, 3) }, stats, x),
		"Activate":                 t2(nil, func() { CheckActivate(Function{Act: Tanh}, x, y) }, x, y),
		"Rescale":                  t2(nil, func() { CheckRescale(x, y) }, x, y),
		"ActivateBack":             t2(nil, func() { CheckActivateBack(Function{Act: Tanh}, x, y, z) }, x, y, z),
		"loss":                     t2(nil, func() { CheckLoss(loss, parts, 3, x, y, z) }, loss, parts, x, y, z),
		"update":                   t2(of(&u.StepParams), func() { u.Check(2) }, &u.Param, &u.State[0], &u.State[1], &u.Grad, &u.Tally.Total, &u.Tally.Loss),
		"Normal":                   t2(of(x, step), func() { CheckNormal(x, step) }),
		"Dropout":                  t2(of(step), func() { CheckDropout(0.5, x, y, step) }, x, y),
		"GatherPixels":             t2(of(order, step), func() { CheckGatherPixels(x, y, pixels, order, step, 0) }, x, y, pixels),
		"staged":                   t2(of(order, step), func() { CheckGatherPixels(x, y, staged, order, step, 0) }, x, y, staged),
		"Corrupt":                  t2(of(order, step), func() { CheckCorrupt(corrupt.Corruption{Kind: corrupt.Blur, Amount: 1}, x, y, order, step, 0) }, x, y),
		"GatherValues":             t2(of(order, step), func() { CheckGatherValues(x, y, values, order, step, 0) }, x, y, values),
		"ClipValue":                t2(of(p), func() { CheckClipValue(p) }), "SumSquares": t2(of(p), func() { CheckSumSquares(loss, p) }, loss),
		"ClipNorm": t2(of(p, q), func() { CheckClipNorm(p, q) }), "Penalize": t2(nil, func() { Norms{}.Check(loss, x, y) }, loss, x, y),
		"ColumnSum": t2(nil, func() { CheckColumnSum(row, x) }, row, x), "AddRow": t2(nil, func() { CheckAddRow(x, row) }, row, x),
		"SparseKL":      t2(nil, func() { Sparsity{}.Check(loss, p, q) }, loss, p, q),
		"Sample":        t2(of(step), func() { CheckSample(x, stats, step) }, x, stats),
		"SampleBack":    t2(of(step), func() { CheckSampleBack(loss, stats, x, stats2, step) }, loss, stats, x, stats2),
		"ClampVariance": t2(nil, func() { CheckClampVariance(stats, stats2) }, stats2),
		"ContractDense": t2(nil, func() { CheckContractDense(Tanh, loss, gh, gw, h, w) }, loss, gh, gw, h, w),
		"Perturb":       t2(of(step), func() { CheckPerturb(x, y, step) }, x, y), "Accumulate": t2(nil, func() { CheckAccumulate(x, y) }, x, y),
		"Concretize":   t2(of(step), func() { CheckConcretize(chosen, logits, step) }, chosen, logits),
		"Pick":         t2(nil, func() { CheckPick(picked, x, chosen) }, picked, x, chosen),
		"Quantize":     t2(nil, func() { CheckQuantize(x, number, y, book) }, x, number, y, book),
		"QuantizeSums": t2(of(step, sums3), func() { CheckQuantizeSums(sums3, number, x, step, 1, 4) }, number, x),
		"QuantizeMove": t2(nil, func() { CheckQuantizeMove(book, counts, averages, rows) }, counts, averages, rows),
		"SSIM":         t2(nil, func() { ssim.CheckForward(index, slopes, x, y) }, index, slopes, x, y),
		"SSIMBack":     t2(nil, func() { ssim.CheckBack(z, slopes, one, x, y) }, z, slopes, one, x, y),
		"SSIMLoss":     t2(nil, func() { weights.Check(loss, one, picked) }, loss, one, picked),
		"ConcreteBack": t2(of(step), func() { CheckConcreteBack(logits, picked, x, chosen, step) }, logits, picked, x, chosen),
	}
}

// Every tensor of every op is checked: for its role, the type of its elements and, unless nothing says what it is, its
// shape.
func TestChecks(t *testing.T) {
	for name, c := range checkCases(t) {
		if got := panicOf(c.call); got != nil {
			t.Errorf("%s panics with %v though all is right", name, got)
			continue
		}
		if n := testing.AllocsPerRun(5, c.call); n != 0 {
			t.Errorf("the check of %s allocates %v times", name, n)
		}
		for i, x := range append(append([]*Tensor{}, c.bound...), c.free...) {
			right := *x
			spoiled := func(want string, spoil func()) {
				spoil()
				if got := panicOf(c.call); got != want && (got != nil || want != "") {
					t.Errorf("%s, tensor %d of role %v: panic %v, want %q", name, i, right.Role, got, want)
				}
				*x = right
			}
			spoiled(MistakeRole, func() { x.Role = Packed })
			if i < len(c.bound) {
				spoiled(MistakeShape, func() { x.Shape.H++; x.Shape.C++ })
			}
			for d := range Int32 + 1 {
				switch {
				case d == right.Type:
				case d == BFloat16 && right.Role == Activation && narrow[name]:
					spoiled("", func() { x.Type = d })
				default:
					spoiled(MistakeType, func() { x.Type = d })
				}
			}
		}
	}
}

// narrow lists the ops that take narrow activations.
var narrow = map[string]bool{"Copy": true, "Reshape": true, "MaxPool": true, "MaxPoolBack": true, "Upsample": true, "Plus": true,
	"AveragePool": true, "Grouped": true, "GroupedBackInput": true, "GroupedBackWeights": true, "DepthToSpace": true, "Times": true, "TimesByPixel": true, "SumPixels": true, "SpreadPixels": true, "UnitNorm": true, "UnitNormBack": true,
	"CopyChannels": true, "Activate": true, "ActivateBack": true, "Rescale": true, "Dropout": true, "Accumulate": true,
	"ConvBF16": true, "ConvBackInputBF16": true, "ConvBackWeightsBF16": true, "ConvTransposeBF16": true, "ConvTransposeBackInputBF16": true,
	"ConvTransposeBackWeightsBF16": true, "DenseBF16": true, "DenseBackInputBF16": true, "DenseBackWeightsBF16": true}

func panicOf(call func()) (p any) {
	defer func() { p = recover() }()
	call()
	return nil
}

func TestDTypes(t *testing.T) {
	for d, want := range map[DType]struct {
		name string
		size int
	}{Float32: {"float32", 4}, BFloat16: {"bfloat16", 2}, Uint8: {"uint8", 1}, Int32: {"int32", 4}} {
		if d.String() != want.name || d.Size() != want.size {
			t.Errorf("%v has %d bytes, want %v", d, d.Size(), want)
		}
	}
	if v := placed(Flat, Vec(9)).Range(2, 5); v.Offset != 8 {
		t.Errorf("element 2 of a float32 vector is at byte %d", v.Offset)
	}
	half := *placed(Flat, Vec(9))
	half.Type = BFloat16
	if v := half.Range(3, 5); v.Offset != 6 || panicOf(func() { v.CheckBounds(10, 4) }) != nil || panicOf(func() { v.CheckBounds(9, 4) }) != MistakeBounds {
		t.Errorf("element 3 of a bfloat16 vector is at byte %d", v.Offset)
	}
}
