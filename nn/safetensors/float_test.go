package safetensors

import (
	"encoding/binary"
	"math"
	"testing"
)

// Every finite half, and the infinities, has its value: the sum of its bits' worth.
func TestHalves(t *testing.T) {
	for h := range 1 << 16 {
		exponent, fraction := h>>10&31, float64(h&1023)/1024
		want := math.Ldexp(1+fraction, exponent-15)
		switch {
		case exponent == 0:
			want = math.Ldexp(fraction, -14)
		case exponent == 31 && fraction == 0:
			want = math.Inf(1)
		case exponent == 31:
			want = math.NaN()
		}
		if h>>15 == 1 {
			want = -want
		}
		tensor := Tensor{Name: "h", DType: F16, Shape: []int{1}, Data: binary.LittleEndian.AppendUint16(nil, uint16(h))}
		got, err := tensor.ToFloat32()
		if err != nil {
			t.Fatal(err)
		}
		v, err := got.Float32s()
		if err != nil {
			t.Fatal(err)
		}
		if x := float64(v[0]); x != want && !(math.IsNaN(x) && math.IsNaN(want)) || math.Signbit(x) != math.Signbit(want) && !math.IsNaN(want) {
			t.Fatalf("%#04x is %v, want %v", h, x, want)
		}
	}
}
