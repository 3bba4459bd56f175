package cpu

import (
	"math/rand"
	"slices"
	"testing"

	"convae/nn/backend"
)

// Inputs are small whole numbers, so the plain loops and the working path have to agree to the bit.

func compareLayers(t *testing.T, what any, plain, work *layer) {
	t.Helper()
	for _, op := range []struct {
		name     string
		of       func(*layer) func()
		a, b, a2 backend.Tensor
		b2       backend.Tensor
	}{
		{"forward", func(l *layer) func() { return l.forward }, plain.out, work.out, backend.Tensor{}, backend.Tensor{}},
		{"back input", func(l *layer) func() { return l.backInput }, plain.gradX, work.gradX, backend.Tensor{}, backend.Tensor{}},
		{"back weights", func(l *layer) func() { return l.backWeights }, plain.grad.W, work.grad.W, plain.grad.Bias, work.grad.Bias},
	} {
		op.of(plain)()
		op.of(work)()
		if !slices.Equal(values(t, plain.l, op.a), values(t, work.l, op.b)) {
			t.Errorf("%s: the plain loops and the working path differ: %+v", op.name, what)
		}
		if !op.a2.IsZero() && !slices.Equal(values(t, plain.l, op.a2), values(t, work.l, op.b2)) {
			t.Errorf("%s: the bias's gradients differ: %+v", op.name, what)
		}
	}
}

func TestConvAgainstPlain(t *testing.T) {
	p, w := open(t, true), open(t, false)
	r := rand.New(rand.NewSource(20260731))
	tried := 0
	for tried < 400 {
		side := func() int { return 1 + r.Intn(18) }
		spec := backend.ConvSpec{
			X:       backend.Shape{N: 1 + r.Intn(4), H: side(), W: side(), C: 1 + r.Intn(10)},
			Filters: 1 + r.Intn(10), KernelH: 1 + r.Intn(7), KernelW: 1 + r.Intn(7), Stride: 1 + r.Intn(2),
			Padding: backend.Padding(r.Intn(2)), Up: 1 + r.Intn(3), Pool: 1 + r.Intn(3),
			Act: backend.Act(r.Intn(4)), InAct: backend.Act(r.Intn(4)),
		}
		if tried%50 == 0 { // large enough for several blocks
			spec.X.H, spec.X.W, spec.X.C = 40+r.Intn(20), 30+r.Intn(30), 8+r.Intn(20)
			spec.X.N = 1
		}
		if tried%10 == 1 {
			spec.KernelH, spec.KernelW = 1, 1
		}
		if _, err := backend.NewConv(spec); err != nil {
			continue
		}
		tried++
		a, b := newConvCase(t, p, spec, int64(tried)), newConvCase(t, w, spec, int64(tried))
		compareLayers(t, spec, &a.layer, &b.layer)
		if spec.Pool > 1 {
			x, y := make([]byte, a.s.Out.Len()), make([]byte, a.s.Out.Len())
			if err := p.DownloadBytes(x, a.argmax); err != nil {
				t.Fatal(err)
			}
			if err := w.DownloadBytes(y, b.argmax); err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(x, y) {
				t.Errorf("the places of the maxima differ: %+v", spec)
			}
			want := values(t, w, b.out)
			w.Conv(b.s, b.out, backend.Tensor{}, b.x, b.p)
			if !slices.Equal(want, values(t, w, b.out)) {
				t.Errorf("a pool without the places of the maxima differs: %+v", spec)
			}
		}
		if t.Failed() {
			return
		}
	}
}

func TestConvTransposeAgainstPlain(t *testing.T) {
	p, w := open(t, true), open(t, false)
	r := rand.New(rand.NewSource(20260731))
	for i := range 200 {
		spec := backend.ConvTransposeSpec{
			X:       backend.Shape{N: 1 + r.Intn(4), H: 1 + r.Intn(12), W: 1 + r.Intn(12), C: 1 + r.Intn(10)},
			Filters: 1 + r.Intn(10), KernelH: 1 + r.Intn(7), KernelW: 1 + r.Intn(7), Stride: 1 + r.Intn(2),
			Padding: backend.Padding(r.Intn(2)), Act: backend.Act(r.Intn(4)), InAct: backend.Act(r.Intn(4)),
		}
		compareLayers(t, spec, newTransposeCase(t, p, spec, int64(i)), newTransposeCase(t, w, spec, int64(i)))
		if t.Failed() {
			return
		}
	}
}

func TestDenseAgainstPlain(t *testing.T) {
	p, w := open(t, true), open(t, false)
	r := rand.New(rand.NewSource(20260731))
	for i := range 100 {
		spec := backend.DenseSpec{N: 1 + r.Intn(40), In: 1 + r.Intn(300), Out: 1 + r.Intn(100), Act: backend.Act(r.Intn(4)), InAct: backend.Act(r.Intn(4))}
		if i == 0 {
			spec.N, spec.In = 1100, 17 // several blocks
		}
		compareLayers(t, spec, newDenseCase(t, p, spec, int64(i)), newDenseCase(t, w, spec, int64(i)))
	}
}

// Results must not depend on the lane, the size and the contents of the workspace, or where tensors lie: only then are
// runs repeatable.
func TestResultsDependOnShapesOnly(t *testing.T) {
	for i, spec := range denoiser(3) {
		var want [][]float32
		for try := range 4 {
			l := open(t, false)
			c := newConvCase(t, l, spec, 5)
			r := rand.New(rand.NewSource(int64(i)))
			// Rounded sums, unlike those of whole numbers, show their order.
			for _, x := range []backend.Tensor{c.x, c.gradOut, c.p.W} {
				v := make([]float32, x.Shape.Len())
				for j := range v {
					v[j] = float32(r.NormFloat64())
				}
				l.Upload(x, v)
			}
			c.pack()
			n := c.ws.Size() + try*100004
			ws := tensor(t, l, backend.Flat, backend.Vec((n+3)/4), int64(try))
			l.SetWorkspace(ws.Buffer)
			c.forward()
			c.backInput()
			c.backWeights()
			got := [][]float32{values(t, l, c.out), values(t, l, c.gradX), values(t, l, c.grad.W), values(t, l, c.grad.Bias)}
			if try == 0 {
				want = got
			} else if !slices.EqualFunc(got, want, slices.Equal[[]float32]) {
				t.Errorf("another run of layer %d gave other bits", i)
			}
		}
	}
}
