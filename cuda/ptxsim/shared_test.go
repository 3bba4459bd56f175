package ptxsim

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// sharedProgram is a random sequence of accesses to shared memory and barriers; some races are in the second block only. The
// accesses are to two words each, as a vector or as one value of 64 bits.
func sharedProgram(rng *rand.Rand, vector bool) string {
	ld, st := "ld.shared.b64 %%d1, [%%r1+%d];", "st.shared.b64 [%%r1+%d], %%d0;"
	if vector {
		ld, st = "ld.shared.v2.b32 {%%r10, %%r11}, [%%r1+%d];", "st.shared.v2.b32 [%%r1+%d], {%%r20, %%r21};"
	}
	var s strings.Builder
	s.WriteString(".shared .align 16 .b8 s[4096];\nmov.u32 %r0, s;\nmov.u32 %r5, %ctaid.x;\nmov.u32 %r20, 0;\nmov.u32 %r21, 0;\nmov.u64 %d0, 0;\nmad.lo.u32 %r1, %t, 8, %r0;\n")
	fmt.Fprintf(&s, st+"\n", 0)
	if rng.IntN(4) > 0 {
		s.WriteString("bar.sync 0;\n")
	}
	if rng.IntN(3) == 0 {
		s.WriteString("ld.shared.u8 %r9, [%r0];\n") // races are then looked for byte by byte
	}
	for i := range 2 + rng.IntN(12) {
		switch rng.IntN(6) {
		case 0, 1:
			s.WriteString("bar.sync 0;\n")
			continue
		case 2:
			fmt.Fprintf(&s, "setp.lt.u32 %%p2, %%t, %d;\n@%%p2 bra L%d;\nbar.warp.sync -1;\nL%d:\n", 32*rng.IntN(3), i, i)
			continue
		}
		// The thread's own place, mostly; or places that several lanes or warps have in common.
		fmt.Fprintf(&s, "and.b32 %%r2, %%t, %d;\n", []int{127, 127, 127, 127, 127, 31, 96, 0}[rng.IntN(8)])
		fmt.Fprintf(&s, "mul.lo.u32 %%r4, %%r5, %d;\nxor.b32 %%r2, %%r2, %%r4;\nmad.lo.u32 %%r1, %%r2, 8, %%r0;\n", []int{0, 0, 1, 32}[rng.IntN(4)])
		if rng.IntN(4) == 0 {
			fmt.Fprintf(&s, "and.b32 %%r3, %%t, %d;\nsetp.ne.u32 %%p1, %%r3, 0;\n@%%p1 ", []int{1, 2, 24, 64}[rng.IntN(4)])
		}
		fmt.Fprintf(&s, []string{ld, ld, st}[rng.IntN(3)]+"\n", []int{0, 0, 0, 0, 8, 0, 0, 1024}[rng.IntN(8)])
	}
	return kernel("sm_75", "", s.String())
}

// TestSharedVectors compares accesses of whole words, which are mostly looked at for the warp as a whole, with those of 64
// bits, which are looked at lane by lane: faults and counts are the same.
func TestSharedVectors(t *testing.T) {
	faults := map[Kind]int{}
	for seed := range uint64(1000) {
		var outcome [2]string
		for i := range outcome {
			src := sharedProgram(rand.New(rand.NewPCG(seed, 1)), i == 0)
			r := newRig(t, Options{Workers: 1})
			m, err := r.d.Load(src)
			r.ok(err)
			f, err := m.Function("k")
			r.ok(err)
			if err = r.run(f, 2, 128); err == nil {
				c := r.counts[0]
				outcome[i] = fmt.Sprint(c.SharedRequests, c.BankConflicts, c.Barriers)
				faults[""]++
				continue
			}
			fault := *err.(*Fault)
			faults[fault.Kind]++
			fault.Text = ""
			outcome[i] = fault.Error()
		}
		if outcome[0] != outcome[1] {
			t.Errorf("seed %d: %s, lane by lane %s\n%s", seed, outcome[0], outcome[1], sharedProgram(rand.New(rand.NewPCG(seed, 1)), true))
		}
	}
	if faults[""] < 100 || faults[SharedRace] < 100 || faults[Uninitialised] < 20 {
		t.Errorf("the programs end with %v", faults)
	}
}
