package sass

import (
	"fmt"
	"slices"
	"strings"
)

// Machine is what the model knows of a GPU. Latencies and bytes are in cycles of the SMs' clock.
type Machine struct {
	Name      string
	SMs       int
	GHz       float64
	Shared    int // bytes an SM
	Warps     int // resident on an SM
	Blocks    int
	HalfPipes int // float units of 16 lanes a scheduler
	L2Latency int64
	L1Lines   int // of 128 bytes, what is left beside shared memory
}

const (
	registersPerSM = 65536
	schedulers     = 4
	reservedShared = 1024 // bytes of each block that the system takes
	sectorBytes    = 32
	l2SectorsCycle = 1 // sectors that pass between an SM and L2 a cycle: an assumption, half of the width of the port

	// LaunchGap is the time in seconds between two launches of a graph, as others measured it on an H200.
	LaunchGap = 1.3e-6
)

// Machines are the GPUs that the model knows. SMs, shared memory, warps, blocks and float lanes are NVIDIA's: the white papers
// "NVIDIA H100 Tensor Core GPU Architecture", "NVIDIA A100 Tensor Core GPU Architecture" and "NVIDIA Ada GPU Architecture", and the
// table of compute capabilities in the CUDA programming guide. Clocks: that of the H100 that predictions are made for; H200's
// data sheet (67 TFLOPS of fp32), the A100's and the RTX 4090's boost clocks. Latencies of L2: rounded from Luo et al.,
// "Benchmarking and Dissecting the NVIDIA Hopper GPU Architecture via Microbenchmarking", 2024.
var Machines = []Machine{
	{Name: "h100", SMs: 132, GHz: 1.755, Shared: 227 << 10, Warps: 64, Blocks: 32, HalfPipes: 2, L2Latency: 265, L1Lines: 1024},
	{Name: "h200", SMs: 132, GHz: 1.98, Shared: 227 << 10, Warps: 64, Blocks: 32, HalfPipes: 2, L2Latency: 265, L1Lines: 1024},
	{Name: "a100", SMs: 108, GHz: 1.41, Shared: 164 << 10, Warps: 64, Blocks: 32, HalfPipes: 1, L2Latency: 262, L1Lines: 768},
	{Name: "rtx4090", SMs: 128, GHz: 2.52, Shared: 100 << 10, Warps: 48, Blocks: 24, HalfPipes: 2, L2Latency: 273, L1Lines: 512},
}

// MachineNames are the names of Machines.
func MachineNames() []string {
	var names []string
	for _, m := range Machines {
		names = append(names, m.Name)
	}
	return names
}

// FindMachine returns a machine by its name.
func FindMachine(name string) (Machine, error) {
	if i := slices.IndexFunc(Machines, func(m Machine) bool { return m.Name == name }); i >= 0 {
		return Machines[i], nil
	}
	return Machine{}, fmt.Errorf("machine is %q, want %s", name, strings.Join(MachineNames(), ", "))
}

// needs is what blocks take of an SM.
type needs struct{ warps, registers, shared int }

// needsOf returns what a block of so many threads, registers a thread and bytes of shared memory takes.
func needsOf(threads, registers, shared int) needs {
	n := needs{warps: (threads + 31) / 32}
	n.registers = n.warps * ((registers + 7) / 8 * 8 * 32) // a warp takes registers in pieces of 256
	if shared > 0 {
		n.shared = (shared + reservedShared + 127) / 128 * 128
	}
	return n
}

// add adds what so many blocks take.
func (n *needs) add(each *needs, blocks int) {
	n.warps += blocks * each.warps
	n.registers += blocks * each.registers
	n.shared += blocks * each.shared
}

// Occupancy returns how many blocks of so many threads, registers a thread and bytes of shared memory an SM holds at a time.
func (m *Machine) Occupancy(threads, registers, shared int) int {
	return m.resident(needsOf(threads, registers, shared))
}

// resident returns how many blocks an SM holds at a time. Each scheduler has a quarter of the registers.
func (m *Machine) resident(each needs) int {
	n := min(m.Blocks, m.Warps/each.warps, registersPerSM/schedulers/(each.registers/each.warps)*schedulers/each.warps)
	if each.shared > 0 {
		n = min(n, m.Shared/each.shared)
	}
	return n
}

// Seconds is the time of so many cycles.
func (m *Machine) Seconds(cycles int64) float64 { return float64(cycles) / m.GHz / 1e9 }

// ArithmeticCycles is the least time of a launch's multiply-adds on the fullest SM.
func (m *Machine) ArithmeticCycles(c *Count) int64 { return c.FMAs * 2 / int64(m.HalfPipes*schedulers) }

// ByteCycles is the least time of the bytes that the fullest SM moves.
func (m *Machine) ByteCycles(c *Count) int64 { return c.Bytes / (sectorBytes * l2SectorsCycle) }
