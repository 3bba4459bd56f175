package backendtest_test

import (
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/convae/convae/cpu"
	"github.com/convae/convae/cpu/simd"
	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/backend/backendtest"
)

// open returns a lane of the CPU backend, the plain loops or the working ones.
func open(tb testing.TB, plain bool) backend.Backend { return lanes(tb, 1, plain)[0] }

func lanes(tb testing.TB, n int, plain bool) []backend.Backend {
	tb.Helper()
	d, err := cpu.Open(cpu.Options{Lanes: n, Plain: plain})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := d.Close(); err != nil {
			tb.Error(err)
		}
	})
	return d.Lanes()
}

// run runs cases on the CPU, each as a test of its name, and logs the worst share of each family.
func run(t *testing.T, plain bool, cases []backendtest.Case) {
	free := make(chan backend.Backend, runtime.GOMAXPROCS(0))
	for _, l := range lanes(t, cap(free), plain) {
		free <- l
	}
	var families []string
	worst := make(map[string]backendtest.Result)
	var mu sync.Mutex
	t.Run("cases", func(t *testing.T) {
		for _, c := range cases {
			t.Run(c.Name, func(t *testing.T) {
				t.Parallel()
				l := <-free
				r := backendtest.Run(l, c)
				free <- l
				if !r.OK() {
					t.Error(r)
				}
				mu.Lock()
				defer mu.Unlock()
				family := strings.Join(strings.SplitN(c.Name, "/", 3)[:2], "/")
				if !slices.Contains(families, family) {
					families = append(families, family)
				}
				if r.Worst >= worst[family].Worst {
					worst[family] = r
				}
			})
		}
	})
	for _, f := range families {
		t.Logf("%-24s worst %.3f: %v", f, worst[f].Worst, worst[f])
	}
	t.Logf("%d cases, seed %d", len(cases), backendtest.Seed)
}

// levels runs cases at every SIMD level of this machine.
func levels(t *testing.T, cases []backendtest.Case) {
	for _, l := range simd.Supported() {
		t.Run(l.String(), func(t *testing.T) {
			defer simd.Use(l)()
			run(t, false, cases)
		})
	}
}

// table returns the table, or with -short a fifth of it, which is enough for the race detector: that makes the references ten times as slow.
func table() (cases []backendtest.Case) {
	for i, c := range backendtest.Cases() {
		if !testing.Short() || i%5 == 0 {
			cases = append(cases, c)
		}
	}
	return cases
}

func TestCPU(t *testing.T)      { levels(t, table()) }
func TestCPUPlain(t *testing.T) { run(t, true, table()) }

func golden(t *testing.T) []backendtest.Case {
	t.Helper()
	dir, err := backendtest.GoldenDir()
	if err != nil {
		t.Fatal(err)
	}
	cases, notRun, err := backendtest.LoadGolden(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(notRun) > 0 {
		t.Logf("not run, for there are no such ops: %s", strings.Join(notRun, "; "))
	}
	return cases
}

func TestGoldenCPU(t *testing.T)      { levels(t, golden(t)) }
func TestGoldenCPUPlain(t *testing.T) { run(t, true, golden(t)) }

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
