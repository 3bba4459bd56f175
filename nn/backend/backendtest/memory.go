package backendtest

import (
	"fmt"
	"slices"

	"github.com/convae/convae/nn/backend"
)

func memoryCases() []Case {
	cases := []Case{housekeeping()}
	special := mixed(normal(1), nan, inf, -inf, 1e-40, 3e38)
	for _, s := range []shape{{N: 1, H: 1, W: 1, C: 1}, {N: 3, H: 5, W: 7, C: 3}, {N: 2, H: 1, W: 257, C: 1}, {N: 2, H: 3, W: 2, C: 31}, {N: 7, H: 2, W: 3, C: 33}, {N: 1, H: 28, W: 28, C: 64}} {
		cases = append(cases, roundTrip(activation("out", s, special)), roundTrip(param("out", s, special)),
			roundTrip(flat("out", s.Len(), special)), bytesRoundTrip(s))
	}
	views := roundTrip(activation("out", shape{N: 3, H: 5, W: 4, C: 3}, special))
	views.Name += "-of4"
	views.args[0].images = 4
	shifted := roundTrip(flat("out", 257, special))
	shifted.Name += "-at3"
	shifted.args[0].shift = 3
	return append(cases, views, shifted, fetch(1), fetch(backend.MaxFetch),
		bordered(roundTrip(activation("out", shape{N: 2, H: 4, W: 5, C: 3}, normal(1))), "out"))
}

func roundTripName(r backend.Role, s shape) string {
	return fmt.Sprintf("memory/%v/%dx%dx%dx%d", r, s.N, s.H, s.W, s.C)
}

// roundTrip uploads a's values afresh. An Upload has read them when it returns, so they may be overwritten.
func roundTrip(a arg) Case {
	x := flat("x", a.shape.Len(), a.fill)
	dst := a.out(exact)
	dst.fill = nil
	return Case{
		Name: roundTripName(a.role, a.shape), Ops: []string{"Upload", "Download"},
		args: []arg{x, dst},
		run: func(b backend.Backend, t tensors) {
			v := make([]float32, x.shape.Len())
			check(b.Download(v, t["x"]))
			b.Upload(t["out"], v)
			clear(v)
		},
		reference: func(d data) values { return values{"out": {v: d["x"]}} },
	}
}

// fetch copies n values to the host without waiting, the second of two times.
func fetch(n int) Case {
	x := flat("x", n, mixed(normal(1), nan, inf, -inf, 1e-40, 3e38))
	x.shift = 3
	return Case{
		Name: fmt.Sprintf("memory/fetch/%d", n), Ops: []string{"Fetch", "Fetched"},
		args: []arg{x, flat("out", n, nil).out(exact)},
		run: func(b backend.Backend, t tensors) {
			v := make([]float32, n)
			b.Fetch(t["out"])
			b.Fetch(t["x"])
			check(b.Sync())
			if !b.Fetched(v) {
				panic("what was fetched has not arrived after Sync")
			}
			b.Upload(t["out"], v)
			if b.Fetched(v) {
				panic("what was fetched arrives twice")
			}
		},
		reference: func(d data) values { return values{"out": {v: d["x"]}} },
	}
}

func bytesRoundTrip(s shape) Case {
	return Case{
		Name: roundTripName(backend.Pixels, s), Ops: []string{"UploadBytes", "DownloadBytes"},
		args: []arg{pixelsArg("x", s, grid(0, 255, 1)), pixelsArg("out", s, nil).out(exact)},
		run: func(b backend.Backend, t tensors) {
			v := make([]byte, s.Len())
			check(b.DownloadBytes(v, t["x"]))
			b.UploadBytes(t["out"], v)
			clear(v)
		},
		reference: func(d data) values { return values{"out": {v: d["x"]}} },
	}
}

// check panics for an error within a run: the panic becomes the result's error.
func check(err error) {
	if err != nil {
		panic(err)
	}
}

// housekeeping checks what has no result to compare: names, sizes, memory that starts zeroed and is given back.
func housekeeping() Case {
	return Case{
		Name: "memory/housekeeping", Ops: []string{"Name", "Alloc", "Free", "Bytes", "SetWorkspace", "Sync"},
		reference: func(data) values { return nil },
		run: func(b backend.Backend, _ tensors) {
			if b.Name() == "" {
				panic("the backend has no name")
			}
			for _, s := range []shape{{N: 1, H: 1, W: 1, C: 1}, {N: 3, H: 5, W: 7, C: 3}, {N: 2, H: 31, W: 3, C: 33}} {
				for r := range backend.PerStep + 1 {
					d := r.DType()
					least, fixed := d.Size()*s.Len(), r == backend.Flat || r == backend.Packed
					if r == backend.PerStep {
						s, least = backend.Vec(1), 24
					}
					if n := b.Bytes(r, d, s); n < least || fixed && n != least {
						panic(fmt.Errorf("Bytes(%v, %v, %v) is %d, want %d", r, d, s, n, least))
					}
				}
				if n := b.Bytes(backend.Flat, backend.BFloat16, s); n != 2*s.Len() {
					panic(fmt.Errorf("Bytes(%v, %v, %v) is %d, want %d", backend.Flat, backend.BFloat16, s, n, 2*s.Len()))
				}
			}
			const n = 1031
			t := backend.Tensor{Role: backend.Flat, Shape: backend.Vec(n)}
			v, w := slices.Repeat([]float32{7}, n), make([]float32, n)
			for range 3 { // memory that was used before is zeroed too
				var err error
				t.Buffer, err = b.Alloc(4 * n)
				check(err)
				if t.Buffer.Size() < 4*n {
					panic(fmt.Errorf("a buffer of %d bytes has %d", 4*n, t.Buffer.Size()))
				}
				check(b.Download(w, t))
				if i := slices.IndexFunc(w, func(x float32) bool { return x != 0 }); i >= 0 {
					panic(fmt.Errorf("new memory has %g at element %d", w[i], i))
				}
				b.Upload(t, v)
				b.SetWorkspace(t.Buffer)
				check(b.Sync())
				b.SetWorkspace(nil)
				b.Free(t.Buffer)
			}
		},
	}
}
