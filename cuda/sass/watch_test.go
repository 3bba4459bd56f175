package sass

import (
	"slices"
	"testing"

	"github.com/convae/convae/cuda/driver"
	"github.com/convae/convae/cuda/ptxsim"
)

// Launches that a stream has beside those of another are a group, however many there are in each stream.
func TestGroups(t *testing.T) {
	m, err := FindMachine("h100")
	if err != nil {
		t.Fatal(err)
	}
	k := sums(t, 50)
	var alone []int64
	made := func() (map[string]*Kernel, error) { return map[string]*Kernel{k.Name: k}, nil }
	c := &Compiler{made: map[string]func() (map[string]*Kernel, error){"text": made}}
	w := &Watch{Active: true, Machine: &m, Compiler: c, Timed: func(c *Count) { alone = append(alone, c.Cycles) }}
	for i, l := range []ptxsim.Launching{
		{Stream: 0},
		{Stream: 1},
		{Stream: 1},
		{Stream: 0, Beside: []uint64{3, 2}},
		{Stream: 0},
		{Stream: 1},
		{Stream: 0, Beside: []uint64{6}},
		{Stream: 0, Beside: []uint64{6}},
		{Stream: 0},
	} {
		l.Kernel, l.PTX, l.Number, l.Grid, l.Block = k.Name, "text", uint64(i+1), driver.Dim3{X: 1, Y: 1, Z: 1}, driver.Dim3{X: 32, Y: 1, Z: 1}
		w.Before(&l)
	}
	if err := w.Err(); err != nil || len(alone) != 9 {
		t.Fatalf("%d launches are timed, error %v", len(alone), err)
	}
	one := alone[0]
	chain, err := TimeTogether(&m, []Work{work(k, 1, 0), work(k, 1, 0)})
	if err != nil || chain <= one {
		t.Fatalf("two launches after each other take %d cycles, one %d (%v)", chain, one, err)
	}
	// In both groups one stream has two launches, and the other one on an SM of its own.
	want := []Group{{First: 1, Last: 3, Cycles: chain}, {First: 5, Last: 7, Cycles: chain}}
	if !slices.Equal(w.Groups(), want) {
		t.Errorf("groups %+v, want %+v", w.Groups(), want)
	}
}
