package backend

import (
	"math"
	"slices"

	"github.com/convae/convae/nn/rng"
)

// Mismatch tells of an op whose output is not the reference's.
type Mismatch struct {
	Op, Output string  // method of the Backend, name of its parameter
	Worst      float64 // the worst error as a share of the bound
	At         int     // index of the element
	Got, Want  float64
	Err        error // not nil when the reference could not do the op for want of memory: then nothing was compared
}

// Checked returns a Backend that does every op on device, and again on reference from the same inputs, and reports
// outputs that differ by more than the bound. device goes on with its own results. Both are one lane. What Index and
// StepParams tensors hold is known only from what was uploaded through the returned Backend.
//
// It is made for finding faults: every op copies its inputs from the device, and allocates. Pack ops are checked
// through the ops that use the packed weights. Of a pool fused into a convolution, the element at the device's
// arg-max is compared, because of two almost equal values either may be the maximum.
func Checked(device, reference Backend, bound Bound, report func(Mismatch)) Backend {
	return &checked{device, device, reference, bound, report, make(map[place]StepParams), make(map[place][]int32)}
}

type checked struct {
	Memory
	device, reference Backend
	bound             Bound
	report            func(Mismatch)
	clocks            map[place]StepParams
	orders            map[place][]int32
}

// place is where a tensor is.
type place struct {
	buffer Buffer
	offset int
}

// Free forgets what the buffer held.
func (c *checked) Free(b Buffer) {
	for p := range c.clocks {
		if p.buffer == b {
			delete(c.clocks, p)
		}
	}
	for p := range c.orders {
		if p.buffer == b {
			delete(c.orders, p)
		}
	}
	c.device.Free(b)
}

func (c *checked) UploadIndex(dst Tensor, src []int32) {
	c.orders[place{dst.Buffer, dst.Offset}] = slices.Clone(src)
	c.device.UploadIndex(dst, src)
}

func (c *checked) SetStepParams(dst Tensor, k StepParams) {
	c.clocks[place{dst.Buffer, dst.Offset}] = k
	c.device.SetStepParams(dst, k)
}

// mirror holds the reference's copies of an op's tensors. The nil mirror stands for the device and maps each tensor to
// itself.
type mirror struct {
	c       *checked
	copies  map[Tensor]Tensor
	buffers []Buffer
	err     error // the first failure
	device  error // a failure of the device, which its own Sync reports: there is nothing to check
}

// of returns the copy of t.
func (m *mirror) of(t Tensor) Tensor {
	if m == nil || t.IsZero() {
		return t
	}
	return m.copies[t]
}

// each returns the copies of tensors.
func (m *mirror) each(t []Tensor) []Tensor {
	r := make([]Tensor, len(t))
	for i := range t {
		r[i] = m.of(t[i])
	}
	return r
}

// params returns the copy of p, with weights that the reference packs.
func (m *mirror) params(p Params, packed int, pack func(dst, w Tensor)) Params {
	if m == nil {
		return p
	}
	p.W, p.Bias, p.Packed = m.of(p.W), m.of(p.Bias), Tensor{}
	if packed > 0 {
		p.Packed = m.alloc(Packed, Vec(packed))
		if m.err == nil {
			pack(p.Packed, p.W)
		}
	}
	return p
}

func (m *mirror) alloc(k Role, s Shape) Tensor {
	return Tensor{Shape: s, Role: k, Buffer: m.memory(m.c.reference.Bytes(k, s))}
}

func (m *mirror) memory(n int) Buffer {
	b, err := m.c.reference.Alloc(n)
	if err != nil {
		if m.err == nil {
			m.err = err
		}
		return nil
	}
	m.buffers = append(m.buffers, b)
	return b
}

// add copies t from the device.
func (m *mirror) add(t Tensor) {
	if _, ok := m.copies[t]; ok || t.IsZero() || t.Role == Packed || m.err != nil || m.device != nil {
		return
	}
	r := m.alloc(t.Role, t.Shape)
	if m.err != nil {
		return
	}
	m.copies[t] = r
	at := place{t.Buffer, t.Offset}
	switch t.Role {
	case PerStep:
		m.c.reference.SetStepParams(r, m.c.clocks[at])
	case Index:
		if v := m.c.orders[at]; len(v) == t.Shape.Len() {
			m.c.reference.UploadIndex(r, v)
		}
	case Byte, Staged:
		v := make([]byte, t.Shape.Len())
		m.device = m.c.device.DownloadBytes(v, t)
		m.c.reference.UploadBytes(r, v)
	default:
		v := make([]float32, t.Shape.Len())
		m.device = m.c.device.Download(v, t)
		m.c.reference.Upload(r, v)
	}
}

