package cuda

import (
	"github.com/convae/convae/cuda/driver"
	"github.com/convae/convae/kernels"
	"github.com/convae/convae/nn/backend"
)

// normPlan is how a normalisation is cut. What it decides does not depend on the number of images.
type normPlan struct {
	slices, per int // of the pixels of each unit, and how many pixels a slice has at most
	rows        int // partial sums of the gradients of gamma and beta
}

const (
	sliceValues = 16 << 10 // of a group that a block normalises, or a few more
	slicePixels = 128      // of which a block adds up the gradients of gamma and beta, where each pixel has statistics of its own
	sliceRows   = 512      // partial sums of these, at most
)

func planNorm(s *backend.GroupNormShape) normPlan {
	if s.EachPixel {
		// Of many pixels the last slices may have none, so that fewer images do not make more of them.
		rows := min(ceilDiv(s.Units(), slicePixels), sliceRows)
		return normPlan{slices: 1, per: ceilDiv(s.Units(), rows), rows: rows}
	}
	pixels := s.Pixels()
	// As many threads as a block has merge what the slices give.
	per := ceilDiv(pixels, min(ceilDiv(pixels*s.Channels(), sliceValues), pixels, threads))
	slices := ceilDiv(pixels, per)
	return normPlan{slices: slices, per: per, rows: s.X.N * slices}
}

// What a launch does of normalisations that are cut: groupnorm.cu has the same numbers.
const (
	normSlices = 1
	normRest   = 2
)

// sliceBytes are what the slices leave for each other: three numbers for each group on the way ahead, two on the way back.
func (p *normPlan) sliceBytes(s *backend.GroupNormShape, numbers int) int {
	if s.EachPixel {
		return 0
	}
	return backend.AlignUp(4 * numbers * s.X.N * p.slices * s.Groups)
}

// GroupNormNeeds returns the memory of what slices leave, and a row of partial sums for each slice.
func (l *lane) GroupNormNeeds(s backend.GroupNormShape) backend.Needs {
	p := planNorm(&s)
	forward, partials := p.sliceBytes(&s, 3), 8*p.rows*s.X.C
	return backend.Needs{Workspace: forward + partials, Forward: forward, Partials: p.rows, PartialBytes: partials}
}

// GroupNorm: out = act(gamma (x - mean) / sqrt(variance + epsilon) + beta).
func (l *lane) GroupNorm(s backend.GroupNormShape, out, stats, x backend.Tensor, p backend.Params) {
	s.CheckForward(&out, &stats, &x, &p)
	o, in, plan := l.values(out), l.values(x), planNorm(&s)
	scales := [...]uint64{ptr(l.at(p.W)), ptr(l.at(p.Bias)), ptr(l.at(stats))}
	if s.EachPixel {
		e, _ := wide(s.X.C, kernels.GroupNormPixels, kernels.GroupNormPixels4)
		l.launch1("GroupNorm", e, 32*s.Units(), ptr(o.p), ptr(in.p), scales[0], scales[1], scales[2], i32(s.Units()), i32(s.X.C), f32(s.Epsilon),
			act(s.Act.Act), f32(s.Act.Alpha), narrow(o, in))
		return
	}
	e, _ := wide(s.Channels(), kernels.GroupNormForward, kernels.GroupNormForward4)
	of := l.workspace(plan.sliceBytes(&s, 3))
	l.normalize("GroupNorm", e, &s, &plan, true, ptr(o.p), ptr(in.p), scales[0], scales[1], scales[2], ptr(of), i32(s.Pixels()), i32(s.X.C),
		i32(s.Groups), i32(plan.per), i32(plan.slices), f32(s.Epsilon), act(s.Act.Act), f32(s.Act.Alpha), narrow(o, in))
}

// normalize launches a kernel of slices, whose last argument, which is not given, says what it does: what the slices give first, and then the
// rest if that is wanted; both at once where there is one slice.
func (l *lane) normalize(op string, e kernels.Entry, s *backend.GroupNormShape, p *normPlan, rest bool, args ...uint64) {
	grid, block := driver.Dim3{X: s.X.N * p.slices * s.Groups}, driver.Dim3{X: threads}
	var list arguments
	list.add(args...)
	n := list.n
	launch := func(what uint64) {
		list.n = n
		list.add(what)
		l.launch(op, e, grid, block, 0, list.all()...)
	}
	switch {
	case rest && p.slices == 1:
		launch(normSlices | normRest)
	case rest:
		launch(normSlices)
		launch(normRest)
	default:
		launch(normSlices)
	}
}

// GroupNormBack makes the gradients, from what is behind the activation.
func (l *lane) GroupNormBack(s backend.GroupNormShape, gradX backend.Tensor, grad backend.Params, gradOut, stats, x backend.Tensor, p backend.Params) {
	const op = "GroupNormBack"
	plan := planNorm(&s)
	s.CheckBack(&gradX, &grad, plan.rows, &gradOut, &stats, &x, &p)
	gx, g, in := l.values(gradX), l.values(gradOut), l.values(x)
	to := sums{partials: l.at(grad.Partials), w: l.at(grad.W), bias: l.at(grad.Bias), nw: grad.W.Shape.Len(), nb: grad.Bias.Shape.Len(), rows: plan.rows}
	of := plan.sliceBytes(&s, 2)
	given, trained := to.partials != 0, to.nw+to.nb > 0
	if trained && !given {
		to.partials = l.workspace(of+4*to.rows*(to.nw+to.nb)) + driver.Ptr(of)
	}
	var gamma, beta driver.Ptr // where the first row's gradients go
	if to.nw > 0 {
		gamma = to.partials
	}
	if to.nb > 0 {
		beta = to.partials + driver.Ptr(4*to.nw)
	}
	w, b, st, stride := ptr(l.at(p.W)), ptr(l.at(p.Bias)), ptr(l.at(stats)), i32(to.nw+to.nb)
	if s.EachPixel {
		n, c := i32(s.Units()), i32(s.X.C)
		if gx.p != 0 {
			e, _ := wide(s.X.C, kernels.GroupNormPixelsBack, kernels.GroupNormPixelsBack4)
			l.launch1(op, e, 32*s.Units(), ptr(gx.p), ptr(g.p), ptr(in.p), w, b, st, n, c, act(s.Act.Act), f32(s.Act.Alpha), narrow(gx, g, in))
		}
		if trained {
			e, _ := wide(s.X.C, kernels.GroupNormScalesBack, kernels.GroupNormScalesBack4)
			l.launch(op, e, driver.Dim3{X: plan.rows}, driver.Dim3{X: threads}, 0, ptr(g.p), ptr(in.p), w, b, st, ptr(gamma), ptr(beta), stride,
				n, c, i32(plan.per), act(s.Act.Act), f32(s.Act.Alpha), narrow(g, in))
		}
	} else {
		e, _ := wide(s.Channels(), kernels.GroupNormBack, kernels.GroupNormBack4)
		l.normalize(op, e, &s, &plan, gx.p != 0, ptr(gx.p), ptr(g.p), ptr(in.p), w, b, st, ptr(l.workspace(of)), ptr(gamma), ptr(beta), stride,
			i32(s.Pixels()), i32(s.X.C), i32(s.Groups), i32(plan.per), i32(plan.slices), act(s.Act.Act), f32(s.Act.Alpha), narrow(gx, g, in))
	}
	if trained && !given {
		l.sum(op, []sums{to})
	}
}
