package nn

import (
	"slices"
	"testing"

	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/op"
)

// unbranched is a device of one lane that only does ops one after the other.
type unbranched struct{ backend.Device }

func (d unbranched) Lanes() []backend.Backend {
	return []backend.Backend{struct{ backend.Backend }{d.Device.Lanes()[0]}}
}

// The two gradients of each layer are beside each other on a device that can do them at the same time, and only there. Their
// workspaces have room behind each other.
func TestBesideGradients(t *testing.T) {
	m, sim := mustModel(t, Denoiser()), openSim(t)
	needs := func(b backend.Backend, c op.Call) int {
		n := c.Op.(op.Needy).Needs(b)
		return n.Workspace - n.PartialBytes // partial sums have tensors
	}
	for name, c := range map[string]struct {
		dev  backend.Device
		want int
	}{"cpu": {openTest(t), 0}, "unbranched": {unbranched{sim}, 0}, "sim": {sim, 4}} {
		b := c.dev.Lanes()[0]
		p, err := compileTraining(m, b, TrainerOptions{Loss: BCE}, source{gather: true}, 3)
		if err != nil {
			t.Fatal(err)
		}
		pairs := 0
		for i, s := range p.Calls {
			if !s.Beside {
				continue
			}
			next := p.Calls[i+1]
			if s.Op.Name() != "ConvBackWeights" || next.Op.Name() != "ConvBackInput" || s.Layer != next.Layer || next.Beside {
				t.Errorf("%s: %s of %s is beside %s of %s", name, s.Op.Name(), s.Layer, next.Op.Name(), next.Layer)
				continue
			}
			if pairs++; p.Workspace < backend.AlignUp(needs(b, s))+needs(b, next) {
				t.Errorf("%s: layer %s: the workspace of %d bytes has no room for both gradients", name, s.Layer, p.Workspace)
			}
		}
		if pairs != c.want {
			t.Errorf("%s: %d pairs of gradients are beside each other, want %d", name, pairs, c.want)
		}
	}
}

// Branches change no bit.
func TestBranchesTrainAlike(t *testing.T) {
	o := TrainerOptions{Batch: 4, Noise: 0.1, Seed: 3}
	for _, c := range zoo() {
		want := train(t, mustModel(t, c), unbranched{openSim(t)}, o, 6, 2)
		got := train(t, mustModel(t, c), openSim(t), o, 6, 2)
		for i := range got {
			if !slices.Equal(got[i], want[i]) {
				t.Errorf("%s: parameter %d differs from a run without branches", c.Name, i)
			}
		}
	}
}
