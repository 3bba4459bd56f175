package cuda

import (
	"cmp"
	"slices"

	"github.com/convae/convae/cuda/driver"
	"github.com/convae/convae/kernels"
	"github.com/convae/convae/nn/backend"
)

// sums are the Sums of partial.cu: partial sums of a layer's gradients, rows of nw elements of the weights and nb of the bias.
type sums struct {
	partials, w, bias driver.Ptr
	nw, nb, rows      int
}

// part is where partial sums go: the first one, and how far the next is; or, if add is 1, the gradients themselves.
type part struct {
	w, bias  driver.Ptr
	nb, size int
	add      uint64
}

// part is where the sums from that row on go.
func (s *sums) part(row int) part {
	d := part{w: s.w, bias: s.bias, nb: s.nb, size: s.nw + s.nb, add: 1}
	if s.rows > 0 {
		d.w, d.add = s.partials+driver.Ptr(4*row*d.size), 0
		d.bias = d.w + driver.Ptr(4*s.nw)
	}
	return d
}

const (
	sumsAtOnce = 8 // that a launch adds up
	fewRows    = 8 // so many rows, or fewer, are added up by one thread
	manyRows   = 256
)

// columns is the number of columns that a block adds up, by one thread each, of few rows, or by 8 or 32 threads; and four times as many
// where they are aligned, unless there are so many rows that columns make few blocks.
func (s *sums) columns() int {
	columns, four := threads, s.nw%4 == 0 && s.nb%4 == 0 && (s.partials|s.w|s.bias)%16 == 0
	switch {
	case s.rows > manyRows:
		return threads / 32
	case s.rows > fewRows:
		columns = threads / 8
	}
	if four {
		columns *= 4
	}
	return columns
}

func (s *sums) blocks() int { return ceilDiv(s.nw+s.nb, s.columns()) }

// SumPartials adds up partial sums.
func (l *lane) SumPartials(all []backend.Params) {
	backend.CheckSumPartials(all)
	for len(all) > 0 {
		var list [sumsAtOnce]sums
		n := min(len(all), sumsAtOnce)
		for i := range all[:n] {
			g := &all[i]
			list[i] = sums{l.at(g.Partials), l.at(g.W), l.at(g.Bias), g.W.Shape.Len(), g.Bias.Shape.Len(), g.Partials.Shape.N}
		}
		l.sum("SumPartials", list[:n])
		all = all[n:]
	}
}

// sum launches the kernel. Columns of most rows come first, because they take longest.
func (l *lane) sum(op string, list []sums) {
	const params = 8 // of the kernel for each of the sums
	slices.SortStableFunc(list, func(a, b sums) int { return cmp.Compare(b.rows, a.rows) })
	var args [params * sumsAtOnce]uint64
	blocks := 0
	for i := range sumsAtOnce {
		a := args[params*i:][:params]
		if i >= len(list) {
			a[params-1] = i32(blocks) // none: it begins behind the last block
			continue
		}
		s := &list[i]
		copy(a, []uint64{ptr(s.partials), ptr(s.w), ptr(s.bias), i32(s.nw), i32(s.nw + s.nb), i32(s.rows), i32(s.columns()), i32(blocks)})
		blocks += s.blocks()
	}
	l.launch(op, kernels.PartialSum, driver.Dim3{X: blocks}, driver.Dim3{X: threads}, 0, args[:]...)
}
