//go:build cuda && linux

#include "_cgo_export.h"
#include <string.h>

// The parameters that are const in NCCL's functions are not in those that Go exports: passing them is the same.
static const struct {
  const char *symbol;
  void *function;
} functions[] = {
    {"ncclGetVersion", libsim_GetVersion},
    {"ncclGetErrorString", libsim_GetErrorString},
    {"ncclGetLastError", libsim_GetLastError},
    {"ncclGetUniqueId", libsim_GetUniqueId},
    {"ncclCommInitRank", libsim_CommInitRank},
    {"ncclCommDestroy", libsim_CommDestroy},
    {"ncclCommAbort", libsim_CommAbort},
    {"ncclCommGetAsyncError", libsim_CommGetAsyncError},
    {"ncclAllReduce", libsim_AllReduce},
    {"ncclReduceScatter", libsim_ReduceScatter},
    {"ncclAllGather", libsim_AllGather},
    {"ncclBroadcast", libsim_Broadcast},
    {"ncclSend", libsim_Send},
    {"ncclRecv", libsim_Recv},
    {"ncclGroupStart", libsim_GroupStart},
    {"ncclGroupEnd", libsim_GroupEnd},
};

void *libsim_function(const char *name) {
  for (size_t i = 0; i < sizeof functions / sizeof *functions; i++)
    if (!strcmp(functions[i].symbol, name)) return functions[i].function;
  return 0;
}
