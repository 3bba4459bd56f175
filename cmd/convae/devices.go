package main

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/convae/convae/cuda/driver"
	"github.com/convae/convae/kernels"
)

// gpu is a device of the CUDA driver as devices reports it.
type gpu struct {
	Device  string `json:"device"` // what --device takes
	Name    string `json:"name"`
	Compute string `json:"compute_capability"`
	Memory  int    `json:"memory_bytes"`
	SMs     int    `json:"multiprocessors"`
	Driver  string `json:"driver_cuda"` // CUDA version that the driver supports
	PTX     string `json:"ptx"`         // targets of the kernels that would be loaded, or why there are none
}

func devicesCommand() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "devices",
		Short: "List the devices that --device takes",
		Long: `List the NVIDIA GPUs with their compute capability, memory, the CUDA version that the driver supports and the target of the
PTX that would be loaded, or say why there is none.`,
		Args: arguments(0, 0),
		RunE: func(c *cobra.Command, _ []string) error {
			gpus, none := listGPUs()
			reason := ""
			if none != nil {
				reason = none.Error()
			}
			if asJSON {
				return writeJSON(c.OutOrStdout(), struct {
					GPUs   []gpu  `json:"gpus"`
					Reason string `json:"no_gpu_because,omitempty"`
					Cores  int    `json:"cpu_cores"`
				}{gpus, reason, runtime.GOMAXPROCS(0)})
			}
			w := tabwriter.NewWriter(c.OutOrStdout(), 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "device\tname\tcompute\tmemory\tdriver\tPTX")
			for _, g := range gpus {
				fmt.Fprintf(w, "%s\t%s\t%s\t%.1f GiB\tCUDA %s\t%s\n", g.Device, g.Name, g.Compute, float64(g.Memory)/(1<<30), g.Driver, g.PTX)
			}
			fmt.Fprintf(w, "cpu\t%d cores\n", runtime.GOMAXPROCS(0))
			fmt.Fprintln(w, "sim\ta simulated GPU")
			if err := w.Flush(); err != nil {
				return err
			}
			if reason != "" {
				fmt.Fprintln(c.OutOrStdout(), "\nno GPU:", reason)
			}
			return nil
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

// listGPUs returns the GPUs, or why there are none.
func listGPUs() ([]gpu, error) {
	gpus := []gpu{}
	d, err := driver.System()
	if err != nil {
		return gpus, err
	}
	infos, err := d.Devices()
	if err != nil {
		return gpus, err
	}
	for i, info := range infos {
		gpus = append(gpus, gpu{fmt.Sprintf("cuda:%d", i), info.Name, fmt.Sprintf("%d.%d", info.Major, info.Minor), info.Memory, info.SMs,
			fmt.Sprintf("%d.%d", info.Driver/1000, info.Driver%1000/10), ptxTargets(info)})
	}
	return gpus, nil
}

// ptxTargets names the architectures of the kernels' PTX that a device would load.
func ptxTargets(info driver.Info) string {
	modules, err := kernels.Select(info.Major, info.Minor)
	if err != nil {
		return err.Error()
	}
	var targets []string
	for _, m := range modules {
		if t := m.Target(); !slices.Contains(targets, t) {
			targets = append(targets, t)
		}
	}
	slices.Sort(targets)
	return strings.Join(targets, " ")
}
