//go:build !linux

package cpu

import (
	"math"
	"runtime"
)

// available guesses the bytes of memory that the system can still give: it has no portable way to ask.
func available() (int, error) {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(max(min(16<<30, math.MaxInt)-int64(m.HeapAlloc), 0)), nil
}
