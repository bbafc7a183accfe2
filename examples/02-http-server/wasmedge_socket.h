// WasmEdge's socket functions, as a module imports them beside WASI preview 1. Each gives a WASI errno.
// `sock_accept` is the form with two parameters that modules for WasmEdge use; WASI's own has three.
#pragma once
#include <stdint.h>

#define IMPORT(name) __attribute__((import_module("wasi_snapshot_preview1"), import_name(#name))) uint32_t name

enum { FAMILY_INET4 = 1, FAMILY_INET6 = 2 };
enum { TYPE_DATAGRAM = 1, TYPE_STREAM = 2 };
enum { LEVEL_SOCKET = 0, OPTION_REUSEADDR = 0 };
enum { SHUTDOWN_BOTH = 3 };

struct address {  // 4 or 16 bytes in network order, or 128: the family (u16), then the address
    void *bytes;
    uint32_t size;
};

struct io_vector {
    void *bytes;
    uint32_t size;
};

IMPORT(sock_open)(uint32_t family, uint32_t type, uint32_t *fd);
IMPORT(sock_bind)(uint32_t fd, struct address *address, uint32_t port);
IMPORT(sock_listen)(uint32_t fd, uint32_t backlog);
IMPORT(sock_accept)(uint32_t fd, uint32_t *accepted);
IMPORT(sock_recv)(uint32_t fd, struct io_vector *, uint32_t count, uint32_t flags, uint32_t *size, uint32_t *out);
IMPORT(sock_send)(uint32_t fd, struct io_vector *, uint32_t count, uint32_t flags, uint32_t *size);
IMPORT(sock_shutdown)(uint32_t fd, uint32_t how);
IMPORT(sock_setsockopt)(uint32_t fd, uint32_t level, uint32_t option, const void *value, uint32_t size);
