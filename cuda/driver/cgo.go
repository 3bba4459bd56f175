//go:build cuda && linux

package driver

// What gorgonia.org/cu lacks: pinned memory, the limit of dynamic shared memory, early launches, stream capture and graphs. The
// functions return errors as gorgonia.org/cu does and need the context to be current. Streams and functions are the
// driver's handles.

/*
#include <cuda.h>

// launch_early launches a function of n arguments of 8 bytes, whose blocks may begin before the launch before has ended.
static CUresult launch_early(CUfunction f, CUstream stream, const unsigned *grid, const unsigned *block, unsigned shared,
                             unsigned long long *args, int n) {
  CUlaunchAttribute attribute = {.id = CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION};
  attribute.value.programmaticStreamSerializationAllowed = 1;
  CUlaunchConfig config = {grid[0], grid[1], grid[2], block[0], block[1], block[2], shared, stream, &attribute, 1};
  void *params[n + 1];
  for (int i = 0; i < n; i++) params[i] = args + i;
  return cuLaunchKernelEx(&config, f, params, 0);
}
*/
import "C"

import "unsafe"

// result is a CUresult as an error; failed describes it.
type result int

func (r result) Error() string { return newError("", int(r)).Error() }

func check(r C.CUresult) error {
	if r == C.CUDA_SUCCESS {
		return nil
	}
	return result(r)
}

func allocHost(n int) (p unsafe.Pointer, err error) {
	err = check(C.cuMemHostAlloc(&p, C.size_t(n), C.CU_MEMHOSTALLOC_PORTABLE))
	return p, err
}

func setDynamicShared(function unsafe.Pointer, n int) error {
	return check(C.cuFuncSetAttribute(C.CUfunction(function), C.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, C.int(n)))
}

// launchEarly launches a function that waits by itself for the launch before it.
func launchEarly(function, stream unsafe.Pointer, l *Launch) error {
	var args *C.ulonglong
	if len(l.Args) > 0 {
		args = (*C.ulonglong)(&l.Args[0])
	}
	grid, block := extents(l.Grid), extents(l.Block)
	return check(C.launch_early(C.CUfunction(function), C.CUstream(stream), &grid[0], &block[0], C.uint(l.Shared), args, C.int(len(l.Args))))
}

func extents(d Dim3) [3]C.uint {
	return [...]C.uint{C.uint(max(d.X, 1)), C.uint(max(d.Y, 1)), C.uint(max(d.Z, 1))}
}

// beginCapture allows what other threads may do in the meantime, and goroutines to change threads.
func beginCapture(stream unsafe.Pointer) error {
	return check(C.cuStreamBeginCapture(C.CUstream(stream), C.CU_STREAM_CAPTURE_MODE_RELAXED))
}

type cuGraph struct {
	dev   *cuDevice
	graph C.CUgraph
	exec  C.CUgraphExec
}

func (g *cuGraph) endCapture(stream unsafe.Pointer) error {
	return check(C.cuStreamEndCapture(C.CUstream(stream), &g.graph))
}

// instantiate makes the graph executable.
func (g *cuGraph) instantiate() error {
	return check(C.cuGraphInstantiateWithFlags(&g.exec, g.graph, 0))
}

func (g *cuGraph) forget() error { return check(C.cuGraphDestroy(g.graph)) }

func (g *cuGraph) launch(stream unsafe.Pointer) error {
	return check(C.cuGraphLaunch(g.exec, C.CUstream(stream)))
}

// Close frees the graph.
func (g *cuGraph) Close() error {
	return g.dev.do("cuGraphExecDestroy", func() error { return check(C.cuGraphExecDestroy(g.exec)) })
}
