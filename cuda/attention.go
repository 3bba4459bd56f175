package cuda

import (
	"math"

	"github.com/convae/convae/cuda/driver"
	"github.com/convae/convae/kernels"
	"github.com/convae/convae/nn/backend"
)

const (
	attentionSide  = 16  // SIDE of attention.cu: rows of a block
	attentionSmall = 128 // channels of a head that the forms for few have
)

// attentionArgs are the last arguments of a kernel but for what is narrow, and its grid.
func attentionArgs(s *backend.AttentionShape) (positions, heads, size, scale uint64, grid driver.Dim3) {
	grid = driver.Dim3{X: ceilDiv(s.Positions(), attentionSide) * s.X.N * s.Heads}
	return i32(s.Positions()), i32(s.Heads), i32(s.Head()), f32(float32(1 / math.Sqrt(float64(s.Head())))), grid
}

// ofHead chooses between the kernels for heads of up to 128 channels and of more.
func ofHead(s *backend.AttentionShape, small, large kernels.Entry) kernels.Entry {
	if s.Head() <= attentionSmall {
		return small
	}
	return large
}

// AttentionNeeds returns the memory of a number for each position of each head, on the way back.
func (l *lane) AttentionNeeds(s backend.AttentionShape) backend.Needs {
	return backend.Needs{Workspace: 4 * s.Stats().Len()}
}

// Attention: out = softmax(q kᵀ / sqrt(channels of a head)) v.
func (l *lane) Attention(s backend.AttentionShape, out, stats, q, k, v backend.Tensor) {
	s.CheckForward(&out, &stats, &q, &k, &v)
	o, a, b, c := l.values(out), l.values(q), l.values(k), l.values(v)
	positions, heads, size, scale, grid := attentionArgs(&s)
	l.launch("Attention", ofHead(&s, kernels.AttentionForward128, kernels.AttentionForward512), grid, driver.Dim3{X: threads}, 0, ptr(o.p),
		ptr(l.at(stats)), ptr(a.p), ptr(b.p), ptr(c.p), positions, heads, size, scale, narrow(o, a, b, c))
}

// AttentionBack makes the gradients of queries, and then those of keys and values.
func (l *lane) AttentionBack(s backend.AttentionShape, gradQ, gradK, gradV, gradOut, out, stats, q, k, v backend.Tensor) {
	const op = "AttentionBack"
	s.CheckBack(&gradQ, &gradK, &gradV, &gradOut, &out, &stats, &q, &k, &v)
	gq, gk, gv, g, o := l.values(gradQ), l.values(gradK), l.values(gradV), l.values(gradOut), l.values(out)
	a, b, c, st := l.values(q), l.values(k), l.values(v), ptr(l.at(stats))
	positions, heads, size, scale, grid := attentionArgs(&s)
	rows, block := s.Stats().Len(), driver.Dim3{X: threads}
	delta := ptr(l.workspace(4 * rows))
	l.launch1(op, kernels.AttentionDelta, 32*rows, delta, ptr(g.p), ptr(o.p), i32(rows), positions, heads, size, narrow(g, o))
	l.launch(op, ofHead(&s, kernels.AttentionBackQuery128, kernels.AttentionBackQuery512), grid, block, 0, ptr(gq.p), ptr(g.p), ptr(a.p), ptr(b.p),
		ptr(c.p), st, delta, positions, heads, size, scale, narrow(gq, g, a, b, c))
	l.launch(op, ofHead(&s, kernels.AttentionBackKey128, kernels.AttentionBackKey512), grid, block, 0, ptr(gk.p), ptr(gv.p), ptr(g.p), ptr(a.p),
		ptr(b.p), ptr(c.p), st, delta, positions, heads, size, scale, narrow(gk, gv, g, a, b, c))
}
