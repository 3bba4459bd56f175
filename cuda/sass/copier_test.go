package sass

import (
	"encoding/binary"
	"math"
	"os"
	"testing"

	"github.com/convae/convae/cuda/driver"
	"github.com/convae/convae/cuda/ptxsim"
)

// The model gives the times that were measured on an H100 (see copier.go), as far as they do not depend on the bytes a cycle, of which it has fewer.
func TestCopyTime(t *testing.T) {
	text, err := os.ReadFile("testdata/copies.ptx")
	if err != nil {
		t.Fatal(err)
	}
	ks, err := tools(t).Compile(string(text))
	if err != nil {
		t.Fatal(err)
	}
	m, err := FindMachine("h100")
	if err != nil {
		t.Fatal(err)
	}
	d, err := ptxsim.New(ptxsim.Options{Major: 9}).Open(0)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	const row, rows = 128, 1 << 13
	data := make([]byte, row*rows)
	const ns = 1.98 // cycles
	for _, c := range []struct {
		warps, stages, bytes int
		want                 float64
	}{
		{1, 4, 1024, 248 * ns},
		{1, 4, 8192, 248 * ns}, // whatever the size
		{1, 8, 1024, 248 * ns},
		{4, 4, 1024, 248 * ns},                    // each
		{1, 4, 32768, 32768 / sectorBytes},        // here the bytes take longer
		{1, 1, 16384, 217*ns + 16384/sectorBytes}, // one after the other
		{1, 1, 8192, 217*ns + 8192/sectorBytes},
	} {
		made, err := d.EncodeTiled(&driver.Tiled{Type: driver.ElementBFloat16, Base: ringIn, Sizes: []int{row / 2, rows}, Strides: []int{row}, Box: []int{row / 2, c.bytes / row}})
		if err != nil {
			t.Fatal(err)
		}
		time := func(steps int) float64 {
			var params []byte
			for _, v := range []int{steps, c.stages, c.bytes, 0, 0, 0, rows*row/c.bytes - 1, c.bytes / row} {
				params = binary.LittleEndian.AppendUint32(params, uint32(v))
			}
			params = append(params, make([]byte, 64-len(params))...)
			for _, v := range made {
				params = binary.LittleEndian.AppendUint64(params, v)
			}
			count, _, err := ks["copies"].Time(&m, &Launch{Grid: driver.Dim3{X: 1, Y: 1, Z: 1}, Block: driver.Dim3{X: 32 * c.warps, Y: 1, Z: 1},
				Shared: c.warps * c.stages * (c.bytes + 8), Params: params, Memory: []Region{{ringIn, data}}})
			if err != nil {
				t.Fatal(err)
			}
			if want := int64(c.warps * steps * c.bytes); count.Bytes != want {
				t.Fatalf("%d bytes come to the SM, want %d", count.Bytes, want)
			}
			return float64(count.Cycles)
		}
		if v := (time(100) - time(50)) / 50; math.Abs(v-c.want) > 0.05*c.want {
			t.Errorf("%d warps take %v cycles for a copy of %d bytes in %d stages, want about %v", c.warps, v, c.bytes, c.stages, c.want)
		}
	}
}
