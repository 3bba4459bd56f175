//go:build cuda && linux

package driver

// What gorgonia.org/cu lacks: pinned memory, the limit of dynamic shared memory, early launches and those with tensor maps, stream capture and graphs. The
// functions return errors as gorgonia.org/cu does and need the context to be current. Streams and functions are the
// driver's handles.

/*
#include <cuda.h>

#if CUDA_VERSION < 12000 // whose headers do not know it
typedef struct {
  unsigned long long opaque[16];
} __attribute__((aligned(64))) CUtensorMap;
CUresult cuTensorMapEncodeTiled(CUtensorMap *map, int type, unsigned rank, void *base, const cuuint64_t *sizes, const cuuint64_t *strides, const unsigned *box,
                                const unsigned *steps, int interleave, int swizzle, int promotion, int fill);
#endif

// A tensor map is 16 words.
enum { MAP_WORDS = 16 };

// launch_extended launches a function of n arguments of 8 bytes and then so many tensor maps. If it is early its blocks may begin before the launch
// before has ended.
static CUresult launch_extended(CUfunction f, CUstream stream, const unsigned *grid, const unsigned *block, unsigned shared,
                                unsigned long long *args, int n, unsigned long long *maps, int tensors, int early) {
  CUlaunchAttribute attribute = {.id = CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION};
  attribute.value.programmaticStreamSerializationAllowed = 1;
  CUlaunchConfig config = {grid[0], grid[1], grid[2], block[0], block[1], block[2], shared, stream, early ? &attribute : 0, early ? 1 : 0};
  void *params[n + tensors + 1];
  for (int i = 0; i < n; i++) params[i] = args + i;
  for (int i = 0; i < tensors; i++) params[n + i] = maps + MAP_WORDS * i;
  return cuLaunchKernelEx(&config, f, params, 0);
}

// encode_tiled makes a tensor map without interleaving and swizzling, of which elements outside of the tensor are 0. Where a box has few
// neighbours in a row of 128 bytes, the next ones bring the others, so the second-level cache fetches all.
static CUresult encode_tiled(unsigned long long *words, int type, unsigned rank, unsigned long long base, const cuuint64_t *sizes, const cuuint64_t *strides,
                             const unsigned *box) {
  CUtensorMap map;
  const unsigned steps[] = {1, 1, 1, 1, 1};
  const CUresult result = cuTensorMapEncodeTiled(&map, type, rank, (void *)base, sizes, strides, box, steps, 0, 0, 2, 0);
  for (int i = 0; i < MAP_WORDS; i++) words[i] = map.opaque[i];
  return result;
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

// launchExtended launches a function that has tensor maps as parameters or, if it is early, waits by itself for the launch before it.
func launchExtended(function, stream unsafe.Pointer, l *Launch, early bool) error {
	var args, maps *C.ulonglong
	if len(l.Args) > 0 {
		args = (*C.ulonglong)(&l.Args[0])
	}
	if len(l.Maps) > 0 {
		maps = (*C.ulonglong)(&l.Maps[0][0])
	}
	before := C.int(0)
	if early {
		before = 1
	}
	grid, block := extents(l.Grid), extents(l.Block)
	return check(C.launch_extended(C.CUfunction(function), C.CUstream(stream), &grid[0], &block[0], C.uint(l.Shared), args, C.int(len(l.Args)), maps, C.int(len(l.Maps)), before))
}

// encodeTiled makes a tensor map.
func encodeTiled(t *Tiled) (m TensorMap, err error) {
	var sizes, strides [5]C.cuuint64_t
	var box [5]C.uint
	for i := range t.Sizes {
		sizes[i], box[i] = C.cuuint64_t(t.Sizes[i]), C.uint(t.Box[i])
	}
	for i, s := range t.Strides {
		strides[i] = C.cuuint64_t(s)
	}
	err = check(C.encode_tiled((*C.ulonglong)(&m[0]), C.int(t.Type), C.uint(len(t.Sizes)), C.ulonglong(t.Base), &sizes[0], &strides[0], &box[0]))
	return m, err
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
