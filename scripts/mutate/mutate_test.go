package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/convae/convae/nn/backend/backendtest"
)

// The list is of this repository's sources: each text occurs once in its file, and the change is one.
func TestMutantsApply(t *testing.T) {
	names := make(map[string]bool)
	for _, m := range mutants {
		if names[m.name] {
			t.Errorf("two faults are %s", m.name)
		}
		names[m.name] = true
		text, err := os.ReadFile(filepath.Join("../../kernels", m.file))
		if err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(string(text), m.old); n != 1 || m.old == m.new {
			t.Errorf("%s: %s has the text %d times, want 1, and the new one must differ:\n%s", m.name, m.file, n, m.old)
		}
		if strings.HasSuffix(m.file, ".cu") && m.file != m.stem+".cu" {
			t.Errorf("%s: %s is not compiled from %s.cu", m.name, m.file, m.stem)
		}
	}
	for name, why := range equivalents {
		if !names[name] || why == "" {
			t.Errorf("equivalents has %s, which is no fault or has no reason", name)
		}
	}
	if len(mutants) < 120 {
		t.Errorf("%d faults, want at least 120", len(mutants))
	}
}

// Every word that names cases is in the name of one, or a fault would be tried on none.
func TestMutantsHaveCases(t *testing.T) {
	var names []string
	for _, c := range backendtest.Cases() {
		names = append(names, c.Name)
	}
	for _, m := range mutants {
		for _, word := range strings.Split(m.cases, ",") {
			if !slices.ContainsFunc(names, func(name string) bool { return strings.Contains(name, word) }) {
				t.Errorf("%s: no case has %q in its name", m.name, word)
			}
		}
	}
}

// The figures in CONTRIBUTING.md are those of the list.
func TestContributing(t *testing.T) {
	text, err := os.ReadFile("../../CONTRIBUTING.md")
	if err != nil {
		t.Fatal(err)
	}
	words := strings.Join(strings.Fields(string(text)), " ")
	for _, want := range []string{fmt.Sprintf("`go run ./scripts/mutate` plants %d faults", len(mutants)), fmt.Sprintf("it finds all %d.", len(mutants)-len(equivalents))} {
		if !strings.Contains(words, want) {
			t.Errorf("CONTRIBUTING.md does not say %q: after a change of the list run it whole, and write what it found", want)
		}
	}
}

func TestPick(t *testing.T) {
	sample, err := pick(24, nil)
	if err != nil || len(sample) != 24 {
		t.Fatalf("%d of 24 faults, error %v", len(sample), err)
	}
	var files []string
	for _, m := range sample {
		if !slices.Contains(files, m.file) {
			files = append(files, m.file)
		}
	}
	if len(files) < 8 {
		t.Errorf("a sample of 24 is of the files %v alone", files)
	}
	if again, _ := pick(24, nil); !slices.Equal(again, sample) {
		t.Error("another sample the second time")
	}
	if all, err := pick(0, nil); err != nil || len(all) != len(mutants) {
		t.Errorf("%d of %d faults, error %v", len(all), len(mutants), err)
	}
	if one, err := pick(0, []string{"loss-loop"}); err != nil || len(one) != 1 || one[0].name != "loss-loop" {
		t.Errorf("%v, error %v", one, err)
	}
	if _, err := pick(0, []string{"no such fault"}); err == nil {
		t.Error("no error for a name that there is not")
	}
}

// The simulator runs the PTX with the fault, and that alone is what a check finds.
func TestNarrow(t *testing.T) {
	text, err := os.ReadFile("../../kernels/penalty.sm_75.ptx")
	if err != nil {
		t.Fatal(err)
	}
	old := body(string(text))
	m := mutant{cases: "penalty/row"}
	if how, err := narrow(context.Background(), swapped{old, old, 8, 0}, m); how != "" || err != nil {
		t.Errorf("without a fault: %q, error %v", how, err)
	}
	// i < n becomes i <= n.
	row := strings.Index(old, ".entry penalty_row(")
	fault := old[:row] + strings.Replace(old[row:], "setp.ge.u32", "setp.gt.u32", 1)
	if fault == old {
		t.Fatal("penalty_row has no setp.ge.u32 any more: plant another fault here")
	}
	if how, err := narrow(context.Background(), swapped{old, fault, 8, 0}, m); !strings.Contains(how, "out of bounds: penalty_row") || err != nil {
		t.Errorf("with a fault: %q, error %v", how, err)
	}
}

func TestReport(t *testing.T) {
	caught, lived, broken := outcome{mutant: mutants[0], by: "cases"}, outcome{mutant: mutants[1]}, outcome{mutant: mutants[2], err: errors.New("no")}
	if err := report([]outcome{caught}); err != nil {
		t.Error(err)
	}
	for _, o := range []outcome{lived, broken} {
		if err := report([]outcome{caught, o}); err == nil || !strings.Contains(err.Error(), o.name) {
			t.Errorf("error %v, want one that names %s", err, o.name)
		}
	}
}

// Without a fault the steps of all trials are as near to the CPU's as is asked, and are done by the kernel that the faults are planted in.
func TestResidentSteps(t *testing.T) {
	if how, err := residentSteps(context.Background(), swapped{major: 8}, mutant{}); how != "" || err != nil {
		t.Errorf("without a fault: %q, error %v", how, err)
	}
	text, err := os.ReadFile("../../kernels/resident.sm_80.ptx")
	if err != nil {
		t.Fatal(err)
	}
	old := body(string(text))
	fault := strings.Replace(old, "bar.sync", "// bar.sync", 8)
	if how, err := residentSteps(context.Background(), swapped{old, fault, 8, 0}, mutant{}); how == "" || err != nil {
		t.Errorf("without barriers: %q, error %v", how, err)
	}
}