func (m *mirror) free() {
	m.c.reference.SetWorkspace(nil)
	for _, b := range m.buffers {
		m.c.reference.Free(b)
	}
}

// output is an output of an op and its name.
type output struct {
	name string
	t    Tensor
}

// run does an op on the device and on the reference, with a workspace of that many bytes, and compares. in are the
// tensors of op other than out; zero ones are welcome.
func (c *checked) run(name string, workspace int, out []output, in []Tensor, op func(b Backend, m *mirror)) {
	m := c.mirror(workspace, out, in)
	defer m.free()
	op(c.device, nil)
	if m.device != nil {
		return
	}
	if m.err == nil {
		op(c.reference, m)
	}
	if m.err != nil {
		c.report(Mismatch{Op: name, Err: m.err})
		return
	}
	for _, o := range out {
		if o.t.IsZero() {
			continue
		}
		got, err := download(c.device, o.t)
		if err != nil {
			return
		}
		want, err := download(c.reference, m.of(o.t))
		if err != nil {
			c.report(Mismatch{Op: name, Err: err})
			return
		}
		c.compare(name, o, got, want)
	}
}

func (c *checked) mirror(workspace int, out []output, in []Tensor) *mirror {
	m := &mirror{c: c, copies: make(map[Tensor]Tensor)}
	for _, o := range out {
		m.add(o.t)
	}
	for _, t := range in {
		m.add(t)
	}
	if workspace > 0 && m.err == nil {
		if b := m.memory(workspace); b != nil {
			c.reference.SetWorkspace(b)
		}
	}
	return m
}

// compare reports values that differ; places of maxima have to be the same.
func (c *checked) compare(op string, o output, got, want []float32) {
	bound := c.bound
	if o.t.Role == Byte {
		bound = Bound{}
	}
	w := make([]float64, len(want))
	for i, v := range want {
		w[i] = float64(v)
	}
	if share, at := bound.Worst(got, w); share > 1 {
		c.report(Mismatch{Op: op, Output: o.name, Worst: share, At: at, Got: float64(got[at]), Want: w[at]})
	}
}

// download returns the values of a tensor of any kind of float32 or of bytes.
func download(b Backend, t Tensor) ([]float32, error) {
	v := make([]float32, t.Shape.Len())
	if t.Role != Byte {
		return v, b.Download(v, t)
	}
	p := make([]byte, len(v))
	err := b.DownloadBytes(p, t)
	for i, x := range p {
		v[i] = float32(x)
	}
	return v, err
}

// comparableRole reports whether a tensor's elements can be downloaded.
func comparableRole(k Role) bool { return k <= Flat || k == Byte }

func (c *checked) Zero(dst Tensor) {
	if !comparableRole(dst.Role) {
		delete(c.clocks, place{dst.Buffer, dst.Offset})
		delete(c.orders, place{dst.Buffer, dst.Offset})
		c.device.Zero(dst)
		return
	}
	c.run("Zero", 0, []output{{"dst", dst}}, nil, func(b Backend, m *mirror) { b.Zero(m.of(dst)) })
}

func (c *checked) Copy(dst, src Tensor) {
	if !comparableRole(dst.Role) {
		to, from := place{dst.Buffer, dst.Offset}, place{src.Buffer, src.Offset}
		c.clocks[to], c.orders[to] = c.clocks[from], c.orders[from]
		c.device.Copy(dst, src)
		return
	}
	c.run("Copy", 0, []output{{"dst", dst}}, []Tensor{src}, func(b Backend, m *mirror) { b.Copy(m.of(dst), m.of(src)) })
}

func (c *checked) Axpy(dst Tensor, alpha float32, src Tensor) {
	c.run("Axpy", 0, []output{{"dst", dst}}, []Tensor{src}, func(b Backend, m *mirror) { b.Axpy(m.of(dst), alpha, m.of(src)) })
}

func (c *checked) Sum(dst Tensor, src []Tensor) {
	c.run("Sum", 0, []output{{"dst", dst}}, src, func(b Backend, m *mirror) { b.Sum(m.of(dst), m.each(src)) })
}

func (c *checked) Reshape(dst, src Tensor) {
	c.run("Reshape", 0, []output{{"dst", dst}}, []Tensor{src}, func(b Backend, m *mirror) { b.Reshape(m.of(dst), m.of(src)) })
}

