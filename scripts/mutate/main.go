// Command mutate measures the checks: it plants faults in the kernels, one at a time, and tells which of them the checks
// catch.
//
//	go run ./scripts/mutate [-sample N] [-workers N] [-list] [NAME...]
//
// A fault is a small change of a source in kernels/, such as a barrier left out or a bound that is one too high; mutants.go
// has them. The changed source is compiled in a scratch folder (nvcc as for scripts/build_kernels.sh), and the simulated GPU
// runs it through what "convae check --device sim" does: first the op cases that should find the fault, then the whole
// table, then the golden vectors, and the short training beside the CPU's. A fault that no check finds has survived; the
// exit status is 1 if one has that is not named, with a reason, in equivalents.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "mutate:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	sample := flag.Int("sample", 0, "plant only `N` faults, evenly from the list")
	workers := flag.Int("workers", runtime.GOMAXPROCS(0), "faults tried at the same time")
	list := flag.Bool("list", false, "list the faults and do nothing")
	flag.Parse()
	root, err := repository()
	if err != nil {
		return err
	}
	picked, err := pick(*sample, flag.Args())
	if err != nil {
		return err
	}
	if *list {
		for _, m := range picked {
			fmt.Printf("%-22s %-12s %s\n", m.name, m.file, m.what)
		}
		return nil
	}
	nvcc, err := compiler(ctx, root)
	if err != nil {
		return err
	}
	return report(plant(ctx, root, nvcc, picked, *workers))
}

// repository returns the folder of go.mod.
func repository() (string, error) {
	out, err := exec.Command("go", "env", "GOMOD").Output()
	dir := filepath.Dir(strings.TrimSpace(string(out)))
	if _, e := os.Stat(filepath.Join(dir, "kernels", "nvcc.flags")); err != nil || e != nil {
		return "", fmt.Errorf("run it in the repository (%w)", e)
	}
	return dir, nil
}

// compiler returns nvcc as build_kernels.sh finds it, and fetches it where that would.
func compiler(ctx context.Context, root string) (string, error) {
	if nvcc := os.Getenv("NVCC"); nvcc != "" {
		return nvcc, nil
	}
	nvcc := filepath.Join(root, ".cache", "cuda", "bin", "nvcc")
	if _, err := os.Stat(nvcc); err == nil {
		return nvcc, nil
	}
	fetch := exec.CommandContext(ctx, filepath.Join(root, "scripts", "get_cuda.sh"), filepath.Join(root, ".cache", "cuda"))
	if out, err := fetch.CombinedOutput(); err != nil {
		return "", fmt.Errorf("fetching nvcc: %w\n%s", err, out)
	}
	return nvcc, nil
}

// pick returns the named mutants, or n of them evenly from the list, or all.
func pick(n int, names []string) ([]mutant, error) {
	if len(names) == 0 {
		if n <= 0 || n >= len(mutants) {
			return mutants, nil
		}
		picked := make([]mutant, n)
		for i := range picked {
			picked[i] = mutants[i*len(mutants)/n]
		}
		return picked, nil
	}
	var picked []mutant
	for _, name := range names {
		i := slices.IndexFunc(mutants, func(m mutant) bool { return m.name == name })
		if i < 0 {
			return nil, fmt.Errorf("there is no fault %s: see -list", name)
		}
		picked = append(picked, mutants[i])
	}
	return picked, nil
}

// outcome tells how a mutant fared.
type outcome struct {
	mutant
	by  string // the check that caught it; empty: it survived
	how string
	err error // it could not be tried
}

// plant tries the mutants and prints a line for each.
func plant(ctx context.Context, root, nvcc string, picked []mutant, workers int) []outcome {
	outcomes := make([]outcome, len(picked))
	next := make(chan int)
	var wait sync.WaitGroup
	for range max(workers, 1) {
		wait.Go(func() {
			for i := range next {
				start := time.Now()
				o := try(ctx, root, nvcc, picked[i])
				outcomes[i] = o
				state := "caught"
				switch {
				case o.err != nil:
					state, o.how = "not tried", o.err.Error()
				case o.by == "":
					state = "SURVIVED"
				}
				how, _, _ := strings.Cut(o.how, "\n")
				fmt.Printf("%-9s %-22s %5.1f s  %-12s %s\n", state, o.name, time.Since(start).Seconds(), o.by, how)
			}
		})
	}
	for i := range picked {
		next <- i
	}
	close(next)
	wait.Wait()
	return outcomes
}

// report sums up, and returns an error for what survived without being equivalent.
func report(outcomes []outcome) error {
	var caught int
	var equal, survived, untried, wrong []string
	for _, o := range outcomes {
		_, equivalent := equivalents[o.name]
		switch {
		case o.err != nil:
			untried = append(untried, o.name)
		case o.by == "" && equivalent:
			equal = append(equal, o.name)
		case o.by == "":
			survived = append(survived, o.name)
		default:
			caught++
			if equivalent {
				wrong = append(wrong, o.name)
			}
		}
	}
	fmt.Printf("\ncaught %d of %d\n", caught, len(outcomes))
	for _, name := range equal {
		fmt.Printf("equivalent: %s: %s\n", name, equivalents[name])
	}
	if len(survived)+len(untried)+len(wrong) > 0 {
		return fmt.Errorf("survived: %v; not tried: %v; called equivalent and caught: %v", survived, untried, wrong)
	}
	return nil
}
