package op_test

import (
	"strings"
	"testing"

	"github.com/convae/convae/cpu"
	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/op"
)

// scaleTwice is an op of a library's user: out = x + alpha x, and dst += alpha x.
type scaleTwice struct {
	Alpha   float32
	Out, X  op.Value
	Dst     op.Value
	skipped backend.Backend // which does not do the second part
}

func (o *scaleTwice) Name() string { return "scaleTwice" }
func (o *scaleTwice) Args(visit func(v *op.Value, u op.Use)) {
	visit(&o.Out, op.Write)
	visit(&o.X, op.Read)
	visit(&o.Dst, op.Add)
}
func (o *scaleTwice) Run(f *op.Frame) {
	f.B.Copy(f.At(o.Out), f.At(o.X))
	f.B.Axpy(f.At(o.Out), o.Alpha, f.At(o.X))
	if f.B != o.skipped {
		f.B.Axpy(f.At(o.Dst), o.Alpha, f.At(o.X))
	}
}

func open(t *testing.T, o cpu.Options) backend.Backend {
	t.Helper()
	d, err := cpu.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d.Lanes()[0]
}

// An op that the Checker has never heard of is checked by what it declares.
func TestCheckerChecksAnyOp(t *testing.T) {
	b, reference := open(t, cpu.Options{Lanes: 1}), open(t, cpu.Options{Lanes: 1, Plain: true})
	f := &op.Frame{B: b, Tensors: make([]backend.Tensor, 4)}
	for v := 1; v < 4; v++ {
		x := backend.NewTensor(backend.Flat, backend.Vec(5))
		var err error
		if x.Buffer, err = b.Alloc(b.Bytes(x.Role, x.Type, x.Shape)); err != nil {
			t.Fatal(err)
		}
		b.Upload(x, []float32{1, 2, 3, 4, float32(10 * v)})
		f.Tensors[v] = x
	}
	var found []op.Mismatch
	c := op.Checker{Reference: reference, Bound: backend.Bound{Abs: 1e-6}, Report: func(m op.Mismatch) { found = append(found, m) }}
	o := &scaleTwice{Alpha: 3, Out: 1, X: 2, Dst: 3}
	if err := c.Run(&op.Call{Op: o, Layer: "mine"}, f); err != nil || len(found) > 0 {
		t.Errorf("%+v, error %v", found, err)
	}
	got := make([]float32, 5)
	if err := b.Download(got, f.At(o.Dst)); err != nil || got[4] != 30+3*20 {
		t.Errorf("the device's own result is %v, want a last value of 90; error %v", got, err)
	}
	o.skipped = b
	if err := c.Run(&op.Call{Op: o, Layer: "mine"}, f); err != nil {
		t.Fatal(err)
	}
	if len(found) != 1 || found[0].Err != nil || found[0].Op != "scaleTwice" || found[0].Layer != "mine" || found[0].Output != "Dst" || found[0].At != 4 || found[0].Got != 90 || found[0].Want != 150 {
		t.Errorf("%+v", found)
	}
	found = nil
	if err := c.Run(&op.Call{Op: understated{o}}, f); err != nil {
		t.Fatal(err)
	}
	if len(found) != 1 || found[0].Err == nil || !strings.Contains(found[0].Err.Error(), "it changes a tensor (1, 1, 1, 5) that it declares to read only") {
		t.Errorf("%+v", found)
	}
}

// understated is the op with a declaration that forgets that Dst is changed.
type understated struct{ *scaleTwice }

func (o understated) Args(visit func(v *op.Value, u op.Use)) {
	o.scaleTwice.Args(func(v *op.Value, u op.Use) {
		if u == op.Add {
			u = op.Read
		}
		visit(v, u)
	})
}
