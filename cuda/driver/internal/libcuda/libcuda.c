//go:build cuda && linux

#include "libcuda.h"
#include <cuda.h>
#include <dlfcn.h>
#include "slots_gen.h"

#if CUDA_VERSION >= 13000 && !defined(CONVAE_CUDA_H)
#error "convae: this cuda.h is of CUDA 13, which gorgonia.org/cu does not compile with: put -I and the path of convae's folder cuda/driver/include into CGO_CFLAGS (see the README, On a GPU)"
#endif

// What is not there answers that CUDA is not initialised.
static int absent(void) { return CUDA_ERROR_NOT_INITIALIZED; }

// gorgonia.org/cu calls cuInit before main and ends the process if it fails.
static int before_main(unsigned flags) {
  (void)flags;
  return CUDA_SUCCESS;
}

// The jumps of jumps_gen.S go through this table.
__attribute__((visibility("hidden"))) void *libcuda_table[LIBCUDA_SLOTS] = {
    [0 ... LIBCUDA_SLOTS - 1] = (void *)absent,
    [LIBCUDA_cuInit] = (void *)before_main,
};

void *libcuda_open(const char *path, char **reason) {
  void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (!library) *reason = dlerror();
  return library;
}

void *libcuda_symbol(void *library, const char *name) { return dlsym(library, name); }

void libcuda_set(int slot, void *function) {
  if (!function) function = slot == LIBCUDA_cuInit ? (void *)before_main : (void *)absent;
  libcuda_table[slot] = function;
}

int libcuda_count(void) { return LIBCUDA_SLOTS; }

int libcuda_init(void) { return cuInit(0); }

const char *libcuda_error_name(int result) {
  const char *s = 0;
  return cuGetErrorName(result, &s) == CUDA_SUCCESS && s ? s : "";
}

const char *libcuda_error_string(int result) {
  const char *s = 0;
  return cuGetErrorString(result, &s) == CUDA_SUCCESS && s ? s : "";
}