func (c *checked) ConvNeeds(s ConvShape) Needs         { return c.device.ConvNeeds(s) }
func (c *checked) ConvPack(s ConvShape, dst, w Tensor) { c.device.ConvPack(s, dst, w) }

func (c *checked) Conv(s ConvShape, out, argmax, x Tensor, p Params) {
	n := c.reference.ConvNeeds(s)
	c.run("Conv", n.Workspace, []output{{"out", out}}, []Tensor{argmax, x, p.W, p.Bias}, func(b Backend, m *mirror) {
		b.Conv(s, m.of(out), m.of(argmax), m.of(x), m.params(p, n.Packed, func(dst, w Tensor) { b.ConvPack(s, dst, w) }))
	})
	if s.Pool > 1 && !argmax.IsZero() {
		c.checkArgmax(s, out, argmax, x, p)
	}
}

// checkArgmax compares the output of a fused pool with the elements at the places in argmax before the pool.
func (c *checked) checkArgmax(s ConvShape, out, argmax, x Tensor, p Params) {
	full := s
	full.Pool, full.Out = 1, s.Conv
	n := c.reference.ConvNeeds(full)
	m := c.mirror(n.Workspace, nil, []Tensor{x, p.W, p.Bias})
	defer m.free()
	if m.device != nil || m.err != nil {
		return // run has reported it
	}
	y := m.alloc(Activation, s.Conv)
	q := m.params(p, n.Packed, func(dst, w Tensor) { c.reference.ConvPack(full, dst, w) })
	if m.err != nil {
		c.report(Mismatch{Op: "Conv", Err: m.err})
		return
	}
	c.reference.Conv(full, y, Tensor{}, m.of(x), q)
	all, err := download(c.reference, y)
	if err != nil {
		c.report(Mismatch{Op: "Conv", Err: err})
		return
	}
	got, err := download(c.device, out)
	if err != nil {
		return
	}
	places, err := download(c.device, argmax)
	if err != nil {
		return
	}
	want := make([]float32, len(got))
	for i := range want {
		ch, ox, oy := i%s.Filters, i/s.Filters%s.Out.W, i/s.Filters/s.Out.W // oy counts through the images
		k := int(places[i])
		if want[i] = float32(math.Inf(1)); k < s.Pool*s.Pool {
			want[i] = all[((oy*s.Pool+k/s.Pool)*s.Conv.W+ox*s.Pool+k%s.Pool)*s.Filters+ch]
		}
	}
	c.compare("Conv", output{"argmax", out}, got, want)
}

func (c *checked) ConvBackInput(s ConvShape, gradX, gradOut, argmax Tensor, p Params, x Tensor) {
	n := c.reference.ConvNeeds(s)
	c.run("ConvBackInput", n.Workspace, []output{{"gradX", gradX}}, []Tensor{gradOut, argmax, x, p.W, p.Bias}, func(b Backend, m *mirror) {
		q := m.params(p, n.Packed, func(dst, w Tensor) { b.ConvPack(s, dst, w) })
		b.ConvBackInput(s, m.of(gradX), m.of(gradOut), m.of(argmax), q, m.of(x))
	})
}

func (c *checked) ConvBackWeights(s ConvShape, grad Params, gradOut, argmax, x Tensor) {
	c.run("ConvBackWeights", c.reference.ConvNeeds(s).Workspace, gradients(grad), []Tensor{gradOut, argmax, x}, func(b Backend, m *mirror) {
		b.ConvBackWeights(s, m.params(grad, 0, nil), m.of(gradOut), m.of(argmax), m.of(x))
	})
}

func gradients(p Params) []output { return []output{{"grad.W", p.W}, {"grad.Bias", p.Bias}} }

func (c *checked) ConvTransposeNeeds(s ConvTransposeShape) Needs {
	return c.device.ConvTransposeNeeds(s)
}
func (c *checked) ConvTransposePack(s ConvTransposeShape, dst, w Tensor) {
	c.device.ConvTransposePack(s, dst, w)
}

func (c *checked) ConvTranspose(s ConvTransposeShape, out, x Tensor, p Params) {
	n := c.reference.ConvTransposeNeeds(s)
	c.run("ConvTranspose", n.Workspace, []output{{"out", out}}, []Tensor{x, p.W, p.Bias}, func(b Backend, m *mirror) {
		b.ConvTranspose(s, m.of(out), m.of(x), m.params(p, n.Packed, func(dst, w Tensor) { b.ConvTransposePack(s, dst, w) }))
	})
}

