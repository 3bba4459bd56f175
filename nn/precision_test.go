package nn

import (
	"testing"

	"github.com/convae/convae/nn/backend"
)

// No precision but float32 is computed in, and none is taken in silence.
func TestPrecisionIsFloat32(t *testing.T) {
	m := mustModel(t, coder())
	for p, want := range map[backend.Precision]string{
		{Multiply: backend.BFloat16}: "nn: precision is multiply bfloat16, store float32: this build computes in float32 only",
		{Store: backend.BFloat16}:    "nn: precision is multiply float32, store bfloat16: this build computes in float32 only",
		{Store: backend.Int32}:       "nn: precision is multiply float32, store int32: this build computes in float32 only",
	} {
		_, err := NewTrainer(m, openTest(t), TrainerOptions{Batch: 2, Precision: p})
		_, err2 := NewNetwork(m, openTest(t), NetworkOptions{Precision: p})
		for _, err := range []error{err, err2} {
			if err == nil || err.Error() != want {
				t.Errorf("%v: error %v, want %q", p, err, want)
			}
		}
	}
	net, err := NewNetwork(m, openTest(t), NetworkOptions{Precision: backend.Precision{Multiply: backend.Float32, Store: backend.Float32}})
	if err != nil {
		t.Fatal(err)
	}
	net.Close()
	if _, err := NewNetwork(m, openTest(t), NetworkOptions{Batch: -1}); err == nil {
		t.Error("a batch of -1 samples is taken")
	}
}
