package rng

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"math"
	"slices"
	"testing"
)

// Known answers published with Random123 (kat_vectors).
func TestPhiloxKnownAnswers(t *testing.T) {
	for _, c := range []struct {
		ctr    [4]uint32
		k0, k1 uint32
		want   [4]uint32
	}{
		{[4]uint32{}, 0, 0, [4]uint32{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
		{[4]uint32{^uint32(0), ^uint32(0), ^uint32(0), ^uint32(0)}, ^uint32(0), ^uint32(0),
			[4]uint32{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
		{[4]uint32{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, 0xa4093822, 0x299f31d0,
			[4]uint32{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
	} {
		if got := Philox(c.ctr, c.k0, c.k1); got != c.want {
			t.Errorf("Philox(%x) = %x, want %x", c.ctr, got, c.want)
		}
	}
}

func TestBoxMullerAgainstFloat64(t *testing.T) {
	s := Source{Seed: 7, Stream: StreamTest}
	worst := 0.0
	check := func(w0, w1 uint32) {
		a, b := BoxMuller(w0, w1)
		r := math.Sqrt(-2 * math.Log(float64(w0>>8+1)/(1<<24)))
		q := float64(w1>>30)*math.Pi/2 + (float64(w1<<2>>8)-1<<23)*math.Pi/2/(1<<24)
		for i, e := range []float64{r*math.Cos(q) - float64(a), r*math.Sin(q) - float64(b)} {
			if e = math.Abs(e) / math.Max(r, 1e-3); e > worst {
				worst = e
			}
			if e > 4e-7 || math.IsNaN(e) {
				t.Fatalf("BoxMuller(%#x, %#x)[%d]: error %g of the radius, bound 4e-7", w0, w1, i, e)
			}
		}
	}
	for i := range uint32(200000) {
		w := s.Words(i, 0, 0)
		check(w[0], w[1])
	}
	edges := []uint32{0, 1, 255, 256, 1 << 30, 1<<30 - 1, 1 << 31, 3 << 30, 0xb504f300, 0xb504f400, ^uint32(0), ^uint32(0) - 256}
	for _, a := range edges {
		for _, b := range edges {
			check(a, b)
		}
	}
	t.Logf("worst error %.2g of the radius", worst)
}

func TestNormalMoments(t *testing.T) {
	s := Source{Seed: 1, Stream: StreamTest}
	const n = 1 << 20
	var m1, m2, m3, m4 float64
	for i := range uint32(n / 4) {
		for _, v := range s.Normals(i, 3, 0) {
			x := float64(v)
			m1, m2, m3, m4 = m1+x, m2+x*x, m3+x*x*x, m4+x*x*x*x
		}
	}
	// Five standard errors of each sample moment.
	for _, c := range []struct {
		name             string
		got, want, sigma float64
	}{{"mean", m1 / n, 0, 1}, {"variance", m2 / n, 1, math.Sqrt(2)}, {"third", m3 / n, 0, math.Sqrt(15)}, {"fourth", m4 / n, 3, math.Sqrt(96)}} {
		if math.Abs(c.got-c.want) > 5*c.sigma/math.Sqrt(n) {
			t.Errorf("%s moment %g, want %g", c.name, c.got, c.want)
		}
	}
}

// The bits are a promise: files made with a seed must stay what they are, on every machine.
func TestNormalBitsPinned(t *testing.T) {
	h := sha256.New()
	s := Source{Seed: 0x0123456789abcdef, Stream: StreamNoise}
	for i := range uint32(10000) {
		z := s.Normals(i, 5, 2)
		binary.Write(h, binary.LittleEndian, z[:])
	}
	const want = "8a98ca2f8bfbf055a62cf7a1ddd725c0"
	if got := hex.EncodeToString(h.Sum(nil)[:16]); got != want {
		t.Errorf("hash of 40,000 normals is %s, want %s", got, want)
	}
}

func TestPerm(t *testing.T) {
	s := Source{Seed: 3, Stream: StreamShuffle}
	p, q := make([]int32, 1000), make([]int32, 1000)
	s.Perm(p, 0)
	s.Perm(q, 1)
	if slices.Equal(p, q) {
		t.Error("two draws gave the same permutation")
	}
	moved := 0
	for i, v := range p {
		if int(v) != i {
			moved++
		}
	}
	if moved < 950 {
		t.Errorf("only %d of 1000 moved", moved)
	}
	slices.Sort(p)
	for i, v := range p {
		if int(v) != i {
			t.Fatalf("not a permutation: %d at %d", v, i)
		}
	}
}
