package cuda

import (
	"slices"
	"testing"

	"github.com/convae/convae/cuda/driver"
	"github.com/convae/convae/cuda/ptxsim"
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
		{"many blocks", spec(128, 16, 16, 40, 40), "conv_forward_wgmma_turned", "conv_back_input_wgmma_turned"},
		{"an odd number of tiles high", spec(128, 24, 16, 40, 40), "conv_forward_wgmma_tall", "conv_back_input_wgmma_tall"},
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

// The forms of as many columns give the same bits, so which one is taken may depend on the number of images; and have few bank conflicts.
func TestWarpgroupFormsGiveSameBits(t *testing.T) {
	with := func(s backend.ConvSpec, change func(*backend.ConvSpec)) backend.ConvSpec { change(&s); return s }
	spec := func(h, w, c, filters, pool int) backend.ConvSpec {
		return backend.ConvSpec{X: backend.Shape{N: 2, H: h, W: w, C: c}, Filters: filters, KernelH: 3, KernelW: 3, Pool: pool, Padding: backend.Same, Act: backend.Tanh}
	}
	for _, c := range []struct {
		backend.ConvSpec
		back bool
	}{
		{spec(16, 16, 24, 40, 1), false}, {spec(32, 8, 24, 40, 2), false}, {spec(16, 16, 40, 24, 1), true}, {spec(16, 32, 48, 72, 2), false}, {spec(16, 16, 72, 24, 1), true}, {spec(32, 8, 40, 24, 2), true},
		{with(spec(8, 8, 24, 72, 1), func(s *backend.ConvSpec) { s.X.N = 3 }), false}, // an image is half of a block's strips, or a quarter
		{with(spec(8, 8, 40, 72, 1), func(s *backend.ConvSpec) { s.X.N, s.KernelH, s.KernelW = 5, 5, 1 }), true},
		{with(spec(8, 8, 112, 72, 1), func(s *backend.ConvSpec) { s.Up, s.KernelH, s.KernelW = 2, 2, 5 }), false},
		{with(spec(24, 16, 40, 24, 1), func(s *backend.ConvSpec) { s.KernelW = 2 }), true}, // blocks of 256 have rows of two images
	} {
		for _, c.Multiply = range []backend.DType{backend.TF32, backend.BFloat16} {
			if c.Multiply == backend.BFloat16 { // twice as many channels make as many words
				c.X.C, c.Filters = 2*c.X.C/16*16, c.Filters/16*16+16
			}
			s := must(backend.NewConv(c.ConvSpec))
			d := openCounterOf(t, 9, 0)
			l := d.lane
			a := newConvArgs(t, l, s)
			if s.Pool > 1 {
				a.forward(l, s) // which makes the arg-max
			}
			src, w, out, forms := stored(l.values(a.x), s.X), forwardWindow(&s), a.out, &wgmmaRounded
			k := correlation{op: "Conv", out: l.values(a.out), x: l.values(a.x), packed: l.at(a.p.Packed), bias: l.at(a.p.Bias), act: s.Act, multiply: s.Multiply}
			if s.Pool > 1 {
				k.argmax = l.at(a.argmax)
			}
			if c.back {
				forward, _ := l.dev.packing(&s)
				src, w, out = unpooled(&s, l.values(a.gradOut), l.at(a.argmax)), backWindow(&s), a.gradX
				k = correlation{op: "ConvBackInput", out: l.values(a.gradX), x: l.values(a.gradOut), xArgmax: l.at(a.argmax), mask: l.values(a.x),
					packed: l.at(a.p.Packed) + driver.Ptr(4*forward.words), multiply: s.Multiply, inAct: backend.ReLU}
			}
			if s.Multiply == backend.BFloat16 {
				forms = &wgmmaPairs
			}
			list := forms[0]
			if w.out.C > list[0].columns {
				list = forms[1]
			}
			var first []float32
			for i := range 2 * len(list) { // each in both forms, if there is one that is fed
				f, ok := list[i/2].launch(wordsOf(s.Multiply, src.c), &src, &w, c.back)
				if !ok {
					if s.Conv.H/s.Up%16 == 0 || i/2 == len(list)-1 {
						t.Errorf("form %s does not take %v", list[i/2].forward.Name(), s.X)
					}
					continue
				}
				if i%2 == 1 {
					fed := f.fedBy(wordsOf(s.Multiply, src.c), &src, &w, c.back)
					if want := s.Multiply == backend.BFloat16 && f.columns == 128 && !(c.back && s.Pool > 1) && !(s.Conv.H == 24 && f.positions == 256); fed != want {
						t.Errorf("%v, %s, back %v: fed %v, want %v", s.X, list[i/2].forward.Name(), c.back, fed, want)
					}
					if !fed {
						continue
					}
				}
				d.launches = nil
				l.productWGMMA(&f, &src, &k, &w, c.back)
				if l.err != nil {
					t.Fatal(l.err)
				}
				n := d.launches[0]
				if n.BankConflicts*100 > 3*n.SharedRequests {
					t.Errorf("%v, %s: %d extra passes for %d requests to shared memory, want at most 3 %%", s.X, n.Kernel, n.BankConflicts, n.SharedRequests)
				}
				got := make([]float32, out.Shape.Len())
				if err := l.Download(got, out); err != nil {
					t.Fatal(err)
				}
				if first == nil {
					first = got
				}
				if !slices.Equal(first, got) {
					t.Errorf("%v, %v: %s and %s differ", s.X, s.Multiply, list[0].forward.Name(), n.Kernel)
				}
			}
		}
	}
}

// A device takes the form that is fed only if its driver knows tensor maps.
func TestFedFormNeedsTensorMaps(t *testing.T) {
	s := must(backend.NewConv(backend.ConvSpec{X: backend.Shape{N: 1, H: 16, W: 16, C: 64}, Filters: 80, KernelH: 3, KernelW: 3, Multiply: backend.BFloat16}))
	for version, want := range map[int]bool{12000: true, 11080: false} {
		d, err := Open(ptxsim.New(ptxsim.Options{Major: 9, Driver: version, Workers: 1}), 0, "sim")
		if err != nil {
			t.Fatal(err)
		}
		src, w := stored(values{narrow: true}, s.X), forwardWindow(&s)
		f, ok := d.wgmmaFor(&correlation{multiply: s.Multiply, packed: 1}, &src, &w, false)
		if fed := f.feed.boxes > 0; !ok || fed != want {
			t.Errorf("driver for CUDA %d: fed %v, want %v", version, fed, want)
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// A residue that sees fewer taps than others needs more pools.
func TestPoolsOfResidues(t *testing.T) {
	for _, c := range []struct{ stages, kernel, residues, want int }{{5, 3, 1, 3}, {8, 3, 1, 4}, {5, 2, 2, 5}, {5, 3, 2, 3}, {1, 1, 1, 1}} {
		if got := poolsOf(c.stages, &window{kh: c.kernel, residues: c.residues}); got != c.want {
			t.Errorf("%d stages, %d taps of %d residues: %d pools, want %d", c.stages, c.kernel, c.residues, got, c.want)
		}
	}
}
