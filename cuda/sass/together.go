package sass

import (
	"slices"
	"strings"
)

// Work is a launch of a kernel's machine code.
type Work struct {
	Kernel *Kernel
	Launch *Launch
}

// TimeTogether says how many cycles branches take that begin at the same time and do not wait for each other. Each is launches, at
// least one, of which the next begins when the one before has ended. The blocks of a branch are dealt to the SMs from where those of
// the first launch of the branch before have ended, and an SM takes them in the order of the branches, as far as registers, shared
// memory, warps and block slots allow. Of the SMs that have most blocks, the one that takes longest counts. What the launches
// write is dropped.
func TimeTogether(m *Machine, branches ...[]Work) (cycles int64, err error) {
	var names []string
	for _, b := range branches {
		for _, w := range b {
			if w.Kernel.err != nil {
				return 0, w.Kernel.err
			}
			names = append(names, w.Kernel.Name)
		}
	}
	defer caught(strings.Join(names, " beside "), &err)
	for _, sm := range fullest(m, branches) {
		cycles = max(cycles, simulate(m, sharesOf(m, branches, sm)).now)
	}
	return cycles, nil
}

// deal calls f for each launch, by branch, with the blocks that an SM gets of it.
func deal(m *Machine, branches [][]Work, sm int, f func(branch int, w Work, blocks []int)) {
	first := 0
	for i, b := range branches {
		for _, w := range b {
			f(i, w, dealt(m, w.Launch, sm, first))
		}
		first += b[0].Launch.blocks()
	}
}

// sharesOf makes what an SM gets of each launch.
func sharesOf(m *Machine, branches [][]Work, sm int) [][]*share {
	shares := make([][]*share, len(branches))
	deal(m, branches, sm, func(branch int, w Work, blocks []int) {
		s := w.Kernel.share(m, w.Launch, newMemory(w.Launch.Memory))
		s.todo = blocks
		shares[branch] = append(shares[branch], s)
	})
	return shares
}

// fullest returns the SMs that differ in how many blocks they get of the launches, and of which no other gets as many of each.
func fullest(m *Machine, branches [][]Work) (sms []int) {
	var counts [][]int // by launch, of each of sms
	for sm := range m.SMs {
		var n []int
		deal(m, branches, sm, func(_ int, _ Work, blocks []int) { n = append(n, len(blocks)) })
		if slices.ContainsFunc(counts, func(o []int) bool { return covers(o, n) }) {
			continue
		}
		for i := len(counts) - 1; i >= 0; i-- {
			if covers(n, counts[i]) {
				counts, sms = slices.Delete(counts, i, i+1), slices.Delete(sms, i, i+1)
			}
		}
		counts, sms = append(counts, n), append(sms, sm)
	}
	return sms
}

// covers says whether every element of a is at least that of b.
func covers(a, b []int) bool {
	for i := range a {
		if a[i] < b[i] {
			return false
		}
	}
	return true
}
