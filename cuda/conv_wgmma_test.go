package cuda

import (
	"slices"
	"testing"

	"github.com/convae/convae/nn/backend"
)

// On a device of compute capability 9.0 what is multiplied in TF32 takes the forms by warpgroups where an image is whole tiles, and a device
// of another takes none.
func TestWarpgroupForms(t *testing.T) {
	spec := func(n, h, w, c, filters int) backend.ConvSpec {
		return backend.ConvSpec{X: backend.Shape{N: n, H: h, W: w, C: c}, Filters: filters, KernelH: 3, KernelW: 3, Multiply: backend.TF32}
	}
	with := func(s backend.ConvSpec, change func(*backend.ConvSpec)) backend.ConvSpec { change(&s); return s }
	for _, c := range []struct {
		name          string
		spec          backend.ConvSpec
		forward, back string // "" where another form is taken
	}{
		{"few blocks", spec(1, 16, 16, 64, 128), "conv_forward_wgmma_wide", "conv_back_input_wgmma"},
		{"many blocks", spec(128, 16, 16, 40, 40), "conv_forward_wgmma_tall", "conv_back_input_wgmma_tall"},
		{"pooled", with(spec(1, 16, 16, 40, 72), func(s *backend.ConvSpec) { s.Pool = 2 }), "conv_forward_wgmma_wide", "conv_back_input_wgmma"},
		{"upsampled", with(spec(1, 8, 8, 40, 40), func(s *backend.ConvSpec) { s.Up = 2 }), "conv_forward_wgmma", ""},
		{"filters of no octets", spec(1, 8, 16, 40, 36), "conv_forward_wgmma", ""},
		{"few channels", spec(1, 8, 16, 32, 40), "conv_forward_wgmma", ""},
		{"no whole tiles", spec(1, 14, 14, 64, 64), "", ""},
		{"strided", with(spec(1, 16, 16, 64, 64), func(s *backend.ConvSpec) { s.Stride = 2 }), "", ""},
		{"bf16", with(spec(1, 16, 16, 64, 80), func(s *backend.ConvSpec) { s.Multiply = backend.BFloat16 }), "conv_forward_wgmma_bf16_wide", "conv_back_input_wgmma_bf16"},
		{"bf16, no octets of pairs", with(spec(1, 16, 16, 40, 72), func(s *backend.ConvSpec) { s.Multiply = backend.BFloat16 }), "", ""},
		{"float32", with(spec(1, 16, 16, 64, 64), func(s *backend.ConvSpec) { s.Multiply = backend.Float32 }), "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := must(backend.NewConv(c.spec))
			narrow := s.Multiply == backend.BFloat16
			for _, cc := range [][2]int{{9, 0}, {8, 0}, {10, 0}} {
				d := openCounterOf(t, cc[0], cc[1])
				forward, back := stored(values{narrow: narrow}, s.X), unpooled(&s, values{narrow: narrow}, 0)
				w, v := forwardWindow(&s), backWindow(&s)
				for _, pass := range []struct {
					src  *source
					w    *window
					back bool
					want string
				}{{&forward, &w, false, c.forward}, {&back, &v, true, c.back}} {
					got := ""
					if f, ok := d.wgmmaFor(&correlation{multiply: s.Multiply, packed: 1}, pass.src, pass.w, pass.back); ok && pass.back {
						got = f.back.Name()
					} else if ok {
						got = f.forward.Name()
					}
					if want := pass.want; cc != [2]int{9, 0} && got != "" || cc == [2]int{9, 0} && got != want {
						t.Errorf("compute capability %d.%d, back %v: form %q, want %q", cc[0], cc[1], pass.back, got, want)
					}
				}
			}
		})
	}
}

// The forms of as many columns give the same bits, so which one is taken may depend on the number of images.
func TestWarpgroupFormsGiveSameBits(t *testing.T) {
	s := must(backend.NewConv(backend.ConvSpec{X: backend.Shape{N: 2, H: 16, W: 16, C: 24}, Filters: 40, KernelH: 3, KernelW: 3, Multiply: backend.TF32, Act: backend.Tanh}))
	d := openCounterOf(t, 9, 0)
	l := d.lane
	a := newConvArgs(t, l, s)
	for i := range wgmmaRounded {
		var results [2][]float32
		for k := range results {
			src, w := stored(l.values(a.x), s.X), forwardWindow(&s)
			f, ok := wgmmaRounded[i][k].launch(s.X.C, &src, &w, false)
			if !ok {
				t.Fatalf("form %s does not take the shape", wgmmaRounded[i][k].forward.Name())
			}
			c := correlation{op: "Conv", out: l.values(a.out), x: l.values(a.x), packed: l.at(a.p.Packed), bias: l.at(a.p.Bias), act: s.Act, multiply: s.Multiply}
			l.productWGMMA(&f, f.forward, &src, &c, &w)
			results[k] = make([]float32, s.Out.Len())
			if err := l.Download(results[k], a.out); err != nil {
				t.Fatal(err)
			}
		}
		if !slices.Equal(results[0], results[1]) {
			t.Errorf("%s and %s differ", wgmmaRounded[i][0].forward.Name(), wgmmaRounded[i][1].forward.Name())
		}
	}
}