func (c *checked) ConvTransposeBackInput(s ConvTransposeShape, gradX, gradOut Tensor, p Params, x Tensor) {
	n := c.reference.ConvTransposeNeeds(s)
	c.run("ConvTransposeBackInput", n.Workspace, []output{{"gradX", gradX}}, []Tensor{gradOut, x, p.W, p.Bias}, func(b Backend, m *mirror) {
		q := m.params(p, n.Packed, func(dst, w Tensor) { b.ConvTransposePack(s, dst, w) })
		b.ConvTransposeBackInput(s, m.of(gradX), m.of(gradOut), q, m.of(x))
	})
}

func (c *checked) ConvTransposeBackWeights(s ConvTransposeShape, grad Params, gradOut, x Tensor) {
	c.run("ConvTransposeBackWeights", c.reference.ConvTransposeNeeds(s).Workspace, gradients(grad), []Tensor{gradOut, x}, func(b Backend, m *mirror) {
		b.ConvTransposeBackWeights(s, m.params(grad, 0, nil), m.of(gradOut), m.of(x))
	})
}

func (c *checked) DenseNeeds(s DenseShape) Needs         { return c.device.DenseNeeds(s) }
func (c *checked) DensePack(s DenseShape, dst, w Tensor) { c.device.DensePack(s, dst, w) }

func (c *checked) Dense(s DenseShape, out, x Tensor, p Params) {
	n := c.reference.DenseNeeds(s)
	c.run("Dense", n.Workspace, []output{{"out", out}}, []Tensor{x, p.W, p.Bias}, func(b Backend, m *mirror) {
		b.Dense(s, m.of(out), m.of(x), m.params(p, n.Packed, func(dst, w Tensor) { b.DensePack(s, dst, w) }))
	})
}

func (c *checked) DenseBackInput(s DenseShape, gradX, gradOut Tensor, p Params, x Tensor) {
	n := c.reference.DenseNeeds(s)
	c.run("DenseBackInput", n.Workspace, []output{{"gradX", gradX}}, []Tensor{gradOut, x, p.W, p.Bias}, func(b Backend, m *mirror) {
		q := m.params(p, n.Packed, func(dst, w Tensor) { b.DensePack(s, dst, w) })
		b.DenseBackInput(s, m.of(gradX), m.of(gradOut), q, m.of(x))
	})
}

func (c *checked) DenseBackWeights(s DenseShape, grad Params, gradOut, x Tensor) {
	c.run("DenseBackWeights", c.reference.DenseNeeds(s).Workspace, gradients(grad), []Tensor{gradOut, x}, func(b Backend, m *mirror) {
		b.DenseBackWeights(s, m.params(grad, 0, nil), m.of(gradOut), m.of(x))
	})
}

func (c *checked) MaxPool(s PoolShape, out, argmax, x Tensor) {
	c.run("MaxPool", 0, []output{{"out", out}, {"argmax", argmax}}, []Tensor{x}, func(b Backend, m *mirror) {
		b.MaxPool(s, m.of(out), m.of(argmax), m.of(x))
	})
}

func (c *checked) MaxPoolBack(s PoolShape, gradX, gradOut, argmax Tensor) {
	c.run("MaxPoolBack", 0, []output{{"gradX", gradX}}, []Tensor{gradOut, argmax}, func(b Backend, m *mirror) {
		b.MaxPoolBack(s, m.of(gradX), m.of(gradOut), m.of(argmax))
	})
}

func (c *checked) Upsample(s UpsampleShape, out, x Tensor) {
	c.run("Upsample", 0, []output{{"out", out}}, []Tensor{x}, func(b Backend, m *mirror) { b.Upsample(s, m.of(out), m.of(x)) })
}

func (c *checked) UpsampleBack(s UpsampleShape, gradX, gradOut Tensor) {
	c.run("UpsampleBack", 0, []output{{"gradX", gradX}}, []Tensor{gradOut}, func(b Backend, m *mirror) {
		b.UpsampleBack(s, m.of(gradX), m.of(gradOut))
	})
}

func (c *checked) Plus(out, x, y Tensor) {
	c.run("Plus", 0, []output{{"out", out}}, []Tensor{x, y}, func(b Backend, m *mirror) { b.Plus(m.of(out), m.of(x), m.of(y)) })
}

func (c *checked) CopyChannels(dst Tensor, to int, src Tensor, from, count int) {
	c.run("CopyChannels", 0, []output{{"dst", dst}}, []Tensor{src}, func(b Backend, m *mirror) {
		b.CopyChannels(m.of(dst), to, m.of(src), from, count)
	})
}

