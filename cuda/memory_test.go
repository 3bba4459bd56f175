package cuda

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/convae/convae/cuda/driver"
	"github.com/convae/convae/cuda/ptxsim"
	"github.com/convae/convae/nn/backend"
)

func names(calls []driver.FakeCall) []string {
	var s []string
	for _, c := range calls {
		s = append(s, c.Name)
	}
	return s
}

func TestAllocAndFree(t *testing.T) {
	d, f := openFake(t, 7, 5)
	l, before := d.Lanes()[0], f.Allocated()
	for _, n := range []int{0, 1, 4, 5, 4096} {
		f.Calls = nil
		b, err := l.Alloc(n)
		if err != nil || b.Size() != n {
			t.Fatalf("Alloc(%d): %v, %v", n, b, err)
		}
		words := max((n+3)/4, 1)
		if c := f.Calls; len(c) != 2 || c[0].Name != "Alloc" || c[1].Name != "Fill" || c[1].Ptr != c[0].Ptr || c[1].N != words || c[0].N != 4*words {
			t.Errorf("Alloc(%d): %+v, want %d words allocated and cleared", n, f.Calls, words)
		}
		l.Free(b)
		if got := names(f.Calls[2:]); !slices.Equal(got, []string{"Synchronize", "Free"}) {
			t.Errorf("Free: %v", got)
		}
	}
	if n := f.Allocated(); n != before {
		t.Errorf("%d bytes are still allocated", n-before)
	}
	for _, n := range []int{-1, math.MinInt, math.MaxInt, 1 << 51} {
		if b, err := l.Alloc(n); err == nil {
			t.Errorf("Alloc(%d) gave %d bytes", n, b.Size())
		}
	}
	if free, err := d.Free(); err != nil || free != 1<<50-before {
		t.Errorf("Free() = %d, %v", free, err)
	}
	if err := l.Sync(); err != nil {
		t.Errorf("memory that is not there has made the device fail: %v", err)
	}
	// A buffer that cannot be cleared is given back.
	f.Fail = func(c driver.FakeCall) error {
		if c.Name == "Fill" {
			return errors.New("planted")
		}
		return nil
	}
	if _, err := l.Alloc(8); err == nil || f.Allocated() != before {
		t.Errorf("error %v, %d bytes are still allocated", err, f.Allocated()-before)
	}
}

