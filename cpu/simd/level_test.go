package simd

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// TestForced runs itself with CONVAE_SIMD set.
func TestForced(t *testing.T) {
	const child = "CONVAE_SIMD_TEST_CHILD"
	if os.Getenv(child) != "" {
		os.Stdout.WriteString("level " + Current().String() + "\n")
		if err := Err(); err != nil {
			os.Stdout.WriteString(err.Error() + "\n")
		}
		return
	}
	can := Supported()
	names := make([]string, len(can))
	for i, l := range can {
		names[i] = l.String()
	}
	wrong := "simd: CONVAE_SIMD=sse: this machine has " + strings.Join(names, ", ")
	for value, want := range map[string]string{"": "level " + names[len(names)-1], "sse": wrong, "none": "level none", names[len(names)-1]: "level " + names[len(names)-1]} {
		c := exec.Command(os.Args[0], "-test.run=^TestForced$")
		c.Env = append(os.Environ(), child+"=1", "CONVAE_SIMD="+value)
		out, err := c.CombinedOutput()
		if err != nil || !strings.Contains(string(out), want+"\n") || value != "sse" && strings.Contains(string(out), "simd:") {
			t.Errorf("CONVAE_SIMD=%s: %v, %q; want %q", value, err, out, want)
		}
	}
}

func TestUseUnknown(t *testing.T) {
	panics(t, "Use", "simd: the machine has no such level", func() { Use(9) })
}
