//go:build cuda && linux

#include "libnccl.h"
#include <dlfcn.h>

static union {
  libnccl_table f;
  void *slots[LIBNCCL_SLOTS];
} table;

enum { sum = 0 }; // ncclSum

void *libnccl_open(const char *path, char **reason) {
  void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (!library) *reason = dlerror();
  return library;
}

void *libnccl_symbol(void *library, const char *name) { return dlsym(library, name); }
void libnccl_set(int slot, void *function) { table.slots[slot] = function; }
int libnccl_has(int slot) { return table.slots[slot] != 0; }

int libnccl_version(int *version) { return table.f.GetVersion(version); }
const char *libnccl_error_string(int result) { return table.f.GetErrorString(result); }
const char *libnccl_last_error(void *comm) { return table.f.GetLastError ? table.f.GetLastError(comm) : ""; }
int libnccl_unique_id(libnccl_id *id) { return table.f.GetUniqueId(id); }
int libnccl_init_rank(void **comm, int ranks, const libnccl_id *id, int rank) { return table.f.CommInitRank(comm, ranks, *id, rank); }
int libnccl_destroy(void *comm) { return table.f.CommDestroy(comm); }
int libnccl_abort(void *comm) { return table.f.CommAbort(comm); }
int libnccl_async_error(void *comm, int *result) { return table.f.CommGetAsyncError(comm, result); }

int libnccl_all_reduce(uintptr_t send, uintptr_t recv, size_t count, int type, void *comm, uintptr_t stream) {
  return table.f.AllReduce((const void *)send, (void *)recv, count, type, sum, comm, (void *)stream);
}

int libnccl_reduce_scatter(uintptr_t send, uintptr_t recv, size_t count, int type, void *comm, uintptr_t stream) {
  return table.f.ReduceScatter((const void *)send, (void *)recv, count, type, sum, comm, (void *)stream);
}

int libnccl_all_gather(uintptr_t send, uintptr_t recv, size_t count, int type, void *comm, uintptr_t stream) {
  return table.f.AllGather((const void *)send, (void *)recv, count, type, comm, (void *)stream);
}

int libnccl_broadcast(uintptr_t send, uintptr_t recv, size_t count, int type, int root, void *comm, uintptr_t stream) {
  return table.f.Broadcast((const void *)send, (void *)recv, count, type, root, comm, (void *)stream);
}

int libnccl_send(uintptr_t p, size_t count, int type, int peer, void *comm, uintptr_t stream) {
  return table.f.Send((const void *)p, count, type, peer, comm, (void *)stream);
}

int libnccl_recv(uintptr_t p, size_t count, int type, int peer, void *comm, uintptr_t stream) {
  return table.f.Recv((void *)p, count, type, peer, comm, (void *)stream);
}

int libnccl_group_start(void) { return table.f.GroupStart(); }
int libnccl_group_end(void) { return table.f.GroupEnd(); }
