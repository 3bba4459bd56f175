package cpu

import (
	"testing"

	"github.com/convae/convae/nn/backend"
)

func TestProfiled(t *testing.T) {
	p := backend.Profiled(open(t, false))
	all := ops(t, p)
	p.Reset()
	for range 3 {
		for _, op := range all {
			op()
		}
	}
	r := p.Report()
	share := 0.0
	for i, o := range r {
		share += o.Share
		if o.Calls != 3 || all[o.Op] == nil || o.Time <= 0 {
			t.Errorf("%+v, want 3 calls", o)
		}
		if i > 0 && o.Time > r[i-1].Time {
			t.Error("the report is not sorted")
		}
	}
	if len(r) != len(all) || share < 0.999 || share > 1.001 {
		t.Errorf("%d ops of %d, shares of %v together", len(r), len(all), share)
	}
}

// wrong is a backend with a fault in the op of that name.
type wrong struct {
	backend.Backend
	op string
}

func (w wrong) spoil(op string, t backend.Tensor, at int) {
	if w.op != op {
		return
	}
	v := make([]float32, t.Shape.Len())
	if err := w.Download(v, t); err != nil {
		panic("no download")
	}
	v[at]++
	w.Upload(t, v)
}

func (w wrong) Conv(s backend.ConvShape, out, argmax, x backend.Tensor, p backend.Params) {
	w.Backend.Conv(s, out, argmax, x, p)
	w.spoil("Conv", out, 7)
	if w.op == "argmax" {
		b := make([]byte, argmax.Shape.Len())
		b[3] = 200
		w.UploadBytes(argmax, b)
	}
}

func (w wrong) DenseBackWeights(s backend.DenseShape, grad backend.Params, gradOut, x backend.Tensor) {
	w.Backend.DenseBackWeights(s, grad, gradOut, x)
	w.spoil("DenseBackWeights", grad.Bias, 2)
}

func (w wrong) Adam(o backend.Adam, param, m, v, grad, stepParams backend.Tensor) {
	w.Backend.Adam(o, param, m, v, grad, stepParams)
	w.spoil("Adam", v, 4)
}

func (w wrong) ConvTransposePack(s backend.ConvTransposeShape, dst, p backend.Tensor) {
	if w.op == "ConvTransposePack" {
		return // stale packed weights
	}
	w.Backend.ConvTransposePack(s, dst, p)
}

func TestChecked(t *testing.T) {
	for _, c := range []struct {
		fault, op, output string
		at                int
	}{
		{"", "", "", 0},
		{"Conv", "Conv", "out", 7},
		{"argmax", "Conv", "argmax", 3},
		{"DenseBackWeights", "DenseBackWeights", "grad.Bias", 2},
		{"Adam", "Adam", "v", 4},
		{"ConvTransposePack", "ConvTranspose", "out", -1},
	} {
		var found []backend.Mismatch
		b := backend.Checked(wrong{open(t, false), c.fault}, open(t, true), backend.Bound{Abs: 1e-5, Rel: 1e-5},
			func(m backend.Mismatch) { found = append(found, m) })
		for _, op := range ops(t, b) {
			op()
		}
		ok := false
		for _, m := range found {
			if m.Err != nil || m.Worst <= 1 {
				t.Errorf("%+v", m)
			}
			ok = ok || m.Op == c.op && m.Output == c.output && (m.At == c.at || c.at < 0)
		}
		if c.fault == "" && len(found) > 0 || c.fault != "" && !ok {
			t.Errorf("fault %q: reported %+v", c.fault, found)
		}
	}
}
