package backend

// Connector is implemented by devices that can be connected with others of their kind, so that they move tensors among themselves.
type Connector interface {
	// Connects returns why the device cannot be connected, such as a library that is not there, or nil.
	Connects() error
	// ConnectionBytes returns about what a connection takes of the device's memory, for buffers of its own.
	ConnectionBytes() int
	// NewID returns what names a connection that is to be. One device makes it, and all are given it.
	NewID(processes int) ([]byte, error)
	// Connect makes the device that of a rank, of so many. All ranks call it, each from a goroutine of its own; it returns when they have.
	Connect(id []byte, rank, size int) (Communicator, error)
}

// Communicator is a device's end of a connection. Its calls are asynchronous and in order as ops are, and can be recorded; tensors are
// Flat. All ranks make the same calls of Reduce and Distribute, of the same lengths and in the same order, and each Send meets a Receive. A
// failure is kept as that of an op.
type Communicator interface {
	// Aside has the calls and the ops that f calls done beside those of the lane that follow, behind all that was called before. They use
	// no workspace.
	Aside(f func())
	// Meet makes what the lane is called for from now on wait for all that was put aside.
	Meet()

	// The calls of these are made within Aside.

	// Reduce: x = the sum of all ranks' x, in an order that depends on the number of ranks and on an element's position in x.
	Reduce(x Tensor)
	// Distribute: x = root's x.
	Distribute(x Tensor, root int)
	// Exchange sends a tensor to a rank and receives one from another, at the same time. Either may be zero.
	Exchange(out Tensor, to int, in Tensor, from int)

	// OnFailure has f called, once, when the device has failed: its calls are then not done, and other ranks would wait for ever.
	OnFailure(f func(err error))
	// Probe asks, without waiting, whether the device has failed at work: then OnFailure hears of it before the next op.
	Probe()
	// Failure returns what is known of a failure of other ranks.
	Failure() error
	// Abort ends all calls, those that are under way too. Any goroutine may call it.
	Abort()
	// Close ends the connection. No recording with its calls may be replayed any more.
	Close() error
}
