// A Wasm runtime of the kind that is put into images: the engine's C API and nothing else.
//   engine compile MODULE CODE    writes compiled code
//   engine run CODE               runs compiled code
//   engine jit MODULE             compiles and runs, at each start, as crun does
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct { size_t size; char *data; } bytes;
typedef struct { uint64_t store; void *inner; } function;
typedef void error;
void *wasm_engine_new(void);
error *wasmtime_module_new(void *engine, const uint8_t *wasm, size_t size, void **module);
error *wasmtime_module_serialize(void *module, bytes *out);
error *wasmtime_module_deserialize_file(void *engine, const char *path, void **module);
void *wasmtime_store_new(void *engine, void *data, void *finalizer);
void *wasmtime_store_context(void *store);
void *wasi_config_new(void);
void wasi_config_inherit_stdout(void *config);
error *wasmtime_context_set_wasi(void *context, void *config);
void *wasmtime_linker_new(void *engine);
error *wasmtime_linker_define_wasi(void *linker);
error *wasmtime_linker_module(void *linker, void *context, const char *name, size_t length, void *module);
error *wasmtime_linker_get_default(void *linker, void *context, const char *name, size_t length, function *out);
error *wasmtime_func_call(void *context, function *f, void *args, size_t count, void *results, size_t room, void **trap);
bool wasmtime_error_exit_status(error *error, int *status);
void wasmtime_error_message(error *error, bytes *message);

static void check(error *found) {
    bytes text;
    int status;
    if (!found) return;
    if (wasmtime_error_exit_status(found, &status)) _exit(status);
    wasmtime_error_message(found, &text);
    fprintf(stderr, "engine: %.*s\n", (int)text.size, text.data);
    exit(1);
}

static bytes file(const char *path) {
    struct stat state;
    int fd = open(path, O_RDONLY);
    if (fd < 0 || fstat(fd, &state)) perror(path), exit(1);
    bytes content = {state.st_size, malloc(state.st_size)};
    if (read(fd, content.data, content.size) != state.st_size) perror(path), exit(1);
    close(fd);
    return content;
}

static void *compiled(void *engine, const char *path) {
    void *module;
    bytes wasm = file(path);
    check(wasmtime_module_new(engine, (uint8_t *)wasm.data, wasm.size, &module));
    return module;
}

static void write_code(void *module, const char *path) {
    bytes code;
    check(wasmtime_module_serialize(module, &code));
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    if (fd < 0 || write(fd, code.data, code.size) != (ssize_t)code.size) perror(path), exit(1);
}

static void run(void *engine, void *module) {
    void *context = wasmtime_store_context(wasmtime_store_new(engine, NULL, NULL)), *trap = NULL;
    void *linker = wasmtime_linker_new(engine), *wasi = wasi_config_new();
    function start;
    wasi_config_inherit_stdout(wasi);
    check(wasmtime_context_set_wasi(context, wasi));
    check(wasmtime_linker_define_wasi(linker));
    check(wasmtime_linker_module(linker, context, "", 0, module));
    check(wasmtime_linker_get_default(linker, context, "", 0, &start));
    check(wasmtime_func_call(context, &start, NULL, 0, NULL, 0, &trap));
    _exit(trap != NULL);
}

int main(int count, char **words) {
    void *engine = wasm_engine_new(), *module;
    if (count == 4 && !strcmp(words[1], "compile")) return write_code(compiled(engine, words[2]), words[3]), 0;
    if (count != 3) return 2;
    if (!strcmp(words[1], "jit")) module = compiled(engine, words[2]);
    else check(wasmtime_module_deserialize_file(engine, words[2], &module));
    run(engine, module);
}
