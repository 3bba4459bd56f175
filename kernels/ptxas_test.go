package kernels

import (
	"strconv"
	"strings"
	"testing"
)

func TestRegisters(t *testing.T) {
	for e := range Entry(Count) {
		for _, target := range []string{"sm_75", "sm_80", "sm_90"} {
			arch, _ := strconv.Atoi(strings.TrimPrefix(target, "sm_"))
			if !e.target().runsOn(arch) { // which has no such kernel
				continue
			}
			if e.target().exact {
				target += "a"
			}
			if n, ok := Registers(e.Name(), target); !ok || n < 1 || n > 255 {
				t.Errorf("%s on %s has %d registers (%v)", e.Name(), target, n, ok)
			}
		}
	}
	if _, ok := Registers("no_kernel", "sm_75"); ok {
		t.Error("a kernel that does not exist has registers")
	}
}
