package simd

import (
	"fmt"
	"os"
	"slices"
	"strings"
)

// Level is an instruction set.
type Level uint8

const (
	None       Level = iota // plain Go
	NEON                    // of arm64
	AVX2                    // with FMA
	AVX512                  // F, BW, DQ and VL
	AVX512BF16              // AVX512, and products of pairs of bfloat16 by VDPBF16PS
	AMX                     // AVX512BF16, and those that Multiply makes by TDPBF16PS
)

const errAssembly = "simd: there is no assembly in this build"

// String returns the name that CONVAE_SIMD takes.
func (l Level) String() string {
	return [...]string{"none", "neon", "avx2", "avx512", "avx512-bf16", "amx"}[l]
}

// variable is the environment variable that forces a level.
const variable = "CONVAE_SIMD"

// chosen is the level in use. All but products of pairs goes by current: the levels above AVX512 are AVX512 there.
var (
	chosen, levelErr = choose(os.Getenv(variable))
	current          = min(chosen, AVX512)
)

// choose returns the level of a name, and the best one for "".
func choose(name string) (Level, error) {
	can := Supported()
	if name == "" {
		return can[len(can)-1], nil
	}
	names := make([]string, len(can))
	for i, l := range can {
		if names[i] = l.String(); names[i] == name {
			return l, nil
		}
	}
	return None, fmt.Errorf("simd: %s=%s: this machine has %s", variable, name, strings.Join(names, ", "))
}

// Current is the level in use: the best that the machine has, or the one that the environment variable CONVAE_SIMD
// names (amx, avx512-bf16, avx512, avx2, neon, none).
func Current() Level { return chosen }

// Err is the error of a CONVAE_SIMD that is not a level of this machine.
func Err() error { return levelErr }

// Use changes the level to one of Supported, and restore changes it back. It is for tests: nothing of this package may
// run meanwhile.
func Use(l Level) (restore func()) {
	if !slices.Contains(Supported(), l) {
		panic("simd: the machine has no such level")
	}
	set := func(l Level) { chosen, current = l, min(l, AVX512) }
	was := chosen
	set(l)
	return func() { set(was) }
}

// Columns is the width of a panel of packed weights in floats: 32 from AVX512 on, else 16.
func Columns() int {
	if current == AVX512 {
		return 32
	}
	return 16
}
