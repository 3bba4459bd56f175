//go:build cuda && linux

// Package libnccl calls libnccl.so.2 through a table of pointers to its functions, which is filled when the library is opened: a program
// that uses it starts, and runs on one device, on a machine that has no NCCL.
package libnccl

// #cgo LDFLAGS: -ldl
// #include <stdlib.h>
// #include "libnccl.h"
import "C"

import (
	"errors"
	"unsafe"
)

// symbols are those of the table, in the order of its slots.
var symbols = []string{"ncclGetVersion", "ncclGetErrorString", lastError, "ncclGetUniqueId", "ncclCommInitRank", "ncclCommDestroy", "ncclCommAbort",
	"ncclCommGetAsyncError", "ncclAllReduce", "ncclReduceScatter", "ncclAllGather", "ncclBroadcast", "ncclSend", "ncclRecv", "ncclGroupStart", "ncclGroupEnd"}

// lastError can be done without.
const lastError = "ncclGetLastError"

// Open fills the table from a shared library. The error is the dynamic linker's.
func Open(path string) error {
	name := C.CString(path)
	defer C.free(unsafe.Pointer(name))
	var reason *C.char
	library := C.libnccl_open(name, &reason)
	if library == nil {
		return errors.New(C.GoString(reason))
	}
	Fill(func(symbol string) unsafe.Pointer {
		s := C.CString(symbol)
		defer C.free(unsafe.Pointer(s))
		return C.libnccl_symbol(library, s)
	})
	return nil
}

var filled bool

// Filled reports whether the table was filled.
func Filled() bool { return filled }

// Fill fills the table with what lookup returns; nil stands for a symbol that is not there. No call may be under way.
func Fill(lookup func(symbol string) unsafe.Pointer) {
	for i, name := range symbols {
		C.libnccl_set(C.int(i), lookup(name))
	}
	filled = true
}

// Clear puts the table back to its first state.
func Clear() {
	Fill(func(string) unsafe.Pointer { return nil })
	filled = false
}

// Missing lists the functions that the library lacks. No other call may be made if there are any.
func Missing() (list []string) {
	for i, name := range symbols {
		if name != lastError && C.libnccl_has(C.int(i)) == 0 {
			list = append(list, name)
		}
	}
	return list
}

// Comm is an ncclComm_t.
type Comm = unsafe.Pointer

// The functions return an ncclResult_t. Memory and streams are addresses; reductions are sums.

func Version() (version, result int) {
	var v C.int
	result = int(C.libnccl_version(&v))
	return int(v), result
}

func ErrorString(result int) string { return C.GoString(C.libnccl_error_string(C.int(result))) }
func LastError(comm Comm) string    { return C.GoString(C.libnccl_last_error(comm)) }
func UniqueID(id *[128]byte) int {
	return int(C.libnccl_unique_id((*C.libnccl_id)(unsafe.Pointer(id))))
}
func CommDestroy(comm Comm) int { return int(C.libnccl_destroy(comm)) }
func CommAbort(comm Comm) int   { return int(C.libnccl_abort(comm)) }
func GroupStart() int           { return int(C.libnccl_group_start()) }
func GroupEnd() int             { return int(C.libnccl_group_end()) }

func CommInitRank(size int, id *[128]byte, rank int) (comm Comm, result int) {
	result = int(C.libnccl_init_rank(&comm, C.int(size), (*C.libnccl_id)(unsafe.Pointer(id)), C.int(rank)))
	return comm, result
}

func CommGetAsyncError(comm Comm) (failure, result int) {
	var v C.int
	result = int(C.libnccl_async_error(comm, &v))
	return int(v), result
}

func AllReduce(send, recv uint64, count, dtype int, comm Comm, stream uintptr) int {
	return int(C.libnccl_all_reduce(C.uintptr_t(send), C.uintptr_t(recv), C.size_t(count), C.int(dtype), comm, C.uintptr_t(stream)))
}

func ReduceScatter(send, recv uint64, count, dtype int, comm Comm, stream uintptr) int {
	return int(C.libnccl_reduce_scatter(C.uintptr_t(send), C.uintptr_t(recv), C.size_t(count), C.int(dtype), comm, C.uintptr_t(stream)))
}

func AllGather(send, recv uint64, count, dtype int, comm Comm, stream uintptr) int {
	return int(C.libnccl_all_gather(C.uintptr_t(send), C.uintptr_t(recv), C.size_t(count), C.int(dtype), comm, C.uintptr_t(stream)))
}

func Broadcast(send, recv uint64, count, dtype, root int, comm Comm, stream uintptr) int {
	return int(C.libnccl_broadcast(C.uintptr_t(send), C.uintptr_t(recv), C.size_t(count), C.int(dtype), C.int(root), comm, C.uintptr_t(stream)))
}

func Send(p uint64, count, dtype, peer int, comm Comm, stream uintptr) int {
	return int(C.libnccl_send(C.uintptr_t(p), C.size_t(count), C.int(dtype), C.int(peer), comm, C.uintptr_t(stream)))
}

func Recv(p uint64, count, dtype, peer int, comm Comm, stream uintptr) int {
	return int(C.libnccl_recv(C.uintptr_t(p), C.size_t(count), C.int(dtype), C.int(peer), comm, C.uintptr_t(stream)))
}
