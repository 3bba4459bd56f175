//go:build cuda && linux

package driver

// What gorgonia.org/cu lacks: pinned memory, the limit of dynamic shared memory, stream capture and graphs. The
// functions return errors as gorgonia.org/cu does and need the context to be current. Streams and functions are the
// driver's handles.

// #include <cuda.h>
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
