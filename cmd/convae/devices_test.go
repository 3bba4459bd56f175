package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/convae/convae/cuda/driver"
)

// Whatever there is, the list has the CPU and the simulator, and the GPUs or why there are none.
func TestDevices(t *testing.T) {
	stdout, _, err := run(t, "devices")
	if err != nil {
		t.Fatal(err)
	}
	gpus, none := listGPUs()
	for _, want := range []string{"cpu", "sim"} {
		if !strings.Contains(stdout, "\n"+want+" ") {
			t.Errorf("no %s in\n%s", want, stdout)
		}
	}
	if none != nil && !strings.Contains(stdout, "no GPU: "+none.Error()) || none == nil && !strings.Contains(stdout, gpus[0].Name) {
		t.Errorf("neither GPUs nor the reason in\n%s", stdout)
	}
	stdout, _, err = run(t, "devices", "--json")
	if err != nil {
		t.Fatal(err)
	}
	var r struct {
		GPUs   []gpu  `json:"gpus"`
		Reason string `json:"no_gpu_because"`
		Cores  int    `json:"cpu_cores"`
	}
	if err := json.Unmarshal([]byte(stdout), &r); err != nil {
		t.Fatal(err)
	}
	if r.GPUs == nil || r.Cores < 1 || (r.Reason == "") != (len(r.GPUs) > 0) {
		t.Errorf("JSON %s", stdout)
	}
}

func TestPTXTargets(t *testing.T) {
	for _, c := range []struct {
		major, minor int
		want         string
	}{{7, 5, "sm_75"}, {9, 0, "sm_75"}, {6, 1, "compute capability 6.1 is too old"}} {
		if got := ptxTargets(driver.Info{Major: c.major, Minor: c.minor}); !strings.Contains(got, c.want) {
			t.Errorf("%d.%d: %q, want %q", c.major, c.minor, got, c.want)
		}
	}
}
