// Package licences holds the licences of all that is in the program: convae's own, Go's, and those of the modules that it
// is built from, also for GPUs.
package licences

import (
	_ "embed"
	"strings"
)

//go:generate go run ./gen licences.txt

// Text is what `convae licences` prints.
//
//go:embed licences.txt
var Text string

// modulePrefix begins the lines of Text that name a module; gpuSuffix ends those of modules that only the build with the
// tag cuda has.
const (
	modulePrefix = "module "
	gpuSuffix    = " (with GPUs)"
)

// Modules returns the modules that Text has the licences of, each as its path and version, with those that only the build
// for GPUs has or without.
func Modules(gpu bool) (modules []string) {
	for line := range strings.Lines(Text) {
		name, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), modulePrefix)
		name, only := strings.CutSuffix(name, gpuSuffix)
		if ok && (gpu || !only) {
			modules = append(modules, name)
		}
	}
	return modules
}