// An upload has read its slice when it returns, also where the device copies from pageable memory whenever it likes.
func TestUploadHasRead(t *testing.T) {
	d, err := Open(&driver.Late{Driver: ptxsim.New(ptxsim.Options{})}, 0, "late")
	if err != nil {
		t.Fatal(err)
	}
	l, s := d.Lanes()[0], backend.Vec(5)
	x, pixels, order := tensor(t, l, backend.Flat, s), tensor(t, l, backend.Pixels, s), tensor(t, l, backend.Index, s)
	values, raw, index := []float32{1, 2, 3, 4, 5}, []byte{6, 7, 8, 9, 10}, []int32{0, 1, 2, 3, 4}
	l.Upload(x, values)
	clear(values)
	l.UploadBytes(pixels, raw)
	clear(raw)
	l.UploadIndex(order, index)
	clear(index)
	if err := errors.Join(l.Download(values, x), l.DownloadBytes(raw, pixels)); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(values, []float32{1, 2, 3, 4, 5}) || !slices.Equal(raw, []byte{6, 7, 8, 9, 10}) {
		t.Errorf("the device has %v and %v, which were written after Upload", values, raw)
	}
	// More than two pieces of pinned memory.
	large := make([]float32, 2*largeUpload/4+5)
	for i := range large {
		large[i] = float32(i)
	}
	y := tensor(t, l, backend.Flat, backend.Vec(len(large)))
	l.Upload(y, large)
	clear(large)
	if err := l.Download(large, y); err != nil {
		t.Fatal(err)
	}
	for i, v := range large {
		if v != float32(i) {
			t.Fatalf("element %d of a large upload is %v", i, v)
		}
	}
	// An Index cannot be downloaded: its samples are drawn.
	clean := tensor(t, l, backend.Activation, backend.Shape{N: 5, H: 1, W: 1, C: 1})
	stepParams := tensor(t, l, backend.PerStep, backend.Vec(1))
	l.GatherValues(0, src, clean, backend.Tensor{}, x, order, stepParams, 0)
	if err := l.Download(values, clean); err != nil || !slices.Equal(values, []float32{1, 2, 3, 4, 5}) {
		t.Errorf("drawn in order: %v, error %v", values, err)
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
}

func TestMistakesPanic(t *testing.T) {
	d, _ := openFake(t, 7, 5)
	o, _ := openFake(t, 7, 5)
	l, other := d.Lanes()[0], o.Lanes()[0]
	shape := backend.Shape{N: 1, H: 4, W: 4, C: 2}
	x := tensor(t, l, backend.Activation, shape)
	with := func(f func(*backend.Tensor)) backend.Tensor { y := x; f(&y); return y }
	freed := tensor(t, l, backend.Activation, shape)
	l.Free(freed.Buffer)
	stepParams := tensor(t, l, backend.PerStep, backend.Vec(1))
	pixels, order := tensor(t, l, backend.Pixels, shape), tensor(t, l, backend.Index, backend.Vec(1))
	pool := must(backend.NewPool(backend.PoolSpec{X: shape, Size: 2}))
	out := tensor(t, l, backend.Activation, pool.Out)
	flat := tensor(t, l, backend.Flat, backend.Vec(9))
	for name, c := range map[string]struct {
		want string
		call func()
	}{
		"another device": {errBuffer, func() { other.Zero(x) }},
		"no buffer":      {backend.MistakeMissing, func() { l.Activate(backend.Function{Act: backend.ReLU}, x, backend.Tensor{Shape: shape}) }},
		"freed":          {errBuffer, func() { l.Zero(freed) }},
		"freed twice":    {errBuffer, func() { l.Free(freed.Buffer) }},
		"workspace":      {errBuffer, func() { other.SetWorkspace(x.Buffer) }},
		"free":           {errBuffer, func() { other.Free(x.Buffer) }},
		"kind":           {backend.MistakeRole, func() { l.Copy(x, with(func(t *backend.Tensor) { t.Role = backend.Param })) }},
		"zero of bytes":  {backend.MistakeRole, func() { l.Zero(pixels) }},
		"axpy":           {backend.MistakeRole, func() { l.Axpy(x, 1, x) }},
		"argmax":         {backend.MistakeRole, func() { l.MaxPoolBack(pool, x, out, out) }},
		"stepParams":     {backend.MistakeRole, func() { l.Normal(src, x, flat, 0) }},
		"shape":          {backend.MistakeShape, func() { l.Copy(x, with(func(t *backend.Tensor) { t.Shape.C = 1 })) }},
		"reshape":        {backend.MistakeShape, func() { l.Reshape(x, out) }},
		"pool":           {backend.MistakeShape, func() { l.MaxPool(pool, x, backend.Tensor{}, x) }},
		"plus":           {backend.MistakeShape, func() { l.Plus(out, out, x) }},
		"channels":       {backend.MistakeShape, func() { l.CopyChannels(x, 0, out, 0, 1) }},
		"channel kind":   {backend.MistakeRole, func() { l.CopyChannels(x, 0, with(func(t *backend.Tensor) { t.Role = backend.Pixels }), 0, 1) }},
		"to too large":   {backend.MistakeChannels, func() { l.CopyChannels(x, 1, x, 0, 2) }},
		"from too large": {backend.MistakeChannels, func() { l.CopyChannels(x, 0, x, 2, 1) }},
		"to below 0":     {backend.MistakeChannels, func() { l.CopyChannels(x, -1, x, 0, 1) }},
		"from below 0":   {backend.MistakeChannels, func() { l.CopyChannels(x, 0, x, -1, 1) }},
		"count below 0":  {backend.MistakeChannels, func() { l.CopyChannels(x, 1, x, 1, -1) }},
		"huge count":     {backend.MistakeChannels, func() { l.CopyChannels(x, 1, x, 1, math.MaxInt) }},
		"loss of many":   {backend.MistakeShape, func() { l.MSE(1, flat, backend.Tensor{}, x, x, x) }},
		"states": {backend.MistakeShape, func() {
			l.Adam(backend.Adam{}, backend.Update{Param: flat, State: [2]backend.Tensor{flat, flat.Range(0, 8)}, Grad: flat, StepParams: stepParams, Rate: 1})
		}},
		"values":           {backend.MistakeShape, func() { l.GatherValues(0, src, x, backend.Tensor{}, flat, order, stepParams, 0) }},
		"pixels":           {backend.MistakeShape, func() { l.GatherPixels(0, src, out, backend.Tensor{}, pixels, order, stepParams, 0) }},
		"beyond":           {backend.MistakeBounds, func() { l.Zero(with(func(t *backend.Tensor) { t.Offset = backend.Align })) }},
		"before":           {backend.MistakeBounds, func() { l.Zero(with(func(t *backend.Tensor) { t.Offset = -backend.Align })) }},
		"offset":           {backend.MistakeAlign, func() { l.Zero(with(func(t *backend.Tensor) { t.Offset = 4 })) }},
		"flat offset":      {backend.MistakeAlign, func() { l.Zero(with(func(t *backend.Tensor) { t.Offset = 2; t.Role = backend.Flat })) }},
		"upload":           {backend.MistakeLength, func() { l.Upload(x, make([]float32, 3)) }},
		"download":         {backend.MistakeLength, func() { _ = l.Download(make([]float32, 3), x) }},
		"upload of bytes":  {backend.MistakeLength, func() { l.UploadBytes(pixels, make([]byte, 3)) }},
		"geometry of pool": {backend.MistakeGeometry, func() { s := pool; s.Stride = 0; l.MaxPool(s, out, backend.Tensor{}, x) }},
		"activation":       {backend.MistakeAct, func() { l.Activate(backend.Function{Act: 99}, x, x) }},
		"parameter":        {backend.MistakeAlpha, func() { l.Activate(backend.Function{Act: backend.ELU}, x, x) }},
		"sum":              {backend.MistakeSum, func() { l.Sum(flat, nil) }},
		"rate":             {backend.MistakeRate, func() { l.Dropout(1, src, x, x, stepParams, 0) }},
		"rate of NaN":      {backend.MistakeRate, func() { l.Dropout(float32(math.NaN()), src, x, x, stepParams, 0) }},
		"index":            {backend.MistakeIndex, func() { l.GatherPixels(0, src, x, backend.Tensor{}, pixels, order, stepParams, -1) }},
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

// The first failure wins, is named after its op, and ends all work.
func TestFailuresAreKept(t *testing.T) {
	planted := errors.New("planted")
	for name, c := range map[string]struct {
		fails string // the call of the driver that fails; "" is a kernel that fails when it runs
		want  string
	}{
		"launch":      {"act_forward", "cuda:0: Activate: planted"},
		"copy":        {"Copy", "cuda:0: Copy: planted"},
		"fill":        {"Fill", "cuda:0: Zero: planted"},
		"upload":      {"ToDevice", "cuda:0: Upload: planted"},
		"download":    {"ToHost", "cuda:0: Download: planted"},
		"synchronize": {"Synchronize", "cuda:0: after Copy: planted"},
		"later":       {"", "cuda:0: after Copy: planted"},
	} {
		t.Run(name, func(t *testing.T) {
			d, f := openFake(t, 7, 5)
			l := d.Lanes()[0]
			x := tensor(t, l, backend.Activation, backend.Vec(8))
			v := make([]float32, 8)
			f.Fail = func(call driver.FakeCall) error {
				if call.Name == c.fails {
					return planted
				}
				return nil
			}
			if c.fails == "" {
				f.FailLater(planted)
			}
			l.Upload(x, v)
			l.Zero(x)
			l.Activate(backend.Function{Act: backend.ReLU}, x, x)
			l.Copy(x, x)
			if err := l.Download(v, x); err == nil || err.Error() != c.want || !errors.Is(err, planted) {
				t.Fatalf("Download: %v, want %s", err, c.want)
			}
			f.Fail = func(driver.FakeCall) error { return errors.New("another") }
			f.Calls = nil
			l.Upload(x, v)
			l.Zero(x)
			l.Activate(backend.Function{Act: backend.ReLU}, x, x)
			l.Free(x.Buffer)
			if err := l.Sync(); err == nil || err.Error() != c.want {
				t.Errorf("Sync: %v, want %s", err, c.want)
			}
			if err := l.DownloadBytes(nil, tensorOf(d.lane)); err == nil || err.Error() != c.want {
				t.Errorf("DownloadBytes: %v, want %s", err, c.want)
			}
			if _, err := l.Alloc(4); err == nil || err.Error() != c.want {
				t.Errorf("Alloc: %v, want %s", err, c.want)
			}
			if len(f.Calls) > 0 {
				t.Errorf("after the failure: %v", names(f.Calls))
			}
		})
	}
}

// tensorOf returns a Byte tensor of nothing.
func tensorOf(l *lane) backend.Tensor {
	return backend.Tensor{Role: backend.Pixels, Type: backend.Uint8, Shape: backend.Vec(0), Buffer: &buffer{dev: l.dev, ptr: 256}}
}

func TestOpenFails(t *testing.T) {
	planted := errors.New("planted")
	for name, want := range map[string]string{
		"Open": "cuda:3: planted", "Load": "cuda:3: loading vector_clock: planted", "NewStream": "cuda:3: making a stream: planted",
		"Alloc": "cuda:3: allocating 8192 bytes: planted",
	} {
		f := driver.NewFake(driver.Info{Major: 7, Minor: 5, Memory: 1 << 20})
		f.Fail = func(c driver.FakeCall) error {
			if c.Name == name {
				return planted
			}
			return nil
		}
		_, err := Open(f, 0, "cuda:3")
		if err == nil || err.Error() != want {
			t.Errorf("%s: error %v, want %s", name, err, want)
		}
		if got := names(f.Calls); name != "Open" && (len(got) == 0 || got[len(got)-1] != "Close") {
			t.Errorf("%s: the device is left open: %v", name, got)
		}
	}
	old := driver.NewFake(driver.Info{Major: 6, Minor: 1, Memory: 1 << 20})
	if _, err := Open(old, 0, "cuda:0"); err == nil || !strings.Contains(err.Error(), "compute capability 6.1") {
		t.Errorf("on an old device: %v", err)
	}
	if _, err := Open(old, 1, "cuda:1"); err == nil || !strings.Contains(err.Error(), "no device 1") {
		t.Errorf("without a device: %v", err)
	}
}

func TestClose(t *testing.T) {
	d, f := openFake(t, 7, 5)
	tensor(t, d.Lanes()[0], backend.Flat, backend.Vec(5))
	if err := d.Close(); err != nil || f.Allocated() != 0 {
		t.Errorf("error %v, %d bytes left", err, f.Allocated())
	}
	if got := names(f.Calls); !slices.Equal(got[len(got)-2:], []string{"Synchronize", "Close"}) {
		t.Errorf("Close: %v", got)
	}
	d, f = openFake(t, 7, 5)
	f.FailLater(errors.New("planted"))
	d.Lanes()[0].Zero(tensor(t, d.Lanes()[0], backend.Flat, backend.Vec(5)))
	if err := d.Close(); err == nil || !strings.Contains(err.Error(), "planted") {
		t.Errorf("Close of a device that failed: %v", err)
	}
}
