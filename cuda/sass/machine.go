package sass

import (
	"fmt"
	"slices"
	"strings"
)

// Machine is what the model knows of a GPU. Latencies and bytes are in cycles of the SMs' clock.
type Machine struct {
	Name         string
	Major, Minor int // compute capability
	SMs          int
	GHz          float64
	Shared       int // bytes an SM
	Warps        int // resident on an SM
	Blocks       int
	HalfPipes    int // float units of 16 lanes a scheduler
	L2Latency    int64
	L1Lines      int // of 128 bytes, what is left beside shared memory

	// Hundredths of a cycle that a tensor core takes for a product of 16x8x8 TF32 or 16x8x16 16-bit values by mma.sync, and at its peak.
	Tensor, TensorPeak int64
}

const (
	registersPerSM = 65536
	schedulers     = 4
	reservedShared = 1024 // bytes of each block that the system takes
	sectorBytes    = 32
	l2SectorsCycle = 1 // sectors that pass between an SM and L2 a cycle: an assumption, half of the width of the port

	// LaunchGap is the time in seconds between two launches of a graph: an assumption.
	LaunchGap = 1.3e-6
)

// Machines are the GPUs that the model knows.
//
// Registers, shared memory, reserved shared memory, warps and blocks of an SM are those that NVIDIA's libcu++ states for compute
// capabilities 9.0, 8.0 and 8.9 (cuda/__device/arch_traits.h). The numbers of SMs and of float lanes are those of the white papers "NVIDIA
// H100 Tensor Core GPU Architecture" (of the SXM5 module), "NVIDIA A100 Tensor Core GPU Architecture" and "NVIDIA Ada GPU Architecture".
// On Ada the second half of the float lanes also does integers, which the model leaves out.
//
// The clocks are the highest that NVIDIA states, but for the h100: 1.98 GHz for an H200, as for an H100 SXM5, 1.41 for an A100 and 2.52
// for an RTX 4090. The h100's 1.755 GHz is the highest of the PCIe card; that an SXM5 module keeps it under load is an assumption.
//
// The latencies of L2 are assumptions: 13 cycles go by before a load is there, and so one takes 278 cycles on the h100 and 286 on the
// rtx4090, where M. Dewing measured 281 on a GH200 and 296 on an RTX 4090 (github.com/markdewing/AI_kernels, latency/README.md). How
// much of the memory beside shared memory is L1 is an assumption too: half of the 256, 192 and 128 KiB that the two share.
//
// The peaks of the tensor cores are those that NVIDIA states for dense TF32, 494.7 TFLOP/s of an H100 SXM5 at 1.83 GHz, 156 of an A100 and
// 82.6 of an RTX 4090, and twice as much for 16-bit factors with sums of 32: 1024, 512 and 128 TF32 multiply-adds a cycle and SM.
// A warpgroup's products (wgmma) reach the peak by assumption, as far as shared memory gives them their factors, 128 bytes a cycle; their latency is an
// assumption too. On Hopper mma.sync reaches 62.9 % of the peak (W. Luo et al., "Benchmarking and Dissecting the Nvidia Hopper GPU Architecture", 2024,
// arXiv:2402.13499), whatever the type, by assumption; that it reaches the peak elsewhere is an assumption. When a product is there ptxas
// knows: its stall counts let 24 cycles go by on sm_90. On the rtx4090, whose tensor cores take longer than that, it may be there later
// than the model says.
//
// What copies of the tensor memory accelerator take, on the h100 and the h200, and how that is known, is in copier.go.
var Machines = []Machine{
	{Name: "h100", Major: 9, Minor: 0, SMs: 132, GHz: 1.755, Shared: 228 << 10, Warps: 64, Blocks: 32, HalfPipes: 2, L2Latency: 265, L1Lines: 1024, Tensor: 636, TensorPeak: 400},
	{Name: "h200", Major: 9, Minor: 0, SMs: 132, GHz: 1.98, Shared: 228 << 10, Warps: 64, Blocks: 32, HalfPipes: 2, L2Latency: 265, L1Lines: 1024, Tensor: 636, TensorPeak: 400},
	{Name: "a100", Major: 8, Minor: 0, SMs: 108, GHz: 1.41, Shared: 164 << 10, Warps: 64, Blocks: 32, HalfPipes: 1, L2Latency: 262, L1Lines: 768, Tensor: 800, TensorPeak: 800},
	{Name: "rtx4090", Major: 8, Minor: 9, SMs: 128, GHz: 2.52, Shared: 100 << 10, Warps: 48, Blocks: 24, HalfPipes: 2, L2Latency: 273, L1Lines: 512, Tensor: 3200, TensorPeak: 3200},
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

// ArithmeticCycles is the least time of a launch's multiply-adds on the fullest SM, whose float units and tensor cores work side by side.
func (m *Machine) ArithmeticCycles(c *Count) int64 {
	return max(c.FMAs*2/int64(m.HalfPipes*schedulers), m.TensorCycles(c))
}

// TensorCycles is the least time of a launch's products of matrices on the fullest SM, at the peak of its tensor cores. A multiply-add of float32 in
// parts is three products.
func (m *Machine) TensorCycles(c *Count) int64 { return c.MMAs * m.TensorPeak / 100 / schedulers }

// TensorReach is the share of the peak that mma.sync reaches.
func (m *Machine) TensorReach() float64 { return float64(m.TensorPeak) / float64(m.Tensor) }

// TensorShare is the share of the time in which the tensor cores of the fullest SM are taken.
func (m *Machine) TensorShare(c *Count) float64 {
	return float64(c.Tensor) / 100 / schedulers / float64(max(c.Cycles, 1))
}

// ByteCycles is the least time of the bytes that the fullest SM moves.
func (m *Machine) ByteCycles(c *Count) int64 { return c.Bytes / (sectorBytes * l2SectorsCycle) }
