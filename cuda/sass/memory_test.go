package sass

import (
	"encoding/binary"
	"math"
	"testing"
)

// The sign of a NaN is nobody's; all other bits that differ are told.
func TestComparePage(t *testing.T) {
	nan := math.Float32bits(float32(math.NaN()))
	for _, c := range []struct {
		machine, ptx uint32
		differ       bool
	}{{nan, nan, false}, {nan | 1<<31, nan, false}, {nan, nan | 1<<31, false}, {nan | 1, nan, true}, {nan, 0, true}, {0x7f800000, 0xff800000, true}, {0, 1 << 31, true}} {
		p := &page{}
		binary.LittleEndian.PutUint32(p.data[4:], c.machine)
		for i := 4; i < 8; i++ {
			p.wrote[i] = true
		}
		data := binary.LittleEndian.AppendUint32(make([]byte, 4), c.ptx)
		if err := comparePage(p, data, nil); (err != nil) != c.differ {
			t.Errorf("%#x by the machine code and %#x by the PTX: %v", c.machine, c.ptx, err)
		}
	}
}
