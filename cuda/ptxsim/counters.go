package ptxsim

import (
	"fmt"
	"math/bits"
	"slices"
	"time"

	"github.com/convae/convae/cuda/driver"
)

// Class is what an instruction is counted as.
type Class uint8

// The classes. Move holds moves, selections, conversions and loads of parameters and constants; Integer also compares and
// logic on predicates; Special the approximations of division, roots, sine, logarithm and exponential; Warp what exchanges
// values between lanes.
const (
	ClassNone Class = iota
	ClassFMA
	ClassFloat
	ClassInteger
	ClassMove
	ClassSpecial
	ClassGlobal
	ClassShared
	ClassLocal
	ClassWarp
	ClassMMA
	ClassControl
	NumClasses
)

func (c Class) String() string {
	return [...]string{"none", "fma", "float", "integer", "move", "special", "global", "shared", "local", "warp", "mma", "control", "?"}[min(c, NumClasses)]
}

// Traffic is what went to and from global memory.
type Traffic struct {
	Requests uint64 // instructions of a warp
	Bytes    uint64 // that lanes asked for
	Sectors  uint64 // pieces of 32 bytes that had to be moved
}

// LaunchCount is what a launch did. A predicated instruction counts for all lanes that came to it.
type LaunchCount struct {
	Kernel      string
	Grid, Block driver.Dim3
	Shared      int                // bytes a block, static and dynamic
	Registers   int                // of 32 bits a thread, as declared; ptxas needs far fewer
	Lanes       [NumClasses]uint64 // instructions of a lane by Class
	Warps       [NumClasses]uint64 // instructions of a warp by Class
	Loads       Traffic
	Stores      Traffic
	Atomics     Traffic
	// SharedRequests are accesses of a warp to shared memory, BankConflicts the passes beyond those that the same bytes need
	// without a conflict.
	SharedRequests uint64
	BankConflicts  uint64
	FloatAtomics   uint64 // float additions of lanes, whose order, and so result, may differ from run to run
	Barriers       uint64 // of a block
	Time           time.Duration
}

// LaneTotal is the number of instructions of lanes.
func (c *LaunchCount) LaneTotal() (n uint64) {
	for _, v := range c.Lanes {
		n += v
	}
	return n
}

// WarpTotal is the number of instructions of warps.
func (c *LaunchCount) WarpTotal() (n uint64) {
	for _, v := range c.Warps {
		n += v
	}
	return n
}

// String is one line for reading.
func (c *LaunchCount) String() string {
	return fmt.Sprintf("%s grid %dx%dx%d block %dx%dx%d: %d lane instructions (%d fma), %d global bytes in %d sectors, %d shared requests with %d bank conflicts",
		c.Kernel, c.Grid.X, c.Grid.Y, c.Grid.Z, c.Block.X, c.Block.Y, c.Block.Z, c.LaneTotal(), c.Lanes[ClassFMA],
		c.Loads.Bytes+c.Stores.Bytes+c.Atomics.Bytes, c.Loads.Sectors+c.Stores.Sectors+c.Atomics.Sectors, c.SharedRequests, c.BankConflicts)
}

// runCount counts runs of an instruction, as the difference to the one before it.
type runCount struct{ lanes, warps int64 }

// traffic is what a worker counts.
type traffic struct {
	loads, stores, atomics Traffic
	shared, conflicts      uint64
	floatAtomics, barriers uint64
}

func (t *Traffic) add(o Traffic) {
	t.Requests += o.Requests
	t.Bytes += o.Bytes
	t.Sectors += o.Sectors
}

// counted adds what the block's worker did.
func (c *LaunchCount) counted(b *block) {
	var lanes, warps int64
	for i := range b.prog.code {
		lanes += b.runs[i].lanes
		warps += b.runs[i].warps
		if in := &b.prog.code[i]; in.kind != kindLabel {
			c.Lanes[in.class] += uint64(lanes)
			c.Warps[in.class] += uint64(warps)
		}
	}
	t := &b.traffic
	c.Loads.add(t.loads)
	c.Stores.add(t.stores)
	c.Atomics.add(t.atomics)
	c.SharedRequests += t.shared
	c.BankConflicts += t.conflicts
	c.FloatAtomics += t.floatAtomics
	c.Barriers += t.barriers
}

//go:norace
func (b *block) to(in *inst) *Traffic {
	switch in.access & (accessRead | accessWrite) {
	case accessRead:
		return &b.traffic.loads
	case accessWrite:
		return &b.traffic.stores
	}
	return &b.traffic.atomics
}

