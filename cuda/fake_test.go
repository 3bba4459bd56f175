package cuda

import (
	"testing"

	"github.com/convae/convae/cuda/driver"
	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/rng"
)

var src = rng.Source{Seed: 0x123456789abcdef0, Stream: rng.StreamTest}

// openFake returns a device that records what it is told, of that compute capability. It has memory for any tensor.
func openFake(tb testing.TB, major, minor int) (*Device, *driver.Fake) {
	tb.Helper()
	f := driver.NewFake(driver.Info{Name: "fake", Major: major, Minor: minor, Memory: 1 << 50, SMs: 4})
	d, err := Open(f, 0, "cuda:0")
	if err != nil {
		tb.Fatal(err)
	}
	f.Calls = nil
	return d, f
}

// tensor returns a new tensor.
func tensor(tb testing.TB, l backend.Backend, k backend.Role, s backend.Shape) backend.Tensor {
	tb.Helper()
	b, err := l.Alloc(l.Bytes(k, k.DType(), s))
	if err != nil {
		tb.Fatal(err)
	}
	t := backend.NewTensor(k, s)
	t.Buffer = b
	return t
}

// address is where a tensor is.
func address(t backend.Tensor) uint64 {
	return uint64(t.Buffer.(*buffer).ptr) + uint64(t.Offset)
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
