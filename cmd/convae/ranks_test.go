package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// mpiBuild builds convae with MPI. It needs Open MPI, so these tests are asked for by CONVAE_TEST_MPI=1.
func mpiBuild(t *testing.T) string {
	t.Helper()
	if os.Getenv("CONVAE_TEST_MPI") == "" {
		t.Skip("needs Open MPI: set CONVAE_TEST_MPI=1")
	}
	bin := filepath.Join(t.TempDir(), "convae")
	build := exec.Command("go", "build", "-tags", "mpi", "-o", bin, ".")
	build.Env = append(os.Environ(), "CC=mpicc")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return bin
}

// mpirun starts ranks, whose time is up with the context, which ends as a test that hangs does.
func mpirun(ctx context.Context, bin string, ranks int, args ...string) (*exec.Cmd, *bytes.Buffer) {
	c := exec.CommandContext(ctx, bin, args...)
	if ranks > 0 {
		c = exec.CommandContext(ctx, "mpirun", append([]string{"-np", strconv.Itoa(ranks), "--oversubscribe", bin}, args...)...)
	}
	c.Env = append(os.Environ(), "OMPI_ALLOW_RUN_AS_ROOT=1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1")
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, &out
	c.WaitDelay = time.Second
	return c, &out
}

func runRanks(t *testing.T, bin string, ranks int, args ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	c, out := mpirun(ctx, bin, ranks, args...)
	if err := c.Run(); err != nil {
		t.Fatalf("%d ranks: %v\n%s", ranks, err, out)
	}
}

func modelBytes(t *testing.T, dir string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, "model.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// However many ranks there are the model is that of one process, bit for bit, on CPUs and on simulated GPUs; summed by MPI in its own order it is
// the same each time.
func TestRanks(t *testing.T) {
	bin := mpiBuild(t)
	root := t.TempDir()
	for _, c := range []struct {
		name  string
		args  []string
		ranks []int
	}{
		{"cpu", []string{"denoiser", "--device", "cpu", "--limit", "800", "--batch", "16", "--epochs", "1"}, []int{0, 2, 4}}, // 50 steps
		{"sim", []string{"denoiser", "--device", "sim", "--limit", "16", "--batch", "8", "--epochs", "1", "--set", "training.slots=2"}, []int{0, 2}},
		{"sharded", []string{"denoiser", "--device", "sim", "--limit", "16", "--batch", "8", "--epochs", "1", "--set", "training.slots=2", "--set", "training.shard_optimizer=true"}, []int{0, 2}},
		{"fast", []string{"denoiser", "--device", "cpu", "--limit", "800", "--batch", "16", "--epochs", "1", "--set", "training.all_reduce=fast"}, []int{2, 2}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var first []byte
			for i, ranks := range c.ranks {
				dir := filepath.Join(root, fmt.Sprint(c.name, i))
				runRanks(t, bin, ranks, append([]string{"train", "--out", dir}, c.args...)...)
				if m := modelBytes(t, dir); i == 0 {
					first = m
				} else if !bytes.Equal(m, first) {
					t.Errorf("the model of %d ranks is not that of %d", ranks, c.ranks[0])
				}
			}
		})
	}
}

// SIGTERM to any rank saves once and ends all, and the run goes on with another number of ranks to the end of one that was not interrupted.
func TestRanksInterrupted(t *testing.T) {
	bin := mpiBuild(t)
	root := t.TempDir()
	args := func(dir string) []string {
		return []string{"train", "denoiser", "--out", filepath.Join(root, dir), "--continue", "--device", "cpu", "--limit", "3000", "--batch", "32", "--epochs", "16"}
	}
	runRanks(t, bin, 0, args("whole")...)
	for _, ranks := range []int{2, 4, 0} {
		c, out := mpirun(t.Context(), bin, ranks, args("parts")...)
		before := newest(filepath.Join(root, "parts"))
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		for range 600 { // until it has come an epoch further
			if now := newest(filepath.Join(root, "parts")); now > before && now > checkpointOf(0) {
				break
			}
			time.Sleep(50 * time.Millisecond)
		}
		pid := c.Process.Pid
		if ranks > 0 {
			pid = aRank(pid)
		}
		if pid == 0 || syscall.Kill(pid, syscall.SIGTERM) != nil {
			t.Error("it ended before it was interrupted")
		}
		if err := c.Wait(); c.ProcessState.ExitCode() != interruptedStatus {
			t.Errorf("%d ranks: %v, want exit status %d\n%s", ranks, err, interruptedStatus, out)
		}
	}
	runRanks(t, bin, 2, args("parts")...)
	if !bytes.Equal(modelBytes(t, filepath.Join(root, "parts")), modelBytes(t, filepath.Join(root, "whole"))) {
		t.Error("the model is not that of a run that was not interrupted")
	}
}

// newest returns the name of a run's newest checkpoint, "" if there is none.
func newest(run string) (name string) {
	list, err := os.ReadDir(filepath.Join(run, "checkpoints"))
	if err != nil {
		return ""
	}
	for _, f := range list {
		if strings.HasPrefix(f.Name(), "step-") {
			name = max(name, f.Name())
		}
	}
	return name
}

// checkpointOf returns the name of the checkpoint of a step.
func checkpointOf(step int) string { return fmt.Sprintf("step-%09d.safetensors", step) }

// ranksOf returns the processes of mpirun's ranks that have not ended.
func ranksOf(mpirun int) (pids []int) {
	list, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", mpirun, mpirun))
	if err != nil {
		return nil
	}
	for _, text := range strings.Fields(string(list)) {
		pid, err := strconv.Atoi(text)
		if stat, gone := os.ReadFile(filepath.Join("/proc", text, "stat")); err == nil && gone == nil && !strings.Contains(string(stat), ") Z ") {
			pids = append(pids, pid)
		}
	}
	return pids
}