// rowTraffic counts an access of a whole warp, of size bytes a lane, to n bytes in a row.
//
//go:norace
func (b *block) rowTraffic(in *inst, off, n, size uint64) {
	t := b.to(in)
	t.Requests++
	t.Bytes += 32 * size
	t.Sectors += (off&31 + n + 31) / 32
}

// globalTraffic counts an access of n bytes a lane at the addresses a + imm.
//
//go:norace
func (b *block) globalTraffic(in *inst, m uint32, a *[32]uint64, imm, n uint64) {
	if !b.checks.Count {
		return
	}
	var seen [32]uint64
	count := 0
	last, top := ^uint64(0), uint64(0)
	for k := m; k != 0; k &= k - 1 {
		s := (a[bits.TrailingZeros32(k)&31] + imm) >> 5
		if s == last {
			continue
		}
		last = s
		if s <= top {
			found := false
			for _, v := range seen[:count] {
				found = found || v == s
			}
			if found {
				continue
			}
		}
		top = max(top, s)
		seen[count&31] = s
		count++
	}
	t := b.to(in)
	t.Requests++
	t.Bytes += n * uint64(bits.OnesCount32(m))
	t.Sectors += uint64(count)
}

// anyTraffic counts an access to a space that the addresses may tell.
//
//go:norace
func (b *block) anyTraffic(in *inst, m uint32, a *[32]uint64, n uint64) {
	if !b.checks.Count || m == 0 {
		return
	}
	s := in.space
	if first := a[bits.TrailingZeros32(m)&31]; s == spaceGeneric {
		s = spaceGlobal
		if first-sharedWindow < windowSize {
			s = spaceShared
		} else if first-localWindow < windowSize {
			s = spaceLocal
		}
	}
	switch s {
	case spaceGlobal:
		b.globalTraffic(in, m, a, 0, n)
	case spaceShared:
		var o [32]uint32
		for i := range o {
			o[i] = uint32(a[i])
		}
		b.sharedTraffic(b.shape(in, m, uint32(n), &o))
	}
}

// shape is the pattern of an access to shared memory: the lanes that take part, their offsets from the word of the first one,
// and what follows from them. An instruction mostly repeats its pattern.
type shape struct {
	mask      uint32
	rel       [32]uint32
	conflicts uint64
	spots     []spot // where the lanes go, each place once
}

// spot is a place that lanes access. word counts from that of the first lane; mark is the lane, or the first of several plus
// 1024, as in race.go.
type spot struct{ word, mark uint32 }

// shape returns the pattern of an access of n bytes a lane.
//
//go:norace
func (b *block) shape(in *inst, m, n uint32, o *[32]uint32) *shape {
	s := &b.shapes[in.id]
	base := o[bits.TrailingZeros32(m)&31] &^ 3
	diff := m ^ s.mask
	for i := range o {
		diff |= (o[i] - base) ^ s.rel[i]
	}
	if diff == 0 {
		return s
	}
	s.mask, s.conflicts, s.spots = m, conflicts(m, o, n), s.spots[:0]
	for i := range o {
		s.rel[i] = o[i] - base
		if m>>i&1 == 0 {
			continue
		}
		word := o[i]>>2 - base>>2
		if k := slices.IndexFunc(s.spots, func(p spot) bool { return p.word == word }); k >= 0 {
			s.spots[k].mark |= 1024
		} else {
			s.spots = append(s.spots, spot{word, uint32(i)})
		}
	}
	return s
}

// sharedTraffic counts an access to shared memory.
//
//go:norace
func (b *block) sharedTraffic(s *shape) {
	if b.checks.Count {
		b.traffic.shared++
		b.traffic.conflicts += s.conflicts
	}
}

// conflicts is the number of extra passes: there are 32 banks of 4 bytes, a pass reads one word of each, and lanes of 8 or
// 16 bytes go in halves or quarters of the warp.
//
//go:norace
func conflicts(m uint32, o *[32]uint32, n uint32) uint64 {
	words := max(n/4, 1)
	lanes := int(32 / words)
	var extra uint64
	var held [32][32]uint32
	for first := 0; first < 32; first += lanes {
		var count [32]uint32
		most := uint32(0)
		for i := first; i < first+lanes; i++ {
			if m>>i&1 == 0 {
				continue
			}
			for j := range words {
				word := o[i]>>2 + j
				bank := word & 31
				known := false
				for _, v := range held[bank][:count[bank]] {
					known = known || v == word
				}
				if !known {
					held[bank][count[bank]] = word
					count[bank]++
					most = max(most, count[bank])
				}
			}
		}
		if most > 1 {
			extra += uint64(most - 1)
		}
	}
	return extra
}
