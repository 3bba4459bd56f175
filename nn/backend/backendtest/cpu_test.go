package backendtest_test

import (
	"slices"
	"strings"
	"testing"

	"convae/cpu"
	"convae/nn/backend"
	"convae/nn/backend/backendtest"
)

// open returns a lane of the CPU backend, the plain loops or the working ones.
func open(tb testing.TB, plain bool) backend.Backend {
	tb.Helper()
	d, err := cpu.Open(cpu.Options{Lanes: 1, Plain: plain})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := d.Close(); err != nil {
			tb.Error(err)
		}
	})
	return d.Lanes()[0]
}

// run runs cases on a backend, each as a test of its name, and logs the worst share of each family.
func run(t *testing.T, b backend.Backend, cases []backendtest.Case) {
	var families []string
	worst := make(map[string]backendtest.Result)
	for _, c := range cases {
		t.Run(c.Name, func(t *testing.T) {
			r := backendtest.Run(b, c)
			if !r.OK() {
				t.Error(r)
			}
			family := strings.Join(strings.SplitN(c.Name, "/", 3)[:2], "/")
			if !slices.Contains(families, family) {
				families = append(families, family)
			}
			if r.Worst >= worst[family].Worst {
				worst[family] = r
			}
		})
	}
	for _, f := range families {
		t.Logf("%-24s worst %.3f: %v", f, worst[f].Worst, worst[f])
	}
	t.Logf("%d cases, seed %d", len(cases), backendtest.Seed)
}

func TestCPU(t *testing.T)      { t.Parallel(); run(t, open(t, false), backendtest.Cases()) }
func TestCPUPlain(t *testing.T) { t.Parallel(); run(t, open(t, true), backendtest.Cases()) }

func golden(t *testing.T) []backendtest.Case {
	t.Helper()
	dir, err := backendtest.GoldenDir()
	if err != nil {
		t.Fatal(err)
	}
	cases, err := backendtest.LoadGolden(dir)
	if err != nil {
		t.Fatal(err)
	}
	return cases
}

func TestGoldenCPU(t *testing.T)      { run(t, open(t, false), golden(t)) }
func TestGoldenCPUPlain(t *testing.T) { run(t, open(t, true), golden(t)) }

// BenchmarkCPU measures the cases that are of a realistic size.
func BenchmarkCPU(b *testing.B) {
	lane := open(b, false)
	for _, c := range backendtest.Cases() {
		if !c.Bench {
			continue
		}
		b.Run(c.Name, func(b *testing.B) {
			run, free, err := backendtest.Prepare(lane, c)
			if err != nil {
				b.Fatal(err)
			}
			defer free()
			b.ReportAllocs()
			for b.Loop() {
				run()
			}
			if err := lane.Sync(); err != nil {
				b.Fatal(err)
			}
			if c.MACs > 0 {
				b.ReportMetric(2*float64(c.MACs)*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
			}
		})
	}
}
