//go:build linux || darwin

package simd

import (
	"os"
	"runtime/debug"
	"syscall"
	"testing"
	"unsafe"
)

// fence is memory behind which nothing may be read or written: a page that is not there.
type fence []byte

// fences makes n of them, of at least a number of bytes.
func fences(t testing.TB, n, bytes int) []fence {
	t.Helper()
	page := os.Getpagesize()
	bytes = (bytes + page - 1) &^ (page - 1)
	all := make([]fence, n)
	for i := range all {
		m, err := syscall.Mmap(-1, 0, bytes+page, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { syscall.Munmap(m) })
		if err := syscall.Mprotect(m[bytes:], syscall.PROT_NONE); err != nil {
			t.Fatal(err)
		}
		all[i] = m[:bytes]
	}
	return all
}

// at returns a copy of v that ends at the fence.
func at[T float32 | byte](f fence, v []T) []T {
	bytes := len(v) * int(unsafe.Sizeof(*new(T)))
	copied := unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(f[len(f)-bytes:]))), len(v))
	copy(copied, v)
	return copied
}

// fenced fails if f touches what is behind a fence.
func fenced(t *testing.T, name string, n int, f func()) {
	t.Helper()
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if err := recover(); err != nil {
			t.Fatalf("%s of %d at %v: %v", name, n, Current(), err)
		}
	}()
	f()
}

// No loop reads or writes what is behind its slices.
func TestFences(t *testing.T) {
	f := fences(t, 8, 1<<14)
	levels(t, func(t *testing.T) {
		s := seeded(5)
		for _, e := range elements {
			for n := range 70 {
				v := make([][]float32, e.slices)
				for i := range v {
					v[i] = at(f[i], s.floats(n))
				}
				fenced(t, e.name, n, func() { e.run(v) })
			}
		}
		for n := 1; n < 70; n++ {
			h, w := s.between(1, 3), s.between(1, 5)
			row := 2 * w * n
			dst, src := at(f[0], s.floats(n)), at(f[1], s.floats(h*w*n))
			fenced(t, "AddColumns", n, func() { AddColumns(dst, src, h, w*n, w, n) })
			dst, src = at(f[0], s.floats(w*n)), at(f[1], s.floats(w*n))
			fenced(t, "CopyChannels", n, func() { CopyChannels(dst, n, src, n, w, n) })
			src, places := at(f[1], s.floats(2*row)), at(f[2], make([]byte, w*n))
			fenced(t, "MaxPool", n, func() { MaxPool(dst, places, src, row, 2, w, n) })
			fenced(t, "Unpool", n, func() { Unpool(src, row, dst, places, 2, w, n) })
			fenced(t, "Pixels", n, func() { Pixels(dst, places) })
		}
		for n := 1; n <= Columns(); n++ {
			for mode := range Mask + 1 {
				p := randomProduct(s, s.between(1, 2), s.between(1, 15), n, s.between(1, 9), s.between(1, 3), mode)
				for i, v := range []*[]float32{&p.A, &p.B, &p.C, &p.Bias, &p.Mask} {
					if *v != nil {
						*v = at(f[i], *v)
					}
				}
				fenced(t, "Multiply", n, func() { Multiply(p) })
			}
			o := randomOuter(s, s.between(1, 2), s.between(1, 3), s.between(1, 20), n)
			o.A, o.B, o.C = at(f[0], o.A), at(f[1], o.B), at(f[2], o.C)
			fenced(t, "AddOuter", n, func() { AddOuter(o) })
		}
	})
}
