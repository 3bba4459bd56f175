package scripts

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// gpuReport is what of gpu_check.sh's file every file has.
type gpuReport struct {
	Date, Device, GPU, Convae, System, Torch string
	Smi                                      string `json:"nvidia_smi"`
	Devices                                  json.RawMessage
	Minutes                                  int
	Quick, Passed                            *bool
	Steps                                    map[string]struct {
		Status, Reason string
		Seconds        *int
		Result         json.RawMessage
	}
}

// gpuSteps are the steps of every run, in their order: the most important first.
var gpuSteps = []string{"table", "golden", "image512", "predicted", "bench", "mnist", "simulator", "memcheck", "racecheck", "initcheck", "synccheck"}

// checkReport reports what a file lacks.
func checkReport(t *testing.T, path string) gpuReport {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var r gpuReport
	if err := json.Unmarshal(text, &r); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	if r.Date == "" || r.Device == "" || r.GPU == "" || r.Convae == "" || r.Devices == nil || r.Minutes == 0 || r.Quick == nil || r.Passed == nil {
		t.Errorf("%s lacks a field: %+v", path, r)
	}
	last := 0
	for _, name := range gpuSteps {
		s := r.Steps[name]
		at := strings.Index(string(text), `"`+name+`": {"status"`)
		if at < last {
			t.Errorf("%s: %s is not in its place", path, name)
		}
		last = at
		switch s.Status {
		case "passed":
			if s.Result == nil {
				t.Errorf("%s: %s has passed without a result", path, name)
			}
		case "failed", "not run":
			if s.Reason == "" {
				t.Errorf("%s: %s is %s without a reason", path, name, s.Status)
			}
		default:
			t.Errorf("%s: the status of %s is %q", path, name, s.Status)
		}
	}
	return r
}

// The committed results are whole, and of full runs.
func TestGPUResults(t *testing.T) {
	files, err := filepath.Glob("../testdata/gpu/*.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if r := checkReport(t, f); *r.Quick {
			t.Errorf("%s is of a quick run", f)
		}
	}
	t.Logf("%d results of hardware", len(files))
}

// A step that hangs is ended at its limit, and the others are done.
func TestGPUCheckLimit(t *testing.T) {
	pack := t.TempDir()
	text, err := os.ReadFile("gpu_check.sh")
	if err != nil {
		t.Fatal(err)
	}
	// Of all checks the one with golden vectors passes; the table's does not even end when it is asked to.
	program := `#!/bin/bash
case "$*" in
  devices*) echo '{}' ;;
  version) echo none ;;
  *--golden*) echo '{"passed": true}' ;;
  check*) trap '' TERM; echo 'on it' >&2; while :; do sleep 0.1; done ;;
  *) exit 1 ;;
esac
`
	short := strings.ReplaceAll(string(text), "--kill-after=15", "--kill-after=0.5")
	if short == string(text) {
		t.Fatal("gpu_check.sh has no --kill-after=15 any more")
	}
	for name, text := range map[string]string{"gpu_check.sh": short, "convae": program} {
		if err := os.WriteFile(filepath.Join(pack, name), []byte(text), 0o777); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(pack, "out.json")
	cmd := exec.Command(filepath.Join(pack, "gpu_check.sh"), "--device", "sim", "--quick", "--only", "table,golden", "--step-limit", "1", "--out", path)
	if out, err := cmd.CombinedOutput(); err == nil {
		t.Errorf("no exit status of a check that hangs\n%s", out)
	}
	r := checkReport(t, path)
	if s := r.Steps["table"]; s.Status != "failed" || s.Reason != "took longer than 1 s (--minutes, --step-limit); its last words: on it" {
		t.Errorf("table: %+v", s)
	}
	if s := r.Steps["golden"]; s.Status != "passed" {
		t.Errorf("golden: %+v", s)
	}
	for _, s := range []string{"bench", "mnist"} {
		if r.Steps[s].Reason != "left out by --only" {
			t.Errorf("%s: %+v", s, r.Steps[s])
		}
	}
	// A step takes no longer than what is left of all the time, and then the others are not run.
	soon := strings.Replace(short, "\nstep table ", "\nSECONDS=0 finish=2\nstep table ", 1)
	if soon == short {
		t.Fatal("gpu_check.sh has no step table any more")
	}
	if err := os.WriteFile(filepath.Join(pack, "gpu_check.sh"), []byte(soon), 0o777); err != nil {
		t.Fatal(err)
	}
	cmd = exec.Command(filepath.Join(pack, "gpu_check.sh"), "--device", "sim", "--quick", "--out", path)
	if out, err := cmd.CombinedOutput(); err == nil {
		t.Errorf("no exit status of a check that hangs\n%s", out)
	}
	r = checkReport(t, path)
	if s := r.Steps["table"]; s.Status != "failed" || *s.Seconds > 10 {
		t.Errorf("table: %+v", s)
	}
	if s := r.Steps["golden"]; s.Status != "not run" || s.Reason != "no time is left of 8 minutes (--minutes)" {
		t.Errorf("golden: %+v", s)
	}
	if out, err := exec.Command("./gpu_check.sh", "--step-limit", "0").CombinedOutput(); err == nil || !strings.Contains(string(out), "--step-limit is 0, want a number of seconds") {
		t.Errorf("a limit of 0: %v %s", err, out)
	}
}

// The script runs without a GPU, on the simulator; and a check that fails is in its file and its exit status.
func TestGPUCheck(t *testing.T) {
	if os.Getenv("CONVAE_TEST_GPU_CHECK") == "" {
		t.Skip("builds with cgo and needs cuda.h: set CONVAE_TEST_GPU_CHECK=1, as CI does")
	}
	path := filepath.Join(t.TempDir(), "sim.json")
	if out, err := exec.Command("./gpu_check.sh", "--device", "sim", "--quick", "--minutes", "60", "--out", path).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	r := checkReport(t, path)
	if !*r.Passed || r.GPU != "sim" {
		t.Errorf("passed %v, GPU %q", *r.Passed, r.GPU)
	}
	for _, name := range []string{"table", "golden", "image512", "predicted", "bench", "mnist", "simulator"} {
		if r.Steps[name].Status != "passed" {
			t.Errorf("%s: %+v", name, r.Steps[name])
		}
	}
	pack := t.TempDir()
	for _, f := range []string{"gpu_check.sh", "torch_bench.py", "torch_model.py"} {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(pack, f), text, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	// A program whose every check fails, with a message that needs care in JSON.
	broken := "#!/bin/sh\ncase $1 in devices) echo '{}';; version) echo none;; *) echo 'a \"kernel\" of C:\\x' >&2; exit 1;; esac\n"
	if err := os.WriteFile(filepath.Join(pack, "convae"), []byte(broken), 0o777); err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(pack, "out.json")
	if out, err := exec.Command(filepath.Join(pack, "gpu_check.sh"), "--device", "sim", "--quick", "--out", path).CombinedOutput(); err == nil {
		t.Errorf("no exit status of a check that fails\n%s", out)
	}
	r = checkReport(t, path)
	if s := r.Steps["golden"]; *r.Passed || s.Status != "failed" || s.Reason != `a "kernel" of C:\x` {
		t.Errorf("passed %v, golden %+v", *r.Passed, s)
	}
}
