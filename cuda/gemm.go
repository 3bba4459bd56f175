package cuda

import (
	"github.com/convae/convae/cuda/driver"
	"github.com/convae/convae/kernels"
	"github.com/convae/convae/nn/backend"
)

// gemm is a product of gemm.cuh: m by n sums of k products each.
type gemm struct {
	op        string
	a, b      values
	out, mask values // out is not set for partial sums
	m, n, k   int

	multiply backend.DType // both factors are rounded to it
}

// gemmForm is a form of the kernels: the tile that a block computes, its threads, and in how many groups these share out the sum. It has one
// entry for each of the three products, and others for tensor cores.
type gemmForm struct {
	nt, nn, tn                    gemmEntry
	tileM, tileN, threads, groups int
}

// gemmEntry is a kernel, and those of the same form on tensor cores, of factors rounded to TF32 and of float32 in two parts. All may be one.
type gemmEntry struct{ scalar, rounded, split kernels.Entry }

// The forms with a 4 are for factors whose rows in memory have a multiple of 4 elements.
var (
	gemmAny = gemmForm{
		nt:    gemmEntry{kernels.GemmNT, kernels.GemmNT, kernels.GemmNT},
		nn:    gemmEntry{kernels.GemmNN, kernels.GemmNN, kernels.GemmNN},
		tn:    gemmEntry{kernels.GemmTN, kernels.GemmTN, kernels.GemmTN},
		tileM: 32, tileN: 32, threads: 256, groups: 8,
	}
	gemm4 = gemmForm{
		nt:    gemmEntry{kernels.GemmNT4, kernels.GemmNTTensor4, kernels.GemmNTTensorSplit4},
		nn:    gemmEntry{kernels.GemmNN4, kernels.GemmNNTensor4, kernels.GemmNNTensorSplit4},
		tn:    gemmEntry{kernels.GemmTN4, kernels.GemmTNTensor4, kernels.GemmTNTensorSplit4},
		tileM: 32, tileN: 32, threads: 256, groups: 8,
	}
	gemmSquare4 = gemmForm{
		nt:    gemmEntry{kernels.GemmNTSquare4, kernels.GemmNTTensorSquare4, kernels.GemmNTTensorSplitSquare4},
		nn:    gemmEntry{kernels.GemmNNSquare4, kernels.GemmNNTensorSquare4, kernels.GemmNNTensorSplitSquare4},
		tn:    gemmEntry{kernels.GemmTNSquare4, kernels.GemmTNTensorSquare4, kernels.GemmTNTensorSplitSquare4},
		tileM: 64, tileN: 64, threads: 256, groups: 2,
	}
	gemmWide4 = gemmForm{
		nt:    gemmEntry{kernels.GemmNTWide4, kernels.GemmNTTensorWide4, kernels.GemmNTTensorSplitWide4},
		nn:    gemmEntry{kernels.GemmNNWide4, kernels.GemmNNTensorWide4, kernels.GemmNNTensorSplitWide4},
		tn:    gemmEntry{kernels.GemmTNWide4, kernels.GemmTNTensorWide4, kernels.GemmTNTensorSplitWide4},
		tileM: 128, tileN: 64, threads: 256, groups: 2,
	}
)

const (
	gemmStep   = 8        // KC of gemm.cuh
	gemmStages = 3        // STAGES of gemm.cuh
	gemmApart  = 8        // elements between what is to be in other banks
	gemmBytes  = 64 << 10 // of shared memory that a block takes at most: what a device of compute capability 7.5 has
	gemmPart   = 1024     // each part of a sum is of at least so many products
)

// formFor chooses the form for a product whose factors have rows of so many elements. It does not depend on the card.
func (g *gemm) formFor(rows ...int) *gemmForm {
	for _, n := range rows {
		if n%4 != 0 {
			return &gemmAny
		}
	}
	for _, f := range []*gemmForm{&gemmWide4, &gemmSquare4} {
		if 4*f.tiles(g.m, g.n) >= 3*nominalSMs {
			return f
		}
	}
	return &gemm4
}

// shared is the shared memory of a block in bytes: panels of both factors for each stage, and in their place the sums of each group.
func (f *gemmForm) shared() int {
	panels := gemmStages * f.groups * (f.tileM + f.tileN + 2*gemmApart) * gemmStep
	sums := f.groups * f.tileM * (f.tileN + gemmApart)
	if 4*sums > gemmBytes {
		sums = f.groups * f.tileM * f.tileN
	}
	return 4 * max(panels, sums)
}

func (f *gemmForm) tiles(m, n int) int { return ceilDiv(m, f.tileM) * ceilDiv(n, f.tileN) }

// parts is the number of partial sums of a product, 1 unless it is of few tiles and long sums.
func (g *gemm) parts(f *gemmForm) int {
	return max(min(nominalSMs/f.tiles(g.m, g.n), g.k/gemmPart), 1)
}

// gemmNT: out = act(a bᵀ + bias).
func (l *lane) gemmNT(g gemm, bias driver.Ptr, activation uint64) {
	f := g.formFor(g.k)
	l.gemm(&g, f, f.nt, f.tiles(g.m, g.n), ptr(bias), ptr(g.out.p), i32(g.m), i32(g.n), i32(g.k), activation)
}

// gemmNN: out = a b, times the derivative of an activation at mask.
func (l *lane) gemmNN(g gemm, derivative uint64) {
	f := g.formFor(g.k, g.n)
	l.gemm(&g, f, f.nn, f.tiles(g.m, g.n), ptr(g.mask.p), ptr(g.out.p), i32(g.m), i32(g.n), i32(g.k), derivative)
}

// gemmTN: aᵀ b, and the sums of the columns of a, to d.
func (l *lane) gemmTN(g gemm, d *part) {
	f := g.formFor(g.m, g.n)
	parts := g.parts(f)
	l.gemm(&g, f, f.tn, (f.tiles(g.m, g.n)+ceilDiv(d.nb, biasColumns))*parts, ptr(d.w), i32(g.m), i32(g.n), i32(g.k),
		i32(parts), uint64(d.size), d.add, ptr(g.a.p), ptr(d.bias), i32(g.k), i32(d.nb), narrow(g.a))
}

// gemm launches a kernel: on tensor cores if the device has them.
func (l *lane) gemm(g *gemm, f *gemmForm, e gemmEntry, blocks int, args ...uint64) {
	entry := e.scalar
	if l.dev.tensorCores() {
		entry = e.split
		if g.multiply != backend.Float32 {
			entry = e.rounded
		}
	}
	var a arguments
	a.add(ptr(g.a.p), ptr(g.b.p))
	a.add(args...)
	a.add(rounding(g.multiply), narrow(g.a, g.b, g.out, g.mask))
	l.launch(g.op, entry, driver.Dim3{X: blocks}, driver.Dim3{X: f.threads}, f.shared(), a.all()...)
}
