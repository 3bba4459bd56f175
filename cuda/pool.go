package cuda

import (
	"github.com/convae/convae/kernels"
	"github.com/convae/convae/nn/backend"
)

// MaxPool takes the first maximum of each window and, unless argmax is zero, its position. NaN counts as above all numbers.
func (l *lane) MaxPool(s backend.PoolShape, out, argmax, x backend.Tensor) {
	s.CheckForward(&out, &argmax, &x)
	o, arg, in := l.values(out), l.at(argmax), l.values(x)
	e, v := wide(s.X.C, kernels.PoolForward, kernels.PoolForward4)
	l.pool("MaxPool", e, s, s.Out.Len()/v, ptr(o.p), ptr(arg), ptr(in.p), narrow(o, in))
}

// MaxPoolBack adds up, for each input, the gradients of the windows in which it was the maximum.
func (l *lane) MaxPoolBack(s backend.PoolShape, gradX, gradOut, argmax backend.Tensor) {
	s.CheckBack(&gradX, &gradOut, &argmax)
	gx, g, arg := l.values(gradX), l.values(gradOut), l.at(argmax)
	e, v := wide(s.X.C, kernels.PoolBack, kernels.PoolBack4)
	l.pool("MaxPoolBack", e, s, s.X.Len()/v, ptr(gx.p), ptr(g.p), ptr(arg), narrow(gx, g))
}

// pool launches a kernel of n threads whose first arguments are a, b and c, and whose last says which tensors are narrow.
func (l *lane) pool(op string, e kernels.Entry, s backend.PoolShape, n int, a, b, c, narrow uint64) {
	l.launch1(op, e, n, a, b, c, i32(n), i32(s.X.H), i32(s.X.W), i32(s.X.C), i32(s.Out.H), i32(s.Out.W),
		i32(s.Size), i32(s.Stride), i32(s.PadTop), i32(s.PadLeft), narrow)
}

// wide chooses between the kernels of one channel and of four channels a thread, and returns that number too.
func wide(channels int, one, four kernels.Entry) (kernels.Entry, int) {
	if channels%4 == 0 {
		return four, 4
	}
	return one, 1
}

// AveragePool takes the mean of each window.
func (l *lane) AveragePool(s backend.PoolShape, out, x backend.Tensor) {
	s.CheckAverage(&out, &x)
	o, in := l.values(out), l.values(x)
	e, v := wide(s.X.C, kernels.PoolAverage, kernels.PoolAverage4)
	l.average("AveragePool", e, s, s.Out.Len()/v, ptr(o.p), ptr(in.p), narrow(o, in))
}

// AveragePoolBack gives each input its shares of the gradients of its windows.
func (l *lane) AveragePoolBack(s backend.PoolShape, gradX, gradOut backend.Tensor) {
	s.CheckAverage(&gradOut, &gradX)
	gx, g := l.values(gradX), l.values(gradOut)
	e, v := wide(s.X.C, kernels.PoolAverageBack, kernels.PoolAverageBack4)
	l.average("AveragePoolBack", e, s, s.X.Len()/v, ptr(gx.p), ptr(g.p), narrow(gx, g))
}

// average is pool without an arg-max.
func (l *lane) average(op string, e kernels.Entry, s backend.PoolShape, n int, a, b, narrow uint64) {
	l.launch1(op, e, n, a, b, i32(n), i32(s.X.H), i32(s.X.W), i32(s.X.C), i32(s.Out.H), i32(s.Out.W),
		i32(s.Size), i32(s.Stride), i32(s.PadTop), i32(s.PadLeft), narrow)
}
