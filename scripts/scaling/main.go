// Command scaling predicts how training scales with the number of GPUs, from the predicted times of steps in testdata/sim and from what others
// have measured of NCCL. It prints the tables of docs/scaling.md: go run ./scripts/scaling
package main

import (
	"fmt"
	"io"
	"log"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strconv"

	"github.com/convae/convae/nn"
	"github.com/convae/convae/trainer"
)

// machines is a number of GPUs and how they are connected.
type machines struct {
	name  string
	gpus  int
	start float64 // microseconds of an all-reduce of a few bytes
	bus   float64 // bytes a microsecond of a link between two neighbours of a ring
}

// Of NVLink 4, a ring's bandwidth on 2 to 8 H100 SXM: 365 to 370 GB/s (NVIDIA/nccl, issue 1455); of a port of NDR InfiniBand 46 to 48 GB/s
// (NVIDIA/nccl-tests, issue 290), and a machine has eight. An all-reduce of 128 bytes took 6 us on two H100s with NVLink SHARP in a graph
// (NVIDIA/nccl, issue 1259), and one of 1 MiB on two machines 122 us (NVIDIA/nccl, issue 1244); for eight GPUs of a machine 20 us are assumed.
var fleets = []machines{
	{"8 GPUs of one machine", 8, 20, 365e3},
	{"64 GPUs of eight machines", 64, 120, 8 * 46e3},
}

// allReduce returns the microseconds of a sum of so many bytes, by a ring.
func (m machines) allReduce(bytes float64) float64 {
	n := float64(m.gpus)
	return m.start + 2*(n-1)/n*bytes/m.bus
}

// step is a predicted step on one GPU.
type step struct {
	name  string
	batch int // of one GPU
	table string
	model func() (nn.Config, error)
}

func preset(name string) func() (nn.Config, error) {
	return func() (nn.Config, error) {
		c, err := trainer.Preset(name)
		return c.Model, err
	}
}

func file(path string) func() (nn.Config, error) {
	return func() (nn.Config, error) {
		c, err := trainer.ReadConfig(path)
		return c.Model, err
	}
}

// steps returns the steps that are predicted, with paths from the root of the repository.
func steps(root string) []step {
	large := file(filepath.Join(root, "scripts", "bench_large.yaml"))
	return []step{
		{"denoiser, float32", 128, "h100_denoiser_128.txt", preset("denoiser")},
		{"large, tf32", 64, "h100_tf32_large_64.txt", large},
		{"large, bf16", 64, "h100_bf16_large_64.txt", large},
		{"kl-small, float32", 16, "h100_kl_small_16.txt", preset("kl-small")},
		{"kl-f8, bf16", 1, "h100_bf16_kl_f8_1.txt", preset("kl-f8")},
	}
}

// bucket is nn's: gradients are summed in pieces of this size, the first while others are still computed.
const bucket = 25 << 20

// backward is the share of a step that its backward pass takes, in which sums go on; two thirds of the multiply-adds are there.
const backward = 2.0 / 3

// exposed returns the microseconds of summing that a step is longer by: the last bucket cannot begin before all else is done, and what the backward pass
// is too short for comes after it.
func (m machines) exposed(bytes, step float64) float64 {
	last := math.Mod(bytes, bucket)
	if last == 0 && bytes > 0 {
		last = bucket
	}
	return max(m.allReduce(last), m.allReduce(bytes)-backward*step)
}

var total = regexp.MustCompile(`(?m)^step: .* = ([0-9.]+) us$`)

// time reads the microseconds of a step from its table.
func (s step) time(root string) (float64, error) {
	path := filepath.Join(root, "testdata", "sim", s.table)
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	m := total.FindSubmatch(text)
	if m == nil {
		return 0, fmt.Errorf("%s has no line of the whole step", path)
	}
	return strconv.ParseFloat(string(m[1]), 64)
}

// measured is a step with its figures.
type measured struct {
	step
	us    float64
	bytes float64 // of its gradients
}

// measure reads the figures of all steps.
func measure(root string) (list []measured, err error) {
	for _, s := range steps(root) {
		c, err := s.model()
		if err != nil {
			return nil, err
		}
		model, err := nn.New(c, 1)
		if err != nil {
			return nil, err
		}
		us, err := s.time(root)
		if err != nil {
			return nil, err
		}
		list = append(list, measured{s, us, 4 * float64(model.Size())})
	}
	return list, nil
}

// write writes the tables.
func write(w io.Writer, root string) error {
	list, err := measure(root)
	if err != nil {
		return err
	}
	for _, m := range fleets {
		fmt.Fprintf(w, "%s, as many samples on each GPU as on one:\n\n", m.name)
		fmt.Fprintln(w, "| model | samples of a GPU | step of one GPU, us | gradients, MB | sum alone, us | not hidden, us | of linear |")
		fmt.Fprintln(w, "|---|---|---|---|---|---|---|")
		for _, s := range list {
			extra := m.exposed(s.bytes, s.us)
			fmt.Fprintf(w, "| %s | %d | %.1f | %.2f | %.0f | %.0f | %.0f %% |\n", s.name, s.batch, s.us, s.bytes/1e6, m.allReduce(s.bytes), extra, 100*s.us/(s.us+extra))
		}
		fmt.Fprintln(w)
	}
	writeByBatch(w, list[0])
	return nil
}

// writeByBatch writes from which batch the denoiser gains.
func writeByBatch(w io.Writer, s measured) {
	// A step of up to 128 samples takes as long as one of 128: each multiprocessor has a sample.
	one := func(batch int) float64 { return s.us * max(float64(batch)/float64(s.batch), 1) }
	m := fleets[0]
	fmt.Fprintln(w, "The denoiser, by the samples of a step on all GPUs together:")
	fmt.Fprintln(w)
	fmt.Fprintf(w, "| batch | one GPU, us | %s, us | speed-up |\n|---|---|---|---|\n", m.name)
	for _, batch := range []int{128, 256, 512, 1024, 4096} {
		all := one(batch/m.gpus) + m.allReduce(s.bytes)
		fmt.Fprintf(w, "| %d | %.0f | %.0f | %.1f |\n", batch, one(batch), all, one(batch)/all)
	}
}

func main() {
	if err := write(os.Stdout, "."); err != nil {
		log.Fatal(err)
	}
}
