//go:build cuda && linux

#include "_cgo_export.h"
#include <string.h>

static const struct {
  const char *symbol;
  void *function;
} functions[] = {
    {"cuInit", cusim_cuInit},
    {"cuGetErrorName", cusim_cuGetErrorName},
    {"cuGetErrorString", cusim_cuGetErrorString},
    {"cuDriverGetVersion", cusim_cuDriverGetVersion},
    {"cuDeviceGetCount", cusim_cuDeviceGetCount},
    {"cuDeviceGet", cusim_cuDeviceGet},
    {"cuDeviceGetName", cusim_cuDeviceGetName},
    {"cuDeviceTotalMem_v2", cusim_cuDeviceTotalMem},
    {"cuDeviceGetAttribute", cusim_cuDeviceGetAttribute},
    {"cuDevicePrimaryCtxRetain", cusim_cuDevicePrimaryCtxRetain},
    {"cuDevicePrimaryCtxRelease_v2", cusim_cuDevicePrimaryCtxRelease},
    {"cuCtxSetCurrent", cusim_cuCtxSetCurrent},
    {"cuMemGetInfo_v2", cusim_cuMemGetInfo},
    {"cuMemAlloc_v2", cusim_cuMemAlloc},
    {"cuMemFree_v2", cusim_cuMemFree},
    {"cuMemHostAlloc", cusim_cuMemHostAlloc},
    {"cuMemFreeHost", cusim_cuMemFreeHost},
    {"cuModuleLoadDataEx", cusim_cuModuleLoadDataEx},
    {"cuModuleUnload", cusim_cuModuleUnload},
    {"cuModuleGetFunction", cusim_cuModuleGetFunction},
    {"cuFuncGetAttribute", cusim_cuFuncGetAttribute},
    {"cuFuncSetAttribute", cusim_cuFuncSetAttribute},
    {"cuStreamCreate", cusim_cuStreamCreate},
    {"cuStreamDestroy_v2", cusim_cuStreamDestroy},
    {"cuStreamSynchronize", cusim_cuStreamSynchronize},
    {"cuStreamWaitEvent", cusim_cuStreamWaitEvent},
    {"cuEventRecord", cusim_cuEventRecord},
    {"cuEventCreate", cusim_cuEventCreate},
    {"cuEventDestroy_v2", cusim_cuEventDestroy},
    {"cuEventQuery", cusim_cuEventQuery},
    {"cuEventSynchronize", cusim_cuEventSynchronize},
    {"cuEventElapsedTime", cusim_cuEventElapsedTime},
    {"cuMemcpyHtoDAsync_v2", cusim_cuMemcpyHtoDAsync},
    {"cuMemcpyDtoHAsync_v2", cusim_cuMemcpyDtoHAsync},
    {"cuMemcpyDtoDAsync_v2", cusim_cuMemcpyDtoDAsync},
    {"cuMemsetD32Async", cusim_cuMemsetD32Async},
    {"cuLaunchKernel", cusim_cuLaunchKernel},
    {"cuLaunchKernelEx", cusim_cuLaunchKernelEx},
    {"cuTensorMapEncodeTiled", cusim_cuTensorMapEncodeTiled},
    {"cuStreamBeginCapture_v2", cusim_cuStreamBeginCapture},
    {"cuStreamEndCapture", cusim_cuStreamEndCapture},
    {"cuGraphInstantiateWithFlags", cusim_cuGraphInstantiateWithFlags},
    {"cuGraphDestroy", cusim_cuGraphDestroy},
    {"cuGraphLaunch", cusim_cuGraphLaunch},
    {"cuGraphExecDestroy", cusim_cuGraphExecDestroy},
};

void *cusim_function(const char *name) {
  for (size_t i = 0; i < sizeof functions / sizeof *functions; i++)
    if (!strcmp(functions[i].symbol, name)) return functions[i].function;
  return 0;
}

// cusim_log writes to the buffer of the error log, if the options have one.
void cusim_log(unsigned options, CUjit_option *option, void **value, const char *text) {
  char *buffer = 0;
  size_t size = 0;
  for (unsigned i = 0; i < options; i++) {
    if (option[i] == CU_JIT_ERROR_LOG_BUFFER) buffer = value[i];
    if (option[i] == CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES) size = (size_t)value[i];
  }
  if (!buffer || !size) return;
  strncpy(buffer, text, size - 1);
  buffer[size - 1] = 0;
}
