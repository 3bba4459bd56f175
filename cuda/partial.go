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
	odd               bool // what is done with the sums is not aligned
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
	columns, four := threads, !s.odd && s.nw%4 == 0 && s.nb%4 == 0 && (s.partials|s.w|s.bias)%16 == 0
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
		n := min(len(all), sumsAtOnce)
		list := l.sums(all[:n])
		l.sum("SumPartials", list[:n])
		all = all[n:]
	}
}

// sums are up to sumsAtOnce partial sums.
func (l *lane) sums(all []backend.Params) (list [sumsAtOnce]sums) {
	for i := range all {
		g := &all[i]
		list[i] = sums{partials: l.at(g.Partials), w: l.at(g.W), bias: l.at(g.Bias), nw: g.W.Shape.Len(), nb: g.Bias.Shape.Len(), rows: g.Partials.Shape.N}
	}
	return list
}

// sum launches the kernel.
func (l *lane) sum(op string, list []sums) {
	var args arguments
	blocks := args.addSums(list)
	l.launch(op, kernels.PartialSum, driver.Dim3{X: blocks}, driver.Dim3{X: threads}, 0, args.all()...)
}

// addSums adds those of a kernel that adds up partial sums, and returns its number of blocks. Columns of most rows come first, because they take
// longest.
func (a *arguments) addSums(list []sums) (blocks int) {
	slices.SortStableFunc(list, func(a, b sums) int { return cmp.Compare(b.rows, a.rows) })
	for i := range sumsAtOnce {
		if i >= len(list) {
			a.add(0, 0, 0, 0, 0, 0, 0, i32(blocks)) // none: it begins behind the last block
			continue
		}
		s := &list[i]
		a.add(ptr(s.partials), ptr(s.w), ptr(s.bias), i32(s.nw), i32(s.nw+s.nb), i32(s.rows), i32(s.columns()), i32(blocks))
		blocks += s.blocks()
	}
	return blocks
}
