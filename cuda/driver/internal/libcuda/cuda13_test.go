//go:build cuda && linux

package libcuda

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// With the headers of CUDA 13 the bindings do not compile, and the compiler says what to do; with our cuda.h before
// theirs they compile, link and work. Where older headers are installed, these are changed to declare what 13 declares.
func TestCUDA13(t *testing.T) {
	root, err := filepath.Abs("../../../..")
	if err != nil {
		t.Fatal(err)
	}
	headers := cuda13(t, root)
	run := func(flags string) (string, error) {
		cmd := exec.Command("go", "test", "-tags", "cuda", "-run", "Bindings", "./cuda/driver")
		cmd.Dir = root
		cmd.Env = append(os.Environ(), "CGO_ENABLED=1", "CGO_CFLAGS="+flags)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	if out, err := run("-I" + headers); err == nil || !strings.Contains(out, "path of convae's folder cuda/driver/include into CGO_CFLAGS") {
		t.Errorf("without our cuda.h: %v\n%s", err, out)
	}
	if out, err := run("-I" + filepath.Join(root, "cuda/driver/include") + " -I" + headers); err != nil {
		t.Errorf("with our cuda.h: %v\n%s", err, out)
	}
}

// cuda13 returns a folder with a cuda.h of CUDA 13: the installed one, or a copy that declares as 13 does what it changed of
// the functions that gorgonia.org/cu calls ("CUDA API Changes from 12.x to 13.x" in NVIDIA's DRIVE OS migration guide).
func cuda13(t *testing.T, root string) string {
	t.Helper()
	installed, text, version := installedHeader(t)
	if version >= 13000 {
		return installed
	}
	if version < 12030 {
		t.Skipf("%s is of CUDA %d.%d, too old to stand in for 13: that takes 12.3 or later", installed, version/1000, version%1000/10)
	}
	change := func(from, to string) {
		t.Helper()
		re := regexp.MustCompile(from)
		if !re.Match(text) {
			t.Fatalf("cuda.h of CUDA %d has nothing like %s", version, from)
		}
		text = re.ReplaceAll(text, []byte(to))
	}
	change(`(?m)^(#define CUDA_VERSION) \d+`, "$1 13000")
	change(`(?m)^(#define cuCtxCreate +)cuCtxCreate_v2$`, `${1}cuCtxCreate_v4`)
	change(`(?m)^(CUresult CUDAAPI cuCtxCreate\(CUcontext \*pctx), `, "typedef struct CUctxCreateParams_st CUctxCreateParams;\n$1, CUctxCreateParams *params, ")
	for _, name := range []string{"cuMemPrefetchAsync", "cuMemAdvise", "cuDeviceGetUuid", "cuEventElapsedTime", "cuGraphGetEdges", "cuGraphAddDependencies"} {
		change(`(?m)^(#define CUDA_VERSION 13000)$`, "$1\n#define "+name+" "+name+"_v2")
		if bytes.Contains(text, []byte("CUresult CUDAAPI "+name+"_v2(")) { // else the macro makes it of the old declaration
			change(`(?m)^CUresult CUDAAPI `+name+`\([^;]*;`, "")
		}
	}
	// A place that stays the same lets go keep what it built.
	dir := filepath.Join(root, ".cache", "cuda13")
	if err := os.MkdirAll(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "cuda.h"), text, 0o666); err != nil {
		t.Fatal(err)
	}
	return dir
}

// installedHeader returns the cuda.h that this test was built with: its folder, text and version.
func installedHeader(t *testing.T) (dir string, text []byte, version int) {
	t.Helper()
	out, err := exec.Command("go", "env", "CGO_CFLAGS").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, flag := range append(strings.Fields(string(out)), "-I/usr/local/cuda/include", "-I/opt/cuda/include", "-I/usr/include") {
		dir, ok := strings.CutPrefix(flag, "-I")
		if !ok || strings.HasSuffix(dir, "cuda/driver/include") {
			continue
		}
		text, err := os.ReadFile(filepath.Join(dir, "cuda.h"))
		if err != nil {
			continue
		}
		m := regexp.MustCompile(`(?m)^#define CUDA_VERSION (\d+)`).FindSubmatch(text)
		if m == nil {
			t.Fatalf("%s/cuda.h has no CUDA_VERSION", dir)
		}
		version, err := strconv.Atoi(string(m[1]))
		if err != nil {
			t.Fatal(err)
		}
		return dir, text, version
	}
	t.Fatalf("no cuda.h in the folders of CGO_CFLAGS %q", out)
	return "", nil, 0
}
