package sass

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// param is a parameter of a kernel: where the launch has its bytes, and where ptxas put them behind the beginning of all parameters in the constant
// bank, which has an alignment of 16 only.
type param struct{ from, to, bytes int }

var (
	entryParams = regexp.MustCompile(`\.entry\s+(\w+)\s*\(([^)]*)\)`)
	oneParam    = regexp.MustCompile(`^\.param\s+(?:\.align\s+(\d+)\s+)?\.[a-z](\d+)\s+(?:[.\w]+\s+)*?[\w$]+(?:\[(\d+)\])?$`)
)

// paramsOf reads the parameters of the kernels of PTX.
func paramsOf(ptx string, ks map[string]*Kernel) error {
	for _, m := range entryParams.FindAllStringSubmatch(ptx, -1) {
		k := ks[m[1]]
		if k == nil || strings.TrimSpace(m[2]) == "" {
			continue
		}
		from, to := 0, paramBase
		for _, text := range strings.Split(m[2], ",") {
			p := oneParam.FindStringSubmatch(strings.TrimSpace(text))
			if p == nil {
				return fmt.Errorf("sass: %s has the parameter %q, which is not known", k.Name, strings.TrimSpace(text))
			}
			bits, _ := strconv.Atoi(p[2])
			size, align := bits/8, bits/8
			if p[1] != "" {
				align, _ = strconv.Atoi(p[1])
			}
			if p[3] != "" {
				n, _ := strconv.Atoi(p[3])
				size *= n
			}
			if size == 0 || align == 0 || align&(align-1) != 0 {
				return fmt.Errorf("sass: %s has the parameter %q, whose size or alignment is not known", k.Name, strings.TrimSpace(text))
			}
			from, to = (from+align-1)&-align, (to+align-1)&-align
			k.params = append(k.params, param{from, to - paramBase, size})
			from, to = from+size, to+size
		}
	}
	return nil
}

// paramsEnd is how many bytes of the constant bank parameters take of which a launch has so many bytes.
func (k *Kernel) paramsEnd(bytes int) int {
	if n := len(k.params); n > 0 {
		return k.params[n-1].to + k.params[n-1].bytes
	}
	return bytes
}

// placeParams copies a launch's parameters to where the machine code has them.
func (k *Kernel) placeParams(bank, params []byte) {
	if len(k.params) == 0 {
		copy(bank, params)
	}
	for _, p := range k.params {
		if p.from+p.bytes > len(params) {
			fail("the launch has %d bytes of parameters, and one of %d bytes lies at %d", len(params), p.bytes, p.from)
		}
		copy(bank[p.to:], params[p.from:][:p.bytes])
	}
}
