package cpu

import (
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/convae/convae/nn/backend"
)

func TestAllocOfAbsurdSizes(t *testing.T) {
	l := open(t, false)
	for _, n := range []int{-1, math.MinInt, math.MaxInt, math.MaxInt - 3, math.MaxInt / 2} {
		if b, err := l.Alloc(n); err == nil {
			t.Errorf("Alloc(%d) gave %d bytes", n, b.Size())
		} else if !strings.HasPrefix(err.Error(), "cpu: ") {
			t.Errorf("Alloc(%d): %v, want an error of this package", n, err)
		}
	}
	d, err := Open(Options{})
	if err != nil {
		t.Fatal(err)
	}
	free, err := d.Free()
	if err != nil || free < 1<<20 {
		t.Errorf("Free() = %d, %v", free, err)
	}
	if _, err := Open(Options{Lanes: -1}); err == nil {
		t.Error("-1 lanes were accepted")
	}
}

func TestAllocIsZeroedAndExact(t *testing.T) {
	l := open(t, false)
	for _, n := range []int{0, 1, 3, 4, 5, 255, 4096, 100001} {
		b, err := l.Alloc(n)
		if err != nil || b.Size() != n {
			t.Fatalf("Alloc(%d): %v, %v", n, b, err)
		}
		v := make([]byte, n)
		x := backend.Tensor{Shape: backend.Vec(n), Role: backend.Pixels, Type: backend.Uint8, Buffer: b}
		if err := l.DownloadBytes(v, x); err != nil || !slices.Equal(v, make([]byte, n)) {
			t.Errorf("%d bytes are not zeroed: %v", n, err)
		}
		l.Free(b)
	}
}

