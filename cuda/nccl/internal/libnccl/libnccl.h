// The functions of libnccl.so.2 that are used, as nccl.h declares them. Streams and communicators are pointers to what is not known here,
// results, types and reductions are enumerations, which C passes as int.
#include <stddef.h>
#include <stdint.h>

typedef struct { char internal[128]; } libnccl_id; // ncclUniqueId, which is passed by value

typedef struct {
  int (*GetVersion)(int *version);
  const char *(*GetErrorString)(int result);
  const char *(*GetLastError)(void *comm); // since 2.13
  int (*GetUniqueId)(libnccl_id *id);
  int (*CommInitRank)(void **comm, int ranks, libnccl_id id, int rank);
  int (*CommDestroy)(void *comm);
  int (*CommAbort)(void *comm);
  int (*CommGetAsyncError)(void *comm, int *result);
  int (*AllReduce)(const void *send, void *recv, size_t count, int type, int op, void *comm, void *stream);
  int (*ReduceScatter)(const void *send, void *recv, size_t count, int type, int op, void *comm, void *stream);
  int (*AllGather)(const void *send, void *recv, size_t count, int type, void *comm, void *stream);
  int (*Broadcast)(const void *send, void *recv, size_t count, int type, int root, void *comm, void *stream);
  int (*Send)(const void *send, size_t count, int type, int peer, void *comm, void *stream);
  int (*Recv)(void *recv, size_t count, int type, int peer, void *comm, void *stream);
  int (*GroupStart)(void);
  int (*GroupEnd)(void);
} libnccl_table;

enum { LIBNCCL_SLOTS = sizeof(libnccl_table) / sizeof(void *) };

void *libnccl_open(const char *path, char **reason);
void *libnccl_symbol(void *library, const char *name);
void libnccl_set(int slot, void *function);
int libnccl_has(int slot);

int libnccl_version(int *version);
const char *libnccl_error_string(int result);
const char *libnccl_last_error(void *comm);
int libnccl_unique_id(libnccl_id *id);
int libnccl_init_rank(void **comm, int ranks, const libnccl_id *id, int rank);
int libnccl_destroy(void *comm);
int libnccl_abort(void *comm);
int libnccl_async_error(void *comm, int *result);
int libnccl_all_reduce(uintptr_t send, uintptr_t recv, size_t count, int type, void *comm, uintptr_t stream);
int libnccl_reduce_scatter(uintptr_t send, uintptr_t recv, size_t count, int type, void *comm, uintptr_t stream);
int libnccl_all_gather(uintptr_t send, uintptr_t recv, size_t count, int type, void *comm, uintptr_t stream);
int libnccl_broadcast(uintptr_t send, uintptr_t recv, size_t count, int type, int root, void *comm, uintptr_t stream);
int libnccl_send(uintptr_t p, size_t count, int type, int peer, void *comm, uintptr_t stream);
int libnccl_recv(uintptr_t p, size_t count, int type, int peer, void *comm, uintptr_t stream);
int libnccl_group_start(void);
int libnccl_group_end(void);
