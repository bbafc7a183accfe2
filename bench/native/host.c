// WasmEdge's and WASI's functions on Linux's own: with them the guest's source is a native server to compare with.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <wasi/api.h>

#include "../../examples/02-http-server/wasmedge_socket.h"

static uint32_t answer(int result) { return result >= 0 ? 0 : errno == EAGAIN ? __WASI_ERRNO_AGAIN : 29; }

uint32_t sock_open(uint32_t family, uint32_t type, uint32_t *fd) {
    int one = 1, made = socket(family == FAMILY_INET4 ? AF_INET : AF_INET6, type == TYPE_STREAM ? SOCK_STREAM : SOCK_DGRAM, 0);
    if (made >= 0) setsockopt(made, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    *fd = made;
    return answer(made);
}

uint32_t sock_bind(uint32_t fd, struct address *address, uint32_t port) {
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_port = htons(port)};
    memcpy(&name.sin_addr, address->bytes, 4);
    return answer(bind(fd, (struct sockaddr *)&name, sizeof name));
}

uint32_t sock_listen(uint32_t fd, uint32_t backlog) { return answer(listen(fd, backlog)); }

uint32_t sock_accept(uint32_t fd, uint32_t *accepted) {
    int made = accept(fd, NULL, NULL);
    *accepted = made;
    return answer(made);
}

uint32_t sock_recv(uint32_t fd, struct io_vector *to, uint32_t count, uint32_t flags, uint32_t *size, uint32_t *out) {
    ssize_t got = count == 1 ? recv(fd, to->bytes, to->size, 0) : -1;
    *size = got, *out = flags;
    return answer(got);
}

uint32_t sock_send(uint32_t fd, struct io_vector *from, uint32_t count, uint32_t flags, uint32_t *size) {
    ssize_t sent = count == 1 && !flags ? send(fd, from->bytes, from->size, MSG_NOSIGNAL) : -1;
    *size = sent;
    return answer(sent);
}

uint32_t sock_shutdown(uint32_t fd, uint32_t how) { return answer(shutdown(fd, how - 1)); }

uint32_t sock_setsockopt(uint32_t fd, uint32_t level, uint32_t option, const void *value, uint32_t size) {
    return level || option ? 28 : answer(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, value, size));
}

uint32_t __wasi_fd_close(uint32_t fd) { return answer(close(fd)); }

uint32_t __wasi_fd_fdstat_set_flags(uint32_t fd, uint32_t flags) {
    return answer(fcntl(fd, F_SETFL, flags & __WASI_FDFLAGS_NONBLOCK ? O_NONBLOCK : 0));
}

uint32_t __wasi_poll_oneoff(__wasi_subscription_t *wanted, __wasi_event_t *events, uint32_t count, __wasi_size_t *ready) {
    static struct pollfd polled[1024];
    for (uint32_t i = 0; i < count; i++) polled[i] = (struct pollfd){wanted[i].u.u.fd_read.file_descriptor, POLLIN, 0};
    int result = poll(polled, count, -1);
    *ready = 0;
    for (uint32_t i = 0; i < count; i++)
        if (polled[i].revents) events[(*ready)++].userdata = wanted[i].userdata;
    return answer(result);
}