func TestMistakesPanic(t *testing.T) {
	l, other := open(t, false), open(t, false)
	shape := backend.Shape{N: 1, H: 4, W: 4, C: 2}
	x := tensor(t, l, backend.Activation, shape, 1)
	with := func(f func(*backend.Tensor)) backend.Tensor { y := x; f(&y); return y }
	freed := tensor(t, l, backend.Activation, shape, 1)
	l.Free(freed.Buffer)
	conv := newConvCase(t, l, backend.ConvSpec{X: shape, Filters: 3, KernelH: 3, KernelW: 3, Pool: 2}, 1)
	place := backend.Tensor{Shape: backend.Vec(1), Role: backend.Index, Type: backend.Int32, Buffer: x.Buffer}
	l.UploadIndex(place, []int32{5})
	stepParams := tensor(t, l, backend.PerStep, backend.Vec(1), 0)
	for name, c := range map[string]struct {
		want string
		call func()
	}{
		"another device": {errBuffer, func() { other.Zero(x) }},
		"no buffer":      {backend.MistakeMissing, func() { l.Activate(backend.Function{Act: backend.ReLU}, x, backend.Tensor{Shape: shape}) }},
		"freed":          {errBuffer, func() { l.Zero(freed) }},
		"workspace":      {errBuffer, func() { other.SetWorkspace(x.Buffer) }},
		"free":           {errBuffer, func() { other.Free(x.Buffer) }},
		"kind":           {backend.MistakeRole, func() { l.Copy(x, with(func(t *backend.Tensor) { t.Role = backend.Param })) }},
		"axpy":           {backend.MistakeRole, func() { l.Axpy(x, 1, x) }},
		"shape":          {backend.MistakeShape, func() { l.Copy(x, with(func(t *backend.Tensor) { t.Shape.C = 1 })) }},
		"beyond":         {backend.MistakeBounds, func() { l.Zero(with(func(t *backend.Tensor) { t.Offset = backend.Align })) }},
		"before":         {backend.MistakeBounds, func() { l.Zero(with(func(t *backend.Tensor) { t.Offset = -backend.Align })) }},
		"offset":         {backend.MistakeAlign, func() { l.Zero(with(func(t *backend.Tensor) { t.Offset = 4 })) }},
		"flat offset":    {backend.MistakeAlign, func() { l.Zero(with(func(t *backend.Tensor) { t.Offset = 2; t.Role = backend.Flat })) }},
		"upload":         {backend.MistakeLength, func() { l.Upload(x, make([]float32, 3)) }},
		"download":       {backend.MistakeLength, func() { _ = l.Download(make([]float32, 3), x) }},
		"geometry":       {backend.MistakeGeometry, func() { s := conv.s; s.Stride = 0; l.Conv(s, conv.out, conv.argmax, conv.x, conv.p) }},
		"plus":           {backend.MistakeShape, func() { l.Plus(x, x, conv.out) }},
		"channels":       {backend.MistakeShape, func() { l.CopyChannels(x, 0, conv.out, 0, 1) }},
		"channel kind":   {backend.MistakeRole, func() { l.CopyChannels(x, 0, with(func(t *backend.Tensor) { t.Role = backend.Pixels }), 0, 1) }},
		"to too large":   {backend.MistakeChannels, func() { l.CopyChannels(x, 1, x, 0, 2) }},
		"from too large": {backend.MistakeChannels, func() { l.CopyChannels(x, 0, x, 2, 1) }},
		"to below 0":     {backend.MistakeChannels, func() { l.CopyChannels(x, -1, x, 0, 1) }},
		"from below 0":   {backend.MistakeChannels, func() { l.CopyChannels(x, 0, x, -1, 1) }},
		"count below 0":  {backend.MistakeChannels, func() { l.CopyChannels(x, 1, x, 1, -1) }},
		"huge count":     {backend.MistakeChannels, func() { l.CopyChannels(x, 1, x, 1, math.MaxInt) }},
		"weights":        {backend.MistakeShape, func() { p := conv.p; p.W = p.Bias; l.Conv(conv.s, conv.out, conv.argmax, conv.x, p) }},
		"packed":         {backend.MistakeRole, func() { p := conv.p; p.Packed = p.W; l.Conv(conv.s, conv.out, conv.argmax, conv.x, p) }},
		"argmax":         {backend.MistakeMissing, func() { l.ConvBackInput(conv.s, conv.gradX, conv.gradOut, backend.Tensor{}, conv.p, conv.x) }},
		"no workspace":   {errWorkspace, func() { l.SetWorkspace(nil); conv.forward() }},
		"activation":     {backend.MistakeAct, func() { l.Activate(backend.Function{Act: 99}, x, x) }},
		"parameter":      {backend.MistakeAlpha, func() { l.Activate(backend.Function{Act: backend.ELU}, x, x) }},
		"sum":            {backend.MistakeSum, func() { l.Sum(x, nil) }},
		"rate":           {backend.MistakeRate, func() { l.Dropout(1, src, x, x, stepParams, 0) }},
		"index": {backend.MistakeIndex, func() {
			p := tensor(t, l, backend.Pixels, shape, 0)
			l.GatherPixels(0, src, x, backend.Tensor{}, p, place, stepParams, 0)
		}},
		"order": {backend.MistakeIndex, func() {
			p := tensor(t, l, backend.Pixels, shape, 0)
			l.GatherPixels(0, src, x, backend.Tensor{}, p, place, stepParams, 1)
		}},
	} {
		func() {
			defer func() {
				if got := recover(); got != c.want {
					t.Errorf("%s: panic %v, want %q", name, got, c.want)
				}
			}()
			c.call()
		}()
	}
}

// An op must work on any aligned part of a buffer, and a Flat one on any range.
func TestOffsets(t *testing.T) {
	l := open(t, false)
	all := tensor(t, l, backend.Flat, backend.Vec(1000), 1)
	want := values(t, l, all)
	l.Zero(all.Range(3, 8))
	clear(want[3:8])
	a := backend.Tensor{Shape: backend.Shape{N: 1, H: 2, W: 3, C: 5}, Role: backend.Activation, Buffer: all.Buffer, Offset: 2 * backend.Align}
	l.Activate(backend.Function{Act: backend.ReLU}, a, a)
	for i := 128; i < 158; i++ {
		want[i] = max(want[i], 0)
	}
	l.Sum(all.Range(1, 3), []backend.Tensor{all.Range(10, 12), all.Range(21, 23)})
	want[1], want[2] = want[10]+want[21], want[11]+want[22]
	if !slices.Equal(values(t, l, all), want) {
		t.Error("an op on a part of a buffer did something else")
	}
}