func (c *checked) Activate(a Act, out, x Tensor) {
	c.run("Activate", 0, []output{{"out", out}}, []Tensor{x}, func(b Backend, m *mirror) { b.Activate(a, m.of(out), m.of(x)) })
}

func (c *checked) ActivateBack(a Act, gradX, gradOut, out Tensor) {
	c.run("ActivateBack", 0, []output{{"gradX", gradX}}, []Tensor{gradOut, out}, func(b Backend, m *mirror) {
		b.ActivateBack(a, m.of(gradX), m.of(gradOut), m.of(out))
	})
}

func (c *checked) SigmoidBCE(scale float32, loss, grad, logits, target Tensor) {
	c.run("SigmoidBCE", 0, []output{{"loss", loss}, {"grad", grad}}, []Tensor{logits, target}, func(b Backend, m *mirror) {
		b.SigmoidBCE(scale, m.of(loss), m.of(grad), m.of(logits), m.of(target))
	})
}

func (c *checked) MSE(scale float32, loss, grad, pred, target Tensor) {
	c.run("MSE", 0, []output{{"loss", loss}, {"grad", grad}}, []Tensor{pred, target}, func(b Backend, m *mirror) {
		b.MSE(scale, m.of(loss), m.of(grad), m.of(pred), m.of(target))
	})
}

func (c *checked) SGD(o SGD, param, velocity, grad, stepParams Tensor) {
	c.run("SGD", 0, []output{{"param", param}, {"velocity", velocity}}, []Tensor{grad, stepParams}, func(b Backend, m *mirror) {
		b.SGD(o, m.of(param), m.of(velocity), m.of(grad), m.of(stepParams))
	})
}

func (c *checked) Adam(o Adam, param, m1, m2, grad, stepParams Tensor) {
	c.run("Adam", 0, []output{{"param", param}, {"m", m1}, {"v", m2}}, []Tensor{grad, stepParams}, func(b Backend, m *mirror) {
		b.Adam(o, m.of(param), m.of(m1), m.of(m2), m.of(grad), m.of(stepParams))
	})
}

func (c *checked) Adadelta(o Adadelta, param, accGrad, accDelta, grad, stepParams Tensor) {
	c.run("Adadelta", 0, []output{{"param", param}, {"accGrad", accGrad}, {"accDelta", accDelta}}, []Tensor{grad, stepParams}, func(b Backend, m *mirror) {
		b.Adadelta(o, m.of(param), m.of(accGrad), m.of(accDelta), m.of(grad), m.of(stepParams))
	})
}

func (c *checked) Normal(src rng.Source, dst, stepParams Tensor, first int) {
	c.run("Normal", 0, []output{{"dst", dst}}, []Tensor{stepParams}, func(b Backend, m *mirror) { b.Normal(src, m.of(dst), m.of(stepParams), first) })
}

func (c *checked) Dropout(rate float32, src rng.Source, out, x, stepParams Tensor, first int) {
	c.run("Dropout", 0, []output{{"out", out}}, []Tensor{x, stepParams}, func(b Backend, m *mirror) {
		b.Dropout(rate, src, m.of(out), m.of(x), m.of(stepParams), first)
	})
}

func (c *checked) GatherPixels(std float32, src rng.Source, clean, noisy, pixels, order, stepParams Tensor, first int) {
	c.run("GatherPixels", 0, []output{{"clean", clean}, {"noisy", noisy}}, []Tensor{pixels, order, stepParams}, func(b Backend, m *mirror) {
		b.GatherPixels(std, src, m.of(clean), m.of(noisy), m.of(pixels), m.of(order), m.of(stepParams), first)
	})
}

func (c *checked) GatherValues(std float32, src rng.Source, clean, noisy, values, order, stepParams Tensor, first int) {
	c.run("GatherValues", 0, []output{{"clean", clean}, {"noisy", noisy}}, []Tensor{values, order, stepParams}, func(b Backend, m *mirror) {
		b.GatherValues(std, src, m.of(clean), m.of(noisy), m.of(values), m.of(order), m.of(stepParams), first)
	})
}

func (c *checked) ClipValue(limit float32, v Tensor) {
	c.run("ClipValue", 0, []output{{"v", v}}, nil, func(b Backend, m *mirror) { b.ClipValue(limit, m.of(v)) })
}