// aRank returns the process of one of mpirun's ranks, 0 if there is none yet.
func aRank(mpirun int) int {
	if ranks := ranksOf(mpirun); len(ranks) > 0 {
		return ranks[rand.IntN(len(ranks))]
	}
	return 0
}

// A rank that is killed ends all others, at whatever moment it is, and what is saved goes on to the end of a run that was not.
func TestRanksKilled(t *testing.T) {
	bin := mpiBuild(t)
	root := t.TempDir()
	args := func(dir string) []string {
		return []string{"train", "spiral", "--out", filepath.Join(root, dir), "--continue", "--device", "cpu", "--epochs", "6000", "--set", "training.validation_freq=200"}
	}
	runRanks(t, bin, 0, args("whole")...)
	whole := modelBytes(t, filepath.Join(root, "whole"))
	const kills, jobs = 50, 5
	for job := range jobs { // some at a time: mpirun takes a second to end the others
		t.Run(fmt.Sprint(job), func(t *testing.T) {
			t.Parallel()
			round := 0
			name := func() string { return fmt.Sprint("killed", job, "-", round) }
			finish := func() {
				runRanks(t, bin, 2, args(name())...)
				if !bytes.Equal(modelBytes(t, filepath.Join(root, name())), whole) {
					t.Errorf("%s: the model is not that of a run that was not killed", name())
				}
				round++
			}
			for killed := 0; killed < kills/jobs; {
				hit, ended := killOne(t, bin, 2+2*(killed%2), args(name())...)
				if hit {
					killed++
				}
				if ended {
					finish()
				}
			}
			finish()
		})
	}
}

// killOne starts ranks and kills one of them. It reports whether there was one, and whether the run came to its end before.
func killOne(t *testing.T, bin string, ranks int, args ...string) (hit, ended bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	c, out := mpirun(ctx, bin, ranks, args...)
	var left []int // ranks that have not ended when the time is up
	c.Cancel = func() error {
		left = ranksOf(c.Process.Pid)
		return c.Process.Kill()
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	for len(ranksOf(c.Process.Pid)) < ranks && ctx.Err() == nil { // a busy machine takes seconds to start them
		time.Sleep(10 * time.Millisecond)
	}
	time.Sleep(time.Duration(100+rand.IntN(600)) * time.Millisecond)
	pid := aRank(c.Process.Pid)
	hit = pid != 0 && syscall.Kill(pid, syscall.SIGKILL) == nil
	err := c.Wait()
	switch {
	case ctx.Err() != nil && !hit:
		t.Fatalf("no rank could be killed: %v\n%s", err, out)
	case ctx.Err() != nil && len(left) > 0:
		t.Fatalf("a rank was killed, and %d others did not end: %v\n%s", len(left), err, out)
	case ctx.Err() != nil: // rarely, when a rank is killed while it connects to mpirun
		t.Logf("all ranks have ended, and Open MPI's mpirun has not:\n%s", out)
	}
	return hit, err == nil
}

// started starts two processes as torchrun does, of a build without MPI.
func started(t *testing.T, ctx context.Context, bin string, args ...string) (ranks []*exec.Cmd, said []*bytes.Buffer) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err := errors.Join(err, l.Close()); err != nil {
		t.Fatal(err)
	}
	for i := range 2 {
		c, out := mpirun(ctx, bin, 0, args...)
		c.Env = append(os.Environ(), "WORLD_SIZE=2", "MASTER_ADDR=127.0.0.1", "MASTER_PORT="+port, fmt.Sprint("RANK=", i))
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		ranks, said = append(ranks, c), append(said, out)
	}
	return ranks, said
}

// Without MPI, simulated GPUs of two processes have the bits of one, CPUs say what is missing, and a process that is killed ends the other.
func TestRanksWithoutMPI(t *testing.T) {
	root := t.TempDir()
	bin := filepath.Join(root, "convae")
	if out, err := exec.Command("go", "build", "-o", bin, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	args := func(dir, device string) []string {
		return []string{"train", "denoiser", "--device", device, "--limit", "8", "--batch", "4", "--epochs", "1", "--set", "training.slots=2", "--out", filepath.Join(root, dir)}
	}
	status := func(c *exec.Cmd) int {
		var exit *exec.ExitError
		if err := c.Wait(); err != nil && !errors.As(err, &exit) {
			t.Error(err)
		}
		return c.ProcessState.ExitCode()
	}
	runRanks(t, bin, 0, args("one", "sim")...)
	ranks, said := started(t, ctx, bin, args("two", "sim")...)
	for i, c := range ranks {
		if status(c) != 0 {
			t.Fatalf("rank %d: %s", i, said[i])
		}
	}
	if !bytes.Equal(modelBytes(t, filepath.Join(root, "one")), modelBytes(t, filepath.Join(root, "two"))) {
		t.Error("the model of two processes is not that of one")
	}
	ranks, said = started(t, ctx, bin, args("cpu", "cpu")...)
	for i, c := range ranks {
		if got, text := status(c), said[i].String(); got != 1 || strings.Contains(text, "and else by MPI") != (i == 0) {
			t.Errorf("rank %d: exit status %d, %q", i, got, text)
		}
	}
	ranks, said = started(t, ctx, bin, append(args("killed", "sim"), "--epochs", "1000")...)
	time.Sleep(2 * time.Second)
	if err := ranks[1].Process.Kill(); err != nil {
		t.Error(err)
	}
	status(ranks[1])
	if got, text := status(ranks[0]), said[0].String(); got != 1 || !strings.Contains(text, "rank 1: its process has gone") {
		t.Errorf("rank 0, when rank 1 is killed: exit status %d, %q", got, text)
	}
}
