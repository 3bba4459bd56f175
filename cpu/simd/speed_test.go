package simd

import "testing"

// A speed is measured at every level; how they compare is told with -v.
func TestSpeed(t *testing.T) {
	for _, l := range Supported()[1:] {
		restore := Use(None)
		plain := Speed()
		Use(l)
		fast := Speed()
		limit := Limit()
		restore()
		if fast > 1.2*limit { // two measurements, of which other programs may slow the second
			t.Errorf("%v: %.3g multiply-adds a second, of %.3g that can be", l, fast, limit)
		}
		if plain < 1e6 || fast < 1e6 {
			t.Errorf("%v: %.3g multiply-adds a second, plain %.3g", l, fast, plain)
		}
		t.Logf("%v: %.3g multiply-adds a second, %.1f times plain Go", l, fast, fast/plain)
	}
}
