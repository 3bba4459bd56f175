package use

import (
	"context"

	"github.com/convae/convae/nn"
	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/rng"
)

// Fill fills dst with samples, or codes, lo to hi-1, one after the other.
type Fill func(dst []float32, lo, hi int) error

// Encode returns the codes of n samples, of a variational model the means of their posteriors. It reads no more samples at a
// time than [Chunk] says. When ctx ends, it returns ctx's error soon.
func Encode(ctx context.Context, net *nn.Network, n int, samples Fill) ([]float32, error) {
	return convert(ctx, net.Encode, net.Model().Input, net.Model().Code, n, samples)
}

// Decode returns the samples of n codes, as Encode returns the codes of samples.
func Decode(ctx context.Context, net *nn.Network, n int, codes Fill) ([]float32, error) {
	return convert(ctx, net.Decode, net.Model().Code, net.Model().Output, n, codes)
}

// convert runs n values of one shape through a part of a model that makes values of another.
func convert(ctx context.Context, part func(dst, src []float32, n int) error, from, to backend.Shape, n int, fill Fill) ([]float32, error) {
	y, chunk := make([]float32, n*to.Len()), Chunk(from.Len())
	x := make([]float32, min(n, chunk)*from.Len())
	for lo := 0; lo < n; lo += chunk {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		hi := min(lo+chunk, n)
		some := x[:(hi-lo)*from.Len()]
		if err := fill(some, lo, hi); err != nil {
			return nil, err
		}
		if err := part(y[lo*to.Len():hi*to.Len()], some, hi-lo); err != nil {
			return nil, err
		}
	}
	return y, nil
}

// PriorCodes fills codes with standard normal numbers, each code the same whatever others are asked for.
func PriorCodes(m *nn.Model, seed uint64) Fill {
	size := m.Code.Len()
	src := rng.Source{Seed: seed, Stream: rng.StreamCode}
	return func(dst []float32, lo, hi int) error {
		for row := lo; row < hi; row++ {
			code := dst[(row-lo)*size:][:size]
			for i := 0; i < size; i += 4 {
				z := src.Normals(uint32(i/4), uint32(row), 1) // draw 0 is evaluation's
				copy(code[i:], z[:])
			}
		}
		return nil
	}
}
