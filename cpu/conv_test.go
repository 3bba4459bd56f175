package cpu

import (
	"math/rand"
	"slices"
	"testing"

	"github.com/convae/convae/cpu/simd"
	"github.com/convae/convae/nn/backend"
)

// multiply draws a type of factors.
func multiply(r *rand.Rand) backend.DType {
	return []backend.DType{backend.Float32, backend.TF32, backend.BFloat16}[r.Intn(3)]
}

// Inputs are small whole numbers, or round to them, so the plain loops and the working path have to agree to the bit.

func compareLayers(t *testing.T, what any, multiply backend.DType, plain, work *layer) {
	t.Helper()
	if multiply != backend.Float32 {
		plain.blur(t, 20260802)
		work.blur(t, 20260802)
	}
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

func TestConvAgainstPlain(t *testing.T) { levels(t, convAgainstPlain) }

func convAgainstPlain(t *testing.T) {
	p, w := open(t, true), open(t, false)
	r := rand.New(rand.NewSource(20260731 + int64(simd.Current())))
	tried, paths := 0, make(map[string]int)
	for tried < 150 {
		side := func() int { return 1 + r.Intn(18) }
		spec := backend.ConvSpec{
			X:       backend.Shape{N: 1 + r.Intn(4), H: side(), W: side(), C: 1 + r.Intn(10)},
			Filters: 1 + r.Intn(10), KernelH: 1 + r.Intn(11), KernelW: 1 + r.Intn(11), Stride: 1 + r.Intn(4),
			Padding: backend.Padding(r.Intn(2)), Up: max(r.Intn(5)-1, 1), Pool: max(r.Intn(5)-1, 1),
			Act: backend.Act(r.Intn(4)), InAct: backend.Act(r.Intn(4)), Multiply: multiply(r),
		}
		if tried%30 == 0 { // large enough for several blocks
			spec.X.H, spec.X.W, spec.X.C = 40+r.Intn(20), 30+r.Intn(30), 8+r.Intn(20)
			spec.X.N = 1
		}
		if tried%6 == 2 { // several panels of weights, and few channels beside many
			spec.X.H, spec.X.W, spec.X.C, spec.Filters = 1+r.Intn(7), 1+r.Intn(7), 1+r.Intn(70), 1+r.Intn(4)
			if tried%4 == 0 {
				spec.X.C, spec.Filters = spec.Filters, spec.X.C
			}
		}
		if tried%20 == 3 {
			spec.X.H, spec.X.W, spec.Up = 1+r.Intn(4), 1+r.Intn(4), 1+r.Intn(9)
		}
		if tried%10 == 1 {
			spec.KernelH, spec.KernelW = 1, 1
		}
		if s, err := backend.NewConv(spec); err != nil || s.MACs() > 20e6 {
			continue
		}
		tried++
		a, b := newConvCase(t, p, spec, int64(tried)), newConvCase(t, w, spec, int64(tried))
		for _, op := range []string{"Conv", "ConvBackInput", "ConvBackWeights"} {
			paths[op+": "+w.(backend.Paths).Path(op, b.s)]++
		}
		compareLayers(t, spec, spec.Multiply, &a.layer, &b.layer)
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
	if len(paths) != 12 {
		t.Errorf("the shapes took %d ways of 12: %v", len(paths), paths)
	}
}

func TestConvTransposeAgainstPlain(t *testing.T) { levels(t, convTransposeAgainstPlain) }

func convTransposeAgainstPlain(t *testing.T) {
	p, w := open(t, true), open(t, false)
	r := rand.New(rand.NewSource(20260731 + int64(simd.Current())))
	for i := range 70 {
		spec := backend.ConvTransposeSpec{
			X:       backend.Shape{N: 1 + r.Intn(4), H: 1 + r.Intn(12), W: 1 + r.Intn(12), C: 1 + r.Intn(10)},
			Filters: 1 + r.Intn(10), KernelH: 1 + r.Intn(11), KernelW: 1 + r.Intn(11), Stride: 1 + r.Intn(4),
			Padding: backend.Padding(r.Intn(2)), Act: backend.Act(r.Intn(4)), InAct: backend.Act(r.Intn(4)), Multiply: multiply(r),
		}
		if i%5 == 0 {
			spec.X.C = 1 + r.Intn(70)
		}
		if i%5 == 1 {
			spec.Filters = 1 + r.Intn(70)
		}
		compareLayers(t, spec, spec.Multiply, newTransposeCase(t, p, spec, int64(i)), newTransposeCase(t, w, spec, int64(i)))
		if t.Failed() {
			return
		}
	}
}

func TestDenseAgainstPlain(t *testing.T) { levels(t, denseAgainstPlain) }

func denseAgainstPlain(t *testing.T) {
	p, w := open(t, true), open(t, false)
	r := rand.New(rand.NewSource(20260731 + int64(simd.Current())))
	for i := range 40 {
		spec := backend.DenseSpec{N: 1 + r.Intn(40), In: 1 + r.Intn(300), Out: 1 + r.Intn(100), Act: backend.Act(r.Intn(4)), InAct: backend.Act(r.Intn(4)),
			Multiply: multiply(r)}
		if i == 0 {
			spec.N, spec.In = 1100, 17 // several blocks
		}
		compareLayers(t, spec, spec.Multiply, newDenseCase(t, p, spec, int64(i)), newDenseCase(t, w, spec, int64(i)))
	}
}

// Results must not depend on the lane, the size and the contents of the workspace, or where tensors lie: only then are
// runs repeatable.
func TestResultsDependOnShapesOnly(t *testing.T) { levels(t, resultsDependOnShapesOnly) }

func resultsDependOnShapesOnly(t *testing.T) {
	specs := append(denoiser(3), backend.ConvSpec{X: backend.Shape{N: 2, H: 37, W: 30, C: 20}, Filters: 18, KernelH: 3, KernelW: 3, Act: backend.Tanh, Winograd: true})
	for i, spec := range specs {
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

func TestPaths(t *testing.T) {
	conv := func(side, c, filters, stride, up int) backend.ConvShape {
		s, err := backend.NewConv(backend.ConvSpec{X: backend.Shape{N: 2, H: side, W: side, C: c}, Filters: filters, KernelH: 3, KernelW: 3, Stride: stride, Up: up})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	dilated, err := backend.NewConv(backend.ConvSpec{X: backend.Shape{N: 2, H: 7, W: 7, C: 32}, Filters: 32, KernelH: 3, KernelW: 3, Dilation: 2})
	if err != nil {
		t.Fatal(err)
	}
	transpose, err := backend.NewConvTranspose(backend.ConvTransposeSpec{X: backend.Shape{N: 2, H: 7, W: 7, C: 32}, Filters: 32, KernelH: 3, KernelW: 3, Stride: 2})
	if err != nil {
		t.Fatal(err)
	}
	tiled := conv(16, 16, 16, 1, 1)
	tiled.Winograd = true
	small := conv(12, 16, 16, 1, 1)
	small.Winograd = true
	thin, err := backend.NewConv(backend.ConvSpec{X: backend.Shape{N: 2, H: 1, W: 512, C: 16}, Filters: 16, KernelH: 3, KernelW: 3, Winograd: true})
	if err != nil {
		t.Fatal(err)
	}
	dense := backend.DenseShape{DenseSpec: backend.DenseSpec{N: 8, In: 30, Out: 20}}
	l := open(t, false).(backend.Paths)
	for _, c := range []struct {
		op    string
		shape any
		want  path
	}{
		{"Conv", conv(28, 1, 32, 1, 1), pathTile}, {"Conv", conv(7, 32, 32, 1, 2), pathPhases},
		{"Conv", conv(14, 32, 1, 1, 2), pathFewOut}, {"Conv", conv(4, 8, 8, 1, 5), pathUpsampled},
		{"ConvBackInput", conv(14, 32, 32, 2, 1), pathResidues}, {"ConvBackInput", conv(7, 32, 32, 1, 2), pathCopies},
		{"ConvBackWeights", conv(28, 1, 32, 1, 1), pathFewIn}, {"ConvBackWeights", conv(14, 32, 1, 1, 2), pathFewGrad},
		{"ConvBackWeights", conv(14, 32, 32, 1, 1), pathTile}, {"ConvTranspose", transpose, pathResidues},
		{"ConvTransposeBackInput", transpose, pathTile}, {"ConvTransposeBackWeights", transpose, pathTile},
		{"Conv", dilated, pathDilated}, {"ConvBackInput", dilated, pathDilated}, {"ConvBackWeights", dilated, pathDilated},
		{"Conv", tiled, pathWinograd}, {"ConvBackInput", tiled, pathWinograd}, {"ConvBackWeights", tiled, pathWinograd},
		{"Conv", small, pathTile}, {"Conv", thin, pathTile}, {"ConvBackWeights", small, pathTile},
		{"Dense", dense, pathTile}, {"DenseBackInput", dense, pathTile}, {"DenseBackWeights", dense, pathTile},
		{"ConvPack", conv(28, 1, 32, 1, 1), ""}, {"MaxPool", backend.PoolShape{}, ""},
	} {
		if got := l.Path(c.op, c.shape); got != string(c.want) {
			t.Errorf("%s of %+v goes %q, want %q", c.op, c.shape, got, c.want)
		}
	}
	if got := open(t, true).(backend.Paths).Path("Dense", dense); got != string(pathPlain) {
		t.Errorf("the plain loops go %q", got)
	}
}

// The scratch is that of a few rows, whatever the height of an image.
func TestWorkspaceIsBounded(t *testing.T) {
	l := open(t, false)
	for _, side := range []int{512, 4096} {
		for winograd, most := range map[bool]int{false: 1 << 20, true: 4 << 20} {
			s, err := backend.NewConv(backend.ConvSpec{X: backend.Shape{N: 9, H: side, W: 64, C: 64}, Filters: 64, KernelH: 3, KernelW: 3, Pool: 2, Winograd: winograd})
			if err != nil {
				t.Fatal(err)
			}
			if n := l.ConvNeeds(s).Workspace; n > most {
				t.Errorf("%d bytes of scratch for images of %d rows, Winograd %v", n, side, winograd)
			}
		}
	}
}

// Of the ways that are counted one by one here: the taps of the image itself with its border, phases, tiles, and all others by the outer products of each pixel.
func TestExecuted(t *testing.T) {
	const n, h, w, c, f = 2, 16, 20, 16, 24
	spec := backend.ConvSpec{X: backend.Shape{N: n, H: h, W: w, C: c}, Filters: f, KernelH: 3, KernelW: 3}
	shape := func(change func(*backend.ConvSpec)) backend.ConvShape {
		k := spec
		change(&k)
		s, err := backend.NewConv(k)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	direct := shape(func(*backend.ConvSpec) {})
	tiled := shape(func(k *backend.ConvSpec) { k.Winograd = true })
	up := shape(func(k *backend.ConvSpec) { k.Up = 2 })
	strided := shape(func(k *backend.ConvSpec) { k.Stride = 2 })
	few := shape(func(k *backend.ConvSpec) { k.Filters = 1 })
	work, plain := open(t, false).(backend.Paths), open(t, true).(backend.Paths)
	for _, k := range []struct {
		op   string
		s    backend.ConvShape
		want int
	}{
		{"Conv", direct, n * h * w * 9 * c * f}, {"ConvBackInput", direct, n * h * w * 9 * c * f}, {"ConvBackWeights", direct, n * h * w * 9 * c * f},
		{"Conv", tiled, n * (h / 4) * (w / 4) * 36 * c * f}, {"ConvBackInput", tiled, n * (h / 4) * (w / 4) * 36 * c * f}, {"ConvBackWeights", tiled, n * (h / 4) * (w / 4) * 36 * c * f},
		{"Conv", up, n * 4 * h * w * 4 * c * f},        // four phases of 2x2 taps
		{"ConvBackInput", up, n * h * w * 9 * c * f},   // of the sums over copies, nine for a pixel
		{"ConvBackWeights", up, n * h * w * 9 * c * f}, // likewise
		{"Conv", strided, n * h / 2 * w / 2 * 9 * c * f},
		{"ConvBackInput", strided, n * h / 2 * w / 2 * 9 * c * f}, // residues of 1, 2, 2 and 4 taps
		{"Conv", few, n * h * w * 9 * c}, {"ConvBackWeights", few, n * h * w * 9 * c}, {"ConvPack", direct, 0},
	} {
		if got := work.Executed(k.op, k.s); got != k.want {
			t.Errorf("%s of %+v takes %d multiply-adds, want %d", k.op, k.s.ConvSpec, got, k.want)
		}
		want := k.s.MACs()
		if k.op == "ConvPack" {
			want = 0
		}
		if got := plain.Executed(k.op, k.s); got != want {
			t.Errorf("%s of %+v takes %d multiply-adds in plain loops, want %d", k.op, k.s.ConvSpec, got, want)
		}
	}
	defer func(was func() bool) { pairing = was }(pairing)
	pairing = func() bool { return true }
	paired := shape(func(k *backend.ConvSpec) { k.Multiply = backend.BFloat16 })
	for _, op := range []string{"Conv", "ConvBackInput", "ConvBackWeights"} {
		if got, want := work.Executed(op, paired), n*h*w*9*c*f/2; got != want {
			t.Errorf("%s takes %d products of pairs, want %d", op, got, want)
		}
	}
	if l := work.Limit(); l < 1e6 {
		t.Errorf("the limit is %v multiply-adds a second", l)
	}
}
