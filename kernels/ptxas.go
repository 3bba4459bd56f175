package kernels

import (
	_ "embed"
	"fmt"
	"strings"
)

//go:embed ptxas.txt
var ptxasTable string

// Registers returns the registers that a thread of a kernel takes on a target such as "sm_75", as ptxas said when the
// kernels were built, or false if there is no such row.
func Registers(kernel, target string) (int, bool) {
	for line := range strings.Lines(ptxasTable) {
		var file, name, on string
		var n int
		if _, err := fmt.Sscan(line, &file, &name, &on, &n); err == nil && name == kernel && on == target {
			return n, true
		}
	}
	return 0, false
}
