package sass

import (
	"slices"
	"testing"

	"github.com/convae/convae/cuda/driver"
)

// sums is a kernel of n sums, each of which waits for the one before: the SM is idle most of the time.
func sums(t *testing.T, n int) *Kernel {
	t.Helper()
	k := &Kernel{Name: "sums", Registers: 16}
	for range n {
		in, err := decode("FADD R0, R0, R1", 0, 0)
		if err != nil {
			t.Fatal(err)
		}
		in.Control.Stall = 12
		k.Code = append(k.Code, in)
	}
	in, err := decode("EXIT", 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	k.Code = append(k.Code, in)
	return k
}

// work is a launch of so many blocks of a warp.
func work(k *Kernel, blocks, shared int) Work {
	return Work{k, &Launch{Grid: driver.Dim3{X: blocks, Y: 1, Z: 1}, Block: driver.Dim3{X: 32, Y: 1, Z: 1}, Shared: shared}}
}

func TestTimeTogether(t *testing.T) {
	m, err := FindMachine("h100")
	if err != nil {
		t.Fatal(err)
	}
	m.SMs = 1
	together := func(branches ...[]Work) int64 {
		t.Helper()
		n, err := TimeTogether(&m, branches...)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	short, long := sums(t, 40), sums(t, 100)
	a, b := []Work{work(short, 3, 0)}, []Work{work(long, 2, 0)}
	alone := func(w Work) int64 {
		t.Helper()
		c, _, err := w.Kernel.Time(&m, w.Launch)
		if err != nil {
			t.Fatal(err)
		}
		return c.Cycles
	}
	ta, tb := alone(a[0]), alone(b[0])
	if one := together(a); one != ta {
		t.Errorf("one branch of one launch takes %d cycles, alone the launch %d", one, ta)
	}
	if both := together(a, b); both < tb || both >= ta+tb {
		t.Errorf("launches of %d and %d cycles take %d side by side, want at least the longer and less than the sum", ta, tb, both)
	}
	if chain := together([]Work{a[0], b[0]}); chain < ta+tb-m.L2Latency || chain > ta+tb {
		t.Errorf("launches of %d and %d cycles take %d one after the other", ta, tb, chain)
	}
	// Blocks of which an SM holds one leave no room for others.
	big, other := []Work{work(short, 1, 200<<10)}, []Work{work(long, 1, 200<<10)}
	if both, apart := together(big, other), together([]Work{big[0], other[0]}); both != apart {
		t.Errorf("launches that do not fit together take %d cycles side by side, one after the other %d", both, apart)
	}
	// Where there are more SMs than blocks, no launch is in the other's way.
	m.SMs = 132
	if both := together([]Work{work(short, 60, 0)}, []Work{work(long, 60, 0)}); both != alone(work(long, 1, 0)) {
		t.Errorf("on SMs of its own, the longer launch takes %d cycles, want %d", both, alone(work(long, 1, 0)))
	}
}

// The SMs that are simulated are those of which another may take longer.
func TestFullest(t *testing.T) {
	k := sums(t, 1)
	for _, c := range []struct{ sms, a, b int }{{1, 1, 1}, {4, 2, 2}, {4, 5, 3}, {4, 3, 5}, {4, 0, 3}} {
		m := Machine{SMs: c.sms}
		branches := [][]Work{{work(k, c.a, 0)}, {work(k, c.b, 0)}}
		count := func(sm int) (n []int) {
			deal(&m, branches, sm, func(_ int, _ Work, blocks []int) { n = append(n, len(blocks)) })
			return n
		}
		sms := fullest(&m, branches)
		var total [2]int
		for sm := range c.sms {
			n := count(sm)
			total[0], total[1] = total[0]+n[0], total[1]+n[1]
			if !slices.ContainsFunc(sms, func(o int) bool { return covers(count(o), n) }) {
				t.Errorf("%+v: SM %d with blocks %v is not covered by %v", c, sm, n, sms)
			}
		}
		if total != [2]int{c.a, c.b} {
			t.Errorf("%+v: the SMs have %v blocks", c, total)
		}
		if len(sms) > 2 {
			t.Errorf("%+v: %d SMs are simulated, want 1 or 2", c, len(sms))
		}
	}
}
