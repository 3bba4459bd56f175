package ncclsim

import (
	"encoding/binary"
	"math"
)

// collect does a collective of all ranks, whose calls are in their order.
func collect(all []*call) {
	n := len(all)
	switch c := all[0]; c.Kind {
	case allReduce:
		sum := ringSum(all, func(i int) int { return i * n / c.Count })
		for _, c := range all {
			copy(c.Out, sum)
		}
	case reduceScatter:
		sum := ringSum(all, func(i int) int { return i / c.Count })
		for r, c := range all {
			copy(c.Out, sum[r*len(c.Out):])
		}
	case allGather:
		var out []byte
		for _, c := range all {
			out = append(out, c.In...)
		}
		for _, c := range all {
			copy(c.Out, out)
		}
	case broadcast:
		in := append([]byte(nil), all[c.Peer].In...)
		for _, c := range all {
			copy(c.Out, in)
		}
	}
}

// ringSum adds what all ranks send as a ring does: an element of part p is first at rank p+1, and goes on from there to rank p.
func ringSum(all []*call, part func(i int) int) []byte {
	n := len(all)
	sum := make([]byte, len(all[0].In))
	for i := 0; 4*i < len(sum); i++ {
		at := func(rank int) float32 {
			return math.Float32frombits(binary.LittleEndian.Uint32(all[rank%n].In[4*i:]))
		}
		first := part(i) + 1
		v := at(first)
		for r := first + 1; r < first+n; r++ {
			v += at(r)
		}
		binary.LittleEndian.PutUint32(sum[4*i:], math.Float32bits(v))
	}
	return sum
}