func (c *checked) SumSquares(dst, src Tensor) {
	c.run("SumSquares", 0, []output{{"dst", dst}}, []Tensor{src}, func(b Backend, m *mirror) { b.SumSquares(m.of(dst), m.of(src)) })
}

func (c *checked) ClipNorm(limit float32, v, squares Tensor) {
	c.run("ClipNorm", 0, []output{{"v", v}}, []Tensor{squares}, func(b Backend, m *mirror) { b.ClipNorm(limit, m.of(v), m.of(squares)) })
}

func (c *checked) Penalize(o Norms, loss, grad, x Tensor) {
	c.run("Penalize", 0, []output{{"loss", loss}, {"grad", grad}}, []Tensor{x}, func(b Backend, m *mirror) {
		b.Penalize(o, m.of(loss), m.of(grad), m.of(x))
	})
}

func (c *checked) ColumnSum(dst, x Tensor) {
	c.run("ColumnSum", 0, []output{{"dst", dst}}, []Tensor{x}, func(b Backend, m *mirror) { b.ColumnSum(m.of(dst), m.of(x)) })
}

func (c *checked) SparseKL(o Sparsity, share float32, loss, grad, sums Tensor) {
	c.run("SparseKL", 0, []output{{"loss", loss}, {"grad", grad}}, []Tensor{sums}, func(b Backend, m *mirror) {
		b.SparseKL(o, share, m.of(loss), m.of(grad), m.of(sums))
	})
}

func (c *checked) AddRow(x, row Tensor) {
	c.run("AddRow", 0, []output{{"x", x}}, []Tensor{row}, func(b Backend, m *mirror) { b.AddRow(m.of(x), m.of(row)) })
}

func (c *checked) Sample(src rng.Source, code, stats, stepParams Tensor, first int) {
	c.run("Sample", 0, []output{{"code", code}}, []Tensor{stats, stepParams}, func(b Backend, m *mirror) {
		b.Sample(src, m.of(code), m.of(stats), m.of(stepParams), first)
	})
}

func (c *checked) SampleBack(scale float32, src rng.Source, loss, gradStats, gradCode, stats, stepParams Tensor, first int) {
	c.run("SampleBack", 0, []output{{"loss", loss}, {"gradStats", gradStats}}, []Tensor{gradCode, stats, stepParams}, func(b Backend, m *mirror) {
		b.SampleBack(scale, src, m.of(loss), m.of(gradStats), m.of(gradCode), m.of(stats), m.of(stepParams), first)
	})
}

func (c *checked) ContractDense(a Act, scale float32, loss, gradH, gradW, h, w Tensor) {
	c.run("ContractDense", 0, []output{{"loss", loss}, {"gradH", gradH}, {"gradW", gradW}}, []Tensor{h, w}, func(b Backend, m *mirror) {
		b.ContractDense(a, scale, m.of(loss), m.of(gradH), m.of(gradW), m.of(h), m.of(w))
	})
}

func (c *checked) Perturb(std float32, src rng.Source, out, x, stepParams Tensor, first int) {
	c.run("Perturb", 0, []output{{"out", out}}, []Tensor{x, stepParams}, func(b Backend, m *mirror) {
		b.Perturb(std, src, m.of(out), m.of(x), m.of(stepParams), first)
	})
}

func (c *checked) Accumulate(dst Tensor, alpha float32, x Tensor) {
	c.run("Accumulate", 0, []output{{"dst", dst}}, []Tensor{x}, func(b Backend, m *mirror) { b.Accumulate(m.of(dst), alpha, m.of(x)) })
}

func (c *checked) Concretize(src rng.Source, sel, logits, stepParams Tensor) {
	c.run("Concretize", 0, []output{{"m", sel}}, []Tensor{logits, stepParams}, func(b Backend, m *mirror) {
		b.Concretize(src, m.of(sel), m.of(logits), m.of(stepParams))
	})
}

func (c *checked) Pick(out, x, sel Tensor) {
	c.run("Pick", 0, []output{{"out", out}}, []Tensor{x, sel}, func(b Backend, m *mirror) { b.Pick(m.of(out), m.of(x), m.of(sel)) })
}

func (c *checked) ConcreteBack(gradLogits, gradOut, x, sel, stepParams Tensor) {
	c.run("ConcreteBack", 0, []output{{"gradLogits", gradLogits}}, []Tensor{gradOut, x, sel, stepParams}, func(b Backend, m *mirror) {
		b.ConcreteBack(m.of(gradLogits), m.of(gradOut), m.of(x), m.of(sel), m.of(stepParams))
	})
}
