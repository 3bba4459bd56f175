package cpu

import (
	"bytes"
	"errors"
	"math"
	"os"
	"strconv"
)

// available returns the bytes of memory that the system can still give.
func available() (int, error) {
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0, err
	}
	for line := range bytes.Lines(text) {
		f := bytes.Fields(line)
		if len(f) == 3 && string(f[0]) == "MemAvailable:" && string(f[2]) == "kB" {
			kb, err := strconv.ParseInt(string(f[1]), 10, 64)
			return int(min(kb*1024, math.MaxInt)), err
		}
	}
	return 0, errors.New("/proc/meminfo has no MemAvailable")
}
