// The table of jumps; see libcuda.go.
void *libcuda_open(const char *path, char **reason);
void *libcuda_symbol(void *library, const char *name);
void libcuda_set(int slot, void *function);
int libcuda_count(void);
int libcuda_init(void);
const char *libcuda_error_name(int result);
const char *libcuda_error_string(int result);
