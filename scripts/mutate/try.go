package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/convae/convae/cpu"
	"github.com/convae/convae/cuda"
	"github.com/convae/convae/cuda/ptxsim"
	"github.com/convae/convae/kernels"
	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/backend/backendtest"
	"github.com/convae/convae/trainer/check"
)

// endless is the number of instructions of a warp after which a kernel is taken to be in an endless loop. The longest of
// the table runs some thousandths of it.
const endless = 1 << 26

// try compiles a mutant and runs the checks until one finds it.
func try(ctx context.Context, root, nvcc string, m mutant) outcome {
	o := outcome{mutant: m}
	s, err := compile(ctx, root, nvcc, m)
	if err != nil {
		o.err = err
		return o
	}
	if s.old == s.new {
		o.how = "the compiler makes the same code of it"
		return o
	}
	checks := []named{{"cases", narrow}, {"table", table}, {"golden", golden(filepath.Join(root, "testdata", "golden"))}, {"training", training}}
	if m.stem == residentStem {
		checks = []named{{"cases", narrow}, {"steps", residentSteps}}
	}
	for _, c := range checks {
		if o.how, o.err = c.run(ctx, s, m); o.err != nil || o.how != "" {
			o.by = c.name
			return o
		}
	}
	return o
}

// named is a check.
type named struct {
	name string
	run  func(context.Context, swapped, mutant) (string, error)
}

// compile makes the PTX of a source with the fault in it, in a folder of its own.
func compile(ctx context.Context, root, nvcc string, m mutant) (s swapped, err error) {
	tmp, err := os.MkdirTemp("", "mutate")
	if err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(tmp)) }()
	headers, err := filepath.Glob(filepath.Join(root, "kernels", "*.cuh"))
	if err != nil {
		return s, err
	}
	files := []string{"scripts/build_kernels.sh", "kernels/nvcc.flags", "kernels/include/cuda_runtime.h", "kernels/" + m.stem + ".cu"}
	for _, h := range headers {
		files = append(files, "kernels/"+filepath.Base(h))
	}
	for _, f := range files {
		text, err := os.ReadFile(filepath.Join(root, f))
		if err != nil {
			return s, err
		}
		if f == "kernels/"+m.file {
			text = []byte(strings.Replace(string(text), m.old, m.new, 1))
		}
		to := filepath.Join(tmp, f)
		if err := errors.Join(os.MkdirAll(filepath.Dir(to), 0o777), os.WriteFile(to, text, 0o777)); err != nil {
			return s, err
		}
	}
	// By way of bash, which only reads the script: a process that was started meanwhile may still hold the copy open for
	// writing, and then the system does not run it itself.
	build := exec.CommandContext(ctx, "bash", filepath.Join(tmp, "scripts", "build_kernels.sh"), "--ptx-only", m.stem)
	build.Env = append(os.Environ(), "NVCC="+nvcc)
	if out, err := build.CombinedOutput(); err != nil {
		return s, fmt.Errorf("compiling: %w: %s", err, out)
	}
	file, major, minor := m.stem+".ptx", 8, 0
	switch {
	case !strings.Contains(m.stem, ".sm_"):
		file, major, minor = m.stem+".sm_75.ptx", 7, 5
	case strings.HasSuffix(m.stem, ".sm_90a"), m.file == "conv_pack.cuh": // what is packed in tf32 is read there alone
		major, minor = 9, 0
	}
	ptx, err := os.ReadFile(filepath.Join(tmp, "kernels", file))
	if err != nil {
		return s, err
	}
	committed, err := os.ReadFile(filepath.Join(root, "kernels", file))
	return swapped{body(string(committed)), body(string(ptx)), major, minor}, err
}

// body is PTX without the line that says what it was made of.
func body(ptx string) string {
	_, body, _ := strings.Cut(ptx, "\n")
	return body
}

// swapped is a module of PTX in place of one that is shipped, and the least compute capability that it is for, whose devices take it.
type swapped struct {
	old, new     string
	major, minor int
}

// choose is kernels.Select with the swapped PTX.
func (s swapped) choose(major, minor int) ([]kernels.Module, error) {
	modules, err := kernels.Select(major, minor)
	for i := range modules {
		if body(modules[i].PTX) == s.old {
			modules[i].PTX = s.new
		}
	}
	return modules, err
}

// open opens the device with the fault. A module that is refused is found too.
func open(s swapped) (d *cuda.Device, how string) {
	d, err := cuda.OpenWith(ptxsim.New(ptxsim.Options{Major: s.major, Minor: s.minor, Workers: 1, Limit: endless}), 0, "sim", s.choose)
	if err != nil {
		return nil, err.Error()
	}
	return d, ""
}

// narrow runs the cases that should find the fault.
func narrow(ctx context.Context, s swapped, m mutant) (string, error) {
	cases, err := backendtest.Select(backendtest.Cases(), strings.Split(m.cases, ",")...)
	if err != nil {
		return "", err
	}
	return runCases(ctx, s, cases)
}

func table(ctx context.Context, s swapped, _ mutant) (string, error) {
	return runCases(ctx, s, backendtest.Cases())
}

// runCases returns what the first case that fails says.
func runCases(ctx context.Context, s swapped, cases []backendtest.Case) (how string, err error) {
	d, how := open(s)
	if d == nil {
		return how, nil
	}
	defer d.Close()
	for _, c := range cases {
		if r := backendtest.Run(d.Lanes()[0], c); !r.OK() {
			return r.String(), nil
		}
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
	}
	return "", nil
}

// golden runs the golden vectors and their training.
func golden(dir string) func(context.Context, swapped, mutant) (string, error) {
	return func(ctx context.Context, s swapped, _ mutant) (string, error) {
		return checked(ctx, s, check.Options{Golden: dir, Steps: 1})
	}
}

// training compares a short training with the CPU's.
func training(ctx context.Context, s swapped, _ mutant) (string, error) {
	return checked(ctx, s, check.Options{Words: []string{"memory/"}, Steps: 5, Batch: 8})
}

// beside runs a check of the device with the fault beside the CPU.
func beside(s swapped, run func(d *cuda.Device, reference *cpu.Device) (how string, err error)) (how string, err error) {
	d, how := open(s)
	if d == nil {
		return how, nil
	}
	defer d.Close()
	reference, err := cpu.Open(cpu.Options{Lanes: 1})
	if err != nil {
		return "", err
	}
	defer reference.Close()
	return run(d, reference)
}

func checked(ctx context.Context, s swapped, o check.Options) (how string, err error) {
	return beside(s, func(d *cuda.Device, reference *cpu.Device) (string, error) { return failure(ctx, d, reference, o) })
}

// failure returns the first thing that a check finds.
func failure(ctx context.Context, d, reference backend.Device, o check.Options) (how string, err error) {
	r, err := check.Run(ctx, d, reference, o)
	if err != nil || r.Passed {
		return "", err
	}
	for _, op := range r.Ops {
		if len(op.Failures) > 0 {
			return op.Failures[0], nil
		}
	}
	if r.Training.Error != "" {
		return r.Training.Error, nil
	}
	return fmt.Sprintf("training: losses differ by %.3g, weights by %.3g", r.Training.LossDiff, r.Training.WeightDiff), nil
}
