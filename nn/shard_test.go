package nn

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/convae/convae/cuda/ptxsim"
	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/safetensors"
)

// Sharded training ends with the same bits, and its State is that of one device: it goes on on any number of them.
func TestShardedTrainsAsOne(t *testing.T) {
	for _, c := range []struct {
		name   string
		config Config
		o      TrainerOptions
	}{
		{"adam", zoo()[0], TrainerOptions{Batch: 6, Slots: 6, Noise: 0.2, Seed: 3, Optimizer: Optimizer{Name: "adam"}, Decay: 0.9}},
		{"clipped", deep(), TrainerOptions{Batch: 6, Slots: 3, Clip: Clip{Norm: 0.1}, Kernel: Regularizer{L2: 0.01}, Optimizer: Optimizer{Name: "lamb"}, Bucket: 1500}},
		{"more devices than tensors", zoo()[3], TrainerOptions{Batch: 6, Slots: 6, Optimizer: Optimizer{Name: "sgd", Momentum: 0.9}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if testing.Short() && c.name != "adam" {
				t.Skip("many trainings")
			}
			m := mustModel(t, c.config)
			run := func(n int, from []byte) (state []byte) {
				dev := openSims(t, make([]ptxsim.Options, n)...)
				o := c.o
				o.Sharded = n > 1
				tr, err := NewTrainer(m, dev, o)
				if err != nil {
					t.Fatal(err)
				}
				defer tr.Close()
				if from != nil {
					f, err := safetensors.Read(bytes.NewReader(from), int64(len(from)))
					if err != nil {
						t.Fatal(err)
					}
					if err := tr.SetState(f); err != nil {
						t.Fatal(err)
					}
				}
				if err := tr.SetData(pixelsFor(m, 15), 15); err != nil {
					t.Fatal(err)
				}
				trainEpochs(tr, 15, 1)
				tr.Average(true) // and back, by the State
				tensors, err := tr.State()
				if err != nil {
					t.Fatal(err)
				}
				var b bytes.Buffer
				if err := (&safetensors.File{Tensors: tensors}).Write(&b); err != nil {
					t.Fatal(err)
				}
				return b.Bytes()
			}
			half, devices := run(1, nil), 3
			if strings.HasPrefix(c.name, "more") {
				devices = 5
			}
			if !bytes.Equal(run(devices, nil), half) {
				t.Fatalf("%d devices end with another state than one", devices)
			}
			end := run(1, half)
			if !bytes.Equal(run(devices, half), end) || !bytes.Equal(run(2, half), end) {
				t.Error("devices that go on from the state end with another than one")
			}
		})
	}
}

// Shards are whole tensors, cover all parameters, and take less memory.
func TestShards(t *testing.T) {
	m := mustModel(t, deep())
	dev := openSims(t, make([]ptxsim.Options, 4)...)
	whole, err := planTrainer(m, dev, TrainerOptions{Batch: 4})
	if err != nil {
		t.Fatal(err)
	}
	tr, err := planTrainer(m, dev, TrainerOptions{Batch: 4, Sharded: true})
	if err != nil {
		t.Fatal(err)
	}
	at := 0
	for k, s := range tr.shards() {
		if s.lo != at || s.hi <= s.lo || !slices.ContainsFunc(tr.layout.ranges, func(r paramRange) bool { return r.hi == s.hi }) {
			t.Errorf("shard %d is %v, want whole tensors from %d on", k, s, at)
		}
		at = s.hi
	}
	if at != tr.layout.floats() {
		t.Errorf("the shards end at %d, want %d", at, tr.layout.floats())
	}
	if got, all := tr.plan.need.Optimizer, whole.plan.need.Optimizer; got > all/2 {
		t.Errorf("the optimiser's state takes %d bytes on a device, want a fair part of %d", got, all)
	}
}

func TestShardedErrors(t *testing.T) {
	group, err := backend.NewGroup("cpus", openLanes(t, 1), openLanes(t, 1))
	if err != nil {
		t.Fatal(err)
	}
	for _, dev := range []backend.Device{group, openLanes(t, 1)} {
		if _, err := NewTrainer(mustModel(t, deep()), dev, TrainerOptions{Batch: 4, Sharded: true}); err == nil || !strings.Contains(err.Error(), "nn: sharded: want several devices that can be connected with each other, such as GPUs by NCCL") {
			t.Errorf("error %v", err)
		}
	}
}
