package cpu

import (
	"bytes"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strconv"
)

// available returns the bytes of memory that the system, and the container if there is one, can still give.
func available() (int, error) {
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0, err
	}
	kb, ok := field(text, "MemAvailable:")
	if !ok {
		return 0, errors.New("/proc/meminfo has no MemAvailable")
	}
	return int(min(kb*1024, containerFree("/sys/fs/cgroup"), math.MaxInt)), nil
}

// containerFree returns what the control group mounted at root may still take: its limit less what it uses, of which
// the file cache can be given back. Without a limit it is math.MaxInt64.
func containerFree(root string) int64 {
	for _, v := range []struct{ limit, usage, stat, cache string }{
		{"memory.max", "memory.current", "memory.stat", "inactive_file"},
		{"memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat", "total_inactive_file"},
	} {
		limit, ok := number(filepath.Join(root, v.limit))
		usage, ok2 := number(filepath.Join(root, v.usage))
		if !ok || !ok2 {
			continue // no such file, or "max"
		}
		stat, _ := os.ReadFile(filepath.Join(root, v.stat))
		cache, _ := field(stat, v.cache)
		return max(limit-usage+cache, 0)
	}
	return math.MaxInt64
}

// number reads a file that holds one number.
func number(path string) (int64, bool) {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, false
	}
	n, err := strconv.ParseInt(string(bytes.TrimSpace(text)), 10, 64)
	return n, err == nil
}

// field returns the number behind a name at the start of a line.
func field(text []byte, name string) (int64, bool) {
	for line := range bytes.Lines(text) {
		if f := bytes.Fields(line); len(f) >= 2 && string(f[0]) == name {
			n, err := strconv.ParseInt(string(f[1]), 10, 64)
			return n, err == nil
		}
	}
	return 0, false
}
