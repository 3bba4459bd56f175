// Package driver is the part of the CUDA driver API that the GPU backend uses, as an interface: the real driver, the
// PTX simulator and a recording fake implement it.
//
// A Device is a CUDA context on one device. Its methods, and those of what it makes, may be called from any goroutine,
// one at a time. Work given to a Stream runs in order and asynchronously; its failures come with a later call, at the
// latest with Synchronize.
package driver

import "fmt"

// Driver finds devices.
type Driver interface {
	// Devices lists what there is. The error says why there is nothing: no driver, no device.
	Devices() ([]Info, error)
	// Open takes a context on device i of the list.
	Open(i int) (Device, error)
}

// Info is what is known of a device without opening it.
type Info struct {
	Name         string
	Major, Minor int // compute capability
	Memory       int // bytes
	SMs          int // multiprocessors
	Driver       int // CUDA version that the driver supports, 1000*major + 10*minor
}

// Target returns the name of the device's architecture, such as "sm_75".
func (i Info) Target() string { return fmt.Sprintf("sm_%d%d", i.Major, i.Minor) }

// Ptr is an address in device memory; 0 is none.
type Ptr uint64

// Dim3 is the extent of a grid or block. Zero extents mean 1.
type Dim3 struct{ X, Y, Z int }

// Device is an open device.
type Device interface {
	Info() Info
	// Memory returns the free and total bytes.
	Memory() (free, total int, err error)
	// Alloc returns n bytes of uninitialised device memory, aligned to 256. Free gives them back.
	Alloc(n int) (Ptr, error)
	Free(p Ptr) error
	// AllocHost returns n bytes of pinned host memory, which copies need to be asynchronous.
	AllocHost(n int) ([]byte, error)
	FreeHost(b []byte) error
	// Load compiles PTX. The error holds the compiler's log. Several goroutines may load modules and find functions in them
	// at a time, if nothing else is called meanwhile.
	Load(ptx string) (Module, error)
	// EncodeTiled makes the map of a tensor, on a device that takes tensor maps (Info).
	EncodeTiled(t *Tiled) (TensorMap, error)
	NewStream() (Stream, error)
	NewEvent() (Event, error)
	// Close gives the context back, and with the last that uses it all that it made.
	Close() error
}

// Watcher is a Device that may notice every access of a kernel outside of an allocation, as a simulator does.
type Watcher interface{ WatchesMemory() bool }

// Module is loaded code.
type Module interface {
	// Function finds an entry by name.
	Function(name string) (Function, error)
	Unload() error
}

// Function is an entry of a module.
type Function interface {
	Name() string
	Attributes() Attributes
	// SetDynamicShared allows launches with so many bytes of dynamic shared memory (more than 48 KiB must be asked for).
	SetDynamicShared(n int) error
}

// Attributes are what the compiler made of a function.
type Attributes struct {
	Registers  int // a thread
	Shared     int // static bytes
	Local      int // bytes a thread
	MaxThreads int // a block
	Params     int // number of parameters, which only simulators know
	Maps       int // of them, the last ones, that are tensor maps
	Binary     int // architecture of the code, such as 75
}

// Launch is a launch of a function. Args has a slot of 8 bytes for every parameter that is no tensor map, its value in the low bytes.
type Launch struct {
	Function    Function
	Grid, Block Dim3
	Shared      int // dynamic bytes
	Args        []uint64
	Maps        []TensorMap // the function's parameters behind these
	// Waits says that the kernel waits for the launch before it in the stream, with griddepcontrol.wait as its first instruction. So
	// its blocks may be placed when those of that launch have all begun. It takes a device of compute capability 9.0.
	Waits bool
}

// Stream is a queue of work.
type Stream interface {
	// ToDevice and ToHost copy; the host memory must stay as it is until the stream has passed the call. That holds for
	// pageable memory too: on machines whose devices read it themselves the call does not wait for that.
	ToDevice(dst Ptr, src []byte) error
	ToHost(dst []byte, src Ptr) error
	// Copy copies n bytes within the device, Fill sets n 32-bit words.
	Copy(dst, src Ptr, n int) error
	Fill(dst Ptr, v uint32, n int) error
	// Launch has read l.Args when it returns.
	Launch(l *Launch) error
	// Record marks a point of the stream, Wait makes the stream wait for a point of another.
	Record(e Event) error
	Wait(e Event) error
	// Synchronize waits for all work and returns its first failure.
	Synchronize() error
	// BeginCapture makes the calls that follow be recorded instead of run, until EndCapture returns them as a graph.
	BeginCapture() error
	EndCapture() (Graph, error)
	// Replay runs a graph.
	Replay(g Graph) error
	Close() error
}

// Event is a point of a stream.
type Event interface {
	// Synchronize waits until the point is reached, Reached asks whether it is.
	Synchronize() error
	Reached() (bool, error)
	// Since returns the milliseconds between an earlier event and this one; both must have been reached.
	Since(earlier Event) (float64, error)
	Close() error
}

// Graph is recorded work.
type Graph interface {
	Close() error
}

// Contextual is a Device of the CUDA driver, in whose context other libraries can work.
type Contextual interface {
	// InContext calls f with the device's context current in the thread.
	InContext(f func() error) error
}

// Handled is a Stream of the CUDA driver, in which other libraries can put work.
type Handled interface {
	// Handle returns the CUstream. What is put in it must be called before the next call of the Stream.
	Handle() uintptr
}
