// The part of WASI that the HTTP server uses, for compiling it as a native program: see host.c.
#pragma once
#include <stdint.h>

enum { __WASI_ERRNO_AGAIN = 6, __WASI_FDFLAGS_NONBLOCK = 4, __WASI_EVENTTYPE_FD_READ = 1 };

typedef uint32_t __wasi_size_t;

typedef struct {
    uint64_t userdata;
    struct {
        uint8_t tag;
        union {
            struct {
                uint32_t file_descriptor;
            } fd_read;
        } u;
    } u;
} __wasi_subscription_t;

typedef struct {
    uint64_t userdata;
} __wasi_event_t;

uint32_t __wasi_fd_close(uint32_t fd);
uint32_t __wasi_fd_fdstat_set_flags(uint32_t fd, uint32_t flags);
uint32_t __wasi_poll_oneoff(__wasi_subscription_t *, __wasi_event_t *, uint32_t count, __wasi_size_t *ready);
