package main

import (
	"cmp"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/device"
	"github.com/convae/convae/trainer"
	"github.com/convae/convae/trainer/sweep"
)

func sweepCommand() *cobra.Command {
	var out, dev string
	var jobs int
	c := &cobra.Command{
		Use:   "sweep FILE.yaml",
		Short: "Train with many settings, and compare what comes of it",
		Long: `Train a configuration again and again with other values of some settings, as a file says: all values of a grid, or values that
are drawn; by successive halving only the best are trained to the end. It ends with a table, which is written as CSV too, and
one HTML page that compares the runs. The same command goes on with a sweep that was interrupted or killed. Each trial is a
run, in a folder of the sweep's; one that fails is a row with its error.`,
		Args:        arguments(1, 1),
		Annotations: map[string]string{savesState: "true"},
		RunE: func(c *cobra.Command, args []string) error {
			f, err := sweep.ReadFile(args[0])
			if err != nil {
				return err
			}
			name := strings.TrimSuffix(filepath.Base(args[0]), filepath.Ext(args[0]))
			return runSweep(c, f, cmp.Or(out, filepath.Join(runsDir, name)), dev, jobs)
		},
	}
	fs := c.Flags()
	fs.StringVar(&out, "out", "", "folder of the sweep (default runs/FILE)")
	fs.StringVar(&dev, "device", "auto", deviceHelp)
	fs.IntVar(&jobs, "jobs", 1, "trials that are trained side by side: each on a GPU of its own of --device cuda:0,cuda:1, or with a share of the CPU's cores")
	within(fs, "jobs", 1, 256)
	return c
}

// sweepDevices opens a device for each job.
func sweepDevices(name string, jobs int) (devs []backend.Device, err error) {
	defer func() {
		if err != nil {
			closeDevices(devs)
		}
	}()
	names := []string{name}
	if jobs > 1 {
		names = strings.Split(name, ",")
	}
	for _, n := range names[:min(len(names), jobs)] {
		d, _, err := openDevice(n)
		if err != nil {
			return devs, err
		}
		devs = append(devs, d)
	}
	if len(devs) == jobs {
		return devs, nil
	}
	if len(devs) > 1 || devs[0].Name() != "cpu" {
		return devs, fmt.Errorf("--jobs %d on --device %s: want as many GPUs, as cuda:0,cuda:1, or cpu", jobs, name)
	}
	closeDevices(devs)
	devs = nil
	for range jobs {
		d, err := device.OpenCPU(max(runtime.GOMAXPROCS(0)/jobs, 1))
		if err != nil {
			return devs, err
		}
		devs = append(devs, d)
	}
	return devs, nil
}

func closeDevices(devs []backend.Device) {
	for _, d := range devs {
		_ = d.Close() // all work on it has ended
	}
}

func runSweep(c *cobra.Command, f *sweep.File, dir, dev string, jobs int) error {
	devs, err := sweepDevices(dev, jobs)
	if err != nil {
		return err
	}
	defer closeDevices(devs)
	defer frugalHeap()()
	var mu sync.Mutex
	say := func(text string) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Fprintln(c.ErrOrStderr(), printable(text))
	}
	r, err := sweep.Run(c.Context(), f, sweep.Options{Dir: dir, Devices: devs, Say: say, Footer: versionText() + "; on " + deviceText(devs[0])})
	out := c.OutOrStdout()
	if r.Interrupted {
		fmt.Fprintf(out, "interrupted and saved: the same command goes on\n")
		return errInterrupted
	}
	if r.Rows != nil {
		w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, strings.Join(r.Columns, "\t"))
		for _, row := range r.Rows {
			fmt.Fprintln(w, strings.Join(row, "\t"))
		}
		err = errors.Join(err, w.Flush())
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "best: %s\ntable: %s\nreport: %s\n", filepath.Join(r.Best, trainer.ModelFile), r.Table, r.Report)
	return err
}
